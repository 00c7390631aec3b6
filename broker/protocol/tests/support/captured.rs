//! Request frames of real clients, from `fixtures/captured.txt`.

use broker_protocol::header::RequestHeader;
use broker_protocol::primitive::Reader;

/// A request as a client sent it, without the length prefix.
pub(crate) struct Captured {
    pub(crate) api_key: i16,
    pub(crate) version: i16,
    #[allow(dead_code, reason = "not every test that has this module asks for it")]
    pub(crate) client: String,
    pub(crate) frame: Vec<u8>,
}

impl Captured {
    /// What follows the header.
    pub(crate) fn body(&self) -> &[u8] {
        let mut reader = Reader::new(&self.frame);
        RequestHeader::decode(&mut reader).expect("a header");
        &self.frame[reader.position()..]
    }
}

pub(crate) fn captured() -> Vec<Captured> {
    let lines = include_str!("../fixtures/captured.txt").lines();
    let frames: Vec<Captured> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let &[api_key, version, client, hex] = fields.as_slice() else {
                unreachable!("{line}")
            };
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            Captured {
                api_key: api_key.parse().expect("an API key"),
                version: version.parse().expect("a version"),
                client: client.to_owned(),
                frame: (0..hex.len()).step_by(2).map(byte).collect(),
            }
        })
        .collect();
    assert!(!frames.is_empty());
    frames
}
