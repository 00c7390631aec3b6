//! The settings of topics that an order is about, read from the coordination tree.
//!
//! The control loop waits meanwhile, and what ends a session waits for the control loop. So a session that
//! is over is no reason to wait, and what may pass is waited for once in an order, not once a topic: all is
//! told anew in the next session. Settings that cannot be read for another reason cost their topic only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use broker_config::topic::TopicConfig;
use broker_protocol::error_code::ErrorCode;
use broker_zookeeper::error::TreeError;
use broker_zookeeper::store::StoreError;
use tracing::{error, warn};

use crate::dynamic_config::DynamicConfig;

/// The pause before settings that could not be read are asked for again.
const PAUSE: Duration = Duration::from_millis(100);

/// How many such pauses there are in one order, 20 s of them: a tree that is away for a moment costs no
/// replica, and one that is away for longer has most often ended the session.
const PAUSES_MAX: u32 = 200;

/// How long an order waits for a tree that does not answer at all.
const LIMIT: Duration = Duration::from_secs(20);

/// The settings that one order needs, each read once.
pub(super) struct Settings {
    source: Arc<DynamicConfig>,
    read: HashMap<Arc<str>, Option<Arc<TopicConfig>>>,
    patience: Patience,
}

impl Settings {
    pub(super) fn new(source: Arc<DynamicConfig>) -> Self {
        Self { source, read: HashMap::new(), patience: Patience::new() }
    }

    /// Returns a topic's settings.
    pub(super) async fn of(&mut self, topic: &Arc<str>) -> Result<Arc<TopicConfig>, ErrorCode> {
        if !self.read.contains_key(topic) {
            let source = &self.source;
            let read = self.patience.read(topic, || source.topic_or_kept(topic)).await;
            self.read.insert(Arc::clone(topic), read);
        }
        self.read.get(topic).cloned().flatten().ok_or(ErrorCode::UnknownServerError)
    }
}

/// How long one order goes on to ask.
#[derive(Debug)]
struct Patience {
    pauses_left: u32,
    /// Nothing more is asked.
    is_over: bool,
}

impl Patience {
    fn new() -> Self {
        Self { pauses_left: PAUSES_MAX, is_over: false }
    }

    /// Reads, again where that may help; `None` if it cannot be read.
    async fn read<T, F: Future<Output = Result<T, TreeError>>>(
        &mut self,
        topic: &str,
        read: impl Fn() -> F,
    ) -> Option<T> {
        while !self.is_over {
            let Ok(answered) = tokio::time::timeout(LIMIT, read()).await else {
                error!(topic, "the coordination tree does not answer: no more settings are read");
                self.is_over = true;
                break;
            };
            let error = match answered {
                Ok(settings) => return Some(settings),
                Err(error) => error,
            };
            let is_late = self.pauses_left == 0;
            self.is_over = match error {
                TreeError::Store(StoreError::SessionExpired) => true,
                TreeError::Store(StoreError::ConnectionLoss) => is_late,
                TreeError::Store(_) | TreeError::Node(_) => false,
            };
            if self.is_over || is_late {
                error!(topic, %error, "no replica of the topic is served: its settings cannot be read");
                break;
            }
            warn!(topic, %error, "settings of the topic cannot be read yet");
            self.pauses_left -= 1;
            tokio::time::sleep(PAUSE).await;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::Instant;

    use super::*;

    /// How often 1,000 topics were asked for, of which each answers with `error`, how long that took, and
    /// whether one could be read then.
    async fn a_thousand(error: StoreError) -> (u32, Duration, bool) {
        let (asked, begun, mut patience) = (Cell::new(0), Instant::now(), Patience::new());
        for _ in 0..1000 {
            let read = || {
                asked.set(asked.get() + 1);
                std::future::ready(Err::<(), _>(TreeError::Store(error.clone())))
            };
            assert_eq!(patience.read("t", read).await, None);
        }
        let took = begun.elapsed();
        (asked.get(), took, patience.read("t", || std::future::ready(Ok(()))).await.is_some())
    }

    /// What ends a session waits for the order that reads: it gives up at once.
    #[tokio::test(start_paused = true)]
    async fn a_session_that_is_over_is_not_waited_for() {
        let (asked, took, goes_on) = a_thousand(StoreError::SessionExpired).await;
        assert_eq!((asked, took, goes_on), (1, Duration::ZERO, false));
    }

    /// However many topics an order is about, a tree that is away is waited for once.
    #[tokio::test(start_paused = true)]
    async fn a_tree_that_is_away_is_waited_for_once_in_an_order() {
        let (_, took, goes_on) = a_thousand(StoreError::ConnectionLoss).await;
        assert!(took <= PAUSE * PAUSES_MAX, "{took:?}");
        assert!(!goes_on);
        let (mut patience, begun) = (Patience::new(), Instant::now());
        for _ in 0..1000 {
            assert_eq!(patience.read("t", std::future::pending::<Result<(), _>>).await, None);
        }
        assert_eq!(begun.elapsed(), LIMIT);
    }

    /// One that is away for a moment costs nothing; a topic that cannot be read costs no other.
    #[tokio::test(start_paused = true)]
    async fn what_passes_is_waited_for_and_what_stays_costs_its_topic_only() {
        let (mut patience, asked) = (Patience::new(), Cell::new(0));
        let read = || {
            asked.set(asked.get() + 1);
            let lost = Err(StoreError::ConnectionLoss.into());
            std::future::ready(if asked.get() > 9 { Ok(()) } else { lost })
        };
        assert_eq!(patience.read("t", read).await, Some(()));
        let refused = StoreError::NoNode { path: "/t".to_owned() };
        let (_, took, goes_on) = a_thousand(refused).await;
        assert!(took <= PAUSE * PAUSES_MAX, "{took:?}");
        assert!(goes_on);
    }
}
