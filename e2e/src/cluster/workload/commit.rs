//! Committed offsets without membership: one process commits larger and larger offsets for a group,
//! another asks for them all the while. A coordinator that is loading must say so, not "none".

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use broker_protocol::message::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use broker_protocol::message::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use broker_protocol::message::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse,
};

use super::{Shared, TOPICS};
use crate::cluster::history::{Place, What};
use crate::cluster::view::{ANSWER, CONNECT, View};
use crate::deadline;
use crate::wire::Connection;

const FIND_VERSION: i16 = 3;
const COMMIT_VERSION: i16 = 7;
const FETCH_VERSION: i16 = 6;

/// Between two requests of one process.
const PACE: Duration = Duration::from_millis(60);
/// The same where all brokers are asked: a coordinator may be loading for no longer than this.
const EVERYONE_PACE: Duration = Duration::from_millis(15);
/// The others are not to wait for a broker that is cut off.
const QUICK: Duration = Duration::from_millis(300);

/// A connection to the coordinator of a group, found anew after it failed.
#[derive(Debug)]
pub(super) struct Coordinated {
    pub(super) group: u16,
    pub(super) name: String,
    connection: Option<Connection>,
    next_broker: usize,
}

impl Coordinated {
    pub(super) fn new(group: u16) -> Self {
        let next_broker = usize::from(group);
        Self { group, name: name(group), connection: None, next_broker }
    }

    /// The connection to the coordinator; the next broker in turn is asked who that is.
    pub(super) fn connection(&mut self, view: &View) -> Result<&mut Connection> {
        if self.connection.is_none() {
            self.next_broker += 1;
            let brokers = view.brokers();
            let (_, asked) = brokers[self.next_broker % brokers.len()];
            let found = find(asked, &self.name)?;
            self.connection = Some(Connection::open_within(found, CONNECT, 2 * ANSWER)?);
        }
        self.connection.as_mut().context("a connection")
    }

    /// Leaves the connection: it failed, or its broker coordinates the group no more.
    pub(super) fn leave(&mut self) {
        self.connection = None;
    }
}

fn name(group: u16) -> String {
    format!("group-{group}")
}

fn find(asked: SocketAddr, group: &str) -> Result<SocketAddr> {
    let mut connection = Connection::open_within(asked, CONNECT, ANSWER)?;
    let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
    let answer = connection.call(&request, FIND_VERSION)?;
    let response: FindCoordinatorResponse<'_> = answer.read(FIND_VERSION)?;
    ensure!(response.error_code == 0, "find {group}: error {}", response.error_code);
    format!("{}:{}", response.host, response.port).parse().context("an address")
}

/// Commits as a member of a generation (-1: of none) and returns the error code.
pub(super) fn commit(
    connection: &mut Connection,
    group: &str,
    member: (&str, i32),
    place: Place,
    offset: i64,
) -> Result<i16> {
    let partition = OffsetCommitRequestPartition {
        partition_index: i32::from(place.partition),
        committed_offset: offset,
        committed_metadata: Some("".into()),
        ..Default::default()
    };
    let topic = OffsetCommitRequestTopic {
        name: TOPICS[usize::from(place.topic)].name.into(),
        partitions: vec![partition],
        ..Default::default()
    };
    let request = OffsetCommitRequest {
        group_id: group.into(),
        member_id: member.0.into(),
        generation_id_or_member_epoch: member.1,
        topics: vec![topic],
        ..Default::default()
    };
    let answer = connection.call(&request, COMMIT_VERSION)?;
    let response: OffsetCommitResponse<'_> = answer.read(COMMIT_VERSION)?;
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    Ok(partition.context("no partition in the answer")?.error_code)
}

/// The committed offset, -1 for none; an error where there is no answer to believe.
pub(super) fn committed(connection: &mut Connection, group: &str, place: Place) -> Result<i64> {
    told(connection, group, place)?.with_context(|| format!("committed offset of {group}"))
}

/// The committed offset, -1 for none; `None` where the broker does not say.
fn told(connection: &mut Connection, group: &str, place: Place) -> Result<Option<i64>> {
    let topic = OffsetFetchRequestTopic {
        name: TOPICS[usize::from(place.topic)].name.into(),
        partition_indexes: vec![i32::from(place.partition)],
    };
    let request = OffsetFetchRequest {
        group_id: group.into(),
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let answer = connection.call(&request, FETCH_VERSION)?;
    let response: OffsetFetchResponse<'_> = answer.read(FETCH_VERSION)?;
    if response.error_code != 0 {
        return Ok(None);
    }
    let partition = response.topics.first().and_then(|topic| topic.partitions.first());
    let partition = partition.context("no partition in the answer")?;
    Ok((partition.error_code == 0).then_some(partition.committed_offset))
}

/// Commits larger and larger offsets for each of `groups` in turn, until it is told to stop.
pub fn commit_on(shared: &Shared, process: u32, groups: &[u16]) {
    let mut all: Vec<Coordinated> = groups.iter().copied().map(Coordinated::new).collect();
    let place = Place { topic: 0, partition: 0 };
    let mut offset = 0;
    while !shared.stopped() {
        offset += 1;
        for group in &mut all {
            let mut attempt = || -> Result<()> {
                let (number, name) = (group.group, group.name.clone());
                let connection = group.connection(&shared.view)?;
                shared.history.record(process, What::Commit(number, -1, place, offset));
                match commit(connection, &name, ("", -1), place, offset)? {
                    0 => shared.history.record(process, What::Committed(number, -1, place, offset)),
                    code => bail!("error {code}"),
                }
                Ok(())
            };
            if attempt().is_err() {
                group.leave();
            }
        }
        deadline::pass(PACE);
    }
}

/// Asks for what was committed for each of `groups` in turn, until it is told to stop.
pub fn ask_on(shared: &Shared, process: u32, groups: &[u16]) {
    let mut all: Vec<Coordinated> = groups.iter().copied().map(Coordinated::new).collect();
    let place = Place { topic: 0, partition: 0 };
    while !shared.stopped() {
        for group in &mut all {
            if ask(shared, process, group, What::Peek(group.group, place), place).is_err() {
                group.leave();
            }
        }
        deadline::pass(PACE);
    }
}

/// Asks every broker in turn for what was committed for each of `groups`, whether it coordinates them or
/// not, until it is told to stop: one that has just begun to must not say "none".
pub fn ask_everyone_on(shared: &Shared, process: u32, groups: &[u16]) {
    let place = Place { topic: 0, partition: 0 };
    let brokers = shared.view.brokers();
    let mut connections: Vec<Option<Connection>> = brokers.iter().map(|_| None).collect();
    for group in groups.iter().cycle() {
        if shared.stopped() {
            return;
        }
        let name = name(*group);
        for ((_, address), connection) in brokers.iter().zip(&mut connections) {
            let open = match connection.take() {
                Some(open) => Ok(open),
                None => Connection::open_within(*address, QUICK, QUICK),
            };
            let Ok(mut open) = open else { continue };
            shared.history.record(process, What::Peek(*group, place));
            let answer = told(&mut open, &name, place);
            if let Ok(Some(offset)) = answer {
                shared.history.record(process, What::Told(*group, place, offset));
            }
            // One that does not coordinate the group keeps its connection.
            *connection = answer.is_ok().then_some(open);
        }
        deadline::pass(EVERYONE_PACE);
    }
}

pub(super) fn ask(
    shared: &Shared,
    process: u32,
    group: &mut Coordinated,
    question: What,
    place: Place,
) -> Result<i64> {
    let (number, name) = (group.group, group.name.clone());
    let connection = group.connection(&shared.view)?;
    shared.history.record(process, question);
    let offset = committed(connection, &name, place)?;
    shared.history.record(process, What::Told(number, place, offset));
    Ok(offset)
}
