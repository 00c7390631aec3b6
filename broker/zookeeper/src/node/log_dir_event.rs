//! `/log_dir_event_notification/log_dir_event_<n>`: a broker lost a log directory. The controller
//! sends it LeaderAndIsr again, to learn from the answer which replicas are gone.

use serde::{Deserialize, Serialize};

use super::NodeError;

/// The one kind of event: a directory failed.
const FAILURE: i32 = 1;

/// Whose directory failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogDirEvent {
    version: i32,
    /// The broker.
    pub broker: i32,
    event: i32,
}

impl LogDirEvent {
    /// A directory of `broker` failed.
    pub fn failure(broker: i32) -> Self {
        Self { version: 1, broker, event: FAILURE }
    }

    /// Reads a notification.
    ///
    /// # Errors
    /// When it is no JSON of one.
    pub fn decode(path: &str, data: &[u8]) -> Result<Self, NodeError> {
        super::decode(path, "log directory event", data)
    }

    /// Writes a notification.
    pub fn encode(&self) -> Vec<u8> {
        super::encode(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form is Kafka's.
    #[test]
    fn a_notification_round_trips() {
        let kafka = r#"{"version":1,"broker":7,"event":1}"#;
        let event = LogDirEvent::decode("/l", kafka.as_bytes()).unwrap();
        assert_eq!(event, LogDirEvent::failure(7));
        assert_eq!(event.encode(), kafka.as_bytes());
    }
}
