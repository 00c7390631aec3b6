//! A broker that is reached and does not answer.

use broker_config::release::Release;
use tokio::net::TcpListener;

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::controller::state::event::Endpoint;

#[test]
fn who_does_not_answer_is_asked_less_and_less() {
    let pauses: Vec<_> = [0, 1, 2, 3, 5, 6, 40].map(|failures| pause(failures).as_millis()).into();
    assert_eq!(pauses, [0, 50, 100, 200, 800, 1_000, 1_000]);
}

/// Method: the peer counts the connections of a letter that it never answers.
#[tokio::test]
async fn a_peer_that_accepts_and_closes_is_left_alone_between_attempts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let ((events, _heard), (orders, _obeyed)) = (mpsc::channel(16), mpsc::channel(16));
    let tasks = Tasks::new();
    let common = Common {
        controller: BrokerId(1),
        controller_epoch: 1,
        listener: "L".into(),
        inter_broker_listener: "L".into(),
        timeout: Duration::from_secs(30),
        connect_timeout: Duration::from_secs(10),
        versions: Versions::of(Release::V3_4_IV0),
        orders,
        events,
        metadata: Arc::default(),
        tasks,
        clock: Arc::new(SystemClock),
    };
    let endpoint =
        Endpoint { listener: "L".into(), security_protocol: 0, host: "127.0.0.1".into(), port };
    let broker = LiveBroker {
        epoch: 7,
        endpoints: Arc::new([endpoint]),
        rack: None,
        unproven: Arc::default(),
    };
    let mut channels = Channels::new(common);
    channels.brokers(&Arc::new(BTreeMap::from([(BrokerId(2), broker)])));
    channels.send(BrokerId(2), Extent::All, Vec::new());
    let began = SystemClock.now();
    for _ in 0..6 {
        drop(listener.accept().await.unwrap());
    }
    let took = SystemClock.now() - began;
    let least: Duration = (0..5).map(pause).sum();
    assert!(took >= least, "{took:?}");
}
