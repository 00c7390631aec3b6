//! The replay client: prebuilt frames over blocking sockets, answers counted and checked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::create_topics::CreateTopicsResponse;
use broker_protocol::message::delete_topics::DeleteTopicsRequest;
use broker_protocol::message::fetch::FetchResponse;
use broker_protocol::record::entries::{Entry, entries};

use super::request;
use crate::deadline::Deadline;

/// Longer than any answer that still counts.
const TIMEOUT: Duration = Duration::from_mins(1);

/// One connection with a receive buffer that is kept.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Client {
    /// Connects to `host:port`.
    pub fn connect(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).context("connect")?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        Ok(Self { stream, buffer: vec![0; 1 << 16], start: 0, end: 0 })
    }

    /// Sends one whole frame.
    pub fn send(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).context("send")
    }

    /// A second handle for sending while another thread receives.
    pub fn sender(&self) -> Result<TcpStream> {
        Ok(self.stream.try_clone()?)
    }

    /// Receives one answer, without its length.
    pub fn receive(&mut self) -> Result<&[u8]> {
        self.fill(4)?;
        let mut length = [0; 4];
        length.copy_from_slice(&self.buffer[self.start..self.start + 4]);
        let length = usize::try_from(i32::from_be_bytes(length))?;
        self.fill(4 + length)?;
        let body = self.start + 4..self.start + 4 + length;
        self.start = body.end;
        Ok(&self.buffer[body])
    }

    /// Sends a frame and receives its answer.
    pub fn call(&mut self, frame: &[u8]) -> Result<&[u8]> {
        self.send(frame)?;
        self.receive()
    }

    fn fill(&mut self, wanted: usize) -> Result<()> {
        if self.end - self.start >= wanted {
            return Ok(());
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted.next_power_of_two(), 0);
        }
        while self.end < wanted {
            let count = self.stream.read(&mut self.buffer[self.end..]).context("receive")?;
            if count == 0 {
                bail!("the broker closed the connection");
            }
            self.end += count;
        }
        Ok(())
    }
}

/// Creates a topic of one replica and returns once every partition takes a Fetch, so that no record is
/// spent.
pub fn create_topic(
    address: &str,
    topic: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<()> {
    let mut client = Client::connect(address)?;
    let create = request::create(topic, partitions, 1, configs)?;
    // Kafka answers before its controller knows of it: "available brokers: 0".
    Deadline::seconds(60).poll("a controller that knows its brokers", || {
        Ok(created(&mut client, &create)?.then_some(()))
    })?;
    (0..partitions).try_for_each(|partition| wait_readable(address, topic, partition))
}

/// Sends a CreateTopics request and returns whether the topic is there now; no when there are too few
/// brokers yet.
pub fn created(client: &mut Client, create: &[u8]) -> Result<bool> {
    let response: CreateTopicsResponse<'_> = request::answer(client.call(create)?, 5)?;
    let failed = response.topics.iter().find(|result| result.error_code != 0);
    let Some(failed) = failed else { return Ok(true) };
    if failed.error_code == ErrorCode::InvalidReplicationFactor.code() {
        return Ok(false);
    }
    bail!("create {:?}: error {} {:?}", failed.name, failed.error_code, failed.error_message);
}

/// Waits until the broker at `address` answers a Fetch of the partition with records or none.
pub fn wait_readable(address: &str, topic: &str, partition: i32) -> Result<()> {
    let mut client = Client::connect(address)?;
    let frame = request::fetch_now(topic, partition, 0)?;
    Deadline::seconds(60).poll("a partition that can be read", || {
        Ok((fetched(client.call(&frame)?)?.0 == 0).then_some(()))
    })
}

/// Deletes a topic; `address` is the controller's.
pub fn delete_topic(address: &str, topic: &str) -> Result<()> {
    let request = DeleteTopicsRequest {
        topic_names: vec![topic.into()],
        timeout_ms: 30_000,
        ..DeleteTopicsRequest::default()
    };
    Client::connect(address)?.call(&request::frame(&request, 4)?).map(drop)
}

/// The error code, the size of the records and the offset after the last whole batch (or -1).
pub fn fetched(body: &[u8]) -> Result<(i16, usize, i64)> {
    let response: FetchResponse<'_> = request::answer(body, request::FETCH)?;
    let first = response.responses.first().and_then(|topic| topic.partitions.first());
    let Some(partition) = first else { return Ok((response.error_code, 0, -1)) };
    let bytes = partition.records.as_ref().map_or(&[][..], |records| records.as_bytes());
    let (mut size, mut next) = (0, -1);
    for entry in entries(bytes) {
        // The last batch may be cut short at max_bytes.
        let Ok(Entry::Batch(batch)) = entry else { break };
        size += batch.bytes.len();
        next = batch.header.last_offset().0 + 1;
    }
    Ok((partition.error_code, size, next))
}

/// Sends `count` of `frames` in turn, at most `in_flight` unanswered.
pub fn replay(address: &str, frames: &[Vec<u8>], count: usize, in_flight: usize) -> Result<()> {
    let mut client = Client::connect(address)?;
    let mut sent = 0;
    for answered in 0..count {
        while sent < count && sent - answered < in_flight {
            client.send(&frames[sent % frames.len()])?;
            sent += 1;
        }
        let code = request::produced(client.receive()?)?;
        if code != 0 {
            bail!("produce answered with error {code}");
        }
    }
    Ok(())
}

/// Runs `work` on `count` threads at once and returns the first error.
pub fn on_threads<T: Send>(
    count: usize,
    work: impl Fn(usize) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    thread::scope(|scope| {
        let work = &work;
        let spawn = |index| {
            thread::Builder::new().stack_size(256 << 10).spawn_scoped(scope, move || work(index))
        };
        let threads = (0..count).map(spawn).collect::<Result<Vec<_>, _>>()?;
        let join = |thread: thread::ScopedJoinHandle<'_, Result<T>>| {
            thread.join().map_err(|_| anyhow!("a client thread panicked"))?
        };
        threads.into_iter().map(join).collect()
    })
}

/// Reads a partition from its start to at least `end` and returns the bytes of its batches.
pub fn consume(address: &str, topic: &str, partition: i32, end: i64) -> Result<usize> {
    let mut client = Client::connect(address)?;
    let (mut offset, mut total) = (0, 0);
    while offset < end {
        let (code, size, next) = fetched(client.call(&request::fetch(topic, partition, offset)?)?)?;
        if code != 0 {
            bail!("fetch answered with error {code}");
        }
        total += size;
        offset = offset.max(next);
    }
    Ok(total)
}

/// Produces `count` single records at `rate` a second and returns each record's way from its
/// scheduled time to the consumer, so that a stall counts for every record it delays.
pub fn end_to_end(address: &str, topic: &str, rate: u32, count: u32) -> Result<Vec<Duration>> {
    let frame = request::produce(topic, 0, &request::batch(100, 0)?.0, -1)?;
    let mut producer = Client::connect(address)?;
    let mut sender = producer.sender()?;
    let mut consumer = Client::connect(address)?;
    let begin = Instant::now() + Duration::from_millis(50);
    let due = |index: u32| begin + Duration::from_secs(1) * index / rate;
    thread::scope(|scope| {
        let sending = scope.spawn(move || -> Result<()> {
            for index in 0..count {
                thread::sleep(due(index).saturating_duration_since(Instant::now()));
                sender.write_all(&frame)?;
            }
            Ok(())
        });
        let checking = scope.spawn(move || -> Result<()> {
            for _ in 0..count {
                let code = request::produced(producer.receive()?)?;
                if code != 0 {
                    bail!("produce answered with error {code}");
                }
            }
            Ok(())
        });
        let mut ways = Vec::with_capacity(count as usize);
        while ways.len() < count as usize {
            let frame = request::fetch(topic, 0, ways.len() as i64)?;
            let (code, _, next) = fetched(consumer.call(&frame)?)?;
            let now = Instant::now();
            if code != 0 {
                bail!("fetch answered with error {code}");
            }
            while (ways.len() as i64) < next {
                ways.push(now.saturating_duration_since(due(ways.len() as u32)));
            }
        }
        sending.join().map_err(|_| anyhow!("the producer panicked"))??;
        checking.join().map_err(|_| anyhow!("the producer's reader panicked"))??;
        Ok(ways)
    })
}
