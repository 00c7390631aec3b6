//! kafkajs, with pure JavaScript codecs beside its own gzip.

use std::process::Command;

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::tools::npm;
use e2e::workspace;

#[test]
fn kafkajs() -> Result<()> {
    let modules = npm::modules()?;
    clients::check(&Client::new("kafkajs", &[], |arguments| {
        let mut node = Command::new("node");
        node.arg(workspace::client_sources().join("node/client.js")).args(arguments);
        node.env("NODE_PATH", &modules).env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        Ok(node)
    }))
}
