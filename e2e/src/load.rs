//! A load that judges what it sees: an idempotent `acks=all` producer and a reader of every partition, for a pod.
//!
//! It keeps the history of `cluster` ([`History`]) and applies its rules while it runs, so that a test asks it for
//! figures and, at the end, for a verdict, over HTTP ([`serve`]). Clients are librdkafka's, as users have them; what
//! they retry by themselves is no failure, and a record that they give up is one.
//!
//! It never fails, it records. What is below `min.insync.replicas` is seen by [`watch`], since a producer that
//! retries hides it.

mod figures;
mod produce;
mod read;
mod serve;
mod watch;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use rdkafka::ClientConfig;

use crate::cluster::history::{History, Place};
use figures::Figures;

/// What a load is.
#[derive(Debug, Clone)]
pub struct Order {
    /// Where clients begin, `host:port`.
    pub bootstrap: String,
    /// The topics, with their partitions; a place in a history is named by its number in this list.
    pub topics: Vec<(String, u16)>,
    /// Records a second, over all partitions of a topic.
    pub rate: u32,
    /// How many replicas are to be in sync.
    pub min_isr: usize,
    /// Where it answers.
    pub listen: SocketAddr,
    /// Where the history is written.
    pub history: PathBuf,
}

/// What the threads of a load share.
#[derive(Debug)]
struct Load {
    order: Order,
    history: History,
    figures: Figures,
    stop: AtomicBool,
}

impl Load {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Every partition.
    fn places(&self) -> Vec<Place> {
        let topics = self.order.topics.iter().zip(0_u16..);
        let of = |(topic, number): (&(String, u16), u16)| {
            (0..topic.1).map(move |partition| Place { topic: number, partition })
        };
        topics.flat_map(of).collect()
    }

    /// The name of a place's topic.
    fn topic(&self, place: Place) -> &str {
        self.order.topics.get(usize::from(place.topic)).map_or("", |topic| &topic.0)
    }

    /// What every client is made with: a cluster that moves is looked at often.
    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.order.bootstrap)
            .set("broker.address.ttl", "1000")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "5000")
            .set("topic.metadata.refresh.fast.interval.ms", "100");
        config
    }
}

/// Waits for a topic like `events:6`.
pub fn topic(words: &str) -> Result<(String, u16)> {
    let (name, partitions) = words.split_once(':').context("a topic is NAME:PARTITIONS")?;
    let partitions = partitions.parse().context("the number of partitions")?;
    ensure!(partitions > 0, "a topic has at least one partition");
    Ok((name.to_owned(), partitions))
}

/// Runs until it is asked for its verdict, which it serves until the process is ended.
pub fn run(order: Order) -> Result<()> {
    let history = History::create(&order.history)?;
    let listen = order.listen;
    let load = Load { figures: Figures::new(&order.topics), order, history, stop: false.into() };
    let load = Arc::new(load);
    for topic in 0..load.order.topics.len() as u16 {
        let load = Arc::clone(&load);
        thread::spawn(move || produce::produce_on(&load, topic));
    }
    for work in [watch::watch, read::follow] {
        let load = Arc::clone(&load);
        thread::spawn(move || work(&load));
    }
    serve::serve(&load, listen).map_err(|error| anyhow!("serve {listen}: {error}"))
}

/// Between two attempts at what failed.
const PAUSE: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_is_named_with_its_partitions() {
        assert_eq!(topic("events:6").ok(), Some(("events".to_owned(), 6)));
        for words in ["events", "events:", "events:0", "events:x"] {
            assert!(topic(words).is_err(), "{words}");
        }
    }
}
