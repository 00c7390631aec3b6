//! One broker of Apache Kafka 3.9 and two of ours are one cluster: the controller, leaders, followers and
//! coordinators on either side, moved from one to the other under load, brokers of either kind killed and
//! stopped, topics made, grown, moved across and deleted.
//!
//! The bed plays a script of that (`e2e::cluster::script`): first over three brokers of Kafka, which is
//! judged by the same rules and shows what Kafka complains of on such days, then over the mixed cluster,
//! where its broker must complain of nothing else.

use std::process::Command;

use anyhow::{Result, ensure};

/// Who is who in the script, and the mixed cluster itself.
const ROLES: &str = "kafka,ottla,ottla";

#[test]
fn brokers_of_both_kinds_are_one_cluster() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let complaints = directory.path().join("complaints");
    for brokers in ["kafka,kafka,kafka", ROLES] {
        let mut bed = Command::new(env!("CARGO_BIN_EXE_cluster"));
        bed.args(["--brokers", brokers, "--script", ROLES, "--zookeepers", "1", "--seed", "1"]);
        let output = bed.arg("--complaints").arg(&complaints).output()?;
        let said = String::from_utf8_lossy(&output.stdout);
        println!("{said}");
        ensure!(output.status.success(), "{brokers}: see what the bed said above");
    }
    Ok(())
}
