//! Told to stop while ZooKeeper is away, and before it has started: a broker ends in time, and in order.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use e2e::broker::Broker;
use e2e::deadline::{Deadline, Stopwatch};
use e2e::kafka::Zookeeper;
use e2e::logs;
use e2e::wire::{Connection, PRODUCE_VERSION};
use rustix::process::Signal;

use super::{LONG_SESSION, PATIENCE, node, record, values};

/// What a stop takes at most, whatever is away.
const LIMIT: Duration = Duration::from_secs(25);

/// Kafka's default.
const SESSION: (&str, &str) = ("zookeeper.session.timeout.ms", "18000");

const TOPIC: &str = "t";

/// How the servers of ZooKeeper are away.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Away {
    /// They take what they are sent, and say nothing.
    Hung,
    /// Their ports refuse.
    Killed,
}

/// Starts the broker `id` of the cluster at `connect`, in the directory of its id below `directory`.
fn start(name: &str, directory: &std::path::Path, connect: &str, id: i32) -> Result<Broker> {
    let number = id.to_string();
    let settings = [("zookeeper.connect", connect), ("broker.id", &number), SESSION];
    Broker::start(&format!("{name}-{id}"), &directory.join(&number), &settings)
}

/// Has a record acknowledged by whichever broker leads the partition, and returns that one.
fn acknowledge<'a>(brokers: &'a [(i32, Broker)], value: &str) -> Result<&'a Broker> {
    let batch = record(value)?;
    Deadline::after(PATIENCE).poll("an acknowledgement", || {
        for (_, broker) in brokers {
            let mut connection = Connection::open(broker.bootstrap())?;
            if connection.produce(TOPIC, 0, &batch, PRODUCE_VERSION)?.error_code == 0 {
                return Ok(Some(broker));
            }
        }
        Ok(None)
    })
}

/// Tells brokers to stop, all at once; each ends well and in time.
fn stop(brokers: &mut [&mut Broker]) -> Result<()> {
    let stopwatch = Stopwatch::start();
    for broker in &mut *brokers {
        broker.process()?.signal(Signal::TERM)?;
    }
    for broker in brokers {
        let process = broker.process()?;
        let status = process.wait(Deadline::after(LIMIT.saturating_sub(stopwatch.elapsed())))?;
        ensure!(status.success(), process.complain(&format!("ended with {status}")));
        println!("stopped within {:?}", stopwatch.elapsed());
    }
    Ok(())
}

/// The controller is told to stop, which can have nobody else led; then the others, who find no controller.
fn stops_in_time(name: &str, away: Away) -> Result<()> {
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let data = directory.path().join("zookeeper");
    let mut zookeeper = Some(Zookeeper::start(name, &data, None)?);
    let connect = |zookeeper: &Option<Zookeeper>| -> Result<String> {
        let zookeeper = zookeeper.as_ref().context("it runs")?;
        Ok(format!("{}/{name}", zookeeper.address))
    };
    let at = connect(&zookeeper)?;
    let begin = |at: &str| -> Result<Vec<(i32, Broker)>> {
        (1..=3).map(|id| Ok((id, start(name, directory.path(), at, id)?))).collect()
    };
    let mut brokers = begin(&at)?;
    Deadline::after(PATIENCE).poll("a topic of three replicas", || {
        let mut connection = Connection::open(brokers[0].1.bootstrap())?;
        Ok(connection.create_topic_of(TOPIC, (1, 3), &[("min.insync.replicas", "2")]).ok())
    })?;
    acknowledge(&brokers, "before")?;
    let controller = controller(name, zookeeper.as_ref().context("it runs")?)?;
    match away {
        Away::Hung => zookeeper.as_mut().context("it runs")?.signal(Signal::STOP)?,
        Away::Killed => drop(zookeeper.take()),
    }
    acknowledge(&brokers, "while it is away")?;
    let (mut first, mut others): (Vec<_>, Vec<_>) =
        brokers.iter_mut().partition(|(id, _)| *id == controller);
    for stopped in [&mut first, &mut others] {
        stop(&mut stopped.iter_mut().map(|(_, broker)| broker).collect::<Vec<_>>())?;
    }
    match away {
        Away::Hung => zookeeper.as_mut().context("it runs")?.signal(Signal::CONT)?,
        Away::Killed => zookeeper = Some(Zookeeper::start(name, &data, None)?),
    }
    brokers = begin(&connect(&zookeeper)?)?;
    let read = values(acknowledge(&brokers, "after")?, TOPIC)?;
    ensure!(read == ["before", "while it is away", "after"], "{read:?}");
    brokers.iter_mut().try_for_each(|(_, broker)| broker.stop())
}

fn controller(name: &str, zookeeper: &Zookeeper) -> Result<i32> {
    let office = node(zookeeper, &format!("/{name}/controller"))?.context("a controller")?;
    let office: serde_json::Value = serde_json::from_slice(&office.data)?;
    Ok(office["brokerid"].as_i64().context("a controller's id")? as i32)
}

#[test]
fn brokers_stop_in_time_while_zookeeper_hangs() -> Result<()> {
    stops_in_time("stop-hung", Away::Hung)
}

#[test]
fn brokers_stop_in_time_while_no_zookeeper_is_there() -> Result<()> {
    stops_in_time("stop-killed", Away::Killed)
}

/// A start that has not begun to be a member of anything: it has no session yet.
#[test]
fn a_start_that_waits_for_a_zookeeper_that_hangs_stops_in_time() -> Result<()> {
    let name = "stop-sessionless";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let mut zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/{name}", zookeeper.address);
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), LONG_SESSION];
    zookeeper.signal(Signal::STOP)?;
    let mut broker = Broker::begin(name, directory.path(), &settings)?;
    let waits = |line: &str| line.contains("no session").then_some(());
    broker.process()?.wait_for("that it waits", Deadline::after(PATIENCE), waits)?;
    stop(&mut [&mut broker])?;
    zookeeper.signal(Signal::CONT)?;
    ensure!(node(&zookeeper, &format!("/{name}/brokers/ids/1"))?.is_none());
    Ok(())
}

/// Stopped after each thing that a start says, until one is ready: no registration is left, nor an office, that
/// others would have to wait out.
#[test]
fn a_start_that_is_stopped_anywhere_leaves_no_registration() -> Result<()> {
    let name = "stop-early";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/{name}", zookeeper.address);
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), LONG_SESSION];
    let mut last_words = BTreeSet::new();
    for lines in 1.. {
        let mut broker = Broker::begin(name, directory.path(), &settings)?;
        let mut left = lines;
        let said = broker.process()?.wait_for("a line", Deadline::after(PATIENCE), |line| {
            left -= 1;
            (left == 0).then(|| line.to_owned())
        })?;
        let is_ready = said.contains(" ready ");
        broker.process()?.terminate(Deadline::after(LIMIT))?;
        for path in ["brokers/ids/1", "controller"] {
            let is_left = node(&zookeeper, &format!("/{name}/{path}"))?.is_some();
            ensure!(!is_left, broker.process()?.complain(&format!("left {path} after: {said}")));
        }
        last_words.insert(said);
        if is_ready {
            break;
        }
    }
    println!("stopped after {} lines", last_words.len());
    Ok(())
}

/// It is registered, and waits to be told what is its own by a controller that hangs.
#[test]
fn a_broker_that_is_stopped_before_it_is_ready_leaves_no_registration() -> Result<()> {
    let name = "stop-untold";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/{name}", zookeeper.address);
    let mut first = start(name, directory.path(), &connect, 1)?;
    Deadline::after(PATIENCE).poll("a controller", || Ok(controller(name, &zookeeper).ok()))?;
    first.process()?.signal(Signal::STOP)?;
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "2"), SESSION];
    let mut second = Broker::begin(&format!("{name}-2"), &directory.path().join("2"), &settings)?;
    let registration = |id: i32| node(&zookeeper, &format!("/{name}/brokers/ids/{id}"));
    Deadline::after(PATIENCE).poll("a registration", || registration(2))?;
    stop(&mut [&mut second])?;
    ensure!(!second.process()?.has_said(|line| line.contains(" ready ")), "it was ready");
    ensure!(registration(2)?.is_none(), "it is still registered");
    ensure!(registration(1)?.is_some(), "the session of the other goes on");
    first.process()?.signal(Signal::CONT)?;
    first.stop()
}

/// It waits for the end of another's registration with its id, and leaves that alone.
#[test]
fn a_broker_that_is_stopped_while_it_waits_for_its_id_leaves_the_other_alone() -> Result<()> {
    let name = "stop-waiting";
    logs::forget(name)?;
    let directory = tempfile::tempdir()?;
    let zookeeper = Zookeeper::start(name, &directory.path().join("zookeeper"), None)?;
    let connect = format!("{}/{name}", zookeeper.address);
    let mut first = start(name, directory.path(), &connect, 1)?;
    let registration = || node(&zookeeper, &format!("/{name}/brokers/ids/1"));
    let before = Deadline::after(PATIENCE).poll("a registration", registration)?;
    let settings = [("zookeeper.connect", connect.as_str()), ("broker.id", "1"), LONG_SESSION];
    let other = directory.path().join("other");
    let mut second = Broker::begin(&format!("{name}-other"), &other, &settings)?;
    let waits = |line: &str| line.contains("waits for its end").then_some(());
    second.process()?.wait_for("that it waits", Deadline::after(PATIENCE), waits)?;
    stop(&mut [&mut second])?;
    ensure!(registration()?.as_ref() == Some(&before), "{before:?} is not there any more");
    first.stop()
}
