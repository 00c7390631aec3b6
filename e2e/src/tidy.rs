//! What every source file must look like, read from its text.
//!
//! The compiler and clippy hold what they can see; the rules here are those of the house that they
//! cannot: headers, sizes, forbidden edges between crates and layers, and calls that belong to one
//! seam. Each finding names the line and what to do instead. An exception stands in a list with its
//! reason, and an exception that nothing needs any more is a finding too.

mod calls;
mod edges;
mod readme;
mod shape;
mod source;

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use source::Source;

use crate::workspace;

/// Where READMEs are, from the root of the workspace.
const READMES: [&str; 9] = [
    "",
    "broker/admin/",
    "broker/config/",
    "broker/protocol/",
    "broker/server/",
    "broker/storage/",
    "broker/zookeeper/",
    "e2e/",
    "operator/",
];

/// One thing to put right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The file, from the root of the workspace.
    pub path: String,
    /// The line, from one.
    pub line: usize,
    /// What is wrong, and what to do instead.
    pub what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Reads every source of the workspace.
pub fn sources() -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    for top in ["broker", "operator", "e2e"] {
        let directory = workspace::root().join(top);
        if directory.exists() {
            collect(&directory, &mut sources)?;
        }
    }
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(sources)
}

fn collect(directory: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let list = fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))?;
    let mut entries: Vec<PathBuf> = Vec::new();
    for entry in list {
        entries.push(entry?.path());
    }
    for path in entries {
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            collect(&path, sources)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text =
                fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
            let name = path.strip_prefix(workspace::root()).unwrap_or(&path);
            sources.push(Source::new(&name.to_string_lossy(), &text));
        }
    }
    Ok(())
}

/// Applies every rule to every source.
pub fn findings(sources: &[Source]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for source in sources {
        shape::check(source, &mut findings);
        edges::check(source, &mut findings);
        calls::check(source, &mut findings);
    }
    findings.extend(shape::median(sources));
    findings.extend(calls::unused_exceptions(sources));
    findings.sort();
    findings
}

/// Finds what the READMEs name and `sources` do not have.
pub fn readme_findings(sources: &[Source]) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    for directory in READMES {
        let path = format!("{directory}README.md");
        let text = fs::read_to_string(workspace::root().join(&path));
        readme::check(
            &path,
            &text.with_context(|| format!("read {path}"))?,
            sources,
            &mut findings,
        );
    }
    Ok(findings)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(path: &str, text: &str) -> Vec<(usize, String)> {
        let mut findings = Vec::new();
        let source = Source::new(path, text);
        shape::check(&source, &mut findings);
        edges::check(&source, &mut findings);
        calls::check(&source, &mut findings);
        findings.into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    /// A row is (path, text after a header, word in the finding on the last line of the text).
    #[test]
    fn each_rule_finds_what_it_forbids() {
        let cases = [
            ("broker/server/src/api/produce.rs", "let now = Instant::now();", "clock"),
            ("broker/server/src/api/produce.rs", "tokio::spawn(work());", "tasks"),
            ("broker/storage/src/log.rs", "use std::fs::File;", "Fs"),
            ("broker/storage/src/log.rs", "use tokio::sync::mpsc;", "tokio"),
            ("broker/protocol/src/record.rs", "use broker_storage::log::Log;", "broker_storage"),
            ("broker/server/src/replica/manager.rs", "use crate::api::code;", "api"),
            ("broker/server/src/replica/manager.rs", "use crate::group::state;", "sibling"),
            ("broker/server/src/metrics.rs", "use crate::net::listener;", "net"),
            ("broker/server/src/replica/partition_state.rs", "use tracing::info;", "pure"),
            ("operator/src/apply.rs", "use crate::controller::Done;", "controller"),
            ("operator/src/apply/same.rs", "use kube::Client;", "pure"),
            ("operator/src/cluster/build/service.rs", "use tokio::sync::watch;", "pure"),
            ("operator/src/apply.rs", "let now = Timestamp::now();", "clock"),
            ("broker/server/src/net/mod.rs", "", "mod.rs"),
            ("broker/server/src/utils.rs", "", "utils"),
            ("broker/server/src/log.rs", "fn f() { println!(\"x\") }", "tracing"),
            ("broker/storage/tests/crash.rs", "std::thread::sleep(second);", "sleep"),
            ("broker/storage/tests/crash.rs", "#[ignore]", "ignore"),
            ("broker/storage/src/log.rs", "todo!()", "todo"),
        ];
        for (path, text, word) in cases {
            let found = lines(path, &format!("//! Header.\n{text}"));
            assert_eq!(found.len(), 1, "{path}: {text}: {found:?}");
            assert!(found[0].1.contains(word), "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn comments_strings_and_allowed_edges_are_no_findings() {
        let cases = [
            ("broker/storage/src/log.rs", "// std::fs::File and todo!()"),
            ("broker/storage/src/log.rs", "const A: &str = \"std::fs::File todo!()\";"),
            ("broker/storage/src/log.rs", "const A: &str = r#\"use tokio::x \"quoted\" \"#;"),
            ("broker/storage/src/log.rs", "use broker_protocol::record::batch::Batch;"),
            ("broker/server/src/api/produce.rs", "use crate::replica::manager::Manager;"),
            ("broker/server/src/replica/manager.rs", "use crate::metadata::Metadata;"),
            ("broker/server/src/main.rs", "fn main() { eprintln!(\"x\") }"),
        ];
        for (path, text) in cases {
            let found = lines(path, &format!("//! Header.\n{text}"));
            assert!(found.is_empty(), "{path}: {text}: {found:?}");
        }
    }

    #[test]
    fn headers_and_sizes_are_measured() {
        assert_eq!(lines("broker/storage/src/a.rs", "use x;\n").len(), 1);
        let long = format!("//! Header.\n{}", "// x\n".repeat(800));
        assert!(lines("broker/storage/src/a.rs", &long)[0].1.contains("801 lines"));
        let body = "    step();\n".repeat(71);
        let function = format!("//! Header.\n\nfn f() {{\n{body}}}\n");
        let found = lines("broker/storage/src/a.rs", &function);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].0 == 3 && found[0].1.contains("71 lines"), "{found:?}");
    }
}
