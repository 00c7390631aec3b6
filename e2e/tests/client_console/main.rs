//! The console tools of each release, as their users type them.
//!
//! A row a release, beside it what has no tool over the wire in that release, and why. Tools that
//! need ZooKeeper are not run: a broker that stands alone has none.

mod administer;
mod groups;
mod lacking;
mod reading;
mod session;
mod tools;

use anyhow::{Result, anyhow, ensure};
use e2e::clients::{self, passed};
use e2e::java::Java;
use e2e::matrix::Row;
use e2e::peer::Peer;
use e2e::tools::maven;
use e2e::verdict;

use crate::session::Session;
use crate::tools::{CODECS, Tools};

/// Notes the outcome of an operation that has a tool.
fn with(row: &mut Row, name: &str, class: Option<&str>, run: impl FnOnce(&str) -> Result<()>) {
    if let Some(class) = class {
        passed(row, name, run(class));
    }
}

fn records(session: &mut Session<'_>, row: &mut Row) {
    let tools = session.tools;
    let topic = session.name.clone();
    passed(row, "create_topic", session.new_topic(&topic));
    for codec in CODECS {
        let class = tools.codecs.contains(codec).then_some(tools.producer);
        let option = format!("--compression-codec={codec}");
        let name = format!("produce_{codec}");
        with(row, &name, class, |_| session.produce(codec, &[&option]));
    }
    let idempotent = tools.with_option(Some(tools.producer), "produce_idempotent");
    with(row, "produce_idempotent", idempotent, |_| {
        let settings = ["--producer-property", "enable.idempotence=true"];
        session.produce("idempotent", &settings)
    });
    passed(row, "consume_beginning", session.beginning());
    passed(row, "consume_offset", session.offset());
    let reset = tools.with_option(tools.groups, "reset_offsets");
    with(row, "consume_timestamp", reset, |class| session.timestamp(class));
    passed(row, "consume_end", session.end());
    passed(row, "read_foreign", session.foreign());
}

fn groups(session: &mut Session<'_>, row: &mut Row, class: &str) {
    let tools = session.tools;
    passed(row, "group_rebalance", session.rebalance(class));
    let with_option = |operation| tools.with_option(tools.groups, operation);
    with(row, "static_member", with_option("static_member"), |class| session.static_member(class));
    // No tool commits on request: that the group goes on where it was proves both.
    let resumed = session.resume("resume");
    let committed = resumed.as_ref().map(drop).map_err(|error| anyhow!("{error:#}"));
    passed(row, "commit", committed);
    passed(row, "resume", resumed);
    passed(row, "list_groups", session.list_groups(class));
    passed(row, "describe_group", session.describe_group(class));
    with(row, "reset_offsets", with_option("reset_offsets"), |class| session.reset_offsets(class));
    with(row, "delete_offsets", with_option("delete_offsets"), |class| {
        session.delete_offsets(class)
    });
    with(row, "delete_group", with_option("delete_group"), |class| session.delete_group(class));
}

fn administration(session: &mut Session<'_>, row: &mut Row) {
    let tools = session.tools;
    with(row, "describe_configs", tools.configs, |class| session.configs(class, false));
    with(row, "alter_configs", tools.configs, |class| session.configs(class, true));
    with(row, "create_partitions", tools.topics, |class| session.create_partitions(class));
    with(row, "log_dirs", tools.log_dirs, |class| session.log_dirs(class));
    with(row, "describe_producers", tools.transactions, |class| session.describe_producers(class));
    with(row, "delete_records", tools.delete_records, |class| session.delete_records(class));
    with(row, "delete_topic", tools.topics, |class| session.delete_topic(class));
    // No column of the matrix: a failure is reported all the same.
    with(row, "api_versions", tools.versions, |class| {
        let text = session.on_broker(class, &[])?;
        ensure!(text.contains("Fetch(1)"), "{text}");
        Ok(())
    });
}

fn check(tools: &Tools) -> Result<()> {
    let name = format!("console-{}", tools.version);
    let java = Java::new(maven::release(tools.version)?)?;
    let mut peer = Peer::start(&name)?;
    clients::foreign_topic(peer.bootstrap())?;
    let mut session = Session {
        tools,
        java,
        bootstrap: peer.bootstrap().to_owned(),
        name,
        sent: Vec::new(),
        consumed: 0,
        deleted: 0,
        directory: tempfile::tempdir()?,
    };
    let mut row = Row::new();
    records(&mut session, &mut row);
    if let Some(class) = tools.groups {
        groups(&mut session, &mut row, class);
    }
    administration(&mut session, &mut row);
    peer.restart()?;
    clients::await_topic(peer.bootstrap(), "foreign")?;
    peer.bootstrap().clone_into(&mut session.bootstrap);
    passed(&mut row, "records_after_restart", session.after_restart());
    if tools.groups.is_some() {
        passed(&mut row, "resume_after_restart", session.resume("restart"));
    }
    verdict::conclude(&session.name, tools.lacks, &row)
}

#[test]
fn console_0_8_2_2() -> Result<()> {
    check(&tools::V0_8)
}

#[test]
fn console_0_9_0_1() -> Result<()> {
    check(&tools::V0_9)
}

#[test]
fn console_0_10_2_2() -> Result<()> {
    check(&tools::V0_10)
}

#[test]
fn console_0_11_0_3() -> Result<()> {
    check(&tools::V0_11)
}

#[test]
fn console_1_1_1() -> Result<()> {
    check(&tools::V1)
}

#[test]
fn console_2_8_2() -> Result<()> {
    check(&tools::V2)
}

#[test]
fn console_3_9_2() -> Result<()> {
    check(&tools::V3)
}

#[test]
fn console_4_3_1() -> Result<()> {
    check(&tools::V4)
}
