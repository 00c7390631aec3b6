//! The StatefulSet of each broker, of one pod: so that any broker can be taken away, and each has volumes of its own.
//!
//! It restarts nothing by itself (`OnDelete`), and deletes no volume: both are the operator's to decide.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetSpec, StatefulSetUpdateStrategy};
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PersistentVolumeClaimSpec, PodTemplateSpec, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::pod::pod_template;
use super::revision;
use super::{meta_of_broker, selector};
use crate::cluster::validate::Valid;
use crate::crd::cluster::Volume;
use crate::names::REVISION_ANNOTATION;

/// Makes the set of one broker; `None` while the broker does not know yet where it is found.
///
/// # Errors
/// Where its pod cannot be written as JSON.
pub fn stateful_set(valid: &Valid, broker: i32) -> Result<Option<StatefulSet>, serde_json::Error> {
    let Some(Some(own)) = valid.broker_files.get(&broker) else { return Ok(None) };
    let template = pod_template(valid, broker);
    let base = revision::revision(&template, &[&valid.lasting_file, own])?;
    let revision = revision::speaking(&base, valid.protocol_version.as_deref());
    let volumes = valid.spec.storage.volumes.iter();
    Ok(Some(StatefulSet {
        metadata: meta_of_broker(valid, broker),
        spec: Some(StatefulSetSpec {
            replicas: Some(1),
            service_name: Some(valid.names.brokers()),
            selector: selector(valid.names.broker_selector(broker)),
            template: with_revision(template, revision),
            update_strategy: Some(StatefulSetUpdateStrategy {
                type_: Some("OnDelete".to_owned()),
                rolling_update: None,
            }),
            pod_management_policy: Some("Parallel".to_owned()),
            volume_claim_templates: Some(
                volumes.map(|volume| claim(valid, broker, volume)).collect(),
            ),
            ..StatefulSetSpec::default()
        }),
        ..StatefulSet::default()
    }))
}

/// Writes to a template what it is called.
pub fn with_revision(mut template: PodTemplateSpec, revision: String) -> PodTemplateSpec {
    let metadata = template.metadata.get_or_insert_default();
    let annotations = metadata.annotations.get_or_insert_with(BTreeMap::new);
    annotations.insert(REVISION_ANNOTATION.to_owned(), revision);
    template
}

/// A claim is of the cluster by its labels; it has no owner, so that it outlives what others delete.
fn claim(valid: &Valid, broker: i32, volume: &Volume) -> PersistentVolumeClaim {
    let size = Quantity(volume.size.clone());
    PersistentVolumeClaim {
        metadata: ObjectMeta {
            name: Some(volume.name.clone()),
            labels: Some(valid.names.broker_selector(broker)),
            ..ObjectMeta::default()
        },
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            storage_class_name: volume.class.clone(),
            resources: Some(VolumeResourceRequirements {
                requests: Some(BTreeMap::from([("storage".to_owned(), size)])),
                limits: None,
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        status: None,
    }
}
