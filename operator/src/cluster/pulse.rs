//! What brokers tell of their health, from one look at a cluster to the next: a change has the cluster looked at at once.
//!
//! A look asks each broker anew and decides by that answer; the stream of which it was the first message is left here,
//! one for each process. One that ends is not told: the pod says more, and the next look begins another.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::Health;
use futures_util::stream::{self, BoxStream, SelectAll};
use futures_util::{StreamExt as _, future};
use kube::runtime::reflector::ObjectRef;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tonic::Streaming;

use crate::crd::cluster::Cluster;
use crate::names::Names;

/// Streams that were handed over and are not followed yet: more are left to the next look.
const AHEAD: usize = 64;

/// A broker of a cluster.
type Who = (Names, i32);

/// What becomes of a stream.
enum Beat {
    Changed(Who),
    /// Of the process of that id.
    Ended(Who, String),
}

/// The streams of all brokers; [`Pulse::follow`] alone polls them.
pub(super) struct Pulse {
    /// The process that each broker is followed in, by its id.
    followed: Mutex<BTreeMap<Who, String>>,
    hand_over: mpsc::Sender<BoxStream<'static, Beat>>,
    handed_over: Mutex<Option<mpsc::Receiver<BoxStream<'static, Beat>>>>,
}

impl Default for Pulse {
    fn default() -> Self {
        let (hand_over, handed_over) = mpsc::channel(AHEAD);
        let handed_over = Mutex::new(Some(handed_over));
        Self { followed: Mutex::default(), hand_over, handed_over }
    }
}

impl Pulse {
    /// Has a stream followed, unless one of the same process is. `first` was its first message.
    pub(super) fn keep(&self, who: Who, process: &str, first: &Health, told: Streaming<Health>) {
        let mut followed = self.followed.lock();
        if followed.get(&who).is_some_and(|known| known == process) {
            return;
        }
        let beats = beats(who.clone(), process.to_owned(), print(first), told);
        if self.hand_over.try_send(beats).is_ok() {
            followed.insert(who, process.to_owned());
        }
    }

    /// Follows all streams for as long as it is polled, and names each cluster of which a broker has changed.
    pub(super) fn follow(self: &Arc<Self>) -> BoxStream<'static, ObjectRef<Cluster>> {
        let Some(handed_over) = self.handed_over.lock().take() else {
            return stream::pending().boxed();
        };
        let state = (Arc::clone(self), handed_over, SelectAll::new());
        let beats = stream::unfold(state, async |(pulse, mut handed_over, mut all)| {
            loop {
                tokio::select! {
                    Some(beats) = handed_over.recv() => all.push(beats),
                    Some(beat) = all.next(), if !all.is_empty() => match beat {
                        Beat::Changed((names, _)) => {
                            let cluster = ObjectRef::new(&names.cluster).within(&names.namespace);
                            return Some((cluster, (pulse, handed_over, all)));
                        }
                        Beat::Ended(who, process) => pulse.ended(&who, &process),
                    },
                    else => return None,
                }
            }
        });
        beats.boxed()
    }

    fn ended(&self, who: &Who, process: &str) {
        let mut followed = self.followed.lock();
        if followed.get(who).is_some_and(|known| known == process) {
            followed.remove(who);
        }
    }
}

fn beats(
    who: Who,
    process: String,
    first: (i32, u64),
    told: Streaming<Health>,
) -> BoxStream<'static, Beat> {
    let end = Beat::Ended(who.clone(), process);
    let changed = told.scan(first, move |before, health| {
        let news = health.ok().map(|health| {
            let now = print(&health);
            let is_news = std::mem::replace(before, now) != now;
            is_news.then(|| Beat::Changed(who.clone()))
        });
        future::ready(news)
    });
    changed.filter_map(future::ready).chain(stream::iter([end])).boxed()
}

/// What a decision rests on.
fn print(health: &Health) -> (i32, u64) {
    (health.phase, health.under_replicated)
}
