//! The calls of the contract, each handed to the file that answers it.

use std::pin::Pin;
use std::sync::Arc;

use broker_admin::v1::admin_server::Admin;
use broker_admin::v1::{
    AcquireRestartPermitRequest, AcquireRestartPermitResponse, CheckTopicRequest,
    CheckTopicResponse, ClearThrottlesRequest, ClearThrottlesResponse, ConfigureBrokersRequest,
    ConfigureBrokersResponse, ConfigureTopicRequest, ConfigureTopicResponse, CreateTopicRequest,
    CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeClusterRequest,
    DescribeClusterResponse, DescribeSettingsRequest, DescribeSettingsResponse,
    DescribeTopicsRequest, DrainLeadershipRequest, DrainLeadershipResponse, ForgetBrokerRequest,
    ForgetBrokerResponse, GetIdentityRequest, GrowTopicRequest, GrowTopicResponse, Health,
    Identity, MeasureMovesRequest, MeasureMovesResponse, ReassignPartitionsRequest,
    ReassignPartitionsResponse, ReleaseRestartPermitRequest, ReleaseRestartPermitResponse,
    SetCordonRequest, SetCordonResponse, TopicDescription, TopicsChanged, WatchHealthRequest,
    WatchTopicsRequest,
};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::{
    Shared, about, change, cluster, configure, cordon, feed, forget, moves, permit, settings,
    throttles, topic, topics, unavailable, watched,
};

/// What is told, one after the other.
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Topics that are read ahead of whoever they are told to.
const TOPICS_AHEAD: usize = 16;

/// The service, over what every call can reach.
#[derive(Debug)]
pub(super) struct Service(pub(super) Arc<Shared>);

#[tonic::async_trait]
impl Admin for Service {
    type WatchHealthStream = Told<Health>;
    type DescribeTopicsStream = Told<TopicDescription>;
    type WatchTopicsStream = Told<TopicsChanged>;

    async fn get_identity(
        &self,
        _: Request<GetIdentityRequest>,
    ) -> Result<Response<Identity>, Status> {
        let shared = &self.0;
        Ok(Response::new(about::identity(&shared.config, &shared.process_id, shared.context())))
    }

    async fn watch_health(
        &self,
        _: Request<WatchHealthRequest>,
    ) -> Result<Response<Self::WatchHealthStream>, Status> {
        let (told, heard) = mpsc::channel(1);
        let watched = self.0.feed.watch(self.0.health());
        self.0.tasks.spawn("admin", feed::tell(watched, told));
        Ok(Response::new(Box::pin(ReceiverStream::new(heard))))
    }

    async fn describe_settings(
        &self,
        _: Request<DescribeSettingsRequest>,
    ) -> Result<Response<DescribeSettingsResponse>, Status> {
        Ok(Response::new(settings::describe()))
    }

    async fn acquire_restart_permit(
        &self,
        request: Request<AcquireRestartPermitRequest>,
    ) -> Result<Response<AcquireRestartPermitResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::acquire(context, &operator, request).await.map(Response::new)
    }

    async fn release_restart_permit(
        &self,
        request: Request<ReleaseRestartPermitRequest>,
    ) -> Result<Response<ReleaseRestartPermitResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::release(context, &operator, request).await.map(Response::new)
    }

    async fn set_cordon(
        &self,
        request: Request<SetCordonRequest>,
    ) -> Result<Response<SetCordonResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        let store = context.admin.store();
        cordon::set(&**store, &operator, &request).await.map(Response::new)
    }

    async fn measure_moves(
        &self,
        request: Request<MeasureMovesRequest>,
    ) -> Result<Response<MeasureMovesResponse>, Status> {
        let context = self.0.ready()?;
        Ok(Response::new(about::moves(context, &request.into_inner())))
    }

    async fn check_topic(
        &self,
        request: Request<CheckTopicRequest>,
    ) -> Result<Response<CheckTopicResponse>, Status> {
        topic::check(self.0.ready()?, request.into_inner()).await.map(Response::new)
    }

    async fn drain_leadership(
        &self,
        request: Request<DrainLeadershipRequest>,
    ) -> Result<Response<DrainLeadershipResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        permit::drain(context, &operator, request).await.map(Response::new)
    }

    async fn describe_topics(
        &self,
        request: Request<DescribeTopicsRequest>,
    ) -> Result<Response<Self::DescribeTopicsStream>, Status> {
        let context = Arc::clone(self.0.shared_context()?);
        let names = request.into_inner().names;
        let (told, heard) = mpsc::channel(TOPICS_AHEAD);
        self.0.tasks.spawn("admin", topics::tell(context, names, told));
        Ok(Response::new(Box::pin(ReceiverStream::new(heard))))
    }

    async fn watch_topics(
        &self,
        _: Request<WatchTopicsRequest>,
    ) -> Result<Response<Self::WatchTopicsStream>, Status> {
        let store = Arc::clone(self.0.ready()?.admin.store());
        let (told, heard) = mpsc::channel(1);
        let end = self.0.tasks.shutdown_token();
        self.0.tasks.spawn("admin", watched::tell(store, told, end));
        Ok(Response::new(Box::pin(ReceiverStream::new(heard))))
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        let context = self.0.ready()?;
        let described = cluster::describe(&**context.admin.store(), &context.cluster_id).await;
        described.map(Response::new).map_err(unavailable)
    }

    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        change::create(context, &operator, request).await.map(Response::new)
    }

    async fn grow_topic(
        &self,
        request: Request<GrowTopicRequest>,
    ) -> Result<Response<GrowTopicResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        change::grow(context, &operator, request).await.map(Response::new)
    }

    async fn reassign_partitions(
        &self,
        request: Request<ReassignPartitionsRequest>,
    ) -> Result<Response<ReassignPartitionsResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        moves::reassign(context, &operator, request).await.map(Response::new)
    }

    async fn clear_throttles(
        &self,
        request: Request<ClearThrottlesRequest>,
    ) -> Result<Response<ClearThrottlesResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        throttles::clear(context, &operator, request).await.map(Response::new)
    }

    async fn configure_topic(
        &self,
        request: Request<ConfigureTopicRequest>,
    ) -> Result<Response<ConfigureTopicResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        configure::topic(context, &operator, request).await.map(Response::new)
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        change::delete(context, &operator, request).await.map(Response::new)
    }

    async fn configure_brokers(
        &self,
        request: Request<ConfigureBrokersRequest>,
    ) -> Result<Response<ConfigureBrokersResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        configure::brokers(context, &operator, request).await.map(Response::new)
    }

    async fn forget_broker(
        &self,
        request: Request<ForgetBrokerRequest>,
    ) -> Result<Response<ForgetBrokerResponse>, Status> {
        let mut request = request.into_inner();
        let (context, operator) = self.0.admit(request.fence.take()).await?;
        forget::forget(&**context.admin.store(), &operator, &request).await.map(Response::new)
    }
}
