//! Every message and version against two independent codecs.
//!
//! Method: draw a random message, encode it, let the oracle decode it whole and encode it again:
//! the bytes must not change, and each number and text must have come to the field of its name.
//! Then decode what the oracle wrote: the message must be the one drawn.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::RangeInclusive;

use broker_protocol::api_key::ApiKey;
use broker_protocol::message::Message;
use broker_protocol::primitive::{Reader, Writer};
use bytes::Bytes;
use fastrand::Rng;

mod support {
    pub(crate) mod every_api;
}

/// Random messages of each kind and version.
const ROUNDS: u64 = 40;

/// The versions of a range that this broker speaks and the oracle knows.
fn shared_versions(api: ApiKey, min: i16, max: i16) -> impl Iterator<Item = i16> {
    api.versions().filter(move |version| (min..=max).contains(version))
}

fn encoded<'a, M: Message<'a>>(message: &M, version: i16) -> Bytes {
    let mut writer = Writer::new();
    message.encode(&mut writer, version).expect("a sample fits its version");
    writer.into_parts().0.freeze()
}

/// Takes the numbers, truths and texts from the debug form of a message, with their field names.
fn leaves(message: &dyn Debug) -> BTreeMap<(String, String), usize> {
    let text = format!("{message:?}");
    let unknown = text.replace("unknown_tagged_fields: {}", "").contains("unknown_tagged_fields");
    assert!(!unknown, "a tag that the oracle does not know: {text}");
    let mut leaves = BTreeMap::new();
    for (colon, _) in text.match_indices(": ") {
        let name = text[..colon].rsplit([' ', '{']).next().unwrap_or_default();
        let mut value = &text[colon + 2..];
        // The oracle wraps names and numbers in types: `Some(GroupId("group"))`.
        while let Some((wrapper, inner)) = value.split_once('(')
            && wrapper.chars().all(char::is_alphabetic)
        {
            value = inner;
        }
        let value = value.split([',', ')', ' ', '}']).next().unwrap_or_default();
        // A field that the version lacks is 0, and maybe the oracle lacks it in all versions.
        let is_number = value != "0" && value.parse::<f64>().is_ok();
        let is_text = value.len() > 2 && value.starts_with('"');
        if is_number || is_text || value == "true" || value == "false" {
            *leaves.entry((name.to_owned(), value.to_owned())).or_default() += 1;
        }
    }
    leaves
}

/// Whether the leaves agree, apart from fields that only one side has.
fn assert_same_leaves(ours: &dyn Debug, theirs: &dyn Debug, context: &str) {
    let (ours, theirs) = (leaves(ours), leaves(theirs));
    let name = |((name, _), _): (&(String, String), &usize)| name.clone();
    let names: BTreeSet<_> = ours.iter().map(name).collect();
    let their_names: BTreeSet<_> = theirs.iter().map(name).collect();
    for leaf @ (name, _) in ours.keys().chain(theirs.keys()) {
        if names.contains(name) && their_names.contains(name) {
            assert_eq!(ours.get(leaf), theirs.get(leaf), "{context}: {leaf:?}");
        }
    }
}

/// Compares one type with its namesake in the oracle crate, over all versions both know.
macro_rules! compare {
    ($oracle:ident, $api:ident, $ours:ty, $name:ident, $compared:ident) => {{
        use $oracle::messages::$name as Theirs;
        use $oracle::protocol::{Decodable as _, Encodable as _, Message as _};

        let range = Theirs::VERSIONS;
        for version in shared_versions(ApiKey::$api, range.min, range.max) {
            for seed in 0..ROUNDS {
                let context = format!("{} version {version} seed {seed}", stringify!($name));
                let drawn = <$ours as Message<'_>>::sample(&mut Rng::with_seed(seed), version);
                let ours = encoded(&drawn, version);

                let mut rest = ours.clone();
                let theirs = Theirs::decode(&mut rest, version)
                    .unwrap_or_else(|error| panic!("{context}: the oracle refuses: {error}"));
                assert!(rest.is_empty(), "{context}: the oracle leaves {} bytes", rest.len());
                assert_same_leaves(&drawn, &theirs, &context);
                let mut again = Vec::new();
                theirs
                    .encode(&mut again, version)
                    .unwrap_or_else(|error| panic!("{context}: the oracle cannot: {error}"));
                assert_eq!(again, ours, "{context}: {drawn:?}");

                let mut reader = Reader::new(&again);
                let back = <$ours as Message<'_>>::decode(&mut reader, version);
                assert_eq!(back.as_ref(), Ok(&drawn), "{context}");
                assert_eq!(reader.remaining(), 0, "{context}");
            }
            $compared += 1;
        }
    }};
}

/// Compares with the newest oracle, if it still knows the API.
macro_rules! newest {
    ([$last:literal] $($row:tt)*) => {};
    ([] $api:ident, $request:ident, $response:ident, $compared:ident) => {
        compare!(kafka_protocol_0_18, $api, $request, $request, $compared);
        compare!(kafka_protocol_0_18, $api, $response, $response, $compared);
    };
}

/// The versions that the newest oracle knows; none if it no longer has the API.
macro_rules! newest_versions {
    ([$last:literal] $name:ident) => {
        None::<RangeInclusive<i16>>
    };
    ([] $name:ident) => {{
        use kafka_protocol_0_18::protocol::Message as _;

        let range = kafka_protocol_0_18::messages::$name::VERSIONS;
        Some(range.min..=range.max)
    }};
}

macro_rules! oracle_tests {
    ($($api:ident $module:ident $request:ident $response:ident $(until $last:literal)?;)*) => {
    $(
        #[test]
        fn $module() {
            use broker_protocol::message::$module::{$request, $response};

            let mut compared = 0;
            compare!(kafka_protocol_0_15, $api, $request, $request, compared);
            compare!(kafka_protocol_0_15, $api, $response, $response, compared);
            newest!([$($last)?] $api, $request, $response, compared);
            assert!(compared > 0);
        }
    )*

        /// The rest is held to bytes written by hand, in `newest.rs`.
        #[test]
        fn every_version_but_the_newest_three_has_an_oracle() {
            use kafka_protocol_0_15::messages as old;
            use kafka_protocol_0_15::protocol::Message as _;

            let mut alone = Vec::new();
            $(for (old, new) in [
                (old::$request::VERSIONS, newest_versions!([$($last)?] $request)),
                (old::$response::VERSIONS, newest_versions!([$($last)?] $response)),
            ] {
                let known = |version: &i16| {
                    (old.min..=old.max).contains(version)
                        || new.as_ref().is_some_and(|new| new.contains(version))
                };
                let unknown = ApiKey::$api.versions().filter(|version| !known(version));
                alone.extend(unknown.map(|version| (ApiKey::$api, version)));
            })*
            alone.dedup();
            let expected =
                [(ApiKey::ListOffsets, 11), (ApiKey::OffsetCommit, 10), (ApiKey::OffsetFetch, 10)];
            assert_eq!(alone, expected);
        }
    };
}

support::every_api::every_api!(oracle_tests);
