//! What the controller tells who reads its log: one line for each turn and kind, however many partitions
//! it is about. Pure: facts are noted where they come to be, and become lines when the turn is over.
//!
//! | line | level |
//! |---|---|
//! | a broker came, went, restarted, stops, refuses connections, is reached again, lost a directory; with the leaders that moved and the ISRs that shrank because of it | info |
//! | topics created, grown, being deleted, deleted; moves of replicas begun, done, cancelled; leaders back at the first replicas | info |
//! | a topic that another hand took out of the tree; leaders elected that were not in sync | warn |
//! | partitions that have come to be without a leader, and whom they wait for | warn |
//! | there are fewer of them, or none any more | info |
//!
//! Of names the first [`NAMED`] are said, of the others only how many they are.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;

use super::assignment::Assignment;
use super::effect::View;
use super::{Partition, State};
use crate::controller::partition_election::Presence;

/// How many names a line has at most.
const NAMED: usize = 5;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The cluster does what it is there for.
    Info,
    /// Somebody should look.
    Warn,
}

/// A line for the log: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// What it says.
    pub text: String,
}

/// Names of which only the first are kept.
#[derive(Debug, Default)]
pub(super) struct Names {
    first: Vec<String>,
    count: usize,
}

impl Names {
    fn add(&mut self, name: impl fmt::Display) {
        self.count += 1;
        if self.first.len() < NAMED {
            self.first.push(name.to_string());
        }
    }

    fn is_empty(&self) -> bool {
        self.count == 0
    }
}

impl fmt::Display for Names {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.first.join(", "))?;
        match self.count - self.first.len() {
            0 => Ok(()),
            more => write!(formatter, " and {more} more"),
        }
    }
}

/// What happened to brokers, for which leaders move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Cause {
    /// Its registration is gone.
    Gone,
    /// It is registered anew.
    Restarted,
    /// It asked to stop.
    Stops,
    /// Its port refuses.
    Refuses,
    /// Its port answers again.
    Reached,
    /// It is registered, and was not.
    Came,
    /// It cannot use the log directory of some of its replicas.
    LostDirectory,
}

impl Cause {
    const fn text(self) -> &'static str {
        match self {
            Self::Gone => "gone, as the session is over",
            Self::Restarted => "registered anew",
            Self::Stops => "about to stop",
            Self::Refuses => "refusing connections",
            Self::Reached => "reached again",
            Self::Came => "registered",
            Self::LostDirectory => "without a log directory",
        }
    }
}

/// What became of the replicas of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Move {
    Begun,
    Done,
    Cancelled,
}

/// What happened in this turn, and what was told before.
#[derive(Debug, Default)]
pub(super) struct Story {
    has_loaded: bool,
    brokers: BTreeSet<(Cause, BrokerId)>,
    created: Names,
    grown: Names,
    going: Names,
    kept: Names,
    deleted: Names,
    vanished: Names,
    moves: BTreeMap<Move, Names>,
    /// From whom and to whom leaders moved.
    led: BTreeMap<(Option<BrokerId>, BrokerId), usize>,
    preferred: Names,
    unclean: Names,
    /// Partitions whose ISR the controller has made smaller.
    shrunk: Names,
    /// Partitions that may have found or lost a leader.
    touched: BTreeSet<TopicPartition>,
    /// Partitions of which it was told that they have no leader.
    leaderless: BTreeSet<TopicPartition>,
}

impl Story {
    pub(super) fn loaded(&mut self) {
        self.has_loaded = true;
    }

    pub(super) fn broker(&mut self, cause: Cause, broker: BrokerId) {
        self.brokers.insert((cause, broker));
    }

    pub(super) fn created(&mut self, topic: &str, partitions: &BTreeMap<i32, Assignment>) {
        let replicas = partitions.values().map(|of| of.replicas.len()).max().unwrap_or(0);
        self.created.add(format_args!("{topic} ({} x {replicas})", partitions.len()));
    }

    pub(super) fn grown(&mut self, topic: &str, partitions: usize) {
        self.grown.add(format_args!("{topic} (to {partitions})"));
    }

    /// A deletion has begun; it waits for brokers that are away.
    pub(super) fn deletion_begun(&mut self, topic: &str, away: &BTreeSet<BrokerId>) {
        if away.is_empty() {
            self.going.add(topic);
        } else {
            self.going.add(format_args!("{topic} (once {} there)", these(away)));
        }
    }

    /// A deletion was asked for, which is not allowed.
    pub(super) fn deletion_refused(&mut self, topic: &str) {
        self.kept.add(topic);
    }

    pub(super) fn deleted(&mut self, topic: &str) {
        self.deleted.add(topic);
    }

    pub(super) fn vanished(&mut self, topic: &str) {
        self.vanished.add(topic);
    }

    /// A partition may have found or lost a leader.
    pub(super) fn touch(&mut self, partition: TopicPartition) {
        self.touched.insert(partition);
    }

    /// A decision is in the tree.
    pub(super) fn decided(
        &mut self,
        former: Option<&View>,
        view: &View,
        is_unclean: bool,
        is_asked: bool,
    ) {
        let Some(former) = former else { return };
        if !is_unclean && former.isr.iter().any(|id| !view.isr.contains(id)) {
            self.shrunk.add(&view.partition);
        }
        let Some(leader) = view.leader.filter(|leader| former.leader != Some(*leader)) else {
            return;
        };
        if is_unclean {
            self.unclean.add(format_args!("{} (broker {leader})", view.partition));
        } else if is_asked && view.assignment.replicas.first() == Some(&leader) {
            self.preferred.add(&view.partition);
        } else {
            *self.led.entry((former.leader, leader)).or_default() += 1;
        }
    }

    /// An assignment is in the tree.
    pub(super) fn assigned(
        &mut self,
        name: &TopicPartition,
        former: &Assignment,
        now: &Assignment,
    ) {
        let what = if now.is_moving() {
            Move::Begun
        } else if former.is_moving() && now.replicas == former.origin() {
            Move::Cancelled
        } else {
            Move::Done
        };
        let ids = list(&now.target());
        self.moves.entry(what).or_default().add(format_args!("{name} [{ids}]"));
    }
}

impl State {
    /// Returns what the turn that is over has to tell.
    pub fn take_story(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        let (new, fewer) = self.count_leaderless();
        let mut story = std::mem::take(&mut self.story);
        self.story.leaderless = std::mem::take(&mut story.leaderless);
        if story.has_loaded {
            lines.push(info(self.overview()));
        }
        lines.extend(story.of_brokers());
        story.of_topics(&mut lines);
        story.of_partitions(&mut lines);
        let left = &self.story.leaderless;
        if new {
            lines.push(warn(self.missing("")));
        } else if fewer && left.is_empty() {
            lines.push(info("every partition has a leader again".to_owned()));
        } else if fewer {
            lines.push(info(self.missing("still ")));
        }
        lines
    }

    /// Brings up to date who has no leader; returns whether there are new ones, and whether some have
    /// found one.
    fn count_leaderless(&mut self) -> (bool, bool) {
        let (mut new, mut fewer) = (false, false);
        for name in std::mem::take(&mut self.story.touched) {
            if self.has_no_leader(&name) {
                new |= self.story.leaderless.insert(name);
            } else {
                fewer |= self.story.leaderless.remove(&name);
            }
        }
        (new, fewer)
    }

    fn has_no_leader(&self, name: &TopicPartition) -> bool {
        let topic = self.topics.get(&name.topic).filter(|topic| topic.deletion.is_none());
        let held = topic.and_then(|topic| topic.partitions.get(&name.partition));
        held.is_some_and(|held| held.view.as_ref().is_none_or(|view| view.leader.is_none()))
    }

    fn overview(&self) -> String {
        let partitions: usize = self.topics.values().map(|topic| topic.partitions.len()).sum();
        format!(
            "the cluster: {} ({}), {}, {}; {}",
            counted(self.brokers.len(), "broker"),
            list(self.brokers.keys()),
            counted(self.topics.len(), "topic"),
            counted(partitions, "partition"),
            match self.story.leaderless.len() {
                0 => "every partition has a leader".to_owned(),
                some => format!("{some} have no leader"),
            }
        )
    }

    /// Who has no leader, and whose replicas are waited for.
    fn missing(&self, still: &str) -> String {
        let (mut names, mut away, mut unproven) =
            (Names::default(), BTreeSet::new(), BTreeSet::new());
        for name in &self.story.leaderless {
            names.add(name);
            let members = self.partition(name).map(could_lead).unwrap_or_default();
            for id in members {
                match self.presence(*id, name) {
                    Presence::Gone | Presence::Leaving { .. } => _ = away.insert(*id),
                    Presence::Up { .. } => _ = unproven.insert(*id),
                }
            }
        }
        let partitions = counted(self.story.leaderless.len(), "partition");
        let mut parts = vec![format!("{partitions} {still}without a leader: {names}")];
        if !away.is_empty() {
            parts.push(format!("replicas are waited for of {}", those(&away)));
        }
        if !unproven.is_empty() {
            parts.push(format!("it is not proven what is held by {}", those(&unproven)));
        }
        parts.join("; ")
    }
}

/// The replicas of a partition without a leader that may lead it.
fn could_lead(partition: &Partition) -> &[BrokerId] {
    partition.view.as_ref().map_or(&partition.assignment.replicas, |view| &view.isr)
}

impl Story {
    /// One line for all that happened to brokers, and what followed.
    fn of_brokers(&self) -> Option<Line> {
        let mut parts = Vec::new();
        let mut causes: BTreeMap<Cause, BTreeSet<BrokerId>> = BTreeMap::new();
        // Of a controller that has just begun the overview names those that are there.
        let told = |(cause, _): &&(Cause, BrokerId)| !self.has_loaded || *cause != Cause::Came;
        for (cause, broker) in self.brokers.iter().filter(told) {
            causes.entry(*cause).or_default().insert(*broker);
        }
        for (cause, brokers) in &causes {
            parts.push(format!("{} {}", these(brokers), cause.text()));
        }
        let moved: usize = self.led.values().sum();
        if moved > 0 {
            parts.push(format!("{} ({})", counted(moved, "leader moved"), self.ways()));
        }
        if !self.shrunk.is_empty() {
            let partitions = counted(self.shrunk.count, "partition");
            parts.push(format!("the ISR of {partitions} is smaller: {}", self.shrunk));
        }
        (!parts.is_empty()).then(|| info(parts.join("; ")))
    }

    /// From whom to whom leaders moved, those of most partitions first.
    fn ways(&self) -> Names {
        let mut ways: Vec<_> = self.led.iter().collect();
        ways.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let mut names = Names::default();
        for ((from, to), count) in ways {
            match from {
                Some(from) => names.add(format_args!("{count} from {from} to {to}")),
                None => names.add(format_args!("{count} from nobody to {to}")),
            }
        }
        names
    }

    fn of_topics(&self, lines: &mut Vec<Line>) {
        let kinds = [
            (&self.created, "created (partitions x replicas)", info as fn(String) -> Line),
            (&self.grown, "given more partitions", info),
            (&self.going, "being deleted", info),
            (&self.kept, "not deleted, as delete.topic.enable is false", info),
            (&self.deleted, "deleted", info),
            (&self.vanished, "taken out of the coordination tree by another hand", warn),
        ];
        for (names, what, line) in kinds {
            if !names.is_empty() {
                let topics = if names.count == 1 { "topic" } else { "topics" };
                lines.push(line(format!("{topics} {what}: {names}")));
            }
        }
    }

    fn of_partitions(&self, lines: &mut Vec<Line>) {
        for (what, names) in &self.moves {
            let what = match what {
                Move::Begun => "reassignment begun",
                Move::Done => "reassignment done",
                Move::Cancelled => "reassignment cancelled",
            };
            let partitions = counted(names.count, "partition");
            lines.push(info(format!("{what} of {partitions}: {names}")));
        }
        if !self.preferred.is_empty() {
            let partitions = counted(self.preferred.count, "partition");
            let names = &self.preferred;
            lines.push(info(format!("the first replica leads {partitions} again: {names}")));
        }
        if !self.unclean.is_empty() {
            let leaders = counted(self.unclean.count, "leader");
            let names = &self.unclean;
            lines.push(warn(format!(
                "{leaders} elected uncleanly, what was acknowledged may be lost: {names}"
            )));
        }
    }
}

fn info(text: String) -> Line {
    Line { level: Level::Info, text }
}

fn warn(text: String) -> Line {
    Line { level: Level::Warn, text }
}

/// "1 partition", "2 partitions"; of two words the first is the noun.
fn counted(count: usize, what: &str) -> String {
    let (noun, rest) = what
        .split_once(' ')
        .map_or((what, String::new()), |(noun, rest)| (noun, format!(" {rest}")));
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {noun}{plural}{rest}")
}

fn list<'a>(ids: impl IntoIterator<Item = &'a BrokerId>) -> Names {
    let mut names = Names::default();
    for id in ids {
        names.add(id);
    }
    names
}

/// "broker 1", "brokers 1, 2".
fn those<'a>(ids: impl IntoIterator<Item = &'a BrokerId>) -> String {
    let ids = list(ids);
    match ids.count {
        0 => "no broker".to_owned(),
        1 => format!("broker {ids}"),
        _ => format!("brokers {ids}"),
    }
}

/// "broker 1 is", "brokers 1, 2 are".
fn these(ids: &BTreeSet<BrokerId>) -> String {
    format!("{} {}", those(ids), if ids.len() == 1 { "is" } else { "are" })
}
