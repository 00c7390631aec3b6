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

use super::{Shared, about, cordon, feed, permit, settings, topic};

/// What is told, one after the other.
type Told<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

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
        _: Request<DescribeTopicsRequest>,
    ) -> Result<Response<Self::DescribeTopicsStream>, Status> {
        Err(Status::unimplemented("DescribeTopics"))
    }

    async fn watch_topics(
        &self,
        _: Request<WatchTopicsRequest>,
    ) -> Result<Response<Self::WatchTopicsStream>, Status> {
        Err(Status::unimplemented("WatchTopics"))
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Result<Response<DescribeClusterResponse>, Status> {
        Err(Status::unimplemented("DescribeCluster"))
    }

    async fn create_topic(
        &self,
        _: Request<CreateTopicRequest>,
    ) -> Result<Response<CreateTopicResponse>, Status> {
        Err(Status::unimplemented("CreateTopic"))
    }

    async fn grow_topic(
        &self,
        _: Request<GrowTopicRequest>,
    ) -> Result<Response<GrowTopicResponse>, Status> {
        Err(Status::unimplemented("GrowTopic"))
    }

    async fn reassign_partitions(
        &self,
        _: Request<ReassignPartitionsRequest>,
    ) -> Result<Response<ReassignPartitionsResponse>, Status> {
        Err(Status::unimplemented("ReassignPartitions"))
    }

    async fn clear_throttles(
        &self,
        _: Request<ClearThrottlesRequest>,
    ) -> Result<Response<ClearThrottlesResponse>, Status> {
        Err(Status::unimplemented("ClearThrottles"))
    }

    async fn configure_topic(
        &self,
        _: Request<ConfigureTopicRequest>,
    ) -> Result<Response<ConfigureTopicResponse>, Status> {
        Err(Status::unimplemented("ConfigureTopic"))
    }

    async fn delete_topic(
        &self,
        _: Request<DeleteTopicRequest>,
    ) -> Result<Response<DeleteTopicResponse>, Status> {
        Err(Status::unimplemented("DeleteTopic"))
    }

    async fn configure_brokers(
        &self,
        _: Request<ConfigureBrokersRequest>,
    ) -> Result<Response<ConfigureBrokersResponse>, Status> {
        Err(Status::unimplemented("ConfigureBrokers"))
    }

    async fn forget_broker(
        &self,
        _: Request<ForgetBrokerRequest>,
    ) -> Result<Response<ForgetBrokerResponse>, Status> {
        Err(Status::unimplemented("ForgetBroker"))
    }
}
