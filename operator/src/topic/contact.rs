//! Whether a cluster answers: a broker that restarts, or a stream that breaks, is no cluster that is away. Pure.

use std::time::{Duration, Instant};

/// How long nobody may answer who did before.
const GRACE: Duration = Duration::from_secs(20);

/// What is known of a cluster's brokers.
#[derive(Debug, Default)]
pub(super) struct Contact {
    heard: Option<Instant>,
    is_away: bool,
}

impl Contact {
    /// Takes in that somebody answered.
    pub(super) fn heard(&mut self, now: Instant) {
        *self = Self { heard: Some(now), is_away: false };
    }

    /// Takes in that nobody did; returns whether the cluster is away, which is news.
    pub(super) fn failed(&mut self, now: Instant) -> bool {
        let is_over = self.heard.is_none_or(|heard| now.saturating_duration_since(heard) > GRACE);
        let is_news = is_over && !self.is_away;
        self.is_away |= is_over;
        is_news
    }

    /// Whether it is away.
    pub(super) fn is_away(&self) -> bool {
        self.is_away
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "an origin of time")]

    use super::*;

    #[test]
    fn who_answered_a_moment_ago_is_not_away() {
        let (mut contact, start) = (Contact::default(), Instant::now());
        assert!(contact.failed(start), "nobody has ever answered");
        assert!(!contact.failed(start), "that is known");
        contact.heard(start);
        assert!(!contact.failed(start + GRACE) && !contact.is_away());
        assert!(contact.failed(start + GRACE * 2) && contact.is_away());
        contact.heard(start + GRACE * 3);
        assert!(!contact.is_away());
    }
}
