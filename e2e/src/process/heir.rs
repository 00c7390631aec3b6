//! Who ends what a program leaves running, however the program ends, SIGKILL included.
//!
//! A shell in a process group of its own is told of every group that begins and ends. When its standard input
//! ends, the program is gone, and the shell kills the groups that are left. That is bound to the program, not to
//! the thread that started a child, as the signal at a parent's death (`PR_SET_PDEATHSIG`) is, and it reaches
//! what the children have started. One shell a program, begun with its first child.

use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

/// A terminal's signals are for the program; the shell ends after it.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM
groups=
while read -r word group; do
    others=
    for known in $groups; do
        [ "$known" = "$group" ] || others="$others $known"
    done
    groups=$others
    [ "$word" = ends ] || groups="$groups $group"
done
for group in $groups; do
    kill -s KILL -- "-$group"
done
"#;

/// The shell, and what it is told through.
struct Heir {
    /// It lives until this program is gone: nobody can wait for it.
    _shell: Child,
    will: ChildStdin,
}

impl Heir {
    fn begin() -> Result<Self> {
        let mut command = Command::new("sh");
        command.arg("-c").arg(SCRIPT).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut shell = command.spawn().context("start the shell that ends what is left")?;
        let will = shell.stdin.take().context("its standard input")?;
        Ok(Self { _shell: shell, will })
    }
}

/// A process group runs from now on, and is not to outlive this program.
pub(super) fn begins(group: u32) -> Result<()> {
    tell("begins", group)
}

/// Nothing of it is left.
pub(super) fn ends(group: u32) -> Result<()> {
    tell("ends", group)
}

fn tell(word: &str, group: u32) -> Result<()> {
    static HEIR: Mutex<Option<Heir>> = Mutex::new(None);
    let mut heir = HEIR.lock().unwrap_or_else(PoisonError::into_inner);
    let heir = match heir.as_mut() {
        Some(heir) => heir,
        None => heir.insert(Heir::begin()?),
    };
    let line = format!("{word} {group}\n");
    heir.will.write_all(line.as_bytes()).context("tell the shell that ends what is left")
}
