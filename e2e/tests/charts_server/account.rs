//! What the operator's account may do, by the server's own word.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use e2e::chart::render::{NAMESPACE, RELEASE};
use e2e::chart::rights::{self, Place, Right};
use e2e::chart::{self, items, word};
use e2e::kubernetes::Kubernetes;
use serde_json::{Value, json};

use super::MORE;
use super::objects::helm;

/// Groups whose rights everybody has: to ask who one is, and what one may do.
const OF_EVERYBODY: [&str; 2] = ["authorization.k8s.io", "authentication.k8s.io"];

/// How long a changed role may take until the server goes by it.
const CACHE_SECONDS: u64 = 30;

/// Installs a release with a set of values.
pub(super) fn install(cluster: &Kubernetes, set: &str) -> Result<()> {
    let chart = chart::directory();
    let values = chart.join(format!("ci/{set}.yaml")).display().to_string();
    let chart = chart.display().to_string();
    let install = ["install", RELEASE, &chart, "--namespace", NAMESPACE, "--values", &values];
    helm(cluster, &install).map(drop)
}

pub(super) fn uninstall(cluster: &Kubernetes) -> Result<()> {
    helm(cluster, &["uninstall", RELEASE, "--namespace", NAMESPACE, "--wait"]).map(drop)
}

/// The user that the operator of the release is.
pub(super) fn user() -> String {
    format!("system:serviceaccount:{NAMESPACE}:{RELEASE}-operator")
}

/// What the account may do in `namespace`, besides what everybody may.
fn asked(cluster: &Kubernetes, namespace: &str) -> Result<BTreeSet<Right>> {
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": { "namespace": namespace },
    });
    let user = format!("--as={}", user());
    // The account may not read schemas to check what it sends.
    let create = ["create", "--validate=false", &user, "-o", "json", "-f", "-"];
    let answer = cluster.kubectl_within(60, &create, &review.to_string())?;
    let answer: Value = serde_json::from_str(&answer).context("parse the review")?;
    let rights = rights::given(&answer["status"]["resourceRules"])?;
    Ok(rights.into_iter().filter(|one| !OF_EVERYBODY.contains(&one.group.as_str())).collect())
}

/// A row is (values, name of the Lease, namespace, which parts of the table hold there).
pub(super) fn may_do_what_the_table_says(cluster: &Kubernetes) -> Result<()> {
    use Place::{Cluster, Objects, Release};
    const OURS: &str = "ottla-operator";
    let cases: [(&str, &str, &[(&str, &[Place])]); 3] = [
        (
            "default",
            OURS,
            &[(NAMESPACE, &[Release, Objects, Cluster]), ("kube-system", &[Objects, Cluster])],
        ),
        (
            "namespaced",
            "of-two",
            &[(NAMESPACE, &[Release, Objects]), (MORE, &[Objects]), ("kube-system", &[])],
        ),
        (
            "monitoring-namespaced",
            OURS,
            &[(NAMESPACE, &[Release, Objects, Cluster]), ("kube-system", &[Cluster])],
        ),
    ];
    for (set, lease, namespaces) in cases {
        install(cluster, set)?;
        for (namespace, places) in namespaces {
            let mut wanted = BTreeSet::new();
            for place in *places {
                wanted.extend(rights::table(*place, lease)?);
            }
            cluster.wait(&format!("the rights of {set} in {namespace}"), CACHE_SECONDS, || {
                let given = asked(cluster, namespace)?;
                let differ: Vec<_> = given.symmetric_difference(&wanted).collect();
                ensure!(differ.is_empty(), "they differ: {differ:?}");
                Ok(Some(()))
            })?;
        }
        uninstall(cluster)?;
    }
    Ok(())
}

/// A server with `OwnerReferencesPermissionEnforcement` lets nobody block the deletion of an owner who may not change
/// its finalizers.
pub(super) fn needs_the_unseen_right(cluster: &Kubernetes) -> Result<()> {
    install(cluster, "default")?;
    let owned = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": "owned",
            "namespace": NAMESPACE,
            "ownerReferences": [{
                "apiVersion": "ottla.dev/v1alpha1",
                "kind": "Cluster",
                "name": "owner",
                "uid": "00000000-0000-4000-8000-000000000000",
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
    });
    let user = format!("--as={}", user());
    let create = || {
        let mut apply = vec!["apply", "--server-side", "--dry-run=server", "--validate=false"];
        apply.extend([user.as_str(), "-f", "-"]);
        cluster.kubectl_within(60, &apply, &owned.to_string())
    };
    cluster.wait("an object that blocks its owner", CACHE_SECONDS, || create().map(Some))?;
    let name = format!("{NAMESPACE}-{RELEASE}-operator");
    let mut role = cluster.get(&["clusterrole", &name])?;
    let is_other =
        |rule: &&Value| items(&rule["resources"]).all(|one| word(one) != "clusters/finalizers");
    let rules: Vec<Value> = items(&role["rules"]).filter(is_other).cloned().collect();
    ensure!(rules.len() + 1 == items(&role["rules"]).count(), "no rule about finalizers");
    role["rules"] = rules.into();
    cluster.kubectl_within(60, &["replace", "-f", "-"], &role.to_string())?;
    cluster.wait("a refusal without the right", CACHE_SECONDS, || match create() {
        Ok(_) => Ok(None),
        Err(error) => {
            let why = "cannot set blockOwnerDeletion";
            Ok(format!("{error:#}").contains(why).then_some(()))
        }
    })?;
    uninstall(cluster)
}
