//! The jars of Apache Kafka and of a ZooKeeper, one directory a release, by a small pom each.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use super::{fingerprint, install as install_dir, installed, step};

/// A release of Apache Kafka whose broker, clients or tools the tests run.
#[derive(Debug, Clone, Copy)]
pub struct Release {
    /// Kafka's own version.
    pub version: &'static str,
    /// The Scala version in the name of the core artifact.
    scala: &'static str,
    /// Whether the tools have an artifact of their own.
    tools: bool,
    /// The artifact that binds slf4j, where the release brings none.
    logging: Option<&'static str>,
}

const SIMPLE: Option<&str> = Some("slf4j-simple");

/// The release whose broker and ZooKeeper are the reference.
pub const REFERENCE: &Release =
    &Release { version: "3.9.2", scala: "2.13", tools: true, logging: Some("slf4j-reload4j") };

/// Every release whose clients or tools must work, oldest first.
pub const RELEASES: &[Release] = &[
    Release { version: "0.8.1.1", scala: "2.10", tools: false, logging: SIMPLE },
    Release { version: "0.8.2.2", scala: "2.10", tools: false, logging: SIMPLE },
    Release { version: "0.9.0.1", scala: "2.11", tools: true, logging: None },
    Release { version: "0.10.2.2", scala: "2.11", tools: true, logging: None },
    Release { version: "0.11.0.3", scala: "2.11", tools: true, logging: None },
    Release { version: "1.1.1", scala: "2.11", tools: true, logging: None },
    Release { version: "2.8.2", scala: "2.13", tools: true, logging: SIMPLE },
    *REFERENCE,
    Release { version: "4.3.1", scala: "2.13", tools: true, logging: SIMPLE },
];

/// The ZooKeeper of clusters under faults. That inside [`REFERENCE`] is 3.8.4, which loses what it has
/// acknowledged when its leader is killed again before a server that came back has caught up
/// (ZOOKEEPER-4712 and others), as 3.9.3 does (ZOOKEEPER-4925).
pub const ZOOKEEPER_VERSION: &str = "3.9.5";

/// What that needs and does not bring along (it calls them "provided").
const ZOOKEEPER_NEEDS: [(&str, &str, &str); 2] = [
    ("io.dropwizard.metrics", "metrics-core", "4.1.12.1"),
    ("org.xerial.snappy", "snappy-java", "1.1.10.5"),
];

/// Finds a release by its version.
pub fn release(version: &str) -> Result<&'static Release> {
    RELEASES
        .iter()
        .find(|release| release.version == version)
        .with_context(|| format!("no release {version} in the table of releases"))
}

impl Release {
    fn directory(&self) -> String {
        format!("kafka-{}-{}", self.version, fingerprint(&[self.pom().as_bytes()]))
    }

    /// The directory of the release's jars, and of all that they need.
    pub fn jars(&self) -> Result<PathBuf> {
        Ok(installed(&self.directory())?.join("jars"))
    }

    fn pom(&self) -> String {
        let mut dependencies =
            dependency("org.apache.kafka", &format!("kafka_{}", self.scala), self.version);
        if self.tools {
            dependencies += &dependency("org.apache.kafka", "kafka-tools", self.version);
        }
        if let Some(logging) = self.logging {
            dependencies += &dependency("org.slf4j", logging, "1.7.36");
        }
        project(&dependencies)
    }
}

fn project(dependencies: &str) -> String {
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n\
         <modelVersion>4.0.0</modelVersion>\n\
         <groupId>e2e</groupId><artifactId>kafka-jars</artifactId><version>1</version>\n\
         <dependencies>\n{dependencies}</dependencies>\n</project>\n"
    )
}

fn zookeeper_pom() -> String {
    let mut dependencies = dependency("org.apache.zookeeper", "zookeeper", ZOOKEEPER_VERSION);
    for (group, artifact, version) in ZOOKEEPER_NEEDS {
        dependencies += &dependency(group, artifact, version);
    }
    project(&dependencies)
}

fn zookeeper_directory() -> String {
    format!("zookeeper-{ZOOKEEPER_VERSION}-{}", fingerprint(&[zookeeper_pom().as_bytes()]))
}

/// The directory of the ZooKeeper's jars, and of all that they need.
pub fn zookeeper_jars() -> Result<PathBuf> {
    Ok(installed(&zookeeper_directory())?.join("jars"))
}

/// What log4j 1.2.15 asks for and no registry carries any more.
const EXCLUSIONS: &str = "<exclusion><groupId>com.sun.jdmk</groupId>\
    <artifactId>jmxtools</artifactId></exclusion>\
    <exclusion><groupId>com.sun.jmx</groupId><artifactId>jmxri</artifactId></exclusion>\
    <exclusion><groupId>javax.jms</groupId><artifactId>jms</artifactId></exclusion>";

fn dependency(group: &str, artifact: &str, version: &str) -> String {
    format!(
        "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId>\
         <version>{version}</version><exclusions>{EXCLUSIONS}</exclusions></dependency>\n"
    )
}

/// Copies the jars of `release` into its directory and returns it.
pub fn install(release: &Release) -> Result<PathBuf> {
    copy(&release.directory(), &release.pom(), release.version)
}

/// Copies the jars of the ZooKeeper into their directory and returns it.
pub fn install_zookeeper() -> Result<PathBuf> {
    copy(&zookeeper_directory(), &zookeeper_pom(), &format!("zookeeper-{ZOOKEEPER_VERSION}"))
}

fn copy(directory: &str, pom: &str, name: &str) -> Result<PathBuf> {
    install_dir(directory, |draft| {
        fs::write(draft.join("pom.xml"), pom).context("write the pom")?;
        let mut maven = Command::new("mvn");
        maven.current_dir(draft).args([
            "--quiet",
            "--batch-mode",
            "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies",
            "-DoutputDirectory=jars",
            "-DincludeScope=runtime",
        ]);
        step(&format!("maven-{name}"), &mut maven)
    })
}
