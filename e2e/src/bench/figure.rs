//! What one run of a load cost a broker.

use std::time::Duration;

/// What a run of a load gave.
#[derive(Debug, Clone, Default)]
pub struct Figure {
    /// The row's own figure, but for rows of latency.
    pub cost: f64,
    /// Of a load of timed records: how long each took, the quickest first.
    pub times: Vec<Duration>,
    /// CPU seconds of the broker in user mode.
    pub user: f64,
    /// CPU seconds of the broker in the kernel.
    pub system: f64,
    /// Resident memory of the broker afterwards, or where a load says so of the largest at any time, in MiB.
    pub resident: f64,
}

impl Figure {
    /// Adds how long each timed record took.
    #[must_use]
    pub fn with_times(self, mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Self { times, ..self }
    }

    /// Returns how long the timed record at so many thousandths took, in ms; there is one at least.
    pub fn latency(&self, permille: usize) -> f64 {
        self.times[(self.times.len() - 1) * permille / 1000].as_secs_f64() * 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (0..=1000).rev().map(Duration::from_millis).collect();
        let figure = Figure::default().with_times(times);
        let told = [500, 990, 999].map(|permille| format!("{:.0}", figure.latency(permille)));
        assert_eq!(told, ["500", "990", "999"]);
    }
}
