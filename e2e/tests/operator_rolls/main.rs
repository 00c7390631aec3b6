//! Brokers that are restarted, upgraded, evicted and lost, under a load that judges: nothing that was acknowledged is
//! lost, no send fails, and no partition falls below its minimum by our doing.
//!
//! One cluster for all of it, in the order of [`DEEDS`]; each leaves it settled. Two topics are written to and read:
//! `events` of three replicas, and `single` of one, whose waits are bounded and told.

mod faults;
mod images;
mod rolls;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Result, ensure};
use e2e::deeds::{self, Deed};
use e2e::kubernetes::ottla::history::History;
use e2e::kubernetes::ottla::load::Load;
use e2e::kubernetes::ottla::observe::Pod;
use e2e::kubernetes::ottla::{Operator, Ottla, builds};

/// Where everything is.
const NAMESPACE: &str = "shop";

/// The cluster's name.
const CLUSTER: &str = "orders";

const OBJECT: &str = "cluster/orders";

/// How long one deed may take to settle.
const SECONDS: u64 = 240;

const TOPICS: &str = "\
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: { name: events, namespace: shop }
spec: { cluster: orders, partitions: 6, replicas: 3, config: { min.insync.replicas: \"2\" } }
---
apiVersion: ottla.dev/v1alpha1
kind: Topic
metadata: { name: single, namespace: shop }
spec: { cluster: orders, partitions: 3, replicas: 1 }
";

/// What a deed is done on.
struct Scene {
    ottla: Ottla,
    operator: Operator,
    /// The size of volumes in the next spec: it never shrinks.
    gibibytes: Cell<u8>,
    /// Of the brokers' pods.
    history: RefCell<History>,
}

const DEEDS: [Deed<Scene>; 18] = [
    ("a dynamic setting restarts nobody", rolls::a_dynamic_setting_restarts_nobody),
    ("a static setting restarts each once", rolls::a_static_setting_restarts_each_once),
    ("every panel has data", rolls::every_panel_has_data),
    ("a second edit in mid-roll", rolls::a_second_edit_in_mid_roll),
    ("an operator that dies in mid-roll", rolls::an_operator_that_dies_in_mid_roll),
    ("an upgrade of the operator restarts nobody", rolls::another_operator_restarts_nobody),
    ("an upgrade and a downgrade", images::an_upgrade_and_a_downgrade),
    ("an image that is not there, in mid-roll", images::an_image_that_is_not_there),
    ("resources that no node has", images::resources_that_no_node_has),
    ("a broker that ends again and again, in mid-roll", images::a_broker_that_ends_again_and_again),
    ("what brokers do not know is refused", rolls::what_brokers_do_not_know_is_refused),
    ("volumes grow in place", rolls::volumes_grow_in_place),
    ("a deleted pod", faults::a_deleted_pod),
    ("each node is drained", faults::each_node_is_drained),
    ("deleted objects are made anew", faults::deleted_objects_are_made_anew),
    ("a lost volume is an empty broker that catches up", faults::a_lost_volume),
    ("a stale operator changes nothing", faults::a_stale_operator_changes_nothing),
    ("the rolls left nothing behind", rolls::nothing_is_left),
];

#[test]
fn what_is_acknowledged_stays_whatever_happens_to_brokers() -> Result<()> {
    let (this, next) = (builds::this()?, builds::next()?);
    builds::says(&this.broker, builds::THIS)?;
    builds::says(&next.broker, builds::NEXT)?;
    let load = Path::new(env!("CARGO_BIN_EXE_load"));
    let ottla = Ottla::start("rolls", 3, &[this.clone(), next], load)?;
    let operator = ottla.install(&this, 1)?;
    ottla.namespace(NAMESPACE)?;
    let history = RefCell::new(ottla.history(NAMESPACE, CLUSTER)?);
    let scene = Scene { ottla, operator, gibibytes: Cell::new(1), history };
    scene.spec("version: VERSION")?;
    scene.ottla.kubernetes.apply(TOPICS)?;
    for topic in ["topic/events", "topic/single"] {
        scene.ottla.is_ready(NAMESPACE, topic, SECONDS)?;
    }
    scene.settled()?;
    let order = "--bootstrap orders:9092 --topic events:6 --topic single:3 --rate 100";
    let load = Load::start(&scene.ottla, NAMESPACE, "load", order)?;
    deeds::play(&scene, &DEEDS, |what| load.part(what).map(drop))?;
    load.finish()?;
    drop(scene.history);
    scene.ottla.end()
}

impl Scene {
    /// Applies the cluster with these lines in its spec; what is not said is taken away.
    fn spec(&self, lines: &str) -> Result<()> {
        let lines = lines.replace("VERSION", builds::THIS).replace("NEXT", builds::NEXT);
        let lines = lines.trim_end().replace('\n', "\n  ");
        let manifest = format!(
            "apiVersion: ottla.dev/v1alpha1\nkind: Cluster\nmetadata: {{ name: {CLUSTER}, namespace: {NAMESPACE} }}\n\
             spec:\n  brokers: 3\n  zookeeper: {{ managed: {{ replicas: 3, volume: {{ size: 1Gi }} }} }}\n  \
             storage: {{ volumes: [{{ size: {}Gi }}] }}\n  restarts: {{ unavoidableWaitSeconds: 5 }}\n  {lines}\n",
            self.gibibytes.get()
        );
        self.ottla.kubernetes.apply(&manifest).map(drop)
    }

    /// Waits until the cluster is what its spec says. Pods that are leaving may not be known to the operator yet.
    fn settled(&self) -> Result<()> {
        self.ottla.kubernetes.wait("three brokers", SECONDS, || {
            let pods = self.brokers()?;
            let are_ready = pods.values().all(|pod| pod.ready && !pod.leaving);
            Ok((pods.len() == 3 && are_ready).then_some(()))
        })?;
        self.ottla.is_settled(NAMESPACE, OBJECT, SECONDS)
    }

    /// The brokers' pods, by name.
    fn brokers(&self) -> Result<BTreeMap<String, Pod>> {
        let pods = self.ottla.brokers(NAMESPACE, CLUSTER)?;
        Ok(pods.into_iter().map(|pod| (pod.name.clone(), pod)).collect())
    }

    /// Waits until the cluster is settled and every broker's pod is another one. Each was restarted once; `more` has
    /// how often others may have been at most.
    fn settled_after_a_roll(
        &self,
        before: &BTreeMap<String, Pod>,
        more: &[(&str, usize)],
    ) -> Result<()> {
        self.ottla.wait_for(NAMESPACE, OBJECT, "a roll", SECONDS, |_| {
            let now = self.brokers()?;
            let is_other = |pod: &Pod| before.get(&pod.name).is_none_or(|old| old.uid != pod.uid);
            Ok((now.len() == 3 && now.values().all(|pod| is_other(pod) && pod.ready)).then_some(()))
        })?;
        self.settled()?;
        let now = self.brokers()?;
        ensure!(now.values().all(|pod| pod.restarts == 0), "started again: {now:?}");
        for (name, count) in self.restarts_since(before)? {
            let most = more.iter().find(|(other, _)| *other == name).map_or(1, |(_, most)| *most);
            ensure!((1..=most).contains(&count), "{name} was restarted {count} times");
        }
        Ok(())
    }

    /// How often each broker was restarted since `before`, by the names of pods.
    fn restarts_since(&self, before: &BTreeMap<String, Pod>) -> Result<BTreeMap<String, usize>> {
        let now = self.brokers()?;
        self.ottla.restarts_since(&mut self.history.borrow_mut(), before, &now)
    }

    /// Waits until so many brokers are away, or are others, and names them.
    fn begun(&self, before: &BTreeMap<String, Pod>, count: usize) -> Result<Vec<String>> {
        let what = format!("restart {count}");
        self.ottla.wait_for(NAMESPACE, OBJECT, &what, SECONDS, |_| {
            let now = self.brokers()?;
            let is_another = |(name, old): &(&String, &Pod)| {
                now.get(*name).is_none_or(|new| new.uid != old.uid || new.leaving)
            };
            let others: Vec<_> =
                before.iter().filter(is_another).map(|(name, _)| name.clone()).collect();
            Ok((others.len() >= count).then_some(others))
        })
    }

    /// Sees that no broker was restarted.
    fn are_the_same_as(&self, before: &BTreeMap<String, Pod>) -> Result<()> {
        let now = self.brokers()?;
        let ids = |pods: &BTreeMap<String, Pod>| -> Vec<(String, u64)> {
            pods.values().map(|pod| (pod.uid.clone(), pod.restarts)).collect()
        };
        ensure!(ids(&now) == ids(before), "brokers were restarted: {before:?}, then {now:?}");
        let restarts = self.restarts_since(before)?;
        ensure!(restarts.values().all(|count| *count == 0), "{restarts:?}");
        Ok(())
    }

    /// What tells an object from another one of the same name.
    fn uid(&self, object: &str) -> Result<String> {
        self.kubectl(&["get", object, "-n", NAMESPACE, "-o", "jsonpath={.metadata.uid}"])
    }

    /// Calls kubectl for as long as a drain may take.
    fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        self.ottla.kubernetes.kubectl_within(180, arguments, "")
    }
}
