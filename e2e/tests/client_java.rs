//! The Java clients of eight releases, each compiled against its own jars and run as a program.

use anyhow::Result;
use e2e::clients;
use e2e::java::Java;
use e2e::matrix::ADMINISTRATION;
use e2e::tools::maven;
use e2e::verdict::Lacks;

const NO_ZSTD: Lacks =
    Lacks { why: "the release is older than zstd", operations: &["produce_zstd"] };
const NO_IDEMPOTENCE: Lacks = Lacks {
    why: "the release is older than idempotent producers",
    operations: &["produce_idempotent"],
};
const NO_TIMES: Lacks = Lacks {
    why: "the release cannot look up the offset of a time",
    operations: &["consume_timestamp"],
};
const NO_GROUPS: Lacks = Lacks {
    why: "groups of the release's consumers are kept by ZooKeeper",
    operations: &["group_rebalance"],
};
const NO_STATIC_MEMBERS: Lacks =
    Lacks { why: "static members came with 2.3", operations: &["static_member"] };
const NO_ADMIN: Lacks =
    Lacks { why: "the release has no admin client", operations: ADMINISTRATION };
const NO_GROUP_ADMIN: Lacks = Lacks {
    why: "the release's admin client knows no groups",
    operations: &[
        "list_groups",
        "describe_group",
        "delete_group",
        "delete_offsets",
        "reset_offsets",
    ],
};
const BEFORE_1_0: Lacks = Lacks {
    why: "the admin client adds partitions, deletes records and describes directories from 1.0 on",
    operations: &["create_partitions", "delete_records", "log_dirs"],
};
const NO_PRODUCERS: Lacks = Lacks {
    why: "the admin client describes producers from 3.0 on",
    operations: &["describe_producers"],
};

/// One release: the directories of its sources, the class that runs, and what it lacks.
struct Client {
    version: &'static str,
    sources: &'static [&'static str],
    class: &'static str,
    lacks: &'static [Lacks],
}

const NEWEST: Client = Client {
    version: "4.3.1",
    sources: &["shared", "common", "poll_duration", "times", "admin_2_8", "producers"],
    class: "Client",
    lacks: &[],
};

/// Compiles the sources of the release's generation and runs them against the peer.
fn check(client: &Client) -> Result<()> {
    let Client { version, sources, class, lacks } = client;
    let java = Java::with_sources(maven::release(version)?, sources)?;
    let program = |arguments: &[String]| {
        let mut command = java.class(class, 256);
        command.args(arguments);
        Ok(command)
    };
    clients::check(&clients::Client::new(&format!("java-{version}"), lacks, program))
}

#[test]
fn java_0_8_2_2() -> Result<()> {
    check(&Client {
        version: "0.8.2.2",
        sources: &["shared", "simple_0_8"],
        class: "SimpleClient",
        lacks: &[NO_ZSTD, NO_IDEMPOTENCE, NO_TIMES, NO_GROUPS, NO_STATIC_MEMBERS, NO_ADMIN],
    })
}

#[test]
fn java_0_9_0_1() -> Result<()> {
    check(&Client {
        version: "0.9.0.1",
        sources: &["shared", "common", "poll_long", "times_none", "admin_none", "producers_none"],
        lacks: &[NO_ZSTD, NO_IDEMPOTENCE, NO_TIMES, NO_STATIC_MEMBERS, NO_ADMIN],
        ..NEWEST
    })
}

#[test]
fn java_0_10_2_2() -> Result<()> {
    check(&Client {
        version: "0.10.2.2",
        sources: &["shared", "common", "poll_long", "times", "admin_none", "producers_none"],
        lacks: &[NO_ZSTD, NO_IDEMPOTENCE, NO_STATIC_MEMBERS, NO_ADMIN],
        ..NEWEST
    })
}

#[test]
fn java_0_11_0_3() -> Result<()> {
    check(&Client {
        version: "0.11.0.3",
        sources: &["shared", "common", "poll_long", "times", "admin_0_11", "producers_none"],
        lacks: &[NO_ZSTD, NO_STATIC_MEMBERS, NO_GROUP_ADMIN, BEFORE_1_0, NO_PRODUCERS],
        ..NEWEST
    })
}

#[test]
fn java_1_1_1() -> Result<()> {
    check(&Client {
        version: "1.1.1",
        sources: &["shared", "common", "poll_long", "times", "admin_1_1", "producers_none"],
        lacks: &[NO_ZSTD, NO_STATIC_MEMBERS, NO_GROUP_ADMIN, NO_PRODUCERS],
        ..NEWEST
    })
}

#[test]
fn java_2_8_2() -> Result<()> {
    check(&Client {
        version: "2.8.2",
        sources: &["shared", "common", "poll_duration", "times", "admin_2_8", "producers_none"],
        lacks: &[NO_PRODUCERS],
        ..NEWEST
    })
}

#[test]
fn java_3_9_2() -> Result<()> {
    check(&Client { version: "3.9.2", ..NEWEST })
}

#[test]
fn java_4_3_1() -> Result<()> {
    check(&NEWEST)
}
