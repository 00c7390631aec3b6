//! What the server makes of an object before it stores it: defaults of the built-in kinds, and changes that it refuses.
//!
//! Source: the defaults and the validation of Kubernetes 1.34, as far as an operator of brokers comes across them.

use serde_json::{Value, json};

use super::json::{drop_empty, drop_nulls, items, put, put_default, take, text};
use super::kind::Kind;
use super::refusal::Refusal;
use super::schema::{Wrong, conform};
use super::selector::chooses;

/// Fields of a `StatefulSet`'s spec that may change.
const STATEFUL_SET_MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];

/// Completes `object`, and refuses it where it breaks a rule; `before` is what is stored, for an update.
pub(crate) fn admit(
    kind: &Kind,
    object: &mut Value,
    before: Option<&Value>,
) -> Result<(), Refusal> {
    if let Some(metadata) = object.get_mut("metadata") {
        drop_nulls(metadata);
        drop_empty(metadata);
    }
    let wrong = if let Some(schema) = &kind.schema {
        conform(object, schema)
    } else {
        drop_nulls(object);
        drop_empty(object);
        put_defaults(kind, object);
        let mut wrong = unselected(kind, object);
        if let Some(before) = before {
            wrong.extend(immutable(kind, before, object));
        }
        wrong
    };
    let name = text(object, "/metadata/name").to_owned();
    if wrong.is_empty() { Ok(()) } else { Err(Refusal::invalid(kind, &name, &wrong)) }
}

fn put_defaults(kind: &Kind, object: &mut Value) {
    match kind.kind.as_str() {
        "StatefulSet" => stateful_set(object),
        "Pod" => pod_spec(&mut object["spec"]),
        "Service" => service(object),
        "NetworkPolicy" => network_policy(object),
        "Namespace" => {
            let name = object["metadata"]["name"].clone();
            put_default(object, "/metadata/labels/kubernetes.io~1metadata.name", name);
        }
        "PersistentVolumeClaim" => put_default(object, "/spec/volumeMode", "Filesystem"),
        "Secret" => put_default(object, "/type", "Opaque"),
        _ => {}
    }
}

fn network_policy(object: &mut Value) {
    for direction in ["ingress", "egress"] {
        let rules = object["spec"].get_mut(direction).and_then(Value::as_array_mut);
        for rule in rules.into_iter().flatten() {
            let ports = rule.get_mut("ports").and_then(Value::as_array_mut);
            ports.into_iter().flatten().for_each(|port| put_default(port, "/protocol", "TCP"));
        }
    }
}

fn stateful_set(object: &mut Value) {
    if object["spec"]["minReadySeconds"] == 0 {
        take(object, "/spec/minReadySeconds");
    }
    put_default(object, "/spec/replicas", 1);
    put_default(object, "/spec/podManagementPolicy", "OrderedReady");
    put_default(object, "/spec/revisionHistoryLimit", 10);
    // The partition has a default where nothing is said of the strategy, or something of the partition's parent.
    let is_unset = text(object, "/spec/updateStrategy/type").is_empty();
    put_default(object, "/spec/updateStrategy/type", "RollingUpdate");
    if is_unset || object.pointer("/spec/updateStrategy/rollingUpdate").is_some() {
        put_default(object, "/spec/updateStrategy/rollingUpdate/partition", 0);
    }
    let policy = "/spec/persistentVolumeClaimRetentionPolicy";
    put_default(object, &format!("{policy}/whenDeleted"), "Retain");
    put_default(object, &format!("{policy}/whenScaled"), "Retain");
    pod_spec(&mut object["spec"]["template"]["spec"]);
    let Some(claims) = object["spec"]["volumeClaimTemplates"].as_array_mut() else { return };
    for claim in claims {
        put_default(claim, "/apiVersion", "v1");
        put_default(claim, "/kind", "PersistentVolumeClaim");
        put_default(claim, "/spec/volumeMode", "Filesystem");
        put_default(claim, "/status/phase", "Pending");
    }
}

fn pod_spec(spec: &mut Value) {
    put_default(spec, "/restartPolicy", "Always");
    put_default(spec, "/terminationGracePeriodSeconds", 30);
    put_default(spec, "/dnsPolicy", "ClusterFirst");
    put_default(spec, "/schedulerName", "default-scheduler");
    put_default(spec, "/securityContext", json!({}));
    // The old name of the account follows the new one, and stands in for it where that is missing.
    if let Some(account) = spec.get("serviceAccountName").cloned() {
        put(spec, "/serviceAccount", account);
    } else if let Some(account) = spec.get("serviceAccount").cloned() {
        put(spec, "/serviceAccountName", account);
    }
    for list in ["containers", "initContainers"] {
        spec[list].as_array_mut().into_iter().flatten().for_each(container);
        if spec[list].is_null() {
            spec.as_object_mut().unwrap().shift_remove(list);
        }
    }
    let Some(volumes) = spec.get_mut("volumes").and_then(Value::as_array_mut) else { return };
    for volume in volumes {
        for source in ["configMap", "secret", "projected"] {
            if volume.get(source).is_some() {
                put_default(volume, &format!("/{source}/defaultMode"), 420);
            }
        }
        let sources = volume.pointer_mut("/projected/sources").and_then(Value::as_array_mut);
        for source in sources.into_iter().flatten() {
            if source.get("serviceAccountToken").is_some() {
                put_default(source, "/serviceAccountToken/expirationSeconds", 3_600);
            }
        }
    }
}

fn container(container: &mut Value) {
    let image = text(container, "/image");
    let has_tag = image.rsplit('/').next().is_some_and(|name| name.contains([':', '@']));
    let is_latest = !has_tag || image.ends_with(":latest");
    let pull = if is_latest { "Always" } else { "IfNotPresent" };
    put_default(container, "/imagePullPolicy", pull);
    put_default(container, "/terminationMessagePath", "/dev/termination-log");
    put_default(container, "/terminationMessagePolicy", "File");
    put_default(container, "/resources", json!({}));
    for list in ["ports", "env"] {
        let Some(elements) = container.get_mut(list).and_then(Value::as_array_mut) else {
            continue;
        };
        for element in elements {
            if list == "ports" {
                put_default(element, "/protocol", "TCP");
            } else if element.pointer("/valueFrom/fieldRef").is_some() {
                put_default(element, "/valueFrom/fieldRef/apiVersion", "v1");
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let Some(probe) = container.get_mut(probe) else { continue };
        for (name, default) in [
            ("timeoutSeconds", 1),
            ("periodSeconds", 10),
            ("successThreshold", 1),
            ("failureThreshold", 3),
        ] {
            put_default(probe, &format!("/{name}"), default);
        }
        if probe.get("httpGet").is_some() {
            put_default(probe, "/httpGet/scheme", "HTTP");
            put_default(probe, "/httpGet/path", "/");
        }
        if probe.get("grpc").is_some() {
            put_default(probe, "/grpc/service", "");
        }
    }
}

fn service(object: &mut Value) {
    put_default(object, "/spec/type", "ClusterIP");
    put_default(object, "/spec/sessionAffinity", "None");
    put_default(object, "/spec/internalTrafficPolicy", "Cluster");
    put_default(object, "/spec/ipFamilies", json!(["IPv4"]));
    put_default(object, "/spec/ipFamilyPolicy", "SingleStack");
    if text(object, "/spec/type") != "ClusterIP" {
        put_default(object, "/spec/externalTrafficPolicy", "Cluster");
    }
    if text(object, "/spec/type") == "LoadBalancer" {
        put_default(object, "/spec/allocateLoadBalancerNodePorts", true);
    }
    // The address is of the name, so that two runs give the same one.
    let name =
        format!("{}/{}", text(object, "/metadata/namespace"), text(object, "/metadata/name"));
    let sum = name.bytes().fold(7_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    put_default(object, "/spec/clusterIP", format!("10.96.{}.{}", sum >> 8 & 255, sum & 255));
    let address = object["spec"]["clusterIP"].clone();
    put_default(object, "/spec/clusterIPs", json!([address]));
    let is_open = text(object, "/spec/type") != "ClusterIP";
    let ports = object["spec"].get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        put_default(port, "/protocol", "TCP");
        let target = port["port"].clone();
        put_default(port, "/targetPort", target);
        if is_open {
            let number = 30_000 + (u64::from(sum) + port["port"].as_u64().unwrap_or(0)) % 2_768;
            put_default(port, "/nodePort", number);
        }
    }
}

/// A set must select the pods that it makes.
fn unselected(kind: &Kind, object: &Value) -> Vec<Wrong> {
    let template = &object["spec"]["template"];
    if kind.kind != "StatefulSet" || chooses(&object["spec"]["selector"], template) {
        return Vec::new();
    }
    let labels = &template["metadata"]["labels"];
    let why = format!("Invalid value: {labels}: `selector` does not match template `labels`");
    vec![("spec.template.metadata.labels".to_owned(), why)]
}

/// Returns the changes from `before` to `after` that the kind does not allow.
fn immutable(kind: &Kind, before: &Value, after: &Value) -> Vec<Wrong> {
    let changed = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    let refuse = |pointer: &str, why: &str| (pointer[1..].replace('/', "."), why.to_owned());
    let fixed = |pointers: &[&str]| -> Vec<Wrong> {
        let wrong = pointers.iter().filter(|pointer| changed(pointer));
        let why = match kind.kind.as_str() {
            "ConfigMap" | "Secret" => "Forbidden: field is immutable when `immutable` is set",
            _ => "Invalid value: field is immutable",
        };
        wrong.map(|pointer| refuse(pointer, why)).collect()
    };
    match kind.kind.as_str() {
        "StatefulSet" => stateful_set_change(before, after),
        "RoleBinding" | "ClusterRoleBinding" => fixed(&["/roleRef"]),
        "StorageClass" => fixed(&["/provisioner", "/parameters", "/reclaimPolicy"]),
        "ConfigMap" | "Secret" if before["immutable"] == true => fixed(&["/data", "/immutable"]),
        "Secret" => fixed(&["/type"]),
        "Service" if !["", "None"].contains(&text(after, "/spec/clusterIP")) => {
            fixed(&["/spec/clusterIP"])
        }
        "PersistentVolumeClaim" => {
            let why = "Forbidden: spec is immutable after creation except resources.requests and \
                       volumeAttributesClassName for bound claims";
            let mut wanted = after["spec"].clone();
            wanted["resources"]["requests"] = before["spec"]["resources"]["requests"].clone();
            if before["spec"].get("volumeName").is_none() {
                super::json::copy(&mut wanted, &before["spec"], "/volumeName");
            }
            if wanted == before["spec"] { Vec::new() } else { vec![refuse("/spec", why)] }
        }
        "Pod" => pod_change(before, after),
        _ => Vec::new(),
    }
}

fn stateful_set_change(before: &Value, after: &Value) -> Vec<Wrong> {
    let fields = |object: &Value| object["spec"].as_object().cloned().unwrap_or_default();
    let (old, new) = (fields(before), fields(after));
    let is_fixed = |name: &&String| !STATEFUL_SET_MUTABLE.contains(&name.as_str());
    let differs =
        old.keys().chain(new.keys()).filter(is_fixed).any(|name| old.get(name) != new.get(name));
    let why = "Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', \
               'template', 'updateStrategy', 'revisionHistoryLimit', \
               'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";
    if differs { vec![("spec".to_owned(), why.to_owned())] } else { Vec::new() }
}

/// A pod's spec is fixed, but for the images, the node it is bound to, and gates that are lifted.
fn pod_change(before: &Value, after: &Value) -> Vec<Wrong> {
    let rest = |pod: &Value| {
        let mut spec = pod["spec"].clone();
        for name in ["nodeName", "tolerations", "schedulingGates", "activeDeadlineSeconds"] {
            spec.as_object_mut().map(|spec| spec.shift_remove(name));
        }
        for container in spec["containers"].as_array_mut().into_iter().flatten() {
            container.as_object_mut().map(|container| container.shift_remove("image"));
        }
        spec
    };
    let moved = !text(before, "/spec/nodeName").is_empty()
        && text(before, "/spec/nodeName") != text(after, "/spec/nodeName");
    if rest(before) == rest(after) && !moved {
        return Vec::new();
    }
    let why = "Forbidden: pod updates may not change fields other than the images";
    vec![("spec".to_owned(), why.to_owned())]
}

/// Whether `claim` asks for more than `before` did, and `None` where it asks for less.
pub(crate) fn grows(before: &Value, claim: &Value) -> Option<bool> {
    let asked = |claim: &Value| bytes(text(claim, "/spec/resources/requests/storage"));
    (asked(claim) >= asked(before)).then(|| asked(claim) > asked(before))
}

/// Reads a quantity of bytes; 0 for what is none.
pub(crate) fn bytes(quantity: &str) -> u64 {
    let digits = quantity.find(|c: char| !c.is_ascii_digit()).unwrap_or(quantity.len());
    let number: u64 = quantity[..digits].parse().unwrap_or(0);
    let factor: u64 = match &quantity[digits..] {
        "Ki" => 1 << 10,
        "Mi" => 1 << 20,
        "Gi" => 1 << 30,
        "Ti" => 1 << 40,
        "k" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        _ => 1,
    };
    number * factor
}

/// Returns the names of the `finalizers` of `object`.
pub(crate) fn finalizers(object: &Value) -> Vec<String> {
    let names = items(object, "/metadata/finalizers").iter().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}
