//! Who is asked, and who is asked next.

use kube::api::ObjectMeta;
use serde_json::json;

use super::*;
use crate::crd::cluster::status::{ClusterStatus, Member};

/// A cluster of so many brokers, from 0 on, and one more that its status has.
fn brokers(count: i32, besides: i32) -> Brokers {
    let spec = serde_json::from_value(json!({ "brokers": count, "version": "0.1.0" })).unwrap();
    let member = Member { id: besides, ..Member::default() };
    let status = ClusterStatus { members: vec![member], ..ClusterStatus::default() };
    let metadata = ObjectMeta {
        name: Some("main".to_owned()),
        namespace: Some("shop".to_owned()),
        ..ObjectMeta::default()
    };
    let cluster = Cluster { metadata, spec, status: Some(status) };
    Pool::new(network(), Clock::system()).brokers(&cluster)
}

/// The id of a broker, by its address.
fn id(broker: &Broker) -> i32 {
    let host = broker.address().strip_prefix("main-").unwrap();
    host.split_once('-').unwrap().0.parse().unwrap()
}

fn silent() -> BrokerError {
    let (address, words) = ("a".to_owned(), "gone".to_owned());
    BrokerError::Unavailable { address, call: "GetIdentity", words }
}

/// Asks any, of whom some are silent; returns who was asked.
async fn ask(brokers: &Brokers, silent_ones: &[i32]) -> (Vec<i32>, bool) {
    let asked = Mutex::new(Vec::new());
    let answer = brokers.any(|broker| {
        let id = id(&broker);
        asked.lock().push(id);
        std::future::ready(if silent_ones.contains(&id) { Err(silent()) } else { Ok(()) })
    });
    let is_answered = answer.await.is_ok();
    (asked.into_inner(), is_answered)
}

#[tokio::test]
async fn a_broker_is_found_under_its_name() {
    let brokers = brokers(2, 7);
    assert_eq!(brokers.ids(), [0, 1, 7]);
    let address = brokers.broker(7).unwrap().address().to_owned();
    assert_eq!(address, "main-7-0.main-brokers.shop.svc:9095");
}

/// Whoever answered is asked first the next time; who is silent costs one call.
#[tokio::test]
async fn who_answered_last_is_asked_first() {
    let brokers = brokers(3, 0);
    assert_eq!(ask(&brokers, &[0]).await, (vec![0, 1], true));
    assert_eq!(ask(&brokers, &[0]).await, (vec![1], true));
    assert_eq!(ask(&brokers, &[1, 2]).await, (vec![1, 2, 0], true));
    assert_eq!(ask(&brokers, &[]).await, (vec![0], true));
}

/// A question to a large cluster that is away ends soon; the next one goes to others.
#[tokio::test]
async fn a_question_goes_to_a_few() {
    let brokers = brokers(12, 0);
    let everybody: Vec<i32> = (0..12).collect();
    assert_eq!(ask(&brokers, &everybody).await, (vec![0, 1, 2, 3, 4], false));
    assert_eq!(ask(&brokers, &everybody).await, (vec![5, 6, 7, 8, 9], false));
}

/// A refusal is an answer: nobody else is asked.
#[tokio::test]
async fn a_refusal_is_an_answer() {
    let brokers = brokers(3, 0);
    let asked = Mutex::new(0);
    let refused = brokers.any(|_| {
        *asked.lock() += 1;
        std::future::ready(Err::<(), _>(BrokerError::Fenced { words: "no".to_owned() }))
    });
    assert!(matches!(refused.await, Err(BrokerError::Fenced { .. })));
    assert_eq!(asked.into_inner(), 1);
}

/// Whoever is not the controller names the one that is.
#[tokio::test]
async fn the_controller_is_followed() {
    let brokers = brokers(3, 0);
    brokers.believe(|belief| belief.controller = Some(0));
    let asked = Mutex::new(Vec::new());
    let answer = brokers.controller(|broker| {
        let id = id(&broker);
        asked.lock().push(id);
        std::future::ready(if id == 2 {
            Ok(id)
        } else {
            Err(BrokerError::NotController {
                address: broker.address().to_owned(),
                call: "ReassignPartitions",
                controller: Some(2),
                words: "no".to_owned(),
            })
        })
    });
    assert_eq!(answer.await.unwrap(), 2);
    assert_eq!(asked.into_inner(), [0, 2]);
    assert_eq!(brokers.controller_id().await.unwrap(), 2);
}
