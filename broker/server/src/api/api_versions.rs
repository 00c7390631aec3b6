//! ApiVersions: which requests this broker serves, and in which versions.

use broker_protocol::api_key::ApiKey;
use broker_protocol::error_code::ErrorCode;
use broker_protocol::message::api_versions::{ApiVersion, ApiVersionsRequest, ApiVersionsResponse};

use super::RequestContext;

/// Answers with every API that is served.
///
/// From version 3 a client names its software; a name that does not fit Kafka's pattern is refused
/// (KIP-511).
pub(crate) fn api_versions(
    request: &ApiVersionsRequest<'_>,
    rc: &RequestContext<'_>,
) -> ApiVersionsResponse<'static> {
    let named = is_software_name(&request.client_software_name)
        && is_software_name(&request.client_software_version);
    if rc.api_version >= 3 && !named {
        return ApiVersionsResponse {
            error_code: ErrorCode::InvalidRequest.code(),
            ..Default::default()
        };
    }
    ApiVersionsResponse { api_keys: served(), ..Default::default() }
}

/// The answer to a version of ApiVersions that is not served: in version 0, so that the client can
/// read it and ask again.
pub(crate) fn unsupported() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: served(),
        ..Default::default()
    }
}

fn served() -> Vec<ApiVersion> {
    ApiKey::ALL
        .iter()
        .filter(|key| key.is_served())
        .map(|key| ApiVersion {
            api_key: key.code(),
            min_version: *key.versions().start(),
            max_version: *key.versions().end(),
        })
        .collect()
}

/// Source: Kafka 3.9 `ApiVersionsRequest.isValid`: a letter or digit at both ends, dots and dashes between.
fn is_software_name(name: &str) -> bool {
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    ends(name.chars().next())
        && ends(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names are letters and digits, with dots and dashes inside.
    #[test]
    fn software_names_follow_the_pattern_of_kip_511() {
        let cases = [
            ("apache-kafka-java", true),
            ("3.9.2", true),
            ("a", true),
            ("", false),
            ("-a", false),
            ("a.", false),
            ("a b", false),
            ("ü", false),
        ];
        for (name, expected) in cases {
            assert_eq!(is_software_name(name), expected, "{name:?}");
        }
    }
}
