//! The matrix of client and operation: what each client did, kept as files and printed as a table,
//! below it why a client cannot do something.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::workspace;

/// Every operation, in the order of the table's columns.
pub const OPERATIONS: [&str; 30] = [
    "create_topic",
    "produce_none",
    "produce_gzip",
    "produce_snappy",
    "produce_lz4",
    "produce_zstd",
    "produce_idempotent",
    "consume_beginning",
    "consume_offset",
    "consume_timestamp",
    "consume_end",
    "read_foreign",
    "group_rebalance",
    "static_member",
    "commit",
    "resume",
    "describe_configs",
    "alter_configs",
    "list_groups",
    "describe_group",
    "delete_offsets",
    "reset_offsets",
    "delete_group",
    "create_partitions",
    "log_dirs",
    "describe_producers",
    "delete_records",
    "delete_topic",
    "records_after_restart",
    "resume_after_restart",
];

/// Those that take an admin client, or a tool that is one: from `describe_configs` to `delete_topic`.
pub const ADMINISTRATION: &[&str] = OPERATIONS.split_at(16).1.split_at(12).0;

/// What became of one operation of one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It worked, and its effect was seen.
    Passed,
    /// The client has no such operation; the text says why.
    Cannot(String),
    /// It did not work; the text says how.
    Failed(String),
}

impl Outcome {
    fn mark(&self) -> char {
        match self {
            Self::Passed => '+',
            Self::Cannot(_) => '-',
            Self::Failed(_) => 'X',
        }
    }

    fn why(&self) -> &str {
        match self {
            Self::Passed => "",
            Self::Cannot(why) | Self::Failed(why) => why,
        }
    }

    fn kept(mark: &str, why: &str) -> Self {
        match mark {
            "+" => Self::Passed,
            "-" => Self::Cannot(why.to_owned()),
            _ => Self::Failed(why.to_owned()),
        }
    }
}

/// The outcomes of one client by operation.
pub type Row = BTreeMap<String, Outcome>;

fn directory(peer: &str) -> PathBuf {
    workspace::output_dir().join("matrix").join(peer)
}

/// Forgets the rows of earlier runs against `peer`.
pub fn clear(peer: &str) -> Result<()> {
    let directory = directory(peer);
    if directory.exists() {
        fs::remove_dir_all(&directory).context("remove old rows of the matrix")?;
    }
    Ok(())
}

/// Keeps the row of `client` for the table.
pub fn keep(peer: &str, client: &str, row: &Row) -> Result<()> {
    let mut text = String::new();
    for (operation, outcome) in row {
        let why = outcome.why().replace(['\n', '\t'], " ");
        writeln!(text, "{operation}\t{}\t{why}", outcome.mark())?;
    }
    fs::create_dir_all(directory(peer)).context("create the matrix's directory")?;
    fs::write(directory(peer).join(client), text).context("keep a row of the matrix")
}

/// Reads every kept row.
pub fn rows(peer: &str) -> Result<BTreeMap<String, Row>> {
    let mut rows = BTreeMap::new();
    if !directory(peer).exists() {
        return Ok(rows);
    }
    for entry in fs::read_dir(directory(peer)).context("list the rows of the matrix")? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path()).context("read a row of the matrix")?;
        let row = text.lines().filter_map(|line| {
            let (operation, (mark, why)) = line.split_once('\t').map(|(operation, rest)| {
                (operation.to_owned(), rest.split_once('\t').unwrap_or((rest, "")))
            })?;
            Some((operation, Outcome::kept(mark, why)))
        });
        let row = row.collect();
        rows.insert(entry.file_name().to_string_lossy().into_owned(), row);
    }
    Ok(rows)
}

/// Draws the table: clients down, operations across by number, a legend and the reasons below.
pub fn draw(rows: &BTreeMap<String, Row>) -> String {
    let width = rows.keys().map(String::len).max().unwrap_or(0).max("client".len());
    let numbers = (1..=OPERATIONS.len()).map(|number| format!(" {number:>2}"));
    let mut lines = vec![format!("{:width$}{}", "client", numbers.collect::<String>())];
    for (client, row) in rows {
        let mark = |operation: &&str| row.get(*operation).map_or(' ', Outcome::mark);
        let marks = OPERATIONS.iter().map(|operation| format!("  {}", mark(operation)));
        lines.push(format!("{client:width$}{}", marks.collect::<String>()));
    }
    lines.push(String::new());
    lines.push("+ passes   - the client cannot   X fails".to_owned());
    let numbered: Vec<String> = (1..)
        .zip(OPERATIONS)
        .map(|(number, operation)| format!("{number:>2} {operation:24}"))
        .collect();
    lines.extend(numbered.chunks(3).map(<[String]>::concat));
    lines.extend(reasons(rows));
    lines.join("\n") + "\n"
}

/// A line for each reason: the numbers of the operations, why not, and the clients.
fn reasons(rows: &BTreeMap<String, Row>) -> Vec<String> {
    let mut by_reason: BTreeMap<(Vec<usize>, &str), Vec<&str>> = BTreeMap::new();
    for (client, row) in rows {
        let mut lacking: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (number, operation) in (1..).zip(OPERATIONS) {
            if let Some(Outcome::Cannot(why)) = row.get(operation) {
                lacking.entry(why).or_default().push(number);
            }
        }
        for (why, numbers) in lacking {
            by_reason.entry((numbers, why)).or_default().push(client);
        }
    }
    let mut lines = Vec::new();
    for ((numbers, why), clients) in by_reason {
        let numbers: Vec<String> = numbers.iter().map(usize::to_string).collect();
        lines.push(format!("- {}: {why} ({})", numbers.join(" "), clients.join(", ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn administration_is_a_run_of_the_operations() {
        let ends = (ADMINISTRATION.first(), ADMINISTRATION.last());
        assert_eq!(ends, (Some(&"describe_configs"), Some(&"delete_topic")));
    }

    #[test]
    fn the_table_has_a_mark_in_the_column_of_each_operation() {
        let row = Row::from([
            ("create_topic".to_owned(), Outcome::Passed),
            ("produce_gzip".to_owned(), Outcome::Failed("refused".to_owned())),
            ("produce_none".to_owned(), Outcome::Cannot("too old".to_owned())),
        ]);
        let table = draw(&BTreeMap::from([("some-client".to_owned(), row)]));
        let line = table.lines().nth(1).unwrap_or_default();
        assert!(line.starts_with("some-client  +  -  X   "), "{table}");
        assert!(table.ends_with("\n- 2: too old (some-client)\n"), "{table}");
    }
}
