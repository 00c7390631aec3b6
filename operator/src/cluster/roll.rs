//! Which broker is restarted now, if one is. Pure: the same facts have the same answer, and nothing is remembered but
//! what the facts say, so that whoever takes over goes on where it was.
//!
//! A pod that is not what the spec says is deleted, and comes back as it should be. One at a time; first those that do
//! not serve, last the controller. Before each, the controller gives leave (see `AcquireRestartPermit`), and what the
//! broker leads is handed over.
//!
//! | there is | then |
//! |---|---|
//! | a pod that is going | it is waited for |
//! | a pod as it should be that does not serve | it is waited for: what hurt it would hurt the next one. Only pods that do not serve either, and are not as they should be, are replaced meanwhile |
//! | no leave | it is asked for; why it is refused is told, with the partitions |
//! | leave refused for partitions with too few replicas | it is asked for again; after a while that is accepted |
//! | leave | leadership goes, then the pod |

use crate::admin::{Accepts, Verdict};
use crate::crd::cluster::Restarts;
use crate::reason::Reason;

/// What is known of a cluster's brokers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// Each broker that is to be, in the order of ids.
    pub brokers: Vec<Broker>,
    /// What the controller has said in this pass; none before it was asked.
    pub said: Option<Answer>,
    /// How restarts are to be.
    pub restarts: Restarts,
    /// For how many seconds partitions with too few replicas alone have stood in the way.
    pub put_off_seconds: i64,
}

/// One broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broker {
    /// Its id.
    pub id: i32,
    /// What its pod is to be: another text for whatever needs a restart.
    pub revision: String,
    /// Its pod.
    pub pod: Option<Pod>,
    /// The broker epoch of the process in that pod; none while it is not registered.
    pub broker_epoch: Option<i64>,
    /// Whether it is the controller.
    pub is_controller: bool,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its uid.
    pub uid: String,
    /// What it is.
    pub revision: String,
    /// Whether it serves.
    pub is_ready: bool,
    /// Whether it is being deleted.
    pub is_going: bool,
    /// What keeps it from serving, where Kubernetes says that; empty otherwise.
    pub trouble: String,
}

/// What the controller has said about a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Of which broker.
    pub broker: i32,
    /// What.
    pub verdict: Verdict,
}

/// What is done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: all pods are what they should be, and serve.
    Done,
    /// Nothing now.
    Wait(Wait),
    /// Ask for leave to restart a broker; ask again with what is said.
    Acquire {
        /// Which.
        broker: i32,
        /// Its broker epoch; none of one that is not registered.
        broker_epoch: Option<i64>,
        /// What may fall.
        accepts: Accepts,
    },
    /// Have a broker hand over; ask again with what is left.
    Drain {
        /// Which.
        broker: i32,
    },
    /// Delete a pod, if it is still this one.
    Delete {
        /// Of which broker.
        broker: i32,
        /// Its uid.
        uid: String,
    },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wait {
    /// The broker that it is about.
    pub broker: i32,
    /// Why, in one word.
    pub reason: Reason,
    /// Why, for people.
    pub message: String,
    /// Partitions that stand in the way.
    pub partitions: Vec<String>,
    /// Whether only partitions with too few replicas do.
    pub is_for_ever: bool,
}

impl Broker {
    /// Whether its pod is not what it should be.
    pub fn is_outdated(&self) -> bool {
        self.pod.as_ref().is_some_and(|pod| pod.revision != self.revision)
    }

    /// Whether it serves.
    pub fn serves(&self) -> bool {
        self.broker_epoch.is_some() && self.pod.as_ref().is_some_and(|pod| pod.is_ready)
    }
}

/// How many of the brokers' pods are what they should be, and serve.
pub fn done(brokers: &[Broker]) -> usize {
    brokers.iter().filter(|broker| !broker.is_outdated() && broker.serves()).count()
}

/// Says what is done next.
pub fn next(facts: &Facts) -> Next {
    if let Some(going) = facts.brokers.iter().find(|broker| is_going(broker)) {
        return wait(
            going.id,
            Reason::Restarting,
            format!("broker {} is being restarted", going.id),
        );
    }
    let sick = facts.brokers.iter().find(|broker| !broker.is_outdated() && !broker.serves());
    let outdated = facts.brokers.iter().filter(|broker| broker.is_outdated());
    let candidates = outdated.filter(|broker| sick.is_none() || !broker.serves());
    let order = |broker: &&Broker| (broker.serves(), broker.is_controller, broker.id);
    let first = holder(facts).or_else(|| candidates.min_by_key(order));
    match (first, sick) {
        (Some(first), _) => restart(facts, first),
        (None, Some(sick)) => starting(sick),
        (None, None) => Next::Done,
    }
}

/// Who has leave, does not come back with it and is to be another: while it has leave nobody else gets any.
fn holder(facts: &Facts) -> Option<&Broker> {
    let Answer { broker, verdict } = facts.said.as_ref()?;
    let holder = match verdict {
        Verdict::Refused { holder, .. } => holder.unwrap_or(*broker),
        Verdict::Granted { .. } => *broker,
    };
    let mut brokers = facts.brokers.iter();
    brokers.find(|one| one.id == holder && one.is_outdated() && !one.serves())
}

fn is_going(broker: &Broker) -> bool {
    broker.pod.as_ref().is_some_and(|pod| pod.is_going)
}

/// A broker that is as it should be and does not serve: nothing else is touched before it does.
fn starting(broker: &Broker) -> Next {
    let id = broker.id;
    match &broker.pod {
        None => wait(id, Reason::PodMissing, format!("the pod of broker {id} is not there yet")),
        Some(pod) if !pod.trouble.is_empty() => {
            let words = format!(
                "broker {id} does not start: {}. The others are left as they are until it does, or the spec is corrected",
                pod.trouble
            );
            wait(id, Reason::PodFailing, words)
        }
        Some(_) => wait(id, Reason::Starting, format!("broker {id} starts")),
    }
}

fn restart(facts: &Facts, broker: &Broker) -> Next {
    let id = broker.id;
    let said = facts.said.as_ref().filter(|said| said.broker == id);
    let Some(said) = said else {
        let accepts = accepts(facts, id);
        return Next::Acquire { broker: id, broker_epoch: broker.broker_epoch, accepts };
    };
    match &said.verdict {
        Verdict::Refused { message, partitions, is_for_ever, .. } => Next::Wait(Wait {
            broker: id,
            reason: Reason::RestartRefused,
            message: refusal(facts, id, message, *is_for_ever),
            partitions: partitions.clone(),
            is_for_ever: *is_for_ever,
        }),
        Verdict::Granted { still_led: None } if broker.broker_epoch.is_some() => {
            Next::Drain { broker: id }
        }
        // What nobody else can lead is handed over to nobody; a stop does not wait for it either.
        Verdict::Granted { .. } => match &broker.pod {
            Some(pod) => Next::Delete { broker: id, uid: pod.uid.clone() },
            None => {
                wait(id, Reason::PodMissing, format!("the pod of broker {id} is not there yet"))
            }
        },
    }
}

/// Why a broker is not restarted, and until when, where that is known.
fn refusal(facts: &Facts, broker: i32, why: &str, is_for_ever: bool) -> String {
    let words = format!("broker {broker} may not restart yet: {why}");
    if !is_for_ever {
        return words;
    }
    let seconds = facts.restarts.unavoidable_wait_seconds;
    format!(
        "{words}. It is restarted all the same after {seconds} s (spec.restarts.unavoidableWaitSeconds)"
    )
}

fn accepts(facts: &Facts, broker: i32) -> Accepts {
    let is_alone = facts.brokers.len() == 1;
    let is_over = facts.put_off_seconds >= i64::from(facts.restarts.unavoidable_wait_seconds);
    if facts.restarts.force.contains(&broker) {
        Accepts::Everything
    } else if is_alone || is_over {
        Accepts::Unavoidable
    } else {
        Accepts::Nothing
    }
}

fn wait(broker: i32, reason: Reason, message: String) -> Next {
    Next::Wait(Wait { broker, reason, message, partitions: Vec::new(), is_for_ever: false })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A broker that serves, and is what it should be.
    fn well(id: i32) -> Broker {
        Broker {
            id,
            revision: "new".to_owned(),
            pod: Some(Pod {
                uid: format!("uid-{id}"),
                revision: "new".to_owned(),
                is_ready: true,
                is_going: false,
                trouble: String::new(),
            }),
            broker_epoch: Some(100 + i64::from(id)),
            is_controller: false,
        }
    }

    fn outdated(id: i32) -> Broker {
        let mut broker = well(id);
        pod(&mut broker).revision = "old".to_owned();
        broker
    }

    fn pod(broker: &mut Broker) -> &mut Pod {
        broker.pod.as_mut().unwrap()
    }

    /// It cannot start.
    fn fails(mut broker: Broker) -> Broker {
        pod(&mut broker).is_ready = false;
        pod(&mut broker).trouble = "ImagePullBackOff: no such image".to_owned();
        Broker { broker_epoch: None, ..broker }
    }

    fn facts(brokers: &[Broker]) -> Facts {
        Facts {
            brokers: brokers.to_vec(),
            said: None,
            restarts: Restarts::default(),
            put_off_seconds: 0,
        }
    }

    fn said(facts: &Facts, broker: i32, verdict: Verdict) -> Next {
        next(&Facts { said: Some(Answer { broker, verdict }), ..facts.clone() })
    }

    fn acquire(broker: i32) -> Next {
        let broker_epoch = Some(100 + i64::from(broker));
        Next::Acquire { broker, broker_epoch, accepts: Accepts::Nothing }
    }

    fn waits_for(next: &Next) -> (i32, Reason) {
        let Next::Wait(wait) = next else { panic!("{next:?}") };
        (wait.broker, wait.reason)
    }

    #[test]
    fn what_is_as_it_should_be_is_left_alone() {
        let brokers = [well(0), well(1), well(2)];
        assert_eq!((next(&facts(&brokers)), done(&brokers)), (Next::Done, 3));
    }

    /// Leave first, then leadership, then the pod, then the next broker once this one serves.
    #[test]
    fn a_broker_is_restarted_in_steps() {
        let first = facts(&[outdated(0), outdated(1), well(2)]);
        assert_eq!(next(&first), acquire(0));
        let granted = |still_led| Verdict::Granted { still_led };
        assert_eq!(said(&first, 0, granted(None)), Next::Drain { broker: 0 });
        let delete = Next::Delete { broker: 0, uid: "uid-0".to_owned() };
        assert_eq!(said(&first, 0, granted(Some(0))), delete);
        assert_eq!(said(&first, 0, granted(Some(2))), delete, "nobody else can lead those");
        // What was said of another broker says nothing of this one.
        assert_eq!(said(&first, 1, granted(Some(0))), acquire(0));

        let mut going = outdated(0);
        pod(&mut going).is_going = true;
        let going = next(&facts(&[going, outdated(1), well(2)]));
        assert_eq!(waits_for(&going), (0, Reason::Restarting));
        let missing = Broker { pod: None, broker_epoch: None, ..well(0) };
        let missing = next(&facts(&[missing, outdated(1), well(2)]));
        assert_eq!(waits_for(&missing), (0, Reason::PodMissing));
        let starting = Broker { broker_epoch: None, ..well(0) };
        let starting = next(&facts(&[starting, outdated(1), well(2)]));
        assert_eq!(waits_for(&starting), (0, Reason::Starting));
        assert_eq!(next(&facts(&[well(0), outdated(1), well(2)])), acquire(1));
    }

    #[test]
    fn who_does_not_serve_is_first_and_the_controller_is_last() {
        let controller = Broker { is_controller: true, ..outdated(0) };
        let brokers = [controller.clone(), outdated(1), outdated(2)];
        assert_eq!(next(&facts(&brokers)), acquire(1));
        let brokers = [controller.clone(), outdated(1), fails(outdated(2))];
        let mend = Next::Acquire { broker: 2, broker_epoch: None, accepts: Accepts::Nothing };
        assert_eq!(next(&facts(&brokers)), mend);
        // It leads nothing that could be handed over.
        let granted = Verdict::Granted { still_led: None };
        let delete = Next::Delete { broker: 2, uid: "uid-2".to_owned() };
        assert_eq!(said(&facts(&brokers), 2, granted), delete);
        assert_eq!(next(&facts(&[controller, well(1), well(2)])), acquire(0));
    }

    /// What hurts a broker that is as it should be would hurt the next one; a corrected spec heals it.
    #[test]
    fn a_broker_that_fails_stops_the_others_and_is_healed_by_another_spec() {
        let stopped = next(&facts(&[fails(well(0)), outdated(1), outdated(2)]));
        assert_eq!(waits_for(&stopped), (0, Reason::PodFailing));
        let Next::Wait(wait) = stopped else { unreachable!("it was one") };
        assert!(wait.message.contains("no such image"), "{}", wait.message);
        let corrected = next(&facts(&[fails(outdated(0)), outdated(1), outdated(2)]));
        let mend = Next::Acquire { broker: 0, broker_epoch: None, accepts: Accepts::Nothing };
        assert_eq!(corrected, mend);
        // Another that fails and is not as it should be is replaced, too; one that serves is not.
        let both = next(&facts(&[fails(well(0)), fails(outdated(1)), outdated(2)]));
        let mend = Next::Acquire { broker: 1, broker_epoch: None, accepts: Accepts::Nothing };
        assert_eq!(both, mend);
    }

    /// Of two that fail, the one that has leave is corrected first: the other gets none before.
    #[test]
    fn who_has_leave_is_corrected_first() {
        let two = facts(&[fails(outdated(0)), fails(outdated(1)), outdated(2)]);
        let mend = |broker| Next::Acquire { broker, broker_epoch: None, accepts: Accepts::Nothing };
        assert_eq!(next(&two), mend(0));
        let held = |holder| Verdict::Refused {
            message: "held".to_owned(),
            partitions: Vec::new(),
            is_for_ever: false,
            label: "held",
            holder: Some(holder),
        };
        assert_eq!(said(&two, 0, held(1)), mend(1));
        let delete = Next::Delete { broker: 1, uid: "uid-1".to_owned() };
        assert_eq!(said(&two, 1, Verdict::Granted { still_led: None }), delete);
        // One that serves comes in its turn, and one that is not refused again for itself is not asked for ever.
        assert_eq!(waits_for(&said(&two, 0, held(2))), (0, Reason::RestartRefused));
        assert_eq!(waits_for(&said(&two, 1, held(1))), (1, Reason::RestartRefused));
    }

    /// Why leave is refused is told; what is for ever is accepted after a while, anything by who says so.
    #[test]
    fn a_refusal_is_told_and_waits_are_bounded() {
        let refused = Verdict::Refused {
            message: "3 partitions".to_owned(),
            partitions: vec!["t-0".to_owned()],
            is_for_ever: true,
            label: "unavoidable",
            holder: None,
        };
        let mut facts = facts(&[outdated(0), well(1)]);
        let told = said(&facts, 0, refused);
        assert_eq!(waits_for(&told), (0, Reason::RestartRefused));
        let Next::Wait(wait) = told else { unreachable!("it was one") };
        assert_eq!((wait.partitions, wait.is_for_ever), (vec!["t-0".to_owned()], true));
        let expected = "may not restart yet: 3 partitions. It is restarted all the same after 60 s (spec.restarts.\
                        unavoidableWaitSeconds)";
        assert!(wait.message.ends_with(expected), "{}", wait.message);

        let accepts = |facts: &Facts| {
            let Next::Acquire { accepts, .. } = next(facts) else { panic!("nothing is asked") };
            accepts
        };
        facts.put_off_seconds = 59;
        assert_eq!(accepts(&facts), Accepts::Nothing);
        facts.put_off_seconds = 60;
        assert_eq!(accepts(&facts), Accepts::Unavoidable);
        facts.restarts.force = vec![0];
        assert_eq!(accepts(&facts), Accepts::Everything);
        // A broker that is alone waits for nobody.
        assert_eq!(accepts(&super::tests::facts(&[outdated(0)])), Accepts::Unavoidable);
    }

    fn any_broker(id: i32) -> impl Strategy<Value = Broker> {
        let pod = proptest::option::weighted(
            0.9,
            (any::<bool>(), any::<bool>(), proptest::bool::weighted(0.1)),
        );
        (pod, any::<bool>()).prop_map(move |(pod, is_registered)| {
            let pod = pod.map(|(is_new, is_ready, is_going)| Pod {
                uid: format!("uid-{id}"),
                revision: if is_new { "new" } else { "old" }.to_owned(),
                is_ready,
                is_going,
                trouble: String::new(),
            });
            let broker_epoch = is_registered.then_some(i64::from(id));
            Broker { id, revision: "new".to_owned(), pod, broker_epoch, is_controller: id == 0 }
        })
    }

    proptest! {
        /// Whatever is granted, no pod that is as it should be goes, none that is gone already, and none that serves
        /// while another does not and could not be replaced.
        #[test]
        fn nothing_is_deleted_that_should_stay(
            brokers in (any_broker(0), any_broker(1), any_broker(2), any_broker(3)),
        ) {
            let brokers = [brokers.0, brokers.1, brokers.2, brokers.3];
            let mut facts = facts(&brokers);
            // Everything is granted until something else is to be done.
            let ended = loop {
                let (broker, still_led) = match next(&facts) {
                    Next::Acquire { broker, .. } => (broker, None),
                    Next::Drain { broker } => (broker, Some(0)),
                    ended @ (Next::Done | Next::Wait(_) | Next::Delete { .. }) => break ended,
                };
                facts.said = Some(Answer { broker, verdict: Verdict::Granted { still_led } });
            };
            if let Next::Delete { broker, uid } = &ended {
                let gone = &brokers[*broker as usize];
                prop_assert!(gone.is_outdated());
                prop_assert_eq!(uid, &gone.pod.as_ref().unwrap().uid);
                prop_assert!(!brokers.iter().any(is_going));
                let mut others = brokers.iter().filter(|other| other.id != gone.id);
                prop_assert!(!gone.serves() || others.all(Broker::serves));
            }
            if ended == Next::Done {
                prop_assert_eq!(done(&brokers), brokers.len());
            }
        }
    }
}
