//! Configuration that changes while the broker runs: of topics and of brokers.
//!
//! The truth is in the coordination tree under `/config`; a change is written there together with a
//! notification, and every broker (this one too) applies it when it sees the notification. A call
//! that changes something returns once this broker has applied it.
//!
//! A topic's settings are its overrides on top of the broker's, so a change of the broker's
//! settings changes those of every topic.
//! Source: Kafka 3.9 `ZkConfigManager`, `DynamicBrokerConfig`.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use broker_config::broker::BrokerConfig;
use broker_config::topic::TopicConfig;
use broker_protocol::quantity::BrokerId;
use broker_zookeeper::node::config::{Config, ConfigChange};
use broker_zookeeper::path;
use broker_zookeeper::sessions::Sessions;
use broker_zookeeper::settle::{self, Outcome};
use broker_zookeeper::store::{CreateMode, EventKind, Op, OpResult, Store, StoreError, WatchMode};
use tokio::sync::watch;
use tracing::{error, info, warn};

use broker_zookeeper::error::TreeError;

use crate::clock::SharedClock;

mod terms;

pub use terms::Terms;

/// The broker's configuration as it is now.
pub type SharedConfig = Arc<ArcSwap<BrokerConfig>>;

/// How long a change may take to be applied here before the call returns anyway.
const APPLY_LIMIT: Duration = Duration::from_secs(5);

/// Settings by which everything is kept.
const KEEP: [(&str, &str); 3] =
    [("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];

/// A lost watch is made good after this.
const LOOK: Duration = Duration::from_mins(1);

/// How long a tree that refuses is left alone.
const PAUSE: Duration = Duration::from_secs(1);

/// How long a notification stays for brokers that have not seen it.
/// Source: Kafka 3.9 `ZkNodeChangeNotificationListener.changeExpirationMs`.
const NOTIFICATION_LIFE: Duration = Duration::from_mins(15);

/// Whose settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entity {
    /// Of a topic.
    Topic(String),
    /// Of one broker.
    Broker(i32),
    /// Of all brokers.
    AllBrokers,
}

impl Entity {
    /// Returns where its settings are.
    pub fn path(&self) -> String {
        match self {
            Self::Topic(topic) => path::topic_config(topic),
            Self::Broker(id) => path::broker_config(Some(*id)),
            Self::AllBrokers => path::broker_config(None),
        }
    }

    /// Returns where its settings are, below `/config`.
    pub fn below(&self) -> String {
        self.path().trim_start_matches("/config/").to_owned()
    }

    /// Reads a path below `/config`; `None` for kinds that are not served yet.
    pub fn at(below: &str) -> Option<Self> {
        let (kind, name) = below.split_once('/')?;
        match (kind, name) {
            ("topics", topic) => Some(Self::Topic(topic.to_owned())),
            ("brokers", path::DEFAULT_ENTITY) => Some(Self::AllBrokers),
            ("brokers", id) => id.parse().ok().map(Self::Broker),
            _ => None,
        }
    }
}

/// What was applied: the caller carries it on to those who keep settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// This topic's settings may differ.
    Topic(String),
    /// The broker's settings may differ, and so may those of every topic.
    Broker,
}

/// The dynamic configuration of this broker and of all topics.
#[derive(Debug)]
pub struct DynamicConfig {
    store: Arc<dyn Store>,
    broker_id: BrokerId,
    config: SharedConfig,
    clock: SharedClock,
    /// The number of the next notification that is not applied yet.
    applied: watch::Sender<i64>,
}

impl DynamicConfig {
    /// Reads what is in the tree for this broker, and applies it to `config`.
    pub async fn load(
        store: Arc<dyn Store>,
        broker_id: BrokerId,
        config: SharedConfig,
        clock: SharedClock,
    ) -> Result<Self, TreeError> {
        let dynamic = Self { store, broker_id, config, clock, applied: watch::Sender::new(0) };
        loop {
            match dynamic.read_all().await {
                Ok(()) => return Ok(dynamic),
                // Not a busy loop: a store waits with the next request until it is connected again.
                Err(TreeError::Store(StoreError::ConnectionLoss)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn read_all(&self) -> Result<(), TreeError> {
        // Whatever is announced by now is in what is read next.
        let last = self.announced().await?.last().map_or(0, |(number, _)| number + 1);
        self.apply_broker().await?;
        self.applied.send_replace(last);
        Ok(())
    }

    /// Returns an entity's own settings, with the version of their node if it exists.
    pub async fn overrides(
        &self,
        entity: &Entity,
    ) -> Result<(BTreeMap<String, String>, Option<i32>), TreeError> {
        let (node, version) = self.node(entity).await?;
        Ok((node.config, version))
    }

    /// Returns an entity's own settings and who wrote them, with the version of their node if it exists.
    pub async fn node(&self, entity: &Entity) -> Result<(Config, Option<i32>), TreeError> {
        let path = entity.path();
        match self.store.get(&path).await {
            Ok((data, stat)) => Ok((Config::decode(&path, &data)?, Some(stat.version))),
            Err(StoreError::NoNode { .. }) => Ok((Config::new(BTreeMap::new()), None)),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns a topic's settings as they apply now.
    ///
    /// Settings that this broker does not know (an older tool wrote them) are left out, with a
    /// warning: a topic that exists is served.
    pub async fn topic(&self, topic: &str) -> Result<Arc<TopicConfig>, TreeError> {
        let (overrides, _) = self.overrides(&Entity::Topic(topic.to_owned())).await?;
        Ok(self.resolve(topic, overrides))
    }

    /// Returns the settings of many topics as they apply now, but of those whose node cannot be understood
    /// or read: they stay as they were, which the log says.
    ///
    /// # Errors
    /// What keeps all from being read, as a lost connection.
    pub async fn topics(
        &self,
        topics: &[Arc<str>],
    ) -> Result<Vec<(Arc<str>, Arc<TopicConfig>)>, TreeError> {
        let paths: Vec<_> = topics.iter().map(|topic| path::topic_config(topic)).collect();
        let nodes = self.store.get_many(&paths).await?;
        let mut read = Vec::with_capacity(topics.len());
        for ((topic, path), node) in topics.iter().zip(&paths).zip(nodes) {
            let overrides = match node {
                Ok((data, _)) => {
                    Config::decode(path, &data).map(|node| node.config).map_err(TreeError::from)
                }
                Err(StoreError::NoNode { .. }) => Ok(BTreeMap::new()),
                Err(error) => Err(error.into()),
            };
            match overrides {
                Ok(overrides) => read.push((Arc::clone(topic), self.resolve(topic, overrides))),
                Err(error) => warn!(%topic, %error, "settings of the topic stay as they were"),
            }
        }
        Ok(read)
    }

    /// Puts a topic's own settings on top of the broker's.
    fn resolve(&self, topic: &str, mut overrides: BTreeMap<String, String>) -> Arc<TopicConfig> {
        for (key, reason) in TopicConfig::without_effect(&overrides) {
            warn!(topic, key, reason, "setting of the topic has no effect");
        }
        let broker = self.config.load();
        loop {
            match TopicConfig::resolve(&broker, &overrides) {
                Ok(config) => return Arc::new(config),
                Err(error) => {
                    warn!(topic, %error, "setting of the topic ignored");
                    let bad = error.keys().find(|key| overrides.contains_key(*key));
                    let bad = bad.map(str::to_owned);
                    match bad {
                        Some(key) => drop(overrides.remove(&key)),
                        None => overrides.clear(),
                    }
                }
            }
        }
    }

    /// Returns a topic's settings as they apply now; if its node cannot be understood the broker's own, but
    /// that nothing is deleted or compacted by them: what the topic keeps is not known.
    ///
    /// One bad node then stops neither the broker nor the topic. Not to serve it would be as safe, but it
    /// would end what the brokers that have read it before still do.
    pub async fn topic_or_kept(&self, topic: &str) -> Result<Arc<TopicConfig>, TreeError> {
        let error = match self.topic(topic).await {
            Err(TreeError::Node(error)) => error,
            read => return read,
        };
        error!(
            topic, %error,
            "the settings of the topic cannot be read: it has the broker's, and nothing of it is deleted or \
             compacted; mend or delete the node, then change a setting of the topic or start the broker anew"
        );
        let keep = KEEP.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let config = TopicConfig::resolve(&self.config.load(), &keep.into());
        config.map(Arc::new).map_err(|_| TreeError::Node(error))
    }

    /// Replaces an entity's settings and waits until this broker has applied them.
    pub async fn replace(
        &self,
        entity: &Entity,
        settings: BTreeMap<String, String>,
        version: Option<i32>,
        terms: &Terms,
    ) -> Result<(), TreeError> {
        let author = terms.author.clone().filter(|_| matches!(entity, Entity::Topic(_)));
        let data = Config::new(settings).by(author).encode();
        let announced = loop {
            match self.write(entity, &data, version, &terms.conditions).await {
                Ok(announced) => break announced,
                Err(TreeError::Store(StoreError::ConnectionLoss)) => {
                    if let Some(announced) = self.settle(entity, &data, version).await? {
                        break announced;
                    }
                }
                Err(error) => return Err(error),
            }
        };
        if let Some(number) = announced {
            let mut applied = self.applied.subscribe();
            let seen = applied.wait_for(|next| *next > number);
            // Late is not lost: the notification is there, and the next look finds it.
            let _ = tokio::time::timeout(APPLY_LIMIT, seen).await;
        }
        Ok(())
    }

    /// Writes settings with their notification; returns that one's number.
    async fn write(
        &self,
        entity: &Entity,
        data: &[u8],
        version: Option<i32>,
        conditions: &[Op],
    ) -> Result<Option<i64>, TreeError> {
        let (path, data) = (entity.path(), data.to_vec());
        let write = match version {
            Some(_) => Op::Set { path, data, version },
            None => Op::Create { path, data, mode: CreateMode::Persistent },
        };
        let notify = Op::Create {
            path: path::config_change(),
            data: ConfigChange { entity_path: entity.below() }.encode(),
            mode: CreateMode::PersistentSequential,
        };
        let ops = conditions.iter().cloned().chain([write, notify]);
        let results = self.store.multi(ops.collect()).await?;
        Ok(results.iter().rev().find_map(|result| match result {
            OpResult::Created { path, .. } => number(path),
            OpResult::Set { .. } | OpResult::Deleted | OpResult::Checked => None,
        }))
    }

    /// Says what became of a write whose answer was lost: `None` when it may be tried again, else the
    /// newest notification, which is its own or a later one.
    async fn settle(
        &self,
        entity: &Entity,
        data: &[u8],
        version: Option<i32>,
    ) -> Result<Option<Option<i64>>, TreeError> {
        let path = entity.path();
        let outcome = match version {
            Some(version) => settle::replaced(&*self.store, &path, data, version).await?,
            None => settle::created(&*self.store, &path, data, CreateMode::Persistent).await?,
        };
        match outcome {
            Outcome::Done(_) => {
                // The change is there: that the wait for it is shorter harms nobody.
                let announced = self.announced().await.unwrap_or_default();
                Ok(Some(announced.last().map(|(number, _)| *number)))
            }
            Outcome::NotDone => Ok(None),
            Outcome::Overtaken => {
                Err(StoreError::BadVersion { path, expected: version.unwrap_or_default() }.into())
            }
        }
    }

    /// Applies notifications as they come and hands each to `carry_on`, from session to session; what that
    /// could not do for now it is handed again, and counts as applied no sooner. Ends only with its caller.
    pub async fn follow_through<F, R>(&self, sessions: &Sessions, mut carry_on: F)
    where
        F: FnMut(Applied) -> R,
        R: Future<Output = Result<(), TreeError>>,
    {
        let mut seen = self.clock.now();
        loop {
            let session = sessions.current().session_id();
            let ended = async {
                if self.clock.now().duration_since(seen) > NOTIFICATION_LIFE / 2 {
                    // What was announced meanwhile may have been announced and purged.
                    self.read_all().await?;
                    carry_on(Applied::Broker).await?;
                }
                self.follow_until(&mut seen, &mut carry_on).await
            };
            let Err(error) = ended.await;
            if matches!(error, TreeError::Store(StoreError::SessionExpired)) {
                sessions.after(session).await;
            } else {
                warn!(%error, "changes of settings are not seen for a moment");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Follows until the tree refuses; `seen_at` is when it last answered.
    async fn follow_until<F, R>(
        &self,
        seen_at: &mut Instant,
        carry_on: &mut F,
    ) -> Result<Infallible, TreeError>
    where
        F: FnMut(Applied) -> R,
        R: Future<Output = Result<(), TreeError>>,
    {
        let mut changes = self.store.watch(path::CONFIG_CHANGES, WatchMode::Persistent).await?;
        loop {
            let next = *self.applied.borrow();
            let mut seen = next;
            let mut entities = BTreeSet::new();
            for (number, name) in self.announced().await?.into_iter().filter(|(n, _)| *n >= next) {
                entities.extend(self.changed(&name).await?);
                seen = number + 1;
            }
            *seen_at = self.clock.now();
            for entity in entities {
                if let Some(applied) = self.apply(entity).await? {
                    carry_on(applied).await?;
                }
            }
            self.applied.send_replace(seen);
            self.purge().await?;
            // A watch may be lost; every event, whatever it says, means "read again".
            let event = tokio::time::timeout(LOOK, changes.next()).await;
            if event.is_ok_and(|event| event.kind == EventKind::SessionExpired) {
                return Err(StoreError::SessionExpired.into());
            }
            while changes.try_next().is_some() {}
        }
    }

    /// The notifications that are there, oldest first.
    async fn announced(&self) -> Result<Vec<(i64, String)>, TreeError> {
        let names = self.store.children(path::CONFIG_CHANGES).await?;
        Ok(names.into_iter().filter_map(|name| Some((number(&name)?, name))).collect())
    }

    /// Deletes the notifications that every broker has had the time to see, so that there are never
    /// more than those of the last change and of the 15 minutes before it.
    async fn purge(&self) -> Result<(), TreeError> {
        let life = NOTIFICATION_LIFE.as_millis() as i64;
        // Never one that came meanwhile: clocks may differ by more than a notification's life.
        let next = *self.applied.borrow();
        for (_, name) in self.announced().await?.into_iter().filter(|(number, _)| *number < next) {
            let path = format!("{}/{name}", path::CONFIG_CHANGES);
            // Whoever deletes it first: it is gone.
            let Some(stat) = self.store.exists(&path).await? else { continue };
            if self.clock.wall().0 - stat.ctime < life {
                return Ok(());
            }
            match self.store.delete(&path, None).await {
                Ok(()) | Err(StoreError::NoNode { .. }) => {}
                Err(error) => {
                    warn!(%error, "old notifications stay for now");
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    async fn changed(&self, name: &str) -> Result<Option<Entity>, TreeError> {
        let path = format!("{}/{name}", path::CONFIG_CHANGES);
        match self.store.get(&path).await {
            Ok((data, _)) => match ConfigChange::decode(&path, &data) {
                Ok(change) => Ok(Entity::at(&change.entity_path)),
                Err(error) => {
                    warn!(%error, "notification ignored");
                    Ok(None)
                }
            },
            Err(StoreError::NoNode { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn apply(&self, entity: Entity) -> Result<Option<Applied>, TreeError> {
        match entity {
            Entity::Topic(topic) => Ok(Some(Applied::Topic(topic))),
            Entity::Broker(id) if BrokerId(id) != self.broker_id => Ok(None),
            Entity::Broker(_) | Entity::AllBrokers => {
                self.apply_broker().await?;
                Ok(Some(Applied::Broker))
            }
        }
    }

    async fn apply_broker(&self) -> Result<(), TreeError> {
        let (own, _) = self.overrides(&Entity::Broker(self.broker_id.0)).await?;
        let (of_all, _) = self.overrides(&Entity::AllBrokers).await?;
        let mut layers = self.config.load().layers.clone();
        if layers.dynamic_broker == own && layers.dynamic_default == of_all {
            return Ok(());
        }
        let mut keys = changed_keys(&layers.dynamic_broker, &own);
        keys.extend(changed_keys(&layers.dynamic_default, &of_all));
        let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
        layers.dynamic_broker = own;
        layers.dynamic_default = of_all;
        match BrokerConfig::resolve(layers) {
            Ok(config) => {
                self.config.store(Arc::new(config));
                info!(keys, "dynamic configuration of the broker applied");
            }
            // What is in force stays: a broker does not stop for a setting that it does not know.
            Err(error) => warn!(%error, keys, "dynamic configuration of the broker ignored"),
        }
        Ok(())
    }
}

/// The keys whose values differ. Values are not told: some are secrets.
fn changed_keys(
    before: &BTreeMap<String, String>,
    after: &BTreeMap<String, String>,
) -> BTreeSet<String> {
    let keys = before.keys().chain(after.keys());
    keys.filter(|key| before.get(*key) != after.get(*key)).cloned().collect()
}

/// The number of a sequential node.
fn number(path: &str) -> Option<i64> {
    path.get(path.len().checked_sub(10)?..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::faulty::Faults;
    use broker_zookeeper::sessions::Origin;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::task::JoinHandle;

    use super::*;
    use crate::clock::{Clock, ManualClock, SystemClock};
    use crate::controller::membership;

    /// Of real time.
    const LIMIT: Duration = Duration::from_secs(20);

    /// Has `dynamic` follow changes; returns what it carried on.
    fn followed(
        dynamic: &Arc<DynamicConfig>,
        sessions: &Arc<Sessions>,
    ) -> (JoinHandle<()>, UnboundedReceiver<Applied>) {
        let (carried, seen) = unbounded_channel();
        let (following, through) = (Arc::clone(dynamic), Arc::clone(sessions));
        let follow = tokio::task::spawn(async move {
            let carry_on = |applied| {
                carried.send(applied).unwrap();
                std::future::ready(Ok(()))
            };
            following.follow_through(&through, carry_on).await;
        });
        (follow, seen)
    }

    /// A change is applied before the call that made it returns, and carried on once.
    #[tokio::test]
    async fn a_change_is_applied_before_its_call_returns() {
        let origin = Origin::Embedded(EmbeddedTree::in_memory());
        let sessions = Sessions::begin(origin).await.unwrap();
        let store = sessions.live();
        membership::ensure_paths(&*store).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let dynamic = DynamicConfig::load(
            Arc::clone(&store),
            BrokerId(0),
            Arc::clone(&config),
            Arc::new(SystemClock),
        )
        .await
        .unwrap();
        let dynamic = Arc::new(dynamic);
        let (follow, mut seen) = followed(&dynamic, &sessions);
        let settings = BTreeMap::from([("log.retention.ms".to_owned(), "7200000".to_owned())]);
        dynamic.replace(&Entity::AllBrokers, settings, None, &Terms::default()).await.unwrap();
        assert_eq!(dynamic.topic("t").await.unwrap().retention_ms, 7_200_000);
        assert_eq!(seen.recv().await, Some(Applied::Broker));
        let settings = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        dynamic
            .replace(&Entity::Topic("t".to_owned()), settings, None, &Terms::default())
            .await
            .unwrap();
        assert_eq!(dynamic.topic("t").await.unwrap().retention_ms, 5);
        assert_eq!(seen.recv().await, Some(Applied::Topic("t".to_owned())));
        follow.abort();
    }

    /// The tree went away just as the settings of the topic were read: they are not forgotten, and whoever set
    /// them is not told that they are in force before they are.
    #[tokio::test]
    async fn a_change_that_could_not_be_carried_on_is_carried_on_again() {
        let origin = Origin::Embedded(EmbeddedTree::in_memory());
        let sessions = Sessions::begin(origin).await.unwrap();
        let store = sessions.live();
        membership::ensure_paths(&*store).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let clock = Arc::new(SystemClock);
        let dynamic = DynamicConfig::load(store, BrokerId(0), config, clock).await.unwrap();
        let (calls, applied) = (std::cell::RefCell::new(Vec::new()), &dynamic.applied);
        let carry_on = |change| {
            calls.borrow_mut().push((change, *applied.borrow()));
            let is_first = calls.borrow().len() == 1;
            let outcome = if is_first { Err(StoreError::ConnectionLoss.into()) } else { Ok(()) };
            std::future::ready(outcome)
        };
        let settings = BTreeMap::from([("min.insync.replicas".to_owned(), "2".to_owned())]);
        let entity = Entity::Topic("t".to_owned());
        tokio::select! {
            () = dynamic.follow_through(&sessions, carry_on) => {}
            done = dynamic.replace(&entity, settings, None, &Terms::default()) => done.unwrap(),
        }
        let change = Applied::Topic("t".to_owned());
        assert_eq!(*calls.borrow(), [(change.clone(), 0), (change, 0)]);
    }

    /// Changes are written once and seen, whatever answers are lost and whichever session there is.
    #[tokio::test]
    async fn changes_are_seen_through_losses_and_from_session_to_session() {
        let tree = EmbeddedTree::in_memory();
        let faults = Faults { seed: 5, lost_answers: 0.3, ..Faults::NONE };
        let origin = Origin::Embedded(tree.clone());
        let sessions = Sessions::begin_faulty(origin, faults).await.unwrap();
        let look = tree.session().await;
        membership::ensure_paths(&look).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let clock = Arc::new(SystemClock);
        let dynamic = DynamicConfig::load(sessions.live(), BrokerId(0), config, clock).await;
        let dynamic = Arc::new(dynamic.unwrap());
        let (follow, mut seen) = followed(&dynamic, &sessions);
        for (version, topic) in ["a", "b", "a"].into_iter().enumerate() {
            let entity = Entity::Topic(topic.to_owned());
            let settings = BTreeMap::from([("retention.ms".to_owned(), version.to_string())]);
            let version = (version == 2).then_some(0);
            dynamic.replace(&entity, settings, version, &Terms::default()).await.unwrap();
            let applied = Applied::Topic(topic.to_owned());
            while seen.recv().await.unwrap() != applied {}
            tree.expire(sessions.current().session_id()).await;
            sessions.renew().await;
        }
        let (_, stat) = look.get(&Entity::Topic("a".to_owned()).path()).await.unwrap();
        assert_eq!(stat.version, 1);
        follow.abort();
    }

    /// The watch is deaf: a change is found by the next look, in the time of the test.
    #[tokio::test(start_paused = true)]
    async fn a_change_that_no_watch_tells_is_seen_at_the_next_look() {
        let origin = Origin::Embedded(EmbeddedTree::in_memory());
        let faults = Faults { dropped_events: 1.0, ..Faults::NONE };
        let sessions = Sessions::begin_faulty(origin, faults).await.unwrap();
        membership::ensure_paths(&*sessions.live()).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let clock = Arc::new(SystemClock);
        let dynamic =
            DynamicConfig::load(sessions.live(), BrokerId(0), Arc::clone(&config), clock).await;
        let dynamic = Arc::new(dynamic.unwrap());
        let (follow, mut seen) = followed(&dynamic, &sessions);
        // The first may be found as the watch is set.
        for (hours, version) in [(2, None), (3, Some(0))] {
            let ms = (hours * 3_600_000).to_string();
            let settings = BTreeMap::from([("log.retention.ms".to_owned(), ms)]);
            dynamic
                .replace(&Entity::AllBrokers, settings, version, &Terms::default())
                .await
                .unwrap();
            let began = SystemClock.now();
            while seen.try_recv() != Ok(Applied::Broker) {
                assert!(SystemClock.now() - began < LIMIT, "nobody looks");
                tokio::time::advance(LOOK / 10).await;
            }
            assert_eq!(config.load().log_retention_ms, hours * 3_600_000);
        }
        follow.abort();
    }

    /// A notification goes with the first change that comes 15 minutes after it.
    #[tokio::test]
    async fn old_notifications_are_deleted() {
        let origin = Origin::Embedded(EmbeddedTree::in_memory());
        let sessions = Sessions::begin(origin).await.unwrap();
        let store = sessions.live();
        membership::ensure_paths(&*store).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        // The tree writes the machine's time; the test lets the broker's run ahead of it.
        let clock = Arc::new(ManualClock::starting_at(SystemClock.wall()));
        let shared: SharedClock = Arc::<ManualClock>::clone(&clock);
        let dynamic = DynamicConfig::load(Arc::clone(&store), BrokerId(0), config, shared);
        let dynamic = Arc::new(dynamic.await.unwrap());
        let following = Arc::clone(&dynamic);
        let follow = tokio::task::spawn(async move {
            following.follow_through(&sessions, |_| std::future::ready(Ok(()))).await;
        });
        let settings = || BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        for topic in ["a", "b"] {
            dynamic
                .replace(&Entity::Topic(topic.to_owned()), settings(), None, &Terms::default())
                .await
                .unwrap();
        }
        assert_eq!(dynamic.announced().await.unwrap().len(), 2);
        clock.advance(NOTIFICATION_LIFE * 2);
        let mut changes = store.watch(path::CONFIG_CHANGES, WatchMode::Persistent).await.unwrap();
        dynamic
            .replace(&Entity::Topic("c".to_owned()), settings(), None, &Terms::default())
            .await
            .unwrap();
        while !dynamic.announced().await.unwrap().is_empty() {
            assert_eq!(changes.next().await.kind, EventKind::ChildrenChanged);
        }
        // Numbers go on, so the next change is seen.
        dynamic
            .replace(&Entity::Topic("d".to_owned()), settings(), None, &Terms::default())
            .await
            .unwrap();
        assert!(*dynamic.applied.borrow() >= 4);
        follow.abort();
    }

    /// The error's text holds the value too, which may be the name of a sound setting.
    #[tokio::test]
    async fn a_setting_that_is_refused_leaves_the_others_in_force() {
        let store: Arc<dyn Store> = Arc::new(EmbeddedTree::in_memory().session().await);
        membership::ensure_paths(&*store).await.unwrap();
        let config: SharedConfig = Arc::new(ArcSwap::from_pointee(BrokerConfig::default()));
        let dynamic =
            DynamicConfig::load(Arc::clone(&store), BrokerId(0), config, Arc::new(SystemClock))
                .await
                .unwrap();
        let settings = [("flush.ms", "5"), ("retention.ms", "flush.ms"), ("unheard.of", "1")];
        let settings = settings.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let topic = Entity::Topic("t".to_owned());
        let data = Config::new(BTreeMap::from(settings)).encode();
        let (path, mode) = (topic.path(), CreateMode::Persistent);
        store.multi(vec![Op::Create { path, data, mode }]).await.unwrap();
        let config = dynamic.topic("t").await.unwrap();
        assert_eq!((config.flush_ms, config.retention_ms), (5, 604_800_000));
    }
}
