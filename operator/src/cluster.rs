//! What is done about one `Cluster`: `observe` reads, `decide` decides, `act` writes, `status` says.
//!
//! The object is the truth: what others change of what is made for it is put back. Every look reads everything anew,
//! from caches that all looks share (`owned`) and from brokers; nothing is remembered but what the objects say.

mod act;
pub mod build;
mod context;
pub mod decide;
pub mod drain;
pub mod dynamic;
pub mod facts;
mod findings;
pub mod kept;
pub mod layout;
mod mark;
pub mod members;
pub mod objects;
mod observe;
mod owned;
pub mod place;
pub mod protocol;
mod pulse;
pub mod rebalance;
pub mod roll;
pub mod seen;
pub mod settings;
mod status;
#[cfg(test)]
mod tests;
pub mod turn;
pub mod upkeep;
pub mod validate;
pub mod volumes;
pub mod wanted;
mod write;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, future, stream};
use kube::runtime::reflector::ObjectRef;

use crate::admin::pool::Pool;
use crate::apply::{Pass, named};
use crate::controller::{self, Done, Parts, Reconcile, Triggers, Witness};
use crate::crd::cluster::Cluster;
use crate::error::Error;
use crate::held::Held;
use crate::kind::Kind;
use crate::session::Plug;

use act::Act;
use context::Context;
use decide::{Course, Decision, decide};
use facts::Facts;
use roll::Next;
use validate::Images;

/// Has an object wait for the operator before it goes.
pub const FINALIZER: &str = "ottla.dev/cluster";

/// What probes call all that is made for clusters.
const OWNED: &str = "object of a Cluster";

/// How long until an object is looked at again where nothing tells of changes: while something goes on, and while all is
/// as it should be.
const SOON: Duration = Duration::from_secs(5);
const LATER: Duration = Duration::from_secs(30);

/// Makes the controller, which asks brokers by `pool`, and has them run `images` where the spec names none.
pub fn controller(pool: Arc<Pool>, images: Images) -> Plug {
    Box::new(move |session| {
        let context = Context::new(session.clone(), Arc::clone(&pool), images.clone());
        let context = Arc::new(context);
        let parts = Parts {
            reconcile: reconcile(&context),
            triggers: Some(triggers(&context)),
            witness: Some(witness(&context)),
        };
        controller::plug_parts(Kind::Cluster, parts)(session)
    })
}

fn reconcile(context: &Arc<Context>) -> Reconcile<Cluster> {
    let context = Arc::clone(context);
    Arc::new(move |cluster, pass| {
        let context = Arc::clone(&context);
        Box::pin(async move { Box::pin(look(&context, cluster, &pass)).await })
    })
}

fn witness(context: &Arc<Context>) -> Witness<Cluster> {
    let context = Arc::clone(context);
    Arc::new(move |sight| context.witness(&sight))
}

fn triggers(context: &Arc<Context>) -> Triggers<Cluster> {
    let context = Arc::clone(context);
    Arc::new(move |client, namespace| {
        let owned = context.owned.follow(&client, namespace.as_deref());
        let filled =
            stream::once(filled(Arc::clone(&context), namespace)).filter_map(future::ready);
        stream::select_all([owned, context.pulse.follow().boxed(), filled.boxed()]).boxed()
    })
}

/// Has probes know when all is known of what is made for clusters; names none of them.
async fn filled(context: Arc<Context>, namespace: Option<String>) -> Option<ObjectRef<Cluster>> {
    let (health, namespace) = (&context.session.ground.health, namespace.unwrap_or_default());
    health.cache(OWNED, &namespace, false);
    while context.owned.ready().await.is_err() {}
    health.cache(OWNED, &namespace, true);
    None
}

/// Looks at one object, and does what follows.
async fn look(context: &Context, cluster: Arc<Cluster>, pass: &Pass) -> Result<Done, Error> {
    context.owned.ready().await.map_err(|kind| Error::unknown(&kind))?;
    let held = Held::new(pass, &context.latest, cluster);
    let mut facts = observe::observe(context, held.object()).await;
    pass.observed(mark::mark(&facts));
    let mut decision = decided(&facts, held.object())?;
    let mut left = None;
    if decision.course == Course::Goes && !facts.object.is_emptied {
        match observe::upkeep(context, held.object(), &facts).await {
            Ok((read, failed)) => {
                left = failed;
                decision = kept_up(&mut facts, held.object(), &decision, read).await?;
            }
            Err(error) => {
                let (facts, decision) = (&facts, &decision);
                let mut act =
                    Act { context, facts, decision, held, has_changed: false, left: None };
                act.trouble(&error).await?;
                return Err(error);
            }
        }
    }
    context.forget_others(&facts.object.names, decision.seen.iter().map(|one| one.id));
    let mut act =
        Act { context, facts: &facts, decision: &decision, held, has_changed: false, left };
    let worked = act.all().await;
    let next = match worked {
        Ok(true) => return Ok(Done { is_converged: true, again: None }),
        Ok(false) => match (act.roll().await, act.left.take()) {
            (Ok(_), Some(error)) => Err(error),
            (next, _) => next,
        },
        Err(error) => Err(error),
    };
    let next = match next {
        Ok(next) => next,
        // All that is protected goes with the namespace: there is nothing left to keep.
        Err(Error::NamespaceGoes { .. }) if facts.object.is_deleted => {
            act.held.release(FINALIZER).await?;
            return Ok(Done { is_converged: true, again: None });
        }
        Err(error) => {
            act.trouble(&error).await?;
            return Err(error);
        }
    };
    match &decision.course {
        // There is nothing to be said before the object waits for the operator, and nobody to hear it at the end.
        Course::Begins => return Ok(Done { is_converged: false, again: Some(Duration::ZERO) }),
        // It waits for what it has deleted.
        Course::Ends => return Ok(Done { is_converged: false, again: Some(SOON) }),
        Course::Invalid(_) | Course::Paused | Course::Goes => act.say(next.as_ref()).await?,
    }
    if let Course::Invalid(words) = &decision.course {
        return Err(Error::InvalidSpec { message: words.join("; ") });
    }
    Ok(done(&facts, &decision, next.as_ref(), act.has_written()))
}

/// Decides about members and volumes, and then anew. What may move depends on who is to be restarted, and the other way
/// round.
async fn kept_up(
    facts: &mut Facts,
    cluster: &Cluster,
    first: &Decision,
    read: upkeep::Read,
) -> Result<Decision, Error> {
    let (read, may_move) = (Arc::new(read), decide::may_move(first));
    facts.upkeep = Some(upkeep::decided(&read, may_move.clone()).await);
    let decision = decided(facts, cluster)?;
    match (may_move, decide::may_move(&decision)) {
        // Whose pod was told another place is known only now.
        (Ok(()), Err(why)) => {
            facts.upkeep = Some(upkeep::decided(&read, Err(why)).await);
            decided(facts, cluster)
        }
        (Ok(()), Ok(())) | (Err(_), _) => Ok(decision),
    }
}

fn decided(facts: &Facts, cluster: &Cluster) -> Result<Decision, Error> {
    decide(facts).map_err(|source| Error::Bug {
        doing: "write as JSON what is made for",
        what: named(cluster),
        source: source.into(),
    })
}

fn done(facts: &Facts, decision: &Decision, next: Option<&Next>, has_written: bool) -> Done {
    let is_settled = match decision.course {
        Course::Paused => true,
        Course::Begins | Course::Ends | Course::Invalid(_) | Course::Goes => {
            next == Some(&Next::Done) && facts.said.is_ok()
        }
    };
    let is_well = decision.seen.iter().all(|one| one.under_replicated().unwrap_or_default() == 0);
    let goes_on = facts.upkeep.as_ref().is_some_and(upkeep::Upkeep::goes_on);
    let is_converged = is_settled && !has_written && !goes_on;
    let again = if is_converged && is_well { LATER } else { SOON };
    Done { is_converged, again: Some(again) }
}
