//! Events against a server that takes them.

use serde_json::json;

use super::*;
use crate::tests::server::{pass, server, status};

fn about() -> ObjectReference {
    ObjectReference {
        kind: Some("Topic".to_owned()),
        name: Some("orders".to_owned()),
        namespace: Some("shop".to_owned()),
        uid: Some("1".to_owned()),
        ..ObjectReference::default()
    }
}

fn tale(note: &str) -> Tale {
    Tale { reason: Reason::InvalidSpec, note: note.to_owned() }
}

/// The same thing again is counted by the event that is there; another note is another event.
#[tokio::test(start_paused = true)]
async fn a_repeated_event_is_counted() {
    let (client, log) = server(|_| Some((201, json!({ "metadata": {}, "eventTime": null }))));
    let recorder = Recorder::new(client, "operator-0", Clock::system());
    assert!(recorder.tell(&about(), tale("too many")).await);
    assert!(recorder.tell(&about(), tale("too many")).await);
    assert!(!recorder.tell(&about(), tale("too many")).await);
    assert!(recorder.tell(&about(), tale("too few")).await);
    let log = log.lock();
    let methods: Vec<&str> = log.iter().map(|asked| asked.method.as_str()).collect();
    assert_eq!(methods, ["POST", "PATCH", "POST"]);
    let made = &log[0].body;
    assert_eq!(log[0].path, "/apis/events.k8s.io/v1/namespaces/shop/events");
    assert_eq!((&made["reason"], &made["type"]), (&json!("InvalidSpec"), &json!("Warning")));
    assert_eq!(made["regarding"]["uid"], json!("1"));
    let name = made["metadata"]["name"].as_str().unwrap();
    assert!(name.starts_with("orders.") && log[1].path.ends_with(name), "{name}");
    assert_eq!(log[1].body["series"]["count"], json!(2));
}

/// What could not be written is new again, and reasons without events write nothing.
#[tokio::test(start_paused = true)]
async fn an_event_that_was_refused_is_written_the_next_time() {
    let (client, log) = server(|_| Some(status(403)));
    let recorder = Recorder::new(client, "operator-0", Clock::system());
    for _ in 0..2 {
        assert!(!recorder.tell(&about(), tale("too many")).await);
    }
    let waiting = Tale { reason: Reason::Waiting, ..tale("for a broker") };
    assert!(!recorder.tell(&about(), waiting).await);
    let methods: Vec<String> = log.lock().iter().map(|asked| asked.method.clone()).collect();
    assert_eq!(methods, ["POST", "POST"]);
}

/// One answer tells of all that is in the namespace; another of that name may come after it.
#[tokio::test(start_paused = true)]
async fn a_namespace_that_is_being_deleted_is_left_alone() {
    let (client, log) = server(|asked| {
        let (code, mut answer) = status(403);
        if asked.path.contains("/shop/") {
            answer["details"] = json!({ "causes": [{ "reason": "NamespaceTerminating" }] });
        }
        Some((code, answer))
    });
    let recorder = Recorder::new(client, "operator-0", Clock::system());
    let elsewhere = ObjectReference { namespace: Some("other".to_owned()), ..about() };
    for note in ["too many", "too few"] {
        assert!(!recorder.tell(&about(), tale(note)).await);
        assert!(!recorder.tell(&elsewhere, tale(note)).await);
    }
    let asked = |of: &str| log.lock().iter().filter(|asked| asked.path.contains(of)).count();
    assert_eq!((asked("/shop/"), asked("/other/")), (1, 2));
    pass(SILENCE).await;
    assert!(!recorder.tell(&about(), tale("too few")).await);
    assert_eq!(asked("/shop/"), 2);
}

#[test]
fn names_and_notes_are_cut_to_what_the_server_takes() {
    let long = ObjectReference { name: Some(format!("{}.x", "a".repeat(219))), ..about() };
    let name = name(&long, Timestamp::from_second(2_000_000_000).unwrap(), u64::MAX);
    assert!(name.len() <= 253 && !name.contains(".."), "{name}");
    assert_eq!(cut("aä", 2), "a");
}
