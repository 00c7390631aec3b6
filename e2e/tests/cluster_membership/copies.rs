//! A disk that is copied while its broker lives, or hangs: the copy does not take that broker's place.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::cluster::tree::Znode;
use e2e::deadline::Deadline;
use e2e::kafka::Zookeeper;
use e2e::logs;
use e2e::wire::{Connection, PRODUCE_VERSION, produce_request, produced};
use rustix::process::Signal;
use tempfile::TempDir;

use super::{PATIENCE, SHORT_SESSION, acknowledge, node, record, serves, values};

/// A setting that says how long one lives.
type Session = (&'static str, &'static str);

/// Longer than the original hangs on a busy machine; the copy waits for as long before it is refused.
const SESSION: Session = ("zookeeper.session.timeout.ms", "18000");

/// A broker that has a record, and a copy of its disk from that time.
struct Copied {
    name: &'static str,
    connect: String,
    session: Session,
    original: Broker,
    registration: Znode,
    zookeeper: Zookeeper,
    directory: TempDir,
}

impl Copied {
    fn new(name: &'static str, session: Session) -> Result<Self> {
        logs::forget(name)?;
        let directory = tempfile::tempdir()?;
        let zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
        let connect = format!("{}/{name}", zookeeper.address);
        let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), session];
        let original = Broker::start(name, &directory.path().join("original"), &settings)?;
        serves(&original, "t")?;
        acknowledge(&original, "t", "copied")?;
        let copy = directory.path().join("copy");
        std::fs::create_dir_all(&copy)?;
        copy_files(&original.log_dir(), &copy.join("data"))?;
        let registration = registration(name, &zookeeper)?.context("it is registered")?;
        Ok(Self { name, connect, session, original, registration, zookeeper, directory })
    }

    /// Starts the copy, which listens elsewhere.
    fn begin(&self) -> Result<Broker> {
        let settings =
            [("zookeeper.connect", self.connect.as_str()), ("broker.id", "1"), self.session];
        Broker::begin(
            &format!("{}-copy", self.name),
            &self.directory.path().join("copy"),
            &settings,
        )
    }

    /// Whether the cluster still knows the original as it was.
    fn is_undisturbed(&self) -> Result<()> {
        let now = registration(self.name, &self.zookeeper)?;
        ensure!(now.as_ref() == Some(&self.registration), "{now:?}, not {:?}", self.registration);
        Ok(())
    }

    /// Waits for the end of the copy, which says why.
    fn is_refused(&self, mut copy: Broker) -> Result<()> {
        let status = copy.process()?.wait(Deadline::after(PATIENCE))?;
        let said = copy.process()?.lines().join("\n");
        ensure!(!status.success(), "it ran: {said}");
        for word in ["broker.id=1 is taken", "a copy of its own", self.original.bootstrap()] {
            ensure!(said.contains(word), "no {word}: {said}");
        }
        self.is_undisturbed()
    }
}

fn registration(name: &str, zookeeper: &Zookeeper) -> Result<Option<Znode>> {
    node(zookeeper, &format!("/{name}/brokers/ids/1"))
}

fn copy_files(from: &Path, to: &Path) -> Result<()> {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().context("run cp")?;
    ensure!(status.success(), "cp ended with {status}");
    Ok(())
}

#[test]
fn the_copy_of_a_live_brokers_disk_is_refused_and_the_original_goes_on() -> Result<()> {
    let mut copied = Copied::new("copy-lives", SESSION)?;
    acknowledge(&copied.original, "t", "after the copy")?;
    let copy = copied.begin()?;
    acknowledge(&copied.original, "t", "beside the copy")?;
    copied.is_refused(copy)?;
    acknowledge(&copied.original, "t", "after its end")?;
    let all = ["copied", "after the copy", "beside the copy", "after its end"];
    let read = values(&copied.original, "t")?;
    ensure!(read == all, "{read:?}");
    serves(&copied.original, "another")?;
    copied.original.stop()
}

/// A process that hangs takes connections and answers nobody; it may go on at any time, with what it was sent.
#[test]
fn the_copy_of_a_disk_waits_while_its_broker_hangs_and_is_refused_when_that_goes_on() -> Result<()>
{
    let mut copied = Copied::new("copy-hangs", SESSION)?;
    acknowledge(&copied.original, "t", "after the copy")?;
    copied.original.process()?.signal(Signal::STOP)?;
    let batch = record("sent while it hung")?;
    let mut connection = Connection::open(copied.original.bootstrap())?;
    connection.send(&produce_request("t", 0, &batch), PRODUCE_VERSION)?;
    let mut copy = copied.begin()?;
    let waits = |line: &str| line.contains("waits for the end of its session").then_some(());
    copy.process()?.wait_for("that it waits", Deadline::after(PATIENCE), waits)?;
    copied.is_undisturbed()?;
    copied.original.process()?.signal(Signal::CONT)?;
    let answer = produced(&connection.receive()?, PRODUCE_VERSION)?;
    ensure!(answer.error_code == 0, "{answer:?}");
    copied.is_refused(copy)?;
    acknowledge(&copied.original, "t", "after its end")?;
    let read = values(&copied.original, "t")?;
    ensure!(
        read == ["copied", "after the copy", "sent while it hung", "after its end"],
        "{read:?}"
    );
    copied.original.stop()
}

/// Once its session is over, who hangs is no member: the copy may be one. The original finds another in its place
/// when it goes on, and ends.
#[test]
fn a_broker_that_hangs_for_longer_than_its_session_gives_way_to_the_copy_of_its_disk() -> Result<()>
{
    let mut copied = Copied::new("copy-late", SHORT_SESSION)?;
    copied.original.process()?.signal(Signal::STOP)?;
    let mut copy = copied.begin()?;
    Deadline::after(PATIENCE).poll("the registration of the copy", || {
        let now = registration(copied.name, &copied.zookeeper)?;
        Ok(now.filter(|now| now.owner != copied.registration.owner))
    })?;
    copied.original.process()?.signal(Signal::CONT)?;
    let status = copied.original.process()?.wait(Deadline::after(PATIENCE))?;
    let said = copied.original.process()?.lines().join("\n");
    ensure!(!status.success() && said.contains("broker.id=1 is taken"), "{said}");
    let is_ready = |line: &str| line.contains(" ready ").then_some(());
    copy.process()?.wait_for("that it is ready", Deadline::after(PATIENCE), is_ready)?;
    copy.stop()
}
