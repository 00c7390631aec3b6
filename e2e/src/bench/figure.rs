//! What one run of a load cost a broker.

use std::time::Duration;

/// The percentiles that a load of timed records is told by, in thousandths.
pub const PERMILLES: [usize; 3] = [500, 990, 999];

/// What a run of a load gave.
#[derive(Debug, Clone, Copy, Default)]
pub struct Figure {
    /// The row's own figure, but for rows of latency.
    pub cost: f64,
    /// Of a load of timed records: how long the record at each of [`PERMILLES`] took, in ms.
    pub latencies: [f64; PERMILLES.len()],
    /// CPU seconds of the broker in user mode.
    pub user: f64,
    /// CPU seconds of the broker in the kernel.
    pub system: f64,
    /// Resident memory of the broker afterwards, in MiB.
    pub resident: f64,
}

/// Returns how long the record at each of [`PERMILLES`] took, in ms; `times` is not empty.
pub fn percentiles(mut times: Vec<Duration>) -> [f64; PERMILLES.len()] {
    times.sort_unstable();
    PERMILLES.map(|permille| times[(times.len() - 1) * permille / 1000].as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (0..=1000).rev().map(Duration::from_millis).collect();
        assert_eq!(percentiles(times).map(|ms| format!("{ms:.0}")), ["500", "990", "999"]);
    }
}
