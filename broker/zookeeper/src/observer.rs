//! Who is told of sessions and of how long their requests take, to count it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

/// Is told what happens to sessions. Called on the tasks of the session: it must not block.
pub trait Observer: Debug + Send + Sync {
    /// A session has a connection, for the first time or again.
    fn connected(&self) {}

    /// A session has lost its connection.
    fn disconnected(&self) {}

    /// A session is over, as its tree said.
    fn expired(&self) {}

    /// A server refused the credentials.
    fn refused(&self) {}

    /// A request is sent; returns the time, if requests are to be timed.
    fn sent(&self) -> Option<Instant> {
        None
    }

    /// A request that was sent at `sent` is answered, or its answer is known to be lost.
    fn answered(&self, _sent: Instant) {}
}

/// Counts nothing.
#[derive(Debug)]
struct Nobody;

impl Observer for Nobody {}

/// Returns an observer that counts nothing.
pub(crate) fn nobody() -> Arc<dyn Observer> {
    Arc::new(Nobody)
}
