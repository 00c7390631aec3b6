//! The chart at a real API server: its definitions, every set of values, and the rights of the operator's account.
//!
//! No node is needed: nothing of it ever runs as a pod. The operator runs beside, as its account.

#![expect(clippy::disallowed_methods, reason = "a test writes the files that programs read")]

mod account;
mod acts;
mod objects;
mod protection;
mod rules;
mod upgrade;

use std::fs;

use anyhow::{Context, Result};
use e2e::chart::render::NAMESPACE;
use e2e::deeds::{self, Deed};
use e2e::kubernetes::Kubernetes;
use e2e::tools::kubernetes::monitoring;

/// Another namespace that value sets name.
const MORE: &str = "ottla-ci-more";

/// In their order: the first makes the definitions.
const LOOKS: [Deed<Kubernetes>; 12] = [
    ("a release makes definitions, and an upgrade waits for newer ones", upgrade::waits),
    ("a release waits for its namespaces", upgrade::waits_for_namespaces),
    ("a release of what another looks after is refused", upgrade::waits_for_others),
    ("every rule of a definition is said when it is broken", rules::are_said_when_broken),
    ("a rule is not said of what a schema refuses", rules::are_not_said_of_what_the_schema_refuses),
    ("fields that no definition has are named", rules::name_unknown_fields),
    ("every set of values is taken by a restricted namespace", objects::are_taken),
    ("a pod that is not restricted is refused there", objects::a_pod_of_root_is_refused),
    ("the account may do what the table says", account::may_do_what_the_table_says),
    ("what is owned needs the right that no call shows", account::needs_the_unseen_right),
    ("a protected cluster cannot be deleted, and then can", protection::holds_until_taken_off),
    ("the operator leads as its account, and its dashboard has data", acts::leads_and_is_scraped),
];

#[test]
fn a_real_api_server_takes_the_chart() -> Result<()> {
    let cluster = Kubernetes::start_without_nodes("charts")?;
    for namespace in [NAMESPACE, MORE] {
        cluster.kubectl(&["create", "namespace", namespace])?;
        let labels = ["enforce", "warn", "audit"]
            .map(|mode| format!("pod-security.kubernetes.io/{mode}=restricted"));
        let mut label = vec!["label", "namespace", namespace];
        label.extend(labels.iter().map(String::as_str));
        cluster.kubectl(&label)?;
    }
    for definition in monitoring()? {
        let text = fs::read_to_string(&definition).context("read a definition")?;
        cluster.apply(&text)?;
    }
    deeds::play(&cluster, &LOOKS, |_| Ok(()))?;
    cluster.end()
}
