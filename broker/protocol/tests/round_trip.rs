//! Every version spoken, of every request and response: what is written reads back the same.

use std::collections::BTreeSet;

use broker_protocol::api_key::ApiKey;
use broker_protocol::message::Message;
use broker_protocol::primitive::{DecodeError, EncodeError, Reader, Writer};
use fastrand::Rng;

mod support {
    pub(crate) mod every_api;
}

/// Random messages of each kind and version.
const ROUNDS: u64 = 20;

fn encoded<'a, M: Message<'a>>(message: &M, version: i16) -> Result<Vec<u8>, EncodeError> {
    let mut writer = Writer::new();
    message.encode(&mut writer, version)?;
    Ok(writer.into_parts().0.to_vec())
}

macro_rules! round_trips {
    ($($api:ident $module:ident $request:ident $response:ident $(until $last:literal)?;)*) => {
        #[test]
        fn every_api_has_its_request_and_response_here() {
            let listed: BTreeSet<ApiKey> = [$(ApiKey::$api),*].into();
            assert_eq!(listed, ApiKey::ALL.iter().copied().collect());
        }

        $(mod $module {
            use broker_protocol::message::$module::{$request, $response};

            use super::*;

            round_trips!(@one request, $api, $request);
            round_trips!(@one response, $api, $response);
        })*
    };
    (@one $test:ident, $api:ident, $name:ident) => {
        #[test]
        fn $test() {
            for version in ApiKey::$api.versions() {
                let bytes = encoded(&$name::default(), version).expect("defaults fit each version");
                let mut reader = Reader::new(&bytes);
                let back = $name::decode(&mut reader, version).expect("what was written");
                assert_eq!(back, $name::default(), "version {version}");
                assert_eq!(reader.remaining(), 0, "version {version}");

                for seed in 0..ROUNDS {
                    let mut rng = Rng::with_seed(seed);
                    let drawn = <$name as Message<'_>>::sample(&mut rng, version);
                    let bytes = encoded(&drawn, version).expect("a sample fits its version");
                    let mut reader = Reader::new(&bytes);
                    assert_eq!($name::decode(&mut reader, version).as_ref(), Ok(&drawn));
                    assert_eq!(reader.remaining(), 0, "version {version} seed {seed}");
                    // A message cut short must not read as a shorter message.
                    for size in 0..bytes.len() {
                        let cut = $name::decode(&mut Reader::new(&bytes[..size]), version);
                        assert!(cut.is_err(), "version {version}, {size} bytes of {bytes:?}");
                    }
                }
            }

            let beyond = ApiKey::$api.versions().end() + 1;
            for version in [-1, beyond, i16::MAX] {
                let api = stringify!($api);
                let error = $name::decode(&mut Reader::new(&[0; 64]), version);
                assert_eq!(error, Err(DecodeError::UnsupportedVersion { api, version }));
                let error = encoded(&$name::default(), version);
                assert_eq!(error, Err(EncodeError::UnsupportedVersion { api, version }));
            }
        }
    };
}

support::every_api::every_api!(round_trips);

/// What honest clients ask for at once fits the budget of a frame.
#[test]
fn large_honest_requests_decode() {
    use broker_protocol::message::fetch::{FetchRequest, ForgottenTopic};
    use broker_protocol::message::metadata::{MetadataRequest, MetadataRequestTopic};

    let topics = (0..2_000).map(|index| MetadataRequestTopic {
        name: Some(format!("{index:04}").into()),
        ..Default::default()
    });
    let metadata = MetadataRequest { topics: Some(topics.collect()), ..Default::default() };
    let bytes = encoded(&metadata, 1).expect("short names");
    assert_eq!(MetadataRequest::decode(&mut Reader::new(&bytes), 1), Ok(metadata));

    let forgotten = ForgottenTopic { partitions: vec![1], ..Default::default() };
    let forgotten_topics_data = vec![forgotten; 20_000];
    let fetch = FetchRequest { forgotten_topics_data, ..Default::default() };
    let bytes = encoded(&fetch, 18).expect("plain numbers");
    assert_eq!(FetchRequest::decode(&mut Reader::new(&bytes), 18), Ok(fetch));
}
