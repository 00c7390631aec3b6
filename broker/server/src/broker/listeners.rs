//! The listeners: bound before anything can fail for long, told to the cluster, then served.

use std::collections::BTreeMap;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use broker_config::broker::BrokerConfig;
use broker_config::listener::Listener;
use broker_zookeeper::node::broker as registration;
use tracing::info;

use super::{DRAIN, release};
use crate::context::Context;
use crate::net::connection;
use crate::net::limits::Limits;
use crate::net::listener;
use crate::net::worker::Workers;
use crate::version::Versions;

/// A bound listener with what clients are told of it.
pub(super) struct Bound {
    listener: listener::Listener,
    name: String,
    address: SocketAddr,
    advertised: Listener,
}

pub(super) fn bind(config: &BrokerConfig) -> Result<Vec<Bound>> {
    let options = listener::Options {
        backlog: config.socket_listen_backlog_size,
        receive_buffer: usize::try_from(config.socket_receive_buffer_bytes).ok(),
        send_buffer: usize::try_from(config.socket_send_buffer_bytes).ok(),
    };
    let mut bound = Vec::with_capacity(config.listeners.len());
    for asked in &config.listeners {
        let host = if asked.host.is_empty() { "::" } else { asked.host.as_str() };
        let address = (host, asked.port)
            .to_socket_addrs()
            .with_context(|| format!("listeners: {asked} is no address"))?
            .next()
            .with_context(|| format!("listeners: {asked} is no address"))?;
        let listener = listener::bind(&asked.name, address, &options).with_context(|| {
            format!("listeners: cannot listen on {asked}; is another broker running there?")
        })?;
        let address = listener.address()?;
        let told = config.advertised_listeners.iter().find(|told| told.name == asked.name);
        let told =
            told.with_context(|| format!("advertised.listeners: {} is missing", asked.name))?;
        let mut advertised = told.clone();
        if advertised.port == 0 {
            advertised.port = address.port();
        }
        if advertised.host.is_empty() {
            advertised.host = host_name();
        }
        bound.push(Bound { listener, name: asked.name.clone(), address, advertised });
    }
    Ok(bound)
}

/// What a client is told where no host is configured: this machine's name, as Kafka does.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Says where this broker is reached; its time and features are set when it registers.
pub(super) fn register(config: &BrokerConfig, listeners: &[Bound]) -> registration::Broker {
    let endpoint = |bound: &Bound| {
        let protocol = config.security_protocol(&bound.advertised);
        registration::Endpoint {
            listener: bound.name.clone(),
            security_protocol: protocol.map_or(&*bound.name, |protocol| protocol.as_str()).into(),
            host: bound.advertised.host.clone(),
            port: bound.advertised.port,
        }
    };
    registration::Broker {
        version: release::registration_version(&Versions::of_broker(config)),
        endpoints: listeners.iter().map(endpoint).collect(),
        rack: config.broker_rack.clone(),
        features: BTreeMap::default(),
        timestamp_ms: 0,
    }
}

/// Begins to accept on every listener.
pub(super) fn serve(
    context: &Arc<Context>,
    workers: &Arc<Workers>,
    listeners: Vec<Bound>,
) -> Vec<(String, SocketAddr)> {
    let config = context.config.load();
    let limits = Limits::new(Arc::clone(&context.config));
    let millis = |ms: i64| Duration::from_millis(ms.max(0) as u64);
    let settings = connection::Settings {
        frame_max: config.socket_request_max_bytes.max(0) as usize,
        idle: millis(config.connections_max_idle_ms),
        first_request: millis(config.connections_first_request_timeout_ms),
        drain: DRAIN,
    };
    let mut addresses = Vec::with_capacity(listeners.len());
    for Bound { listener, name, address, .. } in listeners {
        context.metrics.connections.announce(&name, workers.runtimes().len());
        info!(%address, listener = %name, "listening");
        let accept = listener.accept(
            Arc::clone(context),
            workers.places(),
            Arc::clone(&limits),
            settings.clone(),
            context.tasks.shutdown_token(),
        );
        context.tasks.spawn("listener", accept);
        addresses.push((name, address));
    }
    addresses
}
