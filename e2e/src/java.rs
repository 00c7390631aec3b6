//! Running classes of one release of Apache Kafka, and client programs compiled against it.

use std::ffi::OsString;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use crate::deadline::Deadline;
use crate::tools::maven::Release;
use crate::{process, workspace};

/// What log4j 1 and reload4j print: to standard error, so that standard output is the program's.
const LOGGING: &str = "\
log4j.rootLogger=WARN, stderr
log4j.appender.stderr=org.apache.log4j.ConsoleAppender
log4j.appender.stderr.target=System.err
log4j.appender.stderr.layout=org.apache.log4j.PatternLayout
log4j.appender.stderr.layout.ConversionPattern=%d %p %c: %m%n
";

/// A class path, and the settings that its virtual machines get.
#[derive(Debug)]
pub struct Java {
    class_path: OsString,
    logging: PathBuf,
}

impl Java {
    /// The jars of `release` alone.
    pub fn new(release: &Release) -> Result<Self> {
        Self::of(&release.jars()?)
    }

    /// The jars in a directory.
    pub fn of(jars: &Path) -> Result<Self> {
        let class_path = jars.join("*").into_os_string();
        let logging = workspace::output_dir().join("log4j.properties");
        fs::create_dir_all(workspace::output_dir()).context("create the output directory")?;
        // Written whole under another name first: tests in parallel write the same file.
        let draft = tempfile::NamedTempFile::new_in(workspace::output_dir())?;
        fs::write(draft.path(), LOGGING).context("write log4j.properties")?;
        draft.persist(&logging).context("place log4j.properties")?;
        Ok(Self { class_path, logging })
    }

    /// The jars of `release`, and every source in `directories` compiled against them.
    pub fn with_sources(release: &Release, directories: &[&str]) -> Result<Self> {
        let classes = compile(release, directories)?;
        let mut java = Self::new(release)?;
        java.class_path.push(":");
        java.class_path.push(&classes);
        Ok(java)
    }

    /// A virtual machine that will run `class` within `heap_mb` megabytes of heap.
    pub fn class(&self, class: &str, heap_mb: u32) -> Command {
        let mut logging = OsString::from("-Dlog4j.configuration=file:");
        logging.push(&self.logging);
        self.class_with_logging(class, heap_mb, logging)
    }

    /// As [`Java::class`], with the `log4j.configuration` argument given by the caller.
    pub fn class_with_logging(&self, class: &str, heap_mb: u32, logging: OsString) -> Command {
        let mut command = Command::new("java");
        command.arg(format!("-Xmx{heap_mb}m"));
        // Short-lived programs: a small collector and the quick compiler start soonest.
        command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Djava.awt.headless=true"]);
        command.arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
        command.arg(logging).arg("-cp").arg(&self.class_path).arg(class);
        command
    }
}

/// Compiles what no run has compiled before, of the same sources: classes are under a digest of those, put in place
/// whole, and never touched again, for the virtual machines of another stage may use them.
fn compile(release: &Release, directories: &[&str]) -> Result<PathBuf> {
    static COMPILING: Mutex<()> = Mutex::new(());
    let compiling = COMPILING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut all = Vec::new();
    for directory in directories {
        all.extend(sources(&workspace::client_sources().join("java").join(directory))?);
    }
    let mut digest = DefaultHasher::new();
    for source in &all {
        let text = fs::read(source).with_context(|| format!("read {}", source.display()))?;
        (source.file_name(), text).hash(&mut digest);
    }
    let name = format!("{}-{}", release.version, directories.join("-"));
    let place = workspace::output_dir().join("classes");
    let classes = place.join(format!("{name}-{:016x}", digest.finish()));
    if classes.exists() {
        return Ok(classes);
    }
    fs::create_dir_all(&place).context("create the directory of classes")?;
    let draft = tempfile::TempDir::new_in(&place).context("create a directory for classes")?;
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-Xlint:-options", "-encoding", "UTF-8", "--release", "8", "-cp"]);
    javac.arg(release.jars()?.join("*")).arg("-d").arg(draft.path()).args(all);
    let log = format!("javac-{name}-{}.log", std::process::id());
    let log = workspace::output_dir().join("logs").join(log);
    process::run("javac", &mut javac, &log, Deadline::seconds(180))?;
    match fs::rename(draft.path(), &classes) {
        Ok(()) => drop(draft.keep()),
        // Another stage was faster.
        Err(_) if classes.exists() => {}
        Err(error) => return Err(error).context("put classes in place"),
    }
    drop(compiling);
    Ok(classes)
}

fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in fs::read_dir(directory).with_context(|| format!("list {}", directory.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "java") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}
