//! An administrator who never rests: topics are made, written to, grown, changed and deleted under
//! names that come again; replicas of the judged topics change places, leaders are asked back.
//!
//! Judged: a topic never holds records of an earlier one of its name, and what was acknowledged is so
//! once the cluster is at rest.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::message::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignableTopic,
};
use broker_protocol::message::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic,
};
use broker_protocol::message::delete_topics::{DeleteTopicsRequest, DeleteTopicsResponse};
use broker_protocol::message::elect_leaders::ElectLeadersRequest;
use broker_protocol::message::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;

use super::{Shared, TOPICS};
use crate::cluster::checker::Rule;
use crate::cluster::history::What;
use crate::cluster::view::{self, ANSWER, CONNECT};
use crate::deadline;
use crate::wire::{Connection, PRODUCE_VERSION};

const PACE: Duration = Duration::from_millis(700);
const TIMEOUT_MS: i32 = 8_000;
const NAMES: [&str; 3] = ["churn-a", "churn-b", "churn-c"];
const RESOURCE_TOPIC: i8 = 2;
const UNKNOWN_TOPIC: i16 = 3;

/// What is known of a topic, by what was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Absent,
    Present,
    /// An answer was lost.
    Unsure,
}

/// The administrator.
#[derive(Debug)]
pub struct Churn {
    shared: Shared,
    process: u32,
    rng: fastrand::Rng,
    topics: BTreeMap<&'static str, Known>,
    /// What the values of the next topic begin with.
    incarnation: u64,
    operations: u64,
}

impl Churn {
    /// An administrator whose history is that of `process`.
    pub fn new(shared: Shared, process: u32, seed: u64) -> Self {
        let topics = NAMES.iter().map(|name| (*name, Known::Absent)).collect();
        let rng = fastrand::Rng::with_seed(seed);
        Self { shared, process, rng, topics, incarnation: 0, operations: 0 }
    }

    /// Works until it is told to stop; returns itself for [`Churn::judge`].
    #[must_use]
    pub fn run(mut self) -> Self {
        while !self.shared.stopped() {
            let name = NAMES[self.rng.usize(..NAMES.len())];
            let done = match (self.topics[name], self.rng.u32(..10)) {
                (_, 0..2) => self.shuffle(),
                (Known::Absent, _) => self.create(name),
                (Known::Present, 2..4) => self.grow(name),
                (Known::Present, 4..6) => self.alter(name),
                (Known::Present, 6..8) => self.relocate(name),
                (Known::Present | Known::Unsure, _) => self.delete(name),
            };
            match done {
                Ok(()) => self.operations += 1,
                Err(_) => self.shared.look_again(),
            }
            deadline::pass(PACE);
        }
        self
    }

    fn controller(&self) -> Result<Connection> {
        let (_, address) = self.shared.view.controller().context("no controller is known")?;
        Connection::open_within(address, CONNECT, 4 * ANSWER)
    }

    fn create(&mut self, name: &'static str) -> Result<()> {
        let mut connection = self.controller()?;
        self.topics.insert(name, Known::Unsure);
        let replicas = self.rng.i16(2..=3);
        connection.create_topic_of(name, (self.rng.i32(1..=3), replicas), &[])?;
        self.topics.insert(name, Known::Present);
        self.incarnation += 1;
        self.write_and_read(name)
    }

    /// Writes to a new topic as soon as it takes records, and reads all that it holds.
    fn write_and_read(&self, name: &'static str) -> Result<()> {
        let mark = format!("{name} {}", self.incarnation);
        let mut builder = BatchBuilder::new(Offset(0), Compression::None);
        builder.push(TimestampMs(1), None, Some(mark.as_bytes()));
        let bytes = builder.finish()?;
        let deadline = deadline::Deadline::seconds(5);
        let (seen, at) = deadline.poll("a new topic to take a record", || {
            let address = self.leader_of(name);
            let Ok(address) = address else { return Ok(None) };
            let mut connection = Connection::open_within(address, CONNECT, ANSWER)?;
            let answer = connection.produce(name, 0, &bytes, PRODUCE_VERSION)?;
            if answer.error_code != 0 {
                return Ok(None);
            }
            let seen = connection.read_partition(name, 0, 0)?;
            Ok(Some((seen, answer.base_offset)))
        })?;
        let old = seen.iter().find(|record| record.value.as_deref() != Some(mark.as_bytes()));
        if let Some(old) = old {
            let value = String::from_utf8_lossy(old.value.as_deref().unwrap_or_default());
            let what = format!("{mark}, written at {at}, holds {value} at {}", old.offset);
            self.shared.history.record(self.process, What::Wrong(Rule::Resurrected, what));
        }
        Ok(())
    }

    fn leader_of(&self, name: &str) -> Result<std::net::SocketAddr> {
        let (_, asked) = self.shared.view.controller().context("no controller is known")?;
        let (partitions, _) = view::ask(asked, &[name])?;
        let seen = partitions.get(&(name.to_owned(), 0)).context("no partition 0")?;
        self.shared.view.address(seen.leader).context("no leader")
    }

    fn delete(&mut self, name: &'static str) -> Result<()> {
        let mut connection = self.controller()?;
        self.topics.insert(name, Known::Unsure);
        let request = DeleteTopicsRequest {
            topic_names: vec![name.into()],
            timeout_ms: TIMEOUT_MS,
            ..Default::default()
        };
        let answer = connection.call(&request, 4)?;
        let response: DeleteTopicsResponse<'_> = answer.read(4)?;
        let code = response.responses.first().context("no topic in the answer")?.error_code;
        ensure!(code == 0 || code == UNKNOWN_TOPIC, "delete {name}: error {code}");
        self.topics.insert(name, Known::Absent);
        Ok(())
    }

    fn grow(&mut self, name: &'static str) -> Result<()> {
        let topic = CreatePartitionsTopic {
            name: name.into(),
            count: self.rng.i32(4..=6),
            assignments: None,
        };
        let request = CreatePartitionsRequest {
            topics: vec![topic],
            timeout_ms: TIMEOUT_MS,
            validate_only: false,
        };
        let answer = self.controller()?.call(&request, 1)?;
        let response: CreatePartitionsResponse<'_> = answer.read(1)?;
        response.results.first().map(drop).context("no topic in the answer")
    }

    fn alter(&mut self, name: &'static str) -> Result<()> {
        let config = AlterableConfig {
            name: "segment.bytes".into(),
            config_operation: 0,
            value: Some(self.rng.u32(1_000_000..2_000_000).to_string().into()),
        };
        let resource = AlterConfigsResource {
            resource_type: RESOURCE_TOPIC,
            resource_name: name.into(),
            configs: vec![config],
        };
        let request =
            IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
        self.controller()?.call(&request, 0).map(drop)
    }

    /// Gives a judged partition another order of replicas, and its first replica the lead.
    fn shuffle(&mut self) -> Result<()> {
        let topic = &TOPICS[self.rng.usize(..TOPICS.len())];
        let partition = i32::from(self.rng.u16(..topic.partitions));
        self.reassign(topic.name, partition, 3)?;
        let request = ElectLeadersRequest {
            election_type: 0,
            topic_partitions: None,
            timeout_ms: TIMEOUT_MS,
        };
        self.controller()?.call(&request, 1).map(drop)
    }

    /// Moves a topic's first partition to two brokers, whichever it was on.
    fn relocate(&mut self, name: &str) -> Result<()> {
        self.reassign(name, 0, 2)
    }

    /// Asks for `count` replicas on any brokers.
    fn reassign(&mut self, topic: &str, partition: i32, count: usize) -> Result<()> {
        let mut replicas: Vec<i32> = self.shared.view.brokers().iter().map(|(id, _)| *id).collect();
        self.rng.shuffle(&mut replicas);
        replicas.truncate(count);
        let wanted = ReassignablePartition { partition_index: partition, replicas: Some(replicas) };
        let request = AlterPartitionReassignmentsRequest {
            timeout_ms: TIMEOUT_MS,
            topics: vec![ReassignableTopic { name: topic.into(), partitions: vec![wanted] }],
            ..Default::default()
        };
        let answer = self.controller()?.call(&request, 0)?;
        let response: AlterPartitionReassignmentsResponse<'_> = answer.read(0)?;
        if response.error_code != 0 {
            bail!("reassign: error {}", response.error_code);
        }
        Ok(())
    }

    /// Looks, with the cluster at rest, whether topics are there or not as was acknowledged.
    pub fn judge(&self) -> u64 {
        for (name, known) in &self.topics {
            for (id, address) in self.shared.view.brokers() {
                let there = view::ask(*address, &[name]).is_ok();
                let wrong = match known {
                    Known::Unsure => false,
                    Known::Present => !there,
                    Known::Absent => there,
                };
                if wrong {
                    let what = format!("{name} is {known:?}, broker {id} has it: {there}");
                    self.shared.history.record(self.process, What::Wrong(Rule::AdminLost, what));
                }
            }
        }
        self.operations
    }
}
