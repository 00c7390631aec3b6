//! How far the broker has come on its way up or down: what `/readyz` says, and Kafka's broker state.

use std::sync::atomic::{AtomicU8, Ordering};

/// A stage of the broker's life, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Settings, sockets and the coordination tree.
    Starting,
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
    const ALL: [Self; 5] =
        [Self::Starting, Self::RecoveringLogs, Self::Announcing, Self::Running, Self::Stopping];

    /// Returns why the broker does not serve in this phase, in words; `None` if it does.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Starting => Some("starting"),
            Self::RecoveringLogs => Some("loading logs, recovering those that were not closed"),
            Self::Announcing => Some("waiting for the controller to announce all topics"),
            Self::Running => None,
            Self::Stopping => Some("stopping"),
        }
    }

    /// Returns the number that Kafka's `BrokerState` has for it.
    pub fn broker_state(self) -> u8 {
        match self {
            Self::Starting => 1,
            Self::RecoveringLogs | Self::Announcing => 2,
            Self::Running => 3,
            Self::Stopping => 7,
        }
    }
}

/// The phase, as the start and the stop set it and everybody reads it. Shared.
#[derive(Debug, Default)]
pub struct Health(AtomicU8);

impl Health {
    /// Enters `phase`.
    pub fn enter(&self, phase: Phase) {
        self.0.store(phase as u8, Ordering::Release);
    }

    /// Returns the phase.
    pub fn phase(&self) -> Phase {
        let index = usize::from(self.0.load(Ordering::Acquire));
        Phase::ALL.get(index).copied().unwrap_or(Phase::Starting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
