//! Steps in words, and a digest that names them and no others.

use super::decide::Step;
use crate::crd::topic::Plan;
use crate::digest;

/// Steps that a plan names.
const STEPS_MAX: usize = 100;

/// Partitions that a line names.
const NAMED_MAX: usize = 5;

/// Describes steps.
pub(super) fn plan(topic: &str, steps: &[Step]) -> Plan {
    let lines: Vec<String> = steps.iter().flat_map(|step| lines(topic, step)).collect();
    let digest = named(topic, steps);
    let left = lines.len().saturating_sub(STEPS_MAX);
    let mut steps: Vec<String> = lines.into_iter().take(STEPS_MAX).collect();
    if left > 0 {
        steps.push(format!("and {left} more"));
    }
    Plan { digest, steps }
}

fn lines(topic: &str, step: &Step) -> Vec<String> {
    match step {
        Step::Create { assignment, config, .. } => {
            let replicas = assignment.first().map_or(0, Vec::len);
            let mut lines = vec![format!(
                "create {topic} with {} partitions of {replicas} replicas",
                assignment.len()
            )];
            lines.extend(config.iter().map(|(key, value)| format!("set {key} to {value}")));
            lines
        }
        Step::Adopt { id } => vec![format!("take over {topic}, whose id is {id}")],
        Step::Grow { from, new, .. } => {
            vec![format!("add {} partitions to the {from} that there are", new.len())]
        }
        Step::Reassign { moves, .. } => {
            let named = moves.iter().take(NAMED_MAX);
            let named =
                named.map(|(number, to)| format!("{topic}-{number} to brokers {}", list(to)));
            let named = named.collect::<Vec<_>>().join("; ");
            let more = moves.len().saturating_sub(NAMED_MAX);
            let more =
                if more > 0 { format!("; and {more} more partitions") } else { String::new() };
            vec![format!("move {named}{more}")]
        }
        Step::Configure { set, reset, .. } => {
            let set = set.iter().map(|(key, value)| format!("set {key} to {value}"));
            set.chain(reset.iter().map(|key| format!("reset {key}"))).collect()
        }
        Step::Delete { id } => vec![format!("delete {topic}, whose id is {id}")],
        Step::Hold | Step::Name { .. } | Step::Unthrottle | Step::Bury { .. } | Step::LetGo => {
            Vec::new()
        }
    }
}

fn list(brokers: &[i32]) -> String {
    brokers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Names what is approved.
///
/// Who approves chooses neither the id of a topic that is to be made nor where new partitions go, which depends on what
/// others have placed since: neither is part of what is approved. Which replicas move is.
fn named(topic: &str, steps: &[Step]) -> String {
    let approved = |step: &Step| match step {
        Step::Create { assignment, config, .. } => {
            let replicas = assignment.first().map_or(0, Vec::len);
            Some(format!("create {} {replicas} {config:?}", assignment.len()))
        }
        Step::Grow { from, new, .. } => Some(format!("grow {from} {}", new.len())),
        Step::Reassign { moves, .. } => Some(format!("reassign {moves:?}")),
        Step::Configure { set, reset, .. } => Some(format!("configure {set:?} {reset:?}")),
        Step::Adopt { id } => Some(format!("adopt {id}")),
        Step::Delete { id } => Some(format!("delete {id}")),
        Step::Hold | Step::Name { .. } | Step::Unthrottle | Step::Bury { .. } | Step::LetGo => None,
    };
    let lines = std::iter::once(topic.to_owned()).chain(steps.iter().filter_map(approved));
    digest::of(lines.collect::<Vec<_>>().join("\n").bytes())
}
