//! The known name that is spelt most like an unknown one.

/// Returns the candidate with the smallest edit distance, if that is at most a third of the name.
///
/// A third, because beyond it a suggestion is more often noise than help.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, candidate)| candidate)
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
    fn nearest_is_the_least_edited_and_nothing_when_far() {
        let known = ["log.dirs", "log.dir", "listeners", "num.partitions"];
        for (name, expected) in [
            ("listners", Some("listeners")),
            ("log.dris", Some("log.dir")),
            ("NUM.PARTITIONS", Some("num.partitions")),
            ("num.partition", Some("num.partitions")),
            ("entirely.else", None),
        ] {
            assert_eq!(nearest(name, known.into_iter()), expected, "{name}");
        }
    }
}
