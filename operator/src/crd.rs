//! The custom resources, `ottla.dev/v1alpha1`. `crds/` is made of these types, comments and all, by `crdgen`; the chart
//! has the same files.
//!
//! What one object alone can know is wrong is refused by the API server, by the schema and the rules here; what needs
//! the cluster is told in the status.

pub mod cluster;
pub mod condition;
pub mod quantity;
pub mod topic;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

/// What stands above each file of `crds/`.
const HEAD: &str = "# Made by `cargo run -p operator --bin crdgen -- crds charts/ottla/crds`: \
                    change operator/src/crd instead.\n";

/// Returns every custom resource definition.
pub fn all() -> Vec<CustomResourceDefinition> {
    vec![cluster::Cluster::crd(), topic::Topic::crd()]
}

/// Returns the files of `crds/`: the name of each, and what it holds.
///
/// # Errors
/// Where a definition cannot be written as YAML.
pub fn files() -> Result<Vec<(String, String)>, serde_yaml::Error> {
    let file = |definition: CustomResourceDefinition| {
        let name = definition.metadata.name.clone().unwrap_or_default();
        Ok((format!("{name}.yaml"), format!("{HEAD}{}", serde_yaml::to_string(&definition)?)))
    };
    all().into_iter().map(file).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::Path;

    /// What a user applies is what the operator understands.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "it reads the files that are compared")]
    fn the_files_are_current() {
        let made: BTreeMap<String, String> = super::files().unwrap().into_iter().collect();
        for directory in ["crds", "charts/ottla/crds"] {
            let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(directory);
            let there = std::fs::read_dir(place).unwrap().map(|entry| {
                let entry = entry.unwrap();
                let text = std::fs::read_to_string(entry.path()).unwrap();
                (entry.file_name().into_string().unwrap(), text)
            });
            let there: BTreeMap<String, String> = there.collect();
            let how = "cargo run -p operator --bin crdgen -- crds charts/ottla/crds";
            assert!(there == made, "{directory} is not current: {how}");
        }
    }
}
