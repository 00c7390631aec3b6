//! The known name that is spelt most like an unknown one.

/// A name that exists, for one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// The name.
    pub name: &'static str,
    /// Whether it is probably what was meant: at most a third of the unknown name must be edited.
    pub is_close: bool,
}

/// Returns the candidate with the smallest edit distance; `None` if there are no candidates.
pub fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<Suggestion> {
    let limit = (name.chars().count() / 3).max(1);
    let nearest = candidates.map(|candidate| (distance(name, candidate), candidate)).min();
    nearest.map(|(distance, name)| Suggestion { name, is_close: distance <= limit })
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
    fn nearest_is_the_least_edited_and_said_to_be_far_when_it_is() {
        let known = ["log.dirs", "log.dir", "listeners", "num.partitions"];
        for (name, expected) in [
            ("listners", ("listeners", true)),
            ("log.dris", ("log.dir", true)),
            ("NUM.PARTITIONS", ("num.partitions", true)),
            ("num.partition", ("num.partitions", true)),
            ("entirely.else", ("listeners", false)),
        ] {
            let found = nearest(name, known.into_iter()).unwrap();
            assert_eq!((found.name, found.is_close), expected, "{name}");
        }
        assert_eq!(nearest("log.dir", std::iter::empty()), None);
    }
}
