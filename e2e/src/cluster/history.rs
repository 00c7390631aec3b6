//! What happened in a run, in the order in which the harness saw it: one event a line.
//!
//! ```text
//! <microseconds> <process> send    <place> <writer>:<first>+<count>             a batch goes out
//! <microseconds> <process> sent    <place> <writer>:<first>+<count> <offset>    it is acknowledged
//! <microseconds> <process> refused <place> <writer>:<first>+<count>             it was not appended
//! <microseconds> <process> seek    <place>                                      reads begin anew
//! <microseconds> <process> audit   <place>                                      from 0, to the end
//! <microseconds> <process> audited <place>                                      the end was reached
//! <microseconds> <process> poll    <place> <next> <offset>=<writer>:<first>+<count>,...
//! <microseconds> <process> commit | committed  <group> <generation> <place> <offset>
//! <microseconds> <process> ask     <group> <place>                              for the commit
//! <microseconds> <process> peek    <group> <place>                              as no member
//! <microseconds> <process> told    <group> <place> <offset>
//! <microseconds> <process> owns    <group> <generation> <place>,...
//! <microseconds> <process> rest    -                                            all agree on all
//! <microseconds> <process> wrong   <rule> <words>                               seen by the harness
//! <microseconds> <process> note    <words>                                      faults and phases
//! ```
//!
//! A place is a topic's number and a partition, `0/3`. A value is a writer and its number; a writer
//! writes to one place only and counts from nought, so that every value is unique and a run of them
//! is two numbers. What a send without an end became nobody knows.

use std::fmt;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Error, Result, bail};

use super::checker::{Checker, Rule, Violation};
use crate::deadline::Stopwatch;

/// A partition of one of the topics that are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// Which of the run's topics.
    pub topic: u16,
    /// The partition.
    pub partition: u16,
}

/// Values of one writer, one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Values {
    /// Who wrote them.
    pub writer: u16,
    /// The number of the first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A batch goes out for the first time.
    Send(Place, Values),
    /// It was acknowledged at this offset; -1 is an acknowledgement without one.
    Sent(Place, Values, i64),
    /// It was certainly not appended.
    Refused(Place, Values),
    /// The process forgets how far it had read.
    Seek(Place),
    /// The process begins to read all that there is, from offset 0 on.
    Audit(Place),
    /// It has come to the end.
    Audited(Place),
    /// A read that ended before `next`, with the values at their offsets.
    Poll(Place, i64, Vec<(i64, Values)>),
    /// A member of a generation (-1: of none) asks to commit an offset.
    Commit(u16, i32, Place, i64),
    /// That commit was accepted.
    Committed(u16, i32, Place, i64),
    /// A member that has just been accepted asks for the committed offset.
    Ask(u16, Place),
    /// A process that is no member asks for it: of a coordinator, perhaps, that is none any more.
    Peek(u16, Place),
    /// The answer, -1 for none.
    Told(u16, Place, i64),
    /// A member begins to own places in a generation.
    Owns(u16, i32, Vec<Place>),
    /// No fault goes on, and all brokers agree on who leads what.
    Rest,
    /// What the harness itself found to be against a rule.
    Wrong(Rule, String),
    /// For the reader of the history.
    Note(String),
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since the start of the run.
    pub at: u64,
    /// Who did it; a process does one thing after the other.
    pub process: u32,
    /// What it was.
    pub what: What,
}

/// The history of a run: written to a file and judged as it grows.
#[derive(Debug)]
pub struct History {
    clock: Stopwatch,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: BufWriter<File>,
    checker: Checker,
    failure: Option<std::io::Error>,
}

impl History {
    /// An empty one, kept in `file`.
    pub fn create(file: &Path) -> Result<Self> {
        let file = File::create(file).with_context(|| format!("create {}", file.display()))?;
        let inner =
            Inner { file: BufWriter::new(file), checker: Checker::default(), failure: None };
        Ok(Self { clock: Stopwatch::start(), inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Microseconds since the start.
    pub fn now(&self) -> u64 {
        self.clock.elapsed().as_micros() as u64
    }

    /// Adds an event; its place in the history is the moment of this call.
    pub fn record(&self, process: u32, what: What) {
        let mut inner = self.lock();
        let event = Event { at: self.now(), process, what };
        inner.checker.observe(&event);
        if let Err(error) = writeln!(inner.file, "{event}") {
            inner.failure.get_or_insert(error);
        }
    }

    /// Notes something for the reader.
    pub fn note(&self, text: impl Into<String>) {
        self.record(0, What::Note(text.into()));
    }

    /// Reads what is known so far.
    pub fn look<T>(&self, look: impl FnOnce(&Checker) -> T) -> T {
        look(&self.lock().checker)
    }

    /// Ends the history: every rule is applied, and what was found is returned.
    pub fn finish(&self) -> Result<Vec<Violation>> {
        let mut inner = self.lock();
        inner.file.flush().context("write the history")?;
        if let Some(error) = inner.failure.take() {
            return Err(error).context("write the history");
        }
        Ok(inner.checker.finish())
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}+{}", self.writer, self.first, self.count)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at, process, what } = self;
        write!(f, "{at} {process} ")?;
        match what {
            What::Send(place, values) => write!(f, "send {place} {values}"),
            What::Sent(place, values, offset) => write!(f, "sent {place} {values} {offset}"),
            What::Refused(place, values) => write!(f, "refused {place} {values}"),
            What::Seek(place) => write!(f, "seek {place}"),
            What::Audit(place) => write!(f, "audit {place}"),
            What::Audited(place) => write!(f, "audited {place}"),
            What::Poll(place, next, runs) => {
                write!(f, "poll {place} {next} ")?;
                list(f, runs, |f, (offset, values)| write!(f, "{offset}={values}"))
            }
            What::Commit(group, generation, place, offset) => {
                write!(f, "commit {group} {generation} {place} {offset}")
            }
            What::Committed(group, generation, place, offset) => {
                write!(f, "committed {group} {generation} {place} {offset}")
            }
            What::Ask(group, place) => write!(f, "ask {group} {place}"),
            What::Peek(group, place) => write!(f, "peek {group} {place}"),
            What::Rest => f.write_str("rest -"),
            What::Told(group, place, offset) => write!(f, "told {group} {place} {offset}"),
            What::Owns(group, generation, places) => {
                write!(f, "owns {group} {generation} ")?;
                list(f, places, |f, place| write!(f, "{place}"))
            }
            What::Wrong(rule, text) => write!(f, "wrong {rule} {text}"),
            What::Note(text) => write!(f, "note {text}"),
        }
    }
}

fn list<T>(
    f: &mut fmt::Formatter<'_>,
    items: &[T],
    one: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(",")?;
        }
        one(f, item)?;
    }
    Ok(())
}

impl FromStr for Place {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (topic, partition) = text.split_once('/').context("a place without a slash")?;
        Ok(Self { topic: topic.parse()?, partition: partition.parse()? })
    }
}

impl FromStr for Values {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (writer, rest) = text.split_once(':').context("values without a writer")?;
        let (first, count) = rest.split_once('+').context("values without a count")?;
        Ok(Self { writer: writer.parse()?, first: first.parse()?, count: count.parse()? })
    }
}

impl FromStr for Event {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let mut words = line.splitn(4, ' ');
        let mut word = || words.next().with_context(|| format!("a short line: {line}"));
        let (at, process, verb, rest) = (word()?.parse()?, word()?.parse()?, word()?, word()?);
        let what = match verb {
            "wrong" => {
                let (rule, text) = rest.split_once(' ').unwrap_or((rest, ""));
                What::Wrong(rule.parse()?, text.to_owned())
            }
            "note" => What::Note(rest.to_owned()),
            verb => parse(verb, rest).with_context(|| format!("the line {line}"))?,
        };
        Ok(Self { at, process, what })
    }
}

fn parse(verb: &str, rest: &str) -> Result<What> {
    let words: Vec<&str> = rest.split(' ').collect();
    Ok(match (verb, words.as_slice()) {
        ("send", [place, values]) => What::Send(place.parse()?, values.parse()?),
        ("sent", [place, values, offset]) => {
            What::Sent(place.parse()?, values.parse()?, offset.parse()?)
        }
        ("refused", [place, values]) => What::Refused(place.parse()?, values.parse()?),
        ("seek", [place]) => What::Seek(place.parse()?),
        ("audit", [place]) => What::Audit(place.parse()?),
        ("audited", [place]) => What::Audited(place.parse()?),
        ("poll", [place, next, runs]) => {
            let runs = runs.split(',').filter(|run| !run.is_empty()).map(|run| {
                let (offset, values) = run.split_once('=').context("values without an offset")?;
                Ok((offset.parse()?, values.parse()?))
            });
            What::Poll(place.parse()?, next.parse()?, runs.collect::<Result<_>>()?)
        }
        ("commit", [group, generation, place, offset]) => {
            What::Commit(group.parse()?, generation.parse()?, place.parse()?, offset.parse()?)
        }
        ("committed", [group, generation, place, offset]) => {
            What::Committed(group.parse()?, generation.parse()?, place.parse()?, offset.parse()?)
        }
        ("ask", [group, place]) => What::Ask(group.parse()?, place.parse()?),
        ("peek", [group, place]) => What::Peek(group.parse()?, place.parse()?),
        ("rest", _) => What::Rest,
        ("told", [group, place, offset]) => {
            What::Told(group.parse()?, place.parse()?, offset.parse()?)
        }
        ("owns", [group, generation, places]) => {
            let places = places.split(',').filter(|place| !place.is_empty()).map(Place::from_str);
            What::Owns(group.parse()?, generation.parse()?, places.collect::<Result<_>>()?)
        }
        _ => bail!("no such event"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_line_is_read_back_as_it_was_written() -> Result<()> {
        let lines = [
            "1 2 send 0/3 7:100+5",
            "2 2 sent 0/3 7:100+5 41",
            "3 2 refused 1/0 7:105+1",
            "4 9 seek 0/3",
            "4 9 audit 0/3",
            "4 9 audited 0/3",
            "5 9 poll 0/3 46 41=7:100+5",
            "6 9 poll 0/3 48 46=7:105+1,47=8:0+1",
            "7 9 poll 0/3 48 ",
            "8 4 commit 0 3 0/1 55",
            "9 4 committed 0 -1 0/1 55",
            "10 4 ask 0 0/1",
            "10 4 peek 0 0/1",
            "10 0 rest -",
            "11 4 told 0 0/1 -1",
            "12 4 owns 0 3 0/1,0/2",
            "13 0 wrong lost-write two words",
            "14 0 note kill broker2 for 3 s",
        ];
        for line in lines {
            assert_eq!(line.parse::<Event>()?.to_string(), line);
        }
        Ok(())
    }

    #[test]
    fn a_line_of_another_kind_is_refused() {
        for line in ["", "1 2 send", "1 2 send 0/3", "x 2 note y", "1 2 jump 0/3", "1 2 seek 03"] {
            assert!(line.parse::<Event>().is_err(), "{line}");
        }
    }
}
