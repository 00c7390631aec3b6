//! What is done from time to time: retention, compaction, syncs that time makes due, checkpoints.
//!
//! Each job has a task that waits, and does its work on a thread that may wait for the disk. The
//! interval is read anew each time, so that a change of it takes effect without a restart.

use std::sync::Arc;
use std::time::Duration;

use broker_config::broker::BrokerConfig;
use tracing::error;

use crate::context::Context;
use crate::replica::manager::Manager;

/// The shortest wait between two runs of a job, whatever the settings say.
const SHORTEST: Duration = Duration::from_millis(10);

/// How often files that were deleted with a delay are looked at.
const PURGE_INTERVAL: Duration = Duration::from_secs(1);

/// Starts every job.
pub(crate) fn start(context: &Arc<Context>) {
    let job = |name, interval: fn(&BrokerConfig) -> Duration, work: fn(&Manager)| {
        context.tasks.spawn(name, repeat(Arc::clone(context), name, interval, work));
    };
    job("retention", |c| millis(c.log_retention_check_interval_ms), Manager::keep);
    job("flush", |c| millis(c.log_flush_scheduler_interval_ms), Manager::flush_due);
    job("purge", |_| PURGE_INTERVAL, Manager::purge);
    job(
        "checkpoint",
        |c| millis(i64::from(c.log_flush_offset_checkpoint_interval_ms)),
        Manager::checkpoint,
    );
    job(
        "high-watermark-checkpoint",
        |c| millis(c.replica_high_watermark_checkpoint_interval_ms),
        Manager::checkpoint_high_watermarks,
    );
}

fn millis(ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

async fn repeat(
    context: Arc<Context>,
    name: &'static str,
    interval: fn(&BrokerConfig) -> Duration,
    work: fn(&Manager),
) {
    let shutdown = context.tasks.shutdown_token();
    loop {
        let wait = interval(&context.config.load()).max(SHORTEST);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
        }
        let replicas = Arc::clone(&context.replicas);
        if let Err(error) = tokio::task::spawn_blocking(move || work(&replicas)).await {
            error!(job = name, %error, "job failed");
        }
    }
}
