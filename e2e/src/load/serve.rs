//! What a test asks a load over HTTP, one question at a time.
//!
//! `/state`: figures. `/part`: forgets the longest times. `/finish`: stops, reads everything again, and tells the
//! verdict; asked again, it tells it again. `/history`: every event.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};

use super::{Load, read};
use crate::deadline::Deadline;

/// How long producers may take to end: they try a record for two minutes.
const END_SECONDS: u64 = 140;

/// Answers for ever.
pub(super) fn serve(load: &Arc<Load>, listen: SocketAddr) -> io::Result<()> {
    let listener = TcpListener::bind(listen)?;
    let mut verdict = None;
    for stream in listener.incoming() {
        // Who goes away before he has his answer asks again.
        let _ = stream.and_then(|stream| answer(load, &stream, &mut verdict));
    }
    Ok(())
}

fn answer(load: &Load, stream: &TcpStream, verdict: &mut Option<Value>) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    // The head ends with an empty line.
    while reader.read_line(&mut line)? > 2 {}
    let body = match path.as_str() {
        "/state" => state(load).to_string(),
        "/part" => {
            load.figures.begin_part();
            state(load).to_string()
        }
        "/finish" => {
            let told = verdict.get_or_insert_with(|| {
                finish(load).unwrap_or_else(|error| json!({ "error": error.to_string() }))
            });
            told.to_string()
        }
        "/history" => fs::read_to_string(&load.order.history)?,
        _ => return write!(&mut &*stream, "HTTP/1.0 404 Not Found\r\n\r\n"),
    };
    write!(&mut &*stream, "HTTP/1.0 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

fn state(load: &Load) -> Value {
    let (acknowledged, verified, told) = load.history.look(|checker| {
        let told: Vec<String> =
            checker.told().iter().map(|one| format!("{}: {}", one.rule, one.what)).collect();
        (checker.acknowledged(), checker.verified(), told)
    });
    let mut state = load.figures.tell_all();
    state["acknowledged"] = acknowledged.into();
    state["verified"] = verified.into();
    state["violations"] = told.into();
    state
}

fn finish(load: &Load) -> Result<Value> {
    load.stop.store(true, Ordering::SeqCst);
    let topics = load.order.topics.len();
    Deadline::seconds(END_SECONDS).poll("the end of the producers", || {
        Ok((load.figures.have_ended() == topics).then_some(()))
    })?;
    read::read_all(load);
    load.history.finish()?;
    Ok(state(load))
}
