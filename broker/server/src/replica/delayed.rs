//! Requests that wait: for new records (Fetch) or for the high watermark (Produce with `acks=all`).
//!
//! No timer and no task per partition. A waiting request is one [`FetchWaiter`] or one
//! [`PendingAcks`]; a partition that moves forward marks those that named it, and a request that is
//! marked looks at the marked partitions only. So a partition that stands still costs nothing, in a
//! fetch session of thousands as in one of two.
//!
//! Concurrency: the lists are short locks of their own, never held with the partition's lock. A
//! wake-up is not lost because whoever waits subscribes first and reads the partition, under its
//! lock, afterwards; whoever appends moves the partition, under that lock, and marks afterwards.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Instant;

use broker_protocol::quantity::Offset;
use parking_lot::Mutex;
use tokio::runtime::{Handle, Id};
use tokio::sync::Notify;
use tokio::time::Sleep;

/// What a waiting fetch, or a fetch session over its life, waits on.
#[derive(Debug, Default)]
pub struct FetchWaiter {
    /// Indexes of the subscriptions that moved, each at most once.
    dirty: Mutex<Vec<u32>>,
    notify: Notify,
    /// Whether what is only noted wakes, too.
    is_eager: AtomicBool,
    /// Of the last wait, if something came before it rang. It is never later than the deadline, and moved only
    /// when it rings: a timer that is set earlier than all others of its thread costs that thread a wake-up.
    alarm: Mutex<Option<Alarm>>,
}

/// A timer, and the runtime that has it ring, which may end before another in which the next wait is.
#[derive(Debug)]
struct Alarm {
    sleep: Pin<Box<Sleep>>,
    runtime: Id,
}

impl FetchWaiter {
    /// Makes a waiter that nothing has marked yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// Has what can be told wake the waiter even where it would not be worth an answer of its own.
    pub fn be_eager(&self) {
        self.is_eager.store(true, Ordering::Relaxed);
    }

    /// Moves the marked indexes into `into`. Each must be armed again before its partition is read.
    pub fn take_dirty(&self, into: &mut Vec<u32>) {
        into.append(&mut self.dirty.lock());
    }

    /// Returns once an index was marked, or at `deadline`; false means the deadline passed.
    ///
    /// May return early with nothing marked. Cancel-safe: marks stay.
    pub async fn woken(&self, deadline: Instant) -> bool {
        let deadline = deadline.into();
        let runtime = Handle::current().id();
        let kept = self.alarm.lock().take().filter(|kept| kept.runtime == runtime);
        let mut sleep =
            kept.map_or_else(|| Box::pin(tokio::time::sleep_until(deadline)), |kept| kept.sleep);
        loop {
            if sleep.is_elapsed() || sleep.deadline() > deadline {
                sleep.as_mut().reset(deadline);
            }
            tokio::select! {
                biased;
                () = self.notify.notified() => {
                    *self.alarm.lock() = Some(Alarm { sleep, runtime });
                    return true;
                }
                () = &mut sleep => if sleep.deadline() >= deadline { return false },
            }
        }
    }

    fn mark(&self, index: u32) {
        self.note(index);
        self.notify.notify_one();
    }

    fn note(&self, index: u32) {
        self.dirty.lock().push(index);
    }
}

#[derive(Debug)]
struct Entry {
    waiter: Arc<FetchWaiter>,
    index: u32,
    /// Whether `index` is in the waiter's list already, and the waiter was woken.
    queued: AtomicBool,
    /// Whether `index` is in the waiter's list already, at least without a wake-up.
    noted: AtomicBool,
}

/// Who waits for one partition to move.
#[derive(Debug, Default)]
pub struct Subscribers {
    entries: Mutex<Entries>,
    /// The number of entries, so that an append that nobody waits for takes no lock.
    count: AtomicUsize,
}

#[derive(Debug, Default)]
struct Entries {
    slots: Vec<Option<Arc<Entry>>>,
    free: Vec<u32>,
}

impl Subscribers {
    /// Has `waiter` marked with `index` each time the partition moves, until the result is dropped.
    pub fn subscribe(self: &Arc<Self>, waiter: &Arc<FetchWaiter>, index: u32) -> Subscription {
        let entry = Arc::new(Entry {
            waiter: Arc::clone(waiter),
            index,
            queued: AtomicBool::new(false),
            noted: AtomicBool::new(false),
        });
        let mut entries = self.entries.lock();
        let slot = entries.free.pop().unwrap_or_else(|| {
            entries.slots.push(None);
            entries.slots.len() as u32 - 1
        });
        entries.slots[slot as usize] = Some(Arc::clone(&entry));
        self.count.fetch_add(1, Ordering::Release);
        Subscription { subscribers: Arc::clone(self), slot, entry }
    }

    /// Marks every waiter whose subscription is armed.
    pub fn wake(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for entry in self.entries.lock().slots.iter().flatten() {
            if !entry.queued.swap(true, Ordering::AcqRel) {
                entry.waiter.mark(entry.index);
            }
        }
    }

    /// Marks every waiter, and wakes none: something can be told that is not worth an answer of its own.
    pub fn note(&self) {
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        for entry in self.entries.lock().slots.iter().flatten() {
            let is_marked = entry.queued.load(Ordering::Acquire);
            if !is_marked && !entry.noted.swap(true, Ordering::AcqRel) {
                entry.waiter.note(entry.index);
                if entry.waiter.is_eager.load(Ordering::Relaxed) {
                    entry.waiter.notify.notify_one();
                }
            }
        }
    }
}

/// One waiter's interest in one partition; ends when dropped.
#[derive(Debug)]
pub struct Subscription {
    subscribers: Arc<Subscribers>,
    slot: u32,
    entry: Arc<Entry>,
}

impl Subscription {
    /// Lets the partition mark again. Call before reading the partition, or a move may be missed.
    pub fn arm(&self) {
        self.entry.noted.store(false, Ordering::Release);
        self.entry.queued.store(false, Ordering::Release);
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut entries = self.subscribers.entries.lock();
        entries.slots[self.slot as usize] = None;
        entries.free.push(self.slot);
        self.subscribers.count.fetch_sub(1, Ordering::Release);
    }
}

/// How one partition's wait for `acks=all` ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckState {
    /// Still waiting; at the deadline this means "timed out".
    Pending,
    /// Every in-sync replica has the records.
    Done,
    /// The log directory failed: whether the records survived is not known.
    StorageFailed,
    /// The partition is no longer led here.
    NotLeader,
    /// The records are there, on fewer replicas than `min.insync.replicas` asks for.
    NotEnoughReplicas,
}

impl AckState {
    fn from_byte(byte: u8) -> Self {
        match byte {
            1 => Self::Done,
            2 => Self::StorageFailed,
            3 => Self::NotLeader,
            4 => Self::NotEnoughReplicas,
            _ => Self::Pending,
        }
    }

    fn to_byte(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Done => 1,
            Self::StorageFailed => 2,
            Self::NotLeader => 3,
            Self::NotEnoughReplicas => 4,
        }
    }
}

/// One Produce request that waits for the high watermarks of its partitions.
#[derive(Debug)]
pub struct PendingAcks {
    states: Box<[AtomicU8]>,
    remaining: AtomicUsize,
    notify: Notify,
}

impl PendingAcks {
    /// Makes a wait for `count` partitions, known by their index below `count`.
    pub fn new(count: usize) -> Arc<Self> {
        Arc::new(Self {
            states: (0..count).map(|_| AtomicU8::new(0)).collect(),
            remaining: AtomicUsize::new(count),
            notify: Notify::new(),
        })
    }

    /// Returns once every partition has settled, or at `deadline`.
    pub async fn settled(&self, deadline: Instant) {
        let all = async {
            while self.remaining.load(Ordering::Acquire) > 0 {
                self.notify.notified().await;
            }
        };
        let _ = tokio::time::timeout_at(deadline.into(), all).await;
    }

    /// Returns how the wait of partition `index` stands.
    pub fn state(&self, index: usize) -> AckState {
        AckState::from_byte(self.states[index].load(Ordering::Acquire))
    }

    /// Settles partition `index`; the first word counts.
    ///
    /// # Panics
    /// If `state` is `Pending`.
    pub fn settle(&self, index: usize, state: AckState) {
        assert!(state != AckState::Pending, "a wait cannot be settled as pending");
        let pending = AckState::Pending.to_byte();
        let first = self.states[index]
            .compare_exchange(pending, state.to_byte(), Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if first && self.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.notify.notify_one();
        }
    }
}

/// The Produce requests that wait for one partition, lowest offset first.
#[derive(Debug, Default)]
pub struct AckWaiters {
    heap: Mutex<BinaryHeap<Reverse<AckWaiter>>>,
    count: AtomicUsize,
}

#[derive(Debug)]
struct AckWaiter {
    /// The high watermark must reach this.
    required: Offset,
    acks: Arc<PendingAcks>,
    index: usize,
}

impl AckWaiters {
    /// Settles partition `index` of `acks` when the high watermark reaches `required`.
    ///
    /// The caller reads the high watermark afterwards and calls [`AckWaiters::release`] with it.
    pub fn push(&self, required: Offset, acks: &Arc<PendingAcks>, index: usize) {
        let waiter = AckWaiter { required, acks: Arc::clone(acks), index };
        let mut heap = self.heap.lock();
        heap.push(Reverse(waiter));
        self.count.store(heap.len(), Ordering::Release);
    }

    /// Settles everyone who waited for an offset up to `high_watermark`: well, if enough replicas are
    /// in sync.
    pub fn release(&self, high_watermark: Offset, is_enough_in_sync: bool) {
        let state = if is_enough_in_sync { AckState::Done } else { AckState::NotEnoughReplicas };
        if self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut heap = self.heap.lock();
        while heap.peek().is_some_and(|Reverse(first)| first.required <= high_watermark) {
            if let Some(Reverse(waiter)) = heap.pop() {
                waiter.acks.settle(waiter.index, state);
            }
        }
        self.count.store(heap.len(), Ordering::Release);
    }

    /// Settles everyone as `state`: the partition will not move again.
    pub fn fail(&self, state: AckState) {
        let mut heap = self.heap.lock();
        for Reverse(waiter) in heap.drain() {
            waiter.acks.settle(waiter.index, state);
        }
        self.count.store(0, Ordering::Release);
    }
}

impl PartialEq for AckWaiter {
    fn eq(&self, other: &Self) -> bool {
        self.required == other.required
    }
}

impl Eq for AckWaiter {}

impl PartialOrd for AckWaiter {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for AckWaiter {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.required.cmp(&other.required)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    fn dirty(waiter: &FetchWaiter) -> Vec<u32> {
        let mut indexes = Vec::new();
        waiter.take_dirty(&mut indexes);
        indexes
    }

    #[test]
    fn a_partition_marks_a_waiter_once_until_it_is_armed_again() {
        let subscribers = Arc::new(Subscribers::default());
        let waiter = FetchWaiter::new();
        let subscription = subscribers.subscribe(&waiter, 7);
        subscribers.wake();
        subscribers.wake();
        assert_eq!(dirty(&waiter), [7]);
        subscribers.wake();
        assert_eq!(dirty(&waiter), [0; 0]);
        subscription.arm();
        subscribers.wake();
        assert_eq!(dirty(&waiter), [7]);
    }

    #[test]
    fn a_dropped_subscription_is_forgotten_and_its_slot_used_again() {
        let subscribers = Arc::new(Subscribers::default());
        let waiter = FetchWaiter::new();
        for index in 0..100 {
            drop(subscribers.subscribe(&waiter, index));
        }
        subscribers.wake();
        assert_eq!(dirty(&waiter), [0; 0]);
        assert_eq!(subscribers.entries.lock().slots.len(), 1);
        assert_eq!(subscribers.count.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn a_mark_before_the_wait_is_not_lost() {
        let subscribers = Arc::new(Subscribers::default());
        let waiter = FetchWaiter::new();
        let _subscription = subscribers.subscribe(&waiter, 0);
        subscribers.wake();
        let deadline = SystemClock.now() + Duration::from_mins(1);
        assert!(waiter.woken(deadline).await);
        assert!(!waiter.woken(SystemClock.now()).await, "the deadline ends a wait for nothing");
    }

    /// Whatever the alarm of an earlier wait was.
    #[tokio::test]
    async fn a_wait_lasts_until_its_own_deadline() {
        tokio::time::pause();
        let waiter = FetchWaiter::new();
        let start = tokio::time::Instant::now();
        let at = |ms| start.into_std() + Duration::from_millis(ms);
        // Timers are as fine as a millisecond.
        let has_passed = |ms| (ms..=ms + 1).contains(&start.elapsed().as_millis());
        waiter.mark(0);
        assert!(waiter.woken(at(500)).await);
        let mark = async {
            tokio::time::advance(Duration::from_millis(100)).await;
            waiter.mark(0);
        };
        assert!(tokio::join!(waiter.woken(at(500)), mark).0);
        assert!(has_passed(100));
        assert!(!waiter.woken(at(900)).await, "the kept alarm rings before, and is no end");
        assert!(has_passed(900));
        let mark = async { waiter.mark(0) };
        assert!(tokio::join!(waiter.woken(at(2000)), mark).0);
        assert!(!waiter.woken(at(1000)).await, "the kept alarm rings later");
        assert!(has_passed(1000));
    }

    /// A connection may go to another thread between two waits, and the thread of the first may end.
    #[test]
    fn a_wait_needs_nothing_of_the_runtime_of_the_one_before() {
        let runtime = || tokio::runtime::Builder::new_current_thread().enable_time().build();
        for has_ended in [true, false] {
            let (waiter, first) = (FetchWaiter::new(), runtime().unwrap());
            let deadline = SystemClock.now() + Duration::from_mins(1);
            let woken = async { tokio::join!(waiter.woken(deadline), async { waiter.mark(0) }).0 };
            assert!(first.block_on(woken));
            let _first = (!has_ended).then_some(first);
            let deadline = SystemClock.now() + Duration::from_millis(5);
            let is_woken = runtime().unwrap().block_on(waiter.woken(deadline));
            assert!(!is_woken, "the deadline ends it; has_ended: {has_ended}");
        }
    }

    #[tokio::test]
    async fn acks_settle_in_the_order_of_offsets_and_the_first_word_counts() {
        let waiters = AckWaiters::default();
        let acks = PendingAcks::new(3);
        waiters.push(Offset(20), &acks, 1);
        waiters.push(Offset(10), &acks, 0);
        waiters.push(Offset(30), &acks, 2);
        waiters.release(Offset(9), true);
        assert_eq!(acks.state(0), AckState::Pending);
        waiters.release(Offset(20), true);
        assert_eq!([acks.state(0), acks.state(1)], [AckState::Done; 2]);
        acks.settled(SystemClock.now()).await;
        assert_eq!(acks.state(2), AckState::Pending, "a deadline leaves the state as it is");
        waiters.fail(AckState::StorageFailed);
        acks.settle(2, AckState::Done);
        acks.settled(SystemClock.now() + Duration::from_mins(1)).await;
        assert_eq!(acks.state(2), AckState::StorageFailed);
    }
}
