//! A controller that elects by the ISR alone, as Kafka's, has this broker lead a replica that may lack records.

use broker_protocol::header::{RequestHeader, ResponseHeader};
use broker_protocol::message::Message;
use broker_protocol::message::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use broker_protocol::message::update_metadata::{UpdateMetadataBroker, UpdateMetadataEndpoint};
use broker_protocol::primitive::{Reader, Writer};
use broker_protocol::quantity::Offset;
use broker_protocol::topic_partition::TopicPartition;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::replica::tests::append;

/// What the broker asks others in.
const VERSION: i16 = 5;

const EPOCH: i32 = 5;

/// What another says of its replica of `t-0`.
type Says = (ErrorCode, i32, i64);

const HAS_MORE: Says = (ErrorCode::None, 4, 3);
const HAS_NO_LOG: Says = (ErrorCode::UnknownTopicOrPartition, -1, -1);
const CANNOT_SAY: Says = (ErrorCode::KafkaStorageError, -1, -1);

/// Where somebody listens who answers each question where a log ends by what it `says`.
async fn other_broker(says: Says) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            answer(stream, says).await;
        }
    });
    port
}

async fn answer(mut stream: TcpStream, (code, leader_epoch, offset): Says) {
    while let Ok(size) = stream.read_u32().await {
        let mut frame = vec![0; size as usize];
        stream.read_exact(&mut frame).await.unwrap();
        let mut reader = Reader::new(&frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let request = ListOffsetsRequest::decode(&mut reader, VERSION).unwrap();
        assert_eq!(request.topics[0].name, "t");
        let partition = ListOffsetsPartitionResponse {
            error_code: code.code(),
            leader_epoch,
            offset,
            ..Default::default()
        };
        let topic = ListOffsetsTopicResponse { name: "t".into(), partitions: vec![partition] };
        let response = ListOffsetsResponse { topics: vec![topic], ..Default::default() };
        let mut writer = Writer::new();
        let answer = |writer: &mut Writer| {
            let header = ResponseHeader { correlation_id: header.correlation_id };
            header.encode(writer, ListOffsetsResponse::API_KEY, VERSION);
            response.encode(writer, VERSION)
        };
        writer.frame(answer).unwrap();
        stream.write_all(writer.as_slice()).await.unwrap();
    }
}

impl Obeying {
    /// Says where the other broker is.
    async fn introduce(&self, port: u16) {
        let endpoint = UpdateMetadataEndpoint {
            host: "127.0.0.1".into(),
            port: i32::from(port),
            listener: "PLAINTEXT".into(),
            security_protocol: 0,
        };
        let live_brokers = vec![UpdateMetadataBroker {
            id: OTHER,
            endpoints: vec![endpoint],
            ..Default::default()
        }];
        let request = UpdateMetadataRequest {
            controller_id: OTHER,
            controller_epoch: 3,
            broker_epoch: 7,
            live_brokers,
            ..Default::default()
        };
        let response = self.order(|answer| Order::UpdateMetadata(request, answer)).await;
        assert_eq!(response.error_code, 0);
    }

    /// Has this broker lead `t-0`, which it shares with the other; returns what it answers.
    async fn be_elected(&self, isr: &[i32], recovery_state: i8) -> ErrorCode {
        let state = LeaderAndIsrPartitionState {
            leader: ME,
            leader_epoch: EPOCH,
            isr: isr.to_vec(),
            replicas: vec![ME, OTHER],
            leader_recovery_state: recovery_state,
            ..Default::default()
        };
        let topic = LeaderAndIsrTopicState {
            topic_name: "t".into(),
            topic_id: ID,
            partition_states: vec![state],
        };
        let request = LeaderAndIsrRequest {
            controller_id: OTHER,
            controller_epoch: 3,
            request_type: PART,
            broker_epoch: 7,
            topic_states: vec![topic],
            ..Default::default()
        };
        let response = self.order(|answer| Order::LeaderAndIsr(request, answer)).await;
        assert_eq!(response.error_code, 0);
        ErrorCode::from_code(response.partition_errors[0].error_code).unwrap()
    }
}

/// Both members are in sync as far as the controller knows, and the log here is gone. A row is what the other
/// says, and whether this broker leads.
#[tokio::test]
async fn a_replica_whose_log_is_gone_leads_only_if_the_others_have_no_more() {
    for (says, leads) in [(HAS_MORE, false), (CANNOT_SAY, false), (HAS_NO_LOG, true)] {
        let broker = Obeying::new().await;
        broker.introduce(other_broker(says).await).await;
        let code = if leads { ErrorCode::None } else { ErrorCode::KafkaStorageError };
        assert_eq!(broker.be_elected(&[ME, OTHER], 0).await, code, "{says:?}");
        assert_eq!(broker.logs().is_empty(), !leads, "{says:?}");
    }
}

/// The log is here, and may have lost its end.
#[tokio::test]
async fn a_replica_that_is_unproven_leads_only_if_the_others_have_no_more() {
    for (says, leads) in [(HAS_MORE, false), (HAS_NO_LOG, true)] {
        let broker = Obeying::new().await;
        broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
        let name = TopicPartition { topic: "t".into(), partition: 0 };
        let dir = &broker.replicas.log_dirs()[0];
        broker.replicas.standings().add(dir, vec![name]).unwrap();
        broker.introduce(other_broker(says).await).await;
        let code = if leads { ErrorCode::None } else { ErrorCode::KafkaStorageError };
        assert_eq!(broker.be_elected(&[ME, OTHER], 0).await, code, "{says:?}");
    }
}

/// The log lies aside: it counts, as the others say what is in theirs. It is here from then on, also where the
/// other has more, as what is to be copied.
#[tokio::test]
async fn a_replica_whose_log_lies_aside_leads_by_what_is_in_it() {
    let has_as_much = (ErrorCode::None, 0, 5);
    for (says, leads) in [(has_as_much, true), (HAS_MORE, false)] {
        let broker = Obeying::new().await;
        broker.leader_and_isr(PART, (OTHER, 3), (ME, 1)).await;
        append(&broker.replicas.partition("t", 0).unwrap(), 5).unwrap();
        broker.leader_and_isr(FULL, (OTHER, 3), (ME, 0)).await;
        assert_eq!(broker.logs(), ["t-0 stray"]);
        broker.introduce(other_broker(says).await).await;
        let code = if leads { ErrorCode::None } else { ErrorCode::KafkaStorageError };
        assert_eq!(broker.be_elected(&[ME, OTHER], 0).await, code, "{says:?}");
        assert_eq!(broker.logs(), ["t-0"]);
        let back = broker.replicas.partition("t", 0).unwrap();
        assert_eq!(back.offsets().log_end_offset, Offset(5), "{says:?}");
    }
}

/// A member that cannot be reached may have more; who is out of the ISR may be silent, as nobody counts on it.
/// And who was elected uncleanly is to lose records.
#[tokio::test]
async fn a_member_that_is_silent_is_waited_for_by_whoever_may_lack_something() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let rows: [(&[i32], i8, ErrorCode); 3] = [
        (&[ME, OTHER], 0, ErrorCode::KafkaStorageError),
        (&[ME], 0, ErrorCode::None),
        (&[ME, OTHER], 1, ErrorCode::None),
    ];
    for (isr, recovery_state, code) in rows {
        let broker = Obeying::new().await;
        broker.introduce(closed).await;
        let answer = broker.be_elected(isr, recovery_state).await;
        assert_eq!(answer, code, "{isr:?} {recovery_state}");
    }
}
