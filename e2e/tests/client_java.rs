//! The Java clients of eight releases, each compiled against its own jars and run as a program.

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::java::Java;
use e2e::tools::maven;

const NO_ADMIN: [&str; 8] = [
    "describe_configs",
    "alter_configs",
    "list_groups",
    "describe_group",
    "delete_group",
    "create_partitions",
    "delete_records",
    "delete_topic",
];

/// Compiles the sources of the release's generation and runs them against the peer.
fn check(version: &str, sources: &[&str], class: &str, cannot: &[&'static str]) -> Result<()> {
    let java = Java::with_sources(maven::release(version)?, sources)?;
    let program = |arguments: &[String]| {
        let mut command = java.class(class, 256);
        command.args(arguments);
        Ok(command)
    };
    clients::check(&Client::new(&format!("java-{version}"), cannot.to_vec(), program))
}

#[test]
fn java_0_8_2_2() -> Result<()> {
    let mut cannot = vec!["produce_zstd", "produce_idempotent", "consume_timestamp"];
    cannot.push("group_rebalance");
    cannot.extend(NO_ADMIN);
    check("0.8.2.2", &["shared", "simple_0_8"], "SimpleClient", &cannot)
}

#[test]
fn java_0_9_0_1() -> Result<()> {
    let mut cannot = vec!["produce_zstd", "produce_idempotent", "consume_timestamp"];
    cannot.extend(NO_ADMIN);
    check(
        "0.9.0.1",
        &["shared", "common", "poll_long", "times_none", "admin_none"],
        "Client",
        &cannot,
    )
}

#[test]
fn java_0_10_2_2() -> Result<()> {
    let mut cannot = vec!["produce_zstd", "produce_idempotent"];
    cannot.extend(NO_ADMIN);
    check("0.10.2.2", &["shared", "common", "poll_long", "times", "admin_none"], "Client", &cannot)
}

#[test]
fn java_0_11_0_3() -> Result<()> {
    let cannot = [
        "produce_zstd",
        "list_groups",
        "describe_group",
        "delete_group",
        "create_partitions",
        "delete_records",
    ];
    check("0.11.0.3", &["shared", "common", "poll_long", "times", "admin_0_11"], "Client", &cannot)
}

#[test]
fn java_1_1_1() -> Result<()> {
    let cannot = ["produce_zstd", "list_groups", "describe_group", "delete_group"];
    check("1.1.1", &["shared", "common", "poll_long", "times", "admin_1_1"], "Client", &cannot)
}

#[test]
fn java_2_8_2() -> Result<()> {
    check("2.8.2", &["shared", "common", "poll_duration", "times", "admin_2_8"], "Client", &[])
}

#[test]
fn java_3_9_2() -> Result<()> {
    check("3.9.2", &["shared", "common", "poll_duration", "times", "admin_2_8"], "Client", &[])
}

#[test]
fn java_4_3_1() -> Result<()> {
    check("4.3.1", &["shared", "common", "poll_duration", "times", "admin_2_8"], "Client", &[])
}
