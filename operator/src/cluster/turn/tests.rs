//! Which brokers are made of what is wanted, and which wait for their turn.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::cluster::decide::{Rolling, Step, decide};
use crate::cluster::facts::Facts;
use crate::cluster::tests::{made, whole};
use crate::cluster::wanted::Wanted;

/// Has the spec ask for so many partitions, which needs a restart.
fn ask(facts: &mut Facts, partitions: i32) {
    let setting = ("num.partitions".to_owned(), partitions.to_string());
    facts.object.spec.config = [setting].into();
}

/// The partitions that a file speaks of; none where it says nothing.
fn in_file(data: Option<&BTreeMap<String, String>>) -> Option<i32> {
    let text = data?.get("broker.properties")?;
    text.lines().find_map(|line| line.strip_prefix("num.partitions="))?.parse().ok()
}

/// What is applied of each broker: the partitions in its files, and the revision of its set.
fn applied(facts: &Facts) -> BTreeMap<String, (Option<i32>, String)> {
    let mut all: BTreeMap<String, (Option<i32>, String)> = BTreeMap::new();
    for step in decide(facts).unwrap().steps {
        let Step::Apply(wanted) = step else { continue };
        match *wanted {
            Wanted::ConfigMap(one) => {
                let name = one.metadata.name.unwrap();
                all.entry(name).or_default().0 = in_file(one.data.as_ref());
            }
            Wanted::Set(one) => {
                let template = serde_json::to_value(one.spec.unwrap().template).unwrap();
                let revision = &template["metadata"]["annotations"]["ottla.dev/revision"];
                let name = one.metadata.name.unwrap();
                all.entry(name).or_default().1 = revision.as_str().unwrap().to_owned();
            }
            Wanted::Account(_) | Wanted::Policy(_) | Wanted::Service(_) | Wanted::Budget(_) => {}
        }
    }
    all
}

/// The partitions in the files that are applied, by broker.
fn files(facts: &Facts) -> [Option<i32>; 3] {
    let applied = applied(facts);
    [0, 1, 2].map(|id| applied[&format!("orders-{id}")].0)
}

fn rolling(facts: &Facts) -> Rolling {
    decide(facts).unwrap().roll.unwrap()
}

/// What a turn does before the pod is deleted.
fn apply_turn(facts: &mut Facts, broker: i32) {
    let made = rolling(facts).in_turn.remove(&broker).unwrap();
    let name = format!("orders-{broker}");
    facts.live.config_maps.insert(name.clone(), Arc::new(made.config_map));
    facts.live.sets.insert(name, Arc::new(made.set));
}

fn pod(facts: &mut Facts, broker: i32, change: impl FnOnce(&mut Value)) {
    let pod = facts.live.pods.get_mut(&format!("orders-{broker}-0")).unwrap();
    let mut value = serde_json::to_value(&**pod).unwrap();
    change(&mut value);
    *pod = Arc::new(serde_json::from_value::<Pod>(value).unwrap());
}

/// Has the pod of a broker be what its set says, and fail.
fn fail(facts: &mut Facts, broker: i32) {
    let set = serde_json::to_value(&**facts.live.sets.get(&format!("orders-{broker}")).unwrap());
    let annotations = set.unwrap()["spec"]["template"]["metadata"]["annotations"].take();
    pod(facts, broker, |pod| {
        pod["metadata"]["annotations"] = annotations;
        pod["status"]["conditions"] = json!([]);
    });
    facts.heard.remove(&broker);
    let said = facts.said.as_mut().unwrap();
    said.brokers.retain(|one| one.broker_id != broker);
}

fn lose_pod(facts: &mut Facts, broker: i32) {
    facts.live.pods.remove(&format!("orders-{broker}-0"));
    facts.heard.remove(&broker);
}

/// All three serve, and the spec asks for something that needs a restart.
fn edited() -> Facts {
    let mut facts = whole(&json!({}));
    ask(&mut facts, 7);
    facts
}

#[test]
fn an_edit_changes_nobody_before_his_turn() {
    let before = applied(&whole(&json!({})));
    let facts = edited();
    assert_eq!(applied(&facts), before);
    assert_eq!(rolling(&facts).in_turn.keys().collect::<Vec<_>>(), [&0, &1, &2]);
    assert_eq!(in_file(rolling(&facts).in_turn[&1].config_map.data.as_ref()), Some(7));
    // What is there is what is applied, word for word: nothing is written.
    let after = made(facts.clone()).live;
    assert_eq!(after.sets, facts.live.sets);
    assert_eq!(after.config_maps, facts.live.config_maps);
    // What is not about pods is not held.
    let mut labelled = facts;
    let set = labelled.live.sets.get_mut("orders-1").unwrap();
    Arc::make_mut(set).metadata.labels = None;
    let restored = made(labelled).live.sets.remove("orders-1").unwrap();
    assert!(restored.metadata.labels.as_ref().unwrap().contains_key("ottla.dev/broker"));
}

/// Whoever dies before the pod is deleted, or is told something else meanwhile, changes nothing back.
#[test]
fn what_a_turn_has_begun_stays() {
    let mut facts = edited();
    apply_turn(&mut facts, 1);
    assert_eq!(files(&facts), [None, Some(7), None]);
    assert_eq!(rolling(&facts).in_turn.keys().collect::<Vec<_>>(), [&0, &2]);
    fail(&mut facts, 1);
    assert_eq!(files(&facts), [None, Some(7), None]);
    // It has what was applied in its turn until its turn comes again.
    ask(&mut facts, 8);
    assert_eq!(files(&facts), [None, Some(7), None]);
    assert_eq!(in_file(rolling(&facts).in_turn[&1].config_map.data.as_ref()), Some(8));
    // Who takes it all back has the others be what they should at once.
    facts.object.spec.config.clear();
    assert_eq!(rolling(&facts).in_turn.keys().collect::<Vec<_>>(), [&1]);
}

/// Only files, or only files and the set: an operator may die in between.
#[test]
fn half_a_turn_is_held_as_it_is() {
    let mut facts = edited();
    let old = applied(&facts)["orders-1"].1.clone();
    let made = rolling(&facts).in_turn.remove(&1).unwrap();
    facts.live.config_maps.insert("orders-1".to_owned(), Arc::new(made.config_map));
    assert_eq!(applied(&facts)["orders-1"], (Some(7), old));
    assert!(rolling(&facts).in_turn.contains_key(&1));
}

#[test]
fn who_is_what_he_should_be_is_mended_at_once() {
    let mut facts = whole(&json!({}));
    let map = facts.live.config_maps.get_mut("orders-1").unwrap();
    let text = "num.partitions=9".to_owned();
    Arc::make_mut(map).data = Some([("broker.properties".to_owned(), text)].into());
    assert_eq!(files(&facts), [None, None, None]);
    assert!(rolling(&facts).in_turn.is_empty());
}

/// Who has no pod is made anew, unless somebody fails with that whom the others do without.
#[test]
fn who_has_no_pod_waits_only_for_those_that_fail() {
    let mut facts = edited();
    lose_pod(&mut facts, 2);
    assert_eq!(files(&facts), [None, None, Some(7)]);
    // It is gone, while another fails with what is new.
    let mut facts = edited();
    apply_turn(&mut facts, 1);
    fail(&mut facts, 1);
    lose_pod(&mut facts, 2);
    assert_eq!(files(&facts), [None, Some(7), None]);
    // The same while the pod of that other is not back.
    lose_pod(&mut facts, 1);
    assert_eq!(files(&facts), [None, Some(7), None]);
    // The spec is corrected: who has no pod gets what is new, the other in his turn.
    let mut corrected = facts.clone();
    ask(&mut corrected, 8);
    assert_eq!(files(&corrected), [None, Some(8), Some(8)]);
    // Nobody serves: there is nothing to lose.
    lose_pod(&mut facts, 0);
    assert_eq!(files(&facts), [Some(7), Some(7), Some(7)]);
}

/// What another hand deletes in mid-roll comes back as it was, for as long as somebody has seen it.
#[test]
fn what_is_gone_comes_back_as_it_was() {
    let mut facts = edited();
    let before = applied(&facts)["orders-1"].clone();
    let set = facts.live.sets.remove("orders-1").unwrap();
    let map = facts.live.config_maps.remove("orders-1").unwrap();
    facts.live.past_sets.insert("orders-1".to_owned(), set);
    let mut forgotten = facts.clone();
    facts.live.past_config_maps.insert("orders-1".to_owned(), map);
    assert_eq!(applied(&facts)["orders-1"], before);
    // Files that nobody has seen are those that are wanted: a pod without any cannot start at all.
    assert_eq!(applied(&forgotten)["orders-1"], (Some(7), before.1.clone()));
    forgotten.live.past_sets.clear();
    assert_ne!(applied(&forgotten)["orders-1"].1, before.1);
}

/// Corrected, the one that fails is the next one, and gets what is new in its turn.
#[test]
fn who_fails_is_first_once_the_spec_is_corrected() {
    use crate::cluster::roll::{Next, next};
    let mut facts = edited();
    apply_turn(&mut facts, 2);
    fail(&mut facts, 2);
    assert!(matches!(next(&rolling(&facts).facts), Next::Wait(wait) if wait.broker == 2));
    ask(&mut facts, 8);
    let rolling = rolling(&facts);
    assert!(matches!(next(&rolling.facts), Next::Acquire { broker: 2, .. }));
    assert_eq!(in_file(rolling.in_turn[&2].config_map.data.as_ref()), Some(8));
}
