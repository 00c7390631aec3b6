//! The last replica standing: a broker that may lack what was acknowledged does not lead before those who
//! may have more have come.

use super::nodes::Cluster;
use super::topic::{acknowledged, await_consumed, await_in_sync, create, described};

/// What followers have is enough for an acknowledgement, so a power cut takes records away.
const RELAXED: [(&str, &str); 2] =
    [("min.insync.replicas", "2"), ("ottla.durability", "replicated")];

/// Three brokers that have acknowledged three records, and lost their power.
fn without_power() -> Cluster {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &RELAXED);
    for record in ["a", "b", "c"] {
        acknowledged(&cluster, "t", 0, &[record]);
    }
    cluster.kill_all();
    for id in [1, 2, 3] {
        cluster.expire(id);
    }
    cluster
}

/// All three brokers lose their power; the first that starts has lost records. Nobody leads before one
/// comes that has more, and then all is there again.
fn nobody_leads_by_what_was_lost(lose: impl Fn(&Cluster, i32)) {
    let mut cluster = without_power();
    lose(&cluster, 1);
    cluster.begin(1);
    // It has been told everything: it would lead by now.
    let alone = described(&cluster, "t", 0);
    assert_eq!(alone[0].as_ref().map(|led| led.leader), Some(-1), "{alone:?}");
    cluster.begin(2);
    cluster.begin(3);
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a", "b", "c"]);
    cluster.kill_all();
    assert_eq!(cluster.log(1, "t", 0), cluster.log(2, "t", 0));
}

#[test]
fn a_power_cut_that_took_records_does_not_take_them_from_the_others() {
    nobody_leads_by_what_was_lost(|cluster, id| {
        cluster.forget_the_boot(id);
        cluster.cut_the_log(id, "t", 0);
    });
}

#[test]
fn a_directory_that_was_wiped_does_not_wipe_the_others() {
    nobody_leads_by_what_was_lost(|cluster, id| cluster.wipe(id, "t", 0));
}

/// All of them may have lost something: once all are there, who has most leads.
#[test]
fn where_nobody_can_prove_anything_the_longest_log_leads_once_all_are_there() {
    let mut cluster = without_power();
    for id in [1, 2, 3] {
        cluster.forget_the_boot(id);
    }
    cluster.cut_the_log(1, "t", 0);
    cluster.cut_the_log(3, "t", 0);
    for id in [1, 3, 2] {
        let said = described(&cluster, "t", 0);
        assert!(said.iter().flatten().all(|led| led.leader == -1), "{said:?}");
        cluster.begin(id);
    }
    let leader = await_in_sync(&cluster, "t", 0, 3);
    assert_eq!(leader, 2);
    await_consumed(&cluster, ("t", 0), &["a", "b", "c"]);
}

/// Those of the ISR have lost what they acknowledged; one that is out of it still has that: it leads.
#[test]
fn who_is_out_of_the_isr_leads_if_those_in_it_have_lost_what_it_has() {
    let mut cluster = Cluster::start(3, &[]);
    create(&cluster, "t", 1, &RELAXED);
    for record in ["a", "b", "c"] {
        acknowledged(&cluster, "t", 0, &[record]);
    }
    await_in_sync(&cluster, "t", 0, 3);
    cluster.kill(3);
    cluster.expire(3);
    await_in_sync(&cluster, "t", 0, 2);
    cluster.kill_all();
    for id in [1, 2] {
        cluster.expire(id);
        cluster.forget_the_boot(id);
        cluster.cut_the_log(id, "t", 0);
    }
    for id in [3, 1, 2] {
        cluster.begin(id);
    }
    await_in_sync(&cluster, "t", 0, 3);
    await_consumed(&cluster, ("t", 0), &["a", "b", "c"]);
}
