//! Files that another process writes while this one starts: in Kubernetes, what a pod learns of the node that it is on.
//!
//! A file that is not there, or not whole, is looked for again and again, for as long as it takes: nobody knows here how
//! long that is. Its last line says that it is whole, for an empty file may be one that is still to be written.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

/// The last line of a file that is whole.
const END: &str = "# end";

/// How often a file is looked for.
const LOOK: Duration = Duration::from_millis(200);
/// After how many looks it is said that a file is waited for: 10 seconds.
const LOOKS: u32 = 50;

/// A file that was waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Awaited {
    /// Which.
    pub file: PathBuf,
    /// What it says.
    pub text: String,
}

/// Waits until all files are there and whole. Cancel-safe.
///
/// # Errors
/// A file that is there and cannot be read.
pub async fn wait(files: &[PathBuf]) -> anyhow::Result<Vec<Awaited>> {
    let mut awaited = Vec::with_capacity(files.len());
    for file in files {
        let text = whole(file).await.with_context(|| format!("cannot read {}", file.display()))?;
        awaited.push(Awaited { file: file.clone(), text });
    }
    Ok(awaited)
}

async fn whole(file: &Path) -> io::Result<String> {
    let mut looks = 0_u32;
    loop {
        match super::read(file) {
            Ok(text) if text.trim_end().lines().next_back() == Some(END) => return Ok(text),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        if looks.is_multiple_of(LOOKS) {
            tracing::info!(file = %file.display(), "waiting until this file is there and ends with `{END}`");
        }
        looks = looks.wrapping_add(1);
        tokio::time::sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing, nothing in it, and a part of it are waited for; what is whole is read.
    #[tokio::test(start_paused = true)]
    #[allow(clippy::disallowed_methods, reason = "it writes the file that is waited for")]
    async fn a_file_is_waited_for_until_it_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("place");
        let files = [file.clone()];
        let mut waits = Box::pin(wait(&files));
        for text in [None, Some(""), Some("broker.rack=a\n"), Some("broker.rack=a\n# en")] {
            if let Some(text) = text {
                std::fs::write(&file, text).unwrap();
            }
            let read = tokio::time::timeout(Duration::from_mins(1), &mut waits).await;
            assert!(read.is_err(), "{text:?} is not whole");
        }
        std::fs::write(&file, "broker.rack=a\n# end\n").unwrap();
        let read = waits.await.unwrap();
        assert_eq!(read, [Awaited { file, text: "broker.rack=a\n# end\n".to_owned() }]);
        assert_eq!(wait(&[]).await.unwrap(), []);
    }

    /// What is there and is no file is said at once.
    #[tokio::test]
    async fn what_cannot_be_read_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let error = wait(&[dir.path().to_owned()]).await.unwrap_err();
        assert!(error.to_string().contains("cannot read"), "{error:#}");
    }
}
