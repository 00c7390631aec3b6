//! Clients that ask for acknowledgements without pause, and note how long they go without one.
//!
//! As real clients do, they have a connection to every broker, by which they learn who leads; who leads now is
//! asked at once when the one before refuses, or is silent for too long. So a host that is gone costs a
//! client no more than that it is gone: no question about the new leader waits for it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;

use super::TOPIC;
use crate::cluster::view::{self, View};
use crate::deadline::{self, Stopwatch};
use crate::wire::{self, Connection, PRODUCE_VERSION};

/// A client that waits longer for an answer looks whether another broker leads.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long a connection may take to come about: the network is one machine.
const CONNECT: Duration = Duration::from_millis(100);
/// How often a broker is asked who leads.
const LOOK: Duration = Duration::from_millis(20);
/// How soon who was refused asks again.
const AGAIN: Duration = Duration::from_millis(5);

/// The acknowledgements of one partition: the longest stretch without one since it was last asked.
#[derive(Debug)]
struct Stretch {
    last: Stopwatch,
    longest: Duration,
}

/// Clients of every partition, one each, and who looks out for leaders for them, one for each broker.
pub(super) struct Probes {
    stop: Arc<AtomicBool>,
    stretches: Vec<Arc<Mutex<Stretch>>>,
    threads: Vec<JoinHandle<()>>,
}

impl Probes {
    pub(super) fn start(view: &Arc<View>, partitions: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut stretches, mut threads) = (Vec::new(), Vec::new());
        for &(_, address) in view.brokers() {
            let (view, stop) = (Arc::clone(view), Arc::clone(&stop));
            threads.push(thread::spawn(move || look_out(&view, address, &stop)));
        }
        for partition in 0..partitions as i32 {
            let first = Stretch { last: Stopwatch::start(), longest: Duration::ZERO };
            let stretch = Arc::new(Mutex::new(first));
            stretches.push(Arc::clone(&stretch));
            let (view, stop) = (Arc::clone(view), Arc::clone(&stop));
            threads.push(thread::spawn(move || {
                let mut sequence = Sequence { identity: (-1, -1), next: 0 };
                while !stop.load(Ordering::SeqCst) {
                    // Whatever failed is mended by asking whoever leads then.
                    let _ = ask(&view, partition, &mut sequence, &stretch, &stop);
                    deadline::pass(AGAIN);
                }
            }));
        }
        Self { stop, stretches, threads }
    }

    pub(super) fn forget(&self) {
        for stretch in &self.stretches {
            lock(stretch).longest = Duration::ZERO;
        }
    }

    /// The longest stretch of a partition, the present one included.
    pub(super) fn longest(&self, partition: usize) -> Duration {
        let stretch = lock(&self.stretches[partition]);
        stretch.longest.max(stretch.last.elapsed())
    }

    /// Whether every partition was acknowledged within the last fifth of a second.
    pub(super) fn all_live(&self) -> bool {
        let live = |stretch: &Arc<Mutex<Stretch>>| {
            lock(stretch).last.elapsed() < Duration::from_millis(200)
        };
        self.stretches.iter().all(live)
    }

    pub(super) fn end(self) -> Result<()> {
        self.stop.store(true, Ordering::SeqCst);
        let ended = self.threads.into_iter().map(JoinHandle::join);
        ended.collect::<Result<Vec<()>, _>>().map(drop).map_err(|_| anyhow!("a client panicked"))
    }
}

fn lock(stretch: &Mutex<Stretch>) -> MutexGuard<'_, Stretch> {
    stretch.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Asks one broker who leads, over a connection that is kept for as long as it answers.
fn look_out(view: &View, address: SocketAddr, stop: &AtomicBool) {
    let mut kept = None;
    while !stop.load(Ordering::SeqCst) {
        kept = look(view, address, kept).ok();
        deadline::pass(LOOK);
    }
}

fn look(view: &View, address: SocketAddr, kept: Option<Connection>) -> Result<Connection> {
    let mut connection = match kept {
        Some(kept) => kept,
        None => Connection::open_within(address, CONNECT, PATIENCE)?,
    };
    let (partitions, controller) = view::ask_over(&mut connection, &[TOPIC])?;
    view.learn(partitions, controller);
    Ok(connection)
}

struct Sequence {
    identity: (i64, i16),
    next: i32,
}

/// One record after the other until something fails.
fn ask(
    view: &View,
    partition: i32,
    sequence: &mut Sequence,
    stretch: &Mutex<Stretch>,
    stop: &AtomicBool,
) -> Result<()> {
    let (_, address) = view.leader(TOPIC, partition).context("no leader is known")?;
    let mut connection = Connection::open_within(address, CONNECT, PATIENCE)?;
    if sequence.identity.0 < 0 {
        sequence.identity = connection.init_producer_id()?;
    }
    while !stop.load(Ordering::SeqCst) {
        let mut builder = BatchBuilder::new(Offset(0), Compression::None);
        (builder.header.producer_id, builder.header.producer_epoch) = sequence.identity;
        builder.header.base_sequence = sequence.next;
        builder.push(TimestampMs(1), None, Some(b"a record of some size, as many are"));
        let bytes = builder.finish()?;
        let request = wire::produce_request(TOPIC, partition, &bytes);
        let answer = wire::produced(&connection.call(&request, PRODUCE_VERSION)?, PRODUCE_VERSION)?;
        ensure!(answer.error_code == 0, "error {}", answer.error_code);
        sequence.next += 1;
        let mut stretch = lock(stretch);
        stretch.longest = stretch.longest.max(stretch.last.elapsed());
        stretch.last = Stopwatch::start();
    }
    Ok(())
}
