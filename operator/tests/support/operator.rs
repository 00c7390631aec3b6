//! The operator's controllers in this process, between a fake API server and a model of brokers.
//!
//! Who leads is said by the test, so that no Lease is renewed: each operator has the term that it is given.

use std::sync::Arc;
use std::time::Duration;

use operator::admin::pool::Pool;
use operator::apply::Writer;
use operator::clock::Clock;
use operator::event::Recorder;
use operator::health::Health;
use operator::lease::Leadership;
use operator::metrics::Metrics;
use operator::progress::Progress;
use operator::session::{self, Ground, Plug};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::brokers::{Model, dial};
use super::fake::connection::Connection;

/// Longer than any scenario.
const FOR_EVER: Duration = Duration::from_hours(1_000);

/// Runs the controllers that `plugs` makes over `connection`, as the leader of `term`; counts in `metrics`. Ends when it is
/// dropped.
pub(crate) async fn operate(
    connection: &Connection,
    models: &[Model],
    term: u64,
    metrics: &Arc<Metrics>,
    plugs: fn(Arc<Pool>) -> Vec<Plug>,
) {
    // Waits are drawn by lot: the same ones in every run.
    fastrand::seed(term);
    let (name, fake) = connection.ends();
    let clock = Clock::starting_at(fake.clock().now().parse().unwrap());
    let client = connection.client();
    let progress = Arc::new(Progress::new(clock));
    let leadership = Leadership::new(term, name.to_owned(), clock.now() + FOR_EVER);
    let leads = watch::Sender::new(Some(leadership));
    let events = Recorder::new(client.clone(), name, clock);
    let ground = Ground {
        writer: Writer::new(client.clone(), Arc::clone(metrics), events),
        client,
        home: Some("operators".to_owned()),
        namespaces: vec![None],
        workers: 4,
        leadership: leads.subscribe(),
        clock,
        progress: Arc::clone(&progress),
        health: Arc::new(Health::new(clock, progress)),
        metrics: Arc::clone(metrics),
    };
    let pool = Pool::new(dial(models, connection), clock);
    session::run(&ground, &plugs(pool), &CancellationToken::new()).await;
}
