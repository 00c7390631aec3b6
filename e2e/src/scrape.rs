//! A broker's pages over HTTP, and single series of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Asks for `path` and returns the body of an answer that has no chunks.
///
/// # Errors
/// When nobody answers, or with another status than 200.
pub fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).with_context(|| format!("connect {address}"))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    // HTTP/1.0: the body ends with the connection, and is never cut into chunks.
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).with_context(|| format!("read {path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    ensure!(head.contains(" 200 "), "{path}: {answer}");
    Ok(body.to_owned())
}

/// The value of the only series of `family` with these labels, whatever others it has.
///
/// # Errors
/// When there is none, or more than one.
pub fn value(page: &str, family: &str, labels: &[(&str, &str)]) -> Result<f64> {
    let wanted: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let series = page.lines().filter_map(|line| {
        let (name, value) = line.rsplit_once(' ')?;
        let (found, labels) = name.split_once('{').unwrap_or((name, "}"));
        let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        let fits = found == family && wanted.iter().all(|label| labels.contains(&label.as_str()));
        fits.then_some(value)
    });
    let found: Vec<&str> = series.collect();
    ensure!(found.len() == 1, "{family} {labels:?} is there {} times", found.len());
    found[0].parse().with_context(|| format!("read {family}"))
}
