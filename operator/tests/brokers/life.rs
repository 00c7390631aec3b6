//! Brokers live as long as their pods do, and tell who they are.

use broker_admin::v1::ConfigureBrokersRequest;
use operator::admin::client::BrokerError;

use super::bed::{Bed, fence, topic_id};

/// A broker is registered under a new epoch at each start, with what its files say then.
#[tokio::test(start_paused = true)]
async fn a_broker_is_what_its_pod_says() {
    let bed = Bed::start(3).await;
    let before = bed.broker(1).identity().await.unwrap();
    assert_eq!((before.broker_id, &*before.version), (1, "0.1.0"));
    assert!(!before.static_settings.contains_key("num.io.threads"));
    assert_eq!(before.controller_id, 0);

    bed.apply(3, "0.2.0", &[("num.partitions", "7")]);
    bed.pass(30).await;
    assert_eq!(bed.broker(1).identity().await.unwrap(), before, "nothing restarts by itself");

    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(30).await;
    let after = bed.broker(1).identity().await.unwrap();
    assert_eq!((&*after.version, &*after.static_settings["num.partitions"]), ("0.2.0", "7"));
    assert!(after.broker_epoch > before.broker_epoch);
    assert_ne!(after.instance, before.instance);
    assert_ne!(after.configuration_digest, before.configuration_digest);
    assert_eq!(bed.model.starts(), [(0, 1), (1, 2), (2, 1)]);
    assert_eq!(bed.violations(), [""; 0]);
}

/// Nobody answers for a broker that is not there; a channel finds the next process.
#[tokio::test(start_paused = true)]
async fn a_broker_that_is_away_does_not_answer() {
    let bed = Bed::start(2).await;
    let mut broker = bed.broker(1);
    broker.identity().await.unwrap();
    bed.model.with(|state| state.missing_releases.insert("0.2.0".to_owned()));
    bed.apply(2, "0.2.0", &[]);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(60).await;
    let pod = bed.fake.get("pods", "default", "orders-1-0").unwrap();
    let reason = &pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"];
    assert_eq!(reason, "ImagePullBackOff");
    let error = broker.identity().await.unwrap_err();
    assert!(matches!(error, BrokerError::Unavailable { .. }), "{error:?}");

    bed.apply(2, "0.1.0", &[]);
    bed.fake.delete("pods", "default", "orders-1-0");
    bed.pass(30).await;
    assert_eq!(broker.identity().await.unwrap().version, "0.1.0");
}

/// Another one is the controller when it goes, and every broker names it.
#[tokio::test(start_paused = true)]
async fn the_controller_moves_on() {
    let bed = Bed::start(3).await;
    bed.fake.delete("pods", "default", "orders-0-0");
    bed.pass(30).await;
    let cluster = bed.broker(0).cluster().await.unwrap();
    assert_eq!(cluster.controller_id, 1);
    let refused = bed.broker(2).release(fence(1), 2).await.unwrap_err();
    let is_named = matches!(refused, BrokerError::NotController { controller: Some(1), .. });
    assert!(is_named, "{refused:?}");
}

/// Settings that need no restart are in the tree; those that do are refused.
#[tokio::test(start_paused = true)]
async fn brokers_are_configured_while_they_run() {
    let bed = Bed::start(1).await;
    let set = |key: &str, value: &str| ConfigureBrokersRequest {
        fence: Some(fence(1)),
        broker_id: None,
        set: [(key.to_owned(), value.to_owned())].into(),
        reset: Vec::new(),
    };
    let mut broker = bed.broker(0);
    broker.configure_brokers(set("log.cleaner.threads", "2")).await.unwrap();
    assert_eq!(broker.cluster().await.unwrap().dynamic_settings["log.cleaner.threads"], "2");
    let refused = broker.configure_brokers(set("num.partitions", "2")).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Invalid { .. }), "{refused:?}");
}

/// A watch of topics says that all may have changed, then names those that have.
#[tokio::test(start_paused = true)]
async fn a_watch_names_the_topics_that_change() {
    let bed = Bed::start(1).await;
    let mut watch = bed.broker(0).watch_topics().await.unwrap().unwrap();
    assert!(watch.next().await.unwrap().unwrap().all);
    bed.topic("a", &[&[0]], &[]).await;
    assert_eq!(watch.next().await.unwrap().unwrap().names, ["a"]);
    bed.broker(0).delete_topic(fence(1), "a", &topic_id("a")).await.unwrap();
    assert_eq!(watch.next().await.unwrap().unwrap().names, ["a"]);
    bed.pass(10).await;
    assert_eq!(watch.next().await.unwrap().unwrap().names, ["a"]);
    assert!(bed.broker(0).topics(&[]).await.unwrap().is_empty());
    bed.model.excuse(0);
    bed.fake.delete("pods", "default", "orders-0-0");
    bed.pass(10).await;
    assert!(!matches!(watch.next().await, Ok(Some(_))));
}
