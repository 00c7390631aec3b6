//! The documents around a layer: configuration, manifest, index, and the archive of all.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Image, layer};

const KIND: &str = "application/vnd.oci.image";

/// A document or a layer, by what it holds.
struct Blob {
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(content: Vec<u8>) -> Self {
        Self { digest: hexadecimal(&Sha256::digest(&content)), content }
    }

    /// How another document names it.
    fn descriptor(&self, kind: &str) -> Value {
        json!({
            "mediaType": format!("{KIND}.{kind}"),
            "digest": format!("sha256:{}", self.digest),
            "size": self.content.len(),
        })
    }
}

/// The bytes in lower case.
pub(super) fn hexadecimal(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The archive of an image whose layer is `layer`, not yet compressed.
pub(super) fn archive(image: &Image, layer: &[u8]) -> Result<Vec<u8>> {
    let config = Blob::new(serde_json::to_vec(&configuration(image, layer))?);
    let (kind, content) = match image.compression {
        0 => ("layer.v1.tar", layer.to_vec()),
        level => ("layer.v1.tar+gzip", compress(layer, level).context("compress the layer")?),
    };
    let layer = Blob::new(content);
    let manifest = Blob::new(serde_json::to_vec(&json!({
        "schemaVersion": 2,
        "mediaType": format!("{KIND}.manifest.v1+json"),
        "config": config.descriptor("config.v1+json"),
        "layers": [layer.descriptor(kind)],
    }))?);
    let mut entry = manifest.descriptor("manifest.v1+json");
    entry["annotations"] = json!({
        "io.containerd.image.name": image.name,
        "org.opencontainers.image.ref.name": image.name,
    });
    let index = json!({
        "schemaVersion": 2,
        "mediaType": format!("{KIND}.index.v1+json"),
        "manifests": [entry],
    });
    let mut archive = tar::Builder::new(Vec::new());
    for blob in [config, layer, manifest] {
        layer::append_bytes(&mut archive, &format!("blobs/sha256/{}", blob.digest), blob.content)?;
    }
    layer::append_bytes(&mut archive, "index.json", serde_json::to_vec(&index)?)?;
    let version = json!({ "imageLayoutVersion": "1.0.0" });
    layer::append_bytes(&mut archive, "oci-layout", serde_json::to_vec(&version)?)?;
    archive.into_inner().context("end the archive")
}

fn configuration(image: &Image, layer: &[u8]) -> Value {
    let environment = image.environment.iter().map(|(key, value)| format!("{key}={value}"));
    json!({
        "architecture": match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        },
        "os": "linux",
        "config": {
            "User": format!("{0}:{0}", image.user),
            "Entrypoint": image.entry_point,
            "Env": environment.collect::<Vec<_>>(),
            "WorkingDir": image.working_directory,
        },
        "rootfs": {
            "type": "layers",
            "diff_ids": [format!("sha256:{}", hexadecimal(&Sha256::digest(layer)))],
        },
    })
}

/// The name and the time that the format has room for stay empty.
fn compress(layer: &[u8], level: u32) -> Result<Vec<u8>> {
    let mut encoder = GzBuilder::new().write(Vec::new(), Compression::new(level));
    encoder.write_all(layer)?;
    Ok(encoder.finish()?)
}
