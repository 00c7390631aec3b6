//! kcat, the command line of librdkafka: each operation is one of its invocations.

use std::io::Write;
use std::process::Command;

use anyhow::{Context, Result, anyhow, ensure};
use e2e::clients::{self, passed};
use e2e::deadline::Deadline;
use e2e::logs;
use e2e::matrix::{ADMINISTRATION, Row};
use e2e::peer::Peer;
use e2e::process::Process;
use e2e::verdict::{self, Lacks};

const CLIENT: &str = "kcat";
const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];

const NO_ADMIN: Lacks =
    Lacks { why: "the command line only produces, consumes and lists", operations: ADMINISTRATION };

/// Runs kcat with `arguments` and `input`, and returns the lines it printed.
fn kcat(peer: &Peer, arguments: &[&str], input: &[String]) -> Result<Vec<String>> {
    let mut process = start(peer, arguments)?;
    let mut stream = process.take_stdin().context("kcat's standard input")?;
    for line in input {
        writeln!(stream, "{line}").context("write to kcat")?;
    }
    drop(stream);
    let mut lines = process.wait_success(Deadline::seconds(60))?;
    // Its remarks begin with a percent sign, on the other stream.
    lines.retain(|line| !line.starts_with('%'));
    Ok(lines)
}

fn start(peer: &Peer, arguments: &[&str]) -> Result<Process> {
    let mut command = Command::new("kcat");
    command.args(["-b", peer.bootstrap()]).args(arguments);
    Process::spawn(CLIENT, &mut command, &logs::file(CLIENT))
}

/// Ten keyed and ten other records.
fn produce(peer: &Peer, label: &str, settings: &[&str]) -> Result<Vec<String>> {
    let keyed: Vec<String> =
        (0..10).map(|i| format!("{label}-key-{i}={label}-keyed-{i}")).collect();
    let other: Vec<String> = (0..10).map(|i| format!("{label}-{i}")).collect();
    let mut arguments = vec!["-P", "-t", CLIENT, "-X", "acks=all"];
    arguments.extend(settings);
    kcat(peer, &arguments, &other)?;
    arguments.extend(["-K", "="]);
    kcat(peer, &arguments, &keyed)?;
    Ok(keyed.into_iter().chain(other.into_iter().map(|value| format!("={value}"))).collect())
}

/// Reads `topic` from `offset` to its end, one `partition offset key=value` a line.
fn consume(peer: &Peer, topic: &str, settings: &[&str]) -> Result<Vec<String>> {
    let mut arguments = vec!["-C", "-q", "-e", "-t", topic, "-f", "%p %o %k=%s\n"];
    arguments.extend(settings);
    kcat(peer, &arguments, &[])
}

fn values(lines: &[String]) -> Vec<&str> {
    let mut values: Vec<&str> =
        lines.iter().filter_map(|line| line.splitn(3, ' ').nth(2)).collect();
    values.sort_unstable();
    values
}

fn same(read: &[String], expected: &[String]) -> Result<()> {
    let mut expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    expected.sort_unstable();
    ensure!(values(read) == expected, "read {read:?}, expected {expected:?}");
    Ok(())
}

fn by_offset(peer: &Peer) -> Result<()> {
    let read = consume(peer, CLIENT, &["-p", "0", "-o", "3", "-c", "1"])?;
    ensure!(read.len() == 1 && read[0].starts_with("0 3 "), "read {read:?}");
    Ok(())
}

/// A reader from the time of a record begins with the first of that time or a later one, which is
/// also what `-Q` finds, and reads all that follow.
fn by_timestamp(peer: &Peer) -> Result<()> {
    let arguments = ["-C", "-q", "-e", "-t", CLIENT, "-p", "0", "-o", "beginning", "-f", "%o %T\n"];
    let mut records = Vec::new();
    for line in kcat(peer, &arguments, &[])? {
        let (offset, timestamp) = line.split_once(' ').context("an offset and a time")?;
        records.push((offset.parse::<i64>()?, timestamp.parse::<i64>()?));
    }
    let wanted = records.get(records.len() / 2).context("a record")?.1;
    let first = records.iter().find(|(_, timestamp)| *timestamp >= wanted).context("a record")?.0;
    let found = kcat(peer, &["-Q", "-t", &format!("{CLIENT}:0:{wanted}")], &[])?;
    let expected = format!("{CLIENT} [0] offset {first}");
    ensure!(found.iter().any(|line| line.contains(&expected)), "{found:?}, expected {expected}");
    let from = format!("s@{wanted}");
    let read = kcat(
        peer,
        &["-C", "-q", "-e", "-t", CLIENT, "-p", "0", "-o", &from, "-f", "%o %T\n"],
        &[],
    )?;
    let later = records.iter().filter(|(offset, _)| *offset >= first);
    let later: Vec<String> = later.map(|(offset, time)| format!("{offset} {time}")).collect();
    ensure!(first > 0 && read == later, "from {from}: {read:?}, expected {later:?}");
    Ok(())
}

/// A reader from the end sees only what comes after it has begun.
fn from_end(peer: &Peer) -> Result<String> {
    let arguments =
        ["-C", "-u", "-t", CLIENT, "-p", "0", "-o", "end", "-c", "1", "-f", "%p %o %k=%s\n"];
    let mut reader = start(peer, &arguments)?;
    // kcat says so once it knows where the end is.
    reader.wait_for("that it reached the end", Deadline::seconds(60), |line| {
        line.contains("Reached end of topic").then_some(())
    })?;
    kcat(peer, &["-P", "-t", CLIENT, "-p", "0"], &["at the end".to_owned()])?;
    let lines = reader.wait_success(Deadline::seconds(60))?;
    ensure!(lines.iter().any(|line| line.ends_with(" =at the end")), "read {lines:?}");
    Ok("=at the end".to_owned())
}

fn foreign(peer: &Peer) -> Result<()> {
    let arguments = ["-C", "-q", "-e", "-t", "foreign", "-f", "%k=%s %h\n"];
    let read = kcat(peer, &arguments, &[])?;
    let expected: Vec<String> = (0..10).map(|i| format!("key{i}=value{i} origin=kcat")).collect();
    ensure!(read == expected, "read {read:?}");
    Ok(())
}

/// A member of a group that prints its assignments and records, without an end.
fn member(peer: &Peer, group: &str, settings: &[&str]) -> Result<Process> {
    let mut arguments = vec!["-G", group, "-u", "-f", "%p %o %k=%s\n"];
    arguments.extend(["-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=300"]);
    arguments.extend(settings);
    arguments.extend(["-X", "auto.offset.reset=earliest", "-X", "enable.auto.commit=true", CLIENT]);
    start(peer, &arguments)
}

/// Waits for a line in which the member is assigned exactly `count` partitions, after `since` such.
fn assigned(member: &Process, count: usize, since: usize) -> Result<usize> {
    let mut seen = 0;
    member.wait_for(&format!("{count} partitions"), Deadline::seconds(60), |line| {
        let (_, list) = line.split_once("rebalanced")?.1.split_once("assigned: ")?;
        seen += 1;
        let exactly = list.split(", ").filter(|partition| partition.contains('[')).count() == count;
        (exactly && seen > since).then_some(seen)
    })
}

fn rebalance(peer: &Peer) -> Result<()> {
    let mut first = member(peer, "kcat-group", &[])?;
    let seen = assigned(&first, 2, 0)?;
    let mut second = member(peer, "kcat-group", &[])?;
    assigned(&second, 1, 0)?;
    let seen = assigned(&first, 1, seen)?;
    second.terminate(Deadline::seconds(60))?;
    assigned(&first, 2, seen)?;
    first.terminate(Deadline::seconds(60))?;
    Ok(())
}

/// A member that ends and comes back under its name has its partition again, and the other member
/// sees no rebalance.
fn static_member(peer: &Peer) -> Result<()> {
    let named = |name: &str| {
        let name = format!("group.instance.id={name}");
        member(peer, "kcat-static", &["-X", &name, "-X", "session.timeout.ms=30000"])
    };
    let rebalances =
        |member: &Process| member.lines().iter().filter(|line| line.contains("rebalanced")).count();
    let mut first = named("one")?;
    let seen = assigned(&first, 2, 0)?;
    let mut second = named("two")?;
    assigned(&second, 1, 0)?;
    assigned(&first, 1, seen)?;
    let seen = rebalances(&first);
    second.terminate(Deadline::seconds(60))?;
    let mut again = named("two")?;
    assigned(&again, 1, 0)?;
    ensure!(rebalances(&first) == seen, "the first member saw {:?}", first.lines());
    first.terminate(Deadline::seconds(60))?;
    again.terminate(Deadline::seconds(60))?;
    Ok(())
}

/// The group that read everything goes on with what came since, and nothing else.
fn resume(peer: &Peer, value: &str) -> Result<String> {
    kcat(peer, &["-P", "-t", CLIENT, "-p", "1"], &[value.to_owned()])?;
    let mut again = member(peer, "kcat-group", &[])?;
    let wanted = format!("={value}");
    again.wait_for("the new record", Deadline::seconds(60), |line| {
        line.ends_with(&wanted).then_some(())
    })?;
    let lines = again.lines();
    again.terminate(Deadline::seconds(60))?;
    let records: Vec<&String> = lines.iter().filter(|line| is_record(line)).collect();
    ensure!(records.len() == 1, "read {records:?}");
    Ok(wanted)
}

fn is_record(line: &str) -> bool {
    let mut words = line.split(' ');
    let mut number = || words.next().is_some_and(|word| word.parse::<u32>().is_ok());
    number() && number()
}

fn before(peer: &Peer, row: &mut Row, sent: &mut Vec<String>) {
    // kcat makes a topic by asking for it, and the broker gives it two partitions.
    passed(row, "create_topic", kcat(peer, &["-L", "-t", CLIENT], &[]).map(drop));
    for codec in CODECS {
        let outcome = produce(peer, codec, &["-z", codec]).map(|records| sent.extend(records));
        passed(row, &format!("produce_{codec}"), outcome);
    }
    let outcome = produce(peer, "idempotent", &["-X", "enable.idempotence=true"]);
    passed(row, "produce_idempotent", outcome.map(|records| sent.extend(records)));
    let read = consume(peer, CLIENT, &["-o", "beginning"]);
    passed(row, "consume_beginning", read.and_then(|read| same(&read, sent)));
    passed(row, "consume_offset", by_offset(peer));
    passed(row, "consume_timestamp", by_timestamp(peer));
    passed(row, "consume_end", from_end(peer).map(|record| sent.push(record)));
    passed(row, "read_foreign", foreign(peer));
    passed(row, "group_rebalance", rebalance(peer));
    passed(row, "static_member", static_member(peer));
    // kcat cannot show what its group committed: that it goes on from there proves both.
    let resumed = resume(peer, "after the group");
    let committed = resumed.as_ref().map(drop).map_err(|error| anyhow!("{error:#}"));
    passed(row, "commit", committed);
    passed(row, "resume", resumed.map(|record| sent.push(record)));
}

#[test]
fn kcat_of_debian() -> Result<()> {
    let mut peer = Peer::start(CLIENT)?;
    clients::foreign_topic(peer.bootstrap())?;
    let mut row = Row::new();
    let mut sent = Vec::new();
    before(&peer, &mut row, &mut sent);
    peer.restart()?;
    clients::await_topic(peer.bootstrap(), "foreign")?;
    let read = consume(&peer, CLIENT, &["-o", "beginning"]);
    passed(&mut row, "records_after_restart", read.and_then(|read| same(&read, &sent)));
    let resumed = resume(&peer, "after the restart").map(drop);
    passed(&mut row, "resume_after_restart", resumed);
    verdict::conclude(CLIENT, &[NO_ADMIN], &row)
}
