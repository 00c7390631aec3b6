//! The sources keep the rules of the house; every finding is printed, not only the first.

use anyhow::{Result, ensure};
use e2e::tidy;

#[test]
fn the_sources_are_tidy() -> Result<()> {
    let sources = tidy::sources()?;
    ensure!(sources.len() > 100, "only {} sources were found", sources.len());
    let mut findings = tidy::findings(&sources);
    findings.extend(tidy::readme_findings(&sources)?);
    for finding in &findings {
        println!("{finding}");
    }
    ensure!(findings.is_empty(), "{} findings", findings.len());
    Ok(())
}
