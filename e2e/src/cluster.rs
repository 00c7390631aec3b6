//! The test bed: clusters of brokers and ZooKeeper servers as processes, each on a host of its own,
//! under faults and load, with a checker that judges what clients and disks saw.
//!
//! Reading path: [`enter`] (namespaces of our own), [`network`] (hosts, and cuts between them),
//! [`server`] (a process on a host), [`zookeeper`] and [`node`] (what runs there), [`bed`] (all of
//! it together), [`fault`] (what is done to it), [`loss`] (what a lost disk excuses), [`workload`] (what
//! is asked of it), [`history`] (what came of that, a line an event), [`checker`] (the rules), [`last`]
//! (disks) and [`judge`] (logs), [`run`] (a run from start to verdict) and [`table`] (how it is told).
//! Beside it: [`script`] (deeds in place of faults at random, for a mixed cluster), [`planted`] (whether
//! the bed finds what is wrong on purpose), [`figures`] (how long a cluster is away) and [`beside`] (the
//! same beside Kafka's).
//!
//! Nothing here knows what a broker should do beyond the protocol: Apache Kafka and Ottla are judged
//! by the same rules.

pub mod audit;
pub mod bed;
pub mod beside;
pub mod checker;
pub mod claim;
pub mod contact;
pub mod enter;
pub mod fault;
pub mod figures;
pub mod history;
pub mod judge;
pub mod last;
pub mod loss;
pub mod network;
pub mod node;
pub mod planted;
pub mod run;
pub mod script;
pub mod server;
pub mod table;
pub mod tree;
pub mod view;
pub mod workload;
pub mod zookeeper;
