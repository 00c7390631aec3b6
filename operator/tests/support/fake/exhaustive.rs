//! A scenario, again and again: undisturbed, and with the operator killed at every one of its calls.
//!
//! Each run has a runtime of its own, whose clock is paused: nothing of one run is left in the next, and several run at
//! once. An operator that is killed is dropped; what it spawned outside of its own future lives on without a server.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::Fake;
use super::clock::Clock;
use super::connection::{Connection, Fault, Nth};
use super::record::Call;
use super::snapshot::Snapshot;

/// The operator that is killed, and the one that comes then.
const FIRST: &str = "first";
const SECOND: &str = "second";

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
        self.play(FIRST, |first, _| {
            if let Some((nth, fault)) = disturbance {
                first.plan(Nth::Call(first.calls() + nth), fault);
            }
        })
    }

    /// Runs once undisturbed, and keeps what there was wherever the operator may be killed: before each call, and after
    /// it. An operator that is killed leaves nothing else, so that stops are one where nothing was changed from one to the
    /// next and the second is the same, which is as fine as anything in the cluster knows the time.
    pub(crate) fn stops<Start: Send + 'static>(
        &self,
        keeper: impl FnOnce() -> Box<dyn Fn(&Fake) -> Start + Send>,
    ) -> (End, Vec<Stop<Start>>) {
        let stops = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&stops);
        let end = self.play(FIRST, |first, fake| {
            let (keep, fake) = (keeper(), fake.clone());
            first.witness(Some(Box::new(move || {
                let state = fake.mark_all();
                let mut kept = kept.lock().unwrap();
                if let Some(last) =
                    kept.last_mut().filter(|last: &&mut Stop<Start>| last.state == state)
                {
                    last.kills += 1;
                    return;
                }
                let (start, calls) = (keep(&fake), fake.calls().len());
                kept.push(Stop { start, state, calls, kills: 1 });
            })));
        });
        let stops = std::mem::take(&mut *stops.lock().unwrap());
        (end, stops)
    }

    /// Runs what follows once the first operator was killed: another one.
    pub(crate) fn follow(&self) -> End {
        self.play(SECOND, |_, _| {})
    }

    fn play(&self, name: &str, begin: impl FnOnce(&Connection, &Fake)) -> End {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = (self.world)();
            let first = fake.connect(name);
            let operators = async {
                tokio::select! {
                    () = (self.operator)(first.clone()) => {}
                    () = first.killed() => (self.operator)(fake.connect(SECOND)).await,
                }
                std::future::pending::<()>().await;
            };
            let scenario = async {
                if !self.before.is_zero() {
                    Clock::pass(self.before).await;
                }
                begin(&first, &fake);
                (self.user)(fake.clone()).await;
                fake.rest(self.quiet).await;
            };
            // What `begin` plans is planned before the first call.
            tokio::select! {
                biased;
                () = scenario => {}
                () = operators => {}
                () = fake.run() => {}
            }
            first.witness(None);
            let snapshot = fake.snapshot(self.ignored);
            End { snapshot, fake, was_killed: first.is_dead() }
        })
    }
}

/// What there was when the operator might have been killed.
pub(crate) struct Stop<Start> {
    pub(crate) start: Start,
    /// The revisions of everything, and the second.
    state: Vec<u64>,
    /// How many calls there had been.
    calls: usize,
    /// How many kills come to this.
    pub(crate) kills: usize,
}

/// Has `follow` run what follows from each of `stops`, as many at once as there are processors, and holds every end against
/// the undisturbed one; `follow` has checked it before.
///
/// # Panics
/// Where an end differs: with the difference, and the calls of both operators.
pub(crate) fn follow_every_stop<Start: Sync>(
    undisturbed: &End,
    stops: &[Stop<Start>],
    follow: impl Fn(&Start) -> End + Sync,
) {
    let before = undisturbed.fake.calls();
    let before = &before;
    on_threads(|number| {
        let Some(stop) = stops.get(number as usize - 1) else { return false };
        let end = follow(&stop.start);
        let calls = || before[..stop.calls].iter().cloned().chain(end.fake.calls()).collect();
        compare(&undisturbed.snapshot, &end.snapshot, &format!("stop {number}"), calls);
        true
    });
}

/// Has `run` run a scenario undisturbed, and then with the first operator killed at its first call, its second and so on,
/// until it makes no more: after the call was done, and, where it asked for a change, before it arrives, too. Holds every
/// end against the undisturbed one; `run` has checked it before. As many runs go on at once as there are processors.
///
/// Returns the number of calls.
///
/// # Panics
/// Where an end differs: with the call, the difference, and all calls.
pub(crate) fn kill_at_every_call(run: impl Fn(Option<Disturbance>) -> End + Sync) -> u64 {
    let expected = run(None).snapshot;
    on_threads(|call| kill_at(call, &expected, &run)) - 1
}

/// Does `work` for 1, 2 and so on, until that returns `false`; returns the first number of those.
pub(crate) fn on_threads(work: impl Fn(u64) -> bool + Sync) -> u64 {
    let (next, end) = (AtomicU64::new(1), AtomicU64::new(u64::MAX));
    let all = || {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= end.load(Ordering::Relaxed) {
                return;
            }
            if !work(number) {
                end.fetch_min(number, Ordering::Relaxed);
            }
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(all)).collect();
        for worker in workers {
            if let Err(panic) = worker.join() {
                // The others need not go on.
                end.store(0, Ordering::Relaxed);
                resume_unwind(panic);
            }
        }
    });
    end.load(Ordering::Relaxed)
}

/// Returns whether there is such a call.
fn kill_at(call: u64, expected: &Snapshot, run: &impl Fn(Option<Disturbance>) -> End) -> bool {
    for fault in [Fault::KilledAfter, Fault::KilledBefore] {
        let end = run(Some((call, fault)));
        if !end.was_killed {
            return false;
        }
        let calls = end.fake.calls();
        compare(expected, &end.snapshot, &format!("{fault:?} {call}"), || calls.clone());
        // Whether a question was asked or not nobody can tell.
        let last = calls.iter().rfind(|call| call.client == FIRST);
        if last.is_some_and(|call| !call.is_write()) {
            break;
        }
    }
    true
}

fn compare(expected: &Snapshot, end: &Snapshot, what: &str, calls: impl Fn() -> Vec<Call>) {
    let difference = expected.difference(end);
    if !difference.is_empty() {
        let calls: Vec<String> = calls().iter().map(ToString::to_string).collect();
        let (difference, calls) = (difference.join("\n"), calls.join("\n"));
        panic!("{what}: undisturbed | killed\n{difference}\nafter these calls:\n{calls}");
    }
}
