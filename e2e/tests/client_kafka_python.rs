//! kafka-python, made to speak the protocol of each release from 0.8.2 to 4.0.

use std::process::Command;

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::tools::pypi;
use e2e::workspace;

/// Every release in kafka-python's table of protocol versions from the first with committed offsets.
const RELEASES: [&str; 28] = [
    "0.8.2", "0.9", "0.10.0", "0.10.1", "0.10.2", "0.11", "1.0", "1.1", "2.0", "2.1", "2.2", "2.3",
    "2.4", "2.5", "2.6", "2.7", "2.8", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7",
    "3.8", "3.9", "4.0",
];

/// Each operation that is younger than the first release, and the release that brought it.
const SINCE: [(&str, &str); 12] = [
    ("group_rebalance", "0.9"),
    ("list_groups", "0.10.0"),
    ("describe_group", "0.10.0"),
    ("consume_timestamp", "0.10.1"),
    ("delete_topic", "0.10.1"),
    ("produce_idempotent", "0.11"),
    ("describe_configs", "0.11"),
    ("alter_configs", "0.11"),
    ("delete_records", "0.11"),
    ("create_partitions", "1.0"),
    ("delete_group", "1.1"),
    ("produce_zstd", "2.1"),
];

fn number(release: &str) -> Vec<u32> {
    release.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[test]
fn kafka_python_of_every_release() -> Result<()> {
    let python = pypi::interpreter()?;
    let program = workspace::client_sources().join("python/client.py");
    let clients = RELEASES.map(|release| {
        let missing = SINCE.iter().filter(|(_, since)| number(release) < number(since));
        let cannot = missing.map(|(operation, _)| *operation).collect();
        let (python, program) = (&python, &program);
        Client::new(&format!("kafka-python-{release}"), cannot, move |arguments| {
            let mut command = Command::new(python);
            command.arg(program).args(arguments).arg(release);
            Ok(command)
        })
    });
    clients::check_all("kafka-python", &clients)
}
