//! A scenario, again and again: undisturbed, and with the operator killed at every one of its calls.
//!
//! Each run has a runtime of its own, whose clock is paused: nothing of one run is left in the next, and several run at
//! once. An operator that is killed is dropped; what it spawned outside of its own future lives on without a server.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::Fake;
use super::clock::Clock;
use super::connection::{Connection, Fault, Nth};
use super::snapshot::Snapshot;

/// The operator that is killed.
const FIRST: &str = "first";

/// What is run; the operator's future may end or not.
pub(crate) struct Scenario<World, Operator, User> {
    /// Makes the cluster that the operator comes to.
    pub(crate) world: World,
    /// The operator, over this connection: the first one, and the one that follows after it was killed.
    pub(crate) operator: Operator,
    /// What the user does meanwhile; the scenario is over once nothing moves after it.
    pub(crate) user: User,
    /// How long the operator is there before the user does anything; calls are counted from then on.
    pub(crate) before: Duration,
    /// How long nothing must move.
    pub(crate) quiet: Duration,
    /// Resources that may differ in the end: `leases.coordination.k8s.io`.
    pub(crate) ignored: &'static [&'static str],
}

/// What happens in a run, to the call of the first operator that has this number.
pub(crate) type Disturbance = (u64, Fault);

/// How a run ended.
pub(crate) struct End {
    pub(crate) snapshot: Snapshot,
    /// Every call, by whichever operator.
    pub(crate) fake: Fake,
    /// How many calls the first operator has made that are counted.
    pub(crate) counted: u64,
    /// Whether the first operator was killed.
    pub(crate) was_killed: bool,
}

impl<World, Operator, User> Scenario<World, Operator, User>
where
    World: Fn() -> Fake,
    Operator: AsyncFn(Connection),
    User: AsyncFn(Fake),
{
    /// Runs once, with `disturbance` where there is one.
    pub(crate) fn run(&self, disturbance: Option<Disturbance>) -> End {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = (self.world)();
            let first = fake.connect(FIRST);
            let mut uncounted = 0;
            let operators = async {
                tokio::select! {
                    () = (self.operator)(first.clone()) => {}
                    () = first.killed() => (self.operator)(fake.connect("second")).await,
                }
                std::future::pending::<()>().await;
            };
            let scenario = async {
                if !self.before.is_zero() {
                    Clock::pass(self.before).await;
                }
                uncounted = first.calls();
                if let Some((nth, fault)) = disturbance {
                    first.plan(Nth::Call(uncounted + nth), fault);
                }
                (self.user)(fake.clone()).await;
                fake.rest(self.quiet).await;
            };
            // The fault is planned before the first call.
            tokio::select! {
                biased;
                () = scenario => {}
                () = operators => {}
                () = fake.run() => {}
            }
            let snapshot = fake.snapshot(self.ignored);
            let counted = first.calls() - uncounted;
            End { snapshot, fake, counted, was_killed: first.is_dead() }
        })
    }
}

/// Has `run` run a scenario undisturbed, and then with the first operator killed at its first call, its second and so on
/// to the last: after the call was done, and, where it asked for a change, before it arrives, too. Holds every end against
/// the undisturbed one; `run` has checked it before. As many runs go on at once as there are processors.
///
/// Returns the number of calls.
///
/// # Panics
/// Where an end differs: with the call, the difference, and the last calls.
pub(crate) fn kill_at_every_call(run: impl Fn(Option<Disturbance>) -> End + Sync) -> u64 {
    let undisturbed = run(None);
    let (calls, expected) = (undisturbed.counted, undisturbed.snapshot);
    let next = AtomicU64::new(1);
    let work = || {
        loop {
            let call = next.fetch_add(1, Ordering::Relaxed);
            if call > calls {
                return;
            }
            kill_at(call, &expected, &run);
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                // The others need not go on.
                next.store(calls, Ordering::Relaxed);
                resume_unwind(panic);
            }
        }
    });
    calls
}

fn kill_at(call: u64, expected: &Snapshot, run: &impl Fn(Option<Disturbance>) -> End) {
    for fault in [Fault::KilledAfter, Fault::KilledBefore] {
        let end = run(Some((call, fault)));
        assert!(end.was_killed, "{fault:?} {call}: not every run is the same run");
        let difference = expected.difference(&end.snapshot);
        let calls = end.fake.calls();
        let told: Vec<String> = calls.iter().map(ToString::to_string).collect();
        assert!(
            difference.is_empty(),
            "{fault:?} {call}: undisturbed | killed\n{}\nafter these calls:\n{}",
            difference.join("\n"),
            told.join("\n")
        );
        // Whether a question was asked or not nobody can tell.
        let last = calls.iter().rfind(|call| call.client == FIRST);
        if last.is_some_and(|call| !call.is_write()) {
            return;
        }
    }
}
