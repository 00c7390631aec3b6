//! Three brokers, each behind a relay for clients, while they and the test speak straight.
//!
//! Each leads a partition of a topic. Of partition 0, which the histories are about, it is known who leads it
//! first, and who then.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use broker_protocol::message::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreateTopicsRequest, CreateTopicsResponse,
};
use broker_protocol::message::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use e2e::broker::{Broker, free_port};
use e2e::cluster::workload::admin;
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::wire::Connection;

use super::relay::Relay;

/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Where replicas of partitions 0, 1 and 2 are, the leader first.
const REPLICAS: [[i32; 3]; 3] = [[1, 2, 3], [2, 3, 1], [3, 1, 2]];

/// The places of brokers 1 and 2 among the members.
const FIRST: usize = 0;
const NEXT: usize = 1;

/// A broker and what is before it.
pub(crate) struct Member {
    broker: Broker,
    pub(crate) relay: Relay,
}

impl Member {
    fn start(name: &str, directory: &Path, connect: &str, id: usize) -> Result<Self> {
        let (for_clients, straight) = (free_port()?, free_port()?);
        let relay = Relay::before(for_clients)?;
        let (id, address) = (id.to_string(), relay.address);
        let straight = format!("PLAINTEXT://127.0.0.1:{straight}");
        let listeners = format!("CLIENTS://127.0.0.1:{for_clients},{straight}");
        let advertised = format!("CLIENTS://{address},{straight}");
        let settings = [
            ("zookeeper.connect", connect),
            ("broker.id", &id),
            ("listeners", &listeners),
            ("advertised.listeners", &advertised),
            ("listener.security.protocol.map", "CLIENTS:PLAINTEXT,PLAINTEXT:PLAINTEXT"),
            ("inter.broker.listener.name", "PLAINTEXT"),
            ("min.insync.replicas", "2"),
        ];
        let broker = Broker::start(&format!("{name}-{id}"), &directory.join(&id), &settings)?;
        Ok(Self { broker, relay })
    }

    /// Connects past the relay.
    pub(crate) fn connect(&self) -> Result<Connection> {
        Connection::open(self.broker.bootstrap())
    }

    /// Waits until it leads partition 0, and all in sync have what is below `end`, which is all.
    pub(crate) fn leads_until(&self, topic: &str, end: i64) -> Result<()> {
        let partition = ListOffsetsPartition { timestamp: -1, ..Default::default() };
        let topics = vec![ListOffsetsTopic { name: topic.into(), partitions: vec![partition] }];
        let request = ListOffsetsRequest { replica_id: -1, topics, ..Default::default() };
        let mut connection = self.connect()?;
        Deadline::after(PATIENCE).poll(&format!("{end} records of {topic}"), || {
            let answer = connection.call(&request, 5)?;
            let response: ListOffsetsResponse<'_> = answer.read(5)?;
            let partition = response.topics.first().and_then(|topic| topic.partitions.first());
            let partition = partition.context("no partition in the answer")?;
            Ok((partition.error_code == 0 && partition.offset == end).then_some(()))
        })
    }
}

/// Brokers on a ZooKeeper of their own.
pub(crate) struct Cluster {
    members: Vec<Member>,
    _zookeeper: Zookeeper,
}

impl Cluster {
    pub(crate) fn start(name: &str, directory: &Path) -> Result<Self> {
        let zookeeper = Zookeeper::start(name, &directory.join("zookeeper"), None)?;
        let connect = format!("{}/{name}", zookeeper.address);
        let members = (1..=3).map(|id| Member::start(name, directory, &connect, id));
        Ok(Self { members: members.collect::<Result<_>>()?, _zookeeper: zookeeper })
    }

    /// Where clients begin.
    pub(crate) fn bootstrap(&self) -> String {
        let all = self.members.iter().map(|member| member.relay.address.to_string());
        all.collect::<Vec<_>>().join(",")
    }

    /// Who leads partition 0 first.
    pub(crate) fn first_leader(&self) -> &Member {
        &self.members[FIRST]
    }

    /// Who leads it when it was moved.
    pub(crate) fn next_leader(&self) -> &Member {
        &self.members[NEXT]
    }

    /// Makes a topic with a leader on each broker, once the one that is asked knows all.
    pub(crate) fn create(&self, topic: &str) -> Result<()> {
        Deadline::after(PATIENCE).poll("a topic", || Ok(self.try_create(topic).ok()))
    }

    fn try_create(&self, name: &str) -> Result<()> {
        let assigned = |(partition_index, ids): (i32, &[i32; 3])| CreatableReplicaAssignment {
            partition_index,
            broker_ids: ids.to_vec(),
        };
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            assignments: (0..).zip(&REPLICAS).map(assigned).collect(),
            ..Default::default()
        };
        let body = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let answer = self.first_leader().connect()?.call(&body, 5)?;
        let response: CreateTopicsResponse<'_> = answer.read(5)?;
        let result = response.topics.first().context("no topic in the answer")?;
        ensure!(result.error_code == 0, "create {name}: {result:?}");
        Ok(())
    }

    /// Has the old leader of partition 0 give it away, and the new one lead with `end` records.
    pub(crate) fn move_away(&self, topic: &str, end: i64) -> Result<()> {
        admin::reassign(
            &mut self.first_leader().connect()?,
            topic,
            0,
            REPLICAS[0][NEXT..].to_vec(),
        )?;
        self.next_leader().leads_until(topic, end)
    }

    /// What the new leader has of partition 0.
    pub(crate) fn values(&self, topic: &str) -> Result<Vec<String>> {
        let seen = self.next_leader().connect()?.read_partition(topic, 0, 0)?;
        let values = seen.into_iter().map(|seen| {
            let value = seen.value.context("a record without a value")?;
            Ok(String::from_utf8(value)?)
        });
        values.collect()
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.members.iter_mut().try_for_each(|member| member.broker.stop())
    }
}
