//! The Kafka-compatible broker: network, request handlers, partitions, groups, metrics.
//!
//! Reading path: `broker` starts and stops everything; `net::connection` turns bytes into calls of
//! `api::dispatch`; a handler in `api` calls one method of `replica`, `group` or `controller`;
//! `metadata` is what those three publish to each other.

mod adopt;
pub mod api;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod context;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod control;
pub mod controller;
pub mod dynamic_config;
pub mod group;
pub mod http;
pub mod in_flight;
mod jobs;
pub mod logging;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod membership;
pub mod metadata;
pub mod metrics;
pub mod net;
mod old_control;
pub mod open_files;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod order;
pub mod peer;
mod producer_ids;
pub mod replica;
pub mod tasks;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod to_controller;
#[allow(dead_code, reason = "the cluster control path is being built")]
mod version;
