//! Container images without a container daemon: an archive in the layout of OCI that containerd imports.
//!
//! An image here has one layer, made of files of this machine, texts and links, and nothing else: no
//! distribution lies below it. Two images of the same files are the same bytes: entries are sorted, times
//! are zero, and owners are what is said here. What a program needs besides itself is found by
//! [`libraries`].
//!
//! What is absent: several layers, several architectures, and registries.
//!
//! Source: the image specification of OCI, version 1.1.

pub mod layer;
mod layout;
pub mod libraries;
pub mod ottla;
pub mod zookeeper;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use layer::Files;

/// The user of images that ask for none in particular: what distributions without a shell call `nonroot`.
pub const NOBODY_IN_PARTICULAR: u32 = 65_532;

/// What a container starts as, and the files it sees.
#[derive(Debug, Clone)]
pub struct Image {
    /// Name and tag, as in a pod's specification.
    pub name: String,
    /// The program and its first arguments.
    pub entry_point: Vec<String>,
    /// Variables of the environment.
    pub environment: Vec<(String, String)>,
    /// The user and the group that it runs as.
    pub user: u32,
    /// Where it starts.
    pub working_directory: String,
    /// Every file.
    pub files: Files,
    /// How hard the layer is compressed: 0 for an image that stays on this machine, up to 9.
    pub compression: u32,
}

impl Image {
    /// An image of the name with no file yet, for an ordinary user.
    pub fn new(name: &str, entry_point: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            entry_point: entry_point.iter().map(|&word| word.to_owned()).collect(),
            environment: vec![("PATH".to_owned(), "/bin".to_owned())],
            user: NOBODY_IN_PARTICULAR,
            working_directory: "/".to_owned(),
            files: Files::default(),
            compression: 0,
        }
    }

    /// The archive, whole.
    pub fn archive(&self) -> Result<Vec<u8>> {
        let layer = layer::pack(&self.files).with_context(|| format!("pack {}", self.name))?;
        layout::archive(self, &layer).with_context(|| format!("lay out {}", self.name))
    }

    /// Writes the archive to `output` and returns its size in bytes.
    pub fn write(&self, output: &Path) -> Result<u64> {
        let archive = self.archive()?;
        fs::write(output, &archive).with_context(|| format!("write {}", output.display()))?;
        Ok(archive.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn sample(directory: &Path) -> Result<Image> {
        let program = directory.join("program");
        fs::write(&program, "what it does")?;
        let mut image = Image::new("localhost/sample:1", &["/bin/program"]);
        image.files.file("/bin/program", &program, 0o755);
        image.files.text("/etc/passwd", "root:x:0:0::/:/\n");
        Ok(image)
    }

    #[test]
    fn the_same_files_make_the_same_bytes_however_they_were_added() -> Result<()> {
        let directory = tempfile::tempdir()?;
        let first = sample(directory.path())?;
        let mut second = Image::new("localhost/sample:1", &["/bin/program"]);
        second.files.text("/etc/passwd", "root:x:0:0::/:/\n");
        let copy = directory.path().join("copy");
        fs::copy(directory.path().join("program"), &copy)?;
        second.files.file("/bin/program", &copy, 0o755);
        assert_eq!(first.archive()?, second.archive()?);
        Ok(())
    }

    #[test]
    fn every_document_is_named_by_its_digest_and_the_index_leads_to_the_layer() -> Result<()> {
        use sha2::{Digest, Sha256};
        for compression in [0, 9] {
            let directory = tempfile::tempdir()?;
            let mut image = sample(directory.path())?;
            image.compression = compression;
            let bytes = image.archive()?;
            let mut files = std::collections::BTreeMap::new();
            for entry in tar::Archive::new(bytes.as_slice()).entries()? {
                let mut entry = entry?;
                let path = entry.path()?.to_string_lossy().into_owned();
                let mut content = Vec::new();
                entry.read_to_end(&mut content)?;
                files.insert(path, content);
            }
            let blob = |descriptor: &serde_json::Value| {
                let digest =
                    descriptor["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
                let content = &files[&format!("blobs/sha256/{digest}")];
                assert_eq!(layout::hexadecimal(&Sha256::digest(content)), digest);
                assert_eq!(descriptor["size"], content.len());
                content.clone()
            };
            let index: serde_json::Value = serde_json::from_slice(&files["index.json"])?;
            let manifest = &index["manifests"][0];
            assert_eq!(manifest["annotations"]["io.containerd.image.name"], image.name);
            let manifest: serde_json::Value = serde_json::from_slice(&blob(manifest))?;
            let config: serde_json::Value = serde_json::from_slice(&blob(&manifest["config"]))?;
            assert_eq!(config["config"]["User"], "65532:65532");
            let layer = blob(&manifest["layers"][0]);
            let mut plain = Vec::new();
            if compression == 0 {
                plain = layer;
            } else {
                flate2::read::GzDecoder::new(layer.as_slice()).read_to_end(&mut plain)?;
            }
            let digest = layout::hexadecimal(&Sha256::digest(&plain));
            assert_eq!(config["rootfs"]["diff_ids"][0], format!("sha256:{digest}"));
        }
        Ok(())
    }
}
