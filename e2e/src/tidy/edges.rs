//! Which crate may use which, which layer of the server or the operator may use which, and what pure files leave out.

use super::{Finding, Source};

/// A directory, and the words that may not stand in its code outside tests, each with its reason.
struct Wall {
    directory: &'static str,
    forbidden: &'static [(&'static str, &'static str)],
}

const NO_ASYNC: (&str, &str) = ("tokio::", "tokio: this crate is synchronous and knows no runtime");

/// The graph of crates: what is not forbidden here is not a dependency in Cargo.toml either.
const WALLS: [Wall; 6] = [
    Wall {
        directory: "broker/protocol/",
        forbidden: &[
            NO_ASYNC,
            ("broker_config::", "broker_config: protocol is the lowest crate"),
            ("broker_storage::", "broker_storage: protocol is the lowest crate"),
            ("broker_zookeeper::", "broker_zookeeper: protocol is the lowest crate"),
            ("broker_server::", "broker_server: protocol is the lowest crate"),
        ],
    },
    Wall {
        directory: "broker/config/",
        forbidden: &[
            NO_ASYNC,
            ("broker_protocol::", "broker_protocol: config stands on std alone"),
            ("broker_storage::", "broker_storage: config stands on std alone"),
            ("broker_zookeeper::", "broker_zookeeper: config stands on std alone"),
            ("broker_server::", "broker_server: config stands on std alone"),
        ],
    },
    Wall {
        directory: "broker/storage/",
        forbidden: &[
            NO_ASYNC,
            ("broker_zookeeper::", "broker_zookeeper: the log knows no cluster"),
            ("broker_server::", "broker_server: the log knows no requests"),
        ],
    },
    Wall {
        directory: "broker/zookeeper/",
        forbidden: &[
            ("broker_storage::", "broker_storage: the tree knows no partition logs"),
            ("broker_server::", "broker_server: the tree knows no requests"),
        ],
    },
    Wall {
        directory: "broker/admin/",
        forbidden: &[
            ("broker_protocol::", "broker_protocol: the contract stands on tonic alone"),
            ("broker_config::", "broker_config: the contract stands on tonic alone"),
            ("broker_storage::", "broker_storage: the contract stands on tonic alone"),
            ("broker_zookeeper::", "broker_zookeeper: the contract stands on tonic alone"),
            ("broker_server::", "broker_server: the contract stands on tonic alone"),
        ],
    },
    Wall {
        directory: "operator/",
        forbidden: &[
            ("broker_storage::", "broker_storage: the operator asks brokers, it reads no disks"),
            ("broker_server::", "broker_server: the operator asks brokers over gRPC"),
        ],
    },
];

/// The layers of the server, top down; a module may use those below its own.
///
/// `context` holds what handlers stand on, so it lies between them and the domain; the modules of
/// one start and stop (`broker`, `jobs`, `adopt`, `control`) see everything, as `main` does.
const LAYERS: [&[&str]; 7] = [
    &["main", "lib", "cli", "logging", "broker", "jobs", "adopt", "move_coordination"],
    &["net", "http", "admin"],
    &["api"],
    &["context"],
    &["control", "producer_ids", "membership", "to_controller"],
    &["replica", "group", "txn", "controller", "security"],
    &[
        "metadata",
        "dynamic_config",
        "tasks",
        "clock",
        "metrics",
        "in_flight",
        "low_water",
        "open_files",
        "order",
        "peer",
        "planted",
        "request_time",
        "seldom",
        "version",
    ],
];

/// The layers of the operator, likewise. Whoever looks at objects lies above what runs looks, and has no siblings to call.
const OPERATOR_LAYERS: [&[&str]; 11] = [
    &["main", "lib"],
    &["process"],
    &["cluster", "topic"],
    &["controller"],
    &["session", "held"],
    &["http", "apply"],
    &["event", "candidacy"],
    &["health", "client", "served", "admin"],
    &["metrics"],
    &["progress", "error", "latest"],
    &[
        "assignment",
        "backoff",
        "clock",
        "crd",
        "digest",
        "key",
        "kind",
        "lease",
        "logging",
        "names",
        "reason",
        "settings",
    ],
];

/// The layer whose members do not see each other.
const DOMAIN: usize = 5;

/// The siblings that one member of that layer may call: committed offsets and transactions are
/// records of a partition, appended and read back by the partition's own methods.
const PARTITION_USERS: [&str; 2] = ["group", "txn"];

/// Files that decide and do nothing else.
const PURE: [&str; 7] =
    ["partition_state", "election", "state", "roll", "assignment", "plan", "version"];

/// More of them in the operator, where what is built is decided too.
const OPERATOR_PURE: [&str; 7] =
    ["decide", "validate", "backoff", "known", "quantity", "same", "series"];

/// What those of the operator leave out besides.
const CLIENT: [&str; 5] = ["kube::Api", "kube::Client", "kube::client", "kube::runtime", "Api<"];

/// What pure files leave out.
const IMPURE: [&str; 6] =
    ["tokio::", "tracing::", "std::fs", "crate::clock", "Instant::now", "std::net"];

/// Applies the rules of this module to one file.
pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    let walls = WALLS.iter().filter(|wall| source.path.starts_with(wall.directory));
    let walls: Vec<_> = walls.flat_map(|wall| wall.forbidden).collect();
    let (server, operator) = (
        source.path.strip_prefix("broker/server/src/"),
        source.path.strip_prefix("operator/src/").filter(|file| !file.starts_with("bin/")),
    );
    let pure = is_pure(&source.path);
    let pure_of_operator = pure && operator.is_some();
    for (index, line) in source.code_lines() {
        if source.is_test(index) {
            continue;
        }
        let mut find = |what: String| {
            findings.push(Finding { path: source.path.clone(), line: index + 1, what });
        };
        for (word, why) in &walls {
            if line.contains(word) {
                find(format!("forbidden edge to {why}"));
            }
        }
        if let Some(word) = IMPURE.iter().find(|word| pure && line.contains(**word)) {
            find(format!("{word} in a pure file: take what it tells as an argument"));
        }
        if let Some(word) = CLIENT.iter().find(|word| pure_of_operator && line.contains(**word)) {
            find(format!("{word} in a pure file: take what it reads as an argument"));
        }
        if let Some(what) = server.and_then(|file| upward(file, line, &LAYERS, Some(DOMAIN))) {
            find(what);
        }
        if let Some(what) = operator.and_then(|file| upward(file, line, &OPERATOR_LAYERS, None)) {
            find(what);
        }
    }
}

fn is_pure(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let product = path.starts_with("broker/server/src/") || path.starts_with("operator/src/");
    let is_of_state = path.contains("/controller/state/");
    let name = name.trim_end_matches(".rs");
    let of_operator = path.starts_with("operator/src/")
        && (path.contains("/build/") || OPERATOR_PURE.contains(&name));
    product && (is_of_state || of_operator || PURE.contains(&name))
}

/// What is wrong with the modules of one crate that `line` of `file` names; members of `domain` do not see each other.
fn upward(file: &str, line: &str, layers: &[&[&str]], domain: Option<usize>) -> Option<String> {
    let layer = |module: &str| layers.iter().position(|names| names.contains(&module));
    let own = module(file);
    let Some(own_layer) = layer(own) else {
        let first = line.contains("use ");
        return first
            .then(|| format!("module {own} has no layer: give it one in e2e/src/tidy/edges.rs"));
    };
    let mut rest = line;
    while let Some((_, after)) = rest.split_once("crate::") {
        let end = after.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(after.len());
        let (used, layer_of_used) = (&after[..end], layer(&after[..end]));
        rest = &after[end..];
        match layer_of_used {
            Some(used_layer) if used_layer < own_layer && !excepted(file, used) => {
                return Some(format!("{own} uses {used}, a layer above its own"));
            }
            Some(used_layer)
                if domain == Some(used_layer)
                    && own_layer == used_layer
                    && used != own
                    && !keeps_records(own, used) =>
            {
                return Some(format!("{own} uses its sibling {used}: meet through messages"));
            }
            _ => {}
        }
    }
    None
}

/// A file, the modules above its own that it names, and why that is right.
const UPWARD: [(&str, &[&str], &str); 3] = [
    ("dynamic_config.rs", &["controller"], "only the error that says how the tree refused"),
    (
        "metrics/collect.rs",
        &["context", "controller", "replica", "group"],
        "asks the owners at a scrape for what they count; they never call it",
    ),
    ("metrics/lag.rs", &["replica"], "as collect"),
];

fn excepted(file: &str, used: &str) -> bool {
    UPWARD.iter().any(|(name, modules, _)| *name == file && modules.contains(&used))
}

fn keeps_records(own: &str, used: &str) -> bool {
    used == "replica" && PARTITION_USERS.contains(&own)
}

/// The module of its crate that a file belongs to.
fn module(file: &str) -> &str {
    file.split('/').next().unwrap_or(file).trim_end_matches(".rs")
}
