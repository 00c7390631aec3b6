//! The names of metrics in PromQL, as far as they are ours.

use std::collections::BTreeSet;

/// How names of metrics of brokers and the operator begin.
const BEGINS: [&str; 3] = ["kafka_", "ottla_", "process_"];

/// How the labels begin that a scrape gives the series of a pod of ours.
const LABELS: &str = "ottla_dev_";

/// The metrics that `expression` asks for. What Prometheus makes itself, as `up`, is not among them.
pub fn metrics(expression: &str) -> BTreeSet<String> {
    // What stands in quotes is the value of a label.
    let unquoted: String = expression.split('"').step_by(2).collect::<Vec<_>>().join(" ");
    let words = unquoted.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    words
        .filter(|word| BEGINS.iter().any(|begin| word.starts_with(begin)))
        .filter(|word| !word.starts_with(LABELS))
        .map(str::to_owned)
        .collect()
}

/// Whether one of `families` has the series `name`: histograms have three of their own.
pub fn is_of(families: &BTreeSet<String>, name: &str) -> bool {
    let parts = ["_bucket", "_sum", "_count"].iter().filter_map(|part| name.strip_suffix(part));
    families.contains(name) || parts.into_iter().any(|family| families.contains(family))
}

/// The families of a page in Prometheus's text format.
pub fn families(page: &str) -> BTreeSet<String> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_and_labels_and_values_are_not() {
        let asked = "sum by (ottla_dev_cluster) (rate(kafka_a_total{x=\"kafka_b\"}[5m])) / \
                     (ottla_c > bool 0) or up{ottla_dev_broker!=\"\"}";
        let found: Vec<String> = metrics(asked).into_iter().collect();
        assert_eq!(found, ["kafka_a_total", "ottla_c"]);
    }

    #[test]
    fn a_histogram_has_three_series_and_a_counter_one() {
        let page = "# HELP a_seconds x\n# TYPE a_seconds histogram\n# TYPE b_total counter\n";
        let families = families(page);
        for (name, is_there) in
            [("a_seconds_bucket", true), ("b_total", true), ("b", false), ("b_total_x", false)]
        {
            assert_eq!(is_of(&families, name), is_there, "{name}");
        }
    }
}
