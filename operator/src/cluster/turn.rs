//! What a broker is made of changes in its turn: a pod that another hand deletes, and a container that ends by itself, come
//! back as they were, whatever the spec says by now and however that goes with those that were restarted for it. Pure.
//!
//! | the broker | then it is made of |
//! |---|---|
//! | has a pod that is what it should be | what is wanted |
//! | has another pod | what it is made of: the rest comes when its pod is deleted (`act`) |
//! | has no pod | what is wanted: it has nothing to lose, and what is there may be what keeps its pod away |
//! | has no pod, while some serve and one that is what it should be does not | what it is made of: what hurts that one would hurt this one |
//!
//! Nothing is remembered: what is there is what is held, so that whoever dies in the middle of a turn leaves it to be gone
//! on with. Of what is gone that counts which was seen last; where nobody has seen it, what is wanted is all there is.

use std::collections::BTreeMap;

use super::facts::Live;
use super::kept;
use super::roll::Broker;
use super::seen::Seen;
use super::wanted::Made;
use crate::names::Names;

/// Has brokers that wait for their turn be made of what they are made of; returns what they are made of then.
pub fn hold(
    made: &mut BTreeMap<i32, Made>,
    live: &Live,
    names: &Names,
    seen: &[Seen],
) -> BTreeMap<i32, Made> {
    let brokers = seen.iter().filter_map(|one| Some(one.in_roll(&made.get(&one.id)?.revision())));
    let brokers: Vec<Broker> = brokers.collect();
    let is_made = |broker: &Broker| {
        let set = live.sets.get(&names.broker(broker.id)).and_then(|set| set.spec.as_ref());
        set.is_some_and(|spec| kept::called(&spec.template) == broker.revision)
    };
    let mut held = BTreeMap::new();
    for broker in brokers.iter().filter(|broker| waits(broker, &brokers, is_made)) {
        let Some(made) = made.get_mut(&broker.id) else { continue };
        let then = made.clone();
        let name = names.broker(broker.id);
        if let Some(before) = live.last_config_map(&name) {
            made.config_map.data.clone_from(&before.data);
        }
        if let Some(before) = live.last_set(&name) {
            kept::hold(&mut made.set, before);
        }
        if *made != then {
            held.insert(broker.id, then);
        }
    }
    held
}

/// Whether it is not a broker's turn. `is_made`: whether its set makes what it should be.
fn waits(broker: &Broker, all: &[Broker], is_made: impl Fn(&Broker) -> bool) -> bool {
    if broker.pod.is_some() {
        return broker.is_outdated();
    }
    let is_sick = |other: &Broker| {
        let is_there = other.pod.is_some() || is_made(other);
        other.id != broker.id && is_there && !other.is_outdated() && !other.serves()
    };
    all.iter().any(Broker::serves) && all.iter().any(is_sick)
}

#[cfg(test)]
mod tests;
