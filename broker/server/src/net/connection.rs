//! One client's connection, from accept to close, on one network thread at a time.
//!
//! The loop: handle every whole frame in the read buffer, collect answers in the order of the
//! requests, write them all at once, then wait. A data-plane request costs one wake-up, one read,
//! one call of its handler and one write; an answer that must wait stands in a queue, and those
//! behind it wait with it. Requests after a waiting one are handled too if that one is a Produce;
//! otherwise one request runs at a time, as in Kafka. A connection that is to move to another thread handles
//! nothing more, and goes once its answers are written; what it has read goes with it.
//!
//! Bounds: the read buffer grows with the bytes that arrived; above [`LARGE_FRAME`] it is as large as
//! its frame and has [`Room`], which lives as long as the memory does, kept or handed to an answer
//! that comes later. The queue holds [`PENDING_MAX`] answers; handling stops while [`OUTPUT_MAX`]
//! bytes wait to be written. Every wait has a deadline, so that silent, slow and half-open peers are
//! closed; a peer that closes ends what waits for it.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::frame::{self, Frame, FrameError, LENGTH_SIZE};
use super::limits::ConnectionPermit;
use super::output;
use super::placement::Seat;
use super::worker::Places;
use crate::api::answers::Answers;
use crate::api::dispatch::{self, Dispatched, Fault};
use crate::api::{Later, Peer};
use crate::context::Context;
use crate::in_flight::{self, Room};
use crate::low_water::LowWater;
use crate::tasks::Tasks;

/// Answers that may wait at once on one connection; clients pipeline 5 by default.
const PENDING_MAX: usize = 128;

/// Bytes of answers above which no further request is handled until they are written.
const OUTPUT_MAX: usize = 1024 * 1024;

/// What one read asks for at least, in bytes; also what an idle connection keeps.
const READ_SIZE: usize = 16 * 1024;

/// A frame above this is counted against the bytes in flight of the process, in bytes.
const LARGE_FRAME: usize = 64 * 1024;

/// A buffer above this is never kept for the next frame, in bytes.
const KEEP_MAX: usize = 2 * 1024 * 1024;

/// How often a quiet connection is looked at: an empty read buffer is then given back.
const QUIET: Duration = Duration::from_secs(30);

/// What a connection is bound by, fixed when it is accepted.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// `socket.request.max.bytes`.
    pub(crate) frame_max: usize,
    /// `connections.max.idle.ms`.
    pub(crate) idle: Duration,
    /// The time within which the first whole request must be here.
    pub(crate) first_request: Duration,
    /// The time that answers in progress get when the broker shuts down.
    pub(crate) drain: Duration,
}

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("the client closed the connection")]
    Closed,
    #[error("the broker shuts down")]
    Shutdown,
    #[error("no whole request for {0:?}")]
    Idle(Duration),
    #[error("a frame of {size} bytes was not whole after {after:?}")]
    SlowFrame { size: usize, after: Duration },
    #[error("answers were not read for {0:?}")]
    SlowReader(Duration),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error("the socket failed")]
    Io(#[from] io::Error),
}

/// One connection. Owns its socket, its buffers and its place in the limits.
pub(crate) struct Connection {
    stream: TcpStream,
    context: Arc<Context>,
    peer: Peer,
    settings: Settings,
    input: BytesMut,
    low_water: LowWater,
    answers: Answers,
    pending: VecDeque<Later<Result<Answers, Fault>>>,
    /// The last of `pending` must end before another request is handled.
    exclusive: bool,
    served: u64,
    /// When the last whole request was handled, or room was found for the one that arrives.
    last_request: Instant,
    /// The largest frame since the connection was last quiet, up to [`LARGE_FRAME`]: the buffer is
    /// kept that large, because memory touched for the first time costs more than all else in a read.
    largest: usize,
    /// The room that a buffer above [`LARGE_FRAME`] has.
    room: Option<Room>,
    /// Whether one of `pending` has the room of its request.
    pending_has_room: bool,
    /// Waits for room. Kept over other events: a place in the queue must not be lost to them.
    queued: Option<Later<Option<Room>>>,
    /// When the frame that arrives got its room.
    begun: Option<Instant>,
    /// Fires at the next look at the deadline. Moved only when it fires, not at each request.
    alarm: Pin<Box<Sleep>>,
    shutdown: Pin<Box<WaitForCancellationFutureOwned>>,
    _permit: ConnectionPermit,
    places: Arc<Places>,
    seat: Seat,
    /// It is to go where its seat is.
    leaves: bool,
}

impl Connection {
    /// Takes an accepted socket over; must be called on the worker that it will live on.
    ///
    /// # Errors
    /// When the socket cannot be registered with the worker's poller.
    pub(crate) fn new(
        stream: std::net::TcpStream,
        context: Arc<Context>,
        peer: Peer,
        settings: Settings,
        permit: ConnectionPermit,
        (places, seat): (Arc<Places>, Seat),
    ) -> io::Result<Self> {
        let now = context.clock.now();
        let first_look = now + settings.first_request.min(QUIET);
        Ok(Self {
            stream: TcpStream::from_std(stream)?,
            peer,
            settings,
            input: BytesMut::new(),
            low_water: LowWater::new(),
            answers: Answers::default(),
            pending: VecDeque::new(),
            exclusive: false,
            served: 0,
            last_request: now,
            largest: READ_SIZE,
            room: None,
            pending_has_room: false,
            queued: None,
            begun: None,
            alarm: Box::pin(tokio::time::sleep_until(first_look.into())),
            shutdown: Box::pin(context.tasks.shutdown_token().cancelled_owned()),
            context,
            _permit: permit,
            places,
            seat,
            leaves: false,
        })
    }

    /// Serves the client until it is to go on on another thread.
    ///
    /// # Errors
    /// When one of the two sides ended it: why.
    pub(crate) async fn run(&mut self) -> Result<(), End> {
        loop {
            self.turn().await?;
            if self.may_leave() {
                return Ok(());
            }
        }
    }

    /// Returns the number of the thread that it is to live on, its runtime, and the set that it is a task of.
    pub(crate) fn home(&self) -> (usize, Handle, Tasks) {
        let runtime = self.places.runtime(&self.seat).clone();
        (self.seat.thread, runtime, self.context.tasks.clone())
    }

    /// Goes on on the thread that this is called on.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub(crate) fn moved(self) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::from_std(self.stream.into_std()?)?,
            alarm: Box::pin(tokio::time::sleep_until(self.alarm.deadline())),
            leaves: false,
            ..self
        })
    }

    /// Handles what is here, writes what is ready, then waits for the next event.
    async fn turn(&mut self) -> Result<(), End> {
        let more = self.handle_frames()?;
        if self.exclusive && !self.answers.is_empty() {
            // What comes later may take room: not before the client has read what is ready.
            self.flush().await?;
        }
        self.collect().await?;
        if !self.answers.is_empty() {
            self.flush().await?;
        }
        if self.may_leave() || (more && !self.is_blocked()) {
            return Ok(());
        }
        self.wait().await
    }

    /// Handles whole frames in the order they came; returns whether one was left for later.
    fn handle_frames(&mut self) -> Result<bool, End> {
        loop {
            let Frame::Complete { size } = frame::peek(&self.input, self.settings.frame_max)?
            else {
                return Ok(false);
            };
            if self.is_blocked() {
                return Ok(true);
            }
            self.handle(size)?;
            self.served += 1;
            self.last_request = self.context.clock.now();
            self.leaves |= self.places.moves(&mut self.seat, self.last_request);
        }
    }

    /// Handles the frame of `size` bytes at the front of the read buffer.
    fn handle(&mut self, size: usize) -> Result<(), End> {
        let whole = LENGTH_SIZE + size;
        let request = &self.input[LENGTH_SIZE..whole];
        let owned = (whole > LARGE_FRAME && dispatch::may_keep(request)).then(|| self.cut(whole));
        let (frame, room) = match &owned {
            Some(frame) => (dispatch::Frame::Owned(frame), self.room.take()),
            None => (dispatch::Frame::Passing(&self.input[LENGTH_SIZE..whole]), None),
        };
        // With answers waiting, a ready one must queue behind them.
        let queued = !self.pending.is_empty();
        let mut apart = Answers::default();
        let sink = if queued { &mut apart } else { &mut self.answers };
        match dispatch::dispatch(&self.context, &self.peer, frame, sink)? {
            Dispatched::Done if queued && !apart.is_empty() => {
                self.pending.push_back(Box::pin(std::future::ready(Ok(apart))));
            }
            Dispatched::Done => {}
            Dispatched::Later { answer, exclusive } => {
                self.pending_has_room |= room.is_some();
                self.pending.push_back(with_room(answer, room));
                self.exclusive = exclusive;
            }
        }
        self.begun = None;
        if owned.is_none() {
            self.input.advance(whole);
            self.largest = self.largest.max(whole.min(LARGE_FRAME));
            self.settle();
        }
        Ok(())
    }

    /// Takes the first `whole` bytes out of the read buffer, with its memory; returns the request.
    fn cut(&mut self, whole: usize) -> Bytes {
        let mut frame = std::mem::take(&mut self.input);
        if frame.len() > whole {
            self.input.extend_from_slice(&frame[whole..]);
        }
        frame.truncate(whole);
        frame.advance(LENGTH_SIZE);
        frame.freeze()
    }

    /// Keeps a large buffer that is empty for the next frame, or gives it back.
    fn settle(&mut self) {
        if !self.input.is_empty() {
            return;
        }
        if let Some(room) = &mut self.room
            && (room.size() > KEEP_MAX || !self.context.in_flight.keep(room))
        {
            self.input = BytesMut::new();
            self.room = None;
        }
    }

    /// Whether no further request may be handled now.
    fn is_blocked(&self) -> bool {
        let is_full = self.pending.len() >= PENDING_MAX || self.answers.size() >= OUTPUT_MAX;
        self.exclusive || self.leaves || is_full
    }

    /// Whether it is to go to another thread, and nothing holds it on this one.
    fn may_leave(&self) -> bool {
        self.leaves && self.pending.is_empty() && self.answers.is_empty() && self.queued.is_none()
    }

    /// Moves answers that are ready from the front of the queue, without waiting.
    async fn collect(&mut self) -> Result<(), End> {
        while let Some(front) = self.pending.front_mut() {
            let ready = tokio::select! {
                biased;
                answer = front => answer,
                () = std::future::ready(()) => return Ok(()),
            };
            self.answered(ready?);
        }
        Ok(())
    }

    /// Takes over the answer at the front of the queue.
    fn answered(&mut self, answer: Answers) {
        self.pending.pop_front();
        if self.pending.is_empty() {
            self.exclusive = false;
            self.pending_has_room = false;
        }
        self.answers.append(answer);
    }

    /// Writes all answers. While the connection has room that others may wait for, a slow client has
    /// as little time as with a large frame.
    async fn flush(&mut self) -> Result<(), End> {
        let has_room = self.room.is_some() || self.pending_has_room || self.answers.has_room();
        let patience = has_room.then(|| in_flight::patience(self.answers.size()));
        let limit = self.settings.idle.min(patience.unwrap_or(Duration::MAX));
        match tokio::time::timeout(limit, output::flush(&mut self.answers, &self.stream)).await {
            Ok(done) => Ok(done?),
            Err(_) => Err(End::SlowReader(limit)),
        }
    }

    /// Waits for bytes, for an answer, for the deadline or for shutdown.
    async fn wait(&mut self) -> Result<(), End> {
        // While nothing more is handled, a little is read all the same: the end of the stream too.
        let mut reads = !self.is_blocked() || self.input.len() < READ_SIZE;
        if reads {
            let missing = self.missing()?;
            reads = self.make_room(missing);
            if reads {
                self.low_water.expect(&self.stream, missing.unwrap_or(0));
            }
        }
        tokio::select! {
            biased;
            answer = front(&mut self.pending), if !self.pending.is_empty() => {
                self.answered(answer?);
                Ok(())
            }
            room = granted(&mut self.queued), if self.queued.is_some() => {
                self.queued = None;
                self.begin(room);
                Ok(())
            }
            // A read that did not fill the buffer is known to have emptied the socket: the next
            // wait costs no system call to find that out.
            read = self.stream.read_buf(&mut self.input), if reads => {
                if read? == 0 { Err(End::Closed) } else { Ok(()) }
            }
            () = &mut self.shutdown => self.drain().await,
            () = &mut self.alarm => self.look(),
        }
    }

    /// Returns how many bytes of a frame are still to come, once its length is here.
    fn missing(&self) -> Result<Option<usize>, FrameError> {
        Ok(match frame::peek(&self.input, self.settings.frame_max)? {
            Frame::Partial { size: Some(size) } => Some(LENGTH_SIZE + size - self.input.len()),
            Frame::Partial { size: None } | Frame::Complete { .. } => None,
        })
    }

    /// Grows the read buffer for what comes next, by doubling; returns whether to read now.
    ///
    /// A large frame that has begun, of which `missing` bytes are to come, is read on once there is room for
    /// all of it.
    fn make_room(&mut self, missing: Option<usize>) -> bool {
        let here = self.input.len();
        let whole = here + missing.unwrap_or(READ_SIZE);
        if here >= LARGE_FRAME && self.input.capacity() < whole {
            if self.room.as_ref().is_none_or(|room| room.size() < whole) {
                if self.queued.is_none() {
                    self.queued = Some(Box::pin(Arc::clone(&self.context.in_flight).room(whole)));
                }
                return false;
            }
            self.resize();
        } else if here == 0 {
            // An empty buffer is asked for as much as it once held, which winds it back to its start.
            self.input.reserve(self.room.as_ref().map_or(self.largest, Room::size));
        } else {
            self.input.reserve((whole - here).min(here.max(READ_SIZE)));
        }
        true
    }

    /// Goes on with a large frame, for which there is room now.
    fn begin(&mut self, room: Option<Room>) {
        let now = self.context.clock.now();
        if let Some(room) = &room {
            let end = (now + in_flight::patience(room.size())).into();
            if end < self.alarm.deadline() {
                self.alarm.as_mut().reset(end);
            }
        }
        self.room = room;
        self.begun = Some(now);
        // It was not the client that was waited for.
        self.last_request = now;
        self.resize();
    }

    /// Moves what is here to a buffer of exactly the size that there is room for.
    fn resize(&mut self) {
        let Some(room) = &self.room else { return };
        let mut buffer = BytesMut::with_capacity(room.size());
        buffer.extend_from_slice(&self.input);
        self.input = buffer;
    }

    /// Ends a connection that is past its deadline, gives memory back, and sets the next alarm.
    fn look(&mut self) -> Result<(), End> {
        let now = self.context.clock.now();
        let limit = if self.served == 0 { self.settings.first_request } else { self.settings.idle };
        let quiet = now.duration_since(self.last_request);
        if quiet >= limit && self.pending.is_empty() && self.queued.is_none() {
            return Err(End::Idle(limit));
        }
        if let (Some(begun), Some(room)) = (self.begun, &self.room) {
            let (size, after) = (room.size(), now.duration_since(begun));
            if after >= in_flight::patience(size) {
                return Err(End::SlowFrame { size, after });
            }
        }
        if (!self.pending.is_empty() || self.queued.is_some()) && is_closed(&self.stream) {
            return Err(End::Closed);
        }
        if quiet >= QUIET && self.input.is_empty() {
            self.input = BytesMut::new();
            self.room = None;
            self.largest = READ_SIZE;
        }
        let mut next = self.last_request + limit;
        if let (Some(begun), Some(room)) = (self.begun, &self.room) {
            next = next.min(begun + in_flight::patience(room.size()));
        }
        let next = next.max(now + Duration::from_secs(1)).min(now + QUIET);
        self.alarm.as_mut().reset(next.into());
        Ok(())
    }

    /// Writes the answers that are still in progress, then ends the connection.
    async fn drain(&mut self) -> Result<(), End> {
        let limit = self.settings.drain;
        let rest = async {
            while let Some(front) = self.pending.front_mut() {
                let answer = front.await?;
                self.answered(answer);
            }
            self.flush().await
        };
        let _ = tokio::time::timeout(limit, rest).await;
        Err(End::Shutdown)
    }
}

/// The answer at the front of a queue that is not empty.
async fn front(pending: &mut VecDeque<Later<Result<Answers, Fault>>>) -> Result<Answers, Fault> {
    match pending.front_mut() {
        Some(answer) => answer.await,
        None => std::future::pending().await,
    }
}

/// The room that is waited for.
async fn granted(queued: &mut Option<Later<Option<Room>>>) -> Option<Room> {
    match queued {
        Some(room) => room.await,
        None => std::future::pending().await,
    }
}

/// Lets `room` live as long as `answer` is waited for: the request's memory does.
fn with_room(
    answer: Later<Result<Answers, Fault>>,
    room: Option<Room>,
) -> Later<Result<Answers, Fault>> {
    let Some(room) = room else { return answer };
    Box::pin(async move {
        let answer = answer.await;
        drop(room);
        answer
    })
}

/// Whether the peer has closed, though bytes of it may still wait to be read.
fn is_closed(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    rustix::event::poll(&mut polled, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}
