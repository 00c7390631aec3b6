//! What READMEs name is there: a file in backticks, and the function or type in backticks right after it.

use std::path::Path;

use super::{Finding, Source};

/// Finds what the README `path` names and no source is or has.
pub(super) fn check(path: &str, text: &str, sources: &[Source], findings: &mut Vec<Finding>) {
    let mut is_code = false;
    for (index, line) in text.lines().enumerate() {
        is_code ^= line.starts_with("```");
        if is_code {
            continue;
        }
        let parts: Vec<&str> = line.split('`').collect();
        // Between backticks are the odd ones; what follows right after, two further on.
        for at in (1..parts.len()).step_by(2) {
            let Some(what) = missing(&parts[at..], sources) else { continue };
            findings.push(Finding { path: path.to_owned(), line: index + 1, what });
        }
    }
}

/// What is wrong with the name that `parts` begins with.
fn missing(parts: &[&str], sources: &[Source]) -> Option<String> {
    let file = parts[0];
    let is_source = Path::new(file).extension().is_some_and(|extension| extension == "rs");
    if !is_source || file.contains(['*', ' ', '{', '<']) {
        return None;
    }
    let end = format!("/{file}");
    let is_it = |source: &&Source| source.path == file || source.path.ends_with(&end);
    let mut found = sources.iter().filter(is_it).peekable();
    if found.peek().is_none() {
        return Some(format!("{file} is no source: name one that is"));
    }
    let [_, " ", name, ..] = parts else { return None };
    let name = name.rsplit("::").next().unwrap_or(name);
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    let has = |source: &Source| {
        ["fn ", "struct ", "enum ", "trait ", "const ", "mod "].iter().any(|kind| {
            let wanted = format!("{kind}{name}");
            source.code_lines().any(|(_, line)| line.contains(&wanted))
        })
    };
    (is_name && !found.any(has)).then(|| format!("{file} has no {name}: name what it has"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row is (what a README says, word in the finding, if there is one).
    #[test]
    fn what_is_named_must_be_there() {
        let sources =
            [Source::new("broker/server/src/a/b.rs", "//! Header.\nfn does() {}\nstruct Thing;")];
        let cases = [
            ("`a/b.rs` `does`, `b.rs`", None),
            ("`b.rs` `Thing::does`", None),
            ("`a/b.rs` `did`", Some("did")),
            ("`a/c.rs`", Some("c.rs")),
            ("see `a/*.rs` and `x y.rs`", None),
            ("```\n`a/c.rs`\n```", None),
        ];
        for (text, expected) in cases {
            let mut findings = Vec::new();
            check("README.md", text, &sources, &mut findings);
            assert_eq!(findings.len(), usize::from(expected.is_some()), "{text}: {findings:?}");
            if let Some(word) = expected {
                assert!(findings[0].what.contains(word), "{findings:?}");
            }
        }
    }
}
