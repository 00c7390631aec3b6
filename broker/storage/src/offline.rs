//! Whether a log directory may still be used, and what ended it.
//!
//! The first error wins and is final: after a failed write or fsync nobody knows what the disk holds,
//! so the directory is not used again before the process restarts and recovers it.
//!
//! Concurrency: shared freely; the question "is it offline?" is one atomic load.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

/// What the owner of a directory wants done once, when it goes offline.
pub type OfflineHook = Box<dyn Fn(&Path, &io::Error) + Send + Sync>;

/// The state of one log directory: online, until the first error.
#[derive(Clone)]
pub struct Offline(Arc<State>);

struct State {
    dir: PathBuf,
    is_offline: AtomicBool,
    error: Mutex<Option<Arc<io::Error>>>,
    hook: OnceLock<OfflineHook>,
}

impl fmt::Debug for Offline {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Offline").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl Offline {
    /// Makes the state of a directory that works.
    pub fn new(dir: &Path) -> Self {
        Self(Arc::new(State {
            dir: dir.to_owned(),
            is_offline: AtomicBool::new(false),
            error: Mutex::new(None),
            hook: OnceLock::new(),
        }))
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Returns whether the directory is lost for this process.
    pub fn is_offline(&self) -> bool {
        self.0.is_offline.load(Ordering::Acquire)
    }

    /// Returns the error that took the directory offline.
    pub fn error(&self) -> Option<Arc<io::Error>> {
        self.0.error.lock().clone()
    }

    /// Registers what is called, once, on the thread that met the error. A second hook is ignored.
    pub fn on_offline(&self, hook: OfflineHook) {
        _ = self.0.hook.set(hook);
    }

    /// Takes the directory offline, if it is not yet; returns the error that did so first.
    pub fn take_offline(&self, error: Arc<io::Error>) -> Arc<io::Error> {
        let mut first = self.0.error.lock();
        if let Some(first) = first.as_ref() {
            return first.clone();
        }
        *first = Some(error.clone());
        self.0.is_offline.store(true, Ordering::Release);
        drop(first);
        tracing::error!(dir = %self.0.dir.display(), %error, "log directory is offline");
        if let Some(hook) = self.0.hook.get() {
            hook(&self.0.dir, &error);
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[test]
    fn the_first_error_is_kept_and_told_once() {
        let offline = Offline::new(Path::new("/data"));
        let calls = Arc::new(AtomicU32::new(0));
        let counted = calls.clone();
        offline.on_offline(Box::new(move |_, _| _ = counted.fetch_add(1, Ordering::Relaxed)));
        assert!(!offline.is_offline());

        offline.take_offline(Arc::new(io::Error::other("first")));
        let kept = offline.take_offline(Arc::new(io::Error::other("second")));
        assert_eq!(kept.to_string(), "first");
        assert!(offline.is_offline());
        assert_eq!(calls.load(Ordering::Relaxed), 1);
    }
}
