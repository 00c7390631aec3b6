//! A thousand objects at once.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::bed::{Bed, pass};
use super::support::fake::cluster::condition;

const MANY: usize = 1_000;

/// How many are ready.
fn ready(bed: &Bed) -> usize {
    let topics = bed.fake.list("topics", "default");
    topics.iter().filter(|topic| condition::is(topic, "Ready")).count()
}

/// All are ready soon, spread as one topic would be, with a few calls each; then nothing is written.
#[tokio::test(start_paused = true)]
async fn a_thousand_topics_are_made_with_a_few_calls_each() {
    Bed::run(5, async |bed| {
        // Nothing of this has to do with pods.
        bed.fake.freeze(true);
        bed.fake.forget_calls();
        bed.model.forget_calls();
        let start = bed.fake.clock().elapsed();
        for number in 0..MANY {
            let spec = json!({ "cluster": "main", "partitions": 3, "replicas": 3 });
            bed.create("Topic", &format!("t{number}"), &spec);
        }
        while ready(bed) < MANY {
            pass(Duration::from_secs(1)).await;
            assert!(bed.fake.clock().elapsed() < start + Duration::from_mins(5), "not ready");
        }
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        for call in bed.model.asked() {
            *asked.entry(call.call).or_default() += 1;
        }
        let writes = bed.fake.writes().len();
        assert!(writes <= 4 * MANY + 10, "finalizer, id, event, status: {writes}");
        let all: usize = asked.values().sum();
        assert!(all <= 8 * MANY, "checked, made, and looked at six times at most: {asked:?}");
        assert!(asked["DescribeCluster"] < 100, "{asked:?}");
        for (what, first_only) in [("replicas", false), ("leaders", true)] {
            let mut held: BTreeMap<i32, usize> = BTreeMap::new();
            bed.state(|state| {
                for (_, _, partition) in state.tree.partitions() {
                    let counted = if first_only { 1 } else { partition.replicas.len() };
                    for broker in &partition.replicas[..counted] {
                        *held.entry(*broker).or_default() += 1;
                    }
                }
            });
            let spread = held.values().max().unwrap() - held.values().min().unwrap();
            assert!(spread <= 40, "{what}: {held:?}");
        }
        bed.rest().await;
        bed.fake.forget_calls();
        pass(Duration::from_mins(20)).await;
        assert_eq!(bed.fake.writes().len(), 0);
        assert!(bed.counted("ottla_operator_writes_while_converged_total").abs() < 0.5);
    })
    .await;
}
