//! The scheduler, and the nodes: pods get a place, run as the test says, and end.

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::deletion::Deletion;
use super::super::json::{items, number, pairs, put, text};
use super::super::selector::chooses;
use super::super::state::{State, Who};
use super::super::store::Key;
use super::super::world::PodIs;
use super::condition::{is, say};
use super::volume::{bind, claims_of};
use super::{is_ending, listed};

const SCHEDULER: &str = "kube-scheduler";
const NODE: &str = "kubelet";

/// Places pods, and runs them.
pub(super) fn step(state: &mut State) {
    schedule(state);
    run(state);
}

/// Binds each pod that has no node to one that takes it.
fn schedule(state: &mut State) {
    for (key, pod) in listed(state, "pods", "") {
        let has_ended = ["Failed", "Succeeded"].contains(&text(&pod, "/status/phase"));
        if !text(&pod, "/spec/nodeName").is_empty() || is_ending(&pod) || has_ended {
            continue;
        }
        let why = match state.world.pod_is(&pod) {
            PodIs::Unschedulable(why) => why,
            PodIs::Waiting(_) | PodIs::Running | PodIs::Ready | PodIs::Failed => {
                match place(state, &pod) {
                    Some(node) => {
                        bind_pod(state, &key, &pod, &node);
                        continue;
                    }
                    None => "no node takes the pod",
                }
            }
        };
        let now = state.clock.now();
        let _ = state.update(&key, Who::status(SCHEDULER), |pod| {
            say(pod, "PodScheduled", false, "Unschedulable", &now);
            let last = pod["status"]["conditions"].as_array_mut().unwrap();
            let scheduled = last.iter_mut().find(|known| known["type"] == "PodScheduled");
            scheduled.unwrap()["message"] = why.into();
            Ok(())
        });
    }
}

fn bind_pod(state: &mut State, key: &Key, pod: &Value, node: &str) {
    if !claims_of(pod).iter().all(|claim| bind(state, claim)) {
        return;
    }
    let _ = state.update(key, Who::whole(SCHEDULER), |pod| {
        put(pod, "/spec/nodeName", node);
        Ok(())
    });
    let now = state.clock.now();
    let _ = state.update(key, Who::status(SCHEDULER), |pod| {
        say(pod, "PodScheduled", true, "", &now);
        Ok(())
    });
}

/// Returns the node with the fewest pods among those that may have `pod`.
fn place(state: &State, pod: &Value) -> Option<String> {
    let pods = listed(state, "pods", "");
    let on =
        |name: &str| pods.iter().filter(|(_, pod)| text(pod, "/spec/nodeName") == name).count();
    let nodes = listed(state, "nodes", "");
    let takes = |node: &Value| {
        let wanted = pairs(pod, "/spec/nodeSelector");
        let labels = pairs(node, "/metadata/labels");
        node["spec"]["unschedulable"] != true
            && is(node, "Ready")
            && wanted.iter().all(|label| labels.contains(label))
            && !is_repelled(pod, node, &nodes, &pods)
    };
    let fitting = nodes.iter().filter(|(_, node)| takes(node));
    fitting.map(|(key, _)| key.name.clone()).min_by_key(|name| (on(name), name.clone()))
}

/// Whether a required anti-affinity keeps `pod` from the place that `node` is in.
fn is_repelled(
    pod: &Value,
    node: &Value,
    nodes: &[(Key, Arc<Value>)],
    pods: &[(Key, Arc<Value>)],
) -> bool {
    let path = "/spec/affinity/podAntiAffinity/requiredDuringSchedulingIgnoredDuringExecution";
    let place_of = |node: &Value, topology: &str| {
        let labels = pairs(node, "/metadata/labels");
        labels.iter().find(|(name, _)| *name == topology).map(|(_, value)| (*value).to_owned())
    };
    items(pod, path).iter().any(|term| {
        let topology = text(term, "/topologyKey");
        let here = place_of(node, topology);
        pods.iter().any(|(key, other)| {
            let other_node =
                nodes.iter().find(|(key, _)| key.name == text(other, "/spec/nodeName"));
            let there = other_node.and_then(|(_, node)| place_of(node, topology));
            key.namespace == text(pod, "/metadata/namespace")
                && here.is_some()
                && here == there
                && chooses(&term["labelSelector"], other)
        })
    })
}

/// Runs what is bound to nodes that live, and ends what is to end.
fn run(state: &mut State) {
    for (key, pod) in listed(state, "pods", "") {
        let node = text(&pod, "/spec/nodeName");
        if node.is_empty() {
            continue;
        }
        let found = state.store.get(&Key::new("nodes", "", node));
        if !found.is_some_and(|node| is(node, "Ready")) {
            // Nobody hears of the pod any more; the node's controller says so.
            show(state, &key, &pod, &PodIs::Running);
        } else if is_ending(&pod) {
            let ends_at = text(&pod, "/metadata/deletionTimestamp");
            let grace = number(&pod, "/metadata/deletionGracePeriodSeconds").unwrap_or(0);
            let is_over = state.clock.now().as_str() >= ends_at && grace > 0;
            if state.world.has_ended(&pod) || is_over {
                let uid = Some(text(&pod, "/metadata/uid").to_owned());
                let _ = state.delete(&key, &Deletion { uid, ..Deletion::now() }, false);
            }
        } else if !["Failed", "Succeeded"].contains(&text(&pod, "/status/phase")) {
            let pod_is = state.world.pod_is(&pod);
            show(state, &key, &pod, &pod_is);
        }
    }
}

fn show(state: &mut State, key: &Key, pod: &Value, pod_is: &PodIs) {
    let now = state.clock.now();
    let is_new = text(pod, "/status/podIP").is_empty();
    let runs = matches!(pod_is, PodIs::Running | PodIs::Ready);
    if is_new && runs {
        state.world.addresses += 1;
    }
    let count = state.world.addresses;
    let address = format!("10.244.{}.{}", count >> 8, count & 255);
    let _ = state.update(key, Who::status(NODE), |pod| {
        let is_ready = *pod_is == PodIs::Ready;
        let phase = match pod_is {
            PodIs::Waiting("CrashLoopBackOff") | PodIs::Running | PodIs::Ready => "Running",
            PodIs::Waiting(_) | PodIs::Unschedulable(_) => "Pending",
            PodIs::Failed => "Failed",
        };
        put(pod, "/status/phase", phase);
        if is_new && runs {
            put(pod, "/status/podIP", address.clone());
            put(pod, "/status/podIPs", json!([{ "ip": address }]));
            put(pod, "/status/startTime", now.clone());
        }
        say(pod, "Initialized", true, "", &now);
        let reason = if is_ready { "" } else { "ContainersNotReady" };
        say(pod, "ContainersReady", is_ready, reason, &now);
        say(pod, "Ready", is_ready, reason, &now);
        let containers: Vec<Value> = items(pod, "/spec/containers")
            .iter()
            .map(|container| container_status(pod, container, pod_is, &now))
            .collect();
        put(pod, "/status/containerStatuses", containers);
        Ok(())
    });
}

fn container_status(pod: &Value, container: &Value, pod_is: &PodIs, now: &str) -> Value {
    let mut known = items(pod, "/status/containerStatuses").iter();
    let before = known.find(|known| known["name"] == container["name"]).cloned();
    let before = before.unwrap_or(Value::Null);
    let runs = matches!(pod_is, PodIs::Running | PodIs::Ready);
    let mut restarts = number(&before, "/restartCount").unwrap_or(0);
    let state = match pod_is {
        PodIs::Waiting(reason) => {
            let is_new = text(&before, "/state/waiting/reason") != *reason;
            restarts += i64::from(is_new && *reason == "CrashLoopBackOff");
            json!({ "waiting": { "reason": reason } })
        }
        PodIs::Failed => json!({ "terminated": { "reason": "Error", "exitCode": 1 } }),
        PodIs::Running | PodIs::Ready => match before.pointer("/state/running") {
            Some(running) => json!({ "running": running }),
            None => json!({ "running": { "startedAt": now } }),
        },
        PodIs::Unschedulable(_) => json!({ "waiting": { "reason": "ContainerCreating" } }),
    };
    json!({
        "name": container["name"],
        "image": container["image"],
        "ready": *pod_is == PodIs::Ready,
        "started": runs,
        "restartCount": restarts,
        "state": state,
    })
}
