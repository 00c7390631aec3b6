//! The known name that is spelt most like an unknown one.

/// The fewest letters by which a name is known for a part of another.
const PART: usize = 4;

/// Returns the candidate that was probably meant: the one with the smallest edit distance, if at most a third of the name
/// must be edited, else the shortest that has its letters side by side. `None` if none is so close.
pub fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let limit = (name.chars().count() / 3).max(1);
    let candidates: Vec<_> = candidates.collect();
    let of = |candidate: &&'static str| (distance(name, candidate), *candidate);
    let (distance, nearest) = candidates.iter().map(of).min()?;
    if distance <= limit {
        return Some(nearest);
    }
    let part = letters(name);
    let has_part = |candidate: &&&str| part.len() >= PART && letters(candidate).contains(&part);
    candidates.iter().filter(has_part).min_by_key(|candidate| candidate.len()).copied()
}

fn letters(name: &str) -> String {
    name.chars().filter(|letter| letter.is_alphanumeric()).collect::<String>().to_lowercase()
}

/// Counts insertions, deletions and replacements (Levenshtein) that turn one into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.to_lowercase().chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_is_what_was_probably_meant_and_nothing_else() {
        let known = ["log.dirs", "log.dir", "listeners", "num.partitions", "min.insync.replicas"];
        for (name, expected) in [
            ("listners", Some("listeners")),
            ("log.dris", Some("log.dir")),
            ("NUM.PARTITIONS", Some("num.partitions")),
            ("num.partition", Some("num.partitions")),
            ("mininsync", Some("min.insync.replicas")),
            ("insync_replicas", Some("min.insync.replicas")),
            ("dir", None),
            ("entirely.else", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
        assert_eq!(nearest("log.dir", std::iter::empty()), None);
    }
}
