//! What brokers are asked over their admin port, and what their answers mean to a decision.
//!
//! Each call has a limit: a broker that hangs is one that does not answer. A broker that lacks a call is older than this
//! operator; what is done then stands in the contract (`broker/admin`), and is done here.

use std::time::Duration;

use broker_admin::v1::admin_client::AdminClient;
use broker_admin::v1::{
    Accept, AcquireRestartPermitRequest, AcquireRestartPermitResponse, BlockedPartition,
    Change as ChangeCode, CheckTopicRequest, DescribeSettingsRequest, DescribeSettingsResponse,
    DrainLeadershipRequest, Fence, GetIdentityRequest, Health, Identity, MeasureMovesRequest,
    Refusal, ReleaseRestartPermitRequest, SetCordonRequest, WatchHealthRequest,
};
use tonic::transport::Channel;
use tonic::{Response, Status, Streaming};

use super::schema::{Change, Schema, Setting};
use super::{Accepts, Verdict};

mod changes;
mod error;

pub use changes::TopicWatch;
pub use error::BrokerError;
use error::refused;

/// How long an answer may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Bytes of a message that is taken: a topic of 100,000 partitions, and a cluster with as many brokers, stay below.
const MESSAGE_MAX: usize = 64 << 20;

/// The most bytes of a holder's name that brokers take.
const HOLDER_MAX: usize = 253;

/// What goes with every call that changes something: who leads.
pub fn fence(leads: &crate::lease::Fence) -> Fence {
    let holder = leads.holder();
    let holder = holder[..holder.floor_char_boundary(HOLDER_MAX)].to_owned();
    Fence { term: leads.term(), holder }
}

/// A broker that is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    address: String,
    client: AdminClient<Channel>,
}

impl Broker {
    /// Takes a channel that is there, or that connects with the first call; errors name the address.
    pub fn new(channel: Channel, address: impl Into<String>) -> Self {
        let client = AdminClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        Self { address: address.into(), client }
    }

    /// Where it is asked: `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Asks who it is.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn identity(&mut self) -> Result<Identity, BrokerError> {
        let answer = self.client.get_identity(GetIdentityRequest {});
        answered(&self.address, "GetIdentity", answer).await
    }

    /// Asks how it is now, and to tell of changes; `None` where it lacks the call: then its pod's readiness is all that is
    /// known.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn health(&mut self) -> Result<Option<(Health, Streaming<Health>)>, BrokerError> {
        const CALL: &str = "WatchHealth";
        let answer = self.client.watch_health(WatchHealthRequest {});
        let mut told = match answered(&self.address, CALL, answer).await {
            Err(BrokerError::Lacks { .. }) => return Ok(None),
            answer => answer?,
        };
        let first = tokio::time::timeout(CALL_LIMIT, told.message()).await;
        let first = first.unwrap_or_else(|_| Err(Status::deadline_exceeded("it says nothing")));
        let first = first.map_err(|status| refused(&self.address, CALL, &status))?;
        Ok(first.map(|health| (health, told)))
    }

    /// Asks for its settings; one that lacks the call has every change need a restart.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn schema(&mut self) -> Result<Schema, BrokerError> {
        let answer = self.client.describe_settings(DescribeSettingsRequest {});
        match answered(&self.address, "DescribeSettings", answer).await {
            Err(BrokerError::Lacks { .. }) => Ok(Schema::Untold),
            answer => answer.map(|settings| schema(&settings)),
        }
    }

    /// Asks the controller for leave to restart a broker. Where it lacks the call nothing is restarted, and that is said.
    ///
    /// # Errors
    /// Where it does not answer, or is no controller.
    pub async fn acquire(
        &mut self,
        fence: Fence,
        broker_id: i32,
        broker_epoch: Option<i64>,
        roll_id: &str,
        accepts: Accepts,
    ) -> Result<Verdict, BrokerError> {
        let request = AcquireRestartPermitRequest {
            fence: Some(fence),
            broker_id,
            broker_epoch: broker_epoch.unwrap_or(-1),
            roll_id: roll_id.to_owned(),
            accept: accept(accepts).into(),
        };
        let answer = self.client.acquire_restart_permit(request);
        match answered(&self.address, "AcquireRestartPermit", answer).await {
            Err(error @ BrokerError::Lacks { .. }) => Ok(Verdict::Refused {
                message: error.to_string(),
                partitions: Vec::new(),
                is_for_ever: false,
                label: "unsupported",
                holder: None,
            }),
            answer => answer.map(verdict),
        }
    }

    /// Gives leave back.
    ///
    /// # Errors
    /// Where it does not answer, or is no controller.
    pub async fn release(&mut self, fence: Fence, broker_id: i32) -> Result<(), BrokerError> {
        let request = ReleaseRestartPermitRequest { fence: Some(fence), broker_id };
        let answer = self.client.release_restart_permit(request);
        match answered(&self.address, "ReleaseRestartPermit", answer).await {
            // Then nothing was given.
            Ok(_) | Err(BrokerError::Lacks { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Has a broker that has leave hand over; returns how many partitions it still leads that others hold, too.
    ///
    /// # Errors
    /// Where it does not answer, is no controller, or the broker has no leave.
    pub async fn drain(&mut self, fence: Fence, broker_id: i32) -> Result<u32, BrokerError> {
        let request = DrainLeadershipRequest { fence: Some(fence), broker_id };
        let answer = self.client.drain_leadership(request);
        match answered(&self.address, "DrainLeadership", answer).await {
            // It hands over when it stops.
            Err(BrokerError::Lacks { .. }) => Ok(0),
            answer => answer.map(|answer| answer.left),
        }
    }

    /// Has a broker get no new replicas, or get them again.
    ///
    /// # Errors
    /// Where it does not answer, or lacks the call: then nobody scales down.
    pub async fn cordon(
        &mut self,
        fence: Fence,
        broker_id: i32,
        cordoned: bool,
    ) -> Result<Vec<i32>, BrokerError> {
        let request = SetCordonRequest { fence: Some(fence), broker_id, cordoned };
        let answer = self.client.set_cordon(request);
        answered(&self.address, "SetCordon", answer).await.map(|answer| answer.cordoned_brokers)
    }

    /// Asks how many bytes are still to be copied of what it leads: of what leaves a broker, or of a topic.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn bytes_left(
        &mut self,
        from_broker_id: Option<i32>,
        topic: &str,
    ) -> Result<Option<u64>, BrokerError> {
        let request = MeasureMovesRequest { from_broker_id, topic: topic.to_owned() };
        let answer = self.client.measure_moves(request);
        match answered(&self.address, "MeasureMoves", answer).await {
            Err(BrokerError::Lacks { .. }) => Ok(None),
            answer => answer.map(|answer| Some(answer.bytes_left)),
        }
    }

    /// Asks what is wrong with a topic: the part of it, and what is wrong. One that lacks the call finds nothing.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn problems(
        &mut self,
        topic: CheckTopicRequest,
    ) -> Result<Vec<(String, String)>, BrokerError> {
        let answer = self.client.check_topic(topic);
        match answered(&self.address, "CheckTopic", answer).await {
            Err(BrokerError::Lacks { .. }) => Ok(Vec::new()),
            answer => answer.map(|answer| {
                let problems = answer.problems.into_iter();
                problems.map(|problem| (problem.field, problem.message)).collect()
            }),
        }
    }
}

/// Waits for an answer for so long.
async fn answered<T>(
    address: &str,
    call: &'static str,
    answer: impl Future<Output = Result<Response<T>, Status>>,
) -> Result<T, BrokerError> {
    let answer = tokio::time::timeout(CALL_LIMIT, answer).await;
    let answer = answer.unwrap_or_else(|_| Err(Status::deadline_exceeded("it does not answer")));
    answer.map(Response::into_inner).map_err(|status| refused(address, call, &status))
}

/// The type of a setting whose value is told to nobody.
const PASSWORD: &str = "PASSWORD";

fn schema(settings: &DescribeSettingsResponse) -> Schema {
    let change = |code: ChangeCode| match code {
        ChangeCode::DynamicPerBroker => Change::PerBroker,
        ChangeCode::DynamicCluster => Change::Cluster,
        // What this operator does not know takes what nothing can go wrong with.
        ChangeCode::Unspecified | ChangeCode::Restart | ChangeCode::DynamicTopic => Change::Restart,
    };
    let settings = settings.broker.iter();
    let settings = settings.map(|setting| {
        let is_password = setting.r#type == PASSWORD;
        (setting.name.clone(), Setting { change: change(setting.change()), is_password })
    });
    settings.collect()
}

fn accept(accepts: Accepts) -> Accept {
    match accepts {
        Accepts::Nothing => Accept::Unspecified,
        Accepts::Unavoidable => Accept::Unavoidable,
        Accepts::Everything => Accept::Everything,
    }
}

fn verdict(answer: AcquireRestartPermitResponse) -> Verdict {
    if answer.granted {
        return Verdict::Granted { still_led: None };
    }
    let is_for_ever = answer.refusal() == Refusal::MinIsr
        && answer.blocked_total == 0
        && answer.unavoidable_total > 0;
    let label = match answer.refusal() {
        Refusal::MinIsr if is_for_ever => "unavoidable",
        Refusal::MinIsr => "min_isr",
        Refusal::Held => "held",
        Refusal::Stale => "stale",
        Refusal::NewController => "new_controller",
        Refusal::Unspecified => "unknown",
    };
    let named = answer.blocked.iter().chain(&answer.unavoidable);
    Verdict::Refused {
        partitions: named.map(partition).collect(),
        message: answer.message,
        is_for_ever,
        label,
        holder: Some(answer.holder_broker_id).filter(|holder| *holder >= 0),
    }
}

/// A partition in words: what it is, and who is in sync.
fn partition(blocked: &BlockedPartition) -> String {
    let BlockedPartition { topic, partition, in_sync, replicas, min_in_sync } = blocked;
    let list = |ids: &[i32]| ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let least = match min_in_sync {
        0 => String::new(),
        least => format!(", min.insync.replicas {least}"),
    };
    format!("{topic}-{partition} (on brokers {}, in sync {}{least})", list(replicas), list(in_sync))
}

#[cfg(test)]
mod tests;
