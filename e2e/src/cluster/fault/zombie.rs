//! Who lives on in an earlier term or life must not be obeyed: a controller that does not know that it
//! was deposed, and a request that names an earlier registration.

use std::time::Duration;

use anyhow::{Context, Result};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::alter_partition::{
    AlterPartitionRequest, AlterPartitionResponse, PartitionData, TopicData,
};
use broker_protocol::message::stop_replica::{StopReplicaRequest, StopReplicaResponse};

use super::{NO_ENSEMBLE, Outcome, Strike, TAKEN};
use crate::cluster::checker::Rule;
use crate::cluster::history::{History, What};
use crate::cluster::node::{Node, SESSION_SECONDS};
use crate::cluster::tree::Znode;
use crate::cluster::view::{ANSWER, CONNECT};
use crate::cluster::workload::TOPICS;
use crate::deadline::{self, Deadline};
use crate::wire::Connection;

/// Names topics by their names, as a leader does that has not heard of topic ids.
const ALTER_PARTITION_VERSION: i16 = 1;
const STOP_REPLICA_VERSION: i16 = 3;
/// A server of ZooKeeper that hears a client, and is not heard, keeps its session so long.
const DEAF: Duration = Duration::from_secs(3);
/// What the deposed is asked for is written within a moment, if at all.
const WRITES: Duration = Duration::from_secs(1);

/// Who was kept from ZooKeeper knows all that happened there so long afterwards: it has its session again by
/// then, or another.
const CATCHES_UP: Duration = Duration::from_secs(2 * SESSION_SECONDS);

/// Between two questions whether an earlier life is heard.
const AGAIN: Duration = Duration::from_millis(200);

/// A partition's state, and the transaction that wrote it.
#[derive(Debug)]
struct State {
    leader: i32,
    leader_epoch: i32,
    isr: Vec<i32>,
    controller_epoch: i64,
    node: Znode,
}

impl Strike<'_> {
    /// Takes the office from a controller that ZooKeeper cannot tell so, and asks it, as a leader that
    /// has not heard of the next one either, for a smaller ISR. It must not be able to write that.
    pub(super) fn deafen(&self, history: &History) -> Result<Outcome> {
        let bed = self.bed;
        let Ok(controller) = bed.ensemble.controller() else { return Ok(NO_ENSEMBLE) };
        let index = bed.nodes.iter().position(|node| Some(node.id) == controller);
        let Some(index) = index else { return Ok(Outcome::Nothing("there was no controller")) };
        // Whoever is hit by another fault already is left to it.
        let claim = (index != self.target).then(|| bed.claims.claim(index));
        if matches!(claim, Some(None)) {
            return Ok(TAKEN);
        }
        let node = &bed.nodes[index];
        let own = node.server.host.address;
        let deaf: Vec<_> = bed.zookeepers().into_iter().map(|server| (server, own)).collect();
        let _gap = bed.contact.gap(index);
        let cut = bed.network.cut(&deaf)?;
        let seen = self.ask_the_deposed(node);
        self.mend(&cut)?;
        // Whom another fault has, ZooKeeper or the others, cannot be asked.
        let Ok((outcome, broken)) = seen else {
            return Ok(Outcome::Nothing("nobody could be asked about the deposed"));
        };
        if let Some(what) = broken {
            history.record(0, What::Wrong(Rule::FenceBroken, what));
        }
        Ok(outcome)
    }

    /// What came of it, and what the deposed could do.
    fn ask_the_deposed(&self, controller: &Node) -> Result<(Outcome, Option<String>)> {
        let bed = self.bed;
        bed.ensemble.depose()?;
        let end = Deadline::after(DEAF);
        let successor = end.poll("the next controller", || {
            Ok(bed.ensemble.controller().ok().flatten().filter(|id| *id != controller.id))
        });
        // The ensemble may be down, or the others.
        if successor.is_err() {
            return Ok((Outcome::Nothing("nobody succeeded the deposed"), None));
        }
        let mut tree = bed.ensemble.tree()?;
        let term = tree.get("/controller_epoch")?.context("an epoch")?;
        let epoch: i64 = String::from_utf8_lossy(&term.data).parse().context("an epoch")?;
        let (topic, place) = (TOPICS[0].name, 0);
        let path = format!("/brokers/topics/{topic}/partitions/{place}/state");
        let before = state(tree.get(&path)?)?.context("a state")?;
        let leader = tree.get(&format!("/brokers/ids/{}", before.leader))?.context("a leader")?;
        let Some(leave) = before.isr.iter().rfind(|id| **id != before.leader) else {
            return Ok((Outcome::Nothing("the ISR had nobody to spare"), None));
        };
        let asked = PartitionData {
            partition_index: place,
            leader_epoch: before.leader_epoch,
            new_isr: before.isr.iter().copied().filter(|id| id != leave).collect(),
            partition_epoch: before.node.version,
            ..Default::default()
        };
        let request = AlterPartitionRequest {
            broker_id: before.leader,
            broker_epoch: leader.created,
            topics: vec![TopicData {
                topic_name: topic.into(),
                partitions: vec![asked],
                ..Default::default()
            }],
        };
        // It may well not answer: it hears of nothing that it writes.
        Connection::open_within(controller.address(), CONNECT, ANSWER)?
            .send(&request, ALTER_PARTITION_VERSION)?;
        let broken = Deadline::after(WRITES).poll("a write of the deposed", || {
            let Some(now) = state(tree.get(&path)?)? else { return Ok(None) };
            let late = now.node.written > term.written && now.controller_epoch < epoch;
            Ok(late.then(|| {
                format!(
                    "{topic}-{place} was written by a controller of epoch {} after {epoch} had begun",
                    now.controller_epoch
                )
            }))
        });
        Ok((Outcome::Done, broken.ok()))
    }

    /// Ends the broker's session; once it is registered anew, nothing is done in the name of, or told to,
    /// its earlier life.
    pub(super) fn expire(&self, history: &History) -> Outcome {
        let bed = self.bed;
        let node = self.node();
        let path = format!("/brokers/ids/{}", node.id);
        let registered = || {
            let found = bed.ensemble.tree().and_then(|mut tree| tree.get(&path));
            found.ok().flatten().map(|node| node.created)
        };
        let before = registered();
        let expired = self.until_it_answers(|ensemble| ensemble.expire(node.id));
        let Some(expired) = expired else { return NO_ENSEMBLE };
        bed.note_mend();
        if !expired {
            return Outcome::Nothing("the broker had no session");
        }
        let Some(before) = before else { return Outcome::Done };
        let again = Deadline::seconds(SESSION_SECONDS)
            .poll("a registration", || Ok(registered().filter(|epoch| *epoch > before)));
        let Ok(now) = again else { return Outcome::Done };
        // Who is not reached obeys nothing.
        if let Ok(Some(what)) = self.speak_as(node, before, now) {
            history.record(0, What::Wrong(Rule::FenceBroken, what));
        }
        Outcome::Done
    }

    /// Speaks in the name of the life with `epoch`, after which the broker has begun that of `next`.
    fn speak_as(&self, node: &Node, epoch: i64, next: i64) -> Result<Option<String>> {
        let bed = self.bed;
        let Some(id) = bed.ensemble.controller()? else { return Ok(None) };
        if self.is_heard(id, node.id, (epoch, next))? {
            return Ok(Some(format!(
                "the controller {id} hears broker {} in the name of its epoch {epoch}, which is over",
                node.id
            )));
        }
        let term = bed.ensemble.tree()?.get("/controller_epoch")?.context("an epoch")?;
        let request = StopReplicaRequest {
            controller_id: id,
            controller_epoch: String::from_utf8_lossy(&term.data).parse().context("an epoch")?,
            broker_epoch: epoch,
            ..StopReplicaRequest::default()
        };
        let mut connection = Connection::open_within(node.address(), CONNECT, ANSWER)?;
        let answer = connection.call(&request, STOP_REPLICA_VERSION)?;
        let answer: StopReplicaResponse<'_> = answer.read(STOP_REPLICA_VERSION)?;
        let obeyed = answer.error_code == ErrorCode::None.code();
        Ok(obeyed.then(|| {
            format!("broker {} obeys an order to its epoch {epoch}, which is over", node.id)
        }))
    }

    /// Whether controller `id` hears broker `of` in the name of the first of its epochs, which is over as the
    /// second has begun. One that a fault has kept from ZooKeeper cannot know, and writes nothing; it learns it, or
    /// is succeeded.
    fn is_heard(&self, id: i32, of: i32, (epoch, next): (i64, i64)) -> Result<bool> {
        let bed = self.bed;
        let index = bed.nodes.iter().position(|node| node.id == id).context("the controller")?;
        let patience = Deadline::after(CATCHES_UP);
        loop {
            // First: in between it may learn of the next life.
            let knows = hears(&bed.nodes[index], of, next)?;
            if !hears(&bed.nodes[index], of, epoch)? {
                return Ok(false);
            }
            // Whom this fault itself hits was elected anew since.
            if knows || id == of || bed.contact.is_sure(index, CATCHES_UP) {
                return Ok(true);
            }
            if patience.passed() {
                return Ok(bed.ensemble.controller()? == Some(id));
            }
            deadline::pass(AGAIN);
        }
    }
}

/// Whether `controller` hears broker `of` in the name of `epoch`.
fn hears(controller: &Node, of: i32, epoch: i64) -> Result<bool> {
    let request = AlterPartitionRequest {
        broker_id: of,
        broker_epoch: epoch,
        ..AlterPartitionRequest::default()
    };
    let mut connection = Connection::open_within(controller.address(), CONNECT, ANSWER)?;
    let answer = connection.call(&request, ALTER_PARTITION_VERSION)?;
    let answer: AlterPartitionResponse<'_> = answer.read(ALTER_PARTITION_VERSION)?;
    Ok(answer.error_code == ErrorCode::None.code())
}

fn state(node: Option<Znode>) -> Result<Option<State>> {
    let Some(node) = node else { return Ok(None) };
    let state: serde_json::Value =
        serde_json::from_slice(&node.data).context("a partition's state")?;
    let number = |key: &str| state[key].as_i64().with_context(|| format!("{key} of a state"));
    let isr = state["isr"].as_array().context("an ISR")?;
    let isr = isr.iter().filter_map(serde_json::Value::as_i64).map(|id| id as i32).collect();
    let (leader, leader_epoch) = (number("leader")? as i32, number("leader_epoch")? as i32);
    let controller_epoch = number("controller_epoch")?;
    Ok(Some(State { leader, leader_epoch, isr, controller_epoch, node }))
}
