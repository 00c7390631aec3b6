//! How volumes grow, and what is done about lost ones.

use serde_json::{Value, json};

use super::*;

fn names() -> Names {
    Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() }
}

fn volume(size: &str) -> Volume {
    Volume { name: "data".to_owned(), size: size.to_owned(), class: None }
}

/// A claim that asks for, and has, so much.
fn claim(asks: &str, has: &str) -> Claim {
    let (asks, has) = (Some(asks.to_owned()), Some(has.to_owned()));
    Claim { asks, has, class: Some("fast".to_owned()), ..Claim::default() }
}

fn disks(broker: i32, claim: Claim, set: &str) -> Disks {
    let size = |size: &str| BTreeMap::from([("data".to_owned(), size.to_owned())]);
    Disks {
        broker,
        claims: BTreeMap::from([("data".to_owned(), claim)]),
        set: Some(size(set)),
        alone: Some(Vec::new()),
    }
}

fn decided(size: &str, disks: &[Disks]) -> Decision {
    let classes = BTreeMap::from([("fast".to_owned(), true), ("slow".to_owned(), false)]);
    decide(&names(), &[volume(size)], disks, &classes)
}

fn claim_of(broker: i32) -> String {
    format!("data-orders-{broker}-0")
}

/// The claim first, then the set, then nothing; each look sees what the one before it did.
#[test]
fn a_volume_grows_in_place() {
    let first = decided("20Gi", &[disks(0, claim("10Gi", "10Gi"), "10Gi")]);
    let grow = Step::Grow { claim: claim_of(0), size: "20Gi".to_owned() };
    assert_eq!(first.steps, [grow]);
    let next = decided("20Gi", &[disks(0, claim("20Gi", "10Gi"), "10Gi")]);
    assert_eq!(next.steps, [Step::ReplaceSet { set: "orders-0".to_owned() }]);
    let told = &next.states[0];
    assert_eq!((told.size.as_deref(), &*told.wanted), (Some("10Gi"), "20Gi"));
    let replaced = Disks { set: None, ..disks(0, claim("20Gi", "10Gi"), "10Gi") };
    assert_eq!(decided("20Gi", &[replaced]).steps, []);
    let done = decided("20Gi", &[disks(0, claim("20480Mi", "20Gi"), "20Gi")]);
    assert_eq!(done, Decision::default());
}

fn servers(claims: [Claim; 3], set: Option<&str>) -> Decision {
    let claims = (0..).map(server_claim).zip(claims).collect();
    let set = set.map(|size| BTreeMap::from([("data".to_owned(), size.to_owned())]));
    let classes = BTreeMap::from([("fast".to_owned(), true), ("slow".to_owned(), false)]);
    let mut decision = Decision::default();
    let servers = Servers { claims, set };
    decide_servers(&names(), &volume("20Gi"), &servers, &classes, &mut decision);
    decision
}

fn server_claim(server: i32) -> String {
    format!("data-orders-zookeeper-{server}")
}

/// The claims of all servers first, then their one set, then nothing.
#[test]
fn the_volumes_of_an_ensemble_grow_in_place() {
    let (small, heard) = (|| claim("10Gi", "10Gi"), || claim("20Gi", "10Gi"));
    let grow = |server| Step::Grow { claim: server_claim(server), size: "20Gi".to_owned() };
    let first = servers([small(), small(), small()], Some("10Gi"));
    assert_eq!(first.steps, [grow(0), grow(1), grow(2)]);
    let next = servers([heard(), small(), heard()], Some("10Gi"));
    assert_eq!(next.steps, [grow(1)]);
    assert_eq!(next.states.len(), 3);
    let next = servers([heard(), heard(), heard()], Some("10Gi"));
    assert_eq!(next.steps, [Step::ReplaceSet { set: "orders-zookeeper".to_owned() }]);
    assert_eq!(servers([heard(), heard(), heard()], None).steps, []);
    let done = || claim("20Gi", "20Gi");
    assert_eq!(servers([done(), done(), done()], Some("20Gi")), Decision::default());
}

/// A server whose class lets nothing grow keeps the set as it is; one whose volume is lost is no reason to wait.
#[test]
fn an_ensemble_that_cannot_grow_is_told() {
    let done = || claim("20Gi", "20Gi");
    let slow = Claim { class: Some("slow".to_owned()), ..claim("10Gi", "10Gi") };
    let refused = servers([done(), slow, done()], Some("10Gi"));
    assert_eq!(refused.steps, []);
    assert!(refused.refused[&server_claim(1)].contains("StorageClass slow lets no volume grow"));
    let lost = Claim { is_lost: true, ..claim("10Gi", "10Gi") };
    let replaced = servers([done(), lost, done()], Some("10Gi"));
    assert_eq!(replaced.steps, [Step::ReplaceSet { set: "orders-zookeeper".to_owned() }]);
    assert!(replaced.lost.is_empty());
}

/// What cannot grow is said, and everything else of the broker goes on; what is larger already is left alone.
#[test]
fn what_cannot_grow_is_told() {
    let slow = Claim { class: Some("slow".to_owned()), ..claim("10Gi", "10Gi") };
    let refused =
        decided("20Gi", &[disks(0, slow, "10Gi"), disks(1, claim("10Gi", "10Gi"), "10Gi")]);
    assert_eq!(refused.steps, [Step::Grow { claim: claim_of(1), size: "20Gi".to_owned() }]);
    assert!(refused.refused[&claim_of(0)].contains("StorageClass slow lets no volume grow"));
    let other = Claim { class: Some("of others".to_owned()), ..claim("10Gi", "10Gi") };
    assert_eq!(decided("20Gi", &[disks(0, other, "10Gi")]).steps.len(), 1, "it is tried");
    let larger = decided("20Gi", &[disks(0, claim("50Gi", "50Gi"), "20Gi")]);
    assert_eq!(larger, Decision::default());
    let unbound = Claim { has: None, ..claim("20Gi", "") };
    assert_eq!(decided("20Gi", &[disks(0, unbound, "20Gi")]), Decision::default());
}

/// A claim that goes has its pod restarted where others have all of it, and never where somebody would lose records.
#[test]
fn a_lost_claim_is_made_again() {
    let lost = Claim { is_lost: true, ..claim("10Gi", "10Gi") };
    let decision = decided("10Gi", &[disks(0, lost.clone(), "10Gi")]);
    assert_eq!(decision.steps, [Step::DeleteClaim { claim: claim_of(0) }]);
    assert_eq!(decision.restarts, BTreeSet::from([0]));
    let going = Claim { is_going: true, ..lost };
    let decision = decided("10Gi", &[disks(0, going, "10Gi")]);
    assert_eq!((decision.steps.len(), decision.restarts.len()), (0, 1));

    let deleted = Claim { is_going: true, ..claim("10Gi", "10Gi") };
    let decision = decided("10Gi", &[disks(0, deleted.clone(), "10Gi")]);
    assert_eq!((decision.steps.len(), decision.restarts.len()), (0, 1));
    let alone = Disks { alone: Some(vec!["t-0".to_owned()]), ..disks(0, deleted.clone(), "10Gi") };
    let decision = decided("10Gi", &[alone]);
    assert!(decision.restarts.is_empty());
    assert!(decision.lost[&claim_of(0)].contains("nobody else has all of t-0"));
    let unknown = Disks { alone: None, ..disks(0, deleted, "10Gi") };
    assert!(decided("10Gi", &[unknown]).restarts.is_empty());
}

/// What Kubernetes says of a claim is understood, and told.
#[test]
fn a_claim_is_read() {
    let read = |given: Value| Claim::of(&serde_json::from_value(given).unwrap());
    let growing = read(json!({
        "spec": {"storageClassName": "fast", "resources": {"requests": {"storage": "20Gi"}}},
        "status": {
            "phase": "Bound", "capacity": {"storage": "10Gi"},
            "allocatedResourceStatuses": {"storage": "ControllerResizeInfeasible"},
            "conditions": [
                {"type": "ControllerResizeError", "status": "True", "message": "no space"},
                {"type": "Resizing", "status": "False"},
            ],
        },
    }));
    let words = "ControllerResizeInfeasible; ControllerResizeError: no space".to_owned();
    assert_eq!(growing, Claim { words, ..claim("20Gi", "10Gi") });
    let told = &decided("20Gi", &[disks(0, growing, "20Gi")]).states[0];
    assert!(told.message.contains("no space"), "{}", told.message);
    let lost = read(json!({
        "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": {"phase": "Lost"},
    }));
    assert!(lost.is_lost && lost.is_going);
}

/// A set is written with the sizes that it has, whatever the spec says by now.
#[test]
fn a_set_keeps_its_sizes() {
    let set = |size: &str| -> StatefulSet {
        let template = json!({
            "metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": size}}},
        });
        let spec = json!({"selector": {}, "template": {}, "volumeClaimTemplates": [template]});
        serde_json::from_value(json!({"spec": spec})).unwrap()
    };
    let mut wanted = set("20Gi");
    keep_sizes(&mut wanted, &set("10Gi"));
    assert_eq!(sizes(&wanted).unwrap()["data"], "10Gi");
    let mut going = set("10Gi");
    going.metadata.deletion_timestamp =
        serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    assert_eq!(sizes(&going), None);
}
