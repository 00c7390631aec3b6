//! Topics that are created because somebody asks for them, and those that are not.

use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use broker_protocol::uuid::Uuid;

use super::client::{Client, beside_broker};

/// Asks for topics; returns the code of each.
fn ask(client: &mut Client, version: i16, topics: &[MetadataRequestTopic<'static>]) -> Vec<i16> {
    let topics = Some(topics.to_vec());
    let request = MetadataRequest { topics, allow_auto_topic_creation: true, ..Default::default() };
    let answer = client.call(&request, version);
    let response: MetadataResponse<'_> = answer.read(version);
    response.topics.iter().map(|topic| topic.error_code).collect()
}

/// Versions 10 and 11 have a field for ids and refuse whoever uses it: then nothing is created either.
#[tokio::test]
async fn metadata_that_is_refused_for_its_ids_creates_no_topic() {
    let dir = tempfile::tempdir().unwrap();
    beside_broker(dir.path(), &[], |address| {
        let client = &mut Client::connect(address);
        let named = MetadataRequestTopic { name: Some("asked".into()), ..Default::default() };
        let by_id = MetadataRequestTopic { name: None, topic_id: Uuid::from_bytes([7; 16]) };
        for version in [10, 11] {
            let codes = ask(client, version, &[named.clone(), by_id.clone()]);
            assert_eq!(codes, [ErrorCode::InvalidRequest.code(); 2], "version {version}");
        }
        let request = MetadataRequest { topics: None, ..Default::default() };
        let answer = client.call(&request, 9);
        let response: MetadataResponse<'_> = answer.read(9);
        assert!(response.topics.is_empty(), "{response:?}");
        ask(client, 9, std::slice::from_ref(&named));
        assert_eq!(ask(client, 9, &[named]), [ErrorCode::None.code()]);
    })
    .await;
}
