//! What is decided about a cluster, and what is said of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use broker_admin::v1::{BrokerDescription, DescribeClusterResponse, Health, Identity, Phase};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt as _;
use serde_json::{Value, json};

use super::decide::{Course, Decision, Step, decide};
use super::facts::{Facts, Heard, Live, Object};
use super::roll::{self, Next};
use super::seen::nobody_is_up;
use super::upkeep::Upkeep;
use super::validate::Images;
use super::wanted::{Doomed, Wanted};
use super::{kept, members, status};
use crate::admin::schema::{Change, Schema, Setting};
use crate::crd::cluster::status::ClusterStatus;
use crate::error::Error;
use crate::names::Names;

fn spec(given: &Value) -> Value {
    let mut spec = json!({
        "brokers": 3, "version": "0.1.0", "zookeeper": { "connect": "zookeeper:2181" },
    });
    spec.as_object_mut().unwrap().extend(given.as_object().unwrap().clone());
    spec
}

/// A cluster that is looked at for the second time: nothing was made of it yet.
fn new(given: &Value) -> Facts {
    Facts {
        object: Object {
            names: Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() },
            uid: "uid".to_owned(),
            generation: 1,
            is_deleted: false,
            is_emptied: false,
            has_finalizer: true,
            spec: serde_json::from_value(spec(given)).unwrap(),
            status: ClusterStatus::default(),
        },
        images: Images { broker: "ottla".to_owned(), zookeeper: "zookeeper:3.9".to_owned() },
        home: None,
        live: Live::default(),
        heard: BTreeMap::new(),
        said: Err("no broker answers".to_owned()),
        schema: Schema::Unknown,
        upkeep: None,
        now: 1_000,
    }
}

fn said_of(facts: &Facts, decision: &Decision) -> ClusterStatus {
    let next = decision.roll.as_ref().map(|rolling| roll::next(&rolling.facts));
    let before = &facts.object.status;
    let now = Timestamp::from_second(facts.now).unwrap();
    status::status(facts, decision, next.as_ref(), before, now)
}

/// Takes in what a decision has made, and what it says.
pub(super) fn made(mut facts: Facts) -> Facts {
    let decision = decide(&facts).unwrap();
    let status = said_of(&facts, &decision);
    for step in decision.steps {
        let Step::Apply(wanted) = step else { continue };
        let live = &mut facts.live;
        match *wanted {
            Wanted::Account(one) => drop(live.accounts.insert(one.name_any(), Arc::new(one))),
            Wanted::Policy(one) => drop(live.policies.insert(one.name_any(), Arc::new(one))),
            Wanted::ConfigMap(one) => drop(live.config_maps.insert(one.name_any(), Arc::new(one))),
            Wanted::Service(one) => drop(live.services.insert(one.name_any(), Arc::new(*one))),
            Wanted::Budget(one) => drop(live.budgets.insert(one.name_any(), Arc::new(one))),
            Wanted::Set(one) => drop(live.sets.insert(one.name_any(), Arc::new(*one))),
        }
    }
    facts.object.status = status;
    facts
}

/// Has the pods of all sets be there as the sets are, and serve.
fn serving(mut facts: Facts) -> Facts {
    let sets: Vec<_> =
        facts.live.broker_sets().into_iter().map(|(id, set)| (id, set.as_ref().clone())).collect();
    let mut described = Vec::new();
    for (id, set) in sets {
        let revision = kept::called(&set.spec.unwrap().template);
        let pod = json!({
            "metadata": {
                "name": format!("orders-{id}-0"), "namespace": "shop", "uid": format!("pod-{id}"),
                "annotations": { "ottla.dev/revision": revision },
            },
            "status": { "phase": "Running", "conditions": [{ "type": "Ready", "status": "True" }] },
        });
        facts.live.pods.insert(format!("orders-{id}-0"), Arc::new(pod_of(pod)));
        facts.heard.insert(id, heard(id));
        described.push(BrokerDescription {
            broker_id: id,
            broker_epoch: 10 + i64::from(id),
            ..BrokerDescription::default()
        });
    }
    let cluster = DescribeClusterResponse {
        cluster_id: "c".repeat(22),
        controller_id: 0,
        brokers: described,
        dynamic_settings: [].into(),
        has_move_throttles: false,
    };
    facts.said = Ok(cluster);
    facts.schema =
        [("num.partitions", Change::Restart), ("log.cleaner.threads", Change::Cluster)].into();
    facts
}

fn pod_of(pod: Value) -> Pod {
    serde_json::from_value(pod).unwrap()
}

fn heard(id: i32) -> Heard {
    let identity = Identity {
        broker_id: id,
        broker_epoch: 10 + i64::from(id),
        version: "0.1.0".to_owned(),
        inter_broker_protocol: "3.9-IV0".to_owned(),
        inter_broker_protocols: vec!["3.8-IV0".to_owned(), "3.9-IV0".to_owned()],
        instance: format!("pod-{id}"),
        ..Identity::default()
    };
    let health = Health { phase: Phase::Running.into(), registered: true, ..Health::default() };
    Heard { identity, health: Some(health), is_silent: false }
}

/// A cluster that serves, and of which all is said that there is to say.
pub(super) fn whole(given: &Value) -> Facts {
    made(made(serving(made(new(given)))))
}

fn condition(facts: &Facts, name: &str) -> (String, String) {
    let said = said_of(facts, &decide(facts).unwrap());
    let found = said.conditions.iter().find(|one| one.r#type == name).unwrap();
    (found.status.clone(), found.reason.clone())
}

fn is(facts: &Facts, name: &str, status: &str, reason: &str) {
    assert_eq!(condition(facts, name), (status.to_owned(), reason.to_owned()), "{name}");
}

fn may_go(facts: &Facts) -> bool {
    let steps = decide(facts).unwrap().steps;
    let budget = steps.iter().find_map(|step| {
        let Step::Apply(wanted) = step else { return None };
        let Wanted::Budget(budget) = &**wanted else { return None };
        Some(serde_json::to_value(budget).unwrap())
    });
    budget.unwrap()["spec"]["maxUnavailable"] == 1
}

/// Nothing is made before the object waits for its end, and nothing before what was chosen is in the status.
#[test]
fn the_finalizer_is_first_and_then_what_was_chosen() {
    let mut facts = new(&json!({}));
    facts.object.has_finalizer = false;
    assert_eq!(decide(&facts).unwrap().steps, [Step::Hold]);
    let decision = decide(&new(&json!({}))).unwrap();
    assert_eq!(decision.steps[0], Step::Note);
    assert!(decision.steps[1..].iter().all(|step| matches!(step, Step::Apply(_))));
    is(&new(&json!({})), "Progressing", "True", "Creating");
    is(&new(&json!({})), "Degraded", "False", "AsExpected");
}

#[test]
fn what_is_whole_is_told_so_and_left_alone() {
    let facts = whole(&json!({}));
    let decision = decide(&facts).unwrap();
    assert!(decision.steps.iter().all(|step| matches!(step, Step::Apply(_))));
    assert_eq!(roll::next(&decision.roll.clone().unwrap().facts), Next::Done);
    assert_eq!(said_of(&facts, &decision), facts.object.status, "told twice it is equal");
    is(&facts, "Ready", "True", "Ready");
    is(&facts, "Progressing", "False", "Idle");
    assert!(may_go(&facts));
}

/// What brokers speak is in the name of their pods once they have said it, and restarts none of them.
#[test]
fn what_brokers_speak_already_restarts_none() {
    let facts = serving(made(new(&json!({}))));
    assert_eq!(facts.object.status.protocol_version, None);
    assert_eq!(decide(&facts).unwrap().protocol.version.as_deref(), Some("3.9-IV0"));
    let again = made(facts);
    let decision = decide(&again).unwrap();
    assert_eq!(roll::next(&decision.roll.unwrap().facts), Next::Done);
}

/// An eviction takes nobody while one is away, lacks records, or is to be restarted.
#[test]
fn evictions_wait_until_nothing_can_fall() {
    let whole = whole(&json!({}));
    let mut lacking = whole.clone();
    let health = lacking.heard.get_mut(&1).unwrap().health.as_mut().unwrap();
    health.under_replicated = 1;
    assert!(!may_go(&lacking));
    let mut silent = whole.clone();
    silent.heard.remove(&2);
    assert!(!may_go(&silent));
    let mut due = whole.clone();
    due.object.spec.restarts.token = Some("again".to_owned());
    assert!(!may_go(&due));
    assert!(may_go(&whole));
}

/// One broker that is restarted is no harm; one that is away by itself, or cannot start, is.
#[test]
fn who_is_away_is_told_apart() {
    let whole = whole(&json!({}));
    let mut away = whole.clone();
    away.live.pods.remove("orders-1-0");
    away.heard.remove(&1);
    is(&away, "Ready", "False", "BrokersAway");
    is(&away, "Degraded", "True", "BrokersAway");

    let mut restarted = away.clone();
    restarted.object.status.roll = Some(crate::crd::cluster::status::Roll {
        current: Some(1),
        ..crate::crd::cluster::status::Roll::default()
    });
    is(&restarted, "Ready", "True", "Restarting");
    is(&restarted, "Degraded", "False", "AsExpected");

    let pod = json!({
        "metadata": { "name": "orders-1-0", "uid": "pod-9", "annotations": {} },
        "status": { "phase": "Pending", "containerStatuses": [{
            "name": "broker", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
            "state": { "waiting": { "reason": "CrashLoopBackOff", "message": "back-off 40s" } },
            "lastState": { "terminated": { "exitCode": 2, "reason": "Error", "message": "no key" } },
        }] },
    });
    let mut failing = restarted;
    failing.live.pods.insert("orders-1-0".to_owned(), Arc::new(pod_of(pod)));
    is(&failing, "Ready", "False", "PodFailing");
    is(&failing, "Degraded", "True", "PodFailing");
    let member = &said_of(&failing, &decide(&failing).unwrap()).members[1];
    let words = "CrashLoopBackOff: it ended with 2 (Error): no key";
    assert_eq!((member.phase.as_str(), member.message.as_str()), ("Failing", words));
}

/// A broker that is being emptied is said to leave as long as it serves, also while nobody decides about that.
#[test]
fn a_broker_that_is_emptied_leaves() {
    let mut facts = whole(&json!({}));
    let phase = |facts: &Facts| said_of(facts, &decide(facts).unwrap()).members[1].phase.clone();
    assert_eq!(phase(&facts), "Serving");
    facts.object.spec.paused = true;
    facts.object.status.members[1].phase = "Leaving".to_owned();
    assert_eq!(phase(&facts), "Leaving");
    facts.live.pods.remove("orders-1-0");
    assert_eq!(phase(&facts), "Away");
}

/// While brokers do not say what lies on them, nobody says that nothing goes on.
#[test]
fn silence_is_not_rest() {
    let mut facts = whole(&json!({}));
    let known = Upkeep { present: vec![0, 1, 2], ..Upkeep::default() };
    facts.upkeep = Some(known.clone());
    is(&facts, "Progressing", "False", "Idle");
    let unknown = Some("no broker answers".to_owned());
    let members = members::Decision { unknown, ..members::Decision::default() };
    facts.upkeep = Some(Upkeep { members, ..known });
    is(&facts, "Progressing", "Unknown", "ClusterUnreachable");
    is(&facts, "Ready", "True", "Ready");

    facts.upkeep = None;
    let decision = decide(&facts).unwrap();
    let error = Error::unknown("Node");
    let (before, now) = (&facts.object.status, Timestamp::from_second(facts.now).unwrap());
    let said = status::trouble(&facts, &decision, &error, before, now).unwrap();
    let told = said.conditions.iter().find(|one| one.r#type == "Progressing").unwrap();
    assert_eq!(told.status, "Unknown");
}

#[test]
fn what_cannot_be_or_is_paused_changes_nothing() {
    let mut facts = whole(&json!({}));
    facts.object.spec.version = Some("0.2.0".to_owned());
    facts.object.spec.paused = true;
    let paused = decide(&facts).unwrap();
    assert_eq!((paused.course.clone(), paused.steps.len()), (Course::Paused, 1));
    assert!(may_go(&facts), "nobody is restarted meanwhile");
    assert_eq!(paused.image, facts.object.status.image, "nothing is chosen");
    is(&facts, "Paused", "True", "Paused");
    facts.object.spec.config = [("num.partition".to_owned(), "1".to_owned())].into();
    let Course::Invalid(words) = decide(&facts).unwrap().course else { panic!("it can be") };
    let nearest = "did you mean `num.partitions`?";
    assert_eq!(words, [format!("spec.config: unknown key `num.partition`; {nearest}")]);
    assert_eq!(decide(&facts).unwrap().steps.len(), 1);
    is(&facts, "Degraded", "True", "InvalidSpec");
    is(&facts, "Ready", "True", "InvalidSpec");
}

/// The volumes of a new pod are given time. What is not there by then is named, and so is what a broker waits for.
#[test]
fn a_beginning_is_no_failure_for_a_while() {
    let mut facts = made(made(new(&json!({ "brokers": 1 }))));
    let created = Timestamp::from_second(facts.now).unwrap().to_string();
    let pod = json!({
        "metadata": {
            "name": "orders-0-0", "namespace": "shop", "uid": "pod-0", "creationTimestamp": created,
        },
        "spec": { "containers": [], "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": "data-orders-0-0" } },
        ] },
        "status": { "phase": "Pending", "conditions": [{
            "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no volume",
        }] },
    });
    facts.live.pods.insert("orders-0-0".to_owned(), Arc::new(pod_of(pod)));
    let claim = json!({
        "metadata": { "name": "data-orders-0-0" }, "spec": { "storageClassName": "fast" },
        "status": { "phase": "Pending" },
    });
    let claim = serde_json::from_value(claim).unwrap();
    facts.live.claims.insert("data-orders-0-0".to_owned(), Arc::new(claim));
    facts.now += 14;
    is(&facts, "Degraded", "False", "AsExpected");
    is(&facts, "Ready", "False", "Creating");
    facts.now += 1;
    is(&facts, "Degraded", "True", "PodFailing");
    let words = message(&facts, "Ready");
    let named = "Unschedulable: no volume; claim data-orders-0-0 (class fast) has no volume yet";
    assert_eq!(words, format!("0 of 1 brokers serve: broker 0: {named}"));

    // It runs, and waits for something of which its pod says nothing.
    let pod = json!({
        "metadata": { "name": "orders-0-0", "namespace": "shop", "uid": "pod-0" },
        "status": { "phase": "Running" },
    });
    facts.live.pods.insert("orders-0-0".to_owned(), Arc::new(pod_of(pod)));
    let mut waits = heard(0);
    waits.identity.broker_epoch = -1;
    let reason = "connecting to ZooKeeper".to_owned();
    waits.health = Some(Health { phase: Phase::Starting.into(), reason, ..Health::default() });
    facts.heard.insert(0, waits);
    is(&facts, "Ready", "False", "Creating");
    is(&facts, "Degraded", "False", "AsExpected");
    let expected = "0 of 1 brokers serve: broker 0: connecting to ZooKeeper";
    assert_eq!(message(&facts, "Ready"), expected);
    let said = said_of(&facts, &decide(&facts).unwrap());
    assert_eq!(said.version, None, "it has served nobody");
}

fn message(facts: &Facts, name: &str) -> String {
    let said = said_of(facts, &decide(facts).unwrap());
    said.conditions.into_iter().find(|one| one.r#type == name).unwrap().message
}

/// Brokers of another release may know a setting otherwise than this operator: what they said holds while nobody answers.
#[test]
fn settings_stay_what_they_are_while_nobody_answers() {
    let mut facts = whole(&json!({ "config": { "num.partitions": "3" } }));
    let dynamic = Setting { change: Change::Cluster, is_password: false };
    let told = [("num.partitions".to_owned(), dynamic), ("of.theirs".to_owned(), dynamic)];
    facts.schema = told.into_iter().collect();
    facts.object.spec.config.insert("of.theirs".to_owned(), "1".to_owned());
    let mut silent = facts.clone();
    (silent.said, silent.heard) = (Err("no broker answers".to_owned()), BTreeMap::new());
    let (told, untold) = (decide(&facts).unwrap(), decide(&silent).unwrap());
    assert_eq!(untold.course, Course::Goes, "what only they know is no mistake");
    let targets = |decision: &Decision| {
        decision
            .roll
            .as_ref()
            .unwrap()
            .facts
            .brokers
            .iter()
            .map(|one| one.revision.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(targets(&told), targets(&untold));
}

/// Whatever the spec says: how many an eviction may take follows from the brokers that are there.
#[test]
fn evictions_wait_while_a_cluster_is_paused_or_cannot_be() {
    let mut paused = whole(&json!({}));
    paused.object.spec.paused = true;
    let mut invalid = whole(&json!({}));
    invalid.object.spec.config = [("num.partition".to_owned(), "1".to_owned())].into();
    for whole in [paused, invalid] {
        let budget = |facts: &Facts| {
            let steps = decide(facts).unwrap().steps;
            assert!(matches!(&steps[..], [Step::Apply(one)] if matches!(**one, Wanted::Budget(_))));
            let [Step::Apply(one)] = &steps[..] else { unreachable!("it was one") };
            assert_eq!(
                one.of(&facts.live),
                ("PodDisruptionBudget orders-brokers".to_owned(), true)
            );
            may_go(facts)
        };
        assert!(budget(&whole));
        let mut away = whole.clone();
        away.live.pods.remove("orders-1-0");
        assert!(!budget(&away));
        let mut silent = whole.clone();
        silent.heard.remove(&1);
        assert!(!budget(&silent));
        let mut lacking = whole.clone();
        lacking.heard.get_mut(&1).unwrap().health.as_mut().unwrap().under_replicated = 1;
        assert!(!budget(&lacking));
        // Who is to come, or has gone for good, is not waited for.
        let mut other = whole.clone();
        other.object.spec.brokers = 5;
        assert!(budget(&other));
        // Of what ends, and of what nothing is made yet, nothing is applied.
        let mut ending = whole.clone();
        ending.object.is_emptied = true;
        assert_eq!(decide(&ending).unwrap().steps, []);
        let nothing = Facts { live: Live::default(), heard: [].into(), ..whole };
        assert_eq!(decide(&nothing).unwrap().steps, []);
    }
}

/// The files of a broker that is gone go, too; nobody else's do.
#[test]
fn files_of_brokers_that_are_gone_go() {
    let mut facts = whole(&json!({}));
    facts.object.spec.brokers = 2;
    let other = |name: &str, labels: Value| {
        let map = json!({ "metadata": { "name": name, "labels": labels } });
        (name.to_owned(), Arc::new(serde_json::from_value(map).unwrap()))
    };
    let labels = json!({
        "ottla.dev/cluster": "orders", "app.kubernetes.io/component": "broker", "ottla.dev/broker": "7",
    });
    facts.live.config_maps.extend([other("of-users", labels), other("plain", json!({}))]);
    let gone: Vec<Step> = decide(&facts).unwrap().steps;
    let gone = gone.into_iter().filter(|step| matches!(step, Step::Remove(_)));
    let expected = Step::Remove(Doomed::ConfigMap("orders-2".to_owned()));
    assert_eq!(gone.collect::<Vec<_>>(), [expected]);
}

/// Sets before claims, so that nobody makes them anew; and the object last.
#[test]
fn an_end_keeps_volumes_unless_told_otherwise() {
    let mut facts = whole(&json!({}));
    let claim = json!({ "metadata": { "name": "data-orders-0-0" }, "spec": {} });
    let claim = serde_json::from_value(claim).unwrap();
    facts.live.claims.insert("data-orders-0-0".to_owned(), Arc::new(claim));
    facts.object.is_deleted = true;
    assert_eq!(decide(&facts).unwrap().steps, [Step::LetGo]);
    facts.object.spec.storage.on_delete = crate::crd::cluster::VolumePolicy::Delete;
    let steps = decide(&facts).unwrap().steps;
    let doomed: Vec<&Doomed> = steps
        .iter()
        .filter_map(|step| if let Step::Remove(doomed) = step { Some(doomed) } else { None })
        .collect();
    assert_eq!(doomed.last(), Some(&&Doomed::Claim("data-orders-0-0".to_owned())));
    assert!(doomed.len() == 4 && !steps.contains(&Step::LetGo), "{steps:?}");
    let mut going = facts.clone();
    going.live.sets.clear();
    let claim = going.live.claims.get_mut("data-orders-0-0").unwrap();
    let now = Time(Timestamp::UNIX_EPOCH);
    Arc::make_mut(claim).metadata.deletion_timestamp = Some(now);
    assert_eq!(decide(&going).unwrap().steps, [Step::LetGo], "what goes is not waited for");

    facts.object.spec.deletion_protection = true;
    assert!(!decide(&facts).unwrap().steps.contains(&Step::LetGo));
    is(&facts, "Progressing", "False", "Protected");
    // Even a spec that cannot be ends.
    let mut facts = going;
    facts.object.spec.deletion_protection = false;
    facts.object.spec.config = [("num.partition".to_owned(), "1".to_owned())].into();
    assert_eq!(decide(&facts).unwrap().steps.last(), Some(&Step::LetGo));
}

/// What somebody else has made of a listener that is gone from the spec is deleted; what others own is not.
#[test]
fn services_that_nobody_asks_for_any_more_go() {
    let listeners = json!({ "listeners": [
        { "name": "client", "port": 9092 }, { "name": "out", "port": 9093, "type": "NodePort" },
    ] });
    let mut facts = whole(&listeners);
    facts.object.spec.listeners.truncate(1);
    let steps = decide(&facts).unwrap().steps;
    let gone: Vec<&str> = steps
        .iter()
        .filter_map(|step| {
            let Step::Remove(Doomed::Service(name)) = step else { return None };
            Some(name.as_str())
        })
        .collect();
    assert_eq!(gone, ["orders-out", "orders-out-0", "orders-out-1", "orders-out-2"]);
}

/// Brokers that do not answer the operator may serve clients: only Kubernetes can tell that none does.
#[test]
fn silence_alone_is_no_leave_to_restart() {
    let mut facts = whole(&json!({}));
    facts.heard.clear();
    facts.said = Err("no broker answers".to_owned());
    let silent = decide(&facts).unwrap().seen;
    assert!(silent.iter().all(|one| !one.serves()) && !nobody_is_up(&silent));
    for pod in facts.live.pods.values_mut() {
        Arc::make_mut(pod).status = None;
    }
    assert!(nobody_is_up(&decide(&facts).unwrap().seen));
}
