//! The coordination tree of a broker that stood alone: on its way into ZooKeeper, and its end.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use broker_zookeeper::embedded::EmbeddedTree;
use broker_zookeeper::store::Store;

/// Writes every node of the embedded tree as ZooKeeper's loader reads it, parents first.
pub(crate) fn copy(tree: &Path, nodes: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let tree = EmbeddedTree::open(tree).context("open the tree")?;
        let store = tree.session().await;
        let mut text = String::new();
        let mut paths = vec!["/".to_owned()];
        while let Some(path) = paths.pop() {
            if path != "/" {
                let (data, _) = store.get(&path).await.with_context(|| path.clone())?;
                write!(text, "{path}\t")?;
                for byte in data {
                    write!(text, "{byte:02x}")?;
                }
                text.push('\n');
            }
            for child in store.children(&path).await.with_context(|| path.clone())? {
                paths.push(format!("{}/{child}", path.trim_end_matches('/')));
            }
        }
        tree.close().await;
        Ok::<_, anyhow::Error>(text)
    })?;
    let mut file = std::fs::File::create_new(nodes).context("create the file of nodes")?;
    file.write_all(text.as_bytes()).context("write the nodes")
}

/// Removes the tree.
#[expect(
    clippy::disallowed_methods,
    reason = "a test stands outside the product's own file system"
)]
pub(crate) fn remove(tree: &Path) -> Result<()> {
    let directory = tree.parent().context("a tree without a directory")?;
    let name = tree.file_name().context("a tree without a name")?.to_string_lossy().into_owned();
    for entry in std::fs::read_dir(directory).context("list the log directory")? {
        let path = entry?.path();
        if path.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&name)) {
            std::fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}
