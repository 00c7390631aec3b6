//! Connections to brokers: pipes in this process, one server for each.

use std::io;
use std::sync::Arc;

use broker_admin::v1::admin_server::AdminServer;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use operator::admin::pool::Dial;
use tokio::io::DuplexStream;
use tonic::codegen::Service as _;
use tonic::transport::Endpoint;

use super::Model;
use super::port::Port;
use crate::support::fake::connection::Connection;

/// Bytes that a pipe holds: more than a message of any test.
const PIPE: usize = 1 << 20;

/// Opens channels to the brokers of `models`, by `host:port`, in the name of the client that has `line`. A channel connects
/// with its first call, and again after its broker has restarted.
pub(crate) fn dial(models: &[Model], line: &Connection) -> Dial {
    let (models, line) = (models.to_vec(), line.clone());
    Arc::new(move |address: &str| {
        let (models, line, address) = (models.clone(), line.clone(), address.to_owned());
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let stream = models.iter().find_map(|model| model.open(&line, &address));
            let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, address.clone());
            std::future::ready(stream.map(TokioIo::new).ok_or_else(refused))
        })))
    })
}

impl Model {
    /// Opens a connection to the broker at `address`; `None` where nobody listens.
    fn open(&self, line: &Connection, address: &str) -> Option<DuplexStream> {
        let (broker, id, end) = self.with(|state| {
            let (host, _) = address.rsplit_once(':')?;
            let (now, wait) = (state.now, state.pace.port);
            let is_meant =
                |pod: &str| host == format!("{pod}.{}-brokers.{}.svc", state.name, state.namespace);
            let mut processes = state.processes.values();
            let found = processes.find(|one| is_meant(&one.pod) && now >= one.started + wait)?;
            Some((found.broker, found.id, found.end.clone()))
        })?;
        let (near, far) = tokio::io::duplex(PIPE);
        let service = AdminServer::new(Port::new(self.clone(), line.clone(), broker, id));
        let calls = service_fn(move |request: Request<Incoming>| service.clone().call(request));
        let served =
            http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(far), calls);
        self.shared.connections.lock().unwrap().spawn(async move {
            tokio::select! {
                _ = served => {}
                () = end.cancelled() => {}
            }
        });
        Some(near)
    }
}
