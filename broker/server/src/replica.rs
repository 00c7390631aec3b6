//! The data plane: partitions, who may append to them and read from them, and who waits.
//!
//! Reading path: `partition_state` (the rules, pure), `partition` (rules and log under one lock),
//! `validate` (what producers send), `fetch` and `fetch_session` (what consumers ask), `delayed`
//! (how requests wait), `nearby` (which replica a consumer is sent to), `manager` (all of it, by topic, and the jobs in the background), `cleaner`
//! (compaction), `isr` (who is in sync, asked of the controller; `attention` says where to look),
//! `standing` (which replicas can prove after a start that they are complete), `contact` (may this broker
//! have been deposed unheard), `throttle` (how much of what is throttled may pass).

pub mod attention;
pub mod cleaner;
pub mod contact;
pub mod counters;
pub mod delayed;
pub mod dir_events;
pub mod fetch;
pub mod fetch_session;
pub mod fetcher;
pub mod isr;
pub mod manager;
pub mod nearby;
pub mod partition;
pub mod partition_state;
pub mod producer_id;
pub mod progress;
pub mod standing;
pub mod throttle;
pub mod validate;

#[cfg(test)]
pub(crate) mod tests;
