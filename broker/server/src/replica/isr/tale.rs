//! What became of ISRs, for the log: summed up, for a broker that dies is in those of thousands. Pure.
//!
//! One line for each kind of change and second, however many partitions it is about. A single partition
//! is told with both ISRs, of many the first names and their number.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use crate::replica::partition_state::IsrAnswer;

/// How long changes are gathered before they are told.
const GATHERED: Duration = Duration::from_secs(1);

/// How many partitions are named.
const NAMED: usize = 5;

/// An ISR that is another than before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// Who was in sync.
    pub from: Vec<BrokerId>,
    /// Who is.
    pub to: Vec<BrokerId>,
}

/// What happened to the ISR of a partition.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Changed { lost: Vec<BrokerId>, joined: Vec<BrokerId> },
    Refused,
    Awaited,
}

/// The partitions of which the same is to be told.
#[derive(Debug)]
struct Gathered {
    first: Vec<TopicPartition>,
    count: usize,
    /// The change of the first.
    change: Option<IsrChange>,
}

/// Changes that were not told yet. Owned by the keeper's task.
#[derive(Debug, Default)]
pub(super) struct Tale {
    due: Option<Instant>,
    kinds: BTreeMap<Kind, Gathered>,
    /// Of how many partitions it was told last that their ISRs stay.
    stay: BTreeMap<Kind, usize>,
}

impl Tale {
    /// Notes what was said to a proposal, and what changed by it.
    pub(super) fn note(
        &mut self,
        now: Instant,
        partition: &TopicPartition,
        answer: &IsrAnswer,
        change: Option<IsrChange>,
    ) {
        let kind = match (answer, &change) {
            (IsrAnswer::Committed(_), Some(IsrChange { from, to })) => {
                Kind::Changed { lost: without(from, to), joined: without(to, from) }
            }
            (IsrAnswer::Committed(_), None) => return,
            (IsrAnswer::Refused, _) => Kind::Refused,
            (IsrAnswer::Awaited, _) => Kind::Awaited,
        };
        self.due.get_or_insert(now + GATHERED);
        let fresh = Gathered { first: Vec::new(), count: 0, change };
        let gathered = self.kinds.entry(kind).or_insert(fresh);
        gathered.count += 1;
        if gathered.first.len() < NAMED {
            gathered.first.push(partition.clone());
        }
    }

    /// When something is to be told.
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns the lines of what was gathered, once it is time to.
    pub(super) fn take(&mut self, now: Instant, lag_max: Duration) -> Vec<String> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let kinds = std::mem::take(&mut self.kinds);
        let mut lines = Vec::with_capacity(kinds.len());
        for (kind, gathered) in &kinds {
            if self.is_news(kind, gathered.count) {
                lines.push(line(kind, gathered, lag_max));
            }
        }
        lines
    }

    /// Whether it was not told just before: what is refused is asked again every second.
    fn is_news(&mut self, kind: &Kind, count: usize) -> bool {
        if let Kind::Changed { .. } = kind {
            self.stay.clear();
            return true;
        }
        self.stay.insert(kind.clone(), count) != Some(count)
    }
}

fn line(kind: &Kind, gathered: &Gathered, lag_max: Duration) -> String {
    let names = names(gathered);
    let (lost, joined) = match kind {
        Kind::Changed { lost, joined } => (lost, joined),
        Kind::Refused => {
            return format!(
                "the isr of {names} stays for now: the controller does not take all members for alive"
            );
        }
        Kind::Awaited => {
            return format!("the isr of {names} stays for now: the controller has a later state");
        }
    };
    let verb = match (lost.is_empty(), joined.is_empty()) {
        (false, true) => "shrunk",
        (true, _) => "grown",
        (false, false) => "changed",
    };
    let way = match (gathered.count, &gathered.change) {
        (1, Some(IsrChange { from, to })) => format!(" from [{}] to [{}]", list(from), list(to)),
        _ => String::new(),
    };
    let mut reasons = Vec::new();
    if !joined.is_empty() {
        reasons.push(format!("{} has caught up", list(joined)));
    }
    if !lost.is_empty() {
        let lost = list(lost);
        reasons
            .push(format!("{lost} has lacked records for replica.lag.time.max.ms ({lag_max:?})"));
    }
    format!("isr {verb} of {names}{way}: {}", reasons.join(", "))
}

fn names(gathered: &Gathered) -> String {
    let first: Vec<_> = gathered.first.iter().map(ToString::to_string).collect();
    let first = first.join(", ");
    match gathered.count {
        1 => first,
        count if count > NAMED => {
            format!("{count} partitions ({first} and {} more)", count - NAMED)
        }
        count => format!("{count} partitions ({first})"),
    }
}

fn list(ids: &[BrokerId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn without(ids: &[BrokerId], left_out: &[BrokerId]) -> Vec<BrokerId> {
    ids.iter().copied().filter(|id| !left_out.contains(id)).collect()
}

#[cfg(test)]
mod tests {
    use broker_protocol::quantity::{LeaderEpoch, TimestampMs};

    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::replica::partition_state::Committed;

    fn now() -> Instant {
        ManualClock::starting_at(TimestampMs(0)).now()
    }

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().copied().map(BrokerId).collect()
    }

    fn part(partition: i32) -> TopicPartition {
        TopicPartition { topic: "t".into(), partition }
    }

    fn done(to: &[i32]) -> IsrAnswer {
        IsrAnswer::Committed(Committed {
            leader_epoch: LeaderEpoch(0),
            partition_epoch: 1,
            isr: ids(to),
            recovering: false,
        })
    }

    /// Notes that the ISRs of partitions 0 to `count` went from one to another.
    fn change(tale: &mut Tale, now: Instant, count: i32, from: &[i32], to: &[i32]) {
        for partition in 0..count {
            let change = IsrChange { from: ids(from), to: ids(to) };
            tale.note(now, &part(partition), &done(to), Some(change));
        }
    }

    const LAG: Duration = Duration::from_secs(30);

    #[test]
    fn one_partition_is_told_with_both_isrs() {
        let (mut tale, now) = (Tale::default(), now());
        change(&mut tale, now, 1, &[1, 2, 3], &[1, 2]);
        assert_eq!(tale.take(now, LAG), [""; 0], "it is gathered first");
        let later = now + GATHERED;
        assert_eq!(tale.due(), Some(later));
        assert_eq!(
            tale.take(later, LAG),
            ["isr shrunk of t-0 from [1, 2, 3] to [1, 2]: 3 has lacked records for \
              replica.lag.time.max.ms (30s)"]
        );
        assert_eq!((tale.due(), tale.take(later, LAG)), (None, vec![]), "it is told once");
    }

    #[test]
    fn many_partitions_are_one_line_a_kind() {
        let (mut tale, now) = (Tale::default(), now());
        change(&mut tale, now, 7, &[1, 2], &[1, 2, 3]);
        change(&mut tale, now, 2, &[1, 2, 3], &[1, 3]);
        tale.note(now, &part(8), &done(&[1]), None);
        tale.note(now, &part(9), &IsrAnswer::Refused, None);
        tale.note(now, &part(10), &IsrAnswer::Awaited, None);
        assert_eq!(
            tale.take(now + GATHERED, LAG),
            [
                "isr grown of 7 partitions (t-0, t-1, t-2, t-3, t-4 and 2 more): 3 has caught up",
                "isr shrunk of 2 partitions (t-0, t-1): 2 has lacked records for \
                 replica.lag.time.max.ms (30s)",
                "the isr of t-9 stays for now: the controller does not take all members for alive",
                "the isr of t-10 stays for now: the controller has a later state",
            ]
        );
    }

    #[test]
    fn what_is_refused_again_and_again_is_told_once() {
        let (mut tale, mut now) = (Tale::default(), now());
        let mut refused = |count: i32| {
            for partition in 0..count {
                tale.note(now, &part(partition), &IsrAnswer::Refused, None);
            }
            now += GATHERED;
            tale.take(now, LAG).len()
        };
        assert_eq!([2, 2, 2, 3, 3].map(&mut refused), [1, 0, 0, 1, 0]);
        change(&mut tale, now, 1, &[1], &[1, 2]);
        tale.note(now, &part(0), &IsrAnswer::Refused, None);
        assert_eq!(tale.take(now + GATHERED, LAG).len(), 2, "in between something has changed");
    }

    #[test]
    fn a_change_both_ways_names_who_came_and_who_went() {
        let (mut tale, now) = (Tale::default(), now());
        change(&mut tale, now, 1, &[1, 2], &[1, 3]);
        assert_eq!(
            tale.take(now + GATHERED, LAG),
            [
                "isr changed of t-0 from [1, 2] to [1, 3]: 3 has caught up, 2 has lacked records for \
              replica.lag.time.max.ms (30s)"
            ]
        );
    }
}
