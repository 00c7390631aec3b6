//! What a member of the cluster does when its session, its registration or the controller changes.
//! Pure.
//!
//! Rules:
//! - A session that is over takes the controller and all leadership along before the next begins.
//! - The controller is asked for when the office is empty, and dropped when it is another's.
//! - A registration that is gone is made again; one that is another's ends this process: two that
//!   hold the same disk must not go on.
//! - Who is not registered neither stands for the office nor tells what is proven of its replicas: the id may
//!   be another's by now.
//! - Who resigned because the tree refused what it needs rests before it stands again: the next term may end
//!   the same way, and each costs all brokers work.
//! - A controller epoch below one that was seen is no office to stand for: the tree was put back.

use broker_protocol::quantity::BrokerId;

use crate::controller::membership::{Resignation, Term};

/// Who has the office of controller, as `/controller` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Office {
    /// Nobody.
    Empty,
    /// This session.
    Ours,
    /// Another broker, or another session of this one.
    Others(BrokerId),
    /// A controller of KRaft: its node belongs to no session.
    Kraft,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// This session has registered the broker.
    Registered,
    /// It is time to try again to register: the tree refused.
    RegistrationDue,
    /// The session is over.
    SessionEnded,
    /// Another session has begun.
    SessionBegun,
    /// Something about `/controller` may have changed.
    OfficeChanged,
    /// `/controller` and the controller epoch were read.
    OfficeRead(Office, i32),
    /// The office was stood for: won with this term, or another's.
    Stood(Option<Term>),
    /// The controller of this term has ended by itself.
    Resigned(Term, Resignation),
    /// A rest is over.
    Rested,
    /// The process of the broker that is controller is gone, though its session is not over.
    ControllerGone(BrokerId),
    /// Something about the registration may have changed.
    RegistrationChanged,
    /// The registration was read: its owner, and whether that is this session.
    RegistrationRead(Option<(i64, bool)>),
    /// Time to look again, whatever watches say.
    Look,
    /// What is proven has changed.
    StandingChanged,
}

/// What follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// Begin another session.
    Renew,
    /// Watch the office and the registration in this session, unless that is done.
    Watch,
    /// Register the broker.
    Register,
    /// Lead and copy nothing any more; wait until that is so.
    StopLeading,
    /// Read who has the office.
    ReadOffice,
    /// Read who owns the registration.
    ReadRegistration,
    /// Tell the cluster which replicas cannot prove that they are complete.
    TellStanding,
    /// Stand for the office.
    Stand,
    /// Give the office up; who has it then is read.
    GiveUp,
    /// Rest for a while.
    Rest,
    /// Take the office from a broker whose process is gone.
    Depose(BrokerId),
    /// Begin as controller of this term.
    StartController(Term),
    /// End as controller; wait until that is so.
    DropController,
    /// The controller is this broker, another, or not known.
    Tell(Option<BrokerId>),
    /// Remember the highest controller epoch.
    Remember(i32),
    /// The tree shows a lower controller epoch than was seen before.
    RefuseOffice {
        /// The highest that was seen.
        seen: i32,
        /// The one that is there.
        found: i32,
    },
    /// Another process owns the registration, in this session: this one ends.
    Leave(i64),
}

/// One member.
#[derive(Debug)]
pub(crate) struct State {
    id: BrokerId,
    is_over: bool,
    /// Whether this session has registered the broker, for all that is known.
    is_registered: bool,
    /// The term that this broker is controller of.
    term: Option<Term>,
    /// Whether it does not stand for now.
    rests: bool,
    seen_epoch: i32,
}

impl State {
    /// A member whose first session has begun, and who has seen controller epochs up to `seen_epoch`.
    pub(crate) fn new(id: BrokerId, seen_epoch: i32) -> Self {
        Self { id, is_over: false, is_registered: false, term: None, rests: false, seen_epoch }
    }

    /// Says what follows from `event`, in order.
    pub(crate) fn apply(&mut self, event: Event) -> Vec<Effect> {
        match event {
            Event::SessionEnded => self.session_ended(),
            Event::SessionBegun => {
                self.is_over = false;
                vec![Effect::Watch, Effect::Register]
            }
            Event::Rested => {
                self.rests = false;
                if self.is_over { Vec::new() } else { vec![Effect::ReadOffice] }
            }
            // What was read in a session that is over says nothing.
            _ if self.is_over => Vec::new(),
            Event::Registered => {
                self.is_registered = true;
                vec![Effect::ReadOffice]
            }
            // A look may have been faster.
            Event::RegistrationDue if self.is_registered => Vec::new(),
            Event::RegistrationDue => vec![Effect::Register],
            Event::OfficeChanged | Event::Stood(None) => vec![Effect::ReadOffice],
            Event::OfficeRead(office, epoch) => self.office_read(office, epoch),
            Event::Stood(Some(term)) => self.won(term),
            Event::Resigned(term, why) => self.resigned(term, why),
            Event::ControllerGone(_) if self.term.is_some() => Vec::new(),
            Event::ControllerGone(broker) => vec![Effect::Depose(broker)],
            Event::RegistrationChanged => vec![Effect::ReadRegistration],
            Event::RegistrationRead(None) => {
                self.is_registered = false;
                vec![Effect::Register]
            }
            Event::RegistrationRead(Some((_, true))) => Vec::new(),
            Event::RegistrationRead(Some((owner, false))) => vec![Effect::Leave(owner)],
            Event::Look => vec![Effect::Watch, Effect::ReadOffice, Effect::ReadRegistration],
            // Who registers tells it with that.
            Event::StandingChanged if !self.is_registered => Vec::new(),
            Event::StandingChanged => vec![Effect::TellStanding],
        }
    }

    fn session_ended(&mut self) -> Vec<Effect> {
        if std::mem::replace(&mut self.is_over, true) {
            return Vec::new();
        }
        self.is_registered = false;
        let mut effects = self.drop_controller();
        effects.extend([Effect::Tell(None), Effect::StopLeading, Effect::Renew]);
        effects
    }

    fn drop_controller(&mut self) -> Vec<Effect> {
        self.term.take().map(|_| Effect::DropController).into_iter().collect()
    }

    fn office_read(&mut self, office: Office, epoch: i32) -> Vec<Effect> {
        if epoch < self.seen_epoch {
            let mut effects = self.drop_controller();
            let refuse = Effect::RefuseOffice { seen: self.seen_epoch, found: epoch };
            effects.extend([refuse, Effect::Tell(None)]);
            return effects;
        }
        let mut effects = self.remember(epoch);
        match office {
            Office::Empty => {
                effects.extend(self.drop_controller());
                effects.push(Effect::Tell(None));
                effects.extend(self.stand());
            }
            Office::Ours if self.term.is_none() => effects.extend(self.stand()),
            Office::Ours => {}
            Office::Others(other) => {
                effects.extend(self.drop_controller());
                effects.push(Effect::Tell(Some(other)));
            }
            Office::Kraft => {
                effects.extend(self.drop_controller());
                effects.push(Effect::Tell(None));
            }
        }
        effects
    }

    fn stand(&self) -> Option<Effect> {
        (self.is_registered && !self.rests).then_some(Effect::Stand)
    }

    fn won(&mut self, term: Term) -> Vec<Effect> {
        if self.term == Some(term) {
            return Vec::new();
        }
        let mut effects = self.remember(term.epoch);
        effects.extend(self.drop_controller());
        self.term = Some(term);
        effects.extend([Effect::Tell(Some(self.id)), Effect::StartController(term)]);
        effects
    }

    fn resigned(&mut self, term: Term, why: Resignation) -> Vec<Effect> {
        if self.term != Some(term) {
            return Vec::new();
        }
        let mut effects = self.drop_controller();
        effects.push(Effect::Tell(None));
        if why == Resignation::Refused {
            self.rests = true;
            effects.push(Effect::Rest);
        }
        effects.push(Effect::GiveUp);
        effects
    }

    fn remember(&mut self, epoch: i32) -> Vec<Effect> {
        if epoch <= self.seen_epoch {
            return Vec::new();
        }
        self.seen_epoch = epoch;
        vec![Effect::Remember(epoch)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: BrokerId = BrokerId(1);
    const TERM: Term = Term { epoch: 4, version: 9 };

    fn member() -> State {
        let mut state = State::new(ME, 3);
        state.apply(Event::Registered);
        state
    }

    fn controller() -> State {
        let mut state = member();
        state.apply(Event::Stood(Some(TERM)));
        state
    }

    /// From the first registration to office: the epoch is remembered before anything is done with it.
    #[test]
    fn an_empty_office_is_stood_for() {
        let mut state = State::new(ME, 3);
        let first = state.apply(Event::Registered);
        assert_eq!(first, [Effect::ReadOffice]);
        let read = state.apply(Event::OfficeRead(Office::Empty, 3));
        assert_eq!(read, [Effect::Tell(None), Effect::Stand]);
        let won = state.apply(Event::Stood(Some(TERM)));
        let tell = Effect::Tell(Some(ME));
        assert_eq!(won, [Effect::Remember(4), tell, Effect::StartController(TERM)]);
        // News of the own office change nothing.
        assert_eq!(state.apply(Event::OfficeRead(Office::Ours, 4)), []);
        assert_eq!(state.apply(Event::Stood(Some(TERM))), []);
    }

    /// Whatever takes the office away takes the controller along.
    #[test]
    fn a_controller_without_its_office_is_dropped() {
        let cases = [
            (Event::OfficeRead(Office::Others(BrokerId(2)), 5), Some(Effect::Remember(5))),
            (Event::OfficeRead(Office::Kraft, 4), None),
            (Event::OfficeRead(Office::Empty, 4), None),
            (Event::OfficeRead(Office::Ours, 2), None),
            (Event::Resigned(TERM, Resignation::Over), None),
            (Event::Resigned(TERM, Resignation::Refused), None),
            (Event::SessionEnded, None),
        ];
        for (event, before) in cases {
            let mut state = controller();
            let effects = state.apply(event);
            let mut effects = effects.iter();
            assert_eq!(before.is_some().then(|| *effects.next().unwrap()), before, "{event:?}");
            assert_eq!(effects.next(), Some(&Effect::DropController), "{event:?}");
            assert_eq!(state.term, None);
        }
    }

    /// The end of a session stops everything before the next begins, once; what was read in it is
    /// nothing.
    #[test]
    fn a_session_that_is_over_is_left_behind() {
        let mut state = controller();
        let end = [Effect::DropController, Effect::Tell(None), Effect::StopLeading, Effect::Renew];
        assert_eq!(state.apply(Event::SessionEnded), end);
        for late in [Event::SessionEnded, Event::OfficeRead(Office::Ours, 4), Event::Look] {
            assert_eq!(state.apply(late), []);
        }
        assert_eq!(state.apply(Event::SessionBegun), [Effect::Watch, Effect::Register]);
        assert_eq!(state.apply(Event::Registered), [Effect::ReadOffice]);
        // A resignation of the past is no news.
        assert_eq!(state.apply(Event::Resigned(TERM, Resignation::Refused)), []);
    }

    /// Whom the tree refused leaves the office to others for a while; whose term was over does not.
    #[test]
    fn who_was_refused_rests_before_it_stands_again() {
        for (why, rests) in [(Resignation::Over, false), (Resignation::Refused, true)] {
            let mut state = controller();
            let resigned = state.apply(Event::Resigned(TERM, why));
            assert_eq!(resigned.contains(&Effect::Rest), rests);
            assert_eq!(resigned.last(), Some(&Effect::GiveUp));
            for office in [Office::Empty, Office::Ours] {
                let read = state.apply(Event::OfficeRead(office, 4));
                assert_eq!(read.contains(&Effect::Stand), !rests, "{office:?}");
            }
        }
    }

    /// A rest ends in whatever session there is, or in none.
    #[test]
    fn a_rest_has_an_end() {
        for is_over in [false, true] {
            let mut state = controller();
            state.apply(Event::Resigned(TERM, Resignation::Refused));
            if is_over {
                state.apply(Event::SessionEnded);
            }
            let rested = state.apply(Event::Rested);
            assert_eq!(rested, [Effect::ReadOffice][usize::from(is_over)..]);
            state.apply(Event::SessionBegun);
            state.apply(Event::Registered);
            let read = state.apply(Event::OfficeRead(Office::Empty, 4));
            assert_eq!(read.last(), Some(&Effect::Stand));
        }
    }

    /// Until it is registered again, and that is tried as often as it is due, the office is others'.
    #[test]
    fn who_is_not_registered_neither_stands_nor_tells() {
        for lost in [Event::RegistrationRead(None), Event::SessionEnded] {
            let mut state = member();
            state.apply(lost);
            state.apply(Event::SessionBegun);
            let read = state.apply(Event::OfficeRead(Office::Empty, 4));
            assert!(!read.contains(&Effect::Stand), "{lost:?}");
            assert_eq!(state.apply(Event::StandingChanged), []);
            assert_eq!(state.apply(Event::RegistrationDue), [Effect::Register]);
            state.apply(Event::Registered);
            assert_eq!(state.apply(Event::RegistrationDue), [], "it is done once");
            assert_eq!(state.apply(Event::StandingChanged), [Effect::TellStanding]);
            let read = state.apply(Event::OfficeRead(Office::Empty, 4));
            assert_eq!(read.last(), Some(&Effect::Stand));
        }
    }

    /// A tree that was put back is nothing to decide on.
    #[test]
    fn a_lower_controller_epoch_is_refused() {
        let mut state = controller();
        let refused = state.apply(Event::OfficeRead(Office::Empty, 1));
        let refuse = Effect::RefuseOffice { seen: 4, found: 1 };
        assert_eq!(refused, [Effect::DropController, refuse, Effect::Tell(None)]);
    }

    /// A registration is made again where it is gone, and never over another's.
    #[test]
    fn another_owner_ends_this_process() {
        let mut state = member();
        let read = |owner| Event::RegistrationRead(owner);
        assert_eq!(state.apply(read(None)), [Effect::Register]);
        assert_eq!(state.apply(read(Some((5, true)))), []);
        assert_eq!(state.apply(read(Some((6, false)))), [Effect::Leave(6)]);
    }
}
