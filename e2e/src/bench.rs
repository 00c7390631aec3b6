//! The benchmark: ours beside Apache Kafka, on the same machine, with the same prebuilt load.
//!
//! Reading path: [`request`] (frames built beforehand), [`client`] (sends them, counts answers),
//! [`rows`] (the loads), [`figure`] (what a run gave), [`lifecycle`] (loads of a young broker), [`many`]
//! (thousands of partitions), [`kcat`] (librdkafka as a load), [`compare`] (pairs, ratios, the table),
//! [`frozen`] (the side that is not measured), [`memory`] (full, as a server's), [`subject`] (a broker or a cluster of three that is measured),
//! [`member`] (one of its brokers), [`kind`] (whose they are), [`machine`] (what the kernel says meanwhile).

pub mod client;
pub mod compare;
pub mod figure;
pub mod frozen;
pub mod kcat;
pub mod kind;
pub mod lifecycle;
pub mod machine;
pub mod many;
pub mod member;
pub mod memory;
pub mod request;
pub mod rows;
pub mod subject;
