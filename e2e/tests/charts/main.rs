//! The chart by itself: what Helm makes of every set of values, its alerts and its dashboards. No Kubernetes is needed.

#![expect(clippy::disallowed_methods, reason = "a test reads the files that it compares")]

mod alerts;
mod current;
mod panels;
mod values;
