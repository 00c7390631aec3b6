//! franz-go, built from its locked modules.

use std::process::Command;

use anyhow::Result;
use e2e::clients::{self, Client};
use e2e::tools::go;

#[test]
fn franz_go() -> Result<()> {
    let program = go::program()?;
    clients::check(&Client::new("franz-go", &[], |arguments| {
        let mut command = Command::new(&program);
        command.args(arguments);
        Ok(command)
    }))
}
