//! Scenarios of members against a model of a cluster, cut off after any step.

use proptest::prelude::*;

use super::super::layout::tests::{begin, count, finish, layout, topic};
use super::super::layout::{self as lay, Topic};
use super::*;
use crate::crd::topic::Approval;
use crate::names::broker_ids;

/// A cluster as it would be: Kubernetes, the tree and the status.
#[derive(Debug, Clone)]
struct World {
    brokers: i32,
    removed: Vec<i32>,
    facts: Facts,
    /// Sets that were deleted, in order.
    deleted: Vec<i32>,
}

impl World {
    /// So many brokers that serve, with these topics.
    fn new(brokers: i32, topics: Vec<Topic>) -> Self {
        let wanted = broker_ids(brokers, &[]);
        let facts = Facts {
            said: Ok(Said { layout: layout(&wanted, topics), left: BTreeMap::new() }),
            wanted,
            own: BTreeMap::new(),
            has_zookeeper: true,
            racks: BTreeMap::new(),
            assigned: BTreeMap::new(),
            may_move: Ok(()),
            rebalance: Rebalance::default(),
            on_delete: VolumePolicy::Delete,
            drains: Vec::new(),
            plan: None,
        };
        let mut world = Self { brokers, removed: Vec::new(), facts, deleted: Vec::new() };
        world.kubernetes();
        world
    }

    fn scale(&mut self, brokers: i32, removed: &[i32]) {
        (self.brokers, self.removed) = (brokers, removed.to_vec());
        self.facts.wanted = broker_ids(brokers, removed);
        self.kubernetes();
    }

    fn layout(&mut self) -> &mut Layout {
        &mut self.facts.said.as_mut().unwrap().layout
    }

    /// What Kubernetes and the brokers do by themselves: sets are made, pods start and register.
    fn kubernetes(&mut self) {
        for id in self.facts.wanted.clone() {
            let all = Own { is_there: true, has_claims: true, serves: true };
            self.facts.own.insert(id, all);
            let layout = self.layout();
            match layout.brokers.iter_mut().find(|one| one.id == id) {
                Some(broker) => broker.is_registered = true,
                None => layout.brokers.push(lay::Broker {
                    id,
                    is_registered: true,
                    ..lay::Broker::default()
                }),
            }
            layout.brokers.sort_by_key(|one| one.id);
        }
        let own = self.facts.own.clone();
        let layout = self.layout();
        for broker in &mut layout.brokers {
            broker.is_registered = own.get(&broker.id).is_some_and(|own| own.is_there);
        }
        for own in self.facts.own.values_mut() {
            own.serves = own.is_there;
        }
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Cordon { broker, is_cordoned } => {
                let layout = self.layout();
                layout.brokers.iter_mut().find(|one| one.id == broker).unwrap().is_cordoned =
                    is_cordoned;
            }
            Step::Move { moves } => {
                let layout = self.layout();
                for to in moves.iter().flat_map(|one| one.added().collect::<Vec<_>>()) {
                    let broker = layout.broker(to).unwrap();
                    assert!(broker.is_registered && !broker.is_cordoned, "{to} takes nothing");
                }
                begin(layout, &moves);
                layout.is_throttled = true;
            }
            Step::ClearThrottles => self.layout().is_throttled = false,
            Step::Delete { broker } => {
                let layout = self.layout();
                let held = layout.topics.iter().flat_map(|topic| &topic.partitions);
                assert!(held.into_iter().all(|one| !one.replicas.contains(&broker)));
                self.facts.own.get_mut(&broker).unwrap().is_there = false;
                self.deleted.push(broker);
            }
            Step::DeleteClaims { broker } => {
                self.facts.own.get_mut(&broker).unwrap().has_claims = false;
            }
            Step::Forget { broker } => {
                assert!(!self.facts.wanted.contains(&broker));
                self.layout().brokers.retain(|one| one.id != broker);
            }
        }
    }

    /// One look, cut off after so many of its writes; says whether anything was to be done.
    fn look(&mut self, writes: usize) -> bool {
        let decision = decide(&self.facts);
        let noted = (decision.drains.clone(), decision.plan.clone());
        let before = (self.facts.drains.clone(), self.facts.plan.clone());
        let is_idle = decision.steps.is_empty() && noted == before;
        if writes == 0 {
            return !is_idle;
        }
        (self.facts.drains, self.facts.plan) = noted;
        let steps = decision.steps.len();
        for step in decision.steps.clone().into_iter().take(writes - 1) {
            self.take(step);
        }
        if writes > steps {
            self.facts.drains = decision.drains_after();
        }
        !is_idle
    }

    /// Looks until nothing changes any more; what moves is there between two looks. Where a look has nothing to do and
    /// something changes after it, it must have said that something goes on: nobody tells of that.
    fn settle(&mut self) {
        for _ in 0..500 {
            let goes_on = decide(&self.facts).goes_on;
            let before = self.facts.clone();
            let is_busy = self.look(usize::MAX);
            finish(self.layout());
            self.kubernetes();
            if self.facts == before {
                return;
            }
            assert!(is_busy || goes_on, "nobody looks again: {before:#?}");
        }
        panic!("it never settles: {:#?}", decide(&self.facts));
    }

    fn sets(&self) -> Vec<i32> {
        let own = self.facts.own.iter().filter(|(_, own)| own.is_there);
        own.map(|(id, _)| *id).collect()
    }

    fn held(&mut self) -> BTreeMap<i32, u64> {
        count(self.layout());
        self.layout().brokers.iter().map(|broker| (broker.id, broker.replicas)).collect()
    }
}

/// Thirty partitions of three replicas on brokers 0 to 2.
fn thirty() -> Vec<Topic> {
    let lists: Vec<Vec<i32>> =
        (0..30).map(|one| vec![one % 3, (one + 1) % 3, (one + 2) % 3]).collect();
    let lists: Vec<&[i32]> = lists.iter().map(Vec::as_slice).collect();
    vec![topic("orders", &lists, 1 << 30)]
}

fn has(decision: &Decision, of: fn(&Step) -> bool) -> bool {
    decision.steps.iter().any(of)
}

fn is_move(step: &Step) -> bool {
    matches!(step, Step::Move { .. })
}

/// Brokers come and get their share; they go, and what they have goes to the others; nothing is left of them.
#[test]
fn three_become_five_and_three_again() {
    let mut world = World::new(3, thirty());
    world.settle();
    assert_eq!(decide(&world.facts), Decision::default());
    world.scale(5, &[]);
    let first = decide(&world.facts);
    assert!(first.steps.is_empty() && first.plan.is_some(), "planned before anything moves");
    world.settle();
    assert_eq!(world.held().into_values().collect::<Vec<_>>(), [18; 5]);
    assert_eq!((world.facts.plan.clone(), world.layout().is_throttled), (None, false));
    assert_eq!(decide(&world.facts), Decision::default());

    world.scale(3, &[]);
    assert_eq!(leaving(&world.facts.wanted, &world.facts.own, &[]), [3, 4]);
    assert_eq!(present(&world.facts.wanted, &world.facts.own, true), [0, 1, 2, 3, 4]);
    world.settle();
    assert_eq!((world.sets(), world.deleted.clone()), (vec![0, 1, 2], vec![3, 4]));
    assert_eq!(world.held(), BTreeMap::from([(0, 30), (1, 30), (2, 30)]));
    assert!(world.facts.drains.is_empty() && !world.facts.own[&4].has_claims);
    assert_eq!(decide(&world.facts), Decision::default());
}

/// A broker that is named goes, and another takes its place and gets what it had.
#[test]
fn a_chosen_broker_is_replaced() {
    let mut world = World::new(3, thirty());
    world.facts.on_delete = VolumePolicy::Retain;
    world.scale(3, &[1]);
    world.settle();
    assert_eq!(world.sets(), [0, 2, 3]);
    assert_eq!(world.held(), BTreeMap::from([(0, 30), (2, 30), (3, 30)]));
    assert!(world.facts.own[&1].has_claims);
}

/// Who is deleted stays registered until its session ends, of which nobody tells: it is looked at until then.
#[test]
fn who_has_ended_is_looked_at_until_it_is_forgotten() {
    let mut world = World::new(4, thirty());
    world.facts.rebalance.mode = RebalanceMode::Off;
    world.scale(3, &[]);
    world.look(usize::MAX);
    let delete = Step::Delete { broker: 3 };
    assert_eq!(decide(&world.facts).steps, std::slice::from_ref(&delete));
    world.look(usize::MAX);
    // It has no pod any more, and brokers count it still: it is noted, and there is nothing to be done.
    let decision = decide(&world.facts);
    assert!(decision.steps.is_empty() && decision.goes_on);
    assert!(decision.drains[0].message.contains("registered still"));
    world.look(usize::MAX);
    assert_eq!(decide(&world.facts).drains, world.facts.drains, "the status says it already");
    world.settle();
    assert!(world.facts.drains.is_empty() && world.layout().broker(3).is_none());
}

/// Why a broker cannot go is in the status, and nothing is done to it; what heals that has it go.
#[test]
fn what_would_break_replicas_is_refused_in_words() {
    let mut world = World::new(3, thirty());
    world.scale(2, &[]);
    world.settle();
    assert_eq!(world.sets(), [0, 1, 2]);
    let drain = &world.facts.drains[0];
    assert_eq!((drain.broker, drain.replicas_left), (2, 30));
    assert!(drain.message.contains("topic orders has 3 replicas"), "{}", drain.message);
    let decision = decide(&world.facts);
    assert!(decision.steps.is_empty() && !decision.goes_on && decision.refused.contains_key(&2));
    for partition in &mut world.layout().topics[0].partitions {
        partition.replicas.truncate(2);
        partition.in_sync.truncate(2);
    }
    world.settle();
    assert_eq!(world.sets(), [0, 1]);
}

/// One without ZooKeeper has the tree: it never goes, and nobody comes beside it.
#[test]
fn a_broker_with_the_tree_stays() {
    let mut world = World::new(1, vec![]);
    world.facts.has_zookeeper = false;
    world.facts.wanted = vec![1];
    let decision = decide(&world.facts);
    assert!(decision.steps.is_empty() && decision.refused[&0].contains("own disk"));
    assert_eq!(present(&[1], &world.facts.own, false), [0]);
    assert_eq!(present(&[1], &BTreeMap::new(), false), [1]);
}

/// Who is wanted again gets replicas again, and keeps what has not moved.
#[test]
fn a_change_of_mind_stops_a_drain() {
    let mut world = World::new(5, thirty());
    world.settle();
    world.scale(4, &[]);
    world.look(usize::MAX);
    assert!(world.layout().broker(4).unwrap().is_cordoned);
    world.look(usize::MAX);
    assert!(world.layout().is_moving());
    world.scale(5, &[]);
    let decision = decide(&world.facts);
    assert!(decision.drains.is_empty());
    assert_eq!(decision.steps, [Step::Cordon { broker: 4, is_cordoned: false }]);
    world.settle();
    assert_eq!((world.sets(), world.deleted.len()), (vec![0, 1, 2, 3, 4], 0));
    assert!(!world.layout().is_throttled);
}

/// A plan waits for its digest, is carried out to its end once it has it, and another occasion is another plan.
#[test]
fn a_plan_waits_for_leave() {
    let mut world = World::new(3, thirty());
    world.facts.rebalance.approval = Some(Approval { digest: None });
    world.scale(5, &[]);
    world.settle();
    let decision = decide(&world.facts);
    assert!(decision.waits_for_approval && decision.steps.is_empty() && !decision.goes_on);
    let plan = decision.plan.unwrap();
    let line = "36 replicas are to move, 38654705664 bytes: 18 to broker 3, 18 to broker 4";
    assert!(plan.steps[0].starts_with(line), "{}", plan.steps[0]);
    // Sizes change all the time: what was looked at may still be approved.
    world.layout().topics[0].partitions[0].size = Some(1);
    assert_eq!(decide(&world.facts).plan, Some(plan.clone()));
    world.facts.rebalance.approval = Some(Approval { digest: Some("of another".to_owned()) });
    assert!(decide(&world.facts).waits_for_approval);
    world.facts.rebalance.approval = Some(Approval { digest: Some(plan.digest.clone()) });
    world.settle();
    assert_eq!(world.held().into_values().collect::<Vec<_>>(), [18; 5]);
    // The digest of before is none of another plan.
    world.scale(6, &[]);
    world.settle();
    let other = world.facts.plan.clone().unwrap();
    assert_ne!(other.digest, plan.digest);
    assert_eq!(world.held()[&5], 0);
}

/// What was approved is what is moved: where something else would be by now, that is proposed, by another digest, and
/// nothing moves; once it has begun it goes on to its end. An approval that is taken back is one of nothing.
#[test]
fn what_has_changed_since_it_was_proposed_is_proposed_anew() {
    let mut world = World::new(3, thirty());
    world.facts.rebalance.approval = Some(Approval { digest: None });
    world.scale(5, &[]);
    world.settle();
    let first = world.facts.plan.clone().unwrap();
    let before = world.held();
    world.layout().topics.push(topic("new", &[&[0, 1, 2], &[1, 2, 0]], 1 << 20));
    count(world.layout());
    world.facts.rebalance.approval = Some(Approval { digest: Some(first.digest.clone()) });
    let decision = decide(&world.facts);
    assert!(decision.waits_for_approval && decision.steps.is_empty(), "{decision:?}");
    world.settle();
    let second = world.facts.plan.clone().unwrap();
    assert_ne!(second.digest, first.digest);
    assert_eq!(world.held().values().sum::<u64>(), before.values().sum::<u64>() + 6);
    assert_eq!((world.held()[&3], world.held()[&4]), (0, 0), "nothing was moved");
    // What was there is there again: so is what was approved.
    let new = world.layout().topics.pop().unwrap();
    count(world.layout());
    let decision = decide(&world.facts);
    assert!(decision.waits_for_approval && decision.plan == Some(first));
    world.layout().topics.push(new);

    world.facts.rebalance.approval = Some(Approval { digest: Some(second.digest.clone()) });
    world.look(usize::MAX);
    assert!(world.facts.plan.as_ref().unwrap().begun && world.layout().is_moving());
    // It is begun: another topic does not end it, and taking the approval back does.
    world.layout().topics.push(topic("newer", &[&[0, 1, 2]], 1 << 20));
    finish(world.layout());
    let decision = decide(&world.facts);
    assert_eq!(decision.plan.unwrap().digest, second.digest);
    assert!(!decision.waits_for_approval);
    world.facts.rebalance.approval = Some(Approval { digest: None });
    let decision = decide(&world.facts);
    assert!(decision.waits_for_approval && !has(&decision, is_move));
    assert_ne!(decision.plan.unwrap().digest, second.digest);
}

/// Nothing is begun while brokers are restarted; why is said.
#[test]
fn moves_wait_for_restarts() {
    let mut world = World::new(4, thirty());
    world.facts.plan = None;
    world.look(usize::MAX);
    assert!(world.facts.plan.is_some());
    world.facts.may_move = Err("broker 1 is restarted".to_owned());
    let decision = decide(&world.facts);
    assert!(!has(&decision, is_move));
    assert!(decision.plan.unwrap().steps.iter().any(|line| line.contains("broker 1 is restarted")));
    world.facts.may_move = Ok(());
    assert!(has(&decide(&world.facts), is_move));

    world.scale(3, &[]);
    world.look(usize::MAX);
    world.facts.may_move = Err("broker 1 is restarted".to_owned());
    world.settle();
    assert_eq!(world.sets(), [0, 1, 2], "nothing was on it, so nothing moves");
}

/// Without an answer nothing is done, and what was noted stays.
#[test]
fn nothing_is_done_that_nobody_answers_for() {
    let mut world = World::new(4, thirty());
    world.scale(3, &[]);
    world.look(usize::MAX);
    world.facts.said = Err("no broker answers".to_owned());
    let decision = decide(&world.facts);
    assert!(decision.steps.is_empty() && decision.drains[0].message == "no broker answers");
    assert_eq!(decision.unknown.as_deref(), Some("no broker answers"));
    assert!(decision.goes_on, "it is looked at again");
}

/// A broker that is being emptied is not restarted, unless that may bring it back.
#[test]
fn who_goes_is_not_restarted() {
    assert!(!is_rolled(true, true, true) && !is_rolled(true, false, false));
    assert!(is_rolled(true, true, false) && is_rolled(false, false, true));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever becomes of sizes before and after the approval, and of topics before it: what is moved is just what the
    /// plan that was approved says.
    #[test]
    fn what_is_moved_is_what_was_approved(
        before in proptest::collection::vec(1..2_000_000_000_u64, 30),
        after in proptest::collection::vec(1..2_000_000_000_u64, 30),
        created in proptest::collection::vec(0..3_i32, 0..4),
        brokers in 4..7_i32,
    ) {
        let weigh = |world: &mut World, sizes: &[u64]| {
            let partitions = world.layout().topics.iter_mut().flat_map(|topic| &mut topic.partitions);
            for (partition, size) in partitions.zip(sizes) {
                partition.size = Some(*size);
            }
        };
        let goals = |moves: &[Move]| -> BTreeMap<(String, usize), Vec<i32>> {
            moves.iter().map(|one| ((one.topic.clone(), one.partition), one.to.clone())).collect()
        };
        let mut world = World::new(3, thirty());
        world.facts.rebalance.approval = Some(Approval { digest: None });
        world.scale(brokers, &[]);
        world.settle();
        let first = world.facts.plan.clone().unwrap();
        weigh(&mut world, &before);
        prop_assert_eq!(decide(&world.facts).plan, Some(first.clone()));
        for (number, broker) in created.iter().enumerate() {
            let name = format!("new-{number}");
            world.layout().topics.push(topic(&name, &[&[*broker]], 1));
        }
        count(world.layout());
        world.settle();
        let plan = world.facts.plan.clone().unwrap();
        world.facts.rebalance.approval = Some(Approval { digest: Some(plan.digest) });
        let members = usable(&world.facts, world.facts.said.as_ref().unwrap());
        let planned = rebalance::lasting_moves(&world.facts.said.as_ref().unwrap().layout, &members);
        let mut moved = BTreeMap::new();
        for looks in 0..50 {
            weigh(&mut world, if looks % 2 == 0 { &after } else { &before });
            for step in decide(&world.facts).steps {
                if let Step::Move { moves } = step {
                    let copied = moves.into_iter().filter(|one| one.added().next().is_some());
                    moved.extend(goals(&copied.collect::<Vec<_>>()));
                }
            }
            world.look(usize::MAX);
            finish(world.layout());
        }
        prop_assert_eq!(moved, goals(&planned.replicas));
        prop_assert!(world.facts.plan.is_none());
    }

    /// Wherever the operator is cut off, and whatever is asked for in between, it ends where the spec says; a broker is
    /// never deleted that has anything or is to be.
    #[test]
    fn whoever_is_cut_off_goes_on(
        asked in proptest::collection::vec((3..7_i32, 0..4_usize), 1..4),
        removed in proptest::option::of(0..4_i32),
        cuts in proptest::collection::vec(0..5_usize, 0..40),
        is_slow in proptest::collection::vec(any::<bool>(), 40),
    ) {
        let mut world = World::new(3, thirty());
        world.settle();
        let removed: Vec<i32> = removed.into_iter().collect();
        let mut cuts = cuts.into_iter().zip(is_slow);
        for (brokers, looks) in &asked {
            world.scale(*brokers, &removed);
            for _ in 0..*looks {
                let (cut, is_slow) = cuts.next().unwrap_or((5, false));
                world.look(cut);
                if !is_slow {
                    finish(world.layout());
                    world.kubernetes();
                }
            }
        }
        world.settle();
        prop_assert_eq!(world.sets(), world.facts.wanted.clone());
        prop_assert!(world.facts.drains.is_empty() && world.facts.plan.is_none());
        let held: Vec<u64> = world.held().into_values().collect();
        prop_assert_eq!(held.len(), world.facts.wanted.len());
        prop_assert_eq!(held.iter().sum::<u64>(), 90);
        prop_assert!(!world.layout().is_throttled);
        prop_assert!(world.layout().brokers.iter().all(|broker| !broker.is_cordoned));
    }
}
