//! What becomes of a client's row: each operation passed, or the client is listed as lacking it.
//!
//! A row and its list of what the client lacks are held to each other both ways, so that no cell of
//! the matrix is empty by accident: an operation that was not tried, or that the client says it
//! cannot do, fails unless it is listed; one that is listed and works fails too.

use std::collections::BTreeMap;

use anyhow::{Result, bail};

use crate::matrix::{self, OPERATIONS, Outcome, Row};
use crate::peer;

/// Operations that a client does not have, and why.
#[derive(Debug, Clone, Copy)]
pub struct Lacks {
    /// The reason, as the matrix prints it.
    pub why: &'static str,
    /// Names of [`OPERATIONS`].
    pub operations: &'static [&'static str],
}

/// Keeps the row of a client for the matrix, and fails with all that is wrong with it.
pub fn conclude(client: &str, lacks: &[Lacks], row: &Row) -> Result<()> {
    let (row, wrong) = settle(lacks, row);
    matrix::keep(&peer::chosen()?, client, &row)?;
    if !wrong.is_empty() {
        bail!("{client}:\n  {}", wrong.join("\n  "));
    }
    let passed = row.values().filter(|outcome| **outcome == Outcome::Passed).count();
    println!("{client}: {passed} operations, {} it cannot", row.len() - passed);
    Ok(())
}

/// The whole row, a mark for each operation, and what is wrong with it.
fn settle(lacks: &[Lacks], row: &Row) -> (Row, Vec<String>) {
    let mut wrong = Vec::new();
    let mut lacking = BTreeMap::new();
    for Lacks { why, operations } in lacks {
        for operation in *operations {
            if !OPERATIONS.contains(operation) {
                wrong.push(format!("{operation}: listed as lacking, but no operation"));
            }
            if lacking.insert(*operation, *why).is_some() {
                wrong.push(format!("{operation}: listed twice as lacking"));
            }
        }
    }
    let mut whole = Row::new();
    for operation in OPERATIONS {
        let outcome = match (row.get(operation), lacking.get(operation)) {
            (None | Some(Outcome::Cannot(_)), Some(why)) => Outcome::Cannot((*why).to_owned()),
            (None, None) => Outcome::Failed("not tried, and not listed as lacking".to_owned()),
            (Some(Outcome::Cannot(says)), None) => {
                Outcome::Failed(format!("says that it cannot, and is not listed: {says}"))
            }
            (Some(Outcome::Passed), None) => Outcome::Passed,
            (Some(Outcome::Passed), Some(why)) => {
                Outcome::Failed(format!("works, though listed as lacking: {why}"))
            }
            (Some(Outcome::Failed(how)), _) => Outcome::Failed(how.clone()),
        };
        whole.insert(operation.to_owned(), outcome);
    }
    let others = row.iter().filter(|(operation, _)| !OPERATIONS.contains(&operation.as_str()));
    for (operation, outcome) in whole.iter().chain(others) {
        if let Outcome::Failed(how) = outcome {
            wrong.push(format!("{operation}: {how}"));
        }
    }
    (whole, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Lacks = Lacks { why: "too old", operations: &["produce_zstd"] };

    /// A row in which everything passed, but for what `change` says of `operation`.
    fn row(operation: &str, change: Option<Outcome>) -> Row {
        let mut row: Row =
            OPERATIONS.map(|operation| (operation.to_owned(), Outcome::Passed)).into();
        match change {
            Some(outcome) => row.insert(operation.to_owned(), outcome),
            None => row.remove(operation),
        };
        row
    }

    /// A row is (what the client did with zstd, what it is listed as lacking, word of the finding).
    #[test]
    fn a_row_and_its_list_are_held_to_each_other() {
        let cannot = || Some(Outcome::Cannot("of old age".to_owned()));
        let failed = || Some(Outcome::Failed("refused".to_owned()));
        let cases: [(Option<Outcome>, &[Lacks], &str); 8] = [
            (Some(Outcome::Passed), &[], ""),
            (None, &[OLD], ""),
            (cannot(), &[OLD], ""),
            (None, &[], "not tried"),
            (cannot(), &[], "of old age"),
            (failed(), &[], "refused"),
            (failed(), &[OLD], "refused"),
            (Some(Outcome::Passed), &[OLD], "works"),
        ];
        for (outcome, lacks, word) in cases {
            let name = format!("{outcome:?} with {} lists", lacks.len());
            let (whole, wrong) = settle(lacks, &row("produce_zstd", outcome));
            assert_eq!(whole.len(), OPERATIONS.len(), "{name}");
            assert_eq!(wrong.is_empty(), word.is_empty(), "{name}: {wrong:?}");
            assert!(wrong.iter().all(|line| line.contains(word)), "{name}: {wrong:?}");
        }
    }

    #[test]
    fn the_reason_on_the_list_is_the_one_in_the_matrix() {
        let (whole, _) = settle(&[OLD], &row("produce_zstd", None));
        assert_eq!(whole.get("produce_zstd"), Some(&Outcome::Cannot("too old".to_owned())));
    }

    #[test]
    fn a_list_names_each_operation_once_and_only_operations() {
        let misspelt = Lacks { why: "?", operations: &["produce_zst"] };
        let (_, wrong) = settle(&[OLD, OLD, misspelt], &row("produce_zstd", None));
        assert_eq!(wrong.len(), 2, "{wrong:?}");
    }

    #[test]
    fn what_has_no_column_is_reported_when_it_fails() {
        let (whole, wrong) =
            settle(&[], &row("aside", Some(Outcome::Failed("refused".to_owned()))));
        assert_eq!(wrong, ["aside: refused"]);
        assert!(!whole.contains_key("aside"));
    }
}
