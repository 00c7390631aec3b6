//! What all pods of a cluster have in common: a restricted namespace takes them, and users say where they run.

use k8s_openapi::api::core::v1::{
    Affinity, Capabilities, ConfigMapVolumeSource, ContainerPort, EnvVar, EnvVarSource,
    ObjectFieldSelector, PodAffinityTerm, PodAntiAffinity, PodSecurityContext, PodSpec,
    SeccompProfile, SecurityContext, Volume, WeightedPodAffinityTerm,
};

use super::selector;
use crate::cluster::validate::Valid;
use crate::crd::cluster::pod::Scheduling;
use crate::names::Component;

/// Makes a pod without containers, all of whose processes are this user's.
pub(super) fn pod(
    valid: &Valid,
    component: Component,
    user: i64,
    scheduling: Option<&Scheduling>,
) -> PodSpec {
    let Scheduling {
        node_selector,
        tolerations,
        affinity,
        topology_spread_constraints: spread,
        priority_class_name,
    } = scheduling.cloned().unwrap_or_default();
    PodSpec {
        service_account_name: Some(valid.names.brokers()),
        automount_service_account_token: Some(false),
        enable_service_links: Some(false),
        security_context: Some(PodSecurityContext {
            run_as_non_root: Some(true),
            run_as_user: Some(user),
            run_as_group: Some(user),
            fs_group: Some(user),
            seccomp_profile: Some(SeccompProfile {
                type_: "RuntimeDefault".to_owned(),
                localhost_profile: None,
            }),
            ..PodSecurityContext::default()
        }),
        node_selector: (!node_selector.is_empty()).then_some(node_selector),
        tolerations: (!tolerations.is_empty()).then_some(tolerations),
        affinity: Some(affinity.unwrap_or_else(|| apart(valid, component))),
        topology_spread_constraints: (!spread.is_empty()).then_some(spread),
        priority_class_name,
        ..PodSpec::default()
    }
}

/// What a container may do.
pub(super) fn container() -> SecurityContext {
    SecurityContext {
        allow_privilege_escalation: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".to_owned()]), add: None }),
        ..SecurityContext::default()
    }
}

/// The ports of a container.
pub(super) fn ports<'a>(ports: impl Iterator<Item = (&'a str, i32)>) -> Vec<ContainerPort> {
    let port = |(name, number): (&str, i32)| ContainerPort {
        name: Some(name.to_owned()),
        container_port: number,
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    };
    ports.map(port).collect()
}

/// The volume `config`, of a ConfigMap.
pub(super) fn config(config_map: String) -> Volume {
    Volume {
        name: "config".to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: config_map,
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    }
}

/// A variable that Kubernetes sets.
pub(super) fn field(name: &str, path: &str) -> EnvVar {
    EnvVar {
        name: name.to_owned(),
        value_from: Some(EnvVarSource {
            field_ref: Some(ObjectFieldSelector { field_path: path.to_owned(), api_version: None }),
            ..EnvVarSource::default()
        }),
        ..EnvVar::default()
    }
}

/// Pods of one component shun each other, so that a node that dies takes one of them.
fn apart(valid: &Valid, component: Component) -> Affinity {
    let term = PodAffinityTerm {
        label_selector: Some(selector(valid.names.selector(component))),
        topology_key: "kubernetes.io/hostname".to_owned(),
        ..PodAffinityTerm::default()
    };
    Affinity {
        pod_anti_affinity: Some(PodAntiAffinity {
            preferred_during_scheduling_ignored_during_execution: Some(vec![
                WeightedPodAffinityTerm { pod_affinity_term: term, weight: 100 },
            ]),
            ..PodAntiAffinity::default()
        }),
        ..Affinity::default()
    }
}
