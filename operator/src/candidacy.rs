//! The election: runs a [`Candidate`] against the API server and publishes what it leads.
//!
//! One task owns the candidate; everybody else sees a `watch`. A renewal moves the end of the leadership without
//! waking who watches: only a change of the term does. What a lost or late answer means is decided in
//! `lease::decide`.

use std::sync::Arc;
use std::time::Instant;

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::{Clock, sleep_until};
use crate::error::chain;
use crate::health::Health;
use crate::lease::Leadership;
use crate::lease::decide::{Answer, Candidate, Step, Timing, Write};
use crate::lease::record::{identity, lease, observed};
use crate::metrics::Metrics;

const NO_ANSWER: &str = "no answer in time";

/// The election of this operator.
#[derive(Debug)]
pub struct Election {
    api: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    candidate: Candidate,
    /// The object as it was last read or written, for what others put into it.
    present: Option<Lease>,
    leadership: watch::Sender<Option<Leadership>>,
    clock: Clock,
    health: Arc<Health>,
    metrics: Arc<Metrics>,
    /// Whether the last request failed, so that a long outage is told once.
    failing: bool,
}

impl Election {
    /// An election by the Lease `name` of `api`, in which this operator is called `identity`.
    pub fn new(
        api: Api<Lease>,
        (name, identity): (&str, &str),
        clock: Clock,
        health: Arc<Health>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let timing = Timing::default();
        Self {
            api,
            name: name.to_owned(),
            identity: identity.to_owned(),
            timing,
            candidate: Candidate::new(identity.to_owned(), timing),
            present: None,
            leadership: watch::Sender::new(None),
            clock,
            health,
            metrics,
            failing: false,
        }
    }

    /// Returns where leadership is told.
    pub fn subscribe(&self) -> watch::Receiver<Option<Leadership>> {
        self.leadership.subscribe()
    }

    /// Takes part until `stop`, then gives the Lease back. Whoever acts by it must have ended before `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        info!(lease = self.name, identity = self.identity, "standing for election");
        while !stop.is_cancelled() {
            self.health.beat(self.clock.now());
            let next = self.candidate.step(self.clock.now(), self.wall());
            self.publish();
            match next {
                Step::Wait(until) => tokio::select! {
                    () = sleep_until(self.unlike_others(until)) => {}
                    () = stop.cancelled() => {}
                },
                Step::Read => self.read().await,
                Step::Write(write) => self.write(write).await,
            }
            self.publish();
        }
        self.resign().await;
    }

    /// Those who wait for the same end do not all come at once.
    fn unlike_others(&self, until: Instant) -> Instant {
        if self.candidate.leading(self.clock.now()).is_some() {
            return until;
        }
        until + self.timing.retry.mul_f64(0.2 * fastrand::f64())
    }

    fn wall(&self) -> i64 {
        self.clock.wall().as_microsecond()
    }

    async fn read(&mut self) {
        let asked = self.api.get_opt(&self.name);
        match tokio::time::timeout(self.timing.request, asked).await {
            Ok(Ok(found)) => {
                self.works();
                self.candidate.read(found.as_ref().map(observed), self.clock.now());
                self.present = found;
            }
            Ok(Err(error)) => {
                self.fails("read", &chain(&error));
                self.candidate.unread(self.clock.now());
            }
            Err(_) => {
                self.fails("read", NO_ANSWER);
                self.candidate.unread(self.clock.now());
            }
        }
    }

    async fn write(&mut self, write: Write) {
        let sent = self.clock.now();
        let answer = self.send(&write).await;
        self.candidate.answered(write, sent, answer, self.clock.now());
    }

    async fn send(&mut self, write: &Write) -> Answer {
        let over = write.over.as_deref();
        let object = lease(self.present.as_ref(), &self.name, &write.record, over);
        let parameters = PostParams::default();
        let sent = async {
            match over {
                Some(_) => self.api.replace(&self.name, &parameters, &object).await,
                None => self.api.create(&parameters, &object).await,
            }
        };
        match tokio::time::timeout(self.timing.request, sent).await {
            Ok(Ok(written)) => {
                self.works();
                let made = identity(&written);
                self.present = Some(written);
                Answer::Written(made)
            }
            Ok(Err(kube::Error::Api(status))) if matches!(status.code, 404 | 409) => {
                Answer::Refused
            }
            Ok(Err(error)) => {
                self.fails("write", &chain(&error));
                Answer::Unknown
            }
            Err(_) => {
                self.fails("write", NO_ANSWER);
                Answer::Unknown
            }
        }
    }

    /// Tells everybody first that nobody leads here, then the other candidates that they need not wait.
    async fn resign(mut self) {
        let write = self.candidate.resign(self.clock.now(), self.wall());
        self.publish();
        let Some(write) = write else { return };
        match self.send(&write).await {
            Answer::Written(_) => info!(lease = self.name, "leadership given back"),
            Answer::Refused | Answer::Unknown => {
                warn!(lease = self.name, "the lease could not be given back: others wait for it");
            }
        }
    }

    fn publish(&self) {
        let now = self.clock.now();
        let leading = self.candidate.leading(now);
        let leading =
            leading.map(|(term, until)| Leadership::new(term, self.identity.clone(), until));
        let term = leading.as_ref().map(|leading| leading.term);
        self.leadership.send_if_modified(|present| {
            let before = present.as_ref().map(|present| present.term);
            // A renewal that came too late: the controllers have ended, and begin anew.
            let is_again = present.as_ref().is_some_and(|present| present.is_over(now));
            *present = leading;
            if before == term && !(is_again && term.is_some()) {
                return false;
            }
            match (before, term) {
                (_, Some(term)) => info!(term, "this operator leads"),
                (before, None) => info!(term = before, "this operator does not lead any more"),
            }
            self.metrics.leads(term);
            true
        });
    }

    fn works(&mut self) {
        if std::mem::take(&mut self.failing) {
            info!(lease = self.name, "the lease can be reached again");
        }
    }

    fn fails(&mut self, doing: &str, why: &str) {
        if !std::mem::replace(&mut self.failing, true) {
            let lease = &self.name;
            warn!(lease, doing, why, "the lease cannot be reached; it is tried again");
        }
    }
}

#[cfg(test)]
mod tests;
