//! The command line of `ottla-operator`. Every flag may be an environment variable instead.

use std::net::SocketAddr;
use std::num::NonZeroU16;

use clap::{Parser, ValueEnum};
use uuid::Uuid;

/// The Kubernetes operator of Ottla.
///
/// It turns Cluster and Topic objects into running clusters of brokers and topics in them. It runs in a pod with a
/// service account, or beside a kubeconfig. Several may run at once: a Lease says which one acts.
#[derive(Debug, Clone, Parser)]
#[command(name = "ottla-operator", version)]
pub struct Settings {
    /// A namespace whose objects are looked after; may be repeated. Without any: all of them.
    #[arg(long, value_name = "NS", env = "OTTLA_NAMESPACE", value_delimiter = ',', value_parser = label)]
    pub namespace: Vec<String>,

    /// Where the Lease is by which one of several operators is elected [default: that of this pod, or of the
    /// kubeconfig].
    #[arg(long, value_name = "NS", env = "OTTLA_LEASE_NAMESPACE", value_parser = label)]
    pub lease_namespace: Option<String>,

    /// The name of the Lease. Operators that look after the same objects have the same one.
    #[arg(long, value_name = "NAME", env = "OTTLA_LEASE_NAME", default_value = "ottla-operator")]
    pub lease_name: String,

    /// The name of this process in the Lease; no other process may have it, not even after a restart [default: the
    /// host's name and a random number].
    #[arg(long, value_name = "NAME", env = "OTTLA_IDENTITY")]
    pub identity: Option<String>,

    /// Where /metrics, /healthz and /readyz are served.
    #[arg(long, value_name = "ADDRESS", env = "OTTLA_LISTEN", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// The image of brokers whose Cluster names none, without a tag: that is the release [default: localhost/ottla].
    #[arg(long, value_name = "IMAGE", env = "OTTLA_IMAGE")]
    pub image: Option<String>,

    /// The image of ZooKeeper servers whose Cluster names none [default: the official one, by its digest].
    #[arg(long, value_name = "IMAGE", env = "OTTLA_ZOOKEEPER_IMAGE")]
    pub zookeeper_image: Option<String>,

    /// How many objects are worked on at once.
    #[arg(long, value_name = "COUNT", env = "OTTLA_WORKERS", default_value = "8", value_parser = count)]
    pub workers: NonZeroU16,

    /// What is logged: a level (error, warn, info, debug, trace) or a filter such as `info,operator=debug`.
    #[arg(long, value_name = "FILTER", env = "OTTLA_LOG", default_value = "info")]
    pub log: String,

    /// How a log line looks.
    #[arg(
        long,
        value_name = "FORMAT",
        env = "OTTLA_LOG_FORMAT",
        value_enum,
        default_value_t = LogFormat::Text
    )]
    pub log_format: LogFormat,
}

/// The most bytes of a label as RFC 1123 has it, which a namespace's name is.
const LABEL_MAX: usize = 63;

/// Takes the name of a namespace, or nothing.
fn label(name: &str) -> Result<String, String> {
    let is_plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
    let is_name = name.len() <= LABEL_MAX
        && name.as_bytes().iter().all(is_plain)
        && !name.starts_with('-')
        && !name.ends_with('-');
    let why = "a namespace is called by up to 63 lower-case letters, digits and hyphens, with no hyphen at either end";
    if is_name { Ok(name.to_owned()) } else { Err(why.to_owned()) }
}

/// Takes how many of something there are, which are some.
fn count(text: &str) -> Result<NonZeroU16, String> {
    text.parse().map_err(|_| "a whole number, at least 1 and at most 65535".to_owned())
}

/// The official image. It has what the pods of an ensemble are made for: a shell, `zkServer.sh` in the path, user 1000.
pub const ZOOKEEPER_IMAGE: &str = "zookeeper:3.9.5@sha256:\
                                   4c6f15fbd5491a3e01b0108c046891125553329a4956848ba3014cedff5386ee";

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line, for machines.
    Json,
}

impl Settings {
    /// Returns the name of this process in the Lease.
    pub fn identity(&self) -> String {
        // An empty variable is as good as none, and an empty holder is nobody.
        self.identity.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| {
            let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
            format!("{host}-{}", Uuid::new_v4().simple())
        })
    }

    /// Returns the namespace of the Lease, where one is named.
    pub fn lease_namespace(&self) -> Option<String> {
        self.lease_namespace.clone().filter(|name| !name.is_empty())
    }

    /// Returns the image of brokers whose `Cluster` names none, without a tag: that is the release.
    pub fn image(&self) -> String {
        let image = self.image.clone().filter(|image| !image.is_empty());
        image.unwrap_or_else(|| "localhost/ottla".to_owned())
    }

    /// Returns the image of ZooKeeper servers whose Cluster names none.
    pub fn zookeeper_image(&self) -> String {
        let image = self.zookeeper_image.clone().filter(|image| !image.is_empty());
        image.unwrap_or_else(|| ZOOKEEPER_IMAGE.to_owned())
    }

    /// Returns the namespaces to look after, each once; `None` is all of them.
    pub fn namespaces(&self) -> Vec<Option<String>> {
        let mut namespaces: Vec<_> =
            self.namespace.iter().filter(|name| !name.is_empty()).collect();
        namespaces.sort_unstable();
        namespaces.dedup();
        match namespaces.as_slice() {
            [] => vec![None],
            some => some.iter().map(|name| Some((*name).clone())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn settings(arguments: &[&str]) -> Settings {
        let name = ["ottla-operator"];
        Settings::try_parse_from(name.iter().chain(arguments)).unwrap()
    }

    #[test]
    fn nothing_needs_to_be_said() {
        let settings = settings(&[]);
        assert_eq!(settings.namespaces(), [None]);
        assert_eq!(settings.lease_name, "ottla-operator");
        assert_eq!(settings.listen.port(), 8080);
        assert_ne!(settings.identity(), settings.identity());
    }

    #[test]
    fn a_namespace_that_is_named_twice_is_looked_after_once() {
        let settings = settings(&["--namespace", "b", "--namespace", "a,b", "--identity", "x"]);
        let names = ["a", "b"].map(|name| Some(name.to_owned()));
        assert_eq!((settings.namespaces(), settings.identity()), (names.to_vec(), "x".to_owned()));
    }

    /// A chart leaves variables empty that nobody set.
    #[test]
    fn what_is_empty_is_not_set() {
        let settings = settings(&["--namespace", "", "--identity", "", "--lease-namespace", ""]);
        assert_eq!((settings.namespaces(), settings.lease_namespace()), (vec![None], None));
        assert!(!settings.identity().is_empty());
        let images = [&["--zookeeper-image", ""][..], &["--zookeeper-image", "mine:1"]];
        let images = images.map(|given| self::settings(given).zookeeper_image());
        assert_eq!(images, [ZOOKEEPER_IMAGE, "mine:1"]);
    }

    #[test]
    fn what_no_namespace_is_called_is_refused() {
        let long = "a".repeat(LABEL_MAX + 1);
        for name in ["Shop", "a_b", "a b", "-a", "a-", &long] {
            let refused = ["--namespace", "--lease-namespace"].map(|flag| {
                let flag = format!("{flag}={name}");
                Settings::try_parse_from(["ottla-operator", &flag]).map(drop)
            });
            for error in refused {
                assert!(error.unwrap_err().to_string().contains("lower-case letters"), "{name}");
            }
        }
    }

    #[test]
    fn somebody_works() {
        for count in ["0", "-1", "many", "65536"] {
            let refused =
                Settings::try_parse_from(["ottla-operator", &format!("--workers={count}")]);
            assert!(refused.unwrap_err().to_string().contains("at least 1"), "{count}");
        }
        assert_eq!(settings(&["--workers", "3"]).workers.get(), 3);
    }

    /// A flag that a pod cannot set by its environment, or that says nothing of itself, is found here.
    #[test]
    fn every_flag_explains_itself_and_has_a_variable() {
        for argument in Settings::command().get_arguments() {
            let name = argument.get_id().as_str();
            assert!(argument.get_help().is_some(), "{name}");
            let variable = format!("OTTLA_{}", name.to_uppercase());
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(&*variable));
        }
    }
}
