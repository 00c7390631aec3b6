//! The controller's loop: reads the tree, asks brokers and takes questions; [`State`] decides what
//! follows, and the loop does it.
//!
//! One loop owns the state. The effects of an event are carried out in order before the next event
//! is taken; a write is awaited, and what it gave is the next event. Everything is read again from time to
//! time, so that a watch that was lost costs time and nothing else.
//!
//! Errors: the loop ends when its session or its term does; nothing of it survives.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use broker_zookeeper::node::feature::Feature;
use broker_zookeeper::path;
use broker_zookeeper::store::{Store, StoreError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::channel::{Channels, Common};
use super::ends;
use super::handle::{ControllerHandle, Mail};
use super::membership::{Resignation, Term, ensure};
use super::read;
use super::state::effect::{Effect, Extent, What};
use super::state::event::{Event, TopicRead};
use super::state::request::{Reply, Token};
use super::state::story::{Level, Line};
use super::state::{Settings, State};
use super::tree::{Ended, Tree};
use super::watches::{Dirty, Watches};

/// How often the state is told the time.
const TICK: Duration = Duration::from_millis(250);

/// How often everything is read again, whatever the watches say.
const FULL_PASS: Duration = Duration::from_mins(1);

/// Answers of brokers that wait for the loop; a channel waits with the next until there is room.
pub(crate) const EVENTS: usize = 1_024;

/// Gives the settings as they are now.
pub(crate) type CurrentSettings = Box<dyn Fn() -> Settings + Send + Sync>;

/// The elected controller.
pub(crate) struct Controller {
    store: Arc<dyn Store>,
    tree: Tree,
    term: Term,
    state: State,
    settings: CurrentSettings,
    common: Common,
    channels: Channels,
    events: mpsc::Receiver<Event>,
    handle: Arc<ControllerHandle>,
    replies: BTreeMap<Token, oneshot::Sender<Reply>>,
    next_token: u64,
    /// Topics that were read, so that one that goes unseen is missed.
    topics: BTreeSet<Arc<str>>,
    began: Instant,
}

impl Controller {
    /// Takes office for `term`, in the session of `store`. `events` is the other end of
    /// `common.events`.
    pub(crate) fn new(
        store: Arc<dyn Store>,
        term: Term,
        settings: CurrentSettings,
        common: Common,
        events: mpsc::Receiver<Event>,
        handle: Arc<ControllerHandle>,
    ) -> Self {
        Self {
            tree: Tree::new(Arc::clone(&store), term),
            store,
            term,
            state: State::new(term.epoch, settings()),
            settings,
            began: common.clock.now(),
            channels: Channels::new(common.clone()),
            common,
            events,
            handle,
            replies: BTreeMap::new(),
            next_token: 0,
            topics: BTreeSet::new(),
        }
    }

    /// Runs until it is told to end, or resigns.
    pub(crate) async fn run(mut self, end: CancellationToken) -> Option<Resignation> {
        info!(epoch = self.term.epoch, "controller elected");
        let mail = self.handle.attach();
        let _office = Office(Arc::clone(&self.handle));
        let ended = tokio::select! {
            biased;
            () = end.cancelled() => Ok(()),
            ended = self.work(mail) => ended,
        };
        match &ended {
            Ok(()) | Err(Ended::Fenced) => info!(epoch = self.term.epoch, "controller resigned"),
            Err(Ended::Store(error)) => {
                error!(%error, epoch = self.term.epoch, "controller resigned");
            }
            Err(ended) => error!(error = %ended, epoch = self.term.epoch, "controller resigned"),
        }
        ended.err().map(|ended| ended.resignation())
    }

    async fn work(&mut self, mut mail: mpsc::Receiver<Mail>) -> Result<(), Ended> {
        self.settle_features().await?;
        // Watched before it is read: what changes in between is read again.
        let mut watches = Watches::set(&*self.store).await?;
        self.check_office().await?;
        let mut snapshot = again(|| read::everything(&*self.store)).await?;
        self.keep_ids(&mut snapshot.topics);
        let read = self.common.clock.now() - self.began;
        self.topics = snapshot.topics.iter().map(|topic| Arc::clone(&topic.name)).collect();
        self.topics.extend(snapshot.unread.iter().cloned());
        let partitions: usize = snapshot.topics.iter().map(|topic| topic.partitions.len()).sum();
        self.take(Event::Loaded(Box::new(snapshot))).await?;
        let decided = self.common.clock.now() - self.began;
        info!(topics = self.topics.len(), partitions, ?read, ?decided, "controller has taken over");
        self.handle.elections.loaded(self.common.clock.now() - self.began);
        let (mut ticks, mut passes) = (every(TICK), every(FULL_PASS));
        loop {
            tokio::select! {
                dirty = watches.next() => {
                    let dirty = dirty?;
                    if !dirty.is_clean() {
                        self.read_again(dirty).await?;
                    }
                }
                Some(event) = self.events.recv() => self.take(event).await?,
                Some(mail) = mail.recv() => self.open(mail).await?,
                _ = ticks.tick() => self.take(Event::Tick(self.common.clock.now() - self.began)).await?,
                _ = passes.tick() => self.read_again(Dirty::everything()).await?,
            }
        }
    }

    /// Takes an event and carries out all that follows from it.
    async fn take(&mut self, event: Event) -> Result<(), Ended> {
        let (began, before) = (self.common.clock.now(), self.state.elected());
        let done = self.carry_out(event).await;
        let duration = self.common.clock.now() - began;
        self.handle.elections.count(before, self.state.elected(), duration);
        if done.is_ok() {
            self.state.take_story().iter().for_each(log);
        }
        done
    }

    async fn carry_out(&mut self, event: Event) -> Result<(), Ended> {
        let mut events = VecDeque::from([event]);
        while let Some(event) = events.pop_front() {
            for effect in self.state.apply(event) {
                match effect {
                    Effect::Write { batch, changes } => {
                        let outcome = self.tree.write(&changes).await?;
                        events.push_front(Event::Written { batch, outcome });
                    }
                    Effect::Brokers(brokers) => {
                        self.channels.brokers(&brokers);
                    }
                    Effect::Send { broker, extent, directives } => {
                        if extent == Extent::Known {
                            let broker = broker.0;
                            warn!(
                                broker,
                                "not all of the tree can be read, or has an id yet: the broker keeps what it \
                                 is not told of"
                            );
                        }
                        self.channels.send(broker, extent, directives);
                    }
                    Effect::Reply { token, reply } => {
                        if let Some(asker) = self.replies.remove(&token) {
                            // One who does not wait any more is no loss.
                            let _ = asker.send(reply);
                        }
                    }
                    Effect::AskEnds(replicas) => {
                        let (me, events) = (self.common.controller, self.common.events.clone());
                        let asked = self.channels.reached(replicas);
                        self.common.tasks.spawn("controller-ends", async move {
                            // A controller that has ended needs no answer.
                            let _ = events.send(Event::Ends(ends::ask(me, asked).await)).await;
                        });
                    }
                    Effect::Read(what) => events.extend(self.read(what).await?),
                    Effect::Resign => return Err(Ended::Outdated),
                }
            }
        }
        Ok(())
    }

    async fn read(&mut self, what: What) -> Result<Vec<Event>, Ended> {
        let store = &*self.store;
        Ok(match what {
            What::States(of) => vec![Event::States(again(|| read::states(store, &of)).await?)],
            What::Unclean(topics) => {
                let mut events = Vec::with_capacity(topics.len());
                for topic in topics {
                    let unclean = again(|| read::unclean_of(store, &topic)).await?;
                    events.push(Event::Unclean(topic, unclean));
                }
                events
            }
            What::ProducerIds => {
                vec![Event::ProducerIds(again(|| read::producer_ids(store)).await?)]
            }
            What::Topics(names) => self.read_topics(&names).await?,
        })
    }

    async fn read_topics(&mut self, names: &BTreeSet<Arc<str>>) -> Result<Vec<Event>, Ended> {
        let read::Topics { mut read, gone, unread } =
            again(|| read::topics(&*self.store, names)).await?;
        self.keep_ids(&mut read);
        self.topics.extend(read.iter().map(|topic| Arc::clone(&topic.name)));
        self.topics.extend(unread.iter().cloned());
        self.topics.retain(|topic| !gone.contains(topic));
        let mut events = Vec::with_capacity(3);
        // Before the others, so that what they tell is not taken for all there is.
        if !unread.is_empty() {
            events.push(Event::TopicsUnread(unread));
        }
        if !gone.is_empty() {
            events.push(Event::TopicsGone(gone));
        }
        if !read.is_empty() {
            events.push(Event::Topics(read));
        }
        Ok(events)
    }

    /// Gives topics that lost their ids those that this broker knows. An old tool writes a node without;
    /// under another id the logs that there are would be those of another topic. One without states was
    /// just made, whatever was of that name.
    fn keep_ids(&self, topics: &mut [TopicRead]) {
        let lacks = |topic: &&mut TopicRead| topic.id.is_none() && !topic.states.is_empty();
        for topic in topics.iter_mut().filter(lacks) {
            let metadata = self.common.metadata.load();
            let known = metadata.topic(&topic.name).map(|known| known.id);
            topic.spare_id = known.filter(|id| !id.is_zero()).unwrap_or(topic.spare_id);
        }
    }

    /// Reads what may differ, and tells the state.
    async fn read_again(&mut self, dirty: Dirty) -> Result<(), Ended> {
        let store = Arc::clone(&self.store);
        let store = &*store;
        if dirty.controller {
            self.check_office().await?;
        }
        if dirty.brokers {
            self.take(Event::Brokers(again(|| read::brokers(store)).await?)).await?;
        }
        let mut topics: BTreeSet<Arc<str>> = dirty.topics.into_iter().map(Arc::from).collect();
        if dirty.all_topics {
            let names = again(|| store.children(path::TOPICS)).await?;
            topics.extend(names.into_iter().map(Arc::from));
            topics.extend(self.topics.iter().cloned());
        }
        if !topics.is_empty() {
            for event in self.read_topics(&topics).await? {
                self.take(event).await?;
            }
        }
        if dirty.deletions {
            self.take(Event::DeletionsAsked(again(|| read::deletions(store)).await?)).await?;
        }
        if dirty.reassign {
            self.take(Event::ReassignmentsAsked(again(|| read::reassignments(store)).await?))
                .await?;
        }
        if dirty.preferred
            && let Some(asked) = again(|| read::preferred(store)).await?
        {
            self.take(Event::PreferredAsked(asked)).await?;
        }
        if dirty.isr_changes {
            let notified = again(|| read::isr_changes(store)).await?;
            if !notified.paths.is_empty() {
                let states = again(|| read::states(store, &notified.about)).await?;
                self.take(Event::IsrChanged { notifications: notified.paths, states }).await?;
            }
        }
        if dirty.log_dirs {
            let notified = again(|| read::log_dirs(store)).await?;
            if !notified.paths.is_empty() {
                let (notifications, brokers) = (notified.paths, notified.about);
                self.take(Event::LogDirFailed { notifications, brokers }).await?;
            }
        }
        Ok(())
    }

    async fn open(&mut self, mail: Mail) -> Result<(), Ended> {
        if !mail.is_wanted() {
            return Ok(());
        }
        match mail {
            Mail::Ask(request, reply) => {
                let token = Token(self.next_token);
                self.next_token += 1;
                self.replies.insert(token, reply);
                self.take(Event::Asked { token, request }).await
            }
            Mail::TopicConfig(topic) => {
                let unclean = again(|| read::unclean_of(&*self.store, &topic)).await?;
                self.take(Event::Unclean(topic.into(), unclean)).await
            }
            Mail::BrokerConfig => self.take(Event::Settings((self.settings)())).await,
            Mail::Summary(reply) => {
                // One who does not wait any more is no loss.
                let _ = reply.send(self.state.summary());
                Ok(())
            }
        }
    }

    /// Makes the node of the features that the cluster has settled on, where there is none: brokers of
    /// Kafka ask for it. Source: Kafka 3.9 `KafkaController.maybeSetupFeatureVersioning`.
    async fn settle_features(&self) -> Result<(), Ended> {
        let Some(version) = self.common.versions.feature_node() else { return Ok(()) };
        let data = Feature::none(version).encode();
        Ok(ensure(&*self.store, path::FEATURE, &data).await?)
    }

    /// Checks that the controller's node is ours: tools delete it to have another one elected.
    async fn check_office(&self) -> Result<(), Ended> {
        let stat = again(|| self.store.exists(path::CONTROLLER)).await?;
        let is_ours = stat.is_some_and(|stat| stat.ephemeral_owner == self.store.session_id());
        if is_ours { Ok(()) } else { Err(Ended::Fenced) }
    }
}

/// Ends with the loop, also where that is dropped half-way.
struct Office(Arc<ControllerHandle>);

impl Drop for Office {
    fn drop(&mut self) {
        self.0.detach();
    }
}

/// Reads until the connection holds. Not a busy loop: a store waits until it is connected again.
async fn again<T, F: Future<Output = Result<T, StoreError>>>(
    read: impl Fn() -> F,
) -> Result<T, StoreError> {
    loop {
        match read().await {
            Err(StoreError::ConnectionLoss) => {}
            read => return read,
        }
    }
}

fn log(line: &Line) {
    match line.level {
        Level::Info => info!("{}", line.text),
        Level::Warn => warn!("{}", line.text),
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut interval = interval(period);
    interval.reset();
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

#[cfg(test)]
mod tests;
