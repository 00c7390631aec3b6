//! Which partitions get another preferred leader so that brokers lead as many as each other. Pure.
//!
//! Of all ways to have brokers lead as evenly as their replicas allow (the least sum of squares of what each leads), one
//! that takes the fewest partitions from who leads them now. So whoever is interrupted moves no leader twice: once some
//! of these partitions have their new leaders, every way that is as short as the rest of this one keeps those; a way
//! that took one of them again would have been a shorter one from the start.
//!
//! Partitions go along a graph of brokers, with an edge from who leads one to each other member that holds it. An edge
//! costs 1 where a partition leaves the leader that it has in the layout, -1 where it comes back, else 0. What is handed
//! along the cheapest way between two brokers leaves no cycle of negative cost, and where no way pays, neither in
//! squares nor in cost, there is nothing better.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// A partition that a member leads.
#[derive(Debug)]
pub(super) struct Led {
    /// Its place among all.
    pub(super) index: usize,
    /// The place of its topic.
    pub(super) topic: usize,
    /// The member that leads it.
    pub(super) leader: i32,
    /// Other members that hold it and may lead it; none where it stays.
    pub(super) heirs: Vec<i32>,
}

/// Says which partitions are led by others, and by whom, in the order of their places.
pub(super) fn even_out(members: impl Iterator<Item = i32>, led: &[Led]) -> Vec<(usize, i32)> {
    let mut graph = Graph::new(members, led);
    while let Some(way) = graph.way() {
        for (from, to, cost) in way {
            graph.hand_over(from, to, cost);
        }
    }
    let now = led.iter().zip(&graph.leaders);
    now.filter(|(one, now)| one.leader != **now).map(|(one, now)| (one.index, *now)).collect()
}

/// An edge: from, to, cost.
type Edge = (i32, i32, i64);

/// Who leads what, on the way to who is to.
#[derive(Debug)]
struct Graph<'a> {
    led: &'a [Led],
    /// Who leads each of `led` now.
    leaders: Vec<i32>,
    /// How many partitions each member leads.
    counts: BTreeMap<i32, usize>,
    /// How many partitions of a topic a member leads, by topic and member.
    counts_of: BTreeMap<(usize, i32), i64>,
    /// What can be handed over, by from, to and cost.
    edges: BTreeMap<Edge, BTreeSet<usize>>,
}

impl<'a> Graph<'a> {
    fn new(members: impl Iterator<Item = i32>, led: &'a [Led]) -> Self {
        let mut graph = Self {
            led,
            leaders: led.iter().map(|one| one.leader).collect(),
            counts: members.map(|id| (id, 0)).collect(),
            counts_of: BTreeMap::new(),
            edges: BTreeMap::new(),
        };
        for (place, one) in led.iter().enumerate() {
            *graph.counts.entry(one.leader).or_default() += 1;
            *graph.counts_of.entry((one.topic, one.leader)).or_default() += 1;
            for edge in graph.edges_of(place) {
                graph.edges.entry(edge).or_default().insert(place);
            }
        }
        graph
    }

    /// The edges that a partition is on, as it is led now.
    fn edges_of(&self, place: usize) -> Vec<Edge> {
        let (one, now) = (&self.led[place], self.leaders[place]);
        let strays = |id: i32| i64::from(id != one.leader);
        let heirs = one.heirs.iter().copied();
        // What stays has no heirs, and never leaves its leader.
        let all = heirs.chain((now != one.leader).then_some(one.leader));
        all.filter(|to| *to != now).map(|to| (now, to, strays(to) - strays(now))).collect()
    }

    /// The cheapest way from a broker to another that pays: the second leads fewer by two, or by one at negative cost.
    fn way(&self) -> Option<Vec<Edge>> {
        let mut givers: Vec<i32> = self.counts.keys().copied().collect();
        givers.sort_by_key(|id| (Reverse(self.counts[id]), *id));
        givers.into_iter().find_map(|giver| {
            let reached = self.reach(giver);
            let most = self.counts[&giver];
            let pays = |id: &i32, cost: i64| {
                let count = self.counts[id];
                count + 2 <= most || (count + 1 == most && cost < 0)
            };
            let takers = reached.iter().filter(|(id, (cost, _))| pays(id, *cost));
            let taker = takers.min_by_key(|(id, (cost, _))| (self.counts[id], *cost, **id))?;
            Some(back(&reached, giver, *taker.0))
        })
    }

    /// The cheapest way to every broker that can be reached from one: what it costs, and its last edge.
    fn reach(&self, giver: i32) -> BTreeMap<i32, (i64, Edge)> {
        let mut reached: BTreeMap<i32, (i64, Edge)> = BTreeMap::new();
        // Without cycles of negative cost, no cheapest way has more edges than there are other brokers.
        for _ in 1..self.counts.len() {
            let mut has_changed = false;
            for edge in self.edges.keys() {
                let (from, to, cost) = *edge;
                let before =
                    if from == giver { Some(0) } else { reached.get(&from).map(|at| at.0) };
                let Some(before) = before.filter(|_| to != giver) else { continue };
                let known = reached.get(&to).map(|at| at.0);
                if known.is_none_or(|known| before + cost < known) {
                    reached.insert(to, (before + cost, *edge));
                    has_changed = true;
                }
            }
            if !has_changed {
                break;
            }
        }
        reached
    }

    /// Has one broker hand over to another, at this cost, the partition whose topic is least evenly led.
    fn hand_over(&mut self, from: i32, to: i32, cost: i64) {
        let of = |topic, id| self.counts_of.get(&(topic, id)).copied().unwrap_or_default();
        let candidates = self.edges.get(&(from, to, cost)).into_iter().flatten().copied();
        let best = candidates.min_by_key(|place| {
            let topic = self.led[*place].topic;
            (Reverse(of(topic, from) - of(topic, to)), *place)
        });
        let Some(place) = best else { return };
        for edge in self.edges_of(place) {
            if let Some(there) = self.edges.get_mut(&edge) {
                there.remove(&place);
                if there.is_empty() {
                    self.edges.remove(&edge);
                }
            }
        }
        let topic = self.led[place].topic;
        for (id, by) in [(from, -1), (to, 1)] {
            *self.counts_of.entry((topic, id)).or_default() += by;
        }
        self.counts.entry(from).and_modify(|count| *count -= 1);
        self.counts.entry(to).and_modify(|count| *count += 1);
        self.leaders[place] = to;
        for edge in self.edges_of(place) {
            self.edges.entry(edge).or_default().insert(place);
        }
    }
}

/// The edges of a way, the last first.
fn back(reached: &BTreeMap<i32, (i64, Edge)>, giver: i32, to: i32) -> Vec<Edge> {
    let mut way = Vec::new();
    let mut at = to;
    while at != giver && way.len() <= reached.len() {
        let Some((_, edge)) = reached.get(&at) else { break };
        way.push(*edge);
        at = edge.0;
    }
    way
}
