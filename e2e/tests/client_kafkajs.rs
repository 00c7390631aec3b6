//! kafkajs, with pure JavaScript codecs beside its own gzip.

use std::process::Command;

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::tools::npm;
use e2e::verdict::Lacks;
use e2e::workspace;

const LACKS: Lacks = Lacks {
    why: "the client has no such call or setting",
    operations: &["static_member", "delete_offsets", "log_dirs", "describe_producers"],
};

#[test]
fn kafkajs() -> Result<()> {
    let modules = npm::modules()?;
    clients::check(&Client::new("kafkajs", &[LACKS], |arguments| {
        let mut node = Command::new("node");
        node.arg(workspace::client_sources().join("node/client.js")).args(arguments);
        node.env("NODE_PATH", &modules).env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
        Ok(node)
    }))
}
