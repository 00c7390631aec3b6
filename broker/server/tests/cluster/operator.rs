//! What an operator is told and allowed by the admin port of three brokers.

use broker_admin::v1::admin_client::AdminClient;
use broker_admin::v1::{
    AcquireRestartPermitRequest, AcquireRestartPermitResponse, Change, CheckTopicRequest,
    CheckTopicResponse, DescribeClusterRequest, DescribeSettingsRequest, DescribeTopicsRequest,
    DrainLeadershipRequest, DrainLeadershipResponse, Fence, GetIdentityRequest, Health, Identity,
    MeasureMovesRequest, MeasureMovesResponse, Phase, Refusal, ReleaseRestartPermitRequest,
    ReplicaList, SetCordonRequest, TopicDescription, WatchHealthRequest,
};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::{CreatableReplicaAssignment, CreatableTopic};
use tokio::runtime::{Builder, Runtime};
use tonic::Code;
use tonic::transport::Channel;

use super::admin::{create_on, reassign, set_of_broker, try_to_reassign};
use super::client::await_that;
use super::nodes::Cluster;
use super::records::try_to_make;
use super::topic::{await_in_sync, create, described, produce};

mod brokers;
mod moves;
mod topics;

/// An operator, with the term of its lease.
struct Operator {
    runtime: Runtime,
    term: u64,
}

impl Operator {
    fn new(term: u64) -> Self {
        Self { runtime: Builder::new_current_thread().enable_all().build().unwrap(), term }
    }

    fn client(&self, cluster: &Cluster, broker: i32) -> AdminClient<Channel> {
        let address = format!("http://{}", cluster.admin(broker));
        self.runtime.block_on(AdminClient::connect(address)).unwrap()
    }

    fn identity(&self, cluster: &Cluster, broker: i32) -> Identity {
        let mut client = self.client(cluster, broker);
        self.runtime.block_on(client.get_identity(GetIdentityRequest {})).unwrap().into_inner()
    }

    /// Asks broker `at`.
    fn ask<T>(
        &self,
        cluster: &Cluster,
        at: i32,
        call: impl AsyncFnOnce(AdminClient<Channel>) -> Result<tonic::Response<T>, tonic::Status>,
    ) -> Result<T, tonic::Status> {
        let client = self.client(cluster, at);
        self.runtime.block_on(call(client)).map(tonic::Response::into_inner)
    }

    /// What broker `at` says of the topics with these names, or of all.
    fn topics(&self, cluster: &Cluster, at: i32, names: &[&str]) -> Vec<TopicDescription> {
        let names = names.iter().map(ToString::to_string).collect();
        let mut client = self.client(cluster, at);
        self.runtime.block_on(async {
            let request = DescribeTopicsRequest { names };
            let mut told = client.describe_topics(request).await.unwrap().into_inner();
            let mut topics = Vec::new();
            while let Some(topic) = told.message().await.unwrap() {
                topics.push(topic);
            }
            topics
        })
    }

    /// What broker 1 says of a topic that is there.
    fn topic(&self, cluster: &Cluster, name: &str) -> TopicDescription {
        self.topics(cluster, 1, &[name]).pop().unwrap()
    }

    /// Asks broker `at` for leave to restart `identity`.
    fn acquire(
        &self,
        cluster: &Cluster,
        at: i32,
        identity: &Identity,
    ) -> Result<AcquireRestartPermitResponse, tonic::Status> {
        let request = AcquireRestartPermitRequest {
            fence: Some(self.fence()),
            broker_id: identity.broker_id,
            broker_epoch: identity.broker_epoch,
            roll_id: "roll".to_owned(),
            accept: 0,
        };
        let mut client = self.client(cluster, at);
        let answer = self.runtime.block_on(client.acquire_restart_permit(request));
        answer.map(tonic::Response::into_inner)
    }

    /// Asks broker `at` to have another hand over.
    fn drain(
        &self,
        cluster: &Cluster,
        at: i32,
        broker_id: i32,
    ) -> Result<DrainLeadershipResponse, tonic::Status> {
        let request = DrainLeadershipRequest { fence: Some(self.fence()), broker_id };
        let mut client = self.client(cluster, at);
        let answer = self.runtime.block_on(client.drain_leadership(request));
        answer.map(tonic::Response::into_inner)
    }

    /// Has a broker get no new replicas, or get them again; returns all that get none.
    fn cordon(
        &self,
        cluster: &Cluster,
        broker_id: i32,
        cordoned: bool,
    ) -> Result<Vec<i32>, tonic::Status> {
        let request = SetCordonRequest { fence: Some(self.fence()), broker_id, cordoned };
        let mut client = self.client(cluster, 1);
        let answer = self.runtime.block_on(client.set_cordon(request))?;
        Ok(answer.into_inner().cordoned_brokers)
    }

    /// What broker `at` has to copy, of what leaves `from_broker_id` or of all.
    fn moves(
        &self,
        cluster: &Cluster,
        at: i32,
        from_broker_id: Option<i32>,
    ) -> MeasureMovesResponse {
        let request = MeasureMovesRequest { from_broker_id, topic: String::new() };
        let mut client = self.client(cluster, at);
        self.runtime.block_on(client.measure_moves(request)).unwrap().into_inner()
    }

    fn check(&self, cluster: &Cluster, request: CheckTopicRequest) -> CheckTopicResponse {
        let mut client = self.client(cluster, 1);
        self.runtime.block_on(client.check_topic(request)).unwrap().into_inner()
    }

    fn release(&self, cluster: &Cluster, at: i32, broker_id: i32) -> Result<(), tonic::Status> {
        let request = ReleaseRestartPermitRequest { fence: Some(self.fence()), broker_id };
        let mut client = self.client(cluster, at);
        self.runtime.block_on(client.release_restart_permit(request)).map(drop)
    }

    fn fence(&self) -> Fence {
        Fence { term: self.term, holder: format!("operator-{}", self.term) }
    }
}

/// Each says who it is; another process of the same broker is another, and has another epoch.
#[test]
fn a_broker_says_who_it_is_and_how_it_is() {
    let mut cluster = Cluster::start(3, &["admin.instance=pod-{dir}"]);
    let operator = Operator::new(1);
    create(&cluster, "t", 3, &[]);
    for partition in 0..3 {
        await_in_sync(&cluster, "t", partition, 3);
    }
    let controller = cluster.controller();
    let one = operator.identity(&cluster, 1);
    assert_eq!((one.broker_id, one.controller_id), (1, controller));
    assert_eq!(one.broker_epoch, cluster.epoch(1));
    assert_eq!(one.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(one.instance, format!("pod-{}", cluster.dir(1).display()));
    assert_eq!(one.static_settings["broker.rack"], "r1");
    assert_eq!(one.cluster_id, operator.identity(&cluster, 2).cluster_id);
    assert_eq!(one.cluster_id.len(), 22);

    let mut client = operator.client(&cluster, 1);
    let mut watched = operator
        .runtime
        .block_on(async { client.watch_health(WatchHealthRequest {}).await.unwrap().into_inner() });
    let mut told = || operator.runtime.block_on(watched.message());
    let health: Health = told().unwrap().unwrap();
    assert_eq!((health.phase(), health.registered), (Phase::Running, true));
    assert_eq!((health.replicas, health.leaders, health.under_replicated), (3, 1, 0));
    let gone = [2, 3].into_iter().find(|id| *id != controller).unwrap();
    cluster.stop(gone);
    // What is told first may be that it leads more.
    let is_under = |health: &Health| health.under_replicated == health.leaders;
    while !is_under(&told().unwrap().unwrap()) {}
    cluster.stop(1);
    let mut last = None;
    while let Ok(Some(health)) = told() {
        last = Some(health.phase());
    }
    assert_eq!(last, Some(Phase::Stopping));

    cluster.begin(1);
    let again = operator.identity(&cluster, 1);
    assert!(again.broker_epoch > one.broker_epoch);
    assert_ne!(again.process_id, one.process_id);
}

/// The table of settings is the broker's own.
#[test]
fn settings_say_what_a_change_takes() {
    let cluster = Cluster::start(1, &[]);
    let operator = Operator::new(1);
    let mut client = operator.client(&cluster, 1);
    let settings = operator.runtime.block_on(client.describe_settings(DescribeSettingsRequest {}));
    let settings = settings.unwrap().into_inner();
    let find = |name: &str| {
        let mut all = settings.broker.iter().chain(&settings.topic);
        all.find(|setting| setting.name == name).unwrap()
    };
    let cases = [
        ("broker.rack", Change::Restart),
        ("log.cleaner.threads", Change::DynamicCluster),
        ("min.cleanable.dirty.ratio", Change::DynamicTopic),
    ];
    for (name, change) in cases {
        assert_eq!(find(name).change(), change, "{name}");
    }
    let lag = find("replica.lag.time.max.ms");
    assert_eq!((&*lag.r#type, lag.default.as_deref()), ("LONG", Some("30000")));
    assert!(settings.broker.len() > 200, "{}", settings.broker.len());
}

/// A broker that is being emptied gets no new replicas, by whatever way, until it is taken out again.
#[test]
fn a_cordoned_broker_gets_no_new_replicas() {
    let cluster = Cluster::start(3, &[]);
    create_on(&cluster, "t", &[&[1, 2]], &[]);
    let operator = Operator::new(1);
    assert_eq!(operator.cordon(&cluster, 3, true).unwrap(), [3]);
    assert_eq!(operator.cordon(&cluster, 3, true).unwrap(), [3]);
    let topic = |name: &str, factor| CreatableTopic {
        name: name.to_owned().into(),
        num_partitions: 9,
        replication_factor: factor,
        ..Default::default()
    };
    let client = &mut cluster.client(1);
    assert_eq!(try_to_make(client, topic("two", 2)).0, ErrorCode::None);
    for partition in 0..9 {
        await_in_sync(&cluster, "two", partition, 2);
        let led = described(&cluster, "two", partition)[0].clone().unwrap();
        assert_eq!(led.isr, [1, 2]);
    }
    assert_eq!(try_to_make(client, topic("three", 3)).0, ErrorCode::InvalidReplicationFactor);
    let chosen = CreatableTopic {
        num_partitions: -1,
        assignments: vec![CreatableReplicaAssignment { partition_index: 0, broker_ids: vec![3] }],
        ..topic("chosen", -1)
    };
    let (code, words) = try_to_make(client, chosen.clone());
    assert_eq!(code, ErrorCode::InvalidReplicaAssignment);
    assert!(words.contains("cordoned"), "{words}");
    let refused = try_to_reassign(&cluster, "t", 0, &[1, 3]);
    assert_eq!(refused, ErrorCode::InvalidReplicaAssignment);

    let newer = Operator::new(2);
    assert_eq!(newer.cordon(&cluster, 3, false).unwrap(), [0; 0]);
    let fenced = operator.cordon(&cluster, 3, true).unwrap_err();
    assert_eq!(fenced.code(), Code::PermissionDenied);
    assert_eq!(try_to_make(client, chosen).0, ErrorCode::None);
    reassign(&cluster, "t", 0, &[1, 3]);
}

/// Whoever takes a broker away that is dead and empty hears that it is cordoned.
#[test]
fn a_cordoned_broker_is_told_of_that_is_not_there() {
    let cluster = Cluster::start(1, &[]);
    let operator = Operator::new(1);
    assert_eq!(operator.cordon(&cluster, 7, true).unwrap(), [7]);
    let mut client = operator.client(&cluster, 1);
    let asked = client.describe_cluster(DescribeClusterRequest {});
    let told = operator.runtime.block_on(asked).unwrap().into_inner();
    let told: Vec<_> = told
        .brokers
        .iter()
        .map(|one| (one.broker_id, one.broker_epoch >= 0, one.cordoned))
        .collect();
    assert_eq!(told, [(1, true, false), (7, false, true)]);
}

/// The leader of what moves says how much of it is left.
#[test]
fn what_is_left_of_a_move_is_measured() {
    let cluster = Cluster::start(3, &["replica.fetch.max.bytes=10000"]);
    create_on(&cluster, "t", &[&[1, 2]], &[("leader.replication.throttled.replicas", "*")]);
    let operator = Operator::new(1);
    let record = "x".repeat(10_000);
    for _ in 0..20 {
        assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &[&record]).0, ErrorCode::None);
    }
    let nothing = MeasureMovesResponse::default();
    assert_eq!(operator.moves(&cluster, 1, Some(2)), nothing);
    // Both throttles are applied by now: the topic came with its own, and whoever is told of a change of
    // settings applies it before it answers.
    set_of_broker(&cluster, 1, "leader.replication.throttled.rate", "1");
    reassign(&cluster, "t", 0, &[1, 3]);
    await_that("a move", || operator.moves(&cluster, 1, Some(2)) != nothing);
    let left = operator.moves(&cluster, 1, Some(2));
    assert_eq!(left.partitions, 1);
    assert!(left.bytes_total > 200_000 && left.bytes_left > 100_000, "{left:?}");
    assert!(left.bytes_left <= left.bytes_total, "{left:?}");
    let later = operator.moves(&cluster, 1, None);
    assert_eq!((later.partitions, later.bytes_total), (1, left.bytes_total));
    assert!((1..=left.bytes_left).contains(&later.bytes_left), "{later:?} after {left:?}");
    assert_eq!(operator.moves(&cluster, 1, Some(1)), nothing, "it stays on 1");
    assert_eq!(operator.moves(&cluster, 2, Some(2)), nothing, "2 does not lead");
    set_of_broker(&cluster, 1, "leader.replication.throttled.rate", "100000000");
    await_that("it is done", || operator.moves(&cluster, 1, None) == nothing);
}

/// All that is wrong with a topic is said at once, part by part; what is there is named.
#[test]
fn a_topic_is_checked_in_words() {
    let cluster = Cluster::start(3, &[]);
    create_on(&cluster, "a.b", &[&[1, 2], &[2, 3]], &[]);
    let operator = Operator::new(1);
    let right = CheckTopicRequest {
        name: "t".to_owned(),
        partitions: 3,
        replication_factor: 3,
        configuration: [("retention.ms".to_owned(), "1000".to_owned())].into(),
        assignment: Vec::new(),
    };
    assert_eq!(operator.check(&cluster, right.clone()), CheckTopicResponse::default());
    let fields = |request| {
        let problems = operator.check(&cluster, request).problems;
        problems.into_iter().map(|problem| problem.field).collect::<Vec<_>>()
    };
    let settings = [("retention.ms", "long"), ("retention.mss", "1"), ("segment.ms", "1000")];
    let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
    let wrong = CheckTopicRequest {
        name: "a_b".to_owned(),
        partitions: -1,
        replication_factor: 4,
        configuration: settings.into(),
        assignment: Vec::new(),
    };
    let expected = [
        "name",
        "partitions",
        "replication_factor",
        "configuration.retention.ms",
        "configuration.retention.mss",
    ];
    assert_eq!(fields(wrong), expected);
    let replicas = |brokers: &[i32]| ReplicaList { brokers: brokers.to_vec() };
    let chosen = CheckTopicRequest { assignment: vec![replicas(&[1, 9])], ..right.clone() };
    assert_eq!(fields(chosen), ["partitions", "assignment"]);

    let grown = CheckTopicRequest { name: "a.b".to_owned(), replication_factor: 0, ..right };
    let checked = operator.check(&cluster, grown.clone());
    assert_eq!((checked.problems.len(), checked.existing_topic_id.len()), (0, 22));
    assert_eq!((checked.existing_partitions, checked.existing_replication_factor), (2, 2));
    assert_eq!(fields(CheckTopicRequest { partitions: 1, ..grown }), ["partitions"]);
}

/// One broker at a time may be restarted, until it is back in sync; the next is another's turn.
#[test]
fn one_broker_at_a_time_may_be_restarted() {
    let mut cluster = Cluster::start(3, &["min.insync.replicas=2"]);
    let operator = Operator::new(7);
    create(&cluster, "t", 3, &[]);
    for partition in 0..3 {
        await_in_sync(&cluster, "t", partition, 3);
    }
    let controller = cluster.controller();
    let others: Vec<i32> = (1..=3).filter(|id| *id != controller).collect();
    let [first, second] = others[..] else { panic!("{others:?}") };
    let identities = others.iter().map(|id| operator.identity(&cluster, *id));
    let [one, two] = &identities.collect::<Vec<_>>()[..] else { panic!("two others") };

    let refused = operator.acquire(&cluster, first, one).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains(&format!("ask broker {controller}")), "{refused}");

    let granted = operator.acquire(&cluster, controller, one).unwrap();
    assert!(granted.granted && granted.lease_ms > 0, "{granted:?}");
    let refused = operator.acquire(&cluster, controller, two).unwrap();
    assert_eq!((refused.refusal(), refused.holder_broker_id), (Refusal::Held, first));
    cluster.stop(first);
    let refused = operator.acquire(&cluster, controller, two).unwrap();
    assert_eq!(refused.refusal(), Refusal::Held);
    cluster.begin(first);
    await_that("the next may go", || {
        let answer = operator.acquire(&cluster, controller, two).unwrap();
        assert!(answer.granted || answer.refusal() == Refusal::Held, "{answer:?}");
        answer.granted
    });
    assert_eq!(operator.acquire(&cluster, controller, one).unwrap().refusal(), Refusal::Held);

    // Who has leave hands over, and stays in sync meanwhile.
    let led = |cluster: &Cluster| {
        let all = (0..3).map(|partition| await_in_sync(cluster, "t", partition, 3));
        all.filter(|leader| *leader == second).count()
    };
    assert!(led(&cluster) > 0);
    assert_eq!(operator.drain(&cluster, controller, second).unwrap().left, 0);
    await_that("it leads nothing", || led(&cluster) == 0);
    let refused = operator.drain(&cluster, controller, first).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("acquire one first"), "{refused}");
    operator.release(&cluster, controller, second).unwrap();
    assert!(
        operator
            .acquire(&cluster, controller, &operator.identity(&cluster, first))
            .unwrap()
            .granted
    );
    operator.release(&cluster, controller, first).unwrap();

    // An operator that has been replaced is let through by no broker.
    let newer = Operator::new(8);
    assert!(newer.acquire(&cluster, controller, two).unwrap().granted);
    let fenced = operator.acquire(&cluster, controller, two).unwrap_err();
    assert_eq!(fenced.code(), Code::PermissionDenied);

    // With one gone, each partition is at its minimum, and says so.
    cluster.kill(second);
    cluster.expire(second);
    cluster.begin(second);
    await_that("the permit is over", || {
        let own = newer.identity(&cluster, first);
        newer.acquire(&cluster, controller, &own).unwrap().granted
    });
    cluster.kill(second);
    cluster.expire(second);
    await_that("partitions stand in the way", || {
        let own = newer.identity(&cluster, first);
        let answer = newer.acquire(&cluster, controller, &own).unwrap();
        answer.refusal() == Refusal::MinIsr && answer.blocked_total == 3
    });
}
