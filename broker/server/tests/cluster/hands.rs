//! Hands in the tree: nodes that nobody can read, and topics that go and come without a word.

use broker_zookeeper::path;

use super::client::await_that;
use super::nodes::Cluster;
use super::topic::{acknowledged, await_consumed, await_in_sync, create, described};

/// Nobody makes a topic by asking for it.
const FORGETS: [&str; 1] = ["auto.create.topics.enable=false"];

const SPOILT: &[u8] = b"{\"version\":3,";

/// Has another controller take over.
fn fail_over(cluster: &mut Cluster) {
    let controller = cluster.controller();
    cluster.kill(controller);
    cluster.expire(controller);
    await_that("another controller", || cluster.has_controller_beside(controller));
    cluster.begin(controller);
}

/// Every broker hears from a controller that cannot read the topic, and each log stays where it is.
#[test]
fn a_topic_whose_node_is_spoilt_keeps_its_records() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &[]);
    create(&cluster, "u", 1, &[]);
    for record in ["a", "b", "c"] {
        acknowledged(&cluster, "t", 0, &[record]);
    }
    let whole = cluster.put(&path::topic("t"), SPOILT);
    fail_over(&mut cluster);
    // What it tells comes after what it told of all.
    await_in_sync(&cluster, "u", 0, 3);
    create(&cluster, "v", 1, &[]);
    cluster.put(&path::topic("t"), &whole);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a", "b", "c"]);
    for id in 1..=3 {
        assert_eq!(cluster.strays(id), [""; 0]);
    }
}

#[test]
fn a_state_that_is_spoilt_stops_its_partition_and_no_other() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 2, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let whole = cluster.put(&path::partition_state("t", 0), SPOILT);
    fail_over(&mut cluster);
    await_in_sync(&cluster, "t", 1, 3);
    create(&cluster, "u", 1, &[]);
    let leader = await_in_sync(&cluster, "u", 0, 3);
    let other = (1..=3).find(|id| *id != leader && *id != cluster.controller()).unwrap();
    cluster.kill(other);
    cluster.expire(other);
    await_in_sync(&cluster, "u", 0, 2);
    cluster.begin(other);
    cluster.put(&path::partition_state("t", 0), &whole);
    // Which would read it again within a minute.
    fail_over(&mut cluster);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a"]);
}

/// A broker was down when a topic went and another of its name came: it copies that one.
#[test]
fn a_topic_made_again_takes_the_place_of_its_predecessor_on_who_was_away() {
    let mut cluster = Cluster::start(3, &FORGETS);
    create(&cluster, "t", 1, &[]);
    acknowledged(&cluster, "t", 0, &["of the first"]);
    let away = (1..=3).find(|id| *id != cluster.controller()).unwrap();
    cluster.kill(away);
    cluster.expire(away);
    let node = String::from_utf8(cluster.unmake("t")).unwrap();
    await_that("the topic goes", || described(&cluster, "t", 0) == [None, None]);
    let (before, id) = node.split_once("\"topic_id\":\"").unwrap();
    let (_, after) = id.split_once('"').unwrap();
    let again = format!("{before}\"topic_id\":\"MDAwMDAwMDAwMDAwMDAwMA\"{after}");
    cluster.make(&path::topic("t"), again.as_bytes());
    await_in_sync(&cluster, "t", 0, 2);
    acknowledged(&cluster, "t", 0, &["of the second"]);
    cluster.begin(away);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["of the second"]);
    assert_eq!(cluster.strays(away).len(), 1, "what it had is kept under another name");
}

/// A topic that goes while no controller looks is told as gone by none: who has no replica of it forgets
/// it by what it is told of all.
#[test]
fn a_topic_that_goes_unseen_is_forgotten_by_every_broker() {
    let mut cluster = Cluster::start(3, &FORGETS);
    create(&cluster, "t", 1, &[]);
    create(&cluster, "u", 1, &[]);
    let controller = cluster.controller();
    cluster.kill(controller);
    cluster.unmake("t");
    cluster.expire(controller);
    await_in_sync(&cluster, "u", 0, 2);
    await_that("the topic is forgotten", || described(&cluster, "t", 0) == [None, None]);
}

/// A topic is deleted while a broker is away, and another controller goes on with that: the broker that comes
/// back deletes what it has.
#[test]
fn a_topic_that_goes_while_a_broker_is_away_leaves_no_log_behind() {
    let mut cluster = Cluster::start(3, &FORGETS);
    create(&cluster, "t", 1, &[]);
    create(&cluster, "u", 1, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    let away = (1..=3).find(|id| *id != cluster.controller()).unwrap();
    cluster.kill(away);
    cluster.expire(away);
    await_in_sync(&cluster, "t", 0, 2);
    cluster.make(&path::delete_topic("t"), b"");
    await_that("the topic goes", || described(&cluster, "t", 0) == [None, None]);
    fail_over(&mut cluster);
    await_in_sync(&cluster, "u", 0, 2);
    cluster.begin(away);
    await_in_sync(&cluster, "u", 0, 3);
    for id in 1..=3 {
        await_that("its log goes", || !cluster.dir(id).join("t-0").exists());
        assert_eq!(cluster.strays(id), [""; 0], "{id}");
    }
}

/// Settings that nobody can read stop neither a broker nor a topic.
#[test]
fn brokers_start_where_the_settings_of_a_topic_are_spoilt() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &[("retention.ms", "-1")]);
    create(&cluster, "u", 1, &[]);
    acknowledged(&cluster, "t", 0, &["a"]);
    cluster.put(&path::topic_config("t"), SPOILT);
    let restarted = (1..=3).find(|id| *id != cluster.controller()).unwrap();
    cluster.kill(restarted);
    cluster.expire(restarted);
    cluster.begin(restarted);
    for topic in ["t", "u"] {
        await_in_sync(&cluster, topic, 0, 3);
    }
    acknowledged(&cluster, "t", 0, &["b"]);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a", "b"]);
}
