//! Where things are in the checkout that the tests were built from.

use std::path::{Path, PathBuf};

/// The directory of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    let member = Path::new(env!("CARGO_MANIFEST_DIR"));
    member.parent().unwrap_or(member)
}

/// The sources of the client programs, one directory a language.
pub fn client_sources() -> PathBuf {
    root().join("e2e/clients")
}

/// Where downloaded tools are kept between runs; not under version control.
pub fn tools_dir() -> PathBuf {
    root().join(".cache/tools")
}

/// Where a test run leaves what a person may want to read afterwards: logs and matrix rows.
pub fn output_dir() -> PathBuf {
    root().join("target/e2e")
}
