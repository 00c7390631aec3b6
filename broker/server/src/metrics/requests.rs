//! Requests as the network threads record them: how many of each version, and how long they took.
//!
//! A thread records into a shard of its own, so that no two cores write one cache line; a request
//! costs five relaxed additions, and one for each error in its answer. Memory of an API is taken when it is first asked for.
//!
//! Kafka's queue times are zero here by construction: a request is handled on the thread that read
//! it, and its answer is written by the same thread.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::Message;
use parking_lot::Mutex;

use super::histogram::{Counts, Histogram};
use super::snapshot::RequestFacts;
use super::window::Window;

/// One slot an API, by its key.
const SLOTS: usize = 80;

/// The slot of Fetch requests of followers, which Kafka reports apart.
const FETCH_FOLLOWER: usize = SLOTS - 1;

const _: () = {
    let last = ApiKey::ALL[ApiKey::ALL.len() - 1];
    assert!((last.code() as usize) < FETCH_FOLLOWER, "every API has a slot");
};

/// More than any API has.
const VERSIONS: usize = 24;

/// One count an error code; the codes are consecutive.
const ERRORS: usize = ErrorCode::ALL.len();

/// What quantiles look back on: about what Kafka's decaying reservoirs do.
const RECENT: Duration = Duration::from_mins(5);
const RECENT_STEP: Duration = Duration::from_mins(1);

#[derive(Debug)]
struct Series {
    total: Histogram,
    local: Histogram,
    /// Only of requests that waited; the others are what is missing to the total.
    remote: Histogram,
    total_nanos: AtomicU64,
    versions: [AtomicU64; VERSIONS],
    errors: [AtomicU64; ERRORS],
}

impl Default for Series {
    fn default() -> Self {
        Self {
            total: Histogram::default(),
            local: Histogram::default(),
            remote: Histogram::default(),
            total_nanos: AtomicU64::new(0),
            versions: [const { AtomicU64::new(0) }; VERSIONS],
            errors: [const { AtomicU64::new(0) }; ERRORS],
        }
    }
}

/// What one thread records. Aligned so that neighbours do not share a line.
#[derive(Debug)]
#[repr(align(128))]
struct Shard([OnceLock<Box<Series>>; SLOTS]);

/// Records requests. Shared; lock-free.
#[derive(Debug)]
pub struct Recorder {
    shards: Box<[Shard]>,
}

thread_local! {
    /// The number of this thread among those that record; taken at its first request.
    static THREAD: Cell<usize> = const { Cell::new(usize::MAX) };
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

fn thread() -> usize {
    THREAD.with(|cell| {
        if cell.get() == usize::MAX {
            cell.set(THREADS.fetch_add(1, Ordering::Relaxed));
        }
        cell.get()
    })
}

impl Recorder {
    /// Makes a recorder for `threads` threads; more share shards.
    pub fn new(threads: usize) -> Self {
        let shards = (0..threads.max(1)).map(|_| Shard([const { OnceLock::new() }; SLOTS]));
        Self { shards: shards.collect() }
    }

    /// Records a request that is answered: `total` from the moment it was read to the moment its
    /// answer was ready, `local` the part of it that the handler ran; the rest it waited.
    #[inline]
    pub fn record(&self, api: ApiKey, version: i16, total: Duration, local: Duration) {
        self.add(api.code() as usize, version, total, local);
    }

    /// Records a Fetch request of a follower, in place of [`Recorder::record`].
    #[inline]
    pub fn record_follower_fetch(&self, version: i16, total: Duration, local: Duration) {
        self.add(FETCH_FOLLOWER, version, total, local);
    }

    /// Records every error code of an answer, of the whole and of its parts. Those that say "none"
    /// are added at once.
    #[inline]
    pub fn record_errors<'a, M: Message<'a>>(&self, version: i16, answer: &M) {
        let Some(series) = self.series(M::API_KEY.code() as usize) else { return };
        let mut none = 0;
        answer.error_codes(version, &mut |code| {
            if code == ErrorCode::None.code() {
                none += 1;
            } else if let Some(count) = series.errors.get(error_slot(code)) {
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
        series.errors[error_slot(ErrorCode::None.code())].fetch_add(none, Ordering::Relaxed);
    }

    /// Returns what this thread records of an API.
    #[inline]
    fn series(&self, slot: usize) -> Option<&Series> {
        let shard = &self.shards[thread() % self.shards.len()];
        Some(shard.0.get(slot)?.get_or_init(Box::default))
    }

    #[inline]
    fn add(&self, slot: usize, version: i16, total: Duration, local: Duration) {
        let Some(series) = self.series(slot) else { return };
        let (total, local) = (nanos(total), nanos(local));
        series.total.record(total);
        series.local.record(local);
        series.total_nanos.fetch_add(total, Ordering::Relaxed);
        if total > local {
            series.remote.record(total - local);
        }
        let version = usize::try_from(version).unwrap_or(0).min(VERSIONS - 1);
        series.versions[version].fetch_add(1, Ordering::Relaxed);
    }

    /// Sums up all shards, by slot; an API that nobody asked for is left out.
    fn sums(&self) -> Vec<Sums> {
        let sum = |slot: usize| {
            let series = self.shards.iter().filter_map(|shard| shard.0.get(slot)?.get());
            series.fold(None, |sums: Option<Sums>, series| {
                let mut sums = sums.unwrap_or_else(|| Sums::of(slot));
                sums.add(series);
                Some(sums)
            })
        };
        (0..SLOTS).filter_map(sum).collect()
    }
}

/// The place of a code in [`ErrorCode::ALL`], which starts at -1.
const fn error_slot(code: i16) -> usize {
    code.wrapping_sub(ErrorCode::ALL[0].code()) as u16 as usize
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos() as u64
}

#[derive(Debug, Clone)]
struct Sums {
    slot: usize,
    total: Counts,
    local: Counts,
    remote: Counts,
    total_nanos: u64,
    versions: [u64; VERSIONS],
    errors: [u64; ERRORS],
}

impl Sums {
    fn of(slot: usize) -> Self {
        let (total, local, remote) = (Counts::default(), Counts::default(), Counts::default());
        let (versions, errors) = ([0; VERSIONS], [0; ERRORS]);
        Self { slot, total, local, remote, total_nanos: 0, versions, errors }
    }

    fn add(&mut self, series: &Series) {
        series.total.add_to(&mut self.total);
        series.local.add_to(&mut self.local);
        series.remote.add_to(&mut self.remote);
        self.total_nanos += series.total_nanos.load(Ordering::Relaxed);
        for (sum, version) in self.versions.iter_mut().zip(&series.versions) {
            *sum += version.load(Ordering::Relaxed);
        }
        for (sum, error) in self.errors.iter_mut().zip(&series.errors) {
            *sum += error.load(Ordering::Relaxed);
        }
    }

    /// What is counted as waiting includes those that did not wait.
    fn complete_remote(&mut self) {
        let missing = self.total.total().saturating_sub(self.remote.total());
        self.remote.record(Duration::ZERO, missing);
    }
}

/// What requests were like in the last minutes. Shared; one short lock, taken at scrapes.
#[derive(Debug)]
pub struct Recent(Mutex<Window<Vec<Sums>>>);

impl Default for Recent {
    fn default() -> Self {
        Self(Mutex::new(Window::new(RECENT, RECENT_STEP)))
    }
}

impl Recent {
    /// Reads `recorder`: counts since the start, durations of the last minutes.
    pub fn read(&self, recorder: &Recorder, now: Instant) -> Vec<RequestFacts> {
        let mut sums = recorder.sums();
        sums.iter_mut().for_each(Sums::complete_remote);
        let before = self.0.lock().turn(now, &sums);
        let before = before.map(|(_, before)| before).unwrap_or_default();
        let mut facts: Vec<RequestFacts> =
            sums.iter().map(|sums| recent_facts(sums, &before)).collect();
        fetches_together(&mut facts);
        facts
    }
}

fn recent_facts(sums: &Sums, before: &[Sums]) -> RequestFacts {
    let before = before.iter().find(|before| before.slot == sums.slot);
    let recent = |counts: &Counts, then: fn(&Sums) -> &Counts| {
        before.map_or_else(|| counts.clone(), |before| counts.since(then(before)))
    };
    let versions = sums.versions.iter().enumerate().filter(|(_, count)| **count > 0);
    let errors = ErrorCode::ALL.iter().zip(&sums.errors).filter(|(_, count)| **count > 0);
    RequestFacts {
        request: name(sums.slot),
        errors: errors.map(|(error, count)| (error.name(), *count)).collect(),
        versions: versions.map(|(version, count)| (version as i16, *count)).collect(),
        count: sums.total.total(),
        total_seconds: sums.total_nanos as f64 / 1e9,
        durations: sums.total.clone(),
        recent_total: recent(&sums.total, |sums| &sums.total),
        recent_local: recent(&sums.local, |sums| &sums.local),
        recent_remote: recent(&sums.remote, |sums| &sums.remote),
    }
}

fn name(slot: usize) -> &'static str {
    const FETCH: usize = ApiKey::Fetch.code() as usize;
    match slot {
        FETCH_FOLLOWER => "FetchFollower",
        FETCH => "FetchConsumer",
        _ => ApiKey::from_i16(slot as i16).map_or("other", ApiKey::name),
    }
}

/// Adds `Fetch`, which in Kafka is both kinds together, and alone has errors.
fn fetches_together(facts: &mut Vec<RequestFacts>) {
    let kinds = facts.iter().filter(|facts| facts.request.starts_with("Fetch"));
    let both = kinds.cloned().reduce(|mut both, other| {
        both.add(&other);
        both
    });
    if let Some(both) = both {
        facts.iter_mut().filter(|facts| facts.request.starts_with("Fetch")).for_each(|kind| {
            kind.errors.clear();
        });
        facts.push(RequestFacts { request: ApiKey::Fetch.name(), ..both });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, SystemClock};

    /// Counts are exact over threads; fetches of followers count as fetches too.
    #[test]
    fn requests_of_all_threads_are_summed_up() {
        let recorder = Recorder::new(2);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let (total, local) = (Duration::from_millis(4), Duration::from_millis(1));
                        recorder.record(ApiKey::Fetch, 12, total, local);
                        recorder.record_follower_fetch(13, total, total);
                    }
                });
            }
        });
        let facts = Recent::default().read(&recorder, SystemClock.now());
        let names: Vec<_> = facts.iter().map(|facts| facts.request).collect();
        assert_eq!(names, ["FetchConsumer", "FetchFollower", "Fetch"]);
        assert_eq!(facts[2].versions, [(12, 4000), (13, 4000)]);
        assert_eq!(facts[2].count, 8000);
        let remote = facts[0].recent_remote.quantile_ms(0.5);
        assert!((2.8..3.3).contains(&remote), "{remote}");
        assert!(facts[1].recent_remote.quantile_ms(0.99) < 0.001);
    }

    /// A code counts for the whole and for each part, unless the version has no such field.
    #[test]
    fn error_codes_of_an_answer_are_counted_by_name() {
        use broker_protocol::message::fetch::{
            FetchResponse, FetchableTopicResponse, PartitionData,
        };
        let recorder = Recorder::new(1);
        let code =
            |error: ErrorCode| PartitionData { error_code: error.code(), ..Default::default() };
        let partitions =
            [ErrorCode::None, ErrorCode::UnknownServerError, ErrorCode::CorruptMessage];
        let topic = FetchableTopicResponse {
            partitions: partitions.map(code).into(),
            ..Default::default()
        };
        let answer = FetchResponse { responses: vec![topic], ..Default::default() };
        recorder.record_errors(7, &answer);
        recorder.record_errors(4, &answer);
        let facts = Recent::default().read(&recorder, SystemClock.now());
        let expected = [("UNKNOWN_SERVER_ERROR", 2), ("NONE", 3), ("CORRUPT_MESSAGE", 2)];
        assert_eq!((facts[1].request, &facts[1].errors[..]), ("Fetch", &expected[..]));
        assert_eq!((facts[0].request, &facts[0].errors[..]), ("FetchConsumer", &[][..]));
    }

    /// Quantiles forget what is older than the window; counts do not.
    #[test]
    fn quantiles_look_back_minutes_only() {
        let (recorder, recent, start) = (Recorder::new(1), Recent::default(), SystemClock.now());
        let slow = Duration::from_secs(1);
        recorder.record(ApiKey::Produce, 9, slow, slow);
        assert!(recent.read(&recorder, start)[0].recent_total.quantile_ms(0.99) > 900.0);
        recorder.record(ApiKey::Produce, 9, Duration::ZERO, Duration::ZERO);
        let facts = recent.read(&recorder, start + RECENT).remove(0);
        assert_eq!(facts.count, 2);
        assert!(facts.recent_total.quantile_ms(0.99) < 1.0);
    }

    /// Recording stays cheap enough to be done for every request. The bound is wide: it is to find
    /// a lock or an allocation, on a machine that does other things too.
    #[test]
    fn recording_takes_no_lock_and_no_memory() {
        const TIMES: u32 = 200_000;
        let recorder = Recorder::new(1);
        let start = SystemClock.now();
        for n in 0..TIMES {
            let total = Duration::from_nanos(u64::from(n) * 17);
            recorder.record(ApiKey::Produce, 9, total, total / 2);
        }
        let each = start.elapsed() / TIMES;
        println!("{each:?} a request");
        assert!(each < Duration::from_micros(2), "{each:?}");
    }
}
