//! What a member tries again after a while, because the tree refused it.
//!
//! Nobody waits for it: meanwhile the member hears of all else that happens.

use std::collections::VecDeque;
use std::pin::Pin;

use tokio::time::Sleep;

use super::PAUSE;
use super::state::Event;

/// What is to happen, in order.
#[derive(Debug, Default)]
pub(super) struct Later {
    due: VecDeque<(Event, Pin<Box<Sleep>>)>,
}

impl Later {
    /// Has `event` happen after a while; one that is to happen already does so when it was to.
    pub(super) fn put(&mut self, event: Event) {
        if self.due.iter().all(|(due, _)| *due != event) {
            self.due.push_back((event, Box::pin(tokio::time::sleep(PAUSE))));
        }
    }

    /// Waits for the next; for ever where there is none. Cancel-safe.
    pub(super) async fn next(&mut self) -> Event {
        let Some((event, sleep)) = self.due.front_mut() else {
            return std::future::pending().await;
        };
        sleep.as_mut().await;
        let event = *event;
        self.due.pop_front();
        event
    }
}
