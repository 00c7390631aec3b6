//! The broker process: reads the command line, runs a broker until it is told to stop.

use std::io;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use broker_config::broker::BrokerConfig;
use broker_server::broker::Broker;
use broker_server::cli::{self, Arguments, Command};
use broker_server::{logging, move_coordination, open_files, planted};
use clap::Parser;
use tokio::signal::unix::{Signal, SignalKind, signal};

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ottla-broker: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    logging::start(&arguments.log, arguments.log_format).context("--log is no filter")?;
    // The control side: everything that is not the path of a record.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // Before anything is waited for, so that a stop that comes early is not lost.
    let mut told = runtime.block_on(async { Told::new() })?;
    let awaited = runtime.block_on(async {
        tokio::select! {
            awaited = cli::wait(&arguments.await_config) => awaited.map(Some),
            () = told.wait() => Ok(None),
        }
    })?;
    let Some(awaited) = awaited else { return Ok(()) };
    let config = cli::configuration(arguments, &awaited)?;
    if arguments.describe_config {
        cli::describe(&config, &mut io::BufWriter::new(io::stdout().lock()))?;
        return Ok(());
    }
    end_on_panic();
    planted::plant()?;
    if let Err(error) = open_files::raise() {
        tracing::warn!(%error, "the limit on open files stays as it is");
    }
    match &arguments.command {
        Some(Command::MoveCoordination { to }) => {
            let moved = move_coordination::run(&config, to);
            runtime.block_on(async {
                tokio::select! {
                    moved = moved => moved,
                    () = told.wait() => bail!("told to stop; the same command goes on with it"),
                }
            })
        }
        None => {
            let served = runtime.block_on(serve(config, told));
            // What still waits for a name to be looked up, or reads a log that nobody needs, is not waited for.
            runtime.shutdown_background();
            served
        }
    }
}

/// Has a broken assertion end the process, whatever the build: nothing goes on with what cannot be.
fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        std::process::abort();
    }));
}

/// The signals by which a process is told to stop.
struct Told {
    term: Signal,
    int: Signal,
}

impl Told {
    fn new() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next one. Cancel-safe.
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

async fn serve(config: BrokerConfig, mut told: Told) -> Result<()> {
    let Some(broker) = Broker::start_unless(config, told.wait()).await? else { return Ok(()) };
    let failed = tokio::select! {
        () = told.wait() => false,
        () = broker.failed() => true,
    };
    let haste = broker.haste();
    let again = async {
        told.wait().await;
        tracing::warn!("told to stop again: nothing more is waited for but the disk");
        haste.cancel();
    };
    let stopped = broker.stop();
    tokio::pin!(stopped);
    tokio::select! {
        () = &mut stopped => {}
        () = again => stopped.await,
    }
    if failed {
        bail!("the broker must not go on; its log says why");
    }
    Ok(())
}
