//! Settings of brokers that only several of them show.

use std::net::TcpListener;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use broker_config::broker::BrokerConfig;
use broker_config::raw::Properties;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::allocate_producer_ids::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse,
};
use broker_protocol::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};
use broker_protocol::message::create_topics::CreatableTopic;
use broker_protocol::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use broker_server::broker::Broker;
use broker_zookeeper::node::broker as registration;
use broker_zookeeper::path;

use super::admin::{create_on, set_of_broker};
use super::client::await_that;
use super::metrics::value;
use super::nodes::Cluster;
use super::records::make;
use super::topic::{acknowledged, await_in_sync, create, described};

/// Method: broker 1 follows half of eight partitions, all of them led by broker 2.
#[test]
fn what_is_copied_is_spread_over_as_many_fetchers_as_the_setting_says_now() {
    let cluster = Cluster::start(2, &["auto.leader.rebalance.enable=false"]);
    create(&cluster, "t", 8, &[("min.insync.replicas", "2")]);
    let fetchers = |id| value(&cluster, id, "ottla_tasks{task=\"fetcher\"}");
    assert_eq!([fetchers(1), fetchers(2)], [Some(1.0); 2]);
    for count in [3, 1] {
        set_of_broker(&cluster, 1, "num.replica.fetchers", &count.to_string());
        await_that(&format!("{count} fetchers"), || fetchers(1) == Some(f64::from(count)));
        for partition in 0..8 {
            acknowledged(&cluster, "t", partition, &["a"]);
            await_in_sync(&cluster, "t", partition, 2);
        }
    }
    assert_eq!(fetchers(2), Some(1.0), "it was not told to");
}

#[test]
fn a_topic_has_as_many_replicas_as_the_brokers_say_where_its_creator_does_not() {
    let cluster = Cluster::start(3, &["default.replication.factor=2"]);
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 1,
        replication_factor: -1,
        ..Default::default()
    };
    make(&mut cluster.client(cluster.controller()), topic);
    await_in_sync(&cluster, "t", 0, 2);
}

/// Method: the first replica goes and comes back; nobody asks for it to lead.
#[test]
fn leaders_go_back_to_the_first_replicas_once_they_are_out_of_balance() {
    let settings =
        ["leader.imbalance.check.interval.seconds=1", "leader.imbalance.per.broker.percentage=0"];
    let mut cluster = Cluster::start(3, &settings);
    let controller = cluster.controller();
    let others: Vec<i32> = cluster.running().into_iter().filter(|id| *id != controller).collect();
    create_on(&cluster, "t", &[&others], &[]);
    cluster.kill(others[0]);
    cluster.expire(others[0]);
    assert_eq!(await_in_sync(&cluster, "t", 0, 1), others[1]);
    cluster.begin(others[0]);
    await_in_sync(&cluster, "t", 0, 2);
    await_that("the first replica leads", || {
        let said = described(&cluster, "t", 0);
        said.iter().flatten().all(|led| led.leader == others[0])
    });
}

/// Method: clients use one listener, followers another, the controller a third.
#[test]
fn brokers_and_the_controller_use_the_listeners_that_are_theirs() {
    let settings = [
        "listeners=OUT://127.0.0.1:0,IN://127.0.0.1:0,CONTROL://127.0.0.1:0",
        "listener.security.protocol.map=OUT:PLAINTEXT,IN:PLAINTEXT,CONTROL:PLAINTEXT",
        "inter.broker.listener.name=IN",
        "control.plane.listener.name=CONTROL",
    ];
    let cluster = Cluster::start(2, &settings);
    create(&cluster, "t", 2, &[("min.insync.replicas", "2")]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let controller = cluster.controller();
    let other = if controller == 1 { 2 } else { 1 };
    let came = |id, listener: &str| {
        value(&cluster, id, &format!("ottla_connections_total{{listener=\"{listener}\"}}"))
    };
    for id in [1, 2] {
        assert!(came(id, "IN") > Some(0.0), "{id} leads one partition, which is copied");
    }
    assert!(came(other, "CONTROL") > Some(0.0), "it obeys the controller");
    // The controller tells its own broker in memory.
    assert!(came(controller, "CONTROL").unwrap_or(0.0) < 0.5);
    refuses_clients(&cluster, controller);
}

/// What brokers ask is refused where clients come, and answered where brokers come.
fn refuses_clients(cluster: &Cluster, controller: i32) {
    let refused = ErrorCode::ClusterAuthorizationFailed.code();
    for (listener, is_refused) in [("OUT", true), ("IN", false), ("CONTROL", false)] {
        let mut client = cluster.client_at(controller, listener);
        let shutdown = ControlledShutdownRequest { broker_id: 99, broker_epoch: -1 };
        let answer = client.call(&shutdown, 3);
        let shutdown: ControlledShutdownResponse<'_> = answer.read(3);
        let answer = client.call(&AlterPartitionRequest::default(), 2);
        let altered: AlterPartitionResponse<'_> = answer.read(2);
        let answer = client.call(&AllocateProducerIdsRequest::default(), 0);
        let ids: AllocateProducerIdsResponse = answer.read(0);
        for code in [shutdown.error_code, altered.error_code, ids.error_code] {
            assert_ne!(code, ErrorCode::None.code(), "{listener}");
            assert_eq!(code == refused, is_refused, "{listener}: {code}");
        }
    }
}

/// How often brokers have asked the controller to take their leadership.
fn shutdowns(cluster: &Cluster, controller: i32) -> f64 {
    let asked = "kafka_network_requestmetrics_totaltimems_count{request=\"ControlledShutdown\"}";
    value(cluster, controller, asked).unwrap_or(0.0)
}

/// A topic whose only other replica is down, so that nobody can take it over; returns its leader, and the
/// controller, which has no replica.
fn without_successor(cluster: &mut Cluster) -> (i32, i32) {
    let controller = cluster.controller();
    let others: Vec<i32> = cluster.running().into_iter().filter(|id| *id != controller).collect();
    create_on(cluster, "t", &[&others], &[]);
    cluster.kill(others[1]);
    cluster.expire(others[1]);
    assert_eq!(await_in_sync(cluster, "t", 0, 1), others[0]);
    (others[0], controller)
}

#[test]
fn leadership_is_handed_over_as_often_and_as_soon_as_the_settings_say() {
    let settings =
        ["controlled.shutdown.max.retries=2", "controlled.shutdown.retry.backoff.ms=300"];
    let mut cluster = Cluster::start(3, &settings);
    let (leader, controller) = without_successor(&mut cluster);
    let began = Instant::now();
    cluster.stop(leader);
    assert!(began.elapsed() >= 2 * Duration::from_millis(300));
    assert_eq!(shutdowns(&cluster, controller).to_string(), "3", "once, and twice again");
}

#[test]
fn leadership_is_not_handed_over_where_that_is_switched_off() {
    let mut cluster = Cluster::start(3, &["controlled.shutdown.enable=false"]);
    let (leader, controller) = without_successor(&mut cluster);
    cluster.stop(leader);
    assert_eq!(shutdowns(&cluster, controller).to_string(), "0");
}

#[test]
fn ids_that_are_given_out_are_above_those_that_are_reserved() {
    let cluster = Cluster::start(1, &["broker.id=-1", "reserved.broker.max.id=5000"]);
    assert_eq!(cluster.controller(), 5001);
}

/// By the wire, and by the node that old tools write.
#[test]
fn no_topic_is_deleted_where_that_is_switched_off() {
    let cluster = Cluster::start(2, &["delete.topic.enable=false"]);
    create(&cluster, "t", 1, &[]);
    let request = DeleteTopicsRequest { topic_names: vec!["t".into()], ..Default::default() };
    let answer = cluster.client(cluster.controller()).call(&request, 5);
    let response: DeleteTopicsResponse<'_> = answer.read(5);
    assert_eq!(response.responses[0].error_code, ErrorCode::TopicDeletionDisabled.code());
    cluster.make(&path::delete_topic("t"), b"");
    await_that("the wish is taken away", || cluster.children(path::DELETE_TOPICS).is_empty());
    acknowledged(&cluster, "t", 0, &["a"]);
    await_in_sync(&cluster, "t", 0, 2);
}

/// Nobody listens at the port; a session would live for 18 seconds.
#[tokio::test]
async fn a_start_waits_for_zookeeper_as_long_as_it_is_set_to() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let mut properties = Properties::default();
    for setting in [
        format!("zookeeper.connect={closed}"),
        "zookeeper.connection.timeout.ms=200".to_owned(),
        "metrics.listener=".to_owned(),
        format!("log.dirs={}", dir.path().display()),
    ] {
        properties.set(&setting).unwrap();
    }
    let config = BrokerConfig::from_properties(&properties).unwrap();
    let refused = format!("{:#}", Broker::start(config).await.err().unwrap());
    assert!(refused.contains("within 200ms"), "{refused}");
}

/// Method: a broker that is registered takes the controller's connections and never answers.
#[test]
fn a_broker_that_is_silent_is_given_up_and_asked_anew_after_the_time_of_the_setting() {
    let cluster = Cluster::start(1, &["controller.socket.timeout.ms=100"]);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let path = path::broker_id(8);
    let (data, _) = cluster.get(&path::broker_id(1));
    let mut silent_one = registration::Broker::decode(&path, &data).unwrap();
    silent_one.endpoints[0].port = silent.local_addr().unwrap().port();
    cluster.make(&path, &silent_one.encode());
    let (came, comes) = mpsc::channel();
    std::thread::spawn(move || {
        // Each is kept open.
        while came.send(silent.accept().unwrap()).is_ok() {}
    });
    let kept: Vec<_> =
        (0..3).map(|_| comes.recv_timeout(Duration::from_secs(20)).unwrap()).collect();
    assert_eq!(kept.len(), 3);
}
