//! What one run of a load cost a broker.

/// What a run of a row gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    /// The row's own figure.
    pub cost: f64,
    /// CPU seconds of the broker in user mode.
    pub user: f64,
    /// CPU seconds of the broker in the kernel.
    pub system: f64,
    /// Resident memory of the broker afterwards, in MiB.
    pub resident: f64,
}
