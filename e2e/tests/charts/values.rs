//! Every set of values is rendered, and what comes out is modest.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result, bail, ensure};
use e2e::chart::render::{NAMESPACE, Values, template};
use e2e::chart::rights::{self, Place};
use e2e::chart::{self, items, safety, word};
use serde_json::Value;

#[test]
fn every_value_set_passes_helm_lint() -> Result<()> {
    Values::all()?.iter().try_for_each(Values::lint)
}

/// A pod may do nothing that a restricted namespace forbids, and brokers know the operator's pods by a label.
#[test]
fn every_pod_is_restricted_and_labelled() -> Result<()> {
    for set in Values::all()? {
        let objects = set.render()?;
        let mut deployments = objects.iter().filter(|object| object["kind"] == "Deployment");
        let deployment = deployments.next().context("no Deployment")?;
        let template = &deployment["spec"]["template"];
        safety::restricted(&template["spec"]).context(set.name.clone())?;
        let labels = &template["metadata"]["labels"];
        ensure!(labels["app.kubernetes.io/name"] == "ottla-operator", "{}: {labels}", set.name);
        let selector = &deployment["spec"]["selector"]["matchLabels"];
        for (label, value) in selector.as_object().context("no selector")? {
            ensure!(labels[label] == *value, "{}: {label}", set.name);
        }
    }
    Ok(())
}

/// The operator knows every flag that it is given; a misspelt one would keep it from starting.
#[test]
fn the_operator_has_every_flag_that_it_is_given() -> Result<()> {
    let settings = e2e::workspace::root().join("operator/src/settings.rs");
    let settings = fs::read_to_string(settings).context("read the operator's settings")?;
    for set in Values::all()? {
        for object in set.render()? {
            let containers = &object["spec"]["template"]["spec"]["containers"];
            for argument in items(&containers[0]["args"]) {
                let flag = word(argument).split('=').next().unwrap_or_default();
                let field = flag.trim_start_matches("--").replace('-', "_");
                ensure!(settings.contains(&format!("pub {field}:")), "{}: {argument}", set.name);
            }
        }
    }
    Ok(())
}

/// The roles are the table, in the places that it says, and nothing besides.
#[test]
fn roles_give_what_the_table_says_and_nothing_else() -> Result<()> {
    for set in Values::all()? {
        let values = chart::parse(&fs::read_to_string(&set.path)?)?;
        let objects = set.render()?;
        let roles = |kind: &str| -> Vec<&Value> {
            objects.iter().filter(|object| object["kind"] == kind).collect()
        };
        let all = [roles("Role"), roles("ClusterRole")].concat();
        let bindings = roles("RoleBinding").len() + roles("ClusterRoleBinding").len();
        ensure!(all.len() == bindings, "{}: roles without bindings", set.name);
        let watched: Vec<&str> = items(&values["watchNamespaces"]).map(word).collect();
        let nodes = values["rbac"]["nodes"] != false;
        let lease = values["lease"]["name"].as_str().unwrap_or("ottla-operator");
        let objects_rights = rights::table(Place::Objects, lease)?;
        for role in &all {
            let given = rights::given(&role["rules"])?;
            given.iter().try_for_each(rights::modest).context(set.name.clone())?;
            let namespace = word(&role["metadata"]["namespace"]);
            let is_election = word(&role["metadata"]["name"]).ends_with("-election");
            let mut wanted = BTreeSet::new();
            if role["kind"] == "ClusterRole" {
                if watched.is_empty() {
                    wanted.extend(objects_rights.clone());
                }
                if nodes {
                    wanted.extend(rights::table(Place::Cluster, lease)?);
                }
            } else if is_election {
                ensure!(namespace == NAMESPACE, "{}: the Lease in {namespace}", set.name);
                wanted = rights::table(Place::Release, lease)?;
            } else {
                ensure!(watched.contains(&namespace), "{}: a role in {namespace}", set.name);
                wanted.clone_from(&objects_rights);
            }
            ensure!(given == wanted, "{}: {} is not the table", set.name, role["metadata"]["name"]);
        }
        let has_cluster_role = all.iter().any(|role| role["kind"] == "ClusterRole");
        let created = values["rbac"]["create"] != false;
        let wanted = created && (nodes || watched.is_empty());
        ensure!(has_cluster_role == wanted, "{}: a ClusterRole: {has_cluster_role}", set.name);
    }
    Ok(())
}

/// Protected clusters may not be deleted where the operator looks after them, and nowhere else, by names of the release.
#[test]
fn deletions_of_protected_clusters_are_refused_where_it_looks() -> Result<()> {
    for set in Values::all()? {
        let values = chart::parse(&fs::read_to_string(&set.path)?)?;
        let objects = set.render()?;
        let find = |kind: &str| objects.iter().find(|object| object["kind"] == kind);
        let policy = find("ValidatingAdmissionPolicy");
        let binding = find("ValidatingAdmissionPolicyBinding");
        if values["admissionPolicy"]["enabled"] == false {
            ensure!(policy.is_none() && binding.is_none(), "{}: a policy", set.name);
            continue;
        }
        let (policy, binding) = (policy.context("no policy")?, binding.context("no binding")?);
        let name = word(&policy["metadata"]["name"]);
        ensure!(name.starts_with(&format!("{NAMESPACE}-")), "{}: {name}", set.name);
        ensure!(binding["spec"]["policyName"] == name, "{}: a binding of another", set.name);
        let selector = &binding["spec"]["matchResources"]["namespaceSelector"];
        let bound: Vec<&str> =
            items(&selector["matchExpressions"][0]["values"]).map(word).collect();
        let watched: Vec<&str> = items(&values["watchNamespaces"]).map(word).collect();
        ensure!(bound == watched, "{}: it holds in {bound:?}, not in {watched:?}", set.name);
    }
    Ok(())
}

/// A row is (arguments, a word of the refusal).
#[test]
fn values_that_cannot_be_are_refused_in_words() -> Result<()> {
    let cases: [(&[&str], &str); 11] = [
        (&["--set", "replica=2"], "replica"),
        (&["--set", "replicas=two"], "integer"),
        (&["--set", "log.format=xml"], "log.format"),
        (&["--set", "log.level=verbose"], "log.level"),
        (&["--set", "image.digest=latest"], "image.digest"),
        (&["--set", "image.repository=localhost/Ottla"], "image.repository"),
        (&["--set", "image.repository=localhost:5000/ottla:1"], "image.repository"),
        (&["--set", "image.repository=ottla@sha256"], "image.repository"),
        (&["--set", "metrics.service=false,serviceMonitor.enabled=true"], "needs metrics.service"),
        (
            &["--set", "watchNamespaces={elsewhere},cluster.enabled=true"],
            "which watchNamespaces lacks: nobody would look after it",
        ),
        (&["--set", "cluster.topics[0].name=a"], "spec"),
    ];
    for (arguments, why) in cases {
        let Err(error) = template(arguments) else { bail!("{arguments:?} was taken") };
        ensure!(format!("{error:#}").contains(why), "{arguments:?}: {error:#}");
    }
    Ok(())
}

#[test]
fn values_that_can_be_are_taken() -> Result<()> {
    for given in [
        "image.repository=ottla",
        "image.repository=localhost:5000/a/b__c-d",
        "image.repository=[::1]:5000/ottla",
        "image.repository=registry.example.com/streaming/ottla",
        "log.level=warn",
        "log.level=info\\,operator::topic=debug\\,kube=off",
        // There is no cluster to ask.
        "watchNamespaces={elsewhere}",
    ] {
        template(&["--set", given]).with_context(|| given.to_owned())?;
    }
    Ok(())
}

/// Every value is set by some set to something else than its default, so that both are looked at.
#[test]
fn every_value_is_switched_by_some_set_and_told_in_the_readme() -> Result<()> {
    let defaults = chart::read("values.yaml")?;
    let mut leaves = Vec::new();
    collect(&defaults, "", &mut leaves);
    let readme = chart::text("README.md")?;
    let mut sets = Vec::new();
    for set in Values::all()? {
        sets.push(chart::parse(&fs::read_to_string(&set.path)?)?);
    }
    for (leaf, default) in &leaves {
        let pointer = format!("/{}", leaf.replace('.', "/"));
        let is_switched =
            sets.iter().any(|set| set.pointer(&pointer).is_some_and(|value| value != default));
        // Its other value is the same as another's here: an ensemble of one server.
        let is_told = *leaf == "cluster.spec" || readme.contains(&format!("`{leaf}`"));
        ensure!(is_told, "README.md of the chart says nothing of {leaf}");
        ensure!(is_switched, "no value set in ci/ changes {leaf}");
    }
    let is_value = |name: &str| defaults.get(name.split('.').next().unwrap_or_default()).is_some();
    let table = readme.split("## Values").nth(1).unwrap_or_default();
    for line in table.lines().filter(|line| line.starts_with("| `")) {
        let names = line.split('|').nth(1).unwrap_or_default();
        for name in names.split('`').skip(1).step_by(2) {
            let is_there = leaves.iter().any(|(leaf, _)| leaf == name);
            ensure!(is_there && is_value(name), "README.md of the chart tells of {name}");
        }
    }
    Ok(())
}

/// Values that are one for a user: maps of his own are not gone into.
fn collect(value: &Value, path: &str, leaves: &mut Vec<(String, Value)>) {
    const WHOLE: [&str; 4] =
        ["resources", "cluster.spec", "dashboards.labels", "serviceAccount.annotations"];
    match value.as_object() {
        Some(map) if !map.is_empty() && !WHOLE.contains(&path) => {
            for (name, value) in map {
                let dot = if path.is_empty() { "" } else { "." };
                collect(value, &format!("{path}{dot}{name}"), leaves);
            }
        }
        _ => leaves.push((path.to_owned(), value.clone())),
    }
}
