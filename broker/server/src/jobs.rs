//! What is done from time to time: retention, compaction, syncs that time makes due, checkpoints.
//!
//! Each job has a task that waits, and does its work on a thread that may wait for the disk. The
//! settings are read anew each time, so that a change of one that may change takes effect without a
//! restart. After the start, what can wait does so for `log.initial.task.delay.ms`: clients go first.

use std::sync::Arc;
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use tracing::error;

use crate::context::Context;
use crate::replica::manager::Manager;
use crate::replica::throttle::{Quota, Throttle};

/// The shortest wait between two runs of a job, whatever the settings say.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often files that were deleted with a delay are looked at.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// Starts every job.
pub(crate) fn start(context: &Arc<Context>) {
    for job in JOBS {
        context.tasks.spawn(job.name, job.repeat(Arc::clone(context)));
    }
    context.tasks.spawn("alter-log-dirs", move_logs(Arc::clone(context)));
    if context.config.load().log_cleaner_enable {
        let (cleaner, shutdown) = (Arc::clone(&context.cleaner), context.tasks.shutdown_token());
        context.tasks.spawn("cleaner", cleaner.run(shutdown));
    }
}

/// Copies the logs that move to other directories, a step of each in turn, and no faster than it may.
async fn move_logs(context: Arc<Context>) {
    let (replicas, shutdown) = (Arc::clone(&context.replicas), context.tasks.shutdown_token());
    let throttle = Throttle::default();
    let work = async {
        loop {
            let moving = replicas.moving();
            if moving.is_empty() {
                replicas.moves_begun().await;
            }
            for partition in moving {
                let quota = Quota::of_moves(&context.config.load());
                while let Some(until) = throttle.over_until(quota, context.clock.now()) {
                    tokio::time::sleep_until(until.into()).await;
                }
                let replicas = Arc::clone(&replicas);
                let step = tokio::task::spawn_blocking(move || replicas.move_on(&partition));
                match step.await {
                    Ok(bytes) => throttle.record(bytes, quota, context.clock.now()),
                    Err(error) => error!(%error, "a step of a move was cut short"),
                }
            }
        }
    };
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        () = work => {}
    }
}

/// Something that is done again and again.
#[derive(Debug)]
struct Job {
    name: &'static str,
    /// Whether the first run is after `log.initial.task.delay.ms`; otherwise after one interval.
    is_delayed: bool,
    interval: fn(&BrokerConfig) -> Duration,
    work: fn(&Manager, &BrokerConfig),
}

const JOBS: &[Job] = &[
    Job {
        name: "retention",
        is_delayed: true,
        interval: |c| millis(c.log_retention_check_interval_ms),
        work: |replicas, _| replicas.keep(),
    },
    Job {
        name: "flush",
        is_delayed: true,
        interval: |c| millis(c.log_flush_scheduler_interval_ms),
        work: |replicas, _| replicas.flush_due(),
    },
    Job {
        name: "purge",
        is_delayed: true,
        interval: |_| PURGE_INTERVAL,
        work: |replicas, _| replicas.purge(),
    },
    Job {
        name: "recovery-point-checkpoint",
        is_delayed: true,
        interval: |c| millis(c.log_flush_offset_checkpoint_interval_ms.into()),
        work: |replicas, _| replicas.checkpoint_recovery_points(),
    },
    Job {
        name: "start-offset-checkpoint",
        is_delayed: true,
        interval: |c| millis(c.log_flush_start_offset_checkpoint_interval_ms.into()),
        work: |replicas, _| replicas.checkpoint_start_offsets(),
    },
    Job {
        name: "high-watermark-checkpoint",
        is_delayed: false,
        interval: |c| millis(c.replica_high_watermark_checkpoint_interval_ms),
        work: |replicas, _| replicas.checkpoint_high_watermarks(),
    },
    Job {
        name: "producer-expiration",
        is_delayed: false,
        interval: |c| millis(c.producer_id_expiration_check_interval_ms.into()),
        work: |replicas, c| replicas.forget_producers(c.producer_id_expiration_ms.into()),
    },
];

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

impl Job {
    async fn repeat(&self, context: Arc<Context>) {
        let shutdown = context.tasks.shutdown_token();
        let mut is_first = self.is_delayed;
        loop {
            let config = context.config.load_full();
            let wait = if std::mem::take(&mut is_first) {
                millis(config.log_initial_task_delay_ms)
            } else {
                (self.interval)(&config)
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(wait.max(SHORTEST)) => {}
            }
            let (context, work) = (Arc::clone(&context), self.work);
            let run = move || work(&context.replicas, &context.config.load());
            if let Err(error) = tokio::task::spawn_blocking(run).await {
                error!(job = self.name, %error, "job failed");
            }
        }
    }
}
