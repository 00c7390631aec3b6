//! Connections on the network threads: they share one while it has time, spread while it has not, and come
//! together again; what they asked is answered in order wherever they are.

use std::borrow::Cow;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message as _;
use broker_protocol::message::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use broker_protocol::primitive::{Reader, Records, Writer};
use tokio_util::sync::CancellationToken;

use super::client::{Client, await_that, beside_broker_and_metrics, page};
use super::topic::{batches, create, one_record};

const PRODUCE: i16 = 9;
const THREADS: usize = 4;
const CONNECTIONS: usize = 12;
const PIPELINED: i32 = 8;

/// Writes and reads in the order of its numbers.
struct Pipeline {
    socket: TcpStream,
    next: i32,
    last_offset: i64,
}

impl Pipeline {
    fn connect(address: SocketAddr) -> Self {
        let socket = TcpStream::connect(address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self { socket, next: 0, last_offset: -1 }
    }

    /// Asks `count` times at once; each answer is that of its request, each record after the one before.
    fn ask(&mut self, count: i32) {
        let numbers = self.next..self.next + count;
        self.next = numbers.end;
        let frames: Vec<u8> = numbers.clone().flat_map(frame).collect();
        self.socket.write_all(&frames).unwrap();
        for number in numbers {
            let mut size = [0; 4];
            self.socket.read_exact(&mut size).unwrap();
            let mut answer = vec![0; u32::from_be_bytes(size) as usize];
            self.socket.read_exact(&mut answer).unwrap();
            let mut reader = Reader::new(&answer);
            let header =
                ResponseHeader::decode(&mut reader, ProduceRequest::API_KEY, PRODUCE).unwrap();
            assert_eq!(header.correlation_id, number);
            let response = ProduceResponse::decode(&mut reader, PRODUCE).unwrap();
            let partition = &response.responses[0].partition_responses[0];
            assert_eq!(partition.error_code, 0, "{response:?}");
            assert!(partition.base_offset > self.last_offset, "{response:?}");
            self.last_offset = partition.base_offset;
        }
    }
}

fn frame(correlation_id: i32) -> Vec<u8> {
    let records = one_record(None, 100).finish().unwrap();
    let records = Some(Records::Bytes(Cow::Owned(records)));
    let data = PartitionProduceData { index: 0, records };
    let topic = TopicProduceData {
        name: "t".into(),
        partition_data: vec![data],
        ..TopicProduceData::default()
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 20_000,
        topic_data: vec![topic],
        ..Default::default()
    };
    let header = RequestHeader {
        api_key: ProduceRequest::API_KEY.code(),
        api_version: PRODUCE,
        correlation_id,
        client_id: None,
    };
    let mut writer = Writer::new();
    let written = writer.frame(|writer| {
        header.encode(writer)?;
        request.encode(writer, PRODUCE)
    });
    written.unwrap();
    writer.as_slice().to_vec()
}

/// How many connections live on each thread.
fn living(metrics: SocketAddr) -> Vec<u64> {
    let page = page(metrics);
    let lines = page.lines();
    let of_threads = lines
        .filter(|line| line.starts_with("kafka_server_socket_server_metrics_connection_count{"));
    of_threads.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).collect()
}

#[tokio::test]
async fn connections_spread_under_load_come_together_after_it_and_lose_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let settings = &["metrics.listener=127.0.0.1:0", "num.network.threads=4"];
    let stopped = beside_broker_and_metrics(dir.path(), settings, |address, metrics| {
        let metrics = metrics.unwrap();
        let mut client = Client::connect(address);
        create(&mut client, "t", &[("ottla.durability", "replicated")]);
        drop(client);
        let ends = CancellationToken::new();
        let mut pipelines: Vec<Pipeline> = std::thread::scope(|scope| {
            let asks = || {
                let mut pipeline = Pipeline::connect(address);
                while !ends.is_cancelled() {
                    pipeline.ask(PIPELINED);
                }
                pipeline
            };
            let asking: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(asks)).collect();
            // A test that fails ends them too.
            let end = ends.clone().drop_guard();
            await_that("connections live on several threads", || {
                let living = living(metrics);
                assert_eq!(living.len(), THREADS);
                living.iter().filter(|count| **count > 0).count() > 1
            });
            drop(end);
            asking.into_iter().map(|asking| asking.join().unwrap()).collect()
        });
        let mut next = (0..CONNECTIONS).cycle();
        await_that("they live on one", || {
            pipelines[next.next().unwrap()].ask(1);
            living(metrics) == [CONNECTIONS as u64, 0, 0, 0]
        });
        let asked: i32 = pipelines.iter().map(|pipeline| pipeline.next).sum();
        let mut client = Client::connect(address);
        let all = batches(&mut client, "t");
        assert_eq!(all, (0..asked.into()).collect::<Vec<i64>>());
        pipelines
    })
    .await;
    for mut pipeline in stopped {
        assert_eq!(pipeline.socket.read(&mut [0]).unwrap(), 0, "the broker has stopped");
    }
}
