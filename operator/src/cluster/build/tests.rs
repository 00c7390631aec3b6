//! What is made of a spec, and what changes with it.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde_json::{Value, json};

use super::budget::pod_disruption_budget;
use super::config_map::config_map;
use super::network_policy::network_policy;
use super::service::services;
use super::stateful_set::stateful_set;
use super::zookeeper::ensemble;
use crate::admin::schema::{Change, Schema};
use crate::cluster::kept::inputs_of_broker;
use crate::cluster::settings::Outside;
use crate::cluster::validate::{Images, Surroundings, Valid, validate};
use crate::crd::cluster::ClusterSpec;
use crate::names::{Names, REVISION_ANNOTATION};

/// A cluster of three brokers with two volumes each, changed by what is `given`.
fn spec(given: &Value) -> ClusterSpec {
    let mut spec = json!({
        "brokers": 3,
        "version": "0.1.0",
        "zookeeper": {"managed": {}},
        "storage": {"volumes": [{"name": "a", "size": "1Gi"}, {"name": "b", "size": "2Gi"}]},
    });
    let given = given.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(given);
    serde_json::from_value(spec).unwrap()
}

fn validated(given: &Value, around: &Surroundings) -> Result<Valid, Vec<String>> {
    let names = Names { cluster: "orders".to_owned(), namespace: "shop".to_owned() };
    let images = Images { broker: "ottla".to_owned(), zookeeper: "zookeeper:3.9".to_owned() };
    validate(names, "uid".to_owned(), spec(given), &images, around)
}

pub(in crate::cluster) fn valid(given: &Value) -> Valid {
    validated(given, &Surroundings::default()).unwrap()
}

/// A broker's StatefulSet as the API server gets it.
fn set(valid: &Valid, broker: i32) -> Value {
    serde_json::to_value(stateful_set(valid, broker).unwrap().unwrap()).unwrap()
}

fn revision(valid: &Valid, broker: i32) -> String {
    let annotations = &set(valid, broker)["spec"]["template"]["metadata"]["annotations"];
    annotations[REVISION_ANNOTATION].as_str().unwrap().to_owned()
}

/// A restart is asked for by what needs one, and by nothing else; each broker by its own.
#[test]
fn only_what_needs_a_restart_makes_another_revision() {
    let before = valid(&json!({}));
    let same = [
        json!({"brokers": 5}),
        json!({"config": {"log.cleaner.threads": "2"}}),
        json!({"paused": true, "deletionProtection": true}),
        json!({"rebalance": {"throttle": "1Mi"}, "restarts": {"force": [1]}}),
        json!({"storage": {"volumes": [{"name": "a", "size": "9Gi"}, {"name": "b", "size": "9Gi"}]}}),
    ];
    for given in same {
        assert_eq!(revision(&valid(&given), 1), revision(&before, 1), "{given}");
    }
    let other = [
        json!({"version": "0.2.0"}),
        json!({"image": "mine:1"}),
        json!({"config": {"num.partitions": "2"}}),
        json!({"restarts": {"token": "again"}}),
        json!({"resources": {"limits": {"memory": "1Gi"}}}),
        json!({"podMetadata": {"labels": {"team": "a"}}}),
        json!({"listeners": [{"name": "client", "port": 9192}]}),
        json!({"protocolVersion": "3.8"}),
    ];
    for given in other {
        assert_ne!(revision(&valid(&given), 1), revision(&before, 1), "{given}");
    }
    let told = json!({"listeners": [
        {"name": "client", "port": 9092, "advertised": [{"broker": 1, "host": "b1.example.com"}]},
    ]});
    let told = valid(&told);
    assert_eq!(revision(&told, 0), revision(&before, 0));
    assert_ne!(revision(&told, 1), revision(&before, 1));
}

/// Another operator chooses another image for a release, and restarts nobody by that.
#[test]
fn an_image_stays_until_the_spec_says_another() {
    let image = |given: &Value, before: Option<&Valid>| {
        let image = before.map(|before| before.image.clone());
        let around = Surroundings { image, ..Surroundings::default() };
        validated(given, &around).unwrap()
    };
    let mut first = image(&json!({}), None);
    assert_eq!(first.image.name, "ottla:0.1.0");
    first.image.name = "elsewhere/ottla:0.1.0".to_owned();
    assert_eq!(image(&json!({}), Some(&first)).image, first.image);
    let next = image(&json!({"version": "0.2.0"}), Some(&first));
    assert_eq!(next.image.name, "ottla:0.2.0");
    let own = image(&json!({"image": "mine:1"}), Some(&next));
    assert_eq!(own.image.name, "mine:1");
    assert_eq!(image(&json!({"version": "0.2.0"}), Some(&own)).image.name, "ottla:0.2.0");
}

/// What is wrong with settings is said in the words of a broker, all at once; of a newer release its brokers say it.
#[test]
fn settings_are_checked_before_anything_is_made() {
    let wrong = json!({"config": {"num.partitions": "many", "num.partition": "1"}});
    let errors = validated(&wrong, &Surroundings::default()).unwrap_err();
    let words = errors.join("\n");
    assert!(words.contains("num.partitions") && words.contains("num.partition"), "{words}");
    let schema = Schema::from([("num.partition", Change::Restart)]);
    let around = Surroundings { schema: schema.clone(), ..Surroundings::default() };
    let errors = validated(&wrong, &around).unwrap_err();
    assert!(errors.len() == 1 && errors[0].contains("num.partitions"), "{errors:?}");
    let theirs = json!({"config": {"num.partition": "1"}});
    assert!(validated(&theirs, &around).is_ok());

    // Brokers that are upgraded may know it then; those that run on do not.
    let newer = json!({"config": {"num.partitions": "3"}});
    let before = validated(&newer, &around).unwrap();
    let around = Surroundings { schema, image: Some(before.image), ..Surroundings::default() };
    let errors = validated(&newer, &around).unwrap_err();
    assert!(errors[0].contains("does not know num.partitions"), "{errors:?}");
    let spoken = json!({"protocolVersion": "9.9"});
    let errors = validated(&spoken, &Surroundings::default()).unwrap_err();
    assert!(errors[0].starts_with("spec.protocolVersion: `inter.broker."), "{errors:?}");
    let unknown = json!({"config": {"entirely.else": "1"}});
    let errors = validated(&unknown, &Surroundings::default()).unwrap_err();
    assert_eq!(errors, ["spec.config: unknown key `entirely.else`"]);
    for (throttle, is_wrong) in [("0", true), ("0.5", true), ("2Pi", true), ("1", false)] {
        let given = json!({"rebalance": {"throttle": throttle}});
        let words = validated(&given, &Surroundings::default()).err().unwrap_or_default().join("");
        assert_eq!(words.contains("spec.rebalance.throttle"), is_wrong, "{throttle}: {words}");
    }
    let throttle = json!({"config": {"leader.replication.throttled.rate": "1"}});
    let errors = validated(&throttle, &Surroundings::default()).unwrap_err();
    assert!(errors[0].contains("spec.rebalance.throttle"), "{errors:?}");
}

/// Restarts and volumes are the operator's to decide: the set does neither by itself.
#[test]
fn a_set_restarts_nothing_and_deletes_nothing() {
    let set = set(&valid(&json!({})), 2);
    assert_eq!(set["metadata"]["name"], "orders-2");
    assert_eq!(set["spec"]["updateStrategy"], json!({"type": "OnDelete"}));
    assert_eq!(set["spec"]["persistentVolumeClaimRetentionPolicy"], Value::Null);
    let claims = set["spec"]["volumeClaimTemplates"].as_array().unwrap();
    let sizes: Vec<_> =
        claims.iter().map(|claim| &claim["spec"]["resources"]["requests"]["storage"]).collect();
    assert_eq!(sizes, ["1Gi", "2Gi"]);
    assert!(claims.iter().all(|claim| claim["metadata"]["ownerReferences"].is_null()));
    let labels = &set["spec"]["template"]["metadata"]["labels"];
    let selector = set["spec"]["selector"]["matchLabels"].as_object().unwrap();
    assert!(selector.iter().all(|(key, value)| labels[key] == *value));
}

/// A restricted namespace takes the pods.
#[test]
fn pods_need_no_rights() {
    let pod = &set(&valid(&json!({})), 0)["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    for container in pod["containers"].as_array().unwrap() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false);
        assert_eq!(context["readOnlyRootFilesystem"], true);
        assert_eq!(context["capabilities"]["drop"], json!(["ALL"]));
    }
}

/// A broker that is found from outside has no set and no files before it is known where.
#[test]
fn a_broker_waits_until_it_is_known_where_it_is_found() {
    let given = json!({"brokers": 2, "listeners": [
        {"name": "client", "port": 9092},
        {"name": "outside", "port": 9093, "type": "LoadBalancer"},
    ]});
    let at = Outside { host: Some("203.0.113.7".to_owned()), port: 9093 };
    let outside = BTreeMap::from([(0, BTreeMap::from([("outside".to_owned(), at)]))]);
    let around = Surroundings { outside, ..Surroundings::default() };
    let valid = validated(&given, &around).unwrap();
    assert!(stateful_set(&valid, 0).unwrap().is_some());
    assert!(stateful_set(&valid, 1).unwrap().is_none());
    let files = |broker| Some(config_map(&valid, broker)?.data?.into_keys().collect::<Vec<_>>());
    let expected = ["broker-0.properties", "broker.properties"].map(str::to_owned);
    assert_eq!((files(0), files(1)), (Some(expected.to_vec()), None));
    let names: BTreeSet<String> =
        services(&valid).into_iter().filter_map(|service| service.metadata.name).collect();
    let expected =
        ["orders", "orders-brokers", "orders-outside", "orders-outside-0", "orders-outside-1"];
    assert_eq!(names, expected.map(str::to_owned).into());
}

/// Servers find each other by the names that brokers find them by, and count from 1; one alone is no ensemble.
#[test]
fn an_ensemble_is_made_where_it_is_managed() {
    let made = |replicas: i32| {
        ensemble(&valid(&json!({"zookeeper": {"managed": {"replicas": replicas}}}))).unwrap()
    };
    let three = made(3);
    let settings = &three.config_map.data.as_ref().unwrap()["zoo.cfg"];
    let servers = settings.lines().filter(|line| line.starts_with("server.")).collect::<Vec<_>>();
    let last = "server.3=orders-zookeeper-2.orders-zookeeper.shop.svc:2888:3888";
    assert_eq!((servers.len(), servers[2]), (3, last));
    assert_eq!(three.stateful_set.spec.unwrap().replicas, Some(3));
    let alone = made(1).config_map.data.unwrap().remove("zoo.cfg").unwrap();
    assert!(!alone.contains("server."), "{alone}");
    let elsewhere = valid(&json!({"zookeeper": {"connect": "zk:2181"}}));
    assert_eq!(ensemble(&elsewhere), None);
    assert!(elsewhere.file.contains("zookeeper.connect=zk:2181"), "{}", elsewhere.file);
}

/// A server is ready once it serves, which takes a quorum; it lives as long as its port is open, and is found before.
/// Nobody is evicted while another one is not ready.
#[test]
fn a_server_without_a_quorum_is_not_ready() {
    let made = ensemble(&valid(&json!({"zookeeper": {"managed": {}}}))).unwrap();
    let set = serde_json::to_value(&made.stateful_set).unwrap();
    let container = &set["spec"]["template"]["spec"]["containers"][0];
    let readiness = &container["readinessProbe"];
    let script = readiness["exec"]["command"][2].as_str().unwrap();
    assert!(script.contains("127.0.0.1/2181") && script.contains("srvr"), "{script}");
    let settings = &made.config_map.data.as_ref().unwrap()["zoo.cfg"];
    let answered = settings.lines().find(|line| line.starts_with("4lw.commands.whitelist="));
    assert!(answered.unwrap().contains("srvr"), "a server answers what it is asked");
    assert_eq!(container["livenessProbe"]["tcpSocket"]["port"], 2181);
    assert!(container["livenessProbe"]["exec"].is_null());
    let known_after = |probe: &Value| {
        probe["periodSeconds"].as_i64().unwrap() * probe["failureThreshold"].as_i64().unwrap()
    };
    assert!(set["spec"]["minReadySeconds"].as_i64().unwrap() > known_after(readiness));
    assert_eq!(made.service.spec.unwrap().publish_not_ready_addresses, Some(true));
    let budget = made.budget.spec.unwrap();
    assert_eq!(budget.max_unavailable, Some(IntOrString::Int(1)));
    assert_eq!(budget.unhealthy_pod_eviction_policy, None);
}

/// Nobody is evicted while a broker is away or about to go.
#[test]
fn evictions_wait_for_restarts() {
    let valid = valid(&json!({}));
    for (may_go, most) in [(true, 1), (false, 0)] {
        let budget =
            serde_json::to_value(pod_disruption_budget(&valid.names, &valid.uid, may_go)).unwrap();
        assert_eq!(budget["spec"]["maxUnavailable"], most);
        assert_eq!(budget["spec"]["unhealthyPodEvictionPolicy"], "AlwaysAllow");
    }
}

/// Clients reach listeners; what is the brokers' and the operator's own nobody else does.
#[test]
fn each_port_is_reached_by_whom_it_is_for() {
    let policy = serde_json::to_value(network_policy(&valid(&json!({})))).unwrap();
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    let ports = |rule: &Value| {
        let ports = rule["ports"].as_array().unwrap().iter();
        ports.map(|port| port["port"].as_i64().unwrap()).collect::<Vec<_>>()
    };
    let reached: Vec<_> = rules.iter().map(|rule| (ports(rule), rule["from"].is_null())).collect();
    assert_eq!(reached, [(vec![9092, 9404], true), (vec![9091], false), (vec![9095], false)]);
}

/// Any pod may have the operator's label: its namespace is named, too, where that is known. Nothing restarts for that.
#[test]
fn the_admin_port_is_reached_from_the_operators_namespace() {
    let made = |home: Option<&str>| {
        let home = home.map(str::to_owned);
        let valid = validated(&json!({}), &Surroundings { home, ..Surroundings::default() });
        let valid = valid.unwrap();
        let policy = serde_json::to_value(network_policy(&valid)).unwrap();
        let from = policy["spec"]["ingress"][2]["from"].clone();
        assert_eq!(
            from[0]["podSelector"]["matchLabels"]["app.kubernetes.io/name"],
            "ottla-operator"
        );
        let pod = (set(&valid, 1), inputs_of_broker(&valid, 1));
        (from.as_array().unwrap().len(), from[0]["namespaceSelector"].clone(), pod)
    };
    let named = |name| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let (unknown, here, there) = (made(None), made(Some("here")), made(Some("there")));
    assert_eq!((unknown.0, unknown.1), (1, json!({})));
    assert_eq!((here.0, here.1), (1, named("here")));
    assert_eq!((there.0, there.1), (1, named("there")));
    assert_eq!((&here.2, &there.2), (&unknown.2, &unknown.2));
}
