//! Which API server is asked, and by whom: what a kubeconfig says, or the service account of the pod.
//!
//! Whoever wrote a kubeconfig that cannot be used is told which file it is.

use std::env;
use std::path::PathBuf;

use kube::Config;
use kube::config::{InferConfigError, Kubeconfig, KubeconfigError};

/// Why there is nobody to ask.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A kubeconfig is there, and is none.
    #[error("the kubeconfig {} cannot be read", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KubeconfigError,
    },
    /// Neither is there, or the kubeconfig names no cluster that can be used.
    #[error(
        "no Kubernetes cluster is configured: run it in a pod with a service account, or with a kubeconfig in {files}"
    )]
    Nothing {
        /// Where a kubeconfig was looked for.
        files: String,
        /// What was found.
        source: InferConfigError,
    },
}

/// Finds out.
///
/// # Errors
/// Where neither a kubeconfig nor a service account can be used.
pub async fn config() -> Result<Config, ConfigError> {
    let source = match Config::infer().await {
        Ok(config) => return Ok(config),
        Err(source) => source,
    };
    let files = files();
    if let Some((path, source)) = broken(&files) {
        return Err(ConfigError::Broken { path, source });
    }
    let files: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
    Err(ConfigError::Nothing { files: files.join(" or "), source })
}

/// The first file that is there, and is no kubeconfig.
fn broken(files: &[PathBuf]) -> Option<(PathBuf, KubeconfigError)> {
    let mut there = files.iter().filter(|path| path.exists());
    there.find_map(|path| Some((path.clone(), Kubeconfig::read_from(path).err()?)))
}

/// The kubeconfigs that there should be, as kubectl has it too.
fn files() -> Vec<PathBuf> {
    let named = env::var_os("KUBECONFIG").unwrap_or_default();
    let named: Vec<PathBuf> =
        env::split_paths(&named).filter(|path| !path.as_os_str().is_empty()).collect();
    if !named.is_empty() {
        return named;
    }
    env::home_dir().map(|home| home.join(".kube/config")).into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "it writes the files that are read")]

    use super::*;
    use crate::error::chain;

    #[test]
    fn a_kubeconfig_that_is_none_is_named() {
        let directory = env::temp_dir().join(format!("ottla-config-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let files = ["whole", "none", "torn"].map(|name| directory.join(name));
        std::fs::write(&files[0], "apiVersion: v1\nkind: Config\nclusters: []\n").unwrap();
        std::fs::write(&files[2], "a: [b\n").unwrap();
        assert!(broken(&files[..2]).is_none());
        let (path, source) = broken(&files).unwrap();
        assert_eq!(path, files[2]);
        let said = chain(&ConfigError::Broken { path, source });
        let begin = format!("the kubeconfig {} cannot be read: ", files[2].display());
        assert!(said.starts_with(&begin) && said.contains("line 1"), "{said}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
