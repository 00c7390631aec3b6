//! A plan to spread replicas anew, in words. Pure.
//!
//! Its digest names the brokers that it spreads over, and what was planned when it was proposed. It stays the same while
//! the plan is carried out: sizes change all the time, and what was approved goes on to its end. Other brokers make
//! another plan.

use std::collections::BTreeMap;

use crate::assignment::Broker;
use crate::cluster::layout::{Layout, Move};
use crate::cluster::rebalance::Moves;
use crate::crd::topic::Plan;
use crate::digest;

/// Moves that a plan names.
const NAMED_MAX: usize = 50;

/// Names brokers, and where they are.
pub(super) fn brokers(members: &[Broker]) -> String {
    let one = |broker: &Broker| format!("{} {:?}\n", broker.id, broker.rack);
    digest::of(members.iter().map(one).collect::<String>().bytes())
}

/// Whether a plan spreads over just these brokers.
pub(super) fn is_of(plan: &Plan, brokers: &str) -> bool {
    plan.digest.split('-').next() == Some(brokers)
}

/// Describes what is planned.
pub(super) fn propose(brokers: &str, moves: &Moves) -> Plan {
    let mut steps = vec![in_short(moves)];
    let all = moves.replicas.iter().chain(&moves.leaders);
    let named = all.clone().take(NAMED_MAX);
    steps.extend(named.map(|one| {
        let (from, to) = (list(&one.from), list(&one.to));
        format!("{}-{} from brokers {from} to {to}", one.topic, one.partition)
    }));
    let more = all.clone().count().saturating_sub(NAMED_MAX);
    if more > 0 {
        steps.push(format!("and {more} more"));
    }
    let goals = all.map(|one| format!("{} {} {:?}\n", one.topic_id, one.partition, one.to));
    let digest = format!("{brokers}-{}", digest::of(goals.collect::<String>().bytes()));
    Plan { digest, steps }
}

/// Describes what is left of a plan.
pub(super) fn carried_out(
    noted: &Plan,
    moves: &Moves,
    now: &Layout,
    wait: Option<&String>,
) -> Plan {
    let moving = now.partitions().filter(|(_, _, partition)| partition.is_moving()).count();
    let mut steps = vec![in_short(moves), format!("{moving} partitions move now")];
    steps.extend(wait.map(|why| format!("no more are begun: {why}")));
    Plan { digest: noted.digest.clone(), steps }
}

fn in_short(moves: &Moves) -> String {
    let bytes: u64 = moves.replicas.iter().filter_map(Move::bytes).sum();
    let unknown = moves.replicas.iter().filter(|one| one.bytes().is_none()).count();
    let unknown = match unknown {
        0 => String::new(),
        unknown => format!(", and {unknown} replicas whose size nobody knows"),
    };
    let mut gets: BTreeMap<i32, usize> = BTreeMap::new();
    for id in moves.replicas.iter().flat_map(|one| one.added().collect::<Vec<_>>()) {
        *gets.entry(id).or_default() += 1;
    }
    let gets: Vec<String> =
        gets.iter().map(|(id, count)| format!("{count} to broker {id}")).collect();
    let gets = if gets.is_empty() { String::new() } else { format!(": {}", gets.join(", ")) };
    format!(
        "{} replicas are to move, {bytes} bytes{unknown}{gets}; {} partitions get another preferred leader",
        moves.replicas.len(),
        moves.leaders.len()
    )
}

fn list(brokers: &[i32]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}
