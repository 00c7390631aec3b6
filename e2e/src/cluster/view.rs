//! What clients know of the cluster: who leads each partition, and who the controller is.
//!
//! Any broker may be asked, and one that is cut off answers what was true before. So what is said of a
//! partition in an older leader epoch is not believed, as real clients do it.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition,
};

use crate::wire::Connection;

const METADATA_VERSION: i16 = 9;

/// How long a connection may take to come about; the network is one machine.
pub const CONNECT: Duration = Duration::from_secs(1);
/// How long a small request may take.
pub const ANSWER: Duration = Duration::from_secs(3);

/// A partition as the newest answer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The broker that leads it, -1 for none.
    pub leader: i32,
    /// The epoch of that leader.
    pub leader_epoch: i32,
    /// Its in-sync replicas.
    pub isr: Vec<i32>,
    /// All its replicas.
    pub replicas: Vec<i32>,
}

/// The clients' knowledge, shared by all of them.
#[derive(Debug)]
pub struct View {
    brokers: Vec<(i32, SocketAddr)>,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    partitions: HashMap<(String, i32), Seen>,
    controller: i32,
    next: usize,
}

/// A broker says that there is no such topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// Where the broker is.
    pub broker: SocketAddr,
    /// The topic.
    pub topic: String,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the broker at {} knows no topic {}", self.broker, self.topic)
    }
}

impl std::error::Error for Denial {}

/// Topics with their partitions, and the controller, as one broker answered.
pub type Answered = (HashMap<(String, i32), Seen>, i32);

impl View {
    /// Knows where brokers are and nothing else.
    pub fn new(brokers: Vec<(i32, SocketAddr)>) -> Self {
        Self { brokers, known: Mutex::new(Known { controller: -1, ..Known::default() }) }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where broker `id` listens.
    pub fn address(&self, id: i32) -> Option<SocketAddr> {
        self.brokers.iter().find(|(broker, _)| *broker == id).map(|(_, address)| *address)
    }

    /// Every broker.
    pub fn brokers(&self) -> &[(i32, SocketAddr)] {
        &self.brokers
    }

    /// Asks the next broker in turn about `topics`. An error says that it did not answer.
    pub fn refresh(&self, topics: &[&str]) -> Result<()> {
        let address = {
            let mut known = self.lock();
            known.next += 1;
            self.brokers[known.next % self.brokers.len()].1
        };
        let (partitions, controller) = ask(address, topics)?;
        self.learn(partitions, controller);
        Ok(())
    }

    /// Takes in what a broker answered.
    pub fn learn(&self, partitions: HashMap<(String, i32), Seen>, controller: i32) {
        let mut known = self.lock();
        known.controller = controller;
        for (place, seen) in partitions {
            let old = known.partitions.get(&place);
            if old.is_none_or(|old| old.leader_epoch <= seen.leader_epoch) {
                known.partitions.insert(place, seen);
            }
        }
    }

    /// The leader of a partition and where it listens.
    pub fn leader(&self, topic: &str, partition: i32) -> Option<(i32, SocketAddr)> {
        let leader = self.lock().partitions.get(&(topic.to_owned(), partition))?.leader;
        Some((leader, self.address(leader)?))
    }

    /// The controller and where it listens.
    pub fn controller(&self) -> Option<(i32, SocketAddr)> {
        let controller = self.lock().controller;
        Some((controller, self.address(controller)?))
    }
}

/// What one broker knows of `topics`.
pub fn ask(address: SocketAddr, topics: &[&str]) -> Result<Answered> {
    ask_over(&mut Connection::open_within(address, CONNECT, ANSWER)?, topics)
}

/// What the broker at the other end of `connection` knows of `topics`.
pub fn ask_over(connection: &mut Connection, topics: &[&str]) -> Result<Answered> {
    let wanted = topics.iter().map(|topic| MetadataRequestTopic {
        name: Some((*topic).into()),
        ..MetadataRequestTopic::default()
    });
    let request = MetadataRequest {
        topics: Some(wanted.collect()),
        allow_auto_topic_creation: false,
        ..MetadataRequest::default()
    };
    let answer = connection.call(&request, METADATA_VERSION)?;
    let response: MetadataResponse<'_> = answer.read(METADATA_VERSION)?;
    let mut partitions = HashMap::new();
    for topic in &response.topics {
        if topic.error_code == ErrorCode::UnknownTopicOrPartition.code() {
            let topic = topic.name.as_deref().unwrap_or_default().to_owned();
            bail!(Denial { broker: connection.peer()?, topic });
        }
        ensure!(topic.error_code == 0, "{:?}: error {}", topic.name, topic.error_code);
        let name = topic.name.as_deref().context("a topic without a name")?;
        for partition in &topic.partitions {
            let MetadataResponsePartition { partition_index, leader_id, leader_epoch, .. } =
                *partition;
            let seen = Seen {
                leader: leader_id,
                leader_epoch,
                isr: partition.isr_nodes.clone(),
                replicas: partition.replica_nodes.clone(),
            };
            partitions.insert((name.to_owned(), partition_index), seen);
        }
    }
    Ok((partitions, response.controller_id))
}
