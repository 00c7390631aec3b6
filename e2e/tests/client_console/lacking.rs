//! That what a release is listed as lacking is not to be had from its jars.

use anyhow::{Context, Result, ensure};
use e2e::deadline::Deadline;
use e2e::java::Java;
use e2e::logs;
use e2e::process::Process;
use e2e::tools::maven;

use crate::session::TOOL_SECONDS;
use crate::tools::{ALL, Tools};

/// The tool that does an operation, by its first name, and the option that it was given for it.
const BROUGHT_BY: [(&str, &str, &str); 8] = [
    ("produce_zstd", "kafka.tools.ConsoleProducer", "zstd"),
    ("reset_offsets", "kafka.admin.ConsumerGroupCommand", "--reset-offsets"),
    ("delete_offsets", "kafka.admin.ConsumerGroupCommand", "--delete-offsets"),
    ("create_partitions", "kafka.admin.TopicCommand", "--bootstrap-server"),
    ("delete_topic", "kafka.admin.TopicCommand", "--bootstrap-server"),
    ("delete_records", "kafka.admin.DeleteRecordsCommand", ""),
    ("log_dirs", "kafka.admin.LogDirsCommand", ""),
    ("describe_producers", "org.apache.kafka.tools.TransactionsCommand", ""),
];

/// Whether the release has the tool, and its usage names the option.
fn offers(java: &Java, tools: &Tools, class: &str, option: &str) -> Result<bool> {
    let log = logs::file(&format!("lacking-{}", tools.version));
    let mut process = Process::spawn(class, &mut java.class(class, 128), &log)?;
    drop(process.take_stdin());
    process.wait(Deadline::seconds(TOOL_SECONDS))?;
    let text = process.lines().join("\n");
    if text.contains("Could not find or load main class") {
        return Ok(false);
    }
    ensure!(text.contains("Option"), "{class} prints no usage: {text}");
    Ok(text.contains(option))
}

#[test]
fn what_a_release_lacks_its_tools_do_not_offer() -> Result<()> {
    logs::forget("lacking")?;
    for tools in ALL {
        let release = maven::release(tools.version)?;
        let java = Java::new(release)?;
        for (operation, class, option) in BROUGHT_BY {
            let lacks = tools.lacks.iter().find(|lacks| lacks.operations.contains(&operation));
            let Some(lacks) = lacks else { continue };
            let offered = offers(&java, tools, class, option)
                .with_context(|| format!("{operation} of {}", tools.version))?;
            ensure!(!offered, "{} has {operation}, listed: {}", tools.version, lacks.why);
        }
    }
    Ok(())
}
