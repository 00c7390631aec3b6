//! Topics that an operator makes, grows, configures and deletes through any broker.

use std::collections::HashMap;

use broker_admin::v1::{
    ConfigureTopicRequest, CreateTopicRequest, DeleteTopicRequest, GrowTopicRequest,
    WatchTopicsRequest,
};
use broker_protocol::error_code::ErrorCode;
use broker_zookeeper::path;
use tonic::{Code, Status};

use super::super::admin::set_of_topic;
use super::super::topic::produce;
use super::*;

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAQ";
const OTHER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAg";

fn lists(assignment: &[&[i32]]) -> Vec<ReplicaList> {
    assignment.iter().map(|brokers| ReplicaList { brokers: brokers.to_vec() }).collect()
}

fn settings(pairs: &[(&str, &str)]) -> HashMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

impl Operator {
    fn make(
        &self,
        cluster: &Cluster,
        (name, id): (&str, &str),
        assignment: &[&[i32]],
        configuration: &[(&str, &str)],
    ) -> Result<(), Status> {
        let request = CreateTopicRequest {
            fence: Some(self.fence()),
            name: name.to_owned(),
            topic_id: id.to_owned(),
            assignment: lists(assignment),
            configuration: settings(configuration),
        };
        self.ask(cluster, 1, async |mut client| client.create_topic(request).await).map(drop)
    }

    fn grow(
        &self,
        cluster: &Cluster,
        id: &str,
        from: i32,
        assignment: &[&[i32]],
    ) -> Result<(), Status> {
        let request = GrowTopicRequest {
            fence: Some(self.fence()),
            name: "t".to_owned(),
            topic_id: id.to_owned(),
            from,
            assignment: lists(assignment),
        };
        self.ask(cluster, 2, async |mut client| client.grow_topic(request).await).map(drop)
    }

    fn configure(
        &self,
        cluster: &Cluster,
        id: &str,
        set: &[(&str, &str)],
        reset: &[&str],
    ) -> Result<(), Status> {
        let request = ConfigureTopicRequest {
            fence: Some(self.fence()),
            name: "t".to_owned(),
            topic_id: id.to_owned(),
            set: settings(set),
            reset: reset.iter().map(ToString::to_string).collect(),
        };
        self.ask(cluster, 3, async |mut client| client.configure_topic(request).await).map(drop)
    }

    fn delete(&self, cluster: &Cluster, id: &str) -> Result<(), Status> {
        let request = DeleteTopicRequest {
            fence: Some(self.fence()),
            name: "t".to_owned(),
            topic_id: id.to_owned(),
        };
        self.ask(cluster, 1, async |mut client| client.delete_topic(request).await).map(drop)
    }
}

fn code(outcome: Result<(), Status>) -> Code {
    outcome.map_or_else(|status| status.code(), |()| Code::Ok)
}

/// The same call again is no error; another topic of the name is, and so is what cannot be.
#[test]
fn a_topic_is_made_once_with_the_id_that_was_said() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    let short = [("retention.ms", "1000")];
    for _ in 0..2 {
        operator.make(&cluster, ("t", ID), &[&[1, 2], &[3, 1]], &short).unwrap();
    }
    await_in_sync(&cluster, "t", 0, 2);
    await_in_sync(&cluster, "t", 1, 2);
    assert_eq!(produce(&mut cluster.client(1), "t", 0, -1, &["a"]).0, ErrorCode::None);
    let topic = operator.topic(&cluster, "t");
    assert_eq!((&*topic.topic_id, topic.deleting), (ID, false));
    assert_eq!(
        (topic.configuration, &*topic.configuration_author),
        (settings(&short), "operator-2")
    );
    let [one, two] = &topic.partitions[..] else { panic!("{:?}", topic.partitions) };
    assert_eq!((&one.replicas, one.leader, one.in_sync.len()), (&vec![1, 2], 1, 2));
    assert!(one.size.is_some_and(|size| size > 0), "{one:?}");
    assert_eq!((&two.replicas, two.leader, two.size), (&vec![3, 1], 3, None));

    operator.cordon(&cluster, 3, true).unwrap();
    let rows: [(&str, &str, &[&[i32]], &[(&str, &str)], Code); 8] = [
        ("t", OTHER_ID, &[&[1]], &[], Code::AlreadyExists),
        ("u", "short", &[&[1]], &[], Code::InvalidArgument),
        ("u", ID, &[&[1]], &[], Code::InvalidArgument),
        ("a/b", OTHER_ID, &[&[1]], &[], Code::InvalidArgument),
        ("u", OTHER_ID, &[], &[], Code::InvalidArgument),
        ("u", OTHER_ID, &[&[1]], &[("retention.mss", "1")], Code::InvalidArgument),
        ("u", OTHER_ID, &[&[3]], &[], Code::FailedPrecondition),
        ("u", OTHER_ID, &[&[9]], &[], Code::FailedPrecondition),
    ];
    for (name, id, assignment, configuration, expected) in rows {
        let made = operator.make(&cluster, (name, id), assignment, configuration);
        assert_eq!(code(made), expected, "{name} {id} {assignment:?} {configuration:?}");
    }
    let stale = Operator::new(1);
    assert_eq!(code(stale.make(&cluster, ("u", OTHER_ID), &[&[1]], &[])), Code::PermissionDenied);
    assert_eq!(operator.topics(&cluster, 2, &[]).len(), 1);
    assert_eq!(operator.topics(&cluster, 2, &["u"]), []);
}

#[test]
fn a_topic_grows_from_the_number_that_was_said() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    operator.make(&cluster, ("t", ID), &[&[1, 2]], &[]).unwrap();
    for _ in 0..2 {
        operator.grow(&cluster, ID, 1, &[&[2, 3], &[3, 1]]).unwrap();
    }
    for partition in 0..3 {
        await_in_sync(&cluster, "t", partition, 2);
    }
    let rows: [(&str, i32, &[&[i32]], Code); 6] = [
        (OTHER_ID, 3, &[&[1, 2]], Code::NotFound),
        (ID, 1, &[&[2, 3]], Code::FailedPrecondition),
        (ID, 1, &[&[2, 3], &[1, 2]], Code::FailedPrecondition),
        (ID, 3, &[&[1, 9]], Code::FailedPrecondition),
        (ID, 3, &[&[1, 1]], Code::InvalidArgument),
        (ID, 3, &[], Code::InvalidArgument),
    ];
    for (id, from, assignment, expected) in rows {
        let grown = operator.grow(&cluster, id, from, assignment);
        assert_eq!(code(grown), expected, "{id} {from} {assignment:?}");
    }
    assert_eq!(code(Operator::new(1).grow(&cluster, ID, 3, &[&[1, 2]])), Code::PermissionDenied);
    assert_eq!(operator.topic(&cluster, "t").partitions.len(), 3);
}

/// Who changed them last is told, whichever way it was done.
#[test]
fn settings_of_a_topic_have_an_author() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    operator.make(&cluster, ("t", ID), &[&[1, 2]], &[("retention.ms", "1000")]).unwrap();
    for _ in 0..2 {
        operator.configure(&cluster, ID, &[("segment.ms", "5000")], &["retention.ms"]).unwrap();
    }
    let topic = operator.topic(&cluster, "t");
    assert_eq!(topic.configuration, settings(&[("segment.ms", "5000")]));
    await_in_sync(&cluster, "t", 0, 2);
    set_of_topic(&cluster, "t", "segment.ms", "6000");
    let topic = operator.topic(&cluster, "t");
    assert_eq!(topic.configuration, settings(&[("segment.ms", "6000")]));
    let author = topic.configuration_author;
    assert!(author.contains("User:ANONYMOUS") && author.contains("host 127.0.0.1"), "{author}");
    // As Kafka writes it.
    cluster.put(&path::topic_config("t"), br#"{"version":1,"config":{"segment.ms":"6000"}}"#);
    assert_eq!(operator.topic(&cluster, "t").configuration_author, "");

    let wrong = operator.configure(&cluster, ID, &[("segment.ms", "long")], &[]).unwrap_err();
    assert_eq!(wrong.code(), Code::InvalidArgument);
    assert!(wrong.message().contains("segment.ms"), "{wrong}");
    assert_eq!(code(operator.configure(&cluster, OTHER_ID, &[], &[])), Code::NotFound);
    let stale = Operator::new(1).configure(&cluster, ID, &[], &["segment.ms"]);
    assert_eq!(code(stale), Code::PermissionDenied);
    assert_eq!(operator.topic(&cluster, "t").configuration, settings(&[("segment.ms", "6000")]));
}

/// Another topic of the name is left alone; watchers hear of what comes and goes.
#[test]
fn a_topic_is_deleted_by_its_id() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    let mut client = operator.client(&cluster, 3);
    let watched = async { client.watch_topics(WatchTopicsRequest {}).await.unwrap().into_inner() };
    let mut watched = operator.runtime.block_on(watched);
    let mut told = || operator.runtime.block_on(watched.message()).unwrap().unwrap();
    assert!(told().all);
    operator.make(&cluster, ("t", ID), &[&[1, 2]], &[]).unwrap();
    assert_eq!(told().names, ["t"]);
    await_in_sync(&cluster, "t", 0, 2);
    operator.delete(&cluster, OTHER_ID).unwrap();
    assert_eq!(code(Operator::new(1).delete(&cluster, ID)), Code::PermissionDenied);
    assert!(!operator.topic(&cluster, "t").deleting);
    for _ in 0..2 {
        operator.delete(&cluster, ID).unwrap();
    }
    await_that("it is gone", || operator.topics(&cluster, 2, &["t"]).is_empty());
    operator.delete(&cluster, ID).unwrap();
    await_that("the mark is gone", || cluster.children(path::DELETE_TOPICS).is_empty());
    operator.make(&cluster, ("t", OTHER_ID), &[&[1, 2]], &[]).unwrap();
    operator.delete(&cluster, ID).unwrap();
    assert_eq!(operator.topic(&cluster, "t").topic_id, OTHER_ID);
}

#[test]
fn no_topic_is_deleted_for_an_operator_where_that_is_switched_off() {
    let cluster = Cluster::start(1, &["delete.topic.enable=false"]);
    let operator = Operator::new(1);
    operator.make(&cluster, ("t", ID), &[&[1]], &[]).unwrap();
    assert_eq!(code(operator.delete(&cluster, ID)), Code::FailedPrecondition);
    operator.delete(&cluster, OTHER_ID).unwrap();
}
