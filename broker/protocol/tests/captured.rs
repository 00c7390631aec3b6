//! Requests of real clients and brokers, of every API that is served: each is read to its last byte, and written again as it came.

use std::collections::BTreeSet;

use broker_protocol::api_key::ApiKey;
use broker_protocol::header::RequestHeader;
use broker_protocol::message::Message;
use broker_protocol::primitive::{DecodeError, EncodeError, Reader, Writer};
use fastrand::Rng;
use support::captured::Captured;

mod support {
    pub(crate) mod captured;
    pub(crate) mod every_api;
}

/// Whose requests the fixture has, and no others.
const CLIENTS: [&str; 21] = [
    "broker-3.9.2",
    "console-3.9.2",
    "console-4.3.1",
    "franz-go",
    "java-0.8.2.2",
    "java-0.9.0.1",
    "java-0.10.2.2",
    "java-0.11.0.3",
    "java-1.1.1",
    "java-2.8.2",
    "java-3.9.2",
    "java-4.3.1",
    "kafka-python-0.8.2",
    "kafka-python-0.9",
    "kafka-python-0.10.0",
    "kafka-python-0.10.1",
    "kafka-python-0.10.2",
    "kafka-python-0.11",
    "kafkajs",
    "kcat",
    "rdkafka",
];

/// Damaged headers of each frame.
const ROUNDS: u64 = 300;

/// How a request was read and written again: the bytes left over, and what was written.
type Again = (usize, Result<Vec<u8>, EncodeError>);

fn written<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    Ok(writer.into_parts().0.to_vec())
}

macro_rules! by_api {
    ($($api:ident $module:ident $request:ident $response:ident $(until $last:literal)?;)*) => {
        fn request_again(
            api: ApiKey,
            reader: &mut Reader<'_>,
            version: i16,
        ) -> Result<Again, DecodeError> {
            match api {
                $(ApiKey::$api => {
                    use broker_protocol::message::$module::$request;

                    let message = $request::decode(reader, version)?;
                    Ok((reader.remaining(), written(&message, version)))
                })*
            }
        }
    };
}
support::every_api::every_api!(by_api);

/// Old and new clients, of every family: none may fall out of the fixture unseen.
#[test]
fn requests_of_every_client_are_there() {
    let frames = support::captured::captured();
    let clients: BTreeSet<&str> = frames.iter().map(|frame| frame.client.as_str()).collect();
    assert_eq!(clients, BTreeSet::from(CLIENTS));
}

/// What no client was seen to send would be read on our word alone.
#[test]
fn requests_of_every_served_api_are_there() {
    let frames = support::captured::captured();
    for api in ApiKey::ALL.iter().filter(|api| api.is_served()) {
        let of_api = |frame: &&Captured| frame.api_key == api.code();
        let served = |frame: &&Captured| api.versions().contains(&frame.version);
        let count = frames.iter().filter(of_api).filter(served).count();
        println!("{api:?}: {count} captured");
        assert!(count > 0, "no request of {api:?} in a version that is served");
    }
}

/// What a client sends, and we serve, is understood whole, and nothing of it is lost.
#[test]
fn a_captured_request_is_written_again_byte_for_byte() {
    for frame in support::captured::captured() {
        let context =
            format!("API {} version {} of {}", frame.api_key, frame.version, frame.client);
        let mut reader = Reader::new(&frame.frame);
        let header = RequestHeader::decode(&mut reader).expect(&context);
        let api = header.api().expect(&context);
        if !api.versions().contains(&frame.version) {
            // ApiVersions is asked in the newest version that a client knows; the answer says ours.
            assert_eq!(api, ApiKey::ApiVersions, "{context}");
            continue;
        }
        let mut writer = Writer::new();
        header.encode(&mut writer).expect(&context);
        let body = frame.body();
        assert_eq!(writer.as_slice(), &frame.frame[..frame.frame.len() - body.len()], "{context}");
        let (left, written) = request_again(api, &mut reader, frame.version).expect(&context);
        assert_eq!(left, 0, "{context}");
        assert_eq!(written.expect(&context), body, "{context}");
    }
}

/// Damaged in any place, a header is read or refused.
#[test]
fn damaged_headers_do_not_panic() {
    let mut refused = 0;
    for frame in support::captured::captured() {
        let size = frame.frame.len() - frame.body().len();
        for seed in 0..ROUNDS {
            let mut rng = Rng::with_seed(seed);
            let mut bytes = frame.frame.clone();
            for _ in 0..rng.usize(1..4) {
                bytes[rng.usize(..size)] = rng.u8(..);
            }
            bytes.truncate(rng.usize(size / 2..=bytes.len()));
            refused += u32::from(RequestHeader::decode(&mut Reader::new(&bytes)).is_err());
        }
    }
    assert!(refused > 0);
}
