//! What a load has seen so far, in numbers.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::cluster::history::Place;
use crate::deadline::Stopwatch;

/// How many cases are told in words.
const TOLD: usize = 20;

/// Counted by all threads.
#[derive(Debug)]
pub(super) struct Figures(Mutex<State>);

#[derive(Debug)]
struct State {
    begun: Stopwatch,
    first: Option<Duration>,
    topics: Vec<Topic>,
    /// Records that a client gave up, and producers that broke.
    failed: u64,
    /// Producers that have come to their end.
    ended: usize,
    /// Looks that saw too few replicas in sync.
    thin: u64,
    words: Vec<String>,
}

#[derive(Debug)]
struct Topic {
    name: String,
    /// The longest time that a partition took to acknowledge something, and since when each is owed an answer.
    longest: Duration,
    when: Duration,
    owed: Vec<Option<Stopwatch>>,
}

impl Figures {
    pub(super) fn new(topics: &[(String, u16)]) -> Self {
        let topics = topics.iter().map(|(name, partitions)| Topic {
            name: name.clone(),
            longest: Duration::ZERO,
            when: Duration::ZERO,
            owed: vec![None; usize::from(*partitions)],
        });
        Self(Mutex::new(State {
            begun: Stopwatch::start(),
            first: None,
            topics: topics.collect(),
            failed: 0,
            ended: 0,
            thin: 0,
            words: Vec::new(),
        }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record goes out: an answer is owed from now on, unless one is already.
    pub(super) fn sent(&self, place: Place) {
        let mut state = self.lock();
        let topic = state.topics.get_mut(usize::from(place.topic));
        if let Some(owed) = topic.and_then(|topic| topic.owed.get_mut(usize::from(place.partition)))
        {
            owed.get_or_insert_with(Stopwatch::start);
        }
    }

    /// An answer came; `more` are still owed.
    pub(super) fn acknowledged(&self, place: Place, more: bool) {
        let mut state = self.lock();
        let now = state.begun.elapsed();
        state.first.get_or_insert(now);
        let Some(topic) = state.topics.get_mut(usize::from(place.topic)) else { return };
        let Some(owed) = topic.owed.get_mut(usize::from(place.partition)) else { return };
        let took = owed.take().map(|since| since.elapsed()).unwrap_or_default();
        *owed = more.then(Stopwatch::start);
        if took > topic.longest {
            (topic.longest, topic.when) = (took, now);
        }
    }

    /// A client gave something up.
    pub(super) fn failed(&self, what: &str) {
        self.lock().failed += 1;
        self.tell(what);
    }

    /// A producer has ended, after the load was stopped.
    pub(super) fn ended(&self) {
        self.lock().ended += 1;
    }

    /// How many have.
    pub(super) fn have_ended(&self) -> usize {
        self.lock().ended
    }

    /// Too few replicas are in sync.
    pub(super) fn thin(&self, what: &str) {
        self.lock().thin += 1;
        self.tell(what);
    }

    fn tell(&self, what: &str) {
        let mut state = self.lock();
        let after = state.begun.elapsed().as_secs_f64();
        if state.words.len() < TOLD {
            state.words.push(format!("after {after:.1} s: {what}"));
        }
    }

    /// Forgets the longest times: another part of a test begins.
    pub(super) fn begin_part(&self) {
        for topic in &mut self.lock().topics {
            (topic.longest, topic.when) = (Duration::ZERO, Duration::ZERO);
        }
    }

    /// All of it. What is owed now counts, for as long as it is.
    pub(super) fn tell_all(&self) -> Value {
        let state = self.lock();
        let topics = state.topics.iter().map(|topic| {
            let owed = topic.owed.iter().flatten().map(Stopwatch::elapsed).max();
            let longest = topic.longest.max(owed.unwrap_or_default());
            let told =
                json!({ "longest_ms": longest.as_millis() as u64, "at_s": topic.when.as_secs() });
            (topic.name.clone(), told)
        });
        let topics: serde_json::Map<String, Value> = topics.collect();
        json!({
            "seconds": state.begun.elapsed().as_secs(),
            "first_ms": state.first.map(|first| first.as_millis() as u64),
            "topics": topics,
            "failed": state.failed,
            "thin": state.thin,
            "words": state.words,
        })
    }
}
