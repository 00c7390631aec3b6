//! Open connections, by listener and network thread.
//!
//! One short lock at connect and disconnect; requests never come here. The labels are closed:
//! listeners are configured, threads are numbered.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::snapshot::ConnectionFacts;

#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    open: u64,
    total: u64,
}

type ByListener = BTreeMap<(Arc<str>, usize), Counts>;

/// The connections of the process. Shared.
#[derive(Debug, Default)]
pub struct Connections(Arc<Mutex<ByListener>>);

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub struct Open {
    counts: Arc<Mutex<ByListener>>,
    key: (Arc<str>, usize),
}

impl Connections {
    /// Counts a connection that came through `listener` and is served by `network_thread`.
    pub fn open(&self, listener: &Arc<str>, network_thread: usize) -> Open {
        let key = (Arc::clone(listener), network_thread);
        let mut counts = self.0.lock();
        let entry = counts.entry(key.clone()).or_default();
        entry.open += 1;
        entry.total += 1;
        drop(counts);
        Open { counts: Arc::clone(&self.0), key }
    }

    /// Has `listener` reported with zero connections until the first one comes.
    pub fn announce(&self, listener: &str, network_threads: usize) {
        let mut counts = self.0.lock();
        for thread in 0..network_threads {
            counts.entry((listener.into(), thread)).or_default();
        }
    }

    /// Returns what is counted.
    pub fn read(&self) -> Vec<ConnectionFacts> {
        let counts = self.0.lock();
        let facts = counts.iter().map(|((listener, thread), counts)| ConnectionFacts {
            listener: Arc::clone(listener),
            network_thread: *thread,
            open: counts.open,
            total: counts.total,
        });
        facts.collect()
    }
}

impl Open {
    /// Counts it as open where it lives from now on.
    pub fn moved(&mut self, network_thread: usize) {
        let mut counts = self.counts.lock();
        if let Some(left) = counts.get_mut(&self.key) {
            left.open -= 1;
        }
        self.key.1 = network_thread;
        counts.entry(self.key.clone()).or_default().open += 1;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(counts) = self.counts.lock().get_mut(&self.key) {
            counts.open -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection counts where it is served, and no longer than it lives.
    #[test]
    fn a_connection_counts_while_it_lives() {
        let connections = Connections::default();
        connections.announce("PLAINTEXT", 2);
        let listener: Arc<str> = "PLAINTEXT".into();
        let mut open = connections.open(&listener, 1);
        let read = |connections: &Connections| -> Vec<(u64, u64)> {
            connections.read().iter().map(|facts| (facts.open, facts.total)).collect()
        };
        assert_eq!(read(&connections), [(0, 0), (1, 1)]);
        open.moved(0);
        assert_eq!(read(&connections), [(1, 0), (0, 1)]);
        open.moved(1);
        drop(open);
        assert_eq!(read(&connections), [(0, 0), (0, 1)]);
    }
}
