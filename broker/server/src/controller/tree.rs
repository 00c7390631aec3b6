//! The controller's writes: transactions that its epoch fences, each change made or not by itself.
//!
//! Changes are put together into transactions of a bounded size. One that cannot be made is taken
//! out, and the others are made. An answer that was lost is settled by reading: a transaction is
//! done as a whole, so one of its nodes tells about all. What stays open counts as a conflict, upon which the
//! state reads again.
//!
//! Errors: a check that fails means that a later controller has begun; nothing is written then.
//! Source: Kafka 3.9 `KafkaZkClient.retryRequestsUntilConnected`, with its epoch check in each.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use broker_zookeeper::path;
use broker_zookeeper::settle::{self, Outcome};
use broker_zookeeper::store::{Op, OpResult, Store, StoreError};
use tracing::{debug, warn};

use super::membership::{Resignation, Term};
use super::state::effect::Change;
use super::state::event::WriteError;
use crate::planted::{self, Bug};
use steps::{May, Step};

mod steps;

/// Operations in one transaction.
const OPS: usize = 500;

/// Bytes in one transaction: half of what ZooKeeper takes at once (`jute.maxbuffer`).
const BYTES: usize = 512 * 1024;

/// Transactions of states that are under way at once: each waits for a quorum's disks, and none for
/// another.
const PIPELINE: usize = 4;

/// How long a write waits for space on the tree's disk before it is tried again.
const FULL_PAUSE: Duration = Duration::from_secs(1);

/// What a change gave: the node's new version, 0 where it has none.
pub(super) type Made = Result<i32, WriteError>;

/// Why the controller can write no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ended {
    /// A later controller has begun.
    #[error("another broker has become controller")]
    Fenced,
    /// What is in the tree was written by a controller that is later than any.
    #[error("a partition's state in the tree has a higher controller epoch than this controller")]
    Outdated,
    /// The tree cannot be reached any more, or refuses.
    #[error("the coordination tree")]
    Store(#[source] StoreError),
}

impl Ended {
    /// Says how the controller ended.
    pub(super) fn resignation(&self) -> Resignation {
        match self {
            Self::Fenced | Self::Store(StoreError::SessionExpired) => Resignation::Over,
            Self::Outdated | Self::Store(_) => Resignation::Refused,
        }
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        if let StoreError::BadVersion { path, .. } | StoreError::NoNode { path } = &error
            && path == path::CONTROLLER_EPOCH
        {
            return Self::Fenced;
        }
        Self::Store(error)
    }
}

/// The tree as a controller writes it.
#[derive(Debug)]
pub(super) struct Tree {
    store: Arc<dyn Store>,
    term: Term,
}

/// Steps of one change that go into one transaction.
#[derive(Debug)]
struct Piece {
    change: usize,
    steps: Vec<Step>,
}

impl Tree {
    /// Writes to `store` as the controller of `term`.
    pub(super) fn new(store: Arc<dyn Store>, term: Term) -> Self {
        Self { store, term }
    }

    /// Makes the changes, in order; returns what became of each. Where all of them replace states, which
    /// have nothing to do with each other, several transactions are under way at once.
    pub(super) async fn write(&self, changes: &[Change]) -> Result<Vec<Made>, Ended> {
        let are_apart = changes.iter().all(|change| matches!(change, Change::SetState { .. }));
        let mut made: Vec<Made> = vec![Ok(0); changes.len()];
        let mut left: VecDeque<Piece> = VecDeque::new();
        let mut parents = BTreeSet::new();
        for (change, said) in changes.iter().enumerate() {
            let mut steps = steps::steps(said, self.term.epoch);
            // Of changes below one parent only the first makes it.
            steps.retain(|step| match &step.op {
                Op::Create { path, .. } if step.may == May::Exist => parents.insert(path.clone()),
                Op::Create { .. } | Op::Set { .. } | Op::Delete { .. } | Op::Check { .. } => true,
            });
            left.extend(steps.chunks(OPS).map(|steps| Piece { change, steps: steps.to_vec() }));
        }
        while !left.is_empty() {
            let count = if are_apart { PIPELINE } else { 1 };
            let mut batches: [Vec<Piece>; PIPELINE] = std::array::from_fn(|_| Vec::new());
            for batch in batches.iter_mut().take(count) {
                *batch = take_batch(&mut left);
                // A change that failed in an earlier transaction has no later part.
                batch.retain(|piece| made[piece.change].is_ok());
            }
            let [one, two, three, four] = batches.map(|batch| self.transact(batch));
            let (one, two, three, four) = tokio::try_join!(one, two, three, four)?;
            for (change, became) in [one, two, three, four].into_iter().flatten() {
                made[change] = became;
            }
        }
        Ok(made)
    }

    /// Makes one transaction of `batch`, leaving out what cannot be made; returns what became of the
    /// changes.
    async fn transact(&self, mut batch: Vec<Piece>) -> Result<BTreeMap<usize, Made>, Ended> {
        let mut made: BTreeMap<usize, Made> =
            batch.iter().map(|piece| (piece.change, Ok(0))).collect();
        while batch.iter().any(|piece| !piece.steps.is_empty()) {
            let steps = batch.iter().flat_map(|piece| piece.steps.iter().map(|s| s.op.clone()));
            let ops = self.fenced(steps);
            let is_fenced = ops.first() == Some(&self.term.check());
            // The planted fault is to be found by what it breaks.
            let is_wrong = planted::is(Bug::UnfencedControllerWrite);
            assert!(is_fenced || is_wrong, "a write of a controller is fenced");
            match self.store.multi(ops).await {
                Ok(results) => {
                    note_versions(&batch, &results, &mut made);
                    break;
                }
                Err(error @ StoreError::Full) => {
                    warn!(%error, "the controller waits for space");
                    tokio::time::sleep(FULL_PAUSE).await;
                }
                Err(StoreError::ConnectionLoss) => match self.settle(&batch).await? {
                    Outcome::Done(_) => {
                        note_settled(&batch, &mut made);
                        break;
                    }
                    Outcome::NotDone => {}
                    Outcome::Overtaken => {
                        let conflict = |piece: &Piece| (piece.change, Err(WriteError::Conflict));
                        made.extend(batch.iter().map(conflict));
                        break;
                    }
                },
                Err(error) => self.leave_out(&mut batch, error, &mut made).await?,
            }
        }
        Ok(made)
    }

    /// Puts the check that this broker is still the controller before `steps`.
    fn fenced(&self, steps: impl Iterator<Item = Op>) -> Vec<Op> {
        let fence = if planted::is(Bug::UnfencedControllerWrite) {
            // A check that holds in every term.
            Op::Check { path: path::BROKER_IDS.to_owned(), version: 0 }
        } else {
            self.term.check()
        };
        std::iter::once(fence).chain(steps).collect()
    }

    /// Takes out of `batch` what `error` is about.
    async fn leave_out(
        &self,
        batch: &mut Vec<Piece>,
        error: StoreError,
        made: &mut BTreeMap<usize, Made>,
    ) -> Result<(), Ended> {
        let place = batch.iter().enumerate().find_map(|(at, piece)| {
            Some((at, piece.steps.iter().position(|step| step.is_of(&error))?))
        });
        let Some((at, step)) = place else { return Err(error.into()) };
        debug!(%error, "a change to the tree is left out");
        if batch[at].steps[step].tolerates(&error) {
            batch[at].steps.remove(step);
            return Ok(());
        }
        if let (StoreError::NotEmpty { path }, Op::Delete { .. }) =
            (&error, &batch[at].steps[step].op)
        {
            // Somebody put nodes there that are none of Kafka's.
            let mut below = Vec::new();
            for child in self.store.children(path).await? {
                below.push(steps::delete(format!("{path}/{child}")));
            }
            batch[at].steps.splice(step..step, below);
            return Ok(());
        }
        if let StoreError::NoNode { path } = &error
            && path.ends_with("/partitions")
            && batch[at].steps[step].may == May::Exist
        {
            batch[at].steps.insert(0, steps::parent(path.clone()));
            return Ok(());
        }
        let Some(failed) = steps::write_error(&batch[at].steps[step].op, &error) else {
            return Err(error.into());
        };
        made.insert(batch[at].change, Err(failed));
        batch.remove(at);
        Ok(())
    }

    /// Says what became of a transaction whose answer was lost.
    async fn settle(&self, batch: &[Piece]) -> Result<Outcome, Ended> {
        let store = &*self.store;
        for step in batch.iter().flat_map(|piece| &piece.steps) {
            return Ok(match &step.op {
                Op::Create { path, data, mode } if step.may == May::Succeed => {
                    settle::created(store, path, data, *mode).await?
                }
                Op::Set { path, data, version: Some(version) } => {
                    settle::replaced(store, path, data, *version).await?
                }
                Op::Create { .. } | Op::Set { .. } | Op::Delete { .. } | Op::Check { .. } => {
                    continue;
                }
            });
        }
        // Deletions of whatever is there, and notes that are replaced as they are: they may be repeated.
        Ok(Outcome::NotDone)
    }
}

/// Takes as many pieces as one transaction holds, at least one; two pieces of a change never share one,
/// as the second may rely on the first.
fn take_batch(left: &mut VecDeque<Piece>) -> Vec<Piece> {
    let (mut ops, mut bytes, mut batch) = (0, 0, Vec::<Piece>::new());
    while let Some(piece) = left.front() {
        ops += piece.steps.len();
        bytes += piece.steps.iter().map(Step::size).sum::<usize>();
        let is_full = ops > OPS || bytes > BYTES;
        let follows = batch.last().is_some_and(|last| last.change == piece.change);
        if !batch.is_empty() && (is_full || follows) {
            break;
        }
        batch.extend(left.pop_front());
    }
    batch
}

fn note_versions(batch: &[Piece], results: &[OpResult], made: &mut BTreeMap<usize, Made>) {
    let mut results = results.iter().skip(1);
    for piece in batch {
        for result in results.by_ref().take(piece.steps.len()) {
            if let OpResult::Set { stat } | OpResult::Created { stat, .. } = result {
                made.insert(piece.change, Ok(stat.version));
            }
        }
    }
}

/// As [`note_versions`], from what was asked: every set names the version that it replaced.
fn note_settled(batch: &[Piece], made: &mut BTreeMap<usize, Made>) {
    for piece in batch {
        for step in &piece.steps {
            if let Op::Set { version: Some(version), .. } = step.op {
                made.insert(piece.change, Ok(version.wrapping_add(1)));
            }
        }
    }
}

#[cfg(test)]
mod tests;
