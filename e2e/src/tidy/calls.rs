//! Calls that belong to one seam, and words that do not belong into the sources at all.

use super::{Finding, Source};

/// A call that only its seam may make.
struct Banned {
    word: &'static str,
    instead: &'static str,
    /// Whether tests may make it.
    in_tests: bool,
}

const BANNED: [Banned; 13] = [
    Banned { word: "Instant::now", instead: "take the time from the clock", in_tests: true },
    Banned { word: "SystemTime::now", instead: "take the time from the clock", in_tests: true },
    Banned { word: "Timestamp::now", instead: "take the time from the clock", in_tests: true },
    Banned { word: "tokio::spawn", instead: "spawn through tasks", in_tests: true },
    Banned { word: "std::fs", instead: "reach the disk through storage's Fs", in_tests: true },
    Banned { word: "env::var", instead: "settings come from the configuration", in_tests: true },
    Banned { word: "println!", instead: "log through tracing", in_tests: true },
    Banned { word: "eprint", instead: "log through tracing", in_tests: true },
    Banned {
        word: "todo!",
        instead: "no todo: do it, or leave it out and say so",
        in_tests: false,
    },
    Banned { word: "unimplemented!", instead: "answer with an error", in_tests: false },
    Banned { word: "#[ignore", instead: "no ignored tests: mend or remove it", in_tests: false },
    Banned { word: "thread::sleep", instead: "no sleep: wait for the event", in_tests: false },
    Banned {
        word: "time::sleep",
        instead: "no sleep in tests: pause tokio's clock",
        in_tests: false,
    },
];

/// Where a banned call is right, and why.
struct Exception {
    path: &'static str,
    word: &'static str,
    #[expect(dead_code, reason = "for the reader of the list")]
    reason: &'static str,
}

const fn allow(path: &'static str, word: &'static str, reason: &'static str) -> Exception {
    Exception { path, word, reason }
}

const EXCEPTIONS: &[Exception] = &[
    allow("broker/server/src/clock.rs", "Instant::now", "the seam of time"),
    allow("broker/server/src/clock.rs", "SystemTime::now", "the seam of time"),
    allow("broker/server/src/main.rs", "eprint", "an error before logging is set up"),
    allow("broker/server/src/cli.rs", "std::fs", "the configuration comes before the disk's seam"),
    allow("broker/server/src/planted.rs", "env::var", "no setting: no user may plant a fault"),
    allow("broker/server/src/metrics/process.rs", "std::fs", "/proc is the kernel, not a disk"),
    allow("broker/server/src/metrics/threads.rs", "time::sleep", "idle time is what is measured"),
    allow("broker/storage/src/fs/", "std::fs", "the seam of the disk"),
    allow("operator/src/clock.rs", "Instant::now", "the seam of time"),
    allow("operator/src/clock.rs", "Timestamp::now", "the seam of time"),
    allow("operator/src/main.rs", "eprint", "an error before logging is set up"),
    allow("operator/src/client/config.rs", "env::var", "KUBECONFIG, to name the file"),
    allow("operator/src/bin/crdgen.rs", "std::fs", "it writes the files of crds/"),
    allow("operator/tests/support/fake/clock.rs", "time::sleep", "tokio's clock, which is paused"),
    allow("broker/zookeeper/src/embedded", "std::fs", "the tree's own two files, below storage"),
    allow("broker/zookeeper/src/embedded", "SystemTime::now", "the creation time of a node"),
    allow("broker/zookeeper/src/faulty.rs", "tokio::spawn", "it ends with the watch"),
    allow("broker/zookeeper/src/remote/", "tokio::spawn", "it ends with the session"),
    allow(
        "broker/zookeeper/src/remote/outage.rs",
        "Instant::now",
        "tokio's clock, for the log only",
    ),
    allow("e2e/", "std::fs", "the harness is outside the product"),
    allow("e2e/", "println!", "its output is for a person"),
    allow("e2e/src/bench/", "Instant::now", "time is what is measured"),
    allow("e2e/src/bench/", "SystemTime::now", "the time that a producer gives its records"),
    allow("e2e/src/bench/", "thread::sleep", "records are sent at a fixed rate"),
    allow("e2e/src/bench/", "eprint", "progress, beside the table"),
    allow("e2e/src/deadline.rs", "Instant::now", "the harness's seam of time"),
    allow("e2e/src/deadline.rs", "thread::sleep", "the one poll, for what gives no event"),
    allow("e2e/src/peer.rs", "env::var", "cargo passes tests no arguments"),
    allow("e2e/src/peer.rs", "eprint", "a drop has nobody to return its error to"),
    allow("e2e/src/capture.rs", "env::var", "cargo passes tests no arguments"),
];

/// Applies the rules of this module to one file.
pub(super) fn check(source: &Source, findings: &mut Vec<Finding>) {
    for (index, line) in source.code_lines() {
        for banned in &BANNED {
            if is_wrong(source, index, line, banned) {
                let what = format!("{}: {}", banned.word, banned.instead);
                findings.push(Finding { path: source.path.clone(), line: index + 1, what });
            }
        }
    }
}

fn is_wrong(source: &Source, index: usize, line: &str, banned: &Banned) -> bool {
    let test = source.is_test(index);
    // A product may wait for time to pass; a test that does is slow, or flaky, or both.
    let only_in_tests = banned.word == "time::sleep" && !test;
    if !contains(line, banned.word) || only_in_tests || (banned.in_tests && test) {
        return false;
    }
    !EXCEPTIONS.iter().any(|exception| fits(exception, &source.path, banned.word))
}

/// Whether `line` has `word` where a longer name does not end with it.
fn contains(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}

fn fits(exception: &Exception, path: &str, word: &str) -> bool {
    path.starts_with(exception.path) && exception.word == word
}

/// Exceptions whose call is not made any more.
pub(super) fn unused_exceptions(sources: &[Source]) -> Vec<Finding> {
    let needed = |exception: &Exception| {
        sources
            .iter()
            .filter(|source| source.path.starts_with(exception.path))
            .any(|source| source.code_lines().any(|(_, line)| contains(line, exception.word)))
    };
    let unused = EXCEPTIONS.iter().filter(|exception| !needed(exception));
    unused
        .map(|exception| Finding {
            path: exception.path.to_owned(),
            line: 1,
            what: format!("{} is not called any more: remove its exception", exception.word),
        })
        .collect()
}
