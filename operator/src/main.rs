//! The operator process: reads the command line, works until it is told to stop.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Parser;
use operator::admin::pool::{Pool, network};
use operator::clock::Clock;
use operator::cluster::validate::Images;
use operator::error::chain;
use operator::process::{self, Plug};
use operator::settings::Settings;
use operator::{cluster, logging, topic};
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    let settings = Settings::parse();
    match run(&settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-operator: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn run(settings: &Settings) -> Result<()> {
    logging::start(&settings.log, settings.log_format).context("--log is no filter")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let worked = runtime.block_on(async {
        let (mut term, mut int) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let told = async || {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        Box::pin(process::run(settings, controllers(settings), told)).await
    });
    // A request that nobody waits for any more is not waited for either.
    runtime.shutdown_background();
    worked
}

/// What runs while this operator leads.
fn controllers(settings: &Settings) -> Vec<Plug> {
    let pool = Pool::new(network(), Clock::system());
    let images = Images { broker: settings.image(), zookeeper: settings.zookeeper_image() };
    vec![cluster::controller(Arc::clone(&pool), images), topic::controller(pool)]
}
