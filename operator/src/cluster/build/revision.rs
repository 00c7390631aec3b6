//! What a pod is, in a few letters: another text for whatever needs a restart.

use k8s_openapi::api::core::v1::PodTemplateSpec;

use crate::digest;

/// Names a pod by what it is made of and the files that it reads.
///
/// # Errors
/// Where the template cannot be written as JSON.
pub fn revision(template: &PodTemplateSpec, files: &[&str]) -> Result<String, serde_json::Error> {
    let template = serde_json::to_string(template)?;
    let parts = [template.as_str()].into_iter().chain(files.iter().copied());
    // A byte that no text has ends each part.
    Ok(digest::of(parts.flat_map(|part| part.bytes().chain([0xff]))))
}

/// Names a pod by that, and by what brokers are to speak among themselves, where that was chosen.
pub fn speaking(base: &str, protocol_version: Option<&str>) -> String {
    protocol_version.map_or_else(|| base.to_owned(), |version| format!("{base}/{version}"))
}

/// Takes such a name apart.
pub fn parts(revision: &str) -> (&str, Option<&str>) {
    revision.split_once('/').map_or((revision, None), |(base, version)| (base, Some(version)))
}
