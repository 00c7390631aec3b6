//! The table against Kafka's list of names, and its refusals in words.

use std::collections::BTreeSet;

use super::*;

const BROKER_NAMES: &str = include_str!("../../fixtures/kafka-3.9-broker-keys.txt");
const TOPIC_NAMES: &str = include_str!("../../fixtures/kafka-3.9-topic-keys.txt");
const README: &str = include_str!("../../README.md");

#[test]
fn every_key_of_kafka_is_known_and_ours_are_few() {
    let ours: BTreeSet<&str> = broker_keys().map(|key| key.name).collect();
    let kafka: BTreeSet<&str> = BROKER_NAMES.lines().collect();
    assert!(kafka.len() > 320, "the list is whole");
    assert_eq!(kafka.difference(&ours).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(ours.difference(&kafka).count(), own::BROKER.len());

    let ours: BTreeSet<&str> = topic_keys().map(|key| key.name).collect();
    let kafka: BTreeSet<&str> = TOPIC_NAMES.lines().collect();
    assert_eq!(kafka.len(), 36);
    assert_eq!(kafka.difference(&ours).collect::<Vec<_>>(), Vec::<&&str>::new());
    assert_eq!(ours.difference(&kafka).copied().collect::<Vec<_>>(), ["ottla.durability"]);
}

#[test]
fn rows_are_sound() {
    let mut seen = BTreeSet::new();
    for key in broker_keys() {
        assert!(seen.insert(key.name), "{} is there twice", key.name);
    }
    for key in broker_keys().chain(topic_keys()) {
        assert!(key.doc.ends_with('.') && key.doc.len() < 110, "{}", key.name);
        let default = key.default.filter(|text| !text.is_empty());
        // Kafka's own default of an empty list fails Kafka's own rule for a set one.
        let valid = default.is_none_or(|text| key.is_valid(text));
        assert!(valid, "{}: default {default:?} is not {}", key.name, key.expectation());
        if let Some(synonym) = key.synonym {
            let broker = find(synonym);
            assert_eq!(broker.map(|broker| broker.kind), Some(key.kind), "{}", key.name);
        }
    }
}

#[test]
fn defaults_that_differ_from_kafka_are_in_the_readme() {
    for key in broker_keys().filter(|key| key.kafka_default.is_some()) {
        assert!(README.contains(&format!("| `{}` |", key.name)), "{}", key.name);
    }
    for key in own::BROKER {
        assert!(README.contains(&format!("`{}`", key.name)), "{}", key.name);
    }
}

#[test]
fn ranges_are_refused_in_words() {
    let cases = [
        (
            "num.network.threads",
            "0",
            "`num.network.threads` is `0`, but must be a whole number of 32 bits, at least 1",
        ),
        (
            "log.segment.bytes",
            "x",
            "`log.segment.bytes` is `x`, but must be a whole number of 32 bits, at least 14",
        ),
        (
            "log.segment.bytes",
            "3000000000",
            "`log.segment.bytes` is `3000000000`, but must be a whole number of 32 bits, at least 14",
        ),
        (
            "compression.gzip.level",
            "0",
            "`compression.gzip.level` is `0`, but must be a whole number of 32 bits, 1 to 9, or -1",
        ),
        (
            "compression.zstd.level",
            "23",
            "`compression.zstd.level` is `23`, but must be a whole number of 32 bits, -131072 to 22",
        ),
        (
            "log.cleaner.min.cleanable.ratio",
            "1.5",
            "`log.cleaner.min.cleanable.ratio` is `1.5`, but must be a number, 0 to 1",
        ),
        (
            "log.cleanup.policy",
            "delete,shred",
            "`log.cleanup.policy` is `delete,shred`, but must be a list of compact, delete",
        ),
        (
            "metrics.partitions",
            "some",
            "`metrics.partitions` is `some`, but must be one of all, topic, off",
        ),
        ("delete.topic.enable", "yes", "`delete.topic.enable` is `yes`, but must be true or false"),
        (
            "listeners",
            "9092",
            "`listeners` is `9092`, but must be NAME://host:port, separated by commas",
        ),
        (
            "inter.broker.protocol.version",
            "5.0",
            "`inter.broker.protocol.version` is `5.0`, but must be a release of Kafka up to 3.9, such as 3.9 or 3.9-IV0",
        ),
    ];
    for (name, value, message) in cases {
        let error = broker(name).and_then(|key| key.accept(value)).expect_err(name);
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn what_is_not_served_is_refused_by_name_unless_it_is_the_default() {
    let cases = [
        ("process.roles", "broker", false),
        ("process.roles", "", true),
        ("zookeeper.set.acl", "true", false),
        ("replica.selector.class", "x.Y", false),
        ("zookeeper.connection.timeout.ms", "18000", true),
        ("create.topic.policy.class.name", "x.Y", false),
        ("ssl.keystore.location", "/k.jks", false),
        ("ssl.client.auth", "none", true),
        ("ssl.client.auth", "required", false),
        ("authorizer.class.name", "", true),
        ("remote.log.storage.system.enable", "false", true),
        ("remote.log.storage.system.enable", "true", false),
        ("security.inter.broker.protocol", "PLAINTEXT", true),
        ("transaction.state.log.min.isr", "1", true),
    ];
    for (name, value, accepted) in cases {
        let key = find(name).expect(name);
        let outcome = key.accept(value);
        assert_eq!(outcome.is_ok(), accepted, "{name}={value}: {outcome:?}");
        if let Err(error) = outcome {
            assert!(error.to_string().contains(name), "{error}");
        }
    }
}

#[test]
fn prefixed_keys_are_known_by_what_they_prefix() {
    let cases = [
        ("listener.name.internal.ssl.keystore.location", Some("ssl.keystore.location")),
        ("listener.name.sasl.scram-sha-256.sasl.jaas.config", Some("sasl.jaas.config")),
        ("listener.name.internal.nothing", None),
        ("rlmm.config.x", Some("remote.log.metadata.manager.impl.prefix")),
    ];
    for (name, expected) in cases {
        assert_eq!(broker(name).ok().map(|key| key.name), expected, "{name}");
    }
}

#[test]
fn units_are_read_off_the_name() {
    let cases = [
        ("log.retention.ms", Some("ms")),
        ("log.retention.hours", Some("hours")),
        ("connections.max.idle.ms", Some("ms")),
        ("socket.request.max.bytes", Some("bytes")),
        ("num.partitions", None),
        ("log.dirs", None),
    ];
    for (name, unit) in cases {
        assert_eq!(find(name).and_then(Key::unit), unit, "{name}");
    }
}
