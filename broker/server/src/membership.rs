//! This broker's place in the cluster: its session, its registration, the watch on the controller.
//!
//! One loop owns them. `state` (pure) says what follows from what happened; the loop does it, in order,
//! and what it finds is the next event. What others have to do, they are told as a [`Duty`], and the
//! loop waits until it is done: nothing is led, and no controller lives, when a session begins.
//!
//! On the way in: `cluster` (may this broker join, and as whom), `identity` (was a registration that is
//! there our own), `presence` (or that of a broker that lives), `addresses` (whose is where it is reached),
//! `standing` (which replicas cannot prove themselves), `registration`. Then `controller_election`, whenever
//! there is no controller.
//!
//! Where no server of the tree answers nothing happens here: only the tree itself ends a session.

mod addresses;
pub(crate) mod cluster;
pub(crate) mod controller_election;
pub(crate) mod identity;
mod later;
pub(crate) mod presence;
pub(crate) mod registration;
mod standing;
pub(crate) mod state;
pub(crate) mod vigil;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use broker_protocol::quantity::BrokerId;
use broker_protocol::topic_partition::TopicPartition;
use broker_storage::fs::Fs;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::node::broker::Broker;
use broker_zookeeper::node::controller::Controller;
use broker_zookeeper::path;
use broker_zookeeper::sessions::Sessions;
use broker_zookeeper::settle;
use broker_zookeeper::store::{Store, StoreError, Watch, WatchMode};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::identity::Identity;
use self::later::Later;
use self::presence::Presence;
use self::registration::{RegisterError, Registering};
use self::state::{Effect, Event, Office, State};
use crate::clock::{Clock, SharedClock};
use crate::controller::membership::{Resignation, Term};

/// How long a tree that refuses a request for a reason of its own is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// A lost watch is made good after this: a look at the office and at the registration costs little.
const LOOK: Duration = Duration::from_mins(1);

/// How much longer than a session another's registration is waited for.
const GRACE: Duration = Duration::from_secs(2);

/// How long changes of what is proven are collected before they are told: thousands of replicas join their
/// ISRs within moments, and who elects has seen them join.
const STANDING_PAUSE: Duration = Duration::from_millis(500);

/// What somebody else has to do. Dropping `done` is as good as an answer.
#[derive(Debug)]
pub(crate) enum Duty {
    /// Lead and copy nothing: the session is over.
    StopLeading {
        /// Fired when nothing is led any more.
        done: oneshot::Sender<()>,
    },
    /// Be the controller, with this session.
    StartController {
        /// The session that has the office.
        store: Arc<dyn Store>,
        /// The term.
        term: Term,
    },
    /// Be the controller no more.
    DropController {
        /// Fired when no controller is left.
        done: oneshot::Sender<()>,
    },
}

/// Why a broker is no member of the cluster, or no more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberError {
    /// Its registration cannot be made.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Another process took the registration over.
    #[error(
        "broker.id={broker_id} was taken over by another process, in session {owner:#x}: it holds a \
         copy of this broker's log directory; this broker stops, so that not both go on"
    )]
    TakenOver {
        /// The id.
        broker_id: BrokerId,
        /// The session of the other.
        owner: i64,
    },
    /// Whoever does the duties is gone.
    #[error("nobody does what the membership asks for")]
    Alone,
}

/// What a broker joins with.
pub(crate) struct Joining {
    /// The sessions with the tree.
    pub(crate) sessions: Arc<Sessions>,
    /// The broker's id.
    pub(crate) id: BrokerId,
    /// What to register; its time and its features are set when it is.
    pub(crate) broker: Broker,
    /// The disk.
    pub(crate) fs: Arc<dyn Fs>,
    /// The log directory that keeps the identity, whose lock is held.
    pub(crate) dir: PathBuf,
    /// What the last run left there, and where this one is a member.
    pub(crate) past: Identity,
    /// The source of time.
    pub(crate) clock: SharedClock,
    /// Where the epoch of the registration is shown; -1 until there is one.
    pub(crate) broker_epoch: Arc<AtomicI64>,
    /// Where it is shown that the broker is being registered: while it is not, the epoch is the latest.
    pub(crate) is_registering: watch::Sender<bool>,
    /// Tells this process from others.
    pub(crate) presence: Arc<Presence>,
    /// The replicas that cannot prove that they are complete.
    pub(crate) unproven: Unproven,
}

/// Which replicas of this broker cannot prove that they are complete, now and from now on.
pub(crate) struct Unproven {
    /// All of them, as they are now.
    pub(crate) read: Box<dyn Fn() -> BTreeSet<TopicPartition> + Send + Sync>,
    /// Counts the changes.
    pub(crate) changes: watch::Receiver<u64>,
}

/// The owner of this broker's place in the cluster.
pub(crate) struct Membership {
    joining: Joining,
    identity: Identity,
    state: State,
    /// `None` where they are refused: then only the next look sees what changes.
    watches: Option<Watches>,
    look: Interval,
    broker_epoch: Arc<AtomicI64>,
    /// Whether it was a member before.
    has_joined: bool,
    controller: watch::Sender<Option<BrokerId>>,
    /// One is enough: a controller resigns once.
    resigned: mpsc::Receiver<(Term, Resignation)>,
    resign: mpsc::Sender<(Term, Resignation)>,
    gone: mpsc::Receiver<BrokerId>,
    tell_gone: mpsc::Sender<BrokerId>,
    /// When a change of what is proven is told.
    standing_due: Option<tokio::time::Instant>,
    /// What the tree has refused.
    later: Later,
}

struct Watches {
    office: Watch,
    registration: Watch,
}

impl Membership {
    /// Registers the broker; it is a member when this returns.
    ///
    /// # Errors
    /// When its id is another's. Where the tree does not answer this waits.
    pub(crate) async fn join(joining: Joining) -> Result<Self, MemberError> {
        let identity = joining.past.clone();
        let broker_epoch = Arc::clone(&joining.broker_epoch);
        let controller = watch::Sender::new(None);
        let (resign, resigned) = mpsc::channel(1);
        let (tell_gone, gone) = mpsc::channel(1);
        let state = State::new(joining.id, identity.controller_epoch);
        let watches = None;
        let mut membership = Self {
            joining,
            identity,
            state,
            watches,
            look: looks(),
            broker_epoch,
            has_joined: false,
            controller,
            resigned,
            resign,
            gone,
            tell_gone,
            standing_due: None,
            later: Later::default(),
        };
        while let Some(Event::SessionEnded) = membership.register().await? {
            membership.joining.sessions.renew().await;
        }
        membership.has_joined = true;
        Ok(membership)
    }

    /// Returns where a controller says that it has ended by itself.
    pub(crate) fn resigned(&self) -> mpsc::Sender<(Term, Resignation)> {
        self.resign.clone()
    }

    /// Returns who watches the process of the controller through `listener`, to be run beside this.
    pub(crate) fn vigil(&self, listener: Arc<str>) -> vigil::Vigil {
        vigil::Vigil {
            me: self.joining.id,
            store: self.joining.sessions.live(),
            listener,
            controller: self.controller.subscribe(),
            gone: self.tell_gone.clone(),
            session_timeout: self.joining.sessions.session_timeout(),
        }
    }

    /// Stays a member until shutdown; stands for controller whenever there is none.
    ///
    /// # Errors
    /// When the broker must not go on.
    pub(crate) async fn run(
        mut self,
        duties: mpsc::Sender<Duty>,
        shutdown: CancellationToken,
    ) -> Result<(), MemberError> {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => Ok(()),
            ended = self.work(&duties) => ended,
        }
    }

    async fn work(&mut self, duties: &mpsc::Sender<Duty>) -> Result<(), MemberError> {
        let watched = self.watch().await;
        let mut events = VecDeque::from([watched, Some(Event::Registered)]);
        loop {
            while let Some(event) = events.pop_front() {
                for effect in event.map_or_else(Vec::new, |event| self.state.apply(event)) {
                    events.push_back(self.carry_out(effect, duties).await?);
                }
            }
            events.push_back(Some(self.next().await));
        }
    }

    /// Waits for the next thing that happens. Cancel-safe.
    async fn next(&mut self) -> Event {
        let Self { joining, watches, look, resigned, gone, standing_due, later, .. } = self;
        let Joining { sessions, unproven, clock, .. } = joining;
        let (office, registration) =
            watches.as_mut().map(|set| (&mut set.office, &mut set.registration)).unzip();
        tokio::select! {
            biased;
            () = sessions.ended() => Event::SessionEnded,
            // Before what may come all the time.
            _ = look.tick() => Event::Look,
            event = later.next() => event,
            () = news(office) => Event::OfficeChanged,
            () = news(registration) => Event::RegistrationChanged,
            Some((term, why)) = resigned.recv() => Event::Resigned(term, why),
            Some(broker) = gone.recv() => Event::ControllerGone(broker),
            () = standing_changed(&mut unproven.changes, standing_due, &**clock) => {
                Event::StandingChanged
            }
        }
    }

    async fn carry_out(
        &mut self,
        effect: Effect,
        duties: &mpsc::Sender<Duty>,
    ) -> Result<Option<Event>, MemberError> {
        let store = self.joining.sessions.current();
        Ok(match effect {
            Effect::Renew => {
                self.watches = None;
                self.joining.sessions.renew().await;
                Some(Event::SessionBegun)
            }
            Effect::Watch => self.watch().await,
            Effect::Register => self.register().await?,
            Effect::StopLeading => {
                self.joining.presence.register(false);
                assign(duties, |done| Duty::StopLeading { done }).await?;
                None
            }
            Effect::ReadOffice => self.answered(office(&*store).await, Event::OfficeChanged),
            Effect::ReadRegistration => {
                let read = owner(&*store, self.joining.id).await;
                self.answered(read, Event::RegistrationChanged)
            }
            Effect::TellStanding => self.tell_standing(&*store).await,
            Effect::Stand => {
                let now = self.joining.clock.wall().0;
                let stood = controller_election::stand(&*store, self.joining.id, now).await;
                self.answered(stood.map(Event::Stood), Event::OfficeChanged)
            }
            Effect::GiveUp => {
                let left = controller_election::give_up(&*store).await;
                self.left(left)
            }
            Effect::Rest => {
                self.later.put(Event::Rested);
                None
            }
            Effect::Depose(broker) => {
                let left = controller_election::depose(&*store, broker).await;
                self.left(left)
            }
            Effect::StartController(term) => {
                info!(epoch = term.epoch, "this broker is the controller");
                charge(duties, Duty::StartController { store, term }).await?;
                None
            }
            Effect::DropController => {
                info!("this broker is the controller no more");
                assign(duties, |done| Duty::DropController { done }).await?;
                None
            }
            Effect::Tell(controller) => {
                self.tell(controller);
                None
            }
            Effect::Remember(epoch) => {
                self.identity.controller_epoch = epoch;
                self.write_identity().await;
                None
            }
            Effect::RefuseOffice { seen, found } => {
                error!(
                    seen,
                    found,
                    "the controller epoch in the tree is lower than one seen before: it was put back to an older state; this broker does not stand for controller"
                );
                None
            }
            Effect::Leave(owner) => {
                return Err(MemberError::TakenOver { broker_id: self.joining.id, owner });
            }
        })
    }

    /// Says who is controller, if it is another than before.
    fn tell(&self, controller: Option<BrokerId>) {
        let is_news =
            |before: &mut Option<BrokerId>| std::mem::replace(before, controller) != controller;
        if !self.controller.send_if_modified(is_news) {
            return;
        }
        if let Some(BrokerId(broker)) = controller {
            info!(broker, "the controller of the cluster");
        } else {
            info!("the cluster has no controller");
        }
    }

    /// What follows once the office was left, by whom ever: who holds it is read, and read again where the
    /// tree refuses.
    fn left(&mut self, left: Result<(), TreeError>) -> Option<Event> {
        self.answered(left.map(|()| Event::OfficeChanged), Event::OfficeChanged)
    }

    /// The event that a request led to; where the tree refuses it, `again` happens after a while.
    fn answered(&mut self, result: Result<Event, TreeError>, again: Event) -> Option<Event> {
        match result {
            Ok(event) => Some(event),
            Err(TreeError::Store(StoreError::SessionExpired)) => Some(Event::SessionEnded),
            Err(error) => {
                warn!(%error, again = ?PAUSE, "the coordination tree refuses what a member needs");
                self.later.put(again);
                None
            }
        }
    }

    /// Watches before anything is read, so that nothing falls in between.
    async fn watch(&mut self) -> Option<Event> {
        if self.watches.is_some() {
            return None;
        }
        let store = self.joining.sessions.current();
        match watches(&*store, self.joining.id).await {
            Ok(watches) => {
                self.watches = Some(watches);
                None
            }
            Err(StoreError::SessionExpired) => Some(Event::SessionEnded),
            Err(error) => {
                // The next look makes good what is not watched, and watches.
                error!(%error, again = ?LOOK, "the controller and the registration cannot be watched");
                None
            }
        }
    }

    /// Registers the broker in the current session, and says so until it has. Where the tree refuses, whoever
    /// was a member tries again later.
    async fn register(&mut self) -> Result<Option<Event>, MemberError> {
        self.joining.is_registering.send_replace(true);
        let registered = match self.register_now().await {
            Err(MemberError::Register(RegisterError::Tree(error))) if self.has_joined => {
                warn!(%error, again = ?PAUSE, "not registered anew yet: the coordination tree refuses");
                self.later.put(Event::RegistrationDue);
                return Ok(None);
            }
            registered => registered?,
        };
        self.joining.is_registering.send_replace(false);
        Ok(Some(registered))
    }

    /// Registers the broker in the current session; its identity names the session before that owns
    /// anything.
    async fn register_now(&mut self) -> Result<Event, MemberError> {
        let store = self.joining.sessions.current();
        let past = self.identity.sessions.clone();
        self.identity.add_session(store.session_id());
        self.write_identity().await;
        let patience = self.joining.sessions.session_timeout();
        let patience = if patience.is_zero() { patience } else { patience + GRACE };
        let mut broker = self.joining.broker.clone();
        broker.timestamp_ms = self.joining.clock.wall().0;
        let id = self.joining.id;
        let unproven = (self.joining.unproven.read)();
        let registered = async {
            broker.features = cluster::features(&*store).await?;
            let what = Registering {
                id,
                broker: &broker,
                unproven: &unproven,
                past: &past,
                patience,
                presence: &self.joining.presence,
                is_start: !self.has_joined,
            };
            registration::register(&*store, &what).await
        };
        match registered.await {
            Ok(epoch) => {
                info!(broker = id.0, epoch, "registered");
                self.broker_epoch.store(epoch, Ordering::Release);
                self.joining.presence.register(true);
                self.identity.sessions.truncate(1);
                self.write_identity().await;
                Ok(Event::Registered)
            }
            Err(RegisterError::Tree(TreeError::Store(StoreError::SessionExpired))) => {
                Ok(Event::SessionEnded)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells which replicas are unproven now.
    async fn tell_standing(&mut self, store: &dyn Store) -> Option<Event> {
        let unproven = (self.joining.unproven.read)();
        match standing::publish(store, self.joining.id, &unproven).await {
            Ok(()) => None,
            Err(StoreError::SessionExpired) => Some(Event::SessionEnded),
            Err(error) => {
                warn!(%error, count = unproven.len(), "what is unproven is not told yet");
                self.later.put(Event::StandingChanged);
                None
            }
        }
    }

    /// Writes who this broker is. A disk that does not take it ends nothing: what that costs is the quick
    /// return of the next start, which takes this session for another's and waits for its end, and that it
    /// does not know a tree that was put back since.
    async fn write_identity(&self) {
        let (fs, dir) = (Arc::clone(&self.joining.fs), self.joining.dir.clone());
        let identity = self.identity.clone();
        let written = tokio::task::spawn_blocking(move || identity.write(&*fs, &dir)).await;
        if let Err(error) = written.unwrap_or_else(|ended| Err(io::Error::other(ended))) {
            warn!(
                dir = %self.joining.dir.display(), %error,
                "the session is not remembered: a start after a crash waits for its end"
            );
        }
    }
}

/// Waits until a watch says something, and takes all that it has said; without a watch for ever. Cancel-safe.
async fn news(watch: Option<&mut Watch>) {
    let Some(watch) = watch else { return std::future::pending().await };
    watch.next().await;
    while watch.try_next().is_some() {}
}

/// When there is time to look, whatever has come in between.
fn looks() -> Interval {
    let mut looks = tokio::time::interval(LOOK);
    looks.reset();
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}

/// Waits until what is proven has changed, and a while longer. Cancel-safe: `due` says when that is over.
async fn standing_changed(
    changes: &mut watch::Receiver<u64>,
    due: &mut Option<tokio::time::Instant>,
    clock: &dyn Clock,
) {
    if due.is_none() {
        if changes.changed().await.is_err() {
            // Whoever loaded the logs is gone, and so is this broker soon.
            std::future::pending::<()>().await;
        }
        *due = Some((clock.now() + STANDING_PAUSE).into());
    }
    if let Some(due) = *due {
        tokio::time::sleep_until(due).await;
    }
    *due = None;
}

/// Hands a duty over.
async fn charge(duties: &mpsc::Sender<Duty>, duty: Duty) -> Result<(), MemberError> {
    duties.send(duty).await.map_err(|_| MemberError::Alone)
}

/// Has a duty done.
async fn assign(
    duties: &mpsc::Sender<Duty>,
    duty: impl FnOnce(oneshot::Sender<()>) -> Duty,
) -> Result<(), MemberError> {
    let (done, is_done) = oneshot::channel();
    duties.send(duty(done)).await.map_err(|_| MemberError::Alone)?;
    let _ = is_done.await;
    Ok(())
}

async fn watches(store: &dyn Store, id: BrokerId) -> Result<Watches, StoreError> {
    loop {
        let set = async {
            let office = store.watch(path::CONTROLLER, WatchMode::Persistent).await?;
            let registration = path::broker_id(id.0);
            let registration = store.watch(&registration, WatchMode::Persistent).await?;
            Ok(Watches { office, registration })
        };
        match set.await {
            Err(StoreError::ConnectionLoss) => {}
            set => return set,
        }
    }
}

async fn office(store: &dyn Store) -> Result<Event, TreeError> {
    // The epoch first: whoever takes the office afterwards has a higher one.
    let epoch = controller_election::term(store).await?.epoch;
    let office = match settle::current(store, path::CONTROLLER).await? {
        None => Office::Empty,
        Some((_, stat)) if stat.ephemeral_owner == store.session_id() => Office::Ours,
        Some((_, stat)) if stat.ephemeral_owner == 0 => Office::Kraft,
        Some((data, _)) => {
            Office::Others(BrokerId(Controller::decode(path::CONTROLLER, &data)?.brokerid))
        }
    };
    Ok(Event::OfficeRead(office, epoch))
}

async fn owner(store: &dyn Store, id: BrokerId) -> Result<Event, TreeError> {
    let found = settle::current(store, &path::broker_id(id.0)).await?;
    let owner = found.map(|(_, stat)| stat.ephemeral_owner);
    Ok(Event::RegistrationRead(owner.map(|owner| (owner, owner == store.session_id()))))
}
