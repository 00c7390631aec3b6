//! A broker that may open few files: connections leave enough of them to its logs.

use anyhow::{Result, ensure};
use broker_protocol::message::metadata::MetadataRequest;
use broker_protocol::quantity::{Offset, TimestampMs};
use broker_protocol::record::batch::Compression;
use broker_protocol::record::builder::BatchBuilder;
use e2e::broker::Broker;
use e2e::deadline::Deadline;
use e2e::logs;
use e2e::wire::{Connection, PRODUCE_VERSION};

/// The files that the broker may open; `max.connections` is 10,000.
const OPEN_FILES_MAX: u64 = 256;

/// Partitions that are made when no more connections are taken: their files fit into what is kept.
const PARTITIONS: i32 = 8;

fn served(address: &str) -> Result<Connection> {
    let mut connection = Connection::open(address)?;
    connection.call(&MetadataRequest::default(), 9)?;
    Ok(connection)
}

#[test]
fn connections_leave_files_to_logs() -> Result<()> {
    logs::forget("open-files")?;
    let directory = tempfile::tempdir()?;
    let mut broker =
        Broker::start_with_few_files("open-files", directory.path(), &[], OPEN_FILES_MAX)?;
    let address = broker.bootstrap().to_owned();
    let mut first = served(&address)?;
    let mut open = Vec::new();
    let refused = loop {
        match served(&address) {
            Ok(connection) => open.push(connection),
            Err(error) => break error,
        }
        ensure!(open.len() < OPEN_FILES_MAX as usize, "more connections than files");
    };
    println!("{} connections, then: {refused:#}", open.len() + 1);
    ensure!(open.len() > 100, "{} connections only", open.len());
    broker.process()?.wait_for("why it refused", Deadline::seconds(10), |line| {
        (line.contains("connection refused") && line.contains("kept for logs")).then_some(())
    })?;

    first.create_topic("more", PARTITIONS, &[])?;
    let mut batch = BatchBuilder::new(Offset(0), Compression::None);
    batch.push(TimestampMs(1_700_000_000_000), None, Some(b"value"));
    let batch = batch.finish()?;
    for partition in 0..PARTITIONS {
        let answer = first.produce("more", partition, &batch, PRODUCE_VERSION)?;
        ensure!(answer.error_code == 0, "{partition}: {answer:?}");
    }
    drop(open);
    Deadline::seconds(30)
        .poll("a connection in the place of another", || Ok(served(&address).ok().map(drop)))?;
    broker.stop()
}
