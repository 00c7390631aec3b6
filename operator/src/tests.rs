//! What several tests stand on, and the README against the code.

pub(crate) mod server;

use std::collections::BTreeSet;

use crate::metrics;
use crate::reason::Reason;

/// The rows of the README's tables, each as its cells.
fn rows() -> Vec<Vec<String>> {
    let readme = include_str!("../README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.split('|').map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

/// Every metric with its labels stands in the README, and no other.
#[test]
fn the_readme_names_every_metric() {
    let told: BTreeSet<(String, String)> = rows()
        .into_iter()
        .filter(|row| row[1].starts_with("ottla_operator_"))
        .map(|row| (row[1].clone(), row[2].clone()))
        .collect();
    let there: BTreeSet<(String, String)> = metrics::ALL
        .iter()
        .map(|family| (family.name.to_owned(), family.labels.join(", ")))
        .collect();
    assert_eq!(told, there);
}

/// Every reason stands in the README with where it is given, and no other.
#[test]
fn the_readme_names_every_reason() {
    let told: BTreeSet<(String, String)> = rows()
        .into_iter()
        .filter(|row| !row[1].starts_with("ottla_operator_"))
        .map(|row| (row[1].clone(), row[2].clone()))
        .collect();
    let given = |reason: Reason| {
        let event = reason.event().map(|weight| format!("{} event", weight.text()));
        let condition = reason.is_of_conditions().then(|| "condition".to_owned());
        condition.into_iter().chain(event).collect::<Vec<_>>().join(", ")
    };
    let there: BTreeSet<(String, String)> =
        Reason::ALL.iter().map(|reason| (reason.text().to_owned(), given(*reason))).collect();
    assert_eq!(told, there);
}
