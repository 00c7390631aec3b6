//! Elections against a server that keeps one Lease.

use std::time::Duration;

use parking_lot::Mutex;
use serde_json::{Value, json};

use super::*;
use crate::progress::Progress;
use crate::tests::server::{Asked, pass, server, status};

/// What a term has of the second in which the Lease was created.
const BASE: u64 = 1_767_225_600 << 20;

/// A server that keeps a Lease, and refuses what replaces another version of it.
fn keep(lease: &Mutex<Option<Value>>, asked: &Asked) -> (u16, Value) {
    let mut lease = lease.lock();
    let version = |lease: &Value| lease["metadata"]["resourceVersion"].clone();
    match (&*asked.method, &*lease) {
        ("GET", Some(lease)) => return (200, lease.clone()),
        ("GET" | "PUT", None) => return status(404),
        ("POST", Some(_)) => return status(409),
        ("PUT", Some(there)) if version(there) != version(&asked.body) => return status(409),
        _ => {}
    }
    let next: u64 = lease.as_ref().map_or(1, |lease| {
        version(lease).as_str().and_then(|version| version.parse::<u64>().ok()).unwrap_or(0) + 1
    });
    let mut written = asked.body.clone();
    written["metadata"]["resourceVersion"] = json!(next.to_string());
    written["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    *lease = Some(written.clone());
    (200, written)
}

fn election(client: kube::Client, identity: &str) -> Election {
    let clock = Clock::system();
    let progress = Arc::new(Progress::new(clock));
    Election::new(
        Api::namespaced(client, "ottla"),
        ("ottla-operator", identity),
        clock,
        Arc::new(Health::new(clock, progress)),
        Arc::new(Metrics::new().unwrap()),
    )
}

/// An end to what would wait for ever: the clock is paused, and goes on by itself.
async fn too_long() {
    pass(Duration::from_hours(1)).await;
}

async fn term(leadership: &mut watch::Receiver<Option<Leadership>>) -> Option<u64> {
    leadership.changed().await.unwrap();
    leadership.borrow_and_update().as_ref().map(|leadership| leadership.term)
}

/// The first one leads, renews and is followed at once when it gives the Lease back; when it dies, after its time.
#[tokio::test(start_paused = true)]
async fn one_leader_follows_the_other() {
    let lease = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&lease);
    let (client, log) = server(move |asked| Some(keep(&kept, asked)));
    let clock = Clock::system();
    let (a, b) = (election(client.clone(), "a"), election(client.clone(), "b"));
    let (mut a_leads, mut b_leads) = (a.subscribe(), b.subscribe());
    let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
    let begun = clock.now();
    let mut first = a.subscribe();
    let second = async {
        // After the first one, so that it is known which one leads.
        drop(first.wait_for(Option::is_some).await.unwrap());
        b.run(stop_b).await;
    };
    let story = async {
        assert_eq!(term(&mut a_leads).await, Some(BASE + 1));
        pass(Duration::from_mins(1)).await;
        assert!(a_leads.borrow_and_update().is_some() && b_leads.borrow().is_none());
        let renewals = log.lock().iter().filter(|asked| asked.method == "PUT").count();
        assert!((28..=31).contains(&renewals), "{renewals} renewals in a minute");
        stop_a.cancel();
        assert_eq!(term(&mut a_leads).await, None);
        let given_back = clock.now();
        assert_eq!(term(&mut b_leads).await, Some(BASE + 2));
        assert!(clock.now().duration_since(given_back) < Duration::from_secs(3));
    };
    tokio::select! {
        ((), ()) = async { tokio::join!(a.run(stop_a.clone()), story) } => {}
        () = second => panic!("nobody stopped it"),
        () = too_long() => panic!("it takes too long"),
    }
    // It died without a word.
    let died = clock.now();
    assert!(died.duration_since(begun) > Duration::from_mins(1));
    let c = election(client, "c");
    let mut c_leads = c.subscribe();
    tokio::select! {
        () = c.run(CancellationToken::new()) => panic!("nobody stopped it"),
        term = term(&mut c_leads) => assert_eq!(term, Some(BASE + 3)),
        () = too_long() => panic!("it takes too long"),
    }
    let waited = clock.now().duration_since(died).as_secs();
    assert!((15..=18).contains(&waited), "{waited} s");
}

/// A leader whose server does not answer any more is none after ten seconds, also where it hangs in a request.
#[tokio::test(start_paused = true)]
async fn a_leader_without_a_server_stops_in_time() {
    let lease = Arc::new(Mutex::new(None));
    let is_up = Arc::new(Mutex::new(true));
    let up = Arc::clone(&is_up);
    let (client, _) = server(move |asked| up.lock().then(|| keep(&lease, asked)));
    let a = election(client, "a");
    let mut leads = a.subscribe();
    let clock = Clock::system();
    let story = async {
        assert_eq!(term(&mut leads).await, Some(BASE + 1));
        let fence = crate::lease::Fence::present(&leads, clock).unwrap();
        *is_up.lock() = false;
        let down = clock.now();
        fence.lost().await;
        assert!(clock.now().duration_since(down) <= Duration::from_secs(10));
        assert_eq!(term(&mut leads).await, None);
        *is_up.lock() = true;
        assert_eq!(term(&mut leads).await, Some(BASE + 2));
    };
    tokio::select! {
        () = a.run(CancellationToken::new()) => panic!("nobody stopped it"),
        () = story => {}
        () = too_long() => panic!("it takes too long"),
    }
}

/// A renewal that is answered after the leadership was over brings it back: whoever stood on it has ended, and hears of it.
#[tokio::test(start_paused = true)]
async fn leadership_that_comes_back_in_the_same_term_is_told() {
    let lease = Arc::new(Mutex::new(None));
    let (client, _) = server(move |asked| Some(keep(&lease, asked)));
    let mut a = election(client, "a");
    let mut leads = a.subscribe();
    loop {
        match a.candidate.step(a.clock.now(), a.wall()) {
            Step::Read => a.read().await,
            Step::Write(write) => a.write(write).await,
            Step::Wait(_) => break,
        }
    }
    a.publish();
    assert_eq!(term(&mut leads).await, Some(BASE + 1));
    let fence = crate::lease::Fence::present(&leads, a.clock).unwrap();
    pass(Duration::from_secs(9)).await;
    let Step::Write(write) = a.candidate.step(a.clock.now(), a.wall()) else { panic!("it is due") };
    let sent = a.clock.now();
    pass(Duration::from_secs(2)).await;
    fence.lost().await;
    let answer = a.send(&write).await;
    a.candidate.answered(write, sent, answer, a.clock.now());
    a.publish();
    assert!(leads.has_changed().unwrap(), "it leads again, and nobody knows");
    assert_eq!(term(&mut leads).await, Some(BASE + 1));
}
