//! The test harness: everything that looks at Ottla from outside, as a user's process does.
//!
//! It starts real processes (our broker, Apache Kafka, clients in their own languages), reads what
//! they print, and ends them. It decides nothing about the broker and links none of its server code.
//!
//! Reading path: [`process`] (a child that never outlives its test), [`peer`] (the broker under
//! test), [`clients`] (one client's whole run against a peer), [`cluster`] (many brokers under
//! faults), [`tools`] (what is installed, from where), [`stage`] (what `cargo ci` does), [`tidy`]
//! (what the sources must look like).
//!
//! Errors: `anyhow`, since a person reads them; every wait has a deadline and says what it waited
//! for and what the process printed last.

#![expect(
    clippy::disallowed_methods,
    reason = "the harness is outside the product: it is the one place that reads the real clock, \
              the real disk and the environment on behalf of tests"
)]

pub mod admin_tools;
pub mod bench;
pub mod broker;
pub mod capture;
pub mod chart;
pub mod clients;
pub mod cluster;
pub mod deadline;
pub mod deeds;
pub mod image;
pub mod java;
pub mod kafka;
pub mod kubernetes;
pub mod load;
pub mod logs;
pub mod matrix;
pub mod operator;
pub mod peer;
pub mod process;
pub mod prometheus;
pub mod scrape;
pub mod stage;
pub mod tidy;
pub mod tools;
pub mod verdict;
pub mod wire;
pub mod workspace;
