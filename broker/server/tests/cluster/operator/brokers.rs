//! Brokers as an operator sees them, configures them and has them forgotten; and one broker that is all there is.

use broker_admin::v1::{
    ConfigureBrokersRequest, DescribeClusterRequest, DescribeClusterResponse, ForgetBrokerRequest,
};
use broker_zookeeper::path;
use tonic::{Code, Status};

use super::*;

impl Operator {
    pub(super) fn cluster(&self, cluster: &Cluster) -> DescribeClusterResponse {
        let request = DescribeClusterRequest {};
        self.ask(cluster, 1, async |mut client| client.describe_cluster(request).await).unwrap()
    }

    fn set(
        &self,
        cluster: &Cluster,
        broker_id: Option<i32>,
        (key, value): (&str, &str),
    ) -> Result<(), Status> {
        let fence = Some(self.fence());
        let set = [(key.to_owned(), value.to_owned())].into();
        let request = ConfigureBrokersRequest { fence, broker_id, set, reset: Vec::new() };
        self.ask(cluster, 1, async |mut client| client.configure_brokers(request).await).map(drop)
    }

    fn forget(&self, cluster: &Cluster, broker_id: i32) -> Result<(), Status> {
        let request = ForgetBrokerRequest { fence: Some(self.fence()), broker_id };
        self.ask(cluster, 1, async |mut client| client.forget_broker(request).await).map(drop)
    }
}

#[test]
fn brokers_are_told_with_what_they_hold() {
    let cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    create_on(&cluster, "t", &[&[1, 2], &[2, 1], &[2, 3]], &[]);
    operator.cordon(&cluster, 3, true).unwrap();
    for _ in 0..2 {
        operator.set(&cluster, None, ("log.cleaner.threads", "2")).unwrap();
        operator.set(&cluster, Some(7), ("leader.replication.throttled.rate", "5")).unwrap();
    }
    let told = operator.cluster(&cluster);
    assert_eq!(told.controller_id, cluster.controller());
    assert_eq!(told.cluster_id, operator.identity(&cluster, 2).cluster_id);
    assert_eq!(told.dynamic_settings["log.cleaner.threads"], "2");
    let brokers: Vec<_> = told
        .brokers
        .iter()
        .map(|one| (one.broker_id, &*one.rack, one.cordoned, one.replicas, one.preferred_leaders))
        .collect();
    let expected = [
        (1, "r1", false, 2, 1),
        (2, "r2", false, 3, 2),
        (3, "r3", true, 1, 0),
        (7, "", false, 0, 0),
    ];
    assert_eq!(brokers, expected);
    assert_eq!(
        (told.brokers[0].broker_epoch, told.brokers[3].broker_epoch),
        (cluster.epoch(1), -1)
    );
    assert_eq!(told.brokers[3].dynamic_settings["leader.replication.throttled.rate"], "5");
    assert!(!told.has_move_throttles, "a person's own is none");
}

#[test]
fn settings_of_brokers_that_need_a_restart_are_refused() {
    let cluster = Cluster::start(1, &[]);
    let operator = Operator::new(2);
    let rows = [
        (None, ("broker.rack", "r9")),
        (None, ("log.cleaner.threads", "many")),
        (None, ("unheard.of", "1")),
        (Some(-1), ("log.cleaner.threads", "1")),
    ];
    for (broker, (key, value)) in rows {
        let refused = operator.set(&cluster, broker, (key, value)).unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{key}");
        assert!(broker.is_some() || refused.message().contains(key), "{refused}");
    }
    let stale = Operator::new(1).set(&cluster, None, ("log.cleaner.threads", "2"));
    assert_eq!(stale.unwrap_err().code(), Code::PermissionDenied);
    assert!(operator.cluster(&cluster).dynamic_settings.is_empty());
}

#[test]
fn a_broker_is_forgotten_once_it_has_gone_and_holds_nothing() {
    let mut cluster = Cluster::start(3, &[]);
    let operator = Operator::new(2);
    create_on(&cluster, "t", &[&[1, 3]], &[]);
    operator.cordon(&cluster, 3, true).unwrap();
    operator.set(&cluster, Some(3), ("leader.replication.throttled.rate", "5")).unwrap();
    let refused = operator.forget(&cluster, 3).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("registered"), "{refused}");
    cluster.stop(3);
    let refused = operator.forget(&cluster, 3).unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("t-0"), "{refused}");
    reassign(&cluster, "t", 0, &[1, 2]);
    await_that("it holds nothing", || {
        operator.topic(&cluster, "t").partitions[0].replicas == [1, 2]
    });
    let stale = Operator::new(1).forget(&cluster, 3).unwrap_err();
    assert_eq!(stale.code(), Code::PermissionDenied);
    assert!(cluster.children(path::CONFIG_BROKERS).contains(&"3".to_owned()));
    for id in [3, 3, 8] {
        operator.forget(&cluster, id).unwrap();
    }
    assert!(!cluster.children(path::CONFIG_BROKERS).contains(&"3".to_owned()));
    assert_eq!(operator.cordon(&cluster, 9, false).unwrap(), [0; 0]);
    let ids: Vec<_> = operator.cluster(&cluster).brokers.iter().map(|one| one.broker_id).collect();
    assert_eq!(ids, [1, 2]);
}

/// The digest is of the settings: the same after a restart, another where one differs.
#[test]
fn an_identity_tells_starts_apart() {
    let mut cluster = Cluster::start(2, &[]);
    let operator = Operator::new(1);
    let one = operator.identity(&cluster, 1);
    assert_eq!(one.configuration_digest.len(), 16);
    assert_ne!(operator.identity(&cluster, 2).configuration_digest, one.configuration_digest);
    assert_eq!(one.inter_broker_protocols.first().map(String::as_str), Some("0.11.0-IV2"));
    assert!(one.inter_broker_protocols.contains(&one.inter_broker_protocol));
    cluster.stop(1);
    cluster.begin(1);
    assert_eq!(operator.identity(&cluster, 1).configuration_digest, one.configuration_digest);
}
