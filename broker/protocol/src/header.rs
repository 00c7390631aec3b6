//! What stands before the body in every frame.
//!
//! Requests have three headers: version 1 adds the client's name, version 2 tagged fields. Which
//! one applies follows from the API and its version; version 0 is left to the first
//! `ControlledShutdown`. Responses have two, and `ApiVersions` always
//! answers with the older: its reader may not know yet what the broker can do.
//!
//! Source: Kafka 3.9 `RequestHeader`, `ResponseHeader`, `ApiKeys`; KIP-511.

use std::borrow::Cow;

use crate::api_key::ApiKey;
use crate::primitive::{DecodeError, EncodeError, Form, Reader, Wire, Writer};

/// The client's name keeps its 16-bit length in every header version.
const FORM: Form = Form { version: 1, flexible: false, nullable: true };

/// The header of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestHeader<'a> {
    /// The number of the API, which may be unknown here.
    pub api_key: i16,
    /// The version of the request, which may be unknown here.
    pub api_version: i16,
    /// A number that the answer repeats.
    pub correlation_id: i32,
    /// The name that the client gives itself.
    pub client_id: Option<Cow<'a, str>>,
}

impl<'a> RequestHeader<'a> {
    /// The API, if it is served.
    pub fn api(&self) -> Option<ApiKey> {
        ApiKey::from_i16(self.api_key)
    }

    /// Reads the header and leaves the reader at the body.
    ///
    /// The version is not checked: `ApiVersions` answers even the versions it does not know.
    ///
    /// # Errors
    /// [`DecodeError::UnknownApiKey`] where the header's own form cannot be known; otherwise what
    /// is wrong with the bytes.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let (api_key, api_version) = (reader.i16()?, reader.i16()?);
        let correlation_id = reader.i32()?;
        let api = ApiKey::from_i16(api_key).ok_or(DecodeError::UnknownApiKey(api_key))?;
        let client_id =
            if has_client_id(api_key, api_version) { Wire::read(reader, FORM)? } else { None };
        if api.is_flexible(api_version) {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { api_key, api_version, correlation_id, client_id })
    }

    /// Writes the header; an unknown API gets header version 1, and one without a place for the
    /// client's name drops it.
    pub fn encode(&self, writer: &mut Writer) -> Result<(), EncodeError> {
        writer.i16(self.api_key);
        writer.i16(self.api_version);
        writer.i32(self.correlation_id);
        if has_client_id(self.api_key, self.api_version) {
            self.client_id.write(writer, FORM)?;
        }
        if self.api().is_some_and(|api| api.is_flexible(self.api_version)) {
            writer.unsigned_varint(0);
        }
        Ok(())
    }
}

/// The header of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number from the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header that answers `version` of `api_key`.
    pub fn decode(
        reader: &mut Reader<'_>,
        api_key: ApiKey,
        version: i16,
    ) -> Result<Self, DecodeError> {
        let correlation_id = reader.i32()?;
        if has_tagged_fields(api_key, version) {
            reader.tagged_fields(|_, _| Ok(false))?;
        }
        Ok(Self { correlation_id })
    }

    /// Writes the header that answers `version` of `api_key`.
    pub fn encode(self, writer: &mut Writer, api_key: ApiKey, version: i16) {
        writer.i32(self.correlation_id);
        if has_tagged_fields(api_key, version) {
            writer.unsigned_varint(0);
        }
    }
}

fn has_client_id(api_key: i16, version: i16) -> bool {
    api_key != ApiKey::ControlledShutdown.code() || version > 0
}

fn has_tagged_fields(api_key: ApiKey, version: i16) -> bool {
    api_key != ApiKey::ApiVersions && api_key.is_flexible(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_form_its_api_and_version_ask_for() {
        let cases: [(ApiKey, i16, usize, usize); 5] = [
            (ApiKey::Produce, 0, 13, 4),
            (ApiKey::Produce, 9, 14, 5),
            (ApiKey::ApiVersions, 2, 13, 4),
            (ApiKey::ApiVersions, 3, 14, 4),
            (ApiKey::ApiVersions, 99, 14, 4),
        ];
        for (api, api_version, request_size, response_size) in cases {
            let header = RequestHeader {
                api_key: api.code(),
                api_version,
                correlation_id: 7,
                client_id: Some("abc".into()),
            };
            let mut writer = Writer::new();
            header.encode(&mut writer).expect("a short name");
            assert_eq!(writer.position(), request_size, "{api:?} {api_version}");
            let mut reader = Reader::new(writer.as_slice());
            assert_eq!(RequestHeader::decode(&mut reader), Ok(header));
            assert_eq!(reader.remaining(), 0);

            let mut writer = Writer::new();
            let header = ResponseHeader { correlation_id: 7 };
            header.encode(&mut writer, api, api_version);
            assert_eq!(writer.position(), response_size, "{api:?} {api_version}");
            let mut reader = Reader::new(writer.as_slice());
            assert_eq!(ResponseHeader::decode(&mut reader, api, api_version), Ok(header));
            assert_eq!(reader.remaining(), 0);
        }
    }

    #[test]
    fn the_first_controlled_shutdown_does_not_name_its_client() {
        let api_key = ApiKey::ControlledShutdown.code();
        for (api_version, size) in [(0, 8), (1, 13), (2, 13), (3, 14)] {
            let client_id = (api_version > 0).then(|| "abc".into());
            let named = Some("abc".into());
            let header =
                RequestHeader { api_key, api_version, correlation_id: 7, client_id: named };
            let mut writer = Writer::new();
            header.encode(&mut writer).expect("a short name");
            assert_eq!(writer.position(), size, "version {api_version}");
            let mut reader = Reader::new(writer.as_slice());
            let expected = RequestHeader { client_id, ..header.clone() };
            assert_eq!(RequestHeader::decode(&mut reader), Ok(expected));
            assert_eq!(reader.remaining(), 0);
        }
    }

    #[test]
    fn a_header_that_cannot_be_read_is_refused() {
        let unknown = [0x7f, 0, 0, 0, 0, 0, 0, 1, 0xff, 0xff];
        let error = RequestHeader::decode(&mut Reader::new(&unknown));
        assert_eq!(error, Err(DecodeError::UnknownApiKey(0x7f00)));
        for size in 0..10 {
            let short = &[0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff][..size];
            assert!(RequestHeader::decode(&mut Reader::new(short)).is_err(), "{size} bytes");
        }
    }

    #[test]
    fn noise_is_read_or_refused_but_never_panics() {
        let mut rng = fastrand::Rng::with_seed(11);
        for _ in 0..100_000 {
            let mut noise: Vec<u8> = (0..rng.usize(..40)).map(|_| rng.u8(..)).collect();
            // A known key and a small version lead further into the header.
            for (byte, range) in noise.iter_mut().zip([0..1, 0..80, 0..1, 0..20]) {
                *byte = rng.u8(range);
            }
            let mut reader = Reader::new(&noise);
            if let Ok(header) = RequestHeader::decode(&mut reader) {
                assert!(reader.position() >= 8, "{header:?}");
            }
        }
    }
}
