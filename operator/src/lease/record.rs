//! The Lease as the API server has it, to and from a [`Record`]. What others put into the object stays.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::ObjectMeta;

use super::decide::{Identity, Observed, Record};

/// Returns what stands in `lease`. What is missing or cannot be is read as nothing: an empty holder, no duration.
pub fn observed(lease: &Lease) -> Observed {
    let spec = lease.spec.clone().unwrap_or_default();
    let seconds = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    let micros = |time: Option<MicroTime>| time.map_or(0, |time| time.0.as_microsecond());
    let record = Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(seconds.unwrap_or(0)),
        acquired: micros(spec.acquire_time),
        renewed: micros(spec.renew_time),
        transitions: spec
            .lease_transitions
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or(0),
    };
    Observed { record, lease: identity(lease) }
}

/// Returns which version of which Lease this is.
pub fn identity(lease: &Lease) -> Identity {
    let created = lease.metadata.creation_timestamp.as_ref().map(|time| time.0.as_second());
    Identity {
        version: lease.metadata.resource_version.clone().unwrap_or_default(),
        created: created.and_then(|second| u64::try_from(second).ok()).unwrap_or(0),
    }
}

/// Returns the Lease that says `record`: `present` with another content, or a new one called `name`.
pub fn lease(present: Option<&Lease>, name: &str, record: &Record, over: Option<&str>) -> Lease {
    let mut lease = present.filter(|_| over.is_some()).cloned().unwrap_or_else(|| Lease {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: None,
    });
    lease.metadata.resource_version = over.map(str::to_owned);
    lease.metadata.managed_fields = None;
    let micro = |time| Timestamp::from_microsecond(time).ok().map(MicroTime);
    lease.spec = Some(LeaseSpec {
        holder_identity: Some(record.holder.clone()),
        lease_duration_seconds: Some(i32::try_from(record.duration.as_secs()).unwrap_or(i32::MAX)),
        acquire_time: micro(record.acquired),
        renew_time: micro(record.renewed),
        lease_transitions: Some(i32::try_from(record.transitions).unwrap_or(i32::MAX)),
        ..lease.spec.unwrap_or_default()
    });
    lease
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn record() -> Record {
        Record {
            holder: "a".to_owned(),
            duration: Duration::from_secs(15),
            acquired: 1_700_000_000_000_001,
            renewed: 1_700_000_002_000_003,
            transitions: 7,
        }
    }

    /// What is written is read back as it was, also through the text that travels.
    #[test]
    fn a_record_survives_the_way_to_the_server_and_back() {
        let made = lease(None, "ottla-operator", &record(), None);
        let text = serde_json::to_string(&made).unwrap();
        let back: Lease = serde_json::from_str(&text).unwrap();
        let nowhere = Identity { version: String::new(), created: 0 };
        assert_eq!(observed(&back), Observed { record: record(), lease: nowhere });
        assert_eq!(back.metadata.name.as_deref(), Some("ottla-operator"));
    }

    /// Labels of the chart and fields of a later Kubernetes are not ours to remove.
    #[test]
    fn what_others_put_into_the_object_stays() {
        let mut there = lease(None, "x", &record(), None);
        there.metadata.labels = Some(BTreeMap::from([("app".to_owned(), "ottla".to_owned())]));
        there.metadata.resource_version = Some("5".to_owned());
        there.spec.as_mut().unwrap().strategy = Some("OldestEmulationVersion".to_owned());
        let renewed = Record { renewed: 1_700_000_004_000_000, ..record() };
        let made = lease(Some(&there), "x", &renewed, Some("5"));
        assert_eq!(made.metadata, there.metadata);
        assert_eq!(observed(&made).record, renewed);
        assert_eq!(made.spec.unwrap().strategy, there.spec.unwrap().strategy);
    }

    #[test]
    fn a_lease_is_known_by_its_version_and_the_second_of_its_creation() {
        let mut there = lease(None, "x", &record(), None);
        there.metadata.resource_version = Some("5".to_owned());
        there.metadata.creation_timestamp =
            Some(Time(Timestamp::from_second(1_700_000_000).unwrap()));
        let expected = Identity { version: "5".to_owned(), created: 1_700_000_000 };
        assert_eq!(observed(&there).lease, expected);
    }

    #[test]
    fn a_lease_that_somebody_made_empty_is_held_by_nobody() {
        let record = observed(&Lease::default()).record;
        assert_eq!(
            (record.holder.as_str(), record.transitions, record.duration),
            ("", 0, Duration::ZERO)
        );
    }
}
