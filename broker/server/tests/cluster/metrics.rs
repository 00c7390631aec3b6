//! What brokers tell of themselves while things happen to their cluster.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use broker_protocol::message::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

use super::admin::create_on;
use super::client::await_that;
use super::nodes::Cluster;
use super::topic::{acknowledged, await_in_sync, create, produce};

const CONTROLLER: &str = "kafka_controller_kafkacontroller_";
const REPLICAS: &str = "kafka_server_replicamanager_";
const PARTITION: &str = "{topic=\"t\",partition=\"0\"}";

/// Returns the value of a series of a broker; `None` where it does not have it.
pub(crate) fn value(cluster: &Cluster, id: i32, series: &str) -> Option<f64> {
    let page = cluster.page(id);
    let line = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    Some(line.parse().unwrap())
}

fn sum(cluster: &Cluster, series: &str) -> f64 {
    cluster.running().iter().filter_map(|id| value(cluster, *id, series)).sum()
}

/// Waits until the sum over all brokers that run is `wanted`.
fn await_sum(cluster: &Cluster, series: &str, wanted: f64) {
    let mut found = 0.0;
    await_that(&format!("{series} is {wanted}"), || {
        found = sum(cluster, series);
        (found - wanted).abs() < 1e-9
    });
}

fn await_each(cluster: &Cluster, prefix: &str, wanted: &[(&str, i32)]) {
    for (name, wanted) in wanted {
        await_sum(cluster, &format!("{prefix}{name}"), f64::from(*wanted));
    }
}

fn lose(cluster: &mut Cluster, id: i32) {
    cluster.kill(id);
    cluster.expire(id);
}

/// Returns the brokers, the controller last.
fn brokers(cluster: &Cluster) -> [i32; 3] {
    let controller = cluster.controller();
    let others: Vec<i32> = cluster.running().into_iter().filter(|id| *id != controller).collect();
    [others[0], others[1], controller]
}

/// Method: brokers go one by one, the controller stays.
#[test]
fn the_state_of_partitions_is_told_as_brokers_go_and_come_back() {
    let mut cluster = Cluster::start(3, &["auto.leader.rebalance.enable=false"]);
    let [first, second, controller] = brokers(&cluster);
    create(&cluster, "t", 1, &[("min.insync.replicas", "2")]);
    create_on(&cluster, "lone", &[&[first]], &[]);
    create_on(&cluster, "led", &[&[first, controller]], &[]);
    await_each(
        &cluster,
        CONTROLLER,
        &[
            ("activecontrollercount", 1),
            ("activebrokercount", 3),
            ("globaltopiccount", 3),
            ("globalpartitioncount", 3),
            ("offlinepartitionscount", 0),
            ("preferredreplicaimbalancecount", 0),
        ],
    );
    await_each(
        &cluster,
        REPLICAS,
        &[
            ("leadercount", 3),
            ("partitioncount", 6),
            ("underreplicatedpartitions", 0),
            ("underminisrpartitioncount", 0),
            // Where one is enough, `lone` is as close to it as it can be.
            ("atminisrpartitioncount", 1),
        ],
    );

    lose(&mut cluster, first);
    await_each(&cluster, CONTROLLER, &[("offlinepartitionscount", 1), ("activebrokercount", 2)]);
    let imbalance =
        sum(&cluster, "kafka_controller_kafkacontroller_preferredreplicaimbalancecount");
    assert!(imbalance >= 2.0, "lone has no leader and led has its second: {imbalance}");
    let wanted = [
        ("underreplicatedpartitions", 2),
        ("underminisrpartitioncount", 0),
        // `t`, and `led` whose min.insync.replicas is one.
        ("atminisrpartitioncount", 2),
    ];
    await_each(&cluster, REPLICAS, &wanted);
    let elections = sum(&cluster, "ottla_controller_elections_total");
    assert!(elections >= 1.0, "led has another leader: {elections}");
    let rate = "kafka_controller_controllerstats_leaderelectionrateandtimems";
    assert!(sum(&cluster, &format!("{rate}_count")) >= 1.0);
    assert!(sum(&cluster, &format!("{rate}{{quantile=\"0.99\"}}")) > 0.0);
    assert!(sum(&cluster, "ottla_controller_election_duration_seconds_sum") > 0.0);
    assert!(value(&cluster, controller, "ottla_controller_load_seconds").unwrap() > 0.0);

    lose(&mut cluster, second);
    await_each(&cluster, REPLICAS, &[("underminisrpartitioncount", 1)]);
    cluster.begin(first);
    cluster.begin(second);
    await_in_sync(&cluster, "t", 0, 3);
    await_in_sync(&cluster, "led", 0, 2);
    await_each(
        &cluster,
        REPLICAS,
        &[("underreplicatedpartitions", 0), ("underminisrpartitioncount", 0)],
    );
    await_each(&cluster, CONTROLLER, &[("offlinepartitionscount", 0)]);
    assert!(sum(&cluster, &format!("{REPLICAS}isrexpands_total")) >= 3.0);
    assert_eq!(value(&cluster, second, "ottla_controller_load_seconds"), Some(0.0));
}

#[test]
fn lag_is_told_by_the_leader_until_the_replica_is_back() {
    let mut cluster = Cluster::start(3, &[]);
    let [follower, leader, _] = brokers(&cluster);
    create_on(&cluster, "t", &[&[leader, follower]], &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let lag = format!("ottla_replication_lag_records{PARTITION}");
    await_sum(&cluster, &lag, 0.0);
    let fetcher = format!("clientId=\"ReplicaFetcherThread-0-{leader}\"");
    let labels = format!("{{{fetcher},topic=\"t\",partition=\"0\"}}");
    let copied = format!("kafka_server_fetcherlagmetrics_consumerlag{labels}");
    assert_eq!(value(&cluster, follower, &copied), Some(0.0));

    cluster.kill(follower);
    let (code, _) = produce(&mut cluster.client(leader), "t", 0, 1, &["b", "c", "d"]);
    assert_eq!(code, ErrorCode::None);
    await_each(&cluster, REPLICAS, &[("underreplicatedpartitions", 1)]);
    // The controller takes it out of the ISR, in an epoch in which it has fetched nothing.
    await_sum(&cluster, &lag, 4.0);
    assert_eq!(value(&cluster, leader, "ottla_replication_max_lag_records"), Some(4.0));
    await_that("the follower is late", || {
        value(&cluster, leader, "ottla_replication_max_lag_seconds").unwrap() > 1.0
    });
    cluster.begin(follower);
    await_each(&cluster, REPLICAS, &[("isrexpands_total", 1), ("underreplicatedpartitions", 0)]);
    await_sum(&cluster, "ottla_replication_max_lag_seconds", 0.0);
}

#[test]
fn unclean_elections_and_requests_of_another_epoch_are_counted() {
    let mut cluster = Cluster::start(3, &["unclean.leader.election.enable=true"]);
    let [first, second, controller] = brokers(&cluster);
    create_on(&cluster, "t", &[&[first, second]], &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    lose(&mut cluster, second);
    await_in_sync(&cluster, "t", 0, 1);
    lose(&mut cluster, first);
    cluster.begin(second);
    await_in_sync(&cluster, "t", 0, 1);
    await_sum(&cluster, "kafka_controller_controllerstats_uncleanleaderelections_total", 1.0);

    let partition = FetchPartition { current_leader_epoch: 0, ..Default::default() };
    let topics =
        vec![FetchTopic { topic: "t".into(), partitions: vec![partition], ..Default::default() }];
    let request = FetchRequest { session_epoch: -1, topics, ..Default::default() };
    let answer = cluster.client(second).call(&request, 11);
    let response: FetchResponse<'_> = answer.read(11);
    let fenced = ErrorCode::FencedLeaderEpoch;
    assert_eq!(response.responses[0].partitions[0].error_code, fenced.code());
    let errors = "kafka_network_requestmetrics_errors_total";
    let series = format!("{errors}{{request=\"Fetch\",error=\"FENCED_LEADER_EPOCH\"}}");
    assert_eq!(value(&cluster, second, &series), Some(1.0));
    assert!(value(&cluster, controller, "ottla_controller_epoch").unwrap() >= 1.0);
}

/// A replica whose broker is away keeps a deletion waiting.
#[test]
fn topics_that_wait_to_be_deleted_are_told() {
    let mut cluster = Cluster::start(3, &[]);
    let [first, second, _] = brokers(&cluster);
    create_on(&cluster, "t", &[&[first, second]], &[]);
    lose(&mut cluster, second);
    await_each(&cluster, CONTROLLER, &[("activebrokercount", 2)]);
    let request =
        DeleteTopicsRequest { topic_names: vec!["t".into()], timeout_ms: 0, ..Default::default() };
    let answer = cluster.client(cluster.controller()).call(&request, 5);
    let _: DeleteTopicsResponse<'_> = answer.read(5);
    let waits = [("topicstodeletecount", 1), ("replicastodeletecount", 1)];
    await_each(&cluster, CONTROLLER, &waits);
    cluster.begin(second);
    let done = [("topicstodeletecount", 0), ("replicastodeletecount", 0), ("globaltopiccount", 0)];
    await_each(&cluster, CONTROLLER, &done);
}

#[test]
fn sessions_that_end_are_counted_and_the_next_one_is_told() {
    let cluster = Cluster::start(3, &[]);
    let [first, ..] = brokers(&cluster);
    let listener = "kafka_server_sessionexpirelistener_zookeeper";
    let (expires, connects) =
        (format!("{listener}expires_total"), format!("{listener}syncconnects_total"));
    let connected = "ottla_coordination_session_state{state=\"CONNECTED\"}";
    let is = |wanted: [f64; 3]| {
        let found = [&*expires, &*connects, connected].map(|name| value(&cluster, first, name));
        found == wanted.map(Some)
    };
    assert!(is([0.0, 1.0, 1.0]), "{}", cluster.page(first));
    cluster.expire(first);
    await_that("the end of the session is counted, and the next", || is([1.0, 2.0, 1.0]));
}

/// Method: all are killed, and the machine of one is taken to have been started since.
#[test]
fn replicas_that_cannot_prove_themselves_are_told() {
    let mut cluster = Cluster::start(3, &["ottla.durability=replicated"]);
    let [first, second, _] = brokers(&cluster);
    create_on(&cluster, "t", &[&[first, second]], &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    await_sum(&cluster, "ottla_replication_unproven_replicas", 0.0);
    lose(&mut cluster, first);
    cluster.forget_the_boot(first);
    // Nobody lets it into the ISR again while its leader is away.
    lose(&mut cluster, second);
    cluster.begin(first);
    await_sum(&cluster, "ottla_replication_unproven_replicas", 1.0);
    cluster.begin(second);
    await_in_sync(&cluster, "t", 0, 2);
    await_sum(&cluster, "ottla_replication_unproven_replicas", 0.0);
}
