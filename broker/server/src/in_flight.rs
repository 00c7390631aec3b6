//! How many bytes of requests and answers the process holds at once: `queued.max.request.bytes`.
//!
//! Counted are large frames, from their first bytes to their answer, and answers that were made in
//! memory at the client's wish, until they are written. What a small frame needs is already bounded by
//! the number of connections times their read buffer; what is sent from files is not in memory.
//! [`Room`] is counted for as long as the memory lives.
//!
//! Who asks first is served first: a large frame is never passed by small ones for ever. Answers have a
//! part of the whole only: clients that do not read must leave room for those that write.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// In-flight bytes are counted in units of this many bytes, so that a semaphore can hold the count.
const UNIT: usize = 1024;

/// Buffers that are kept for the next frame have at most this part of the bytes in flight: what is
/// kept by one must never be missing for another for long.
const KEPT_PART: usize = 8;

/// Answers have at most this part of the bytes in flight.
const ANSWERS_PART: usize = 2;

/// How long an answer waits for room: its connection may have a frame's, so that waiting for ever
/// could be waiting for itself. Well within the time that old clients wait for an answer, 30 s.
const ANSWER_WAIT: Duration = Duration::from_secs(5);

/// Answers that are made at once. Making one may take memory that is not counted, as it is not known
/// before: what a compressed batch becomes on the way.
const MAKING_MAX: usize = 2;

/// The slowest that memory which others wait for may be filled or emptied, in bytes a second.
const RATE_MIN: usize = 512 * 1024;

/// What a peer has beyond the time that [`RATE_MIN`] gives it.
const GRACE: Duration = Duration::from_secs(30);

/// The bytes in flight of the process.
#[derive(Debug)]
pub struct InFlight {
    bytes: Arc<Semaphore>,
    /// The part of `bytes` that may be kept between frames.
    kept: Arc<Semaphore>,
    /// The part of `bytes` that answers may have.
    answers: Arc<Semaphore>,
    making: Arc<Semaphore>,
    /// The most that one request takes, in units: all that is never kept.
    request_units_max: usize,
    /// The most that one answer takes, in units.
    answer_units_max: usize,
}

/// Memory that is counted in the process's bytes in flight until this is dropped.
#[derive(Debug)]
pub struct Room {
    size: usize,
    bytes: OwnedSemaphorePermit,
    /// A share of one of the parts: of what is kept, or of the answers'.
    part: Option<OwnedSemaphorePermit>,
}

/// The right to make one answer in memory.
#[derive(Debug)]
pub struct Making(#[expect(dead_code, reason = "counted until dropped")] OwnedSemaphorePermit);

impl Room {
    /// Returns the bytes that it was taken for.
    pub fn size(&self) -> usize {
        self.size
    }

    /// Gives back what is above `size` bytes, if anything.
    pub fn shrink(&mut self, size: usize) {
        let units = size.div_ceil(UNIT);
        self.size = self.size.min(size);
        for permit in std::iter::once(&mut self.bytes).chain(self.part.as_mut()) {
            drop(permit.split(permit.num_permits().saturating_sub(units)));
        }
    }
}

/// Returns how long a peer may take for `size` bytes of memory that others wait for.
pub fn patience(size: usize) -> Duration {
    GRACE + Duration::from_secs((size / RATE_MIN) as u64)
}

impl InFlight {
    /// Counts up to `bytes_max`; below 0, without bound.
    pub fn new(bytes_max: i64) -> Arc<Self> {
        let units = usize::try_from(bytes_max).unwrap_or(usize::MAX) / UNIT;
        let units = units.clamp(1, Semaphore::MAX_PERMITS.min(u32::MAX as usize));
        let answer_units_max = (units / ANSWERS_PART).max(1);
        Arc::new(Self {
            bytes: Arc::new(Semaphore::new(units)),
            kept: Arc::new(Semaphore::new(units / KEPT_PART)),
            answers: Arc::new(Semaphore::new(answer_units_max)),
            making: Arc::new(Semaphore::new(MAKING_MAX)),
            request_units_max: units - units / KEPT_PART,
            answer_units_max,
        })
    }

    /// Waits for room for a request of `size` bytes, behind those that asked before.
    ///
    /// A request above the bound takes all that is not kept: it is read alone, never refused for ever.
    /// Dropping the future gives its place in the queue up.
    pub async fn room(self: Arc<Self>, size: usize) -> Option<Room> {
        let units = size.div_ceil(UNIT).min(self.request_units_max) as u32;
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await.ok()?;
        Some(Room { size, bytes, part: None })
    }

    /// Waits for room for an answer of `size` bytes, and for the right to make it; absent if there is
    /// none in time. An answer above the answers' part has all of that.
    pub async fn answer_room(self: Arc<Self>, size: usize) -> Option<(Room, Making)> {
        let units = size.div_ceil(UNIT).min(self.answer_units_max) as u32;
        let room = async {
            // Answers wait for each other first, where they are in no frame's way.
            let part = Arc::clone(&self.answers).acquire_many_owned(units).await.ok()?;
            let bytes = Arc::clone(&self.bytes).acquire_many_owned(units).await.ok()?;
            let making = Arc::clone(&self.making).acquire_owned().await.ok()?;
            Some((Room { size, bytes, part: Some(part) }, Making(making)))
        };
        tokio::time::timeout(ANSWER_WAIT, room).await.ok()?
    }

    /// Waits for the right to open batches for an answer that is small itself.
    pub async fn making(self: Arc<Self>) -> Option<Making> {
        Arc::clone(&self.making).acquire_owned().await.ok().map(Making)
    }

    /// Makes the room of an answer as large as the answer turned out to be; absent if that is more, and
    /// there is no room for it in time.
    pub async fn resize(&self, mut room: Room, size: usize) -> Option<Room> {
        let units = size.div_ceil(UNIT).min(self.answer_units_max);
        let missing = units.saturating_sub(room.bytes.num_permits()) as u32;
        if missing > 0 {
            let more = async {
                let part = Arc::clone(&self.answers).acquire_many_owned(missing).await.ok()?;
                let bytes = Arc::clone(&self.bytes).acquire_many_owned(missing).await.ok()?;
                Some((part, bytes))
            };
            let (part, bytes) = tokio::time::timeout(ANSWER_WAIT, more).await.ok()??;
            room.bytes.merge(bytes);
            room.part.as_mut()?.merge(part);
            room.size = size;
        }
        room.shrink(size);
        Some(room)
    }

    /// Whether `room`, which a request had, may be kept for the next, with the buffer that it counts.
    pub fn keep(&self, room: &mut Room) -> bool {
        if room.part.is_none() {
            let units = room.size.div_ceil(UNIT) as u32;
            room.part = Arc::clone(&self.kept).try_acquire_many_owned(units).ok();
        }
        room.part.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request larger than the bound gets all that is never kept, instead of waiting for ever.
    #[tokio::test]
    async fn a_request_above_the_bound_is_read_alone() {
        let in_flight = InFlight::new(16 * UNIT as i64);
        let all = Arc::clone(&in_flight).room(100 * UNIT).await.unwrap();
        assert_eq!(in_flight.bytes.available_permits(), 2);
        drop(all);
        assert_eq!(in_flight.bytes.available_permits(), 16);
    }

    /// What is kept stays counted, and is a small part: the largest request always finds room.
    #[tokio::test]
    async fn what_is_kept_leaves_room_for_a_request_of_any_size() {
        let in_flight = InFlight::new(16 * UNIT as i64);
        let mut rooms = Vec::new();
        for _ in 0..3 {
            rooms.push(Arc::clone(&in_flight).room(UNIT).await.unwrap());
        }
        let kept: Vec<_> = rooms.iter_mut().map(|room| in_flight.keep(room)).collect();
        assert_eq!(kept, [true, true, false]);
        rooms.pop();
        assert_eq!(in_flight.bytes.available_permits(), 14);
        Arc::clone(&in_flight).room(100 * UNIT).await.unwrap();
    }

    /// Small requests that come later do not pass a large one, which waits until all before it end;
    /// who gives up is passed.
    #[tokio::test]
    async fn requests_are_served_in_the_order_in_which_they_asked() {
        let in_flight = InFlight::new(16 * UNIT as i64);
        let room = |units| Box::pin(Arc::clone(&in_flight).room(units * UNIT));
        let first = room(8).await;
        let (mut large, mut small) = (room(14), room(3));
        assert!(now(&mut large).await.is_none());
        assert!(now(&mut small).await.is_none(), "8 units are free, but another was here before");
        drop(first);
        assert!(now(&mut small).await.is_none(), "it is the large one's turn");
        let large_room = now(&mut large).await.unwrap();
        assert!(now(&mut small).await.is_none());
        drop(large_room);
        let _small_room = now(&mut small).await.unwrap();

        let (mut gone, mut other) = (room(14), room(1));
        assert!(now(&mut gone).await.is_none());
        assert!(now(&mut other).await.is_none());
        drop(gone);
        assert!(now(&mut other).await.is_some(), "its place is free");
    }

    /// However many small requests there are at any time, a large one has its turn.
    #[tokio::test]
    async fn a_stream_of_small_requests_does_not_starve_a_large_one() {
        let in_flight = InFlight::new(16 * UNIT as i64);
        let mut open = std::collections::VecDeque::new();
        for _ in 0..16 {
            open.push_back(Arc::clone(&in_flight).room(UNIT).await);
        }
        let mut large = Box::pin(Arc::clone(&in_flight).room(14 * UNIT));
        assert!(now(&mut large).await.is_none());
        let mut waiting = Vec::new();
        let mut ended = 0;
        // One ends, another asks.
        while let Some(small) = open.pop_front() {
            let mut next = Box::pin(Arc::clone(&in_flight).room(UNIT));
            assert!(now(&mut next).await.is_none(), "none passes");
            waiting.push(next);
            drop(small);
            ended += 1;
            if now(&mut large).await.is_some() {
                assert_eq!(ended, 14, "as soon as there is room");
                return;
            }
        }
        panic!("the large request was starved");
    }

    /// Answers that nobody reads leave a part to requests, and a later answer goes without.
    #[tokio::test(start_paused = true)]
    async fn answers_have_a_part_only_and_do_not_wait_for_ever() {
        let in_flight = InFlight::new(16 * UNIT as i64);
        let (mut unread, making) = Arc::clone(&in_flight).answer_room(100 * UNIT).await.unwrap();
        drop(making);
        assert_eq!(in_flight.bytes.available_permits(), 8);
        assert!(Arc::clone(&in_flight).answer_room(UNIT).await.is_none());
        drop(Arc::clone(&in_flight).room(8 * UNIT).await.unwrap());
        unread.shrink(3 * UNIT);
        assert_eq!(in_flight.bytes.available_permits(), 13);
        assert!(Arc::clone(&in_flight).answer_room(5 * UNIT).await.is_some());
        drop(unread);
        assert_eq!(in_flight.bytes.available_permits(), 16);
        assert_eq!(in_flight.answers.available_permits(), 8);
    }

    /// What `future` gives without waiting.
    async fn now<T>(future: &mut (impl Future<Output = Option<T>> + Unpin)) -> Option<T> {
        tokio::select! {
            biased;
            room = future => room,
            () = std::future::ready(()) => None,
        }
    }
}
