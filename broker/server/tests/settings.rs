//! Every key that `broker-config` says is honoured is read by the server: one that is accepted and
//! then ignored fails here.
//!
//! Method: the sources of server and storage are read as text, without their tests, and searched for
//! an access to the key's field. That a field is read says nothing of what is done with it; that is
//! for the tests beside the code.

use std::path::Path;

use broker_config::key::{self, Status};

/// Keys whose value is not read through a field of their name, and what reads it.
const READ_BY: &[(&str, &str)] = &[
    ("advertised.listeners", ".advertised_listeners"),
    ("broker.id", ".id()"),
    ("listener.security.protocol.map", ".security_protocol("),
    // `log_dirs` has both spellings.
    ("log.dir", ".log_dirs"),
    ("max.connections.per.ip", ".max_connections_of("),
    ("max.connections.per.ip.overrides", ".max_connections_of("),
    ("metrics.listener", ".metrics_address()"),
    ("num.network.threads", ".network_threads("),
    ("ottla.durability", ".durability"),
];

/// Keys that `broker-config` folds into another, which is what the server reads.
const FOLDED: &[(&str, &str)] = &[
    ("log.message.timestamp.difference.max.ms", "message.timestamp.before.max.ms"),
    ("log.retention.hours", "retention.ms"),
    ("log.retention.minutes", "retention.ms"),
    ("log.roll.hours", "segment.ms"),
    ("log.roll.jitter.hours", "segment.jitter.ms"),
    ("message.timestamp.difference.max.ms", "message.timestamp.before.max.ms"),
];

/// The sources under `dir` but for tests, one text.
fn sources(dir: &Path, text: &mut String) {
    for entry in std::fs::read_dir(dir).expect("a directory of sources") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|it| it == "rs") && !path.ends_with("tests.rs") {
            let source = std::fs::read_to_string(&path).expect("a source");
            let code = source.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
            text.extend(lines.flat_map(|line| [line.trim(), "\n"]));
        }
    }
}

/// Whether `text` has `access` as a whole: not as the beginning of a longer name, nor of a method's.
fn has(text: &str, access: &str) -> bool {
    text.match_indices(access).any(|(start, _)| {
        let next = text[start + access.len()..].chars().next();
        access.ends_with(['(', ')'])
            || next.is_none_or(|next| !next.is_alphanumeric() && next != '_' && next != '(')
    })
}

/// What the server must have in its sources to read the key.
fn access_of(name: &str) -> String {
    let name = FOLDED.iter().find(|(from, _)| *from == name).map_or(name, |(_, to)| to);
    if let Some((_, access)) = READ_BY.iter().find(|(key, _)| *key == name) {
        return (*access).to_owned();
    }
    // A broker key that is the default of a topic key is read through the topic's configuration.
    let topic = key::topic_keys().find(|key| key.synonym == Some(name));
    format!(".{}", topic.map_or(name, |key| key.name).replace('.', "_"))
}

#[test]
fn every_honoured_key_is_read_somewhere_in_the_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    for dir in [root.join("src"), root.join("../storage/src")] {
        sources(&dir, &mut text);
    }
    let honoured = key::broker_keys().chain(key::topic_keys());
    let honoured = honoured.filter(|key| key.status == Status::Honoured);
    let ignored: Vec<_> = honoured
        .map(|key| (key.name, access_of(key.name)))
        .filter(|(_, access)| !has(&text, access))
        .collect();
    assert!(ignored.is_empty(), "honoured by name only, and what was looked for: {ignored:#?}");
}

#[test]
fn an_access_is_found_as_a_whole_only() {
    let text = "a.retention_ms;\nb.segment_bytes_max\nc.preallocate(1)\nd.id()\n";
    for (access, expected) in [
        (".retention_ms", true),
        (".segment_bytes", false),
        (".preallocate", false),
        (".id()", true),
    ] {
        assert_eq!(has(text, access), expected, "{access}");
    }
}
