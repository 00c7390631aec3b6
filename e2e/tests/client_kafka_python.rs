//! kafka-python, made to speak the protocol of each release from 0.8.2 to 4.0.

use std::process::Command;

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::tools::pypi;
use e2e::verdict::Lacks;
use e2e::workspace;

/// Every release in kafka-python's table of protocol versions from the first with committed offsets.
const RELEASES: [&str; 28] = [
    "0.8.2", "0.9", "0.10.0", "0.10.1", "0.10.2", "0.11", "1.0", "1.1", "2.0", "2.1", "2.2", "2.3",
    "2.4", "2.5", "2.6", "2.7", "2.8", "3.0", "3.1", "3.2", "3.3", "3.4", "3.5", "3.6", "3.7",
    "3.8", "3.9", "4.0",
];

/// The operations that each release brought to the protocol.
const SINCE: [(&str, Lacks); 8] = [
    ("0.9", Lacks { why: "groups came with 0.9", operations: &["group_rebalance"] }),
    (
        "0.10.0",
        Lacks {
            why: "the client administers groups from 0.10.0",
            operations: &["list_groups", "describe_group"],
        },
    ),
    (
        "0.10.1",
        Lacks {
            why: "look-up by time and DeleteTopics came with 0.10.1",
            operations: &["consume_timestamp", "delete_topic"],
        },
    ),
    (
        "0.11",
        Lacks {
            why: "idempotence, DescribeConfigs, AlterConfigs and DeleteRecords came with 0.11",
            operations: &[
                "produce_idempotent",
                "describe_configs",
                "alter_configs",
                "delete_records",
            ],
        },
    ),
    (
        "1.0",
        Lacks {
            why: "CreatePartitions and DescribeLogDirs came with 1.0",
            operations: &["create_partitions", "log_dirs"],
        },
    ),
    ("1.1", Lacks { why: "DeleteGroups came with 1.1", operations: &["delete_group"] }),
    ("2.1", Lacks { why: "zstd came with 2.1", operations: &["produce_zstd"] }),
    ("2.3", Lacks { why: "static members came with 2.3", operations: &["static_member"] }),
];

/// What each release took away from the protocol.
const UNTIL: [(&str, Lacks); 1] = [(
    "4.0",
    Lacks {
        why: "4.0 took away the one version of DescribeLogDirs that the client has",
        operations: &["log_dirs"],
    },
)];

/// What its admin client has in no release.
const NO_CALL: Lacks = Lacks {
    why: "the client has no such call",
    operations: &["delete_offsets", "reset_offsets", "describe_producers"],
};

fn number(release: &str) -> Vec<u32> {
    release.split('.').filter_map(|part| part.parse().ok()).collect()
}

#[test]
fn kafka_python_of_every_release() -> Result<()> {
    let python = pypi::interpreter()?;
    let program = workspace::client_sources().join("python/client.py");
    let clients = RELEASES.map(|release| {
        let missing = SINCE.iter().filter(|(since, _)| number(release) < number(since));
        let gone = UNTIL.iter().filter(|(until, _)| number(release) >= number(until));
        let mut lacks: Vec<Lacks> = missing.chain(gone).map(|(_, lacks)| *lacks).collect();
        lacks.push(NO_CALL);
        let (python, program) = (&python, &program);
        Client::new(&format!("kafka-python-{release}"), &lacks, move |arguments| {
            let mut command = Command::new(python);
            command.arg(program).args(arguments).arg(release);
            Ok(command)
        })
    });
    clients::check_all("kafka-python", &clients)
}
