//! What is done about one `Topic`: `observe` reads, `decide` decides, `act` writes, `status` says.
//!
//! The object is the truth: what others change of its topic is put back. Nothing is done to a topic that was not made
//! for this object, or taken over as its spec allows: topics are known by their ids, not by their names.
//!
//! Changes are heard of from brokers, from the clusters' objects and from other objects of the same topic (`follow`,
//! `index`); besides, every object is looked at once in a while.

mod act;
mod bury;
mod contact;
mod context;
pub mod decide;
pub mod facts;
mod follow;
mod id;
mod index;
mod observe;
mod placing;
mod plan;
mod status;
#[cfg(test)]
mod tests;
mod wake;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use kube::runtime::reflector::{self, ObjectRef};

use crate::admin::pool::Pool;
use crate::apply::Pass;
use crate::controller::{self, Done, Parts, Reconcile, Triggers, Witness};
use crate::crd::topic::Topic;
use crate::error::{Class, Error};
use crate::held::Held;
use crate::kind::Kind;
use crate::session::Plug;

use act::Act;
use context::Context;
use decide::{Again, Decision};
use facts::{Cluster, Facts};

/// Has an object wait for the operator before it goes.
pub const FINALIZER: &str = "ottla.dev/topic";

/// How often one look goes on after something was done: the finalizer, the topic, what is to be said of it.
const ROUNDS: usize = 4;
/// How long until an object is looked at again where nothing changes; half as much again for some, so that not all
/// come at once.
const SLOW: Duration = Duration::from_mins(10);
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);
/// How long a look waits for clusters to be known.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the controller, which asks brokers by `pool`.
pub fn controller(pool: Arc<Pool>) -> Plug {
    Box::new(move |session| {
        let (clusters, writer) = reflector::store();
        let context = Arc::new(Context::new(session.clone(), Arc::clone(&pool), clusters));
        let parts = Parts {
            reconcile: reconcile(&context),
            triggers: Some(triggers(&context, writer)),
            witness: Some(witness(&context)),
        };
        controller::plug_parts(Kind::Topic, parts)(session)
    })
}

fn reconcile(context: &Arc<Context>) -> Reconcile<Topic> {
    let context = Arc::clone(context);
    Arc::new(move |topic, pass| {
        let context = Arc::clone(&context);
        Box::pin(async move { look(&context, topic, &pass).await })
    })
}

fn witness(context: &Arc<Context>) -> Witness<Topic> {
    let context = Arc::clone(context);
    Arc::new(move |sight| context.witness(&sight))
}

fn triggers(
    context: &Arc<Context>,
    writer: reflector::store::Writer<kube::core::DeserializeGuard<crate::crd::cluster::Cluster>>,
) -> Triggers<Topic> {
    let context = Arc::clone(context);
    let writer = parking_lot::Mutex::new(Some(writer));
    Arc::new(move |_, _| {
        let woken = stream::unfold(Arc::clone(&context), async |context| {
            let (namespace, name) = context.wake.next().await;
            Some((ObjectRef::new(&name).within(&namespace), context))
        });
        let Some(writer) = writer.lock().take() else { return woken.boxed() };
        let followed = stream::once(follow::follow(Arc::clone(&context), writer));
        let followed = followed.filter_map(|()| std::future::ready(None));
        stream::select(woken, followed).boxed()
    })
}

/// Looks at one object, does what follows, and looks again at what it has done.
async fn look(context: &Context, topic: Arc<Topic>, pass: &Pass) -> Result<Done, Error> {
    // Fails only where the session ends.
    if tokio::time::timeout(PATIENCE, context.clusters.wait_until_ready()).await.is_err() {
        return Err(Error::unknown("Cluster"));
    }
    let mut held = Held::new(pass, &context.latest, topic);
    for _ in 0..ROUNDS {
        let (observed, decision) = observe::consider(context, held.object()).await?;
        pass.observed(mark(&observed.facts));
        let mut act = Act { context, observed: &observed, decision: &decision, held };
        if decision.steps.is_empty() {
            if !decision.findings.is_empty() {
                let now = context.session.ground.clock.wall();
                act.say(&status::status(&observed.facts, &decision, now)).await?;
            }
            return Ok(done(&decision));
        }
        match act.all().await {
            Ok(true) => return Ok(Done { is_converged: true, again: None }),
            Ok(false) => held = act.held,
            Err(error) => {
                trouble(&mut act, &error).await?;
                return Err(error);
            }
        }
    }
    Ok(Done { is_converged: false, again: Some(SOON) })
}

/// Has the status say why something could not be done, where another look at once would not help.
async fn trouble(act: &mut Act<'_, '_>, error: &Error) -> Result<(), Error> {
    let is_told = match error.class() {
        Some(Class::Conflict) | None => false,
        Some(Class::Transient | Class::Waiting | Class::InvalidSpec | Class::Bug) => true,
    };
    let Some(findings) = status::trouble(act.decision, error).filter(|_| is_told) else {
        return Ok(());
    };
    let decision = Decision { findings, ..act.decision.clone() };
    let now = act.context.session.ground.clock.wall();
    // What was written meanwhile, such as the topic's id, stays.
    let before = act.held.object().status.clone().unwrap_or_default();
    let mut said = status::status(&act.observed.facts, &decision, now);
    (said.topic_id, said.partitions) = (before.topic_id, before.partitions);
    said.replicas = before.replicas;
    act.say(&said).await
}

fn done(decision: &Decision) -> Done {
    let again = match decision.again {
        Again::OnChange => SLOW + SLOW.mul_f64(fastrand::f64() / 2.0),
        Again::Soon => SOON,
        Again::Later => LATER,
    };
    Done { is_converged: decision.again == Again::OnChange, again: Some(again) }
}

/// Stands for all that was observed, but what is said of it, and what others do at the same time.
fn mark(facts: &Facts) -> u64 {
    let mut hasher = DefaultHasher::new();
    let elder = &facts.object.elder;
    let place = match &facts.cluster {
        Cluster::Gone => String::new(),
        Cluster::Away(why) => why.clone(),
        Cluster::Here(here) => {
            format!("{:?} {:?} {}", here.topic, here.problems, here.is_paused)
        }
    };
    (elder, place).hash(&mut hasher);
    hasher.finish()
}
