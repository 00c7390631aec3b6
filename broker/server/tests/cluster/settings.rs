//! Settings of brokers that act at once.

use super::admin::set_of_broker;
use super::client::await_that;
use super::metrics::value;
use super::nodes::Cluster;
use super::topic::{acknowledged, await_in_sync, create};

/// Method: broker 1 follows half of eight partitions, all of them led by broker 2.
#[test]
fn what_is_copied_is_spread_over_as_many_fetchers_as_the_setting_says_now() {
    let cluster = Cluster::start(2, &["auto.leader.rebalance.enable=false"]);
    create(&cluster, "t", 8, &[("min.insync.replicas", "2")]);
    let fetchers = |id| value(&cluster, id, "ottla_tasks{task=\"fetcher\"}");
    assert_eq!([fetchers(1), fetchers(2)], [Some(1.0); 2]);
    for count in [3, 1] {
        set_of_broker(&cluster, 1, "num.replica.fetchers", &count.to_string());
        await_that(&format!("{count} fetchers"), || fetchers(1) == Some(f64::from(count)));
        for partition in 0..8 {
            acknowledged(&cluster, "t", partition, &["a"]);
            await_in_sync(&cluster, "t", partition, 2);
        }
    }
    assert_eq!(fetchers(2), Some(1.0), "it was not told to");
}
