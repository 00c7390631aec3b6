//! Every key that `broker-config` says is honoured is read by the server: one that is accepted and
//! then ignored fails here.
//!
//! Method: the sources of server and storage are read as text, without their tests, and searched for
//! an access to the key's field. That a field is read says nothing of what is done with it; that is
//! for the tests beside the code, which a table names for the keys of topics.

use std::path::Path;

use broker_config::key::{self, Status};

/// Keys whose value is not read through a field of their name, and what reads it.
const READ_BY: &[(&str, &str)] = &[
    ("admin.listener", ".admin_address()"),
    ("advertised.listeners", ".advertised_listeners"),
    ("broker.id", ".id()"),
    // What the configuration was checked for before anybody reads the number.
    ("broker.id.generation.enable", ".id()"),
    ("inter.broker.listener.name", ".inter_broker_listener"),
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

const COMPACTION: &str = "storage/tests/compaction.rs";
const JOBS: &str = "server/tests/running/jobs.rs";
const LOG: &str = "storage/tests/settings.rs";
const LOOKUP: &str = "storage/tests/lookup.rs";
const THROTTLE: &str = "server/tests/cluster/throttle.rs";
const VALIDATE: &str = "server/src/replica/validate/tests.rs";

/// For each honoured key of a topic a test that fails when the key is ignored, and its file.
const SEEN_BY: &[(&str, &str, &str)] = &[
    ("cleanup.policy", JOBS, "a_topic_that_becomes_compacted_loses_older_values_of_a_key"),
    ("compression.gzip.level", VALIDATE, "records_are_compressed_at_the_level_that_the_topic_says"),
    ("compression.type", VALIDATE, "another_codec_is_forced_where_the_topic_says_so"),
    ("compression.zstd.level", VALIDATE, "records_are_compressed_at_the_level_that_the_topic_says"),
    (
        "delete.retention.ms",
        COMPACTION,
        "a_tombstone_stays_for_its_retention_and_takes_its_value_with_it",
    ),
    (
        "file.delete.delay.ms",
        "server/src/replica/tests.rs",
        "files_of_what_was_deleted_stay_for_their_delay",
    ),
    (
        "flush.messages",
        LOG,
        "a_sync_is_asked_for_after_as_many_records_as_flush_messages_says_and_then_counted_anew",
    ),
    ("flush.ms", JOBS, "a_new_flush_ms_has_what_nobody_waits_for_synced"),
    (
        "follower.replication.throttled.replicas",
        THROTTLE,
        "a_follower_takes_no_more_than_its_rate_while_it_is_added",
    ),
    (
        "index.interval.bytes",
        LOG,
        "an_offset_index_has_an_entry_after_as_many_bytes_as_index_interval_bytes_says",
    ),
    (
        "leader.replication.throttled.replicas",
        THROTTLE,
        "a_leader_gives_no_more_than_its_rate_to_a_replica_that_is_added",
    ),
    (
        "max.compaction.lag.ms",
        COMPACTION,
        "a_topic_says_how_old_and_how_dirty_what_is_compacted_must_be",
    ),
    (
        "max.message.bytes",
        "server/tests/running/changes.rs",
        "a_live_topic_refuses_a_batch_above_its_new_max_message_bytes",
    ),
    (
        "message.downconversion.enable",
        "server/tests/running/settings.rs",
        "old_clients_are_refused_records_where_they_are_not_converted",
    ),
    ("message.timestamp.after.max.ms", VALIDATE, "times_are_held_to_the_topics_limits"),
    ("message.timestamp.before.max.ms", VALIDATE, "times_are_held_to_the_topics_limits"),
    ("message.timestamp.difference.max.ms", VALIDATE, "times_are_held_to_the_topics_limits"),
    ("message.timestamp.type", LOOKUP, "append_time_is_stamped_and_the_checksum_fits"),
    (
        "min.cleanable.dirty.ratio",
        COMPACTION,
        "a_topic_says_how_old_and_how_dirty_what_is_compacted_must_be",
    ),
    (
        "min.compaction.lag.ms",
        COMPACTION,
        "a_topic_says_how_old_and_how_dirty_what_is_compacted_must_be",
    ),
    (
        "min.insync.replicas",
        "server/src/replica/tests.rs",
        "acks_all_is_refused_with_fewer_replicas_in_sync_than_the_topic_asks_for",
    ),
    (
        "ottla.durability",
        "server/src/replica/tests.rs",
        "a_relaxed_topic_shows_what_was_appended_at_once",
    ),
    (
        "preallocate",
        LOOKUP,
        "a_preallocated_segment_has_its_space_from_the_first_batch_until_it_is_rolled",
    ),
    ("retention.bytes", JOBS, "segments_beyond_a_new_retention_bytes_vanish"),
    ("retention.ms", JOBS, "segments_that_a_new_retention_ms_makes_old_vanish_with_their_files"),
    ("segment.bytes", JOBS, "segments_that_a_new_retention_ms_makes_old_vanish_with_their_files"),
    ("segment.index.bytes", LOG, "a_segment_ends_when_its_offset_index_has_segment_index_bytes"),
    (
        "segment.jitter.ms",
        LOG,
        "a_roll_by_time_comes_earlier_by_at_most_the_jitter_and_not_at_once_in_all_logs",
    ),
    (
        "segment.ms",
        LOG,
        "a_roll_by_time_comes_earlier_by_at_most_the_jitter_and_not_at_once_in_all_logs",
    ),
    (
        "unclean.leader.election.enable",
        "server/tests/cluster/failover.rs",
        "a_deposed_leader_gives_up_what_the_others_do_not_have",
    ),
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
fn every_honoured_key_of_a_topic_has_a_test_that_sees_its_effect() {
    let honoured = key::topic_keys().filter(|key| key.status == Status::Honoured);
    let mut honoured: Vec<_> = honoured.map(|key| key.name).collect();
    honoured.sort_unstable();
    assert_eq!(SEEN_BY.iter().map(|(key, ..)| *key).collect::<Vec<_>>(), honoured);
    let broker = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    for (key, file, test) in SEEN_BY {
        let source = std::fs::read_to_string(broker.join(file)).expect("a source");
        assert!(source.contains(&format!("fn {test}()")), "{key}: no {test} in {file}");
    }
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
