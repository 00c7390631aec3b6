//! The brokers of clusters: a channel to each, kept for as long as it is used, and which of them to ask.
//!
//! Which brokers a cluster has follows from its object; where each listens follows from its name. A question that any
//! broker answers goes to the one that answered last, and on to others where it cannot be reached. One that only the
//! controller answers goes to the controller, which brokers name.
//!
//! A channel is opened by who is handed in, and connects with the first call. Concurrency: shared by all controllers;
//! short locks, never over a call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use kube::ResourceExt as _;
use parking_lot::Mutex;
use tonic::transport::{Channel, Endpoint};

use super::client::{Broker, BrokerError};
use crate::clock::Clock;
use crate::crd::cluster::Cluster;
use crate::names::{ADMIN_PORT, Names, broker_ids};

/// Opens a channel to an address, `host:port`. It does not wait: the channel connects with its first call.
pub type Dial = Arc<dyn Fn(&str) -> Result<Channel, BrokerError> + Send + Sync>;

/// How long a connection may take.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
/// How often a connection with an open call is asked whether it lives, and how long it may take to say so: who watches
/// hears of no broker that has gone without a word.
const KEEP_ALIVE: Duration = Duration::from_secs(10);
const KEEP_ALIVE_LIMIT: Duration = Duration::from_secs(5);
/// How long a channel is kept that nobody uses.
const KEPT: Duration = Duration::from_mins(10);
/// How many brokers one question goes to, one after the other: each may take the time of a connection.
const ASKED_MAX: usize = 5;
/// How often a question follows the controller, which may move while it is asked.
const HOPS_MAX: usize = 3;

/// Returns what opens channels over the network.
pub fn network() -> Dial {
    Arc::new(|address| {
        let endpoint = Endpoint::from_shared(format!("http://{address}"))
            .map_err(|source| BrokerError::Address { address: address.to_owned(), source })?;
        let endpoint = endpoint
            .connect_timeout(CONNECT_LIMIT)
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE_LIMIT);
        Ok(endpoint.connect_lazy())
    })
}

/// The channels of one operator.
pub struct Pool {
    dial: Dial,
    clock: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By address, with when it was used last.
    channels: BTreeMap<String, (Broker, Instant)>,
    /// By cluster, what is believed of it.
    beliefs: BTreeMap<Names, Belief>,
}

/// What is believed of a cluster. It costs a call where it is wrong.
#[derive(Default, Clone, Copy)]
struct Belief {
    answers: Option<i32>,
    controller: Option<i32>,
}

impl Pool {
    /// A pool that opens channels by `dial`.
    pub fn new(dial: Dial, clock: Clock) -> Arc<Self> {
        Arc::new(Self { dial, clock, state: Mutex::default() })
    }

    /// Returns the brokers of a cluster: those that its spec asks for, and those that its status has besides.
    pub fn brokers(self: &Arc<Self>, cluster: &Cluster) -> Brokers {
        let names = Names {
            cluster: cluster.name_any(),
            namespace: cluster.namespace().unwrap_or_default(),
        };
        let mut ids: BTreeSet<i32> =
            broker_ids(cluster.spec.brokers, &cluster.spec.removed).into_iter().collect();
        ids.extend(cluster.status.iter().flat_map(|status| &status.members).map(|one| one.id));
        Brokers { pool: Arc::clone(self), names, ids: ids.into_iter().collect() }
    }

    /// Returns the broker at an address.
    fn broker(&self, address: String) -> Result<Broker, BrokerError> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.channels.retain(|_, (_, used)| now.saturating_duration_since(*used) < KEPT);
        if let Some((broker, used)) = state.channels.get_mut(&address) {
            *used = now;
            return Ok(broker.clone());
        }
        let broker = Broker::new((self.dial)(&address)?, address.clone());
        state.channels.insert(address, (broker.clone(), now));
        Ok(broker)
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

/// The brokers of one cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Brokers {
    pool: Arc<Pool>,
    names: Names,
    ids: Vec<i32>,
}

impl Brokers {
    /// Their ids, in order.
    pub fn ids(&self) -> &[i32] {
        &self.ids
    }

    /// Returns one of them, whether it is there or not.
    ///
    /// # Errors
    /// `Address`.
    pub fn broker(&self, id: i32) -> Result<Broker, BrokerError> {
        self.pool.broker(format!("{}:{ADMIN_PORT}", self.names.host(id)))
    }

    /// Asks what any broker answers: the one that answered last, then others while none can be reached.
    ///
    /// What changes something may have been done by one whose answer was lost: brokers know it when they are asked
    /// again.
    ///
    /// # Errors
    /// As the first broker that answers, or the last that was asked.
    pub async fn any<T, Answer>(&self, ask: impl Fn(Broker) -> Answer) -> Result<T, BrokerError>
    where
        Answer: Future<Output = Result<T, BrokerError>>,
    {
        let mut last = None;
        let (turn, next) = self.in_turn();
        for id in turn {
            let answer = match self.broker(id) {
                Ok(broker) => ask(broker).await,
                Err(error) => Err(error),
            };
            match answer {
                Err(error) if error.is_silence() => last = Some(error),
                answer => {
                    self.believe(|belief| belief.answers = Some(id));
                    return answer;
                }
            }
        }
        // The next question begins behind those.
        self.believe(|belief| belief.answers = next);
        Err(last.unwrap_or_else(|| self.nobody("no broker is there to be asked")))
    }

    /// Asks what only the controller answers.
    ///
    /// # Errors
    /// As the controller answers; where nobody knows one, or it moves all the time.
    pub async fn controller<T, Answer>(
        &self,
        ask: impl Fn(Broker) -> Answer,
    ) -> Result<T, BrokerError>
    where
        Answer: Future<Output = Result<T, BrokerError>>,
    {
        let mut last = None;
        for _ in 0..HOPS_MAX {
            let id = self.controller_id().await?;
            let error = match ask(self.broker(id)?).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let next = if let BrokerError::NotController { controller, .. } = &error {
                controller.filter(|next| *next != id)
            } else if error.is_silence() {
                None
            } else {
                return Err(error);
            };
            self.believe(|belief| belief.controller = next);
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| self.nobody("the brokers have no controller")))
    }

    /// Returns the id of the controller, as brokers know it.
    ///
    /// # Errors
    /// Where none answers, or none knows it.
    pub async fn controller_id(&self) -> Result<i32, BrokerError> {
        let belief = self.pool.state.lock().beliefs.get(&self.names).copied();
        if let Some(id) = belief.and_then(|belief| belief.controller) {
            return Ok(id);
        }
        let identity = self.any(|mut broker| async move { broker.identity().await }).await?;
        if identity.controller_id < 0 {
            return Err(self.nobody("the brokers have no controller"));
        }
        self.believe(|belief| belief.controller = Some(identity.controller_id));
        Ok(identity.controller_id)
    }

    /// The first few to ask, from who answered last on; and who comes after them.
    fn in_turn(&self) -> (Vec<i32>, Option<i32>) {
        let belief = self.pool.state.lock().beliefs.get(&self.names).copied();
        let first = belief.and_then(|belief| belief.answers);
        let start = self.ids.iter().position(|id| Some(*id) == first).unwrap_or_default();
        let (before, after) = self.ids.split_at(start);
        let mut turn = after.iter().chain(before).copied();
        (turn.by_ref().take(ASKED_MAX).collect(), turn.next())
    }

    fn believe(&self, change: impl FnOnce(&mut Belief)) {
        change(self.pool.state.lock().beliefs.entry(self.names.clone()).or_default());
    }

    fn nobody(&self, words: &str) -> BrokerError {
        BrokerError::Unavailable {
            address: format!("Cluster {}/{}", self.names.namespace, self.names.cluster),
            call: "GetIdentity",
            words: words.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests;
