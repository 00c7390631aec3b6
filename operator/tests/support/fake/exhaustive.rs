//! A scenario, again and again: undisturbed, and with the operator killed at every one of its calls.
//!
//! Each run has a runtime of its own, whose clock is paused: nothing of one run is left in the next. An operator that is
//! killed is dropped; what it spawned outside of its own future lives on without a server.

use std::time::Duration;

use super::Fake;
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
    /// How long nothing must move.
    pub(crate) quiet: Duration,
    /// Resources that may differ in the end: `leases.coordination.k8s.io`.
    pub(crate) ignored: &'static [&'static str],
}

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
    /// Runs once, with `fault` at the call `nth` of the first operator, where there is one.
    pub(crate) fn run(&self, disturbance: Option<(Nth, Fault)>) -> End {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let fake = (self.world)();
            let first = fake.connect(FIRST);
            if let Some((nth, fault)) = disturbance {
                first.plan(nth, fault);
            }
            let operators = async {
                tokio::select! {
                    () = (self.operator)(first.clone()) => {}
                    () = first.killed() => (self.operator)(fake.connect("second")).await,
                }
                std::future::pending::<()>().await;
            };
            let scenario = async {
                (self.user)(fake.clone()).await;
                fake.rest(self.quiet).await;
            };
            tokio::select! {
                () = operators => {}
                () = fake.run() => {}
                () = scenario => {}
            }
            let snapshot = fake.snapshot(self.ignored);
            End { snapshot, fake, was_killed: first.is_dead() }
        })
    }

    /// Kills the first operator at its first call, its second and so on, until it makes no more: after the call was done,
    /// and, where it asked for a change, before it arrives, too. Holds every end against the undisturbed one, and hands
    /// it to `check`.
    ///
    /// Returns the number of calls.
    ///
    /// # Panics
    /// Where an end differs: with the call, the difference, and the last calls.
    pub(crate) fn kill_at_every_call(&self, check: impl Fn(&End)) -> u64 {
        let undisturbed = self.run(None);
        check(&undisturbed);
        for call in 1.. {
            for fault in [Fault::KilledAfter, Fault::KilledBefore] {
                let end = self.run(Some((Nth::Call(call), fault)));
                if !end.was_killed {
                    return call - 1;
                }
                let difference = undisturbed.snapshot.difference(&end.snapshot);
                let calls: Vec<String> = end.fake.calls().iter().map(ToString::to_string).collect();
                assert!(
                    difference.is_empty(),
                    "{fault:?} {call}: undisturbed | killed\n{}\nafter these calls:\n{}",
                    difference.join("\n"),
                    calls.join("\n")
                );
                check(&end);
                // Whether a question was asked or not nobody can tell.
                let calls = end.fake.calls();
                let last = calls.iter().rfind(|call| call.client == FIRST);
                if last.is_some_and(|call| !call.is_write()) {
                    break;
                }
            }
        }
        unreachable!("calls end, or the clock does")
    }
}
