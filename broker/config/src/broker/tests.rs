//! What a broker reads from its file, and what it refuses.

use std::collections::BTreeMap;

use super::*;
use crate::{dynamic::Source, key::Status, topic::TopicConfig};

type Pairs<'a> = &'a [(&'a str, &'a str)];

fn read(text: &str) -> Result<BrokerConfig, String> {
    let properties = Properties::parse("server.properties", text).map_err(|e| e.to_string())?;
    BrokerConfig::from_properties(&properties)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
}

fn map(pairs: Pairs<'_>) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

#[test]
fn nothing_is_needed_and_default_is_the_same() {
    let config = read("").expect("an empty file is a configuration");
    assert_eq!(config, BrokerConfig::default());
    assert_eq!(config.listeners[0].to_string(), "PLAINTEXT://127.0.0.1:9092");
    assert_eq!(config.advertised_listeners, config.listeners);
    assert_eq!(config.inter_broker_listener, config.listeners[0]);
    assert_eq!(config.log_dirs, [PathBuf::from("./ottla-data")]);
    assert_eq!((config.id(), config.offsets_topic_replication_factor), (0, 1));
    assert_eq!(config.network_threads(2), 2);
    assert_eq!(config.metrics_listener, "127.0.0.1:9404");
    let topic = TopicConfig::resolve(&config, &BTreeMap::new()).expect("defaults resolve");
    assert_eq!(topic, TopicConfig::default());
    assert_eq!((topic.retention_ms, topic.segment_ms), (604_800_000, 604_800_000));
    assert_eq!(topic.flush_ms, i64::MAX);
}

/// Every field must name a row, and every honoured row a field (or a field derived from it).
#[test]
fn fields_and_rows_agree() {
    let derived = [
        "listeners",
        "advertised.listeners",
        "log.dir",
        "log.dirs",
        "log.retention.hours",
        "log.retention.minutes",
        "log.roll.hours",
        "log.roll.jitter.hours",
    ];
    for name in BrokerConfig::KEYS {
        assert!(key::find(name).is_some(), "{name}");
    }
    for key in key::broker_keys().filter(|key| key.status == Status::Honoured) {
        let read = BrokerConfig::KEYS.contains(&key.name) || derived.contains(&key.name);
        assert!(read, "{} is honoured but nobody can read it", key.name);
    }
    let rows: Vec<_> = key::topic_keys().map(|key| key.name).collect();
    assert!(TopicConfig::KEYS.iter().all(|name| rows.contains(name)));
    assert_eq!(TopicConfig::KEYS.len(), rows.len());
}

#[test]
fn the_file_that_kafka_ships_is_accepted() {
    let shipped = "broker.id=0\nnum.network.threads=3\nnum.io.threads=8\n\
        socket.send.buffer.bytes=102400\nsocket.receive.buffer.bytes=102400\n\
        socket.request.max.bytes=104857600\nlog.dirs=/tmp/kafka-logs\nnum.partitions=1\n\
        num.recovery.threads.per.data.dir=1\noffsets.topic.replication.factor=1\n\
        transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
        log.retention.hours=168\nlog.retention.check.interval.ms=300000\n\
        zookeeper.connect=localhost:2181\n\
        zookeeper.connection.timeout.ms=18000\ngroup.initial.rebalance.delay.ms=0\n";
    let config = read(shipped).expect("accepted");
    assert_eq!(config.num_network_threads, Some(3));
    let warned: Vec<_> = config.without_effect().into_iter().map(|(name, _)| name).collect();
    assert_eq!(warned, [""; 0]);
    assert_eq!(config.zookeeper_connect.as_deref(), Some("localhost:2181"));
    assert_eq!(config.zookeeper_connection_timeout_ms, Some(18_000));
}

/// A row is a key, its value alone, and its value where `zookeeper.connect` is set, as in Kafka.
#[test]
fn a_broker_of_a_cluster_has_the_defaults_of_kafka() {
    let alone = read("").expect("accepted");
    let member = read("zookeeper.connect=a:1,b:1/c").expect("accepted");
    let of = |config: &BrokerConfig, name: &str| {
        let entries = config.entries();
        let entry = entries.iter().find(|entry| entry.key.name == name).expect(name);
        assert_eq!(entry.source, Source::Default, "{name}");
        entry.value.clone().expect(name)
    };
    let cases = [
        ("broker.id", "0", "-1"),
        ("default.replication.factor", "1", "1"),
        ("inter.broker.protocol.version", "3.9-IV0", "3.9-IV0"),
        ("offsets.topic.replication.factor", "1", "3"),
        ("transaction.state.log.min.isr", "1", "2"),
        ("transaction.state.log.replication.factor", "1", "3"),
    ];
    for (name, by_itself, in_cluster) in cases {
        assert_eq!(of(&alone, name), by_itself, "{name}");
        assert_eq!(of(&member, name), in_cluster, "{name}");
    }
    assert_eq!((member.id(), member.offsets_topic_replication_factor), (-1, 3));
    let chosen = read("zookeeper.connect=a:1\noffsets.topic.replication.factor=2\nbroker.id=7");
    let chosen = chosen.expect("accepted");
    assert_eq!((chosen.id(), chosen.offsets_topic_replication_factor), (7, 2));
    assert_eq!(read("zookeeper.connect=").expect("accepted").id(), 0);
}

#[test]
fn what_brokers_say_to_each_other_is_typed() {
    let config = read(
        "listeners=PLAINTEXT://a:9092,CONTROLLER://a:9093\n\
         listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT\n\
         inter.broker.protocol.version=2.7\n",
    )
    .expect("accepted");
    assert_eq!(config.inter_broker_protocol_version, Release::V2_7_IV2);
    assert_eq!(config.control_plane_listener, None);
    assert_eq!(config.without_effect(), []);
}

#[test]
fn all_faults_are_told_at_once_with_their_places() {
    let error = read("listners=PLAINTEXT://:1\n\nnum.partitions=0\nour.own=1\n");
    let error = error.expect_err("refused");
    assert_eq!(
        error,
        "server.properties:1: unknown key `listners`; did you mean `listeners`?\n\
         server.properties:3: `num.partitions` is `0`, but must be a whole number of 32 bits, \
         at least 1\n\
         server.properties:4: unknown key `our.own`; --describe-config lists all that there are"
    );
}

#[test]
fn contradictions_are_refused() {
    let cases = [
        ("listeners=A://:1", "the map does not name A"),
        ("listeners=PLAINTEXT://:1,PLAINTEXT://:2", "PLAINTEXT is there twice"),
        ("listeners=SSL://:1", "SSL://:1 speaks SSL, which is not served yet"),
        ("advertised.listeners=PLAINTEXT://0.0.0.0:1", "clients cannot reach"),
        ("advertised.listeners=SSL://h:1", "has no listener of that name"),
        ("inter.broker.listener.name=B", "no listener has the name that other brokers use"),
        ("group.min.session.timeout.ms=1800001", "the shortest timeout exceeds the longest"),
        ("queued.max.request.bytes=1000", "one request of 104857600 bytes would never fit"),
        ("listeners=", "there must be one"),
        ("broker.id=-1", "only ZooKeeper gives numbers"),
        ("zookeeper.connect=a:1\ninter.broker.protocol.version=0.10.2", "0.11.0 is the oldest"),
        (
            "zookeeper.connect=a:1\nbroker.id.generation.enable=false",
            "a number must be chosen where none is given",
        ),
        ("zookeeper.connect=a:1\nbroker.id=1001", "numbers above 1000 are given by ZooKeeper"),
    ];
    for (text, message) in cases {
        let error = read(text).expect_err(text);
        assert!(error.contains(message), "{text}: {error}");
    }
}

#[test]
fn listeners_may_have_names_of_their_own() {
    let config = read(
        "listeners=IN://:9093,OUT://0.0.0.0:9092\nadvertised.listeners=IN://a:9093,OUT://b:9092\n\
         listener.security.protocol.map=IN:PLAINTEXT,OUT:PLAINTEXT\ninter.broker.listener.name=IN",
    )
    .expect("accepted");
    assert_eq!(config.inter_broker_listener.port, 9093);
    assert_eq!(config.advertised_listeners[1].host, "b");
    let spoken = config.security_protocol(&config.listeners[1]);
    assert_eq!(spoken, Some(SecurityProtocol::Plaintext));
}

#[test]
fn the_finer_unit_wins_in_a_layer_and_the_higher_layer_above_all() {
    let day = 86_400_000;
    let cases: [(&str, Pairs, i64); 6] = [
        ("", &[], 7 * day),
        ("log.retention.hours=24", &[], day),
        ("log.retention.hours=24\nlog.retention.minutes=5", &[], 300_000),
        ("log.retention.hours=24\nlog.retention.minutes=5\nlog.retention.ms=7", &[], 7),
        ("log.retention.ms=7", &[("log.retention.ms", "9")], 9),
        ("log.retention.hours=-1", &[], -1),
    ];
    for (text, dynamic, expected) in cases {
        let fixed = read(text).expect(text).layers.static_broker;
        let layers =
            Layers { static_broker: fixed, dynamic_default: map(dynamic), ..Layers::default() };
        let config = BrokerConfig::resolve(layers).expect(text);
        assert_eq!(config.log_retention_ms, expected, "{text}");
        let topic = TopicConfig::resolve(&config, &BTreeMap::new()).expect(text);
        assert_eq!(topic.retention_ms, expected, "{text}");
    }
}

#[test]
fn a_topic_key_shows_every_layer_that_sets_it() {
    let layers = Layers {
        static_broker: map(&[("log.retention.hours", "24")]),
        dynamic_default: map(&[("log.retention.ms", "5000")]),
        dynamic_broker: BTreeMap::new(),
    };
    let config = BrokerConfig::resolve(layers).expect("accepted");
    let entries = TopicConfig::entries(&config, &map(&[("retention.ms", "1000")]));
    let entry = entries.iter().find(|entry| entry.key.name == "retention.ms").expect("listed");
    assert_eq!((entry.value.as_deref(), entry.source), (Some("1000"), Source::DynamicTopic));
    let seen: Vec<_> = entry
        .synonyms
        .iter()
        .map(|synonym| (synonym.name, synonym.value.as_deref().unwrap_or(""), synonym.source))
        .collect();
    assert_eq!(
        seen,
        [
            ("retention.ms", "1000", Source::DynamicTopic),
            ("log.retention.ms", "5000", Source::DynamicDefaultBroker),
            ("log.retention.hours", "24", Source::StaticBroker),
            ("log.retention.hours", "168", Source::Default),
        ]
    );
    let untouched = TopicConfig::entries(&config, &BTreeMap::new());
    let entry = untouched.iter().find(|entry| entry.key.name == "retention.ms").expect("listed");
    assert_eq!(
        (entry.value.as_deref(), entry.source),
        (Some("5000"), Source::DynamicDefaultBroker)
    );
}

#[test]
fn a_broker_key_shows_null_where_only_a_coarser_unit_is_set() {
    let config = read("log.retention.hours=24").expect("accepted");
    let entries = config.entries();
    let of = |name: &str| entries.iter().find(|entry| entry.key.name == name).expect("listed");
    assert_eq!(
        (of("log.retention.ms").value.as_deref(), of("log.retention.ms").source),
        (None, Source::StaticBroker)
    );
    assert_eq!(of("log.retention.hours").value.as_deref(), Some("24"));
    assert!(of("log.retention.hours").is_read_only());
    assert!(of("num.partitions").is_default());
    assert!(of("ssl.key.password").is_sensitive());
}

#[test]
fn dynamic_changes_respect_the_scope() {
    let cases = [
        ("log.retention.ms", "1", true, true),
        ("log.retention.hours", "1", true, false),
        ("listeners", "PLAINTEXT://:1", true, false),
        ("listeners", "PLAINTEXT://:1", false, false),
        ("leader.replication.throttled.rate", "1", true, false),
        ("leader.replication.throttled.rate", "1", false, true),
        ("num.network.threads", "1", false, false),
        ("log.cleaner.threads", "x", false, false),
        ("no.such.key", "1", false, false),
    ];
    for (name, value, for_all, accepted) in cases {
        let outcome = Layers::check_dynamic(name, value, for_all);
        assert_eq!(outcome.is_ok(), accepted, "{name} {for_all}: {outcome:?}");
    }
}

#[test]
fn topic_overrides_are_checked() {
    let config = BrokerConfig::default();
    let cases: [(Pairs, &str); 9] = [
        (&[("preallocate.x", "1")], "unknown key `preallocate.x`; did you mean `preallocate`?"),
        (&[("num.partitions", "1")], "unknown key `num.partitions`"),
        (&[("retention.mss", "1")], "unknown key `retention.mss`; did you mean `retention.ms`?"),
        (
            &[("segment.bytes", "13")],
            "`segment.bytes` is `13`, but must be a whole number of 32 bits, at least 14",
        ),
        (
            &[("remote.storage.enable", "true")],
            "`remote.storage.enable` cannot be honoured: tiered storage is not served: leave the key out",
        ),
        (
            &[("retention.ms", "-2")],
            "`retention.ms` is `-2`, but must be a whole number of 64 bits, at least -1",
        ),
        (
            &[("min.compaction.lag.ms", "2"), ("max.compaction.lag.ms", "1")],
            "`min.compaction.lag.ms` and `max.compaction.lag.ms` do not go together: the shortest lag 2 exceeds the longest 1",
        ),
        (
            &[("compression.lz4.level", "3")],
            "`compression.lz4.level` cannot be honoured: the LZ4 encoder has one level: leave the key out, or let producers compress",
        ),
        (
            &[("leader.replication.throttled.replicas", "0:x")],
            "`leader.replication.throttled.replicas` is `0:x`, but must be `*` or pairs partition:broker, separated by commas",
        ),
    ];
    for (overrides, message) in cases {
        let error = TopicConfig::resolve(&config, &map(overrides)).expect_err(message);
        assert_eq!(error.to_string(), message);
    }
    let accepted = map(&[
        ("cleanup.policy", "compact,delete"),
        ("message.timestamp.difference.max.ms", "5"),
        ("ottla.durability", "replicated"),
        ("remote.storage.enable", "false"),
        ("message.format.version", "2.8-IV0"),
    ]);
    let idle: Vec<&str> = TopicConfig::without_effect(&accepted).map(|(key, _)| key).collect();
    assert_eq!(idle, ["message.format.version"]);
    let topic = TopicConfig::resolve(&config, &accepted).expect("accepted");
    assert_eq!(topic.cleanup_policy, CleanupPolicy { delete: true, compact: true });
    assert_eq!(topic.message_timestamp_before_max_ms, 5);
    assert_eq!(topic.durability, Durability::Replicated);
}

#[test]
fn what_was_read_renders_back() {
    let text = "broker.rack=a b\nlog.dirs=/x,/y\n";
    assert_eq!(read(text).expect("accepted").render(), text);
}

#[test]
fn the_command_line_wins_over_the_file() {
    let mut properties = Properties::parse("f", "num.partitions=3").expect("parses");
    properties.set("num.partitions=4").expect("an assignment");
    let config = BrokerConfig::from_properties(&properties).expect("accepted");
    assert_eq!(config.num_partitions, 4);
    properties.set("num.partitions=0").expect("an assignment");
    let error = BrokerConfig::from_properties(&properties).expect_err("refused");
    assert!(error[0].to_string().starts_with("--set: `num.partitions` is `0`"));
}

#[test]
fn one_address_may_have_a_bound_of_its_own() {
    let config =
        read("max.connections.per.ip=5\nmax.connections.per.ip.overrides=10.0.0.1:7,[::1]:9")
            .expect("accepted");
    for (address, bound) in [("10.0.0.1", 7), ("::1", 9), ("10.0.0.2", 5)] {
        assert_eq!(config.max_connections_of(address.parse().expect(address)), bound, "{address}");
    }
    let error = read("max.connections.per.ip.overrides=host").expect_err("refused");
    assert!(error.ends_with("must be IP addresses address:count, separated by commas"), "{error}");
}

#[test]
fn the_metrics_page_has_an_address_or_is_off() {
    let cases = [
        ("", Some(("127.0.0.1", 9404))),
        ("metrics.listener=[::]:1", Some(("::", 1))),
        ("metrics.listener=", None),
    ];
    for (text, expected) in cases {
        assert_eq!(read(text).expect(text).metrics_address(), expected, "{text}");
    }
    read("metrics.listener=9404").expect_err("a port alone is refused");
}

#[test]
fn a_value_for_one_listener_is_told_to_have_no_effect() {
    let config = read("listener.name.plaintext.max.connections=5").expect("accepted");
    assert_eq!(config.max_connections, 10_000);
    assert_eq!(config.without_effect().len(), 1);
}

/// Whoever reaches the admin port sees what was written, and nothing that may be a secret.
#[test]
fn the_operator_is_told_what_was_written_and_no_secrets() {
    let written =
        "broker.rack=a\nrsm.config.secret.access.key=x\nlistener.name.plaintext.max.connections=5";
    let config = read(written).expect("accepted");
    assert_eq!(
        config.static_settings().into_iter().collect::<Vec<_>>(),
        [("broker.rack".to_owned(), "a".to_owned())]
    );
    // A digest of secrets would give weak ones away.
    let digest = |text: &str| read(text).expect("accepted").static_digest();
    assert_eq!(digest(written), digest(&written.replace("key=x", "key=y")));
    assert_ne!(digest(written), digest(&written.replace("rack=a", "rack=b")));
    assert_eq!(config.admin_address(), None, "nobody logs in there");
    let config = read("admin.listener=127.0.0.1:9405").expect("accepted");
    assert_eq!(config.admin_address(), Some(("127.0.0.1", 9405)));
}
