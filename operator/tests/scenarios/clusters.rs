//! A cluster is made, changed and deleted.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::orders::{edit, is, is_whole, starts, status};
use super::stage::{self, Stage, condition, pass};
use super::support::fake::Fake;
use super::support::fake::deletion::{Deletion, Propagation};
use super::support::fake::exhaustive::{End, Scenario};
use super::support::fake::rights::Rights;

fn stage() -> Stage {
    Stage::new(stage::controllers)
}

/// A cluster as `spec` says, with a topic of three replicas.
fn world(stage: &Stage, spec: &Value) -> Fake {
    let fake = stage.world();
    for operator in ["first", "second"] {
        fake.restrict(operator, Rights::of_chart());
    }
    fake.create(stage::cluster(spec.clone()));
    let config = json!({ "config": { "min.insync.replicas": "2" } });
    fake.create(stage::topic("a", config));
    fake
}

/// What another hand has made under a name that the cluster needs is left alone, until it is gone.
#[test]
fn what_belongs_to_others_is_not_taken_over() {
    let stage = Stage::new(stage::controllers);
    let theirs = || {
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": { "name": "orders", "namespace": "default" },
            "spec": { "selector": { "app": "shop" }, "ports": [{ "name": "web", "port": 80 }] },
        })
    };
    let scenario = Scenario {
        world: || {
            let fake = world(&stage, &json!({}));
            fake.create(theirs());
            fake
        },
        operator: async |connection| stage.operate(connection).await,
        user: async |fake: Fake| {
            pass(60).await;
            let there = fake.get("services", "default", "orders").unwrap();
            assert_eq!(there["spec"]["selector"], theirs()["spec"]["selector"]);
            assert!(there["metadata"]["ownerReferences"].is_null(), "{there:#}");
            let said = status(&fake).to_string();
            assert!(said.contains("Service default/orders is there"), "{said}");
            fake.delete("services", "default", "orders");
            pass(300).await;
        },
        before: Duration::ZERO,
        quiet: Duration::from_mins(2),
        ignored: &["events.events.k8s.io"],
    };
    let end = scenario.run(None);
    is_whole(&end.fake);
}

/// Runs once what the user does, and checks the end.
fn play(stage: &Stage, spec: &Value, user: impl AsyncFn(Fake)) -> End {
    let scenario = Scenario {
        world: || world(stage, spec),
        operator: async |connection| stage.operate(connection).await,
        user,
        before: Duration::ZERO,
        quiet: Duration::from_mins(2),
        ignored: &["events.events.k8s.io"],
    };
    let end = scenario.run(None);
    stage.model().assert_sound();
    end
}

/// The brokers in the order in which their pods were deleted by the operator.
fn restarted(fake: &Fake) -> Vec<String> {
    let calls = fake.calls();
    let pods = calls
        .iter()
        .filter(|call| call.verb == "delete" && call.resource == "pods" && call.client != "user");
    pods.map(|call| call.name.clone()).collect()
}

fn reasons(fake: &Fake) -> Vec<String> {
    let events = fake.list("events.events.k8s.io", "default");
    events.iter().map(|event| event["reason"].as_str().unwrap().to_owned()).collect()
}

fn template(fake: &Fake, broker: i32) -> Value {
    let set = fake.get("statefulsets", "default", &format!("orders-{broker}")).unwrap();
    set["spec"]["template"].clone()
}

#[test]
fn a_cluster_is_made_and_then_nothing_is_written() {
    let stage = stage();
    let managed = json!({ "zookeeper": { "managed": {} } });
    let end = play(&stage, &managed, async |fake| {
        pass(120).await;
        is_whole(&fake);
        fake.forget_calls();
        tokio::time::advance(Duration::from_hours(1)).await;
        pass(600).await;
    });
    let fake = &end.fake;
    is_whole(fake);
    let writes: Vec<String> = fake.writes().iter().map(ToString::to_string).collect();
    assert!(writes.is_empty(), "{}", writes.join("\n"));
    let status = status(fake);
    assert_eq!(status["brokers"], 3);
    assert_eq!(status["version"], "0.1.0");
    assert_eq!(status["protocolVersion"], "3.9");
    assert_eq!(status["image"], json!({ "name": "ottla:0.1.0", "ofVersion": "0.1.0" }));
    assert_eq!(status["bootstrap"], "orders.default.svc:9092");
    assert_eq!(status["clusterId"].as_str().unwrap().len(), 22);
    assert_eq!(status["members"][1]["phase"], "Serving");
    assert_eq!(starts(&stage), [1, 1, 1]);
    assert_eq!(condition(fake, "topics", "a", "Ready"), "True");
    let budget = fake.get("poddisruptionbudgets", "default", "orders-brokers").unwrap();
    assert_eq!(budget["spec"]["maxUnavailable"], 1);
    assert_eq!(
        stage.metrics().page(&progress()).map(|page| lines(&page)).unwrap(),
        [
            "ottla_operator_writes_while_converged_total{kind=\"Cluster\"} 0",
            "ottla_operator_writes_while_converged_total{kind=\"Topic\"} 0",
        ]
    );
}

fn progress() -> operator::progress::Progress {
    operator::progress::Progress::new(operator::clock::Clock::system())
}

fn lines(page: &[u8]) -> Vec<String> {
    let page = String::from_utf8(page.to_vec()).unwrap();
    let lines = page.lines().filter(|line| line.starts_with("ottla_operator_writes_while"));
    lines.map(str::to_owned).collect()
}

#[test]
fn one_broker_alone_needs_no_zookeeper() {
    let stage = stage();
    let alone = json!({ "brokers": 1, "zookeeper": null });
    let end = play(&stage, &alone, async |_| pass(120).await);
    is_whole(&end.fake);
    assert_eq!(end.fake.list("statefulsets", "default").len(), 1);
}

/// What is dynamic restarts nobody; what is not does, one at a time and the controller last.
#[test]
fn settings_restart_brokers_only_where_they_must() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        edit(&fake, "config", json!({ "log.cleaner.threads": "2" }));
        pass(60).await;
        is_whole(&fake);
        assert_eq!(starts(&stage), [1, 1, 1]);
        let set = stage.model().with(|state| state.tree.settings.clone());
        assert_eq!(set, BTreeMap::from([("log.cleaner.threads".to_owned(), "2".to_owned())]));
        edit(&fake, "config", json!({ "num.partitions": "4" }));
        pass(300).await;
    });
    is_whole(&end.fake);
    assert!(stage.model().with(|state| state.tree.settings.is_empty()));
    assert_eq!(starts(&stage), [2, 2, 2]);
    assert_eq!(restarted(&end.fake), ["orders-1-0", "orders-2-0", "orders-0-0"]);
    stage.model().with(|state| {
        let of = |id: i32| state.processes[&id].settings["num.partitions"].clone();
        assert_eq!([0, 1, 2].map(of), ["4", "4", "4"].map(str::to_owned));
    });
    let reasons = reasons(&end.fake);
    for reason in ["Configured", "RollStarted", "BrokerRestarted", "RollFinished"] {
        assert!(reasons.iter().any(|one| one == reason), "{reason}: {reasons:?}");
    }
}

/// What cannot be is told in words, and nothing is touched.
#[test]
fn a_setting_that_nobody_knows_changes_nothing() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        edit(&fake, "config", json!({ "num.partition": "4", "log.cleaner.threads": "2" }));
        pass(60).await;
        assert_eq!(is(&fake, "Degraded"), "True");
        assert_eq!(is(&fake, "Ready"), "True");
        let words = status(&fake)["conditions"][2]["message"].to_string();
        assert!(words.contains("num.partition"), "{words}");
        assert!(stage.model().with(|state| state.tree.settings.is_empty()));
        edit(&fake, "config", json!({ "log.cleaner.threads": "2" }));
        pass(60).await;
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 1, 1]);
    assert!(reasons(&end.fake).iter().any(|reason| reason == "InvalidSpec"));
}

/// Binaries first, then what they speak; and back before that without a restart too many.
#[test]
fn an_upgrade_raises_the_protocol_last_and_can_be_taken_back_before() {
    let stage = stage();
    let end = play(&stage, &json!({ "protocolVersion": "3.8" }), async |fake| {
        stage.model().with(|state| {
            let known = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
            state.protocols.insert("0.1.0".to_owned(), known(&["3.7", "3.8"]));
            state.protocols.insert("0.2.0".to_owned(), known(&["3.7", "3.8", "3.9"]));
        });
        pass(120).await;
        is_whole(&fake);
        assert_eq!(status(&fake)["protocolVersion"], "3.8");
        edit(&fake, "version", "0.2.0");
        pass(300).await;
        is_whole(&fake);
        assert_eq!((starts(&stage), &status(&fake)["version"]), (vec![2, 2, 2], &json!("0.2.0")));
        assert_eq!(status(&fake)["protocolVersion"], "3.8");
        edit(&fake, "version", "0.1.0");
        pass(300).await;
        is_whole(&fake);
        assert_eq!((starts(&stage), &status(&fake)["version"]), (vec![3, 3, 3], &json!("0.1.0")));
        // With no word of the protocol it follows by itself.
        edit(&fake, "protocolVersion", Value::Null);
        edit(&fake, "version", "0.2.0");
        pass(600).await;
    });
    is_whole(&end.fake);
    assert_eq!(status(&end.fake)["protocolVersion"], "3.9");
    assert_eq!(starts(&stage), [5, 5, 5]);
}

/// A release that cannot be had stops the roll at the first broker; the one before heals it.
#[test]
fn a_bad_image_stops_the_roll_and_a_corrected_spec_heals_it() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        stage.model().with(|state| state.missing_releases.insert("9.9.9".to_owned()));
        pass(120).await;
        edit(&fake, "version", "9.9.9");
        pass(120).await;
        assert_eq!(starts(&stage), [1, 1, 1], "the others serve");
        assert_eq!([is(&fake, "Ready"), is(&fake, "Degraded")], ["False", "True"]);
        let told = status(&fake);
        assert_eq!(told["roll"]["current"], 1);
        assert!(told["roll"]["message"].to_string().contains("no image ottla:9.9.9"), "{told:#}");
        edit(&fake, "version", "0.1.0");
        pass(120).await;
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 2, 1]);
    assert!(reasons(&end.fake).iter().any(|reason| reason == "PodFailing"));
}

/// A setting with which brokers do not start stops the roll, too; so does one alone, whom nobody gives leave.
#[test]
fn a_crash_loop_is_healed_by_a_corrected_spec_also_without_a_controller() {
    let stage = stage();
    let alone = json!({ "brokers": 1, "zookeeper": null });
    let end = play(&stage, &alone, async |fake| {
        let refused = ("num.partitions".to_owned(), "7".to_owned());
        stage.model().with(|state| state.refused_settings.extend([refused]));
        pass(60).await;
        edit(&fake, "config", json!({ "num.partitions": "7" }));
        pass(120).await;
        assert_eq!(is(&fake, "Degraded"), "True");
        edit(&fake, "config", json!({}));
        pass(120).await;
    });
    is_whole(&end.fake);
    stage.model().with(|state| {
        assert!(!state.processes[&0].settings.contains_key("num.partitions"));
    });
}

#[test]
fn what_others_delete_comes_back() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        for (resource, name) in [
            ("services", "orders"),
            ("services", "orders-brokers"),
            ("configmaps", "orders-1"),
            ("poddisruptionbudgets", "orders-brokers"),
            ("networkpolicies", "orders-brokers"),
            ("serviceaccounts", "orders-brokers"),
        ] {
            fake.delete(resource, "default", name);
        }
        pass(60).await;
        is_whole(&fake);
        assert_eq!(starts(&stage), [1, 1, 1]);
        stage.model().excuse(1);
        fake.delete("statefulsets", "default", "orders-1");
        pass(120).await;
        // That was the user.
        let is_his = |words: &String| words.contains("broker 1 was taken away");
        stage.model().with(|state| state.violations.retain(|words| !is_his(words)));
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 2, 1]);
    assert!(reasons(&end.fake).iter().any(|reason| reason == "Restored"));
}

/// What another release of the operator rendered stays, however this one would render it.
#[test]
fn another_operator_restarts_nobody() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        // As another release would have kept it.
        for id in 0..3 {
            let name = format!("orders-{id}");
            let set = fake.get("statefulsets", "default", &name).unwrap();
            let kept = set["metadata"]["annotations"]["ottla.dev/kept"].as_str().unwrap();
            let mut kept: Value = serde_json::from_str(kept).unwrap();
            kept["template"]["spec"]["terminationGracePeriodSeconds"] = json!(33);
            let annotations = "/metadata/annotations/ottla.dev~1kept";
            fake.edit("statefulsets", "default", &name, annotations, kept.to_string()).unwrap();
        }
        pass(120).await;
        assert_eq!(template(&fake, 1)["spec"]["terminationGracePeriodSeconds"], 33);
        // A set that is made anew, around its pod, is made as it was.
        let alone = Deletion { propagation: Propagation::Orphan, ..Deletion::default() };
        fake.delete_with("statefulsets", "default", "orders-1", &alone);
        pass(120).await;
        assert_eq!(template(&fake, 1)["spec"]["terminationGracePeriodSeconds"], 33);
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 1, 1]);
}

#[test]
fn nothing_is_changed_while_a_cluster_is_paused() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        edit(&fake, "paused", true);
        edit(&fake, "config", json!({ "num.partitions": "4" }));
        fake.delete("configmaps", "default", "orders-1");
        pass(120).await;
        assert_eq!(is(&fake, "Paused"), "True");
        assert!(fake.get("configmaps", "default", "orders-1").is_none());
        assert_eq!(starts(&stage), [1, 1, 1]);
        edit(&fake, "paused", false);
        pass(300).await;
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [2, 2, 2]);
}

#[test]
fn a_cluster_that_is_deleted_goes_with_all_that_was_made_for_it() {
    for (policy, claims) in [("Retain", 3), ("Delete", 0)] {
        let stage = stage();
        let spec = json!({ "storage": { "onDelete": policy }, "deletionProtection": true });
        let end = play(&stage, &spec, async |fake| {
            pass(120).await;
            fake.delete("topics", "default", "a");
            pass(30).await;
            fake.delete("clusters", "default", "orders");
            pass(60).await;
            assert_eq!(status(&fake)["conditions"][1]["reason"], "Protected");
            edit(&fake, "deletionProtection", false);
            pass(120).await;
        });
        let left = |resource: &str| end.fake.list(resource, "default").len();
        assert_eq!(left("clusters"), 0);
        for resource in ["statefulsets", "pods", "configmaps", "poddisruptionbudgets"] {
            assert_eq!(left(resource), 0, "{resource}");
        }
        assert_eq!(left("persistentvolumeclaims"), claims, "{policy}");
    }
}

/// All that is protected goes with the namespace, whatever anybody says: nobody waits for it.
#[test]
fn a_namespace_that_is_deleted_goes_with_a_protected_cluster() {
    let stage = stage();
    let end = play(&stage, &json!({ "deletionProtection": true }), async |fake| {
        pass(120).await;
        fake.delete("namespaces", "", "default");
        pass(120).await;
    });
    for resource in ["topics", "clusters"] {
        assert_eq!(end.fake.list(resource, "default").len(), 0, "{resource}");
    }
    assert_eq!(end.fake.get("namespaces", "", "default"), None);
}

/// The newer word counts; a broker that is on its way comes back first.
#[test]
fn a_second_edit_in_mid_roll_takes_the_place_of_the_first() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        edit(&fake, "config", json!({ "num.partitions": "4" }));
        while restarted(&fake).is_empty() {
            pass(1).await;
        }
        assert_eq!(restarted(&fake).len(), 1, "it is in the middle");
        edit(&fake, "config", json!({ "num.partitions": "5" }));
        pass(300).await;
    });
    is_whole(&end.fake);
    stage.model().with(|state| {
        let of = |id: i32| state.processes[&id].settings["num.partitions"].clone();
        assert_eq!([0, 1, 2].map(of), ["5", "5", "5"].map(str::to_owned));
    });
    let counts = starts(&stage);
    assert!(counts.iter().sum::<u32>() <= 3 + 4, "one was restarted for both: {counts:?}");
}

/// What would fall is named, and after a while accepted where it falls by any restart.
#[test]
fn partitions_that_stand_in_the_way_are_named_and_waited_for() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        let config = json!({ "replicas": 2, "config": { "min.insync.replicas": "2" } });
        fake.create(stage::topic("b", config));
        pass(120).await;
        edit(&fake, "config", json!({ "num.partitions": "4" }));
        pass(30).await;
        assert_eq!([is(&fake, "Ready"), is(&fake, "Degraded")], ["True", "True"]);
        let told = status(&fake);
        assert!(told["roll"]["blockedBy"][0].to_string().contains("b-"), "{told:#}");
        assert!(told["roll"]["blockedSince"].as_i64().unwrap() > 0);
        pass(600).await;
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [2, 2, 2]);
    assert!(reasons(&end.fake).iter().any(|reason| reason == "RestartRefused"));
    let page = stage.metrics().page(&progress()).unwrap();
    let page = String::from_utf8(page).unwrap();
    assert!(page.contains("permits_refused_total{reason=\"unavoidable\"}"), "{page}");
    assert!(page.contains("rolls_total{outcome=\"finished\"} 1"), "{page}");
}

#[test]
fn a_pod_that_somebody_deletes_comes_back_and_restarts_nobody_else() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        pass(120).await;
        stage.model().excuse(1);
        fake.delete("pods", "default", "orders-1-0");
        pass(6).await;
        let budget = fake.get("poddisruptionbudgets", "default", "orders-brokers").unwrap();
        assert_eq!(budget["spec"]["maxUnavailable"], 0, "nobody else is evicted meanwhile");
        pass(120).await;
        let budget = fake.get("poddisruptionbudgets", "default", "orders-brokers").unwrap();
        assert_eq!(budget["spec"]["maxUnavailable"], 1);
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 2, 1]);
}

/// Brokers come, get their share and go again; nobody is restarted for it.
#[test]
fn a_cluster_grows_and_shrinks() {
    let stage = stage();
    let end = play(&stage, &json!({}), async |fake| {
        fake.create(stage::topic("b", json!({ "partitions": 9 })));
        pass(120).await;
        edit(&fake, "brokers", 4);
        pass(300).await;
        is_whole(&fake);
        assert!(stage.model().with(|state| state.tree.replicas_of(3)) > 4);
        edit(&fake, "brokers", 3);
        pass(300).await;
    });
    is_whole(&end.fake);
    assert_eq!(end.fake.list("statefulsets", "default").len(), 3);
    assert_eq!(starts(&stage), [1, 1, 1, 1]);
    assert!(status(&end.fake)["drains"].is_null());
}

/// Volumes grow in place, and pods hear which rack they are in.
#[test]
fn volumes_grow_and_pods_are_told_their_places() {
    let stage = stage();
    let storage =
        |size: &str| json!({ "volumes": [{ "name": "data", "size": size, "class": "standard" }] });
    let rack = json!({ "nodeLabel": "topology.kubernetes.io/zone" });
    let spec = json!({ "rack": rack, "storage": storage("10Gi") });
    let end = play(&stage, &spec, async |fake| {
        pass(120).await;
        is_whole(&fake);
        edit(&fake, "storage", storage("20Gi"));
        pass(120).await;
    });
    is_whole(&end.fake);
    assert_eq!(starts(&stage), [1, 1, 1]);
    let told = status(&end.fake);
    assert!(told["members"].as_array().unwrap().iter().all(|one| !one["rack"].is_null()));
    for claim in end.fake.list("persistentvolumeclaims", "default") {
        assert_eq!(claim["status"]["capacity"]["storage"], "20Gi");
    }
}

/// The volumes of a managed ensemble grow in place: its servers run on, and the next set has the size for all of them.
#[test]
fn the_volumes_of_an_ensemble_grow() {
    let stage = stage();
    let zookeeper =
        |size: &str| json!({ "managed": { "volume": { "size": size, "class": "standard" } } });
    let uids = |fake: &Fake| -> Vec<Value> {
        let pod = |number| fake.get("pods", "default", &format!("orders-zookeeper-{number}"));
        (0..3).map(|number| pod(number).unwrap()["metadata"]["uid"].clone()).collect()
    };
    let before = RefCell::default();
    let end = play(&stage, &json!({ "zookeeper": zookeeper("10Gi") }), async |fake| {
        pass(120).await;
        is_whole(&fake);
        *before.borrow_mut() = uids(&fake);
        edit(&fake, "zookeeper", zookeeper("20Gi"));
        pass(120).await;
    });
    let fake = &end.fake;
    is_whole(fake);
    assert_eq!(uids(fake), *before.borrow(), "no server is restarted");
    assert_eq!(starts(&stage), [1, 1, 1]);
    for number in 0..3 {
        let name = format!("data-orders-zookeeper-{number}");
        let claim = fake.get("persistentvolumeclaims", "default", &name).unwrap();
        assert_eq!(claim["status"]["capacity"]["storage"], "20Gi");
    }
    let set = fake.get("statefulsets", "default", "orders-zookeeper").unwrap();
    let template = &set["spec"]["volumeClaimTemplates"][0];
    assert_eq!(template["spec"]["resources"]["requests"]["storage"], "20Gi");
    assert!(status(fake)["volumes"].is_null());
    assert!(reasons(fake).contains(&"VolumeGrowing".to_owned()));
}
