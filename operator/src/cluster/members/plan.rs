//! A plan to spread replicas anew, in words. Pure.
//!
//! Its digest names the brokers that it spreads over, and what was planned when it was proposed. Once it has begun, the
//! digest stays what it is while what is left gets less: what was approved goes on to its end. Other brokers make another
//! plan, and so do other moves before the first of them is made.

use std::collections::BTreeMap;

use crate::assignment::Broker;
use crate::cluster::layout::{Layout, Move};
use crate::cluster::rebalance::Moves;
use crate::crd::cluster::status::Plan;
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

/// Whether these moves are the ones that a plan was proposed with.
pub(super) fn is_what(plan: &Plan, brokers: &str, moves: &Moves) -> bool {
    plan.digest == digest(brokers, moves)
}

fn digest(brokers: &str, moves: &Moves) -> String {
    let all = moves.replicas.iter().chain(&moves.leaders);
    let goals = all.map(|one| format!("{} {} {:?}\n", one.topic_id, one.partition, one.to));
    format!("{brokers}-{}", digest::of(goals.collect::<String>().bytes()))
}

/// Describes what is planned by now in the place of a plan that says something else. While what moves by itself is all
/// that does, there is nothing to be proposed.
pub(super) fn propose_again(noted: &Plan, brokers: &str, moves: &Moves) -> Plan {
    if moves.is_empty() || is_what(noted, brokers, moves) {
        return noted.clone();
    }
    propose(brokers, moves)
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
    let more = all.count().saturating_sub(NAMED_MAX);
    if more > 0 {
        steps.push(format!("and {more} more"));
    }
    Plan { digest: digest(brokers, moves), steps, begun: false }
}

/// Describes what is left of a plan. `begun`: whether any of it was, or is now.
pub(super) fn carried_out(
    noted: &Plan,
    moves: &Moves,
    now: &Layout,
    wait: Option<&String>,
    begun: bool,
) -> Plan {
    let moving = now.partitions().filter(|(_, _, partition)| partition.is_moving()).count();
    let mut steps = vec![in_short(moves), format!("{moving} partitions move now")];
    steps.extend(wait.map(|why| format!("no more are begun: {why}")));
    Plan { digest: noted.digest.clone(), steps, begun }
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
