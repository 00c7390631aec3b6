//! What brokers hold, as far as it is known: what they said, and what is being placed on them since. Pure.
//!
//! Topics that are made at the same time, or one after the other before brokers are asked again, see each other's
//! replicas, and are spread as if they were one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use broker_admin::v1::{BrokerDescription, DescribeClusterResponse};

use crate::assignment::{Assignment, Broker, Load};
use crate::key::Key;

/// How old the brokers' word may be.
const FRESH: Duration = Duration::from_secs(5);

/// What is known of one cluster.
#[derive(Debug, Default)]
pub(super) struct Placing {
    said: Option<Said>,
    /// Where brokers said last that they run: who is away says nothing.
    racks: BTreeMap<i32, String>,
    /// By object; when it was done, where it is.
    placed: BTreeMap<Key, (Assignment, Option<Instant>)>,
}

#[derive(Debug)]
struct Said {
    asked: Instant,
    brokers: Vec<Broker>,
    /// Those that are not registered, and may hold new replicas once they are.
    unregistered: Vec<i32>,
    held: Vec<(i32, usize, usize)>,
}

impl Placing {
    /// Whether brokers need not be asked again.
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        let asked = self.said.as_ref().map(|said| said.asked);
        asked.is_some_and(|asked| now.saturating_duration_since(asked) < FRESH)
    }

    /// Has brokers asked again before anything more is placed.
    pub(super) fn doubt(&mut self) {
        self.said = None;
    }

    /// Takes in what brokers said who were asked at `asked`.
    pub(super) fn said(&mut self, asked: Instant, answer: &DescribeClusterResponse) {
        let open = answer.brokers.iter().filter(|one| !one.cordoned);
        let (here, away): (Vec<_>, Vec<_>) = open.partition(|one| one.broker_epoch >= 0);
        let rack = |rack: &String| Some(rack.clone()).filter(|rack| !rack.is_empty());
        let broker = |one: &&BrokerDescription| {
            let rack = rack(&one.rack);
            Broker { id: one.broker_id, rack }
        };
        let brokers: Vec<Broker> = here.iter().map(broker).collect();
        for Broker { id, rack } in &brokers {
            match rack {
                Some(rack) => drop(self.racks.insert(*id, rack.clone())),
                None => drop(self.racks.remove(id)),
            }
        }
        let unregistered = away.iter().map(|one| one.broker_id).collect();
        let held = answer.brokers.iter();
        let held =
            held.map(|one| (one.broker_id, one.replicas as usize, one.preferred_leaders as usize));
        self.said = Some(Said { asked, brokers, unregistered, held: held.collect() });
        // Theirs by now.
        self.placed.retain(|_, (_, done)| done.is_none_or(|done| done >= asked));
    }

    /// Brokers that may hold new replicas.
    pub(super) fn brokers(&self) -> Vec<Broker> {
        self.said.as_ref().map(|said| said.brokers.clone()).unwrap_or_default()
    }

    /// Of the brokers that are to be, those that are away: neither registered nor without leave to hold new replicas.
    pub(super) fn away(&self, wanted: &[i32]) -> Vec<Broker> {
        let unregistered = self.said.iter().flat_map(|said| &said.unregistered);
        let away = unregistered.filter(|id| wanted.contains(id));
        away.map(|id| Broker { id: *id, rack: self.racks.get(id).cloned() }).collect()
    }

    /// What brokers hold, and what is placed on them for others than `own`.
    pub(super) fn load(&self, own: &Key) -> Load {
        let held = self.said.iter().flat_map(|said| said.held.iter().copied());
        let mut load = Load::held(held);
        let others = self.placed.iter().filter(|(key, _)| *key != own);
        others.flat_map(|(_, (partitions, _))| partitions).for_each(|one| load.add(one));
        load
    }

    /// Takes in what is about to be placed for an object.
    pub(super) fn begin(&mut self, key: Key, partitions: Assignment) {
        self.placed.insert(key, (partitions, None));
    }

    /// Takes in how that ended.
    pub(super) fn end(&mut self, key: &Key, done: Option<Instant>) {
        match (self.placed.get_mut(key), done) {
            (Some((_, at)), Some(done)) => *at = Some(done),
            (Some(_), None) => drop(self.placed.remove(key)),
            (None, _) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an origin of time")]

    use super::*;
    use crate::assignment::place;

    fn answer(replicas: u64) -> DescribeClusterResponse {
        let broker = |broker_id: i32, cordoned| BrokerDescription {
            broker_id,
            broker_epoch: if broker_id == 9 { -1 } else { 7 },
            cordoned,
            replicas,
            preferred_leaders: replicas,
            ..BrokerDescription::default()
        };
        let brokers = vec![broker(1, false), broker(2, false), broker(3, true), broker(9, false)];
        DescribeClusterResponse { brokers, ..DescribeClusterResponse::default() }
    }

    fn key(name: &str) -> Key {
        ("shop".to_owned(), name.to_owned())
    }

    /// Two topics of one partition each are on two brokers, whoever is asked in between; cordoned brokers get nothing.
    #[test]
    fn what_is_being_placed_counts() {
        let (mut placing, start) = (Placing::default(), Instant::now());
        placing.said(start, &answer(0));
        let next = |placing: &Placing, name: &str| {
            place(&placing.brokers(), placing.load(&key(name)), 1, 1).unwrap()[0][0]
        };
        assert_eq!((next(&placing, "a"), next(&placing, "b")), (1, 1));
        placing.begin(key("a"), vec![vec![1]]);
        assert_eq!((next(&placing, "a"), next(&placing, "b")), (1, 2));
        placing.end(&key("a"), Some(start + Duration::from_secs(2)));
        placing.said(start + Duration::from_secs(1), &answer(0));
        assert_eq!(next(&placing, "b"), 2, "they were asked before it was done");
        placing.said(start + Duration::from_secs(3), &answer(0));
        assert_eq!(next(&placing, "b"), 1, "they know, or it is gone");
    }

    /// Who is to be, and is not registered, is away, in the rack where it was; nobody knows of who has never come.
    #[test]
    fn who_is_to_be_and_is_not_there_is_away() {
        let (mut placing, start) = (Placing::default(), Instant::now());
        let mut told = answer(0);
        told.brokers[1].rack = "r".to_owned();
        placing.said(start, &told);
        assert_eq!(placing.away(&[1, 2]), []);
        assert_eq!(placing.away(&[1, 2, 9]), [Broker { id: 9, rack: None }]);
        (told.brokers[1].rack, told.brokers[1].broker_epoch) = (String::new(), -1);
        told.brokers[2].broker_epoch = -1;
        placing.said(start, &told);
        let two = Broker { id: 2, rack: Some("r".to_owned()) };
        assert_eq!(placing.away(&[1, 2, 3, 4]), [two], "3 is cordoned");
        assert_eq!(placing.brokers().iter().map(|one| one.id).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn what_did_not_come_to_be_is_forgotten() {
        let (mut placing, start) = (Placing::default(), Instant::now());
        assert!(!placing.is_fresh(start));
        placing.said(start, &answer(0));
        assert!(placing.is_fresh(start + FRESH / 2) && !placing.is_fresh(start + FRESH));
        placing.begin(key("a"), vec![vec![1]]);
        placing.end(&key("a"), None);
        assert_eq!(placing.load(&key("b")), placing.load(&key("a")));
        placing.doubt();
        assert!(!placing.is_fresh(start));
    }
}
