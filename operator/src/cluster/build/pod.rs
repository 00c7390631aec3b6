//! The pod of a broker: no shell, no rights, nothing that can be written but its volumes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Container, ContainerPort, DownwardAPIVolumeFile, DownwardAPIVolumeSource, HTTPGetAction,
    ObjectFieldSelector, PodSpec, PodTemplateSpec, Probe, TopologySpreadConstraint, Volume,
    VolumeMount,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::config_map::{COMMON_FILE, own_file};
use super::restricted::{self, field};
use super::selector;
use crate::cluster::place;
use crate::cluster::validate::{Valid, mount};
use crate::names::{ADMIN_PORT, BROKER_LABEL, Component, METRICS_PORT, REPLICATION_PORT};

/// The user and the group of all processes.
const USER: i64 = 65_532;

/// How long a broker has to hand over, answer and close its logs; it takes 25 seconds at most, but for the disk.
const GRACE_SECONDS: i64 = 90;

/// Where the files are.
const FILES: &str = "/etc/ottla";

/// Where the file is that says where the pod is, and its name.
const PLACE: &str = "/etc/ottla-place";
const PLACE_FILE: &str = "place.properties";

/// Makes the template of one broker's pod, but for what it is called by its revision.
pub fn pod_template(valid: &Valid, broker: i32) -> PodTemplateSpec {
    let metadata = valid.spec.pod_metadata.clone().unwrap_or_default();
    let mut labels = metadata.labels;
    labels.extend(valid.names.labels(Component::Broker));
    labels.insert(BROKER_LABEL.to_owned(), broker.to_string());
    let mut annotations = BTreeMap::from([
        ("prometheus.io/scrape".to_owned(), "true".to_owned()),
        ("prometheus.io/port".to_owned(), METRICS_PORT.to_string()),
        ("prometheus.io/path".to_owned(), "/metrics".to_owned()),
    ]);
    annotations.extend(metadata.annotations);
    if let Some(token) = &valid.spec.restarts.token {
        annotations.insert("ottla.dev/restart-token".to_owned(), token.clone());
    }
    PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some(labels),
            annotations: Some(annotations),
            ..ObjectMeta::default()
        }),
        spec: Some(pod(valid, broker)),
    }
}

fn pod(valid: &Valid, broker: i32) -> PodSpec {
    let scheduling = valid.spec.scheduling.as_ref();
    let mut pod = restricted::pod(valid, Component::Broker, USER, scheduling);
    if let Some(context) = &mut pod.security_context {
        // A large volume is not gone through at each start.
        context.fs_group_change_policy = Some("OnRootMismatch".to_owned());
    }
    PodSpec {
        termination_grace_period_seconds: Some(GRACE_SECONDS),
        containers: vec![container(valid)],
        volumes: Some(files(valid, broker)),
        topology_spread_constraints: pod
            .topology_spread_constraints
            .take()
            .or_else(|| spread(valid)),
        ..pod
    }
}

/// The files that a broker reads.
fn files(valid: &Valid, broker: i32) -> Vec<Volume> {
    let config = restricted::config(valid.names.broker(broker));
    let place = place::is_told(&valid.spec).then(|| Volume {
        name: "place".to_owned(),
        downward_api: Some(DownwardAPIVolumeSource {
            items: Some(vec![DownwardAPIVolumeFile {
                path: PLACE_FILE.to_owned(),
                field_ref: Some(ObjectFieldSelector {
                    field_path: format!("metadata.annotations['{}']", place::ANNOTATION),
                    api_version: None,
                }),
                ..DownwardAPIVolumeFile::default()
            }]),
            ..DownwardAPIVolumeSource::default()
        }),
        ..Volume::default()
    });
    std::iter::once(config).chain(place).collect()
}

fn container(valid: &Valid) -> Container {
    let own = own_file("$(BROKER_ID)");
    let mut args = vec![
        "--config".to_owned(),
        format!("{FILES}/{COMMON_FILE}"),
        "--config".to_owned(),
        format!("{FILES}/{own}"),
        "--set".to_owned(),
        "admin.instance=$(POD_UID)".to_owned(),
    ];
    let volumes = valid.spec.storage.volumes.iter();
    let mut mounts: Vec<VolumeMount> =
        volumes.map(|volume| mounted(&volume.name, mount(&volume.name), false)).collect();
    mounts.push(mounted("config", FILES.to_owned(), true));
    if place::is_told(&valid.spec) {
        mounts.push(mounted("place", PLACE.to_owned(), true));
        args.extend(["--await-config".to_owned(), format!("{PLACE}/{PLACE_FILE}")]);
    }
    Container {
        name: "broker".to_owned(),
        image: Some(valid.image.name.clone()),
        command: Some(vec!["/bin/ottla-broker".to_owned()]),
        args: Some(args),
        env: Some(vec![
            field("BROKER_ID", &format!("metadata.labels['{BROKER_LABEL}']")),
            field("POD_UID", "metadata.uid"),
        ]),
        ports: Some(ports(valid)),
        resources: valid.spec.resources.clone(),
        volume_mounts: Some(mounts),
        // A broker that recovers its logs is well, and not ready: nobody kills it for that.
        liveness_probe: Some(probe("/healthz", 10, 6)),
        readiness_probe: Some(probe("/readyz", 3, 2)),
        security_context: Some(restricted::container()),
        ..Container::default()
    }
}

fn ports(valid: &Valid) -> Vec<ContainerPort> {
    let own = [("replication", REPLICATION_PORT), ("admin", ADMIN_PORT), ("metrics", METRICS_PORT)];
    let listeners = valid.listeners.iter().map(|one| (one.name.as_str(), one.port));
    restricted::ports(own.into_iter().chain(listeners))
}

fn mounted(name: &str, path: String, is_read_only: bool) -> VolumeMount {
    VolumeMount {
        name: name.to_owned(),
        mount_path: path,
        read_only: is_read_only.then_some(true),
        ..VolumeMount::default()
    }
}

fn probe(path: &str, period_seconds: i32, failure_threshold: i32) -> Probe {
    Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.to_owned()),
            port: IntOrString::Int(METRICS_PORT),
            ..HTTPGetAction::default()
        }),
        period_seconds: Some(period_seconds),
        timeout_seconds: Some(3),
        failure_threshold: Some(failure_threshold),
        ..Probe::default()
    }
}

/// Brokers are spread over racks where those are known, unless users say how they are to be.
fn spread(valid: &Valid) -> Option<Vec<TopologySpreadConstraint>> {
    let rack = valid.spec.rack.as_ref()?;
    Some(vec![TopologySpreadConstraint {
        max_skew: 1,
        topology_key: rack.node_label.clone(),
        when_unsatisfiable: "ScheduleAnyway".to_owned(),
        label_selector: Some(selector(valid.names.selector(Component::Broker))),
        ..TopologySpreadConstraint::default()
    }])
}
