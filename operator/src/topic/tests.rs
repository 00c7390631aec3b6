//! What is done about a topic, case by case.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::jiff::Timestamp;

use super::decide::{Again, Decision, Drift, Step, decide};
use super::facts::{Cluster, Existing, Facts, Here, Object};
use crate::assignment::{Broker, Load};
use crate::crd::condition::merge;
use crate::crd::topic::DeletionPolicy::{self, Delete, Protect, Retain};
use crate::crd::topic::{Approval, TopicSpec, TopicStatus};

const ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";
const FRESH: &str = "FFFFFFFFFFFFFFFFFFFFFF";

fn config(settings: &[(&str, &str)]) -> BTreeMap<String, String> {
    settings.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// An object of a topic with two partitions of two replicas, which is as it should be.
fn facts() -> Facts {
    let spec = TopicSpec {
        cluster: "c".to_owned(),
        topic_name: None,
        partitions: 2,
        replicas: 2,
        config: config(&[("retention.ms", "1000")]),
        assignment: None,
        deletion_policy: DeletionPolicy::Delete,
        adopt: false,
        dry_run: false,
        approval: None,
    };
    let topic = Existing {
        id: Some(ID.to_owned()),
        partitions: vec![vec![1, 2], vec![2, 3]],
        config: spec.config.clone(),
        ..Existing::default()
    };
    let here = Here {
        is_paused: false,
        brokers: (1..=3).map(|id| Broker { id, rack: None }).collect(),
        away: Vec::new(),
        load: Load::of(&topic.partitions),
        topic: Some(topic),
        problems: Vec::new(),
        throttle: "50Mi".to_owned(),
        bytes_left: None,
    };
    let object = Object {
        name: "t".to_owned(),
        generation: 1,
        is_deleted: false,
        has_finalizer: true,
        spec,
        status: TopicStatus { topic_id: Some(ID.to_owned()), ..TopicStatus::default() },
        elder: None,
    };
    Facts { object, cluster: Cluster::Here(Box::new(here)), fresh_id: FRESH.to_owned() }
}

fn here(facts: &mut Facts) -> &mut Here {
    let Cluster::Here(here) = &mut facts.cluster else { panic!("it is away") };
    here
}

fn topic(facts: &mut Facts) -> &mut Existing {
    here(facts).topic.as_mut().unwrap()
}

/// Decides about the facts once they are changed.
fn with(change: impl FnOnce(&mut Facts)) -> Decision {
    let mut facts = facts();
    change(&mut facts);
    decide(&facts)
}

/// Whether Ready holds, and why.
fn ready(decision: &Decision) -> (Option<bool>, &'static str) {
    let ready = &decision.findings[0];
    assert_eq!(ready.r#type, "Ready");
    (ready.holds, ready.reason)
}

fn id() -> String {
    ID.to_owned()
}

#[test]
fn a_topic_that_is_as_it_should_be_is_left_alone() {
    let decision = with(|_| ());
    assert_eq!((decision.steps.len(), decision.plan.as_ref()), (0, None));
    assert_eq!(ready(&decision), (Some(true), "Ready"));
    assert_eq!(decision.again, Again::OnChange);
    let named: Vec<_> =
        decision.findings.iter().map(|one| (one.r#type, one.holds, one.reason)).collect();
    let others = [
        ("Progressing", Some(false), "Idle"),
        ("Degraded", Some(false), "AsExpected"),
        ("Paused", Some(false), "Running"),
    ];
    assert_eq!(named[1..], others);
}

/// The finalizer comes before anything outside of Kubernetes, whatever else is wrong.
#[test]
fn the_finalizer_comes_first() {
    for cluster in [Cluster::Gone, facts().cluster] {
        let decision = with(|facts| {
            facts.object.has_finalizer = false;
            facts.cluster = cluster;
        });
        assert_eq!(decision.steps, [Step::Hold]);
    }
}

/// Its id is in the status before the topic is made, and is the same at the next try.
#[test]
fn a_topic_is_made_under_an_id_that_is_noted_first() {
    let absent = |noted: Option<&str>| {
        with(|facts| {
            here(facts).topic = None;
            here(facts).load = Load::default();
            facts.object.status.topic_id = noted.map(str::to_owned);
        })
    };
    let create = |id: &str| Step::Create {
        id: id.to_owned(),
        assignment: vec![vec![1, 2], vec![3, 1]],
        config: config(&[("retention.ms", "1000")]),
    };
    assert_eq!(absent(None).steps, [Step::Name { id: FRESH.to_owned() }, create(FRESH)]);
    assert_eq!(absent(Some(ID)).steps, [create(ID)]);
    let plan = absent(None).plan.unwrap();
    let expected = ["create t with 2 partitions of 2 replicas", "set retention.ms to 1000"];
    assert_eq!(plan.steps, expected);
    assert_eq!(plan.digest, absent(Some(ID)).plan.unwrap().digest);
}

/// Another hand has deleted it: that is believed at the second look, and the new one is another topic.
#[test]
fn a_topic_that_was_deleted_is_made_under_another_id() {
    let gone = |partitions| {
        with(|facts| {
            here(facts).topic = None;
            facts.object.status.partitions = Some(partitions);
        })
    };
    let first = gone(2);
    assert_eq!((ready(&first), first.steps.len()), ((Some(false), "TopicGone"), 0));
    assert_eq!(first.again, Again::Soon);
    let second = gone(0);
    assert_eq!(second.steps[0], Step::Name { id: FRESH.to_owned() });
    assert!(matches!(&second.steps[1], Step::Create { id, .. } if id == FRESH));
}

#[test]
fn what_cannot_be_is_said_and_not_tried() {
    type Change = fn(&mut Facts);
    let rows: [(Change, Option<bool>, &str, &str); 8] = [
        (|facts| facts.cluster = Cluster::Gone, Some(false), "ClusterNotFound", "no Cluster c"),
        (
            |facts| facts.cluster = Cluster::Away("nobody answers".to_owned()),
            None,
            "ClusterUnreachable",
            "nobody answers",
        ),
        (
            |facts| facts.object.elder = Some("first".to_owned()),
            Some(false),
            "TopicTaken",
            "Topic first is older",
        ),
        (
            |facts| {
                let said = [("configuration.a", "no"), ("replication_factor", "too many")];
                let said = said.map(|(field, words)| (field.to_owned(), words.to_owned()));
                here(facts).problems = said.into();
            },
            Some(false),
            "InvalidSpec",
            "spec.config.a: no; spec.replicas: too many",
        ),
        (|facts| topic(facts).is_going = true, Some(false), "BeingDeleted", "t is being deleted"),
        (|facts| topic(facts).id = None, Some(false), "NoTopicId", "no id yet"),
        (
            |facts| facts.object.status.topic_id = None,
            Some(false),
            "TopicExists",
            "set adopt to have it taken over",
        ),
        (
            |facts| facts.object.spec.replicas = 4,
            Some(false),
            "TooFewBrokers",
            "4 replicas are wanted, and there are 3 brokers",
        ),
    ];
    for (change, holds, reason, words) in rows {
        let decision = with(change);
        assert_eq!((ready(&decision), decision.steps.len()), ((holds, reason), 0));
        let message = &decision.findings[0].message;
        assert!(message.contains(words), "{reason}: {message}");
    }
}

/// Another topic under the name, also one that took the place of this object's, is taken over only where that is said.
#[test]
fn a_topic_is_taken_over_only_where_the_spec_says_so() {
    for noted in [None, Some("another".to_owned())] {
        let decision = with(|facts| {
            facts.object.status.topic_id.clone_from(&noted);
            facts.object.spec.adopt = true;
        });
        assert_eq!(decision.steps, [Step::Adopt { id: id() }]);
        let decision = with(|facts| facts.object.status.topic_id = noted);
        assert_eq!(ready(&decision), (Some(false), "TopicExists"));
    }
}

#[test]
fn more_partitions_and_replicas_are_added_to_those_that_there_are() {
    let decision = with(|facts| facts.object.spec.partitions = 3);
    let grow = Step::Grow { id: id(), from: 2, new: vec![vec![3, 1]] };
    assert_eq!(decision.steps, [grow]);
    let decision = with(|facts| facts.object.spec.replicas = 3);
    let moves = BTreeMap::from([(0, vec![1, 2, 3]), (1, vec![2, 3, 1])]);
    assert_eq!(decision.steps, [Step::Reassign { id: id(), moves }]);
    let plan = decision.plan.unwrap();
    assert_eq!(plan.steps, ["move t-0 to brokers 1, 2, 3; t-1 to brokers 2, 3, 1"]);
    // A broker that is away has what it had, and loses it first.
    for (replicas, moves) in [(3, [vec![1, 2, 3], vec![2, 3, 1]]), (1, [vec![1], vec![3]])] {
        let decision = with(|facts| {
            facts.object.spec.replicas = replicas;
            let here = here(facts);
            here.away = vec![here.brokers.remove(1)];
        });
        let moves = (0..).zip(moves).collect();
        assert_eq!(decision.steps, [Step::Reassign { id: id(), moves }]);
    }
    // Nobody asked for a move of what has the right number of replicas, wherever they are.
    let decision = with(|facts| topic(facts).partitions = vec![vec![1, 9], vec![9, 1]]);
    assert_eq!(decision.steps, []);
}

#[test]
fn an_assignment_that_is_given_is_followed() {
    let decision = with(|facts| {
        facts.object.spec.partitions = 3;
        facts.object.spec.assignment = Some(vec![vec![1, 2], vec![3, 2], vec![1, 3]]);
    });
    let moves = BTreeMap::from([(1, vec![3, 2])]);
    let reassign = Step::Reassign { id: id(), moves };
    let grow = Step::Grow { id: id(), from: 2, new: vec![vec![1, 3]] };
    assert_eq!(decision.steps, [reassign, grow]);
}

/// What moves is waited for, and told; it is turned where it leads elsewhere. A topic does not grow meanwhile.
#[test]
fn a_move_is_waited_for() {
    let moving = |facts: &mut Facts| {
        facts.object.spec.replicas = 3;
        facts.object.spec.partitions = 3;
        topic(facts).partitions = vec![vec![1, 2, 3], vec![2, 3, 1]];
        topic(facts).adding = BTreeMap::from([(0, vec![3]), (1, vec![1])]);
        topic(facts)
            .config
            .insert("leader.replication.throttled.replicas".to_owned(), "*".to_owned());
        here(facts).bytes_left = Some(77);
    };
    let decision = with(moving);
    assert_eq!((decision.steps.len(), decision.again), (0, Again::Soon));
    let progress = &decision.findings[1];
    assert_eq!((progress.holds, progress.reason), (Some(true), "Moving"));
    assert_eq!(
        progress.message,
        "replicas of 2 partitions move, 77 bytes are left, at 50Mi a second"
    );

    let turned = with(|facts| {
        moving(facts);
        facts.object.spec.replicas = 2;
    });
    let moves = BTreeMap::from([(0, vec![1, 2]), (1, vec![2, 3])]);
    assert_eq!(turned.steps, [Step::Reassign { id: id(), moves }]);
    let done = with(|facts| {
        moving(facts);
        topic(facts).adding.clear();
        topic(facts).removing.clear();
    });
    let reset = BTreeSet::from(["leader.replication.throttled.replicas".to_owned()]);
    let configure =
        Step::Configure { id: id(), set: BTreeMap::new(), reset: reset.clone(), drift_of: None };
    assert_eq!(done.steps[..2], [Step::Unthrottle, configure]);
    assert!(matches!(done.steps[2], Step::Grow { .. }), "{:?}", done.steps);
    // Brokers may keep throttles elsewhere: what was said of a move is enough.
    let over = with(|facts| {
        let said = with(moving).findings;
        facts.object.status.conditions = merge(&[], &said, 1, Timestamp::from_second(1).unwrap());
    });
    assert_eq!(over.steps, [Step::Unthrottle]);
    assert_eq!(over.findings[1].holds, Some(false), "what reminds of the move goes with it");
}

/// Settings are those of the spec and no others; who changed them is named where nothing of the spec has.
#[test]
fn settings_are_put_back() {
    let change = |facts: &mut Facts| {
        topic(facts).config = config(&[("retention.ms", "5"), ("segment.bytes", "6")]);
        topic(facts).config_author = Some("User:ann".to_owned());
    };
    let configure = |drift_of| Step::Configure {
        id: id(),
        set: config(&[("retention.ms", "1000")]),
        reset: BTreeSet::from(["segment.bytes".to_owned()]),
        drift_of,
    };
    assert_eq!(with(change).steps, [configure(None)]);
    let was_ready = |facts: &mut Facts, generation| {
        let all_well = with(|_| ()).findings;
        let now = Timestamp::from_second(1).unwrap();
        facts.object.status.conditions = merge(&[], &all_well, generation, now);
    };
    let drift = with(|facts| {
        change(facts);
        was_ready(facts, 1);
    });
    assert_eq!(drift.steps, [configure(Some(Drift { author: Some("User:ann".to_owned()) }))]);
    let edited = with(|facts| {
        change(facts);
        was_ready(facts, 0);
    });
    assert_eq!(edited.steps, [configure(None)]);
}

/// Whoever leads nothing serves nobody, whatever the spec says.
#[test]
fn a_topic_without_leaders_is_not_ready() {
    let decision = with(|facts| topic(facts).leaderless = [1].into());
    assert_eq!((ready(&decision), decision.steps.len()), ((Some(false), "NoLeader"), 0));
    let words = &decision.findings[2].message;
    assert!(words.starts_with("nobody leads partitions 1: "), "{words}");
    assert_eq!(decision.again, Again::Soon);
}

/// A topic that another hand has grown cannot shrink: that is said, and what to do.
#[test]
fn too_many_partitions_are_told() {
    let decision = with(|facts| facts.object.spec.partitions = 1);
    assert_eq!((ready(&decision), decision.steps.len()), ((Some(true), "MorePartitions"), 0));
    let harm = &decision.findings[2];
    assert_eq!((harm.holds, harm.reason), (Some(true), "MorePartitions"));
    assert!(harm.message.contains("set partitions to 2"), "{}", harm.message);
}

/// Plans are told where nothing may be done, and are done once they are approved by name.
#[test]
fn nothing_is_done_that_is_not_approved() {
    let grow = |facts: &mut Facts| facts.object.spec.partitions = 3;
    let digest = with(grow).plan.unwrap().digest;
    let dry = with(|facts| {
        grow(facts);
        facts.object.spec.dry_run = true;
    });
    assert_eq!((ready(&dry), dry.steps.len()), ((Some(true), "DryRun"), 0));
    assert_eq!(dry.plan.unwrap().steps, ["add 1 partitions to the 2 that there are"]);
    let approved = |digest: Option<String>| {
        with(|facts| {
            grow(facts);
            facts.object.spec.approval = Some(Approval { digest });
        })
    };
    for other in [None, Some("0".repeat(16))] {
        let waits = approved(other);
        assert_eq!((ready(&waits), waits.steps.len()), ((Some(true), "AwaitingApproval"), 0));
        assert!(waits.findings[0].message.contains(&digest));
    }
    assert_eq!(approved(Some(digest.clone())).steps.len(), 1);
    let another = with(|facts| facts.object.spec.partitions = 4).plan.unwrap().digest;
    assert_ne!(another, digest);

    let paused = with(|facts| {
        grow(facts);
        here(facts).is_paused = true;
    });
    assert_eq!((ready(&paused), paused.steps.len()), ((Some(true), "Paused"), 0));
    assert_eq!(paused.findings[3].holds, Some(true));
}

/// Deletion does what the policy says, touches no topic but its own, and waits for nobody.
#[test]
fn deletion_always_ends() {
    type Row = (DeletionPolicy, fn(&mut Facts), Vec<Step>);
    let deleted = |policy, change: fn(&mut Facts)| {
        with(|facts| {
            facts.object.is_deleted = true;
            facts.object.spec.deletion_policy = policy;
            change(facts);
        })
    };
    let away = |facts: &mut Facts| facts.cluster = Cluster::Away("down".to_owned());
    let rows: [Row; 11] = [
        (Delete, |_| (), vec![Step::Delete { id: id() }, Step::LetGo]),
        (Delete, away, vec![Step::Bury { id: id() }, Step::LetGo]),
        (Delete, |facts| facts.cluster = Cluster::Gone, vec![Step::LetGo]),
        (Protect, |facts| facts.cluster = Cluster::Gone, vec![Step::LetGo]),
        (Retain, away, vec![Step::LetGo]),
        // Whoever led before may be about to make it: this operator's term is told.
        (Delete, |facts| here(facts).topic = None, vec![Step::Delete { id: id() }, Step::LetGo]),
        (Delete, |facts| topic(facts).is_going = true, vec![Step::LetGo]),
        (
            Delete,
            |facts| topic(facts).id = Some("another".to_owned()),
            vec![Step::Delete { id: id() }, Step::LetGo],
        ),
        (Delete, |facts| facts.object.status.topic_id = None, vec![Step::LetGo]),
        // A spec that cannot be stands in the way of nothing.
        (
            Delete,
            |facts| here(facts).problems = vec![("name".to_owned(), "no".to_owned())],
            vec![Step::Delete { id: id() }, Step::LetGo],
        ),
        (Delete, |facts| facts.object.has_finalizer = false, vec![]),
    ];
    for (number, (policy, change, steps)) in rows.into_iter().enumerate() {
        assert_eq!(deleted(policy, change).steps, steps, "row {number}");
    }
    let kept = deleted(Protect, |_| ());
    assert_eq!((ready(&kept), kept.steps.len()), ((Some(false), "Protected"), 0));
    let kept = deleted(Delete, |facts| here(facts).is_paused = true);
    assert_eq!((ready(&kept), kept.steps.len()), ((Some(false), "Paused"), 0));
}
