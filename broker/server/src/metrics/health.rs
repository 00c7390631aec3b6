//! How far the broker has come on its way up or down: what `/readyz` says, and Kafka's broker state.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use parking_lot::Mutex;

/// A stage of the broker's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Settings and sockets.
    Starting,
    /// ZooKeeper is to answer.
    Connecting,
    /// Logs are loaded, and recovered where the last stop was not clean.
    RecoveringLogs,
    /// The controller announces topics, and their partitions are led.
    Announcing,
    /// Clients are served.
    Running,
    /// No more clients.
    Stopping,
}

impl Phase {
    const ALL: [Self; 6] = [
        Self::Starting,
        Self::Connecting,
        Self::RecoveringLogs,
        Self::Announcing,
        Self::Running,
        Self::Stopping,
    ];

    /// Returns why the broker does not serve in this phase, in words; `None` if it does.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("starting"),
            Self::Connecting => Some("connecting to ZooKeeper, as zookeeper.connect says"),
            Self::RecoveringLogs => Some("loading logs, recovering those that were not closed"),
            Self::Announcing => Some("waiting for the controller to announce all topics"),
            Self::Running => None,
            Self::Stopping => Some("stopping"),
        }
    }

    /// Returns the number that Kafka's `BrokerState` has for it.
    pub fn broker_state(self) -> u8 {
        match self {
            Self::Starting | Self::Connecting => 1,
            Self::RecoveringLogs | Self::Announcing => 2,
            Self::Running => 3,
            Self::Stopping => 7,
        }
    }
}

/// The phase, as the start and the stop set it and everybody reads it. Shared.
#[derive(Debug, Default)]
pub struct Health {
    phase: AtomicU8,
    /// Of each log directory, how many logs are loaded, of how many. One short lock, while logs are loaded.
    loaded: Mutex<BTreeMap<PathBuf, (u64, u64)>>,
}

impl Health {
    /// Enters `phase`.
    pub fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    /// Says how many logs of a directory are loaded, of how many.
    pub fn has_loaded(&self, dir: &Path, done: u64, total: u64) {
        self.loaded.lock().insert(dir.to_owned(), (done, total));
    }

    /// Returns how many logs are loaded, of how many of the directories that were begun.
    pub fn loaded(&self) -> (u64, u64) {
        let loaded = self.loaded.lock();
        loaded.values().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1))
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        let index = usize::from(self.phase.load(Ordering::Acquire));
        Phase::ALL.get(index).copied().unwrap_or(Phase::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories are loaded side by side.
    #[test]
    fn loaded_logs_are_those_of_all_directories() {
        let health = Health::default();
        assert_eq!(health.loaded(), (0, 0));
        health.has_loaded(Path::new("/a"), 1, 10);
        health.has_loaded(Path::new("/b"), 2, 2);
        health.has_loaded(Path::new("/a"), 5, 10);
        assert_eq!(health.loaded(), (7, 12));
    }

    /// What was entered is read back; only one phase serves.
    #[test]
    fn only_a_running_broker_is_ready() {
        let health = Health::default();
        assert_eq!(health.phase(), Phase::Starting);
        for phase in Phase::ALL {
            health.enter(phase);
            assert_eq!(health.phase(), phase);
            assert_eq!(phase.reason().is_none(), phase == Phase::Running);
        }
    }
}
