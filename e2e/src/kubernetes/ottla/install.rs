//! The operator and its custom resources, by the chart: as a user installs them.

use std::process::Command;

use anyhow::{Result, bail};

use super::Ottla;
use super::builds::{Build, IMAGE};
use crate::image::zookeeper;
use crate::workspace;

/// An operator that was installed.
#[derive(Debug, Clone)]
pub struct Operator {
    /// Where it runs.
    pub namespace: String,
    /// What selects its pods.
    pub labels: String,
}

/// The name of the release.
const RELEASE: &str = "ottla";

impl Ottla {
    /// Installs the operator of a release, `replicas` of it, with the custom resources; or makes it another release.
    pub fn install(&self, build: &Build, replicas: u8) -> Result<Operator> {
        self.install_with(build, replicas, &[])
    }

    /// Does so with more values of the chart, each `name=value`.
    pub fn install_with(&self, build: &Build, replicas: u8, values: &[String]) -> Result<Operator> {
        let operator = Operator {
            namespace: "ottla-system".to_owned(),
            labels: "app.kubernetes.io/name=ottla-operator".to_owned(),
        };
        self.namespace(&operator.namespace)?;
        let mut helm = self.kubernetes.helm_command();
        helm.args(["upgrade", "--install", RELEASE, "--namespace", &operator.namespace]);
        for value in [
            format!("image.repository={IMAGE}"),
            format!("image.tag={}", build.version),
            format!("zookeeper.image={}", zookeeper::name()),
            format!("replicas={replicas}"),
            "log.level=info\\,operator=debug".to_owned(),
        ] {
            helm.args(["--set", &value]);
        }
        for value in values {
            helm.args(["--set", value]);
        }
        run(helm.arg(workspace::root().join("charts/ottla")))?;
        Ok(operator)
    }

    /// Kills the operator at whatever it is doing; another pod takes its place.
    pub fn kill(&self, operator: &Operator) -> Result<()> {
        let Operator { namespace, labels } = operator;
        let kill = ["delete", "pod", "-n", namespace, "-l", labels, "--grace-period=0", "--force"];
        self.kubernetes.kubectl(&kill).map(drop)
    }

    /// Waits until one of the operators leads.
    pub fn operator_is_ready(&self, operator: &Operator) -> Result<()> {
        let what = "the operator to lead";
        let found = self.kubernetes.wait(what, 120, || self.leader(operator).map(Some));
        found.map(drop).map_err(|error| self.complain(&operator.namespace, &error))
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output()?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{command:?} ended with {}: {}", output.status, said.trim());
    }
    Ok(())
}
