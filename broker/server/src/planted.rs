//! Faults that are planted on purpose, to show that the test bed finds them.
//!
//! Only in builds with the feature `planted`, which no release build can have; in all others [`is`] is
//! a constant and the faults are not compiled. One fault a process, chosen by [`VARIABLE`].

/// The environment variable that names the fault.
#[cfg(feature = "planted")]
pub const VARIABLE: &str = "OTTLA_PLANTED";

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("the feature `planted` loses records on purpose: it is for debug builds only");

/// A fault that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `acks=all` is answered once the leader has the records.
    AckBeforeReplication,
    /// The high watermark does not wait for those whom the leader asks to take out of the ISR.
    ProposedIsrOnly,
    /// A leader serves, and counts, fetches of replicas in any epoch, and tells nobody to truncate.
    IgnoreEpochInFetch,
    /// A follower cuts its log at its high watermark (as before KIP-101).
    TruncateToHighWatermark,
    /// Orders and ISR changes of an earlier registration are obeyed.
    StaleBrokerEpoch,
    /// The controller writes without the check of its epoch.
    UnfencedControllerWrite,
    /// A coordinator that is loading says that there are no offsets.
    NoOffsetsWhileLoading,
    /// Four batches of a producer are remembered, not five.
    DedupeWindowOfFour,
}

/// Returns whether `bug` is planted in this process.
#[cfg(not(feature = "planted"))]
pub(crate) const fn is(_bug: Bug) -> bool {
    false
}

/// Plants nothing: this build cannot.
///
/// # Errors
/// None.
#[cfg(not(feature = "planted"))]
pub const fn plant() -> Result<(), std::convert::Infallible> {
    // Named here, so that a build without the faults knows the word.
    let _ = is(Bug::DedupeWindowOfFour);
    Ok(())
}

#[cfg(feature = "planted")]
pub use chosen::plant;

#[cfg(feature = "planted")]
pub(crate) use chosen::is;

#[cfg(feature = "planted")]
mod chosen {
    use std::sync::OnceLock;

    use tracing::warn;

    use super::{Bug, VARIABLE};

    const NAMES: [(&str, Bug); 8] = [
        ("ack-before-replication", Bug::AckBeforeReplication),
        ("proposed-isr-only", Bug::ProposedIsrOnly),
        ("ignore-epoch-in-fetch", Bug::IgnoreEpochInFetch),
        ("truncate-to-high-watermark", Bug::TruncateToHighWatermark),
        ("stale-broker-epoch", Bug::StaleBrokerEpoch),
        ("unfenced-controller-write", Bug::UnfencedControllerWrite),
        ("no-offsets-while-loading", Bug::NoOffsetsWhileLoading),
        ("dedupe-window-of-four", Bug::DedupeWindowOfFour),
    ];

    static CHOSEN: OnceLock<Bug> = OnceLock::new();

    /// The environment names a fault that there is not.
    #[derive(Debug, thiserror::Error)]
    #[error("{VARIABLE}={name}: no such fault; there are: {}", names())]
    pub struct UnknownBug {
        name: String,
    }

    fn names() -> String {
        NAMES.map(|(name, _)| name).join(", ")
    }

    /// Returns whether `bug` is planted in this process.
    pub(crate) fn is(bug: Bug) -> bool {
        CHOSEN.get() == Some(&bug)
    }

    /// Plants the fault that the environment names, if it names one; said in words.
    ///
    /// # Errors
    /// There is no such fault.
    pub fn plant() -> Result<(), UnknownBug> {
        let Ok(name) = std::env::var(VARIABLE) else { return Ok(()) };
        let found = NAMES.iter().find(|(known, _)| *known == name);
        let Some((_, bug)) = found else { return Err(UnknownBug { name }) };
        if *bug == Bug::DedupeWindowOfFour {
            broker_storage::producer_state::remember_four_batches();
        }
        let bug = CHOSEN.get_or_init(|| *bug);
        warn!(?bug, "a fault is planted in this broker: it will lose or repeat records");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    /// An ordinary build has no faults; a release build cannot have them (`compile_error` above).
    #[test]
    fn no_fault_is_planted_unless_the_build_asks_for_it() {
        let manifest = include_str!("../Cargo.toml");
        assert!(!cfg!(feature = "planted") && !manifest.contains("default = ["));
    }
}
