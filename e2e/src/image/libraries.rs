//! Which shared libraries a program is started with, as the dynamic loader of this machine finds them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

/// The loader and every library that `program` needs, directly or not; none for a static program.
pub fn of(program: &Path) -> Result<Vec<PathBuf>> {
    let mut command = Command::new("ldd");
    // It looks for what is not in its own words.
    command.arg(program).env("LC_ALL", "C");
    // Cargo gives tests a path to libraries of its own builds, which are no part of this machine.
    command.env_remove("LD_LIBRARY_PATH");
    let output = command.output().context("run ldd, of Debian's package libc-bin")?;
    let said = String::from_utf8_lossy(&output.stdout);
    let complaint = String::from_utf8_lossy(&output.stderr);
    if complaint.contains("not a dynamic executable") || said.contains("statically linked") {
        return Ok(Vec::new());
    }
    if !output.status.success() {
        bail!("ldd {} ended with {}: {complaint}", program.display(), output.status);
    }
    parse(&said).with_context(|| format!("the libraries of {}", program.display()))
}

/// The paths in what `ldd` printed. Where the kernel's own library would be there is none.
fn parse(said: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in said.lines().map(str::trim) {
        let (name, place) = line.split_once(" => ").unwrap_or((line, line));
        if place == "not found" {
            bail!("{name} is not on this machine: install the package that has it");
        }
        let path = place.split_whitespace().next().unwrap_or_default();
        if path.starts_with('/') {
            libraries.push(PathBuf::from(path));
        }
    }
    Ok(libraries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_the_kernels_own_is_left_out() -> Result<()> {
        let said = "\tlinux-vdso.so.1 (0x00007ffd2)\n\
                    \tlibm.so.6 => /lib/libm.so.6 (0x00007f1)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let expected = ["/lib/libm.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse(said)?, expected);
        Ok(())
    }

    #[test]
    fn a_library_that_is_missing_is_named() {
        let error = parse("\tlibodd.so.1 => not found\n").err().map(|error| error.to_string());
        assert!(error.is_some_and(|error| error.contains("libodd.so.1")));
    }

    #[test]
    fn this_program_needs_the_loader_and_the_library_of_c() -> Result<()> {
        let libraries = of(&std::env::current_exe()?)?;
        let has = |part: &str| libraries.iter().any(|it| it.to_string_lossy().contains(part));
        assert!(has("libc.so.6") && has("ld-linux"), "{libraries:?}");
        Ok(())
    }
}
