//! The Kafka-compatible broker: network, request handlers, partitions, groups, metrics.
//!
//! Reading path: `broker` starts and stops everything; `net::connection` turns bytes into calls of
//! `api::dispatch`; a handler in `api` calls one method of `replica`, `group` or `controller`;
//! `metadata` is what those three publish to each other.

pub mod admin;
mod adopt;
pub mod api;
pub mod broker;
pub mod cli;
pub mod clock;
pub mod context;
mod control;
pub mod controller;
pub mod dynamic_config;
pub mod group;
pub mod http;
pub mod in_flight;
mod jobs;
pub mod logging;
mod low_water;
mod membership;
pub mod metadata;
pub mod metrics;
pub mod move_coordination;
pub mod net;
pub mod open_files;
mod order;
pub mod peer;
pub mod planted;
mod producer_ids;
pub mod replica;
pub mod request_time;
mod seldom;
pub mod tasks;
mod to_controller;
mod version;
