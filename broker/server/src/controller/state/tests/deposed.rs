//! A controller that another has followed, and that has not heard of it: it reads on, and tells brokers what it
//! makes of that. Its first write is its last, for the tree refuses it (`controller/tree`).

use std::collections::{BTreeMap, VecDeque};

use broker_protocol::quantity::BrokerId;

use super::world::{World, epochs};
use crate::controller::state::State;
use crate::controller::state::effect::Effect;
use crate::controller::state::event::Event;

/// Such a controller, and the registrations that it has read.
pub(super) struct Deposed {
    pub(super) state: State,
    pub(super) known: BTreeMap<BrokerId, i64>,
}

impl World {
    /// Tells the deposed controller, if there is one, and carries out what it may still do.
    pub(super) fn deposed_hears(&mut self, event: Event) {
        let Some(mut deposed) = self.deposed.take() else { return };
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in deposed.state.apply(event) {
                match effect {
                    Effect::Write { .. } | Effect::Resign => return,
                    Effect::Read(what) => events.extend(self.read(what)),
                    Effect::Brokers(brokers) => deposed.known = epochs(&brokers),
                    Effect::Send { broker, extent, directives } => {
                        let known = deposed.known.get(&broker).copied();
                        let sender = (deposed.state.controller_epoch, known);
                        self.send(sender, broker, extent, directives);
                    }
                    // Nobody asked it.
                    Effect::Reply { .. } | Effect::AskEnds(_) => {}
                }
            }
        }
        let _ = deposed.state.take_story();
        self.deposed = Some(deposed);
    }
}
