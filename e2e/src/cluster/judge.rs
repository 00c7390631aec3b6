//! What brokers did and said in a run, judged at its end: processes that ended, assertions that broke, what
//! ours say of each other, and what Kafka's complain of.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::audit;
use super::bed::Bed;
use super::checker::Rule;
use super::history::{History, What};
use super::node::{Kind, Node};
use super::server::Ended;

/// What a leader of ours says of a replica in sync that has lost something.
const LACKS_COMMITTED: &str = "a replica in sync lacks committed records";

fn of(bed: &Bed, kind: Kind) -> impl Iterator<Item = &Node> {
    bed.nodes.iter().filter(move |node| node.kind == kind)
}

/// Kafka ends itself where it cannot go on; a broker of ours never does.
pub fn ends(bed: &Bed, history: &History) {
    for node in of(bed, Kind::Ottla) {
        for words in node.server.unexpected_ends() {
            let what = format!("{}: {words}", node.server.name);
            history.record(0, What::Wrong(Rule::UnexpectedEnd, what));
        }
    }
}

/// Stops every broker in order; one of ours that has to be killed is a finding.
pub fn stop_all(bed: &Bed, history: &History) -> Result<()> {
    for node in bed.stop_all()? {
        stopped_by_force(node, history);
    }
    Ok(())
}

/// Looks at how a broker ended that was told to.
pub fn ended(node: &Node, ended: Ended, history: &History) {
    if ended == Ended::ByForce {
        stopped_by_force(node, history);
    }
}

/// A broker was told to end in order, and had to be killed.
fn stopped_by_force(node: &Node, history: &History) {
    let what = format!("{} had to be killed after SIGTERM", node.server.name);
    let is_ours = node.kind == Kind::Ottla;
    history.record(0, if is_ours { What::Wrong(Rule::Undone, what) } else { What::Note(what) });
}

/// What ours must not say: that an assertion broke, or that a replica in sync lacks something, but for one
/// whose disk was lost.
pub fn words(bed: &Bed, history: &History) -> Result<()> {
    for (index, node) in bed.nodes.iter().enumerate().filter(|(_, node)| node.kind == Kind::Ottla) {
        let log = fs::read_to_string(node.server.log()).context("read a broker's log")?;
        let mut at = 0;
        for line in log.split_inclusive('\n') {
            let begin = at;
            at += line.len() as u64;
            let rule = if line.contains("panicked at") {
                Rule::UnexpectedEnd
            } else if line.contains(LACKS_COMMITTED) && !bed.losses.explain(index, begin, line) {
                Rule::LacksCommitted
            } else {
                continue;
            };
            let what = format!("{}: {}", node.server.name, line.trim_end());
            history.record(0, What::Wrong(rule, what));
        }
    }
    Ok(())
}

/// Kafka's brokers must not complain of ours what they do not complain of each other: by themselves they
/// keep that in `known`, else they are judged by it.
pub fn complaints(bed: &Bed, history: &History, known: &Path) -> Result<()> {
    let logs: Vec<PathBuf> = of(bed, Kind::Kafka).map(|node| node.server.log()).collect();
    if of(bed, Kind::Ottla).next().is_none() {
        println!("cluster: {} complaints of Kafka are new", audit::learn(&logs, known)?);
        return Ok(());
    }
    for (count, line) in audit::unknown(&logs, known)? {
        let what = format!("{count} times like: {line}");
        history.record(0, What::Wrong(Rule::ForeignComplaint, what));
    }
    Ok(())
}
