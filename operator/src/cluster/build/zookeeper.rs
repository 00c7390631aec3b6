//! The ensemble that is managed for a cluster: servers of ZooKeeper, which restart one after the other by themselves.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec};
use k8s_openapi::api::core::v1::{
    ConfigMap, Container, EmptyDirVolumeSource, ExecAction, PersistentVolumeClaim,
    PersistentVolumeClaimSpec, PodSpec, PodTemplateSpec, Probe, SecurityContext, Service,
    ServicePort, ServiceSpec, TCPSocketAction, Volume, VolumeMount, VolumeResourceRequirements,
};
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::restricted::{self, field};
use super::{meta, selector};
use crate::cluster::validate::Valid;
use crate::crd::cluster::zookeeper::ManagedZooKeeper;
use crate::names::{Component, ZOOKEEPER_PORT};

/// By which servers follow their leader.
pub const QUORUM_PORT: i32 = 2888;
/// By which they elect one.
pub const ELECTION_PORT: i32 = 3888;

/// The user and the group of ZooKeeper's image.
const USER: i64 = 1000;

/// How long a server is to have served before the next one is restarted: longer than it takes to see that it does not any
/// more. Pods that are kept from a release whose readiness was an open port have to join the others in that time, too.
const SETTLED_SECONDS: i32 = 15;

/// Asks a server what it is. One that is neither leader nor follower nor alone says that it does not serve: its port is
/// open, and it is in no quorum. `zkServer.sh` needs this shell, too; no other program has to be in the image.
const SERVES: &str = "exec 3<>/dev/tcp/127.0.0.1/2181 && echo srvr >&3 && \
    while read -r line <&3; do case $line in 'Mode: '*) exit 0 ;; esac; done; exit 1";

/// Names a server by the number of its pod, then runs it: ZooKeeper reads its name from a file, and counts from 1.
const COMMAND: &str =
    "echo $((POD_INDEX + 1)) > /data/myid && exec zkServer.sh start-foreground /conf/zoo.cfg";

/// What is made for an ensemble.
#[derive(Debug, Clone, PartialEq)]
pub struct Ensemble {
    /// The servers' names.
    pub service: Service,
    /// Their settings.
    pub config_map: ConfigMap,
    /// Their pods and volumes.
    pub stateful_set: StatefulSet,
    /// How many an eviction may take.
    pub budget: PodDisruptionBudget,
}

/// Makes the ensemble, where it is managed.
pub fn ensemble(valid: &Valid) -> Option<Ensemble> {
    let managed = valid.spec.zookeeper.as_ref()?.managed.as_ref()?;
    Some(Ensemble {
        service: service(valid),
        config_map: ConfigMap {
            metadata: meta(valid, valid.names.zookeeper(), Component::ZooKeeper),
            data: Some(BTreeMap::from([("zoo.cfg".to_owned(), settings(valid, managed))])),
            ..ConfigMap::default()
        },
        stateful_set: stateful_set(valid, managed),
        budget: PodDisruptionBudget {
            metadata: meta(valid, valid.names.zookeeper(), Component::ZooKeeper),
            spec: Some(PodDisruptionBudgetSpec {
                max_unavailable: Some(IntOrString::Int(1)),
                selector: Some(selector(valid.names.selector(Component::ZooKeeper))),
                ..PodDisruptionBudgetSpec::default()
            }),
            ..PodDisruptionBudget::default()
        },
    })
}

fn settings(valid: &Valid, managed: &ManagedZooKeeper) -> String {
    let mut lines = vec![
        "dataDir=/data".to_owned(),
        format!("clientPort={ZOOKEEPER_PORT}"),
        "tickTime=2000".to_owned(),
        "initLimit=10".to_owned(),
        "syncLimit=5".to_owned(),
        // Brokers are few, and each has one connection.
        "maxClientCnxns=0".to_owned(),
        "admin.enableServer=false".to_owned(),
        "4lw.commands.whitelist=srvr,ruok,mntr".to_owned(),
        "autopurge.snapRetainCount=3".to_owned(),
        "autopurge.purgeInterval=1".to_owned(),
        // A pod's own name leads nowhere before it is ready.
        "quorumListenOnAllIPs=true".to_owned(),
    ];
    if managed.replicas > 1 {
        let (service, namespace) = (valid.names.zookeeper(), &valid.names.namespace);
        lines.extend((0..managed.replicas).map(|number| {
            let host = format!("{service}-{number}.{service}.{namespace}.svc");
            format!("server.{}={host}:{QUORUM_PORT}:{ELECTION_PORT}", number + 1)
        }));
    }
    lines.join("\n") + "\n"
}

fn service(valid: &Valid) -> Service {
    let port = |(name, number): (&str, i32)| ServicePort {
        name: Some(name.to_owned()),
        port: number,
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    };
    Service {
        metadata: meta(valid, valid.names.zookeeper(), Component::ZooKeeper),
        spec: Some(ServiceSpec {
            cluster_ip: Some("None".to_owned()),
            // Servers find each other before any of them serves.
            publish_not_ready_addresses: Some(true),
            selector: Some(valid.names.selector(Component::ZooKeeper)),
            ports: Some(PORTS.map(port).to_vec()),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

const PORTS: [(&str, i32); 3] =
    [("client", ZOOKEEPER_PORT), ("quorum", QUORUM_PORT), ("election", ELECTION_PORT)];

fn stateful_set(valid: &Valid, managed: &ManagedZooKeeper) -> StatefulSet {
    let metadata = managed.pod_metadata.clone().unwrap_or_default();
    let mut labels = metadata.labels;
    labels.extend(valid.names.labels(Component::ZooKeeper));
    let size = Quantity(managed.volume.size.clone());
    StatefulSet {
        metadata: meta(valid, valid.names.zookeeper(), Component::ZooKeeper),
        spec: Some(StatefulSetSpec {
            replicas: Some(managed.replicas),
            service_name: Some(valid.names.zookeeper()),
            selector: selector(valid.names.selector(Component::ZooKeeper)),
            // Servers that start one after the other would wait for a quorum that is not there yet.
            pod_management_policy: Some("Parallel".to_owned()),
            min_ready_seconds: Some(SETTLED_SECONDS),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: Some(labels),
                    annotations: Some(metadata.annotations),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(valid, managed)),
            },
            volume_claim_templates: Some(vec![PersistentVolumeClaim {
                metadata: ObjectMeta {
                    name: Some(managed.volume.name.clone()),
                    labels: Some(valid.names.selector(Component::ZooKeeper)),
                    ..ObjectMeta::default()
                },
                spec: Some(PersistentVolumeClaimSpec {
                    access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                    storage_class_name: managed.volume.class.clone(),
                    resources: Some(VolumeResourceRequirements {
                        requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                        limits: None,
                    }),
                    ..PersistentVolumeClaimSpec::default()
                }),
                status: None,
            }]),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }
}

fn pod(valid: &Valid, managed: &ManagedZooKeeper) -> PodSpec {
    let logs = Volume {
        name: "logs".to_owned(),
        empty_dir: Some(EmptyDirVolumeSource::default()),
        ..Volume::default()
    };
    PodSpec {
        containers: vec![container(valid, managed)],
        volumes: Some(vec![restricted::config(valid.names.zookeeper()), logs]),
        ..restricted::pod(valid, Component::ZooKeeper, USER, managed.scheduling.as_ref())
    }
}

fn container(valid: &Valid, managed: &ManagedZooKeeper) -> Container {
    let mounted = |name: &str, path: &str| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        ..VolumeMount::default()
    };
    // A server without a quorum lives: a restart helps nobody to find one.
    let lives = Probe {
        tcp_socket: Some(TCPSocketAction { port: IntOrString::Int(ZOOKEEPER_PORT), host: None }),
        period_seconds: Some(10),
        failure_threshold: Some(30),
        ..Probe::default()
    };
    let serves = Probe {
        exec: Some(ExecAction {
            command: Some(["bash", "-c", SERVES].map(str::to_owned).to_vec()),
        }),
        period_seconds: Some(3),
        timeout_seconds: Some(3),
        failure_threshold: Some(2),
        ..Probe::default()
    };
    Container {
        name: "zookeeper".to_owned(),
        image: Some(valid.zookeeper_image.clone()),
        command: Some(["/bin/sh", "-c", COMMAND].map(str::to_owned).to_vec()),
        env: Some(vec![field("POD_INDEX", "metadata.labels['apps.kubernetes.io/pod-index']")]),
        ports: Some(restricted::ports(PORTS.into_iter())),
        resources: managed.resources.clone(),
        volume_mounts: Some(vec![
            mounted(&managed.volume.name, "/data"),
            // One file, beside others that the image has there.
            VolumeMount {
                sub_path: Some("zoo.cfg".to_owned()),
                ..mounted("config", "/conf/zoo.cfg")
            },
            mounted("logs", "/logs"),
        ]),
        liveness_probe: Some(lives),
        readiness_probe: Some(serves),
        // The image writes beside its volumes.
        security_context: Some(SecurityContext {
            read_only_root_filesystem: None,
            ..restricted::container()
        }),
        ..Container::default()
    }
}
