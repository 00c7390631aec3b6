//! Objects that are to be looked at for what happened elsewhere. Each waits once, so that it is as many as there are.

use std::collections::BTreeSet;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::key::Key;

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Wake {
    waiting: Mutex<BTreeSet<Key>>,
    is_more: Notify,
}

impl Wake {
    /// Has objects looked at.
    pub(super) fn wake(&self, keys: impl IntoIterator<Item = Key>) {
        self.waiting.lock().extend(keys);
        self.is_more.notify_one();
    }

    /// Waits for the next one. For one caller; cancel-safe.
    pub(super) async fn next(&self) -> Key {
        loop {
            if let Some(key) = self.waiting.lock().pop_first() {
                return key;
            }
            self.is_more.notified().await;
        }
    }
}
