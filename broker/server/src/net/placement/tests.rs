//! The decision as a table, and rounds of a model in which each connection has its share of work.

use super::*;
use crate::clock::{Clock, SystemClock};

#[test]
fn who_gives_how_many_to_whom() {
    let table: [(&str, &[(f64, usize)], &[Option<(usize, usize)>]); 12] = [
        ("one thread", &[(1.0, 9)], &[None]),
        ("nobody is busy", &[(0.7, 9), (0.0, 0)], &[None, None]),
        ("half goes", &[(1.0, 10), (0.0, 0)], &[Some((1, 5)), None]),
        ("as many as level", &[(0.9, 9), (0.3, 3)], &[Some((1, 3)), None]),
        ("one of two", &[(0.9, 2), (0.1, 1)], &[Some((1, 1)), None]),
        ("alone it is as busy elsewhere", &[(1.0, 1), (0.0, 0)], &[None, None]),
        ("all are busy", &[(1.0, 50), (0.9, 2)], &[None, None]),
        (
            "two are busy",
            &[(0.9, 2), (0.3, 4), (1.0, 2), (0.0, 0)],
            &[Some((1, 1)), None, Some((3, 1)), None],
        ),
        ("they have room for each other", &[(0.2, 3), (0.3, 2)], &[None, Some((0, 2))]),
        ("too little room", &[(0.4, 3), (0.35, 2)], &[None, None]),
        (
            "room on the second",
            &[(0.65, 1), (0.4, 1), (0.3, 1), (0.05, 1)],
            &[None, None, Some((1, 1)), Some((0, 1))],
        ),
        ("nobody serves there", &[(0.1, 1), (0.1, 0)], &[None, None]),
    ];
    for (case, loads, wanted) in table {
        let givings = decide(loads).into_iter().map(|it| it.map(|it| (it.to, it.count)));
        assert_eq!(givings.collect::<Vec<_>>(), wanted, "{case}");
    }
}

/// Connections at work, each with what it would work in a round, in the order in which they take part.
struct World {
    placement: Placement,
    connections: Vec<(Seat, f64)>,
    worked: Vec<Worked>,
    now: Instant,
    moves: usize,
}

impl World {
    fn new(threads: usize, work: &[f64]) -> Self {
        let now = SystemClock.now();
        let placement = Placement::new(threads, now);
        let connections = work.iter().map(|work| (placement.seat(now), *work)).collect();
        Self { placement, connections, worked: vec![Worked::default(); threads], now, moves: 0 }
    }

    fn shares(&self) -> Vec<f64> {
        let mut shares = vec![0.0; self.worked.len()];
        for (seat, work) in &self.connections {
            shares[seat.thread] += work;
        }
        shares
    }

    fn rounds(&mut self, count: usize) {
        self.moves = 0;
        for _ in 0..count {
            let shares = self.shares();
            for (worked, share) in self.worked.iter_mut().zip(shares) {
                work(worked, share.min(1.0));
            }
            self.now += ROUND;
            self.placement.turn(self.now, self.worked.iter().copied());
            for (seat, work) in &mut self.connections {
                if *work > 0.0 && seat.is_due(self.now) {
                    self.moves += usize::from(self.placement.moves(seat, self.now));
                }
            }
        }
    }
}

/// A round of a thread that has waited for work in it.
fn work(worked: &mut Worked, share: f64) {
    *worked = Worked { time: worked.time + ROUND.mul_f64(share), waits: worked.waits + 2 };
}

/// A disk hangs: the thread is in one call, and its time is told only after that.
#[test]
fn nobody_goes_to_a_thread_that_hangs() {
    let mut world = World::new(3, &[0.3; 5]);
    world.rounds(20);
    // All come to the first one where they have room there.
    let hangs = 0;
    let others: Vec<usize> = (0..5).filter(|at| world.connections[*at].0.thread != hangs).collect();
    assert!(!others.is_empty() && others.len() < 5, "{:?}", world.shares());
    let (worked, parked) = (world.worked.clone(), Worked { waits: 1, ..Worked::default() });
    for round in 1..=20_u32 {
        world.now += ROUND;
        // They have little to do, and would have room on the one that hangs.
        let told = worked.iter().enumerate().map(|(thread, before)| match thread {
            _ if thread == hangs => *before,
            _ => {
                let mut now = *before;
                (0..round).for_each(|_| work(&mut now, 0.05));
                now
            }
        });
        world.placement.turn(world.now, told.collect::<Vec<_>>().into_iter());
        for at in &others {
            let seat = &mut world.connections[*at].0;
            world.placement.moves(seat, world.now);
            assert_ne!(seat.thread, hangs, "in round {round}");
        }
        assert_ne!(world.placement.seat(world.now).thread, hangs);
    }
    assert!(parked.share_since(&parked, ROUND) <= 0.0, "one that waits all the time");
}

#[test]
fn connections_share_a_thread_that_has_time_for_all() {
    let mut world = World::new(4, &[0.1; 6]);
    world.rounds(20);
    assert_eq!(world.moves, 0);
    assert!(world.connections.iter().all(|(seat, _)| seat.thread == 0));
}

#[test]
fn many_spread_over_all_threads_while_they_work_and_come_together_afterwards() {
    let mut world = World::new(4, &[0.08; 48]);
    world.rounds(20);
    assert!(world.shares().iter().all(|share| *share < 1.2), "{:?}", world.shares());
    for (_, work) in &mut world.connections {
        *work = 0.01;
    }
    world.rounds(10);
    assert!(world.connections.iter().all(|(seat, _)| seat.thread == 0));
    world.rounds(10);
    assert_eq!(world.moves, 0);
}

/// Whoever comes first is offered to go first, and a greedy one always comes first.
#[test]
fn a_greedy_connection_and_its_neighbours_part_for_good() {
    for neighbours in 1..=8 {
        let mut work = vec![1.0];
        work.extend(vec![0.03; neighbours]);
        let mut world = World::new(2, &work);
        world.rounds(50);
        let beside = |world: &World| {
            let greedy = world.connections[0].0.thread;
            world.connections[1..].iter().filter(|(seat, _)| seat.thread == greedy).count()
        };
        assert!(beside(&world) <= 1, "{neighbours}: {}", beside(&world));
        world.rounds(50);
        assert!(world.moves <= 10, "{neighbours}: {} moves", world.moves);
    }
}

#[test]
fn a_new_connection_is_seated_where_there_is_room_or_else_most_time() {
    let mut world = World::new(3, &[]);
    let mut seat = |shares: [f64; 3]| {
        for (worked, share) in world.worked.iter_mut().zip(shares) {
            work(worked, share);
        }
        world.now += ROUND;
        world.placement.turn(world.now, world.worked.iter().copied());
        world.placement.seat(world.now).thread
    };
    assert_eq!(seat([0.5, 0.1, 0.0]), 0);
    assert_eq!(seat([0.8, 0.1, 0.0]), 1);
    assert_eq!(seat([0.9, 0.8, 0.85]), 1);
}
