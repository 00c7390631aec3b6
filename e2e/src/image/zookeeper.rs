//! An image of ZooKeeper with the entry that the official one has: a shell, `zkServer.sh` and `bash` in the path, user
//! 1000.
//!
//! What the operator makes of a managed ensemble runs on both. This one has no settings of its own in `/conf`, and
//! neither a client nor an administrator's server.

use std::fs;

use anyhow::{Context, Result};

use super::Image;
use crate::kubernetes::images::found;
use crate::tools::maven::ZOOKEEPER_VERSION;
use crate::tools::{java, maven};

/// The user that the official image has, which the operator's pods run as.
const USER: u32 = 1000;

/// Where the jars are.
const JARS: &str = "/zookeeper";

/// Runs the server in the place of the shell, with the file that it is given.
const START: &str = "#!/bin/sh
[ \"$1\" = start-foreground ] || { echo \"zkServer.sh: $1 is not known here\" >&2; exit 2; }
exec /java/bin/java -XX:+UseSerialGC -Xmx128m -cp '/zookeeper/*' \\
    org.apache.zookeeper.server.quorum.QuorumPeerMain \"$2\"
";

/// Its name and tag.
pub fn name() -> String {
    format!("localhost/zookeeper:{ZOOKEEPER_VERSION}")
}

/// The image, of what `cargo ci kubernetes` installed.
pub fn image() -> Result<Image> {
    let mut image = Image::new(&name(), &["zkServer.sh", "start-foreground", "/conf/zoo.cfg"]);
    image.user = USER;
    image.environment = vec![("PATH".to_owned(), "/bin".to_owned())];
    let files = &mut image.files;
    files.base();
    files.text("/etc/passwd", &format!("root:x:0:0::/:\nzookeeper:x:{USER}:{USER}::/:\n"));
    files.text("/etc/group", &format!("root:x:0:\nzookeeper:x:{USER}:\n"));
    for directory in ["/conf", "/data", "/datalog", "/logs"] {
        files.directory(directory, 0o755, USER);
    }
    let runtime = java::runtime()?;
    files.tree("/java", &runtime)?;
    // Its own libraries it finds by itself; these are the system's.
    for library in super::libraries::of(&runtime.join("bin/java"))? {
        if !library.starts_with(&runtime) {
            files.file(&library.to_string_lossy(), &library, 0o755);
        }
    }
    for library in super::libraries::of(&runtime.join("lib/server/libjvm.so"))? {
        files.file(&library.to_string_lossy(), &library, 0o755);
    }
    let jars = maven::zookeeper_jars()?;
    for entry in fs::read_dir(&jars).with_context(|| format!("list {}", jars.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        // Libraries of a cipher that nobody asks for, for six kinds of machines.
        if !name.contains("tcnative-boringssl-static") {
            files.file(&format!("{JARS}/{name}"), &entry.path(), 0o644);
        }
    }
    files.program("/bin/busybox", &found("busybox")?)?;
    files.link("/bin/sh", "busybox");
    // By which the operator asks a server whether it serves.
    files.program("/bin/bash", &found("bash")?)?;
    files.script("/bin/zkServer.sh", START);
    Ok(image)
}
