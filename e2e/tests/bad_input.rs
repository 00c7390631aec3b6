//! What the broker does with bytes that no client should send.
//!
//! Beside each row a well-behaved connection goes on being served.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use e2e::broker::Broker;

const API_VERSIONS: i16 = 18;
const METADATA: i16 = 3;
const PRODUCE: i16 = 0;
/// Kafka's error code for a version that is not served.
const UNSUPPORTED_VERSION: i16 = 35;
/// Idle and half-open connections are closed after this; the answers are then waited for longer.
const IDLE_MS: &str = "2000";
const PATIENCE: Duration = Duration::from_secs(30);

fn connect(broker: &Broker) -> Result<TcpStream> {
    let stream = TcpStream::connect(broker.bootstrap()).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A request's frame: header version 1 and a body.
fn request(api_key: i16, api_version: i16, correlation_id: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(api_key.to_be_bytes());
    bytes.extend(api_version.to_be_bytes());
    bytes.extend(correlation_id.to_be_bytes());
    bytes.extend((-1_i16).to_be_bytes());
    bytes.extend(body);
    framed(&bytes)
}

fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as i32).to_be_bytes().to_vec();
    frame.extend(bytes);
    frame
}

fn answer(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("read the size of an answer")?;
    let mut bytes = vec![0; i32::from_be_bytes(size) as usize];
    stream.read_exact(&mut bytes).context("read an answer")?;
    Ok(bytes)
}

fn i32_at(bytes: &[u8], at: usize) -> Result<i32> {
    let bytes = bytes.get(at..at + 4).context("four bytes")?;
    Ok(i32::from_be_bytes(bytes.try_into()?))
}

fn i16_at(bytes: &[u8], at: usize) -> Result<i16> {
    let bytes = bytes.get(at..at + 2).context("two bytes")?;
    Ok(i16::from_be_bytes(bytes.try_into()?))
}

/// Waits for the broker to close, and fails when it answers or keeps the connection.
fn closed(stream: &mut TcpStream) -> Result<()> {
    let mut byte = [0; 1];
    match stream.read(&mut byte) {
        Ok(0) => Ok(()),
        Ok(_) => bail!("it was answered"),
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        Err(error) => bail!("it was neither answered nor closed: {error}"),
    }
}

/// A plain request on a connection of its own.
fn served(broker: &Broker, correlation_id: i32) -> Result<()> {
    let mut stream = connect(broker)?;
    stream.write_all(&request(API_VERSIONS, 0, correlation_id, &[]))?;
    let bytes = answer(&mut stream)?;
    ensure!(i32_at(&bytes, 0)? == correlation_id && i16_at(&bytes, 4)? == 0, "answer {bytes:?}");
    Ok(())
}

fn start(name: &str) -> Result<(tempfile::TempDir, Broker)> {
    let directory = tempfile::tempdir()?;
    let settings = [("connections.max.idle.ms", IDLE_MS)];
    let broker = Broker::start(name, directory.path(), &settings)?;
    Ok((directory, broker))
}

/// Requests that have no answer in the protocol: the connection ends, and no other does.
///
/// A row is (what it is, the bytes).
#[test]
fn what_is_no_request_closes_its_connection_alone() -> Result<()> {
    let (_directory, broker) = start("bad-input-closed")?;
    let many = i32::MAX.to_be_bytes();
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("a negative frame size", (-1_i32).to_be_bytes().to_vec()),
        ("a frame above socket.request.max.bytes", (200_i32 << 20).to_be_bytes().to_vec()),
        ("an empty frame", framed(&[])),
        ("a frame shorter than any header", framed(&[0, 18, 0])),
        ("a TLS hello", vec![0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03]),
        ("an HTTP request", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("an unknown API key", request(9_999, 0, 1, &[])),
        ("a negative API key", request(-1, 0, 1, &[])),
        ("an unsupported version", request(METADATA, 99, 1, &[])),
        ("a client id that runs past the frame", framed(&[0, 3, 0, 0, 0, 0, 0, 1, 0x7f, 0xff])),
        ("an array longer than its frame", request(METADATA, 0, 1, &many)),
        ("a string longer than its frame", request(METADATA, 0, 1, &[0, 0, 0, 1, 0x7f, 0xff])),
        ("a negative string", request(METADATA, 0, 1, &[0, 0, 0, 1, 0xff, 0xfe])),
        ("text that is not UTF-8", request(METADATA, 0, 1, &[0, 0, 0, 1, 0, 2, 0xc3, 0x28])),
        ("a produce request cut short", request(PRODUCE, 3, 1, &[0xff, 0xff, 0, 1])),
    ];
    let mut wrong = Vec::new();
    for (number, (what, bytes)) in (1..).zip(rows) {
        let mut stream = connect(&broker)?;
        stream.write_all(&bytes)?;
        wrong.extend(closed(&mut stream).err().map(|error| format!("{what}: {error}")));
        served(&broker, number).with_context(|| format!("beside {what}"))?;
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

#[test]
fn half_a_frame_and_then_silence_ends_at_the_deadline() -> Result<()> {
    let (_directory, broker) = start("bad-input-silence")?;
    let mut half = connect(&broker)?;
    half.write_all(&100_i32.to_be_bytes())?;
    half.write_all(&[0; 10])?;
    let mut silent = connect(&broker)?;
    closed(&mut half).context("half a frame")?;
    closed(&mut silent).context("silence")?;
    served(&broker, 1)
}

#[test]
fn an_api_versions_request_from_the_future_is_answered_in_version_0() -> Result<()> {
    let (_directory, broker) = start("bad-input-versions")?;
    let mut stream = connect(&broker)?;
    // Its header has tagged fields, none here; nothing is known of its body.
    let body = [&[0][..], &[0x55; 20][..]].concat();
    stream.write_all(&request(API_VERSIONS, 99, 7, &body))?;
    let bytes = answer(&mut stream)?;
    ensure!(i32_at(&bytes, 0)? == 7, "correlation id in {bytes:?}");
    ensure!(i16_at(&bytes, 4)? == UNSUPPORTED_VERSION, "error code in {bytes:?}");
    stream.write_all(&request(API_VERSIONS, 0, 8, &[]))?;
    let bytes = answer(&mut stream)?;
    ensure!(i32_at(&bytes, 0)? == 8 && i16_at(&bytes, 4)? == 0, "the connection goes on");
    Ok(())
}

#[test]
fn bytes_after_the_body_are_accepted() -> Result<()> {
    let (_directory, broker) = start("bad-input-trailing")?;
    let mut stream = connect(&broker)?;
    stream.write_all(&request(METADATA, 1, 3, &[0, 0, 0, 0, 1, 2, 3]))?;
    ensure!(i32_at(&answer(&mut stream)?, 0)? == 3, "an answer");
    Ok(())
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() -> Result<()> {
    let (_directory, broker) = start("bad-input-pipeline")?;
    let mut stream = connect(&broker)?;
    let mut writer = stream.try_clone()?;
    let sender = std::thread::spawn(move || -> Result<()> {
        for number in 0..10_000 {
            writer.write_all(&request(METADATA, 1, number, &[0, 0, 0, 0]))?;
        }
        Ok(())
    });
    for number in 0..10_000 {
        let found = i32_at(&answer(&mut stream)?, 0)?;
        ensure!(found == number, "answer {found} instead of {number}");
    }
    sender.join().map_err(|_| anyhow::anyhow!("the sender panicked"))?
}

/// Counts that promise millions of elements cost no memory.
#[test]
fn memory_does_not_grow_with_what_counts_claim() -> Result<()> {
    let (_directory, mut broker) = start("bad-input-memory")?;
    served(&broker, 1)?;
    let before = resident_kib(&mut broker)?;
    let mut sent = 0;
    for claim in [i32::MAX, 1 << 24, 100_000] {
        for (api_key, api_version) in [(METADATA, 0), (PRODUCE, 0), (1, 0), (2, 1), (8, 2), (19, 0)]
        {
            let mut body = claim.to_be_bytes().repeat(2);
            body.extend([0; 64]);
            let frame = request(api_key, api_version, 1, &body);
            sent += frame.len();
            let mut stream = connect(&broker)?;
            stream.write_all(&frame)?;
            // Answered or closed: either is right, as long as it is cheap.
            let mut bytes = [0; 4];
            let _ = stream.read(&mut bytes)?;
        }
    }
    let grown = resident_kib(&mut broker)?.saturating_sub(before);
    ensure!(grown < 8 * 1024, "{grown} KiB more after {sent} bytes");
    served(&broker, 2)
}

/// Resident memory without the pages of files, in KiB.
fn resident_kib(broker: &mut Broker) -> Result<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.process()?.id()))?;
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).context("RssAnon")?;
    line.split_whitespace().nth(1).context("a number")?.parse().context("a number of KiB")
}
