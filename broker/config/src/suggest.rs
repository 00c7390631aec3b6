//! The known name that is spelt most like an unknown one.

/// A name that exists, for one that does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suggestion {
    /// The name.
    pub name: &'static str,
    /// Whether it is probably what was meant: at most a third of the unknown name must be edited, or its
    /// letters stand side by side in this one.
    pub is_close: bool,
}

/// The fewest letters by which a name is known for a part of another.
const PART: usize = 4;

/// Returns the candidate with the smallest edit distance, or the shortest that has the name as its part
/// where the former is far; `None` if there are no candidates.
pub fn nearest(name: &str, candidates: impl Iterator<Item = &'static str>) -> Option<Suggestion> {
    let limit = (name.chars().count() / 3).max(1);
    let candidates: Vec<_> = candidates.collect();
    let of = |candidate: &&'static str| (distance(name, candidate), *candidate);
    let (distance, nearest) = candidates.iter().map(of).min()?;
    if distance <= limit {
        return Some(Suggestion { name: nearest, is_close: true });
    }
    let part = letters(name);
    let has_part = |candidate: &&&str| part.len() >= PART && letters(candidate).contains(&part);
    let whole = candidates.iter().filter(has_part).min_by_key(|candidate| candidate.len());
    Some(Suggestion { name: whole.unwrap_or(&nearest), is_close: whole.is_some() })
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
    fn nearest_is_the_least_edited_and_said_to_be_far_when_it_is() {
        let known = ["log.dirs", "log.dir", "listeners", "num.partitions", "min.insync.replicas"];
        for (name, expected) in [
            ("listners", ("listeners", true)),
            ("log.dris", ("log.dir", true)),
            ("NUM.PARTITIONS", ("num.partitions", true)),
            ("num.partition", ("num.partitions", true)),
            ("mininsync", ("min.insync.replicas", true)),
            ("insync_replicas", ("min.insync.replicas", true)),
            ("dir", ("log.dir", false)),
            ("entirely.else", ("listeners", false)),
        ] {
            let found = nearest(name, known.into_iter()).unwrap();
            assert_eq!((found.name, found.is_close), expected, "{name}");
        }
        assert_eq!(nearest("log.dir", std::iter::empty()), None);
    }
}
