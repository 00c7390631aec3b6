//! Which brokers hold which partition. Pure.
//!
//! What is there already is never moved by what is added: growth changes no existing partition, and more replicas keep
//! those that there are, also on brokers that are away and come back. Fewer replicas leave those brokers first. Of a
//! partition, first as many racks as possible are used, then the brokers that hold fewest replicas; of these the one
//! that leads least is the preferred leader. Ties go to the lower id, so that the same question has the same answer.

use std::collections::{BTreeMap, BTreeSet};

/// A broker that replicas may be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// Where it runs, if it says.
    pub rack: Option<String>,
}

/// The brokers of each partition, by partition; the preferred leader first.
pub type Assignment = Vec<Vec<i32>>;

/// Why nothing can be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PlacementError {
    /// There are not as many brokers as replicas.
    TooFewBrokers {
        /// That may be used.
        brokers: usize,
        /// That are wanted.
        replicas: usize,
    },
}

/// What brokers hold, and lead by preference.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Load {
    replicas: BTreeMap<i32, usize>,
    leaders: BTreeMap<i32, usize>,
}

impl Load {
    /// Counts what is there: of this topic, or of all.
    pub fn of<'a>(partitions: impl IntoIterator<Item = &'a Vec<i32>>) -> Self {
        let mut load = Self::default();
        for partition in partitions {
            load.add(partition);
        }
        load
    }

    /// Counts what brokers say that they hold: of each the replicas, and those of which it is the preferred leader.
    pub fn held(by: impl IntoIterator<Item = (i32, usize, usize)>) -> Self {
        let mut load = Self::default();
        for (broker, replicas, leaders) in by {
            load.replicas.insert(broker, replicas);
            load.leaders.insert(broker, leaders);
        }
        load
    }

    /// Counts one partition more.
    pub fn add(&mut self, partition: &[i32]) {
        for broker in partition {
            *self.replicas.entry(*broker).or_default() += 1;
        }
        if let Some(leader) = partition.first() {
            *self.leaders.entry(*leader).or_default() += 1;
        }
    }

    fn replicas(&self, broker: i32) -> usize {
        self.replicas.get(&broker).copied().unwrap_or_default()
    }

    fn leaders(&self, broker: i32) -> usize {
        self.leaders.get(&broker).copied().unwrap_or_default()
    }
}

/// Places `count` new partitions of `replicas` each, on top of `load`.
///
/// # Errors
/// Where there are fewer brokers than replicas.
pub fn place(
    brokers: &[Broker],
    mut load: Load,
    count: usize,
    replicas: usize,
) -> Result<Assignment, PlacementError> {
    let mut placed = Vec::with_capacity(count);
    for _ in 0..count {
        let mut chosen = choose(brokers, &racks(brokers), &load, &[], replicas)?;
        let least = chosen.iter().copied().min_by_key(|id| (load.leaders(*id), *id));
        chosen.sort_by_key(|id| (Some(*id) != least, load.replicas(*id), *id));
        load.add(&chosen);
        placed.push(chosen);
    }
    Ok(placed)
}

/// Gives each partition `replicas` replicas: brokers that may be used and hold one keep it, as far as so many are wanted.
/// Those that are `away` keep theirs, too, and get no more; where fewer are wanted, theirs go first.
///
/// # Errors
/// Where there are fewer brokers than replicas.
pub fn resize(
    brokers: &[Broker],
    away: &[Broker],
    mut load: Load,
    current: &Assignment,
    replicas: usize,
) -> Result<Assignment, PlacementError> {
    current.iter().map(|partition| fit(brokers, away, &mut load, partition, replicas)).collect()
}

/// Gives one partition `replicas` replicas, as [`resize`] does, and counts that into `load`.
///
/// # Errors
/// Where there are fewer brokers than replicas.
pub fn fit(
    brokers: &[Broker],
    away: &[Broker],
    load: &mut Load,
    partition: &[i32],
    replicas: usize,
) -> Result<Vec<i32>, PlacementError> {
    let is_away = |id: &i32| away.iter().any(|broker| broker.id == *id);
    let usable: BTreeSet<i32> = brokers.iter().map(|broker| broker.id).collect();
    let racks = racks(brokers.iter().chain(away));
    let stays = |id: &i32| usable.contains(id) || is_away(id);
    let mut kept: Vec<i32> = partition.iter().copied().filter(stays).collect();
    while kept.len() > replicas {
        let absent = kept.iter().rposition(is_away);
        kept.remove(absent.unwrap_or_else(|| superfluous(&kept, &racks, load)));
    }
    let chosen = choose(brokers, &racks, load, &kept, replicas)?;
    for id in partition.iter().filter(|id| !chosen.contains(id)) {
        load.replicas.entry(*id).and_modify(|count| *count = count.saturating_sub(1));
    }
    for id in chosen.iter().filter(|id| !partition.contains(id)) {
        *load.replicas.entry(*id).or_default() += 1;
    }
    Ok(led(chosen, partition.first(), is_away, load))
}

/// Has a partition keep its preferred leader; where that one goes, whoever is here and leads least takes its place.
fn led(
    mut chosen: Vec<i32>,
    before: Option<&i32>,
    is_away: impl Fn(&i32) -> bool,
    load: &mut Load,
) -> Vec<i32> {
    if before == chosen.first() {
        return chosen;
    }
    if let Some(before) = before {
        load.leaders.entry(*before).and_modify(|count| *count = count.saturating_sub(1));
    }
    let next = chosen.iter().copied().min_by_key(|id| (is_away(id), load.leaders(*id), *id));
    if let Some(next) = next {
        *load.leaders.entry(next).or_default() += 1;
        // The others keep their order.
        chosen.sort_by_key(|id| *id != next);
    }
    chosen
}

/// Takes `kept`, and as many more as are wanted: of the racks that are used least, then the brokers that hold least.
fn choose(
    brokers: &[Broker],
    racks: &BTreeMap<i32, &str>,
    load: &Load,
    kept: &[i32],
    replicas: usize,
) -> Result<Vec<i32>, PlacementError> {
    let is_free = |id: &&i32| brokers.iter().all(|broker| broker.id != **id);
    let places = brokers.len() + kept.iter().filter(is_free).count();
    if places < replicas {
        return Err(PlacementError::TooFewBrokers { brokers: places, replicas });
    }
    let mut chosen = kept.to_vec();
    while chosen.len() < replicas {
        let free = brokers.iter().filter(|broker| !chosen.contains(&broker.id));
        let best = free.min_by_key(|broker| {
            (in_rack(&chosen, racks, broker.id), load.replicas(broker.id), broker.id)
        });
        match best {
            Some(broker) => chosen.push(broker.id),
            // Not reached: there are as many brokers as replicas.
            None => break,
        }
    }
    Ok(chosen)
}

/// Which one of `kept` goes: not the preferred leader; of the rack that is used most, the broker that holds most.
fn superfluous(kept: &[i32], racks: &BTreeMap<i32, &str>, load: &Load) -> usize {
    let followers = (1..kept.len()).max_by_key(|index| {
        (in_rack(kept, racks, kept[*index]), load.replicas(kept[*index]), *index)
    });
    followers.unwrap_or_default()
}

/// How many of `chosen` are in the rack of a broker; a broker without a rack is a rack of its own.
fn in_rack(chosen: &[i32], racks: &BTreeMap<i32, &str>, broker: i32) -> usize {
    let Some(rack) = racks.get(&broker) else { return 0 };
    chosen.iter().filter(|id| racks.get(id) == Some(rack)).count()
}

fn racks<'a>(brokers: impl IntoIterator<Item = &'a Broker>) -> BTreeMap<i32, &'a str> {
    brokers.into_iter().filter_map(|broker| Some((broker.id, broker.rack.as_deref()?))).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn brokers(racks: &[u8]) -> Vec<Broker> {
        let broker = |(id, rack): (i32, &u8)| Broker { id, rack: Some(format!("r{rack}")) };
        (1..).zip(racks).map(broker).collect()
    }

    fn unracked(count: i32) -> Vec<Broker> {
        (1..=count).map(|id| Broker { id, rack: None }).collect()
    }

    fn spread(counts: impl Iterator<Item = usize>) -> usize {
        let counts: Vec<usize> = counts.collect();
        counts.iter().max().unwrap() - counts.iter().min().unwrap()
    }

    /// How many racks each partition uses.
    fn racks_of(brokers: &[Broker], partition: &[i32]) -> usize {
        let rack = |id: &i32| brokers.iter().find(|broker| broker.id == *id).unwrap().rack.clone();
        partition.iter().map(rack).collect::<BTreeSet<_>>().len()
    }

    #[test]
    fn too_few_brokers_are_told() {
        let told = place(&unracked(2), Load::default(), 1, 3);
        assert_eq!(told, Err(PlacementError::TooFewBrokers { brokers: 2, replicas: 3 }));
    }

    /// Three brokers, three replicas: each leads a third, and the order is that of the ids.
    #[test]
    fn three_brokers_lead_in_turn() {
        let placed = place(&unracked(3), Load::default(), 4, 3).unwrap();
        assert_eq!(placed, [[1, 2, 3], [2, 1, 3], [3, 1, 2], [1, 2, 3]]);
    }

    /// Fewer replicas: the preferred leader stays, and each rack that is left.
    #[test]
    fn of_two_in_a_rack_one_goes_first() {
        let brokers = brokers(&[1, 1, 2]);
        let current = vec![vec![1, 2, 3]];
        assert_eq!(resize(&brokers, &[], Load::of(&current), &current, 2).unwrap(), [[1, 3]]);
        assert_eq!(resize(&brokers, &[], Load::of(&current), &current, 1).unwrap(), [[1]]);
    }

    /// A broker that may not be used any more gives its replicas to others; where it led, whoever leads least does.
    #[test]
    fn a_broker_that_leaves_is_replaced() {
        let current = place(&unracked(4), Load::default(), 8, 2).unwrap();
        assert_eq!(current[..4], [[1, 2], [3, 4], [2, 1], [4, 3]]);
        let moved = resize(&unracked(3), &[], Load::of(&current), &current, 2).unwrap();
        assert_eq!(moved[..4], [[1, 2], [3, 1], [2, 1], [2, 3]]);
        assert_eq!(moved[4..], [[1, 2], [3, 1], [2, 1], [3, 2]]);
    }

    /// Brokers 3 and 4 are away: what they hold stays theirs, and they get nothing more; fewer replicas leave them first,
    /// also where they lead. A broker that is neither here nor away is replaced.
    #[test]
    fn who_is_away_keeps_what_it_has_and_gets_nothing() {
        let (here, away) = (unracked(2), unracked(4).split_off(2));
        let resized = |current: &[i32], replicas| {
            let current = vec![current.to_vec()];
            resize(&here, &away, Load::of(&current), &current, replicas)
                .map(|mut all| all.remove(0))
        };
        let rows: [(&[i32], usize, &[i32]); 8] = [
            (&[3, 1], 2, &[3, 1]),
            (&[3], 2, &[3, 1]),
            (&[3, 4], 3, &[3, 4, 1]),
            (&[3], 3, &[3, 1, 2]),
            (&[1, 2, 3], 2, &[1, 2]),
            (&[3, 1, 2], 2, &[1, 2]),
            (&[3, 4, 1], 2, &[3, 1]),
            (&[9, 3], 2, &[1, 3]),
        ];
        for (current, replicas, expected) in rows {
            let to = resized(current, replicas).unwrap();
            let (held, led): (BTreeSet<_>, _) = (to.iter().collect(), to[0]);
            assert_eq!(held, expected.iter().collect(), "{current:?} {replicas}");
            assert_eq!(led == current[0], expected[0] == current[0], "{current:?} {replicas}");
        }
        let told = Err(PlacementError::TooFewBrokers { brokers: 2, replicas: 3 });
        assert_eq!(resized(&[1, 2], 3), told, "nothing is placed on who is away");
        let told = Err(PlacementError::TooFewBrokers { brokers: 3, replicas: 4 });
        assert_eq!(resized(&[1, 3], 4), told);
    }

    /// The rack of who is away counts: its replica comes back.
    #[test]
    fn nothing_is_placed_beside_who_is_away() {
        let mut here = brokers(&[1, 2, 1]);
        let away = vec![here.remove(0)];
        let current = vec![vec![1]];
        assert_eq!(resize(&here, &away, Load::of(&current), &current, 2).unwrap(), [[1, 2]]);
    }

    proptest! {
        /// Whoever is away, more replicas take none from where it is, and fewer leave as many that are here as they can.
        #[test]
        fn who_is_away_loses_nothing_by_growth(
            count in 2..8_i32,
            away in 0..4_i32,
            partitions in 1..20_usize,
            before in 1..4_usize,
            after in 1..5_usize,
        ) {
            let all = unracked(count);
            prop_assume!(before as i32 <= count && away < count);
            let current = place(&all, Load::default(), partitions, before).unwrap();
            let (absent, here) = all.split_at(away as usize);
            let Ok(resized) = resize(here, absent, Load::of(&current), &current, after) else {
                prop_assert!(here.len() < after);
                return Ok(());
            };
            let is_here = |id: &&i32| **id > away;
            for (was, is) in current.iter().zip(&resized) {
                prop_assert_eq!(is.iter().collect::<BTreeSet<_>>().len(), after);
                let kept = was.iter().filter(|id| is.contains(id)).count();
                prop_assert_eq!(kept, was.len().min(after));
                prop_assert!(is.iter().all(|id| is_here(&id) || was.contains(id)));
                let alive = was.iter().filter(is_here).count();
                prop_assert!(is.iter().filter(is_here).count() >= alive.min(after));
            }
            let again = resize(here, absent, Load::of(&resized), &resized, after).unwrap();
            prop_assert_eq!(again, resized);
        }

        /// Without racks, brokers differ by one replica at most, and by two partitions that they lead.
        #[test]
        fn brokers_hold_as_much_as_each_other(
            count in 1..12_i32,
            partitions in 0..60_usize,
            replicas in 1..5_usize,
        ) {
            prop_assume!(replicas as i32 <= count);
            let placed = place(&unracked(count), Load::default(), partitions, replicas).unwrap();
            let load = Load::of(&placed);
            prop_assert!(spread((1..=count).map(|id| load.replicas(id))) <= 1);
            prop_assert!(spread((1..=count).map(|id| load.leaders(id))) <= 2);
            for partition in &placed {
                prop_assert_eq!(partition.iter().collect::<BTreeSet<_>>().len(), replicas);
            }
        }

        /// Each partition is in as many racks as it can be, and its brokers are distinct.
        #[test]
        fn a_partition_is_in_as_many_racks_as_it_can_be(
            racks in proptest::collection::vec(0..4_u8, 1..12),
            partitions in 0..40_usize,
            replicas in 1..6_usize,
        ) {
            prop_assume!(replicas <= racks.len());
            let brokers = brokers(&racks);
            let there = racks.iter().collect::<BTreeSet<_>>().len();
            let placed = place(&brokers, Load::default(), partitions, replicas).unwrap();
            for partition in &placed {
                prop_assert_eq!(partition.iter().collect::<BTreeSet<_>>().len(), replicas);
                prop_assert_eq!(racks_of(&brokers, partition), replicas.min(there));
            }
        }

        /// Growth is what would have been placed at once, so that nothing that is there moves.
        #[test]
        fn growth_goes_on_where_it_was(
            racks in proptest::collection::vec(0..4_u8, 3..10),
            first in 0..30_usize,
            more in 0..30_usize,
            replicas in 1..4_usize,
        ) {
            let brokers = brokers(&racks);
            let before = place(&brokers, Load::default(), first, replicas).unwrap();
            let grown = place(&brokers, Load::of(&before), more, replicas).unwrap();
            let at_once = place(&brokers, Load::default(), first + more, replicas).unwrap();
            prop_assert_eq!([before, grown].concat(), at_once);
        }

        /// More replicas keep those that there are; fewer keep the preferred leader; racks are used as far as they go.
        #[test]
        fn another_replication_factor_moves_what_it_must(
            racks in proptest::collection::vec(0..3_u8, 4..10),
            partitions in 1..20_usize,
            before in 1..4_usize,
            after in 1..5_usize,
        ) {
            let brokers = brokers(&racks);
            let current = place(&brokers, Load::default(), partitions, before).unwrap();
            let resized = resize(&brokers, &[], Load::of(&current), &current, after).unwrap();
            let there = racks.iter().collect::<BTreeSet<_>>().len();
            for (before, after_that) in current.iter().zip(&resized) {
                prop_assert_eq!(after_that.len(), after);
                prop_assert_eq!(before[0], after_that[0]);
                let kept = before.iter().filter(|id| after_that.contains(id)).count();
                prop_assert_eq!(kept, before.len().min(after));
                prop_assert_eq!(racks_of(&brokers, after_that), after.min(there));
            }
            let again = resize(&brokers, &[], Load::of(&resized), &resized, after).unwrap();
            prop_assert_eq!(again, resized);
        }
    }
}
