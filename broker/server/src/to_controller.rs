//! The way to whichever broker is the controller: asked in memory if it is this one, over the wire if
//! it is another.
//!
//! A [`ToController`] is one connection with one request in flight, and has one user: the keeper of
//! ISRs and the shutdown each have their own, so that neither waits for the other. No answer is an answer too: the user decides when to ask again.
//!
//! Source: Kafka 3.9 `NodeToControllerChannelManager`.

use std::sync::Arc;
use std::time::Duration;

use broker_protocol::api_key::ApiKey;
use broker_protocol::message::alter_partition::{AlterPartitionRequest, AlterPartitionResponse};
use broker_protocol::message::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use broker_protocol::message::controlled_shutdown::{
    ControlledShutdownRequest, ControlledShutdownResponse,
};
use broker_protocol::primitive::IntoOwned;
use broker_protocol::quantity::BrokerId;
use tracing::debug;

use crate::controller::handle::ControllerHandle;
use crate::controller::wire;
use crate::metadata::Cache;
use crate::peer::{Options, Peer, PeerError};
use crate::version::Versions;

/// The version of ApiVersions that every broker since 0.10 answers.
const API_VERSIONS: i16 = 0;

/// The version of AlterPartition that this broker asks itself in: with all there is.
const ALTER_PARTITION: i16 = 3;

/// The largest answer, in bytes.
const ANSWER_SIZE_MAX: usize = 16 * 1024 * 1024;

/// What all ways of a broker have in common.
#[derive(Debug, Clone)]
pub(crate) struct Parts {
    /// This broker.
    pub(crate) broker_id: BrokerId,
    /// Who is the controller, and where.
    pub(crate) metadata: Arc<Cache>,
    /// The controller, if it is here.
    pub(crate) controller: Arc<ControllerHandle>,
    /// The listener through which brokers reach each other.
    pub(crate) listener: Arc<str>,
    /// The versions that are sent.
    pub(crate) versions: Versions,
    /// How long an answer may take: `controller.socket.timeout.ms` for ISRs, `request.timeout.ms` for the
    /// shutdown.
    ///
    /// Source: Kafka 3.9 `KafkaServer.controlledShutdown`, and `NodeToControllerChannelManagerImpl` for the
    /// ISRs, which takes the lesser of both only where requests are not repeated for ever.
    pub(crate) answer_timeout: Duration,
    /// `socket.connection.setup.timeout.ms`.
    pub(crate) connect_timeout: Duration,
}

/// One way to the controller.
#[derive(Debug)]
pub(crate) struct ToController {
    parts: Parts,
    connection: Option<Connection>,
}

#[derive(Debug)]
struct Connection {
    controller: BrokerId,
    peer: Peer,
    /// The newest AlterPartition that it answers.
    alter_partition: i16,
}

impl ToController {
    /// Makes a way; it connects when it is used.
    pub(crate) fn new(parts: Parts) -> Self {
        Self { parts, connection: None }
    }

    /// Asks for other ISRs.
    pub(crate) async fn alter_partition(
        &mut self,
        request: &AlterPartitionRequest<'_>,
    ) -> Option<AlterPartitionResponse<'static>> {
        if self.parts.controller.is_active() {
            let controller = &self.parts.controller;
            return Some(wire::alter_partition(controller, request, ALTER_PARTITION).await);
        }
        let have_ids = request.topics.iter().all(|topic| !topic.topic_id.is_zero());
        let open = self.connect().await?;
        let version = Versions::of_alter_partition(open.alter_partition, have_ids);
        let answered = open.peer.call(request, version).await;
        let answered = answered.map(|answer: AlterPartitionResponse<'_>| answer.into_owned());
        self.keep(answered)
    }

    /// Asks to be relieved of leadership.
    pub(crate) async fn controlled_shutdown(
        &mut self,
        request: &ControlledShutdownRequest,
    ) -> Option<ControlledShutdownResponse<'static>> {
        if self.parts.controller.is_active() {
            return Some(wire::controlled_shutdown(&self.parts.controller, request).await);
        }
        let version = self.parts.versions.controlled_shutdown;
        let answered = self.connect().await?.peer.call(request, version).await;
        let answered = answered.map(|answer: ControlledShutdownResponse<'_>| answer.into_owned());
        self.keep(answered)
    }

    /// Returns the connection to the controller of the moment.
    async fn connect(&mut self) -> Option<&mut Connection> {
        let metadata = self.parts.metadata.load();
        let controller = metadata.controller?;
        if self.connection.as_ref().is_none_or(|open| open.controller != controller) {
            self.connection = None;
            let endpoint = metadata.endpoint(controller, &self.parts.listener)?;
            match self.open(controller, &endpoint.host, endpoint.port).await {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => {
                    debug!(controller = controller.0, %error, "the controller is not reached");
                    return None;
                }
            }
        }
        self.connection.as_mut()
    }

    async fn open(
        &self,
        controller: BrokerId,
        host: &str,
        port: u16,
    ) -> Result<Connection, PeerError> {
        let options = Options {
            client_id: self.parts.broker_id.0.to_string().into(),
            connect_timeout: self.parts.connect_timeout,
            call_timeout: self.parts.answer_timeout,
            answer_size_max: ANSWER_SIZE_MAX,
        };
        let mut peer = Peer::connect(host, port, options).await?;
        let request = ApiVersionsRequest::default();
        let response: ApiVersionsResponse<'_> = peer.call(&request, API_VERSIONS).await?;
        let keys = response.api_keys.iter();
        let alter_partition = keys
            .filter(|key| key.api_key == ApiKey::AlterPartition.code())
            .map(|key| key.max_version)
            .max();
        Ok(Connection { controller, peer, alter_partition: alter_partition.unwrap_or(0) })
    }

    /// Gives up a connection that failed.
    fn keep<T>(&mut self, answered: Result<T, PeerError>) -> Option<T> {
        answered
            .inspect_err(|error| {
                debug!(%error, "the controller did not answer");
                self.connection = None;
            })
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use broker_config::release::Release;
    use tokio::net::TcpListener;

    use super::*;
    use crate::metadata::{Broker, Endpoint, Metadata};

    /// Method: the controller takes the connection and says nothing; only one of the limits is short.
    #[tokio::test]
    async fn a_silent_controller_is_given_up_after_the_time_for_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = Endpoint {
            listener: "PLAINTEXT".into(),
            host: "127.0.0.1".into(),
            port: listener.local_addr().unwrap().port(),
        };
        let mut metadata = Metadata { controller: Some(BrokerId(2)), ..Metadata::default() };
        metadata.brokers.insert(BrokerId(2), Broker { rack: None, endpoints: vec![endpoint] });
        let cache = Arc::<Cache>::default();
        cache.publish(metadata);
        let mut way = ToController::new(Parts {
            broker_id: BrokerId(1),
            metadata: cache,
            controller: Arc::default(),
            listener: "PLAINTEXT".into(),
            versions: Versions::of(Release::NEWEST),
            connect_timeout: Duration::from_hours(1),
            answer_timeout: Duration::from_millis(1),
        });
        let request = ControlledShutdownRequest { broker_id: 1, broker_epoch: 7 };
        let answer = way.controlled_shutdown(&request);
        let answer = tokio::time::timeout(Duration::from_mins(1), answer).await;
        assert_eq!(answer.expect("an end in time"), None);
    }
}
