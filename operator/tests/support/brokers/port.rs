//! The admin port of one broker, over one connection: each call travels, meets its fault, and is one change of the state.

use std::future::pending;
use std::time::Duration;

use broker_admin::v1::admin_server::Admin;
use broker_admin::v1::{
    AcquireRestartPermitRequest, AcquireRestartPermitResponse, CheckTopicRequest,
    CheckTopicResponse, ClearThrottlesRequest, ClearThrottlesResponse, ConfigureBrokersRequest,
    ConfigureBrokersResponse, ConfigureTopicRequest, ConfigureTopicResponse, CreateTopicRequest,
    CreateTopicResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeClusterRequest,
    DescribeClusterResponse, DescribeSettingsRequest, DescribeSettingsResponse,
    DescribeTopicsRequest, DrainLeadershipRequest, DrainLeadershipResponse, Fence,
    ForgetBrokerRequest, ForgetBrokerResponse, GetIdentityRequest, GrowTopicRequest,
    GrowTopicResponse, Health, Identity, MeasureMovesRequest, MeasureMovesResponse,
    ReassignPartitionsRequest, ReassignPartitionsResponse, ReleaseRestartPermitRequest,
    ReleaseRestartPermitResponse, SetCordonRequest, SetCordonResponse, TopicDescription,
    TopicsChanged, WatchHealthRequest, WatchTopicsRequest,
};
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use serde_json::Value;
use tonic::metadata::MetadataMap;
use tonic::{Code, Request, Response, Status};

use super::Model;
use super::describe::settings;
use super::state::{Asked, State};
use crate::support::fake::clock::Clock;
use crate::support::fake::connection::{Connection, Fault};
use crate::support::fake::record::{Call, TELL};

/// Half of what a call takes.
const ONE_WAY: Duration = Duration::from_millis(1);
/// The least time between two messages of a watch.
const BETWEEN: Duration = Duration::from_secs(1);

type Answer<T> = Result<Response<T>, Status>;

/// One broker, as one client sees it.
#[derive(Clone)]
pub(super) struct Port {
    model: Model,
    line: Connection,
    broker: i32,
    /// The process, which may have ended.
    process: u64,
}

impl Port {
    pub(super) fn new(model: Model, line: Connection, broker: i32, process: u64) -> Self {
        Self { model, line, broker, process }
    }

    /// Answers by what any broker knows from its start on.
    async fn tell<T>(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Answer<T> {
        self.carry(call, false, act).await.map(Response::new)
    }

    /// Answers by what a registered broker knows.
    async fn read<T>(
        &self,
        call: &'static str,
        act: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Answer<T> {
        let answer = self.carry(call, false, |state| {
            self.is_ready(state)?;
            act(state)
        });
        answer.await.map(Response::new)
    }

    /// Changes something for the newest operator.
    async fn change<T>(
        &self,
        call: &'static str,
        fence: Option<Fence>,
        act: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Answer<T> {
        let answer = self.carry(call, true, |state| {
            self.is_ready(state)?;
            state.admit(fence.as_ref())?;
            act(state)
        });
        answer.await.map(Response::new)
    }

    /// Changes what only the controller changes.
    async fn govern<T>(
        &self,
        call: &'static str,
        fence: Option<Fence>,
        act: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Answer<T> {
        let checked = |state: &mut State| {
            self.is_controller(state)?;
            act(state)
        };
        self.change(call, fence, checked).await
    }

    fn is_ready(&self, state: &State) -> Result<(), Status> {
        let is_registered = state.epoch(self.broker).is_some();
        is_registered
            .then_some(())
            .ok_or_else(|| Status::unavailable("the broker starts: ask again"))
    }

    fn is_controller(&self, state: &State) -> Result<(), Status> {
        let controller = state.tree.controller.map(|controller| controller.broker);
        let controller = controller.filter(|broker| state.is_up(*broker));
        if controller == Some(self.broker) {
            return Ok(());
        }
        let id = controller.unwrap_or(-1);
        let mut trailers = MetadataMap::new();
        trailers.insert("ottla-controller", id.into());
        let words = format!("broker {} is no controller: ask broker {id}", self.broker);
        Err(Status::with_metadata(Code::FailedPrecondition, words, trailers))
    }

    /// Carries a call to the state, and its answer back, unless its fault keeps it from that.
    async fn carry<T>(
        &self,
        call: &'static str,
        is_write: bool,
        act: impl FnOnce(&mut State) -> Result<T, Status>,
    ) -> Result<T, Status> {
        Clock::pass(ONE_WAY).await;
        let fault = self.line.begin(is_write);
        match fault {
            Some(Fault::KilledBefore) => {
                self.line.kill();
                return pending().await;
            }
            Some(Fault::Refused | Fault::Code(_)) => {
                return Err(Status::unavailable("the call did not arrive"));
            }
            Some(Fault::AnswerLost | Fault::KilledAfter) | None => {}
        }
        let is_lost = fault.is_some();
        let answer = self.model.with(|state| {
            let is_here =
                state.processes.get(&self.broker).is_some_and(|one| one.id == self.process);
            let before = state.revision;
            let answer =
                if is_here { act(state) } else { Err(Status::unavailable("the broker has ended")) };
            let code = answer.as_ref().err().map_or(Code::Ok, Status::code);
            self.note(state, call, is_write, code, is_lost, state.revision != before);
            answer
        });
        self.line.end();
        if fault == Some(Fault::KilledAfter) {
            self.line.kill();
        }
        if self.line.is_dead() {
            return pending().await;
        }
        if is_lost {
            return Err(Status::unavailable("the answer was lost"));
        }
        Clock::pass(ONE_WAY).await;
        if self.line.is_dead() {
            return pending().await;
        }
        answer
    }

    fn note(
        &self,
        state: &mut State,
        call: &'static str,
        is_write: bool,
        code: Code,
        is_answer_lost: bool,
        has_changed: bool,
    ) {
        let (client, fake) = self.line.ends();
        let broker = self.broker;
        state.asked.push(Asked { client: client.to_owned(), broker, call, code, has_changed });
        fake.record(Call {
            at: state.now,
            client: client.to_owned(),
            verb: if is_write { TELL } else { "ask" },
            resource: "brokers".to_owned(),
            namespace: state.namespace.clone(),
            name: format!("{}-{broker}", state.name),
            subresource: String::new(),
            target: format!("{}-{broker} {call} {code:?}", state.name),
            manager: String::new(),
            content_type: String::new(),
            body: Value::Null,
            code: Some(code as u16),
            is_answer_lost,
            has_changed,
        });
    }

    /// Tells what `say` finds, at once and after each change of the model; never to a client that was killed.
    fn watch<T: Send + 'static>(
        &self,
        say: impl FnMut(&State) -> Option<T> + Send + 'static,
    ) -> BoxStream<'static, Result<T, Status>> {
        let changes = self.model.shared.revision.subscribe();
        let told = stream::unfold((self.clone(), say, changes, false), async |mut seen| {
            loop {
                let (port, say, changes, has_told) = &mut seen;
                if std::mem::take(has_told) {
                    Clock::pass(BETWEEN).await;
                }
                changes.mark_unchanged();
                let said = port.model.with(|state| say(state));
                if port.line.is_dead() {
                    pending::<()>().await;
                }
                if let Some(said) = said {
                    *has_told = true;
                    Clock::pass(ONE_WAY).await;
                    return Some((Ok(said), seen));
                }
                changes.changed().await.ok()?;
            }
        });
        told.boxed()
    }
}

#[tonic::async_trait]
impl Admin for Port {
    type WatchHealthStream = BoxStream<'static, Result<Health, Status>>;
    type DescribeTopicsStream = BoxStream<'static, Result<TopicDescription, Status>>;
    type WatchTopicsStream = BoxStream<'static, Result<TopicsChanged, Status>>;

    async fn get_identity(&self, _: Request<GetIdentityRequest>) -> Answer<Identity> {
        self.tell("GetIdentity", |state| Ok(state.identity(&state.processes[&self.broker]))).await
    }

    async fn watch_health(
        &self,
        _: Request<WatchHealthRequest>,
    ) -> Answer<Self::WatchHealthStream> {
        let (broker, mut told) = (self.broker, None);
        let health = self.watch(move |state| {
            let health = state.health(broker);
            let is_new = told.as_ref() != Some(&health);
            told = Some(health.clone());
            is_new.then_some(health)
        });
        self.tell("WatchHealth", |_| Ok(health)).await
    }

    async fn describe_settings(
        &self,
        _: Request<DescribeSettingsRequest>,
    ) -> Answer<DescribeSettingsResponse> {
        self.tell("DescribeSettings", |_| Ok(settings())).await
    }

    async fn acquire_restart_permit(
        &self,
        request: Request<AcquireRestartPermitRequest>,
    ) -> Answer<AcquireRestartPermitResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        self.govern("AcquireRestartPermit", fence, |state| state.acquire(&asked)).await
    }

    async fn release_restart_permit(
        &self,
        request: Request<ReleaseRestartPermitRequest>,
    ) -> Answer<ReleaseRestartPermitResponse> {
        let asked = request.into_inner();
        let act = |state: &mut State| {
            state.release(asked.broker_id);
            Ok(ReleaseRestartPermitResponse {})
        };
        self.govern("ReleaseRestartPermit", asked.fence, act).await
    }

    async fn drain_leadership(
        &self,
        request: Request<DrainLeadershipRequest>,
    ) -> Answer<DrainLeadershipResponse> {
        let asked = request.into_inner();
        let act = |state: &mut State| {
            let partitions = state.drain(asked.broker_id)?;
            Ok(DrainLeadershipResponse { left: partitions.len() as u32, partitions })
        };
        self.govern("DrainLeadership", asked.fence, act).await
    }

    async fn set_cordon(&self, request: Request<SetCordonRequest>) -> Answer<SetCordonResponse> {
        let asked = request.into_inner();
        let act = |state: &mut State| {
            let cordoned_brokers = state.cordon(asked.broker_id, asked.cordoned);
            Ok(SetCordonResponse { cordoned_brokers })
        };
        self.change("SetCordon", asked.fence, act).await
    }

    async fn measure_moves(
        &self,
        request: Request<MeasureMovesRequest>,
    ) -> Answer<MeasureMovesResponse> {
        let asked = request.into_inner();
        self.read("MeasureMoves", |state| Ok(state.measure(self.broker, &asked))).await
    }

    async fn check_topic(&self, request: Request<CheckTopicRequest>) -> Answer<CheckTopicResponse> {
        let asked = request.into_inner();
        self.read("CheckTopic", |state| Ok(state.check(&asked))).await
    }

    async fn describe_cluster(
        &self,
        _: Request<DescribeClusterRequest>,
    ) -> Answer<DescribeClusterResponse> {
        self.read("DescribeCluster", |state| Ok(state.describe_cluster())).await
    }

    async fn describe_topics(
        &self,
        request: Request<DescribeTopicsRequest>,
    ) -> Answer<Self::DescribeTopicsStream> {
        let asked = request.into_inner();
        let act = |state: &mut State| {
            let topics = state.describe_topics(&asked.names, self.broker);
            Ok(stream::iter(topics.into_iter().map(Ok)).boxed())
        };
        self.read("DescribeTopics", act).await
    }

    async fn watch_topics(
        &self,
        _: Request<WatchTopicsRequest>,
    ) -> Answer<Self::WatchTopicsStream> {
        let mut told: Option<(u64, Vec<String>)> = None;
        let changes = self.watch(move |state| {
            let names: Vec<String> = state.tree.topics.keys().cloned().collect();
            let seen = told.replace((state.revision, names.clone()));
            let Some((seen, before)) = seen else {
                return Some(TopicsChanged { names: Vec::new(), all: true });
            };
            let topics = state.tree.topics.iter().filter(|(_, topic)| topic.changed > seen);
            let mut changed: Vec<String> = topics.map(|(name, _)| name.clone()).collect();
            changed.extend(before.into_iter().filter(|name| !names.contains(name)));
            (!changed.is_empty()).then_some(TopicsChanged { names: changed, all: false })
        });
        self.read("WatchTopics", |_| Ok(changes)).await
    }

    async fn create_topic(
        &self,
        request: Request<CreateTopicRequest>,
    ) -> Answer<CreateTopicResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act = |state: &mut State| state.create(asked).map(|()| CreateTopicResponse {});
        self.change("CreateTopic", fence, act).await
    }

    async fn grow_topic(&self, request: Request<GrowTopicRequest>) -> Answer<GrowTopicResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act = |state: &mut State| state.grow(&asked).map(|()| GrowTopicResponse {});
        self.change("GrowTopic", fence, act).await
    }

    async fn reassign_partitions(
        &self,
        request: Request<ReassignPartitionsRequest>,
    ) -> Answer<ReassignPartitionsResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act =
            |state: &mut State| state.reassign(&asked).map(|()| ReassignPartitionsResponse {});
        self.govern("ReassignPartitions", fence, act).await
    }

    async fn clear_throttles(
        &self,
        request: Request<ClearThrottlesRequest>,
    ) -> Answer<ClearThrottlesResponse> {
        let act = |state: &mut State| Ok(ClearThrottlesResponse { left: state.clear_throttles() });
        self.change("ClearThrottles", request.into_inner().fence, act).await
    }

    async fn configure_topic(
        &self,
        request: Request<ConfigureTopicRequest>,
    ) -> Answer<ConfigureTopicResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act =
            |state: &mut State| state.configure_topic(asked).map(|()| ConfigureTopicResponse {});
        self.change("ConfigureTopic", fence, act).await
    }

    async fn delete_topic(
        &self,
        request: Request<DeleteTopicRequest>,
    ) -> Answer<DeleteTopicResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act = |state: &mut State| state.delete(&asked).map(|()| DeleteTopicResponse {});
        self.change("DeleteTopic", fence, act).await
    }

    async fn configure_brokers(
        &self,
        request: Request<ConfigureBrokersRequest>,
    ) -> Answer<ConfigureBrokersResponse> {
        let asked = request.into_inner();
        let fence = asked.fence.clone();
        let act = |state: &mut State| {
            state.configure_brokers(&asked).map(|()| ConfigureBrokersResponse {})
        };
        self.change("ConfigureBrokers", fence, act).await
    }

    async fn forget_broker(
        &self,
        request: Request<ForgetBrokerRequest>,
    ) -> Answer<ForgetBrokerResponse> {
        let asked = request.into_inner();
        let act =
            |state: &mut State| state.forget(asked.broker_id).map(|()| ForgetBrokerResponse {});
        self.change("ForgetBroker", asked.fence, act).await
    }
}
