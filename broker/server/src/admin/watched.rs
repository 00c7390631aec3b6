//! Which topics have changed, for whoever watches: watches of the tree, gathered for a second each time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use broker_admin::v1::TopicsChanged;
use broker_zookeeper::path;
use broker_zookeeper::store::{EventKind, Store, StoreError, Watch, WatchEvent, WatchMode};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tracing::debug;

/// Between two messages, and before a tree that refuses is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// Topics that are named in a message; more are all.
const NAMES_MAX: usize = 1_000;

/// Where a child is a topic.
const PARENTS: [&str; 3] = [path::TOPICS, path::CONFIG_TOPICS, path::DELETE_TOPICS];

/// Tells which topics have changed, until the broker stops or nobody listens.
pub(super) async fn tell(
    store: Arc<dyn Store>,
    told: mpsc::Sender<Result<TopicsChanged, Status>>,
    end: CancellationToken,
) {
    let telling = async {
        // From session to session.
        while told_of_a_session(&*store, &told).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
    };
    tokio::select! {
        biased;
        () = end.cancelled() => {}
        () = told.closed() => {}
        () = telling => {}
    }
}

/// What has changed and has not been told.
#[derive(Debug, Default)]
struct Changes {
    names: BTreeSet<String>,
    all: bool,
}

impl Changes {
    fn note(&mut self, parent: &str, event: &WatchEvent) -> Result<(), StoreError> {
        match event.kind {
            EventKind::SessionExpired => return Err(StoreError::SessionExpired),
            EventKind::Missed => self.all = true,
            EventKind::Created
            | EventKind::DataChanged
            | EventKind::Deleted
            | EventKind::ChildrenChanged => {
                let below = event.path.strip_prefix(parent);
                let name = below.and_then(|rest| rest.strip_prefix('/'));
                // Deeper nodes say who leads and who is in sync.
                if let Some(name) = name.filter(|name| !name.contains('/')) {
                    self.names.insert(name.to_owned());
                }
            }
        }
        if self.names.len() > NAMES_MAX {
            self.all = true;
        }
        if self.all {
            self.names.clear();
        }
        Ok(())
    }

    fn is_empty(&self) -> bool {
        !self.all && self.names.is_empty()
    }
}

/// Watches in one session; ends well when nobody listens.
async fn told_of_a_session(
    store: &dyn Store,
    told: &mpsc::Sender<Result<TopicsChanged, Status>>,
) -> Result<(), StoreError> {
    let [topics, configs, marks] = PARENTS;
    let mode = WatchMode::PersistentRecursive;
    let mut topics = (topics, store.watch(topics, mode).await?);
    let mut configs = (configs, store.watch(configs, mode).await?);
    let mut marks = (marks, store.watch(marks, mode).await?);
    let mut changes = Changes { all: true, ..Changes::default() };
    loop {
        while changes.is_empty() {
            next(&mut changes, [&mut topics, &mut configs, &mut marks]).await?;
        }
        let Changes { names, all } = std::mem::take(&mut changes);
        let message = TopicsChanged { names: names.into_iter().collect(), all };
        if told.send(Ok(message)).await.is_err() {
            return Ok(());
        }
        let gathering = async {
            loop {
                next(&mut changes, [&mut topics, &mut configs, &mut marks]).await?;
            }
        };
        match tokio::time::timeout(PAUSE, gathering).await {
            Ok(Err::<std::convert::Infallible, StoreError>(error)) => {
                debug!(%error, "watches of topics are set anew");
                return Err(error);
            }
            Err(_) => {}
        }
    }
}

async fn next(
    changes: &mut Changes,
    [topics, configs, marks]: [&mut (&str, Watch); 3],
) -> Result<(), StoreError> {
    let (parent, event) = tokio::select! {
        event = topics.1.next() => (topics.0, event),
        event = configs.1.next() => (configs.0, event),
        event = marks.1.next() => (marks.0, event),
    };
    changes.note(parent, &event)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "a test has no shutdown to name its tasks")]

    use broker_zookeeper::embedded::EmbeddedTree;
    use broker_zookeeper::sessions::{Origin, Sessions};
    use broker_zookeeper::store::CreateMode;

    use super::*;
    use crate::controller::membership;

    /// All at first, then names, and all again when a session has ended; nothing for who leads.
    #[tokio::test]
    async fn who_watches_hears_what_has_changed() {
        let tree = EmbeddedTree::in_memory();
        let sessions = Sessions::begin(Origin::Embedded(tree.clone())).await.unwrap();
        let (store, other) = (sessions.live(), tree.session().await);
        membership::ensure_paths(&other).await.unwrap();
        let (end, (told, mut heard)) = (CancellationToken::new(), mpsc::channel(1));
        let telling = tokio::task::spawn(tell(store, told, end.clone()));
        let mut next = async || heard.recv().await.map(|told| told.unwrap());
        assert!(next().await.unwrap().all);

        let mode = CreateMode::Persistent;
        other.create(&path::topic("a"), b"", mode).await.unwrap();
        let only = |names: &[&str]| {
            let names = names.iter().map(ToString::to_string).collect();
            Some(TopicsChanged { names, all: false })
        };
        assert_eq!(next().await, only(&["a"]));
        other.create(&path::partitions("a"), b"", mode).await.unwrap();
        other.create(&path::topic_config("b"), b"", mode).await.unwrap();
        other.create(&path::delete_topic("c"), b"", mode).await.unwrap();
        let mut names = BTreeSet::new();
        while names.len() < 2 {
            names.extend(next().await.unwrap().names);
        }
        assert_eq!(names.into_iter().collect::<Vec<_>>(), ["b", "c"]);

        tree.expire(sessions.current().session_id()).await;
        sessions.renew().await;
        assert!(next().await.unwrap().all);
        end.cancel();
        telling.await.unwrap();
        assert_eq!(next().await, None);
    }
}
