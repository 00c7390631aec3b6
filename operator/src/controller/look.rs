//! One look at one object, and what follows from how it ended.

use std::error::Error as _;
use std::sync::Arc;

use kube::Resource;
use kube::core::DeserializeGuard;
use kube::core::error_boundary::InvalidObject;
use kube::runtime::controller::Action;
use tracing::{debug, error, info, warn};

use super::{Done, Shared};
use crate::apply::{Pass, named};
use crate::error::{Again, Class, Error, chain};
use crate::event::Tale;
use crate::key::key;
use crate::lease::Deposed;
use crate::metrics::Outcome;
use crate::reason::Reason;

/// Looks at `object` once a worker is free, and says when to look again.
pub(super) async fn look<K>(shared: &Shared<K>, object: &DeserializeGuard<K>) -> Action
where
    K: Resource<DynamicType = ()> + Clone + Send + Sync + 'static,
{
    let session = &shared.session;
    let Ok(_worker) = session.workers.acquire().await else { return Action::await_change() };
    let key = key(object);
    let running = session.ground.progress.begin(shared.kind, key.clone());
    let converged = shared.known.lock().converged(&key);
    let about = (object.object_ref(&()), object.meta().generation.unwrap_or_default());
    let (writer, fence) = (session.ground.writer.clone(), session.fence.clone());
    let pass = Arc::new(Pass::new(writer, shared.kind, about, fence, converged));
    let (outcome, action) = match &object.0 {
        Err(invalid) => unreadable(&pass, object, invalid).await,
        Ok(readable) => {
            let work = (shared.reconcile)(Arc::new(readable.clone()), Arc::clone(&pass));
            let result = tokio::select! {
                biased;
                () = session.fence.lost() => Err(Deposed { term: session.fence.term() }.into()),
                result = work => result,
            };
            match result {
                Ok(done) => {
                    let mark = done.is_converged.then(|| pass.mark());
                    shared.known.lock().succeeded(key, mark);
                    well(done)
                }
                Err(error) => failed(shared, &pass, object, &error).await,
            }
        }
    };
    session.ground.metrics.reconciled(shared.kind, outcome, running.elapsed());
    action
}

fn well(done: Done) -> (Outcome, Action) {
    let outcome = if done.is_converged { Outcome::Converged } else { Outcome::Progressed };
    (outcome, done.again.map_or_else(Action::await_change, Action::requeue))
}

async fn failed<K>(
    shared: &Shared<K>,
    pass: &Pass,
    object: &DeserializeGuard<K>,
    error: &Error,
) -> (Outcome, Action)
where
    K: Resource<DynamicType = ()>,
{
    let (Some(class), Some(reason)) = (error.class(), error.reason()) else {
        return (Outcome::Deposed, Action::await_change());
    };
    let chance = fastrand::f64();
    let (failures, pause) = shared.known.lock().failed(key(object), chance);
    let action = match class.again() {
        Again::After(time) => Action::requeue(time),
        Again::BackOff => Action::requeue(pause),
    };
    log(&named(object), class, error, failures);
    if class.is_told(failures) {
        let note = error.to_string();
        pass.tell(Tale { reason, note }).await;
    }
    (Outcome::Failed(class), action)
}

/// Told once, in the log alone, with all that lies below.
fn log(object: &str, class: Class, error: &Error, failures: u32) {
    let (cause, class_name) = (error.source().map(chain), class.label());
    match class {
        Class::Bug => error!(object, %error, cause, "the operator does not know what to do"),
        Class::Transient => warn!(object, %error, cause, failures, "a reconcile failed"),
        Class::InvalidSpec => info!(object, %error, "the object cannot be as it says"),
        Class::Waiting | Class::Conflict => {
            debug!(object, %error, class = class_name, "a reconcile did not come to its end");
        }
    }
}

async fn unreadable<K>(
    pass: &Pass,
    object: &DeserializeGuard<K>,
    invalid: &InvalidObject,
) -> (Outcome, Action)
where
    K: Resource<DynamicType = ()>,
{
    warn!(object = named(object), error = invalid.error, "an object cannot be read");
    let note = format!("the operator cannot read this object: {}", invalid.error);
    pass.tell(Tale { reason: Reason::Unreadable, note }).await;
    (Outcome::Unreadable, Action::await_change())
}
