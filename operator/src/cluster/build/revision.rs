//! What a pod is, in a few letters: another text for whatever needs a restart.

use k8s_openapi::api::core::v1::PodTemplateSpec;

/// Names a pod by what it is made of and the files that it reads: 16 hexadecimal digits (FNV-1a, which tells changes of
/// one cluster apart and guards against nobody).
///
/// # Errors
/// Where the template cannot be written as JSON.
pub fn revision(template: &PodTemplateSpec, files: &[&str]) -> Result<String, serde_json::Error> {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let template = serde_json::to_string(template)?;
    for part in [template.as_str()].iter().chain(files) {
        // A byte that no text has ends each part.
        for byte in part.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    Ok(format!("{hash:016x}"))
}
