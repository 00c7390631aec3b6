//! What brokers are asked over their admin port, and what their answers mean to a decision.
//!
//! Each call has a limit: a broker that hangs is one that does not answer. A broker that lacks a call is older than this
//! operator; what is done then stands in the contract (`broker/admin`), and is done here.

use std::collections::BTreeMap;
use std::time::Duration;

use broker_admin::v1::admin_client::AdminClient;
use broker_admin::v1::{
    Accept, AcquireRestartPermitRequest, AcquireRestartPermitResponse, BlockedPartition,
    Change as ChangeCode, CheckTopicRequest, DescribeSettingsRequest, DescribeSettingsResponse,
    DrainLeadershipRequest, Fence, GetIdentityRequest, Identity, MeasureMovesRequest, Refusal,
    ReleaseRestartPermitRequest, SetCordonRequest,
};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::{Accepts, Change, Schema, Verdict};

/// How long a connection may take, and then an answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why a broker has not answered.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// Its address is none.
    #[error("{address} is no address of an admin port")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It cannot be reached.
    #[error("the broker at {address} cannot be reached")]
    Unreachable {
        /// Where.
        address: String,
        /// Why.
        source: tonic::transport::Error,
    },
    /// It is older than this operator, and lacks the call.
    #[error("the broker at {address} is too old: it lacks {call}")]
    Lacks {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
    },
    /// Another operator has taken over.
    #[error("another operator has taken over: {words}")]
    Fenced {
        /// What the broker says.
        words: String,
    },
    /// It refuses, or cannot just now.
    #[error("{call} at {address}: {words}")]
    Refused {
        /// Where.
        address: String,
        /// What.
        call: &'static str,
        /// What the broker says.
        words: String,
    },
}

/// A broker that is asked. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Broker {
    address: String,
    client: AdminClient<Channel>,
}

impl Broker {
    /// Connects to an admin port: `host:port`.
    ///
    /// # Errors
    /// `Address` and `Unreachable`.
    pub async fn connect(address: &str) -> Result<Self, BrokerError> {
        let address = address.to_owned();
        let endpoint = match Endpoint::from_shared(format!("http://{address}")) {
            Ok(endpoint) => endpoint.connect_timeout(CONNECT_LIMIT).timeout(CALL_LIMIT),
            Err(source) => return Err(BrokerError::Address { address, source }),
        };
        match endpoint.connect().await {
            Ok(channel) => Ok(Self { address, client: AdminClient::new(channel) }),
            Err(source) => Err(BrokerError::Unreachable { address, source }),
        }
    }

    /// Asks who it is.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn identity(&mut self) -> Result<Identity, BrokerError> {
        let answer = self.client.get_identity(GetIdentityRequest {}).await;
        self.answered("GetIdentity", answer)
    }

    /// Asks for its settings; one that lacks the call has every change need a restart, which is what an empty schema of
    /// a setting that nobody knows says.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn schema(&mut self) -> Result<Schema, BrokerError> {
        let answer = self.client.describe_settings(DescribeSettingsRequest {}).await;
        match self.answered("DescribeSettings", answer) {
            Err(BrokerError::Lacks { .. }) => Ok(Schema::new()),
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
        let answer = self.client.acquire_restart_permit(request).await;
        match self.answered("AcquireRestartPermit", answer) {
            Err(error @ BrokerError::Lacks { .. }) => Ok(Verdict::Refused {
                message: error.to_string(),
                partitions: Vec::new(),
                is_for_ever: false,
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
        let answer = self.client.release_restart_permit(request).await;
        match self.answered("ReleaseRestartPermit", answer) {
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
        let answer = self.client.drain_leadership(request).await;
        match self.answered("DrainLeadership", answer) {
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
        let answer = self.client.set_cordon(request).await;
        self.answered("SetCordon", answer).map(|answer| answer.cordoned_brokers)
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
        let answer = self.client.measure_moves(request).await;
        match self.answered("MeasureMoves", answer) {
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
        let answer = self.client.check_topic(topic).await;
        match self.answered("CheckTopic", answer) {
            Err(BrokerError::Lacks { .. }) => Ok(Vec::new()),
            answer => answer.map(|answer| {
                let problems = answer.problems.into_iter();
                problems.map(|problem| (problem.field, problem.message)).collect()
            }),
        }
    }

    fn answered<T>(
        &self,
        call: &'static str,
        answer: Result<tonic::Response<T>, Status>,
    ) -> Result<T, BrokerError> {
        let status = match answer {
            Ok(answer) => return Ok(answer.into_inner()),
            Err(status) => status,
        };
        Err(refused(&self.address, call, &status))
    }
}

fn refused(address: &str, call: &'static str, status: &Status) -> BrokerError {
    let (address, words) = (address.to_owned(), status.message().to_owned());
    if status.code() == Code::Unimplemented {
        BrokerError::Lacks { address, call }
    } else if status.code() == Code::PermissionDenied {
        BrokerError::Fenced { words }
    } else {
        BrokerError::Refused { address, call, words }
    }
}

fn schema(settings: &DescribeSettingsResponse) -> Schema {
    let change = |code: ChangeCode| match code {
        ChangeCode::DynamicPerBroker => Change::PerBroker,
        ChangeCode::DynamicCluster => Change::Cluster,
        // What this operator does not know takes what nothing can go wrong with.
        ChangeCode::Unspecified | ChangeCode::Restart | ChangeCode::DynamicTopic => Change::Restart,
    };
    let settings = settings.broker.iter();
    settings
        .map(|setting| (setting.name.clone(), change(setting.change())))
        .collect::<BTreeMap<_, _>>()
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
    let named = answer.blocked.iter().chain(&answer.unavoidable);
    Verdict::Refused {
        partitions: named.map(partition).collect(),
        message: answer.message,
        is_for_ever,
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
    format!("{topic}-{partition} (in sync {} of {}{least})", list(in_sync), list(replicas))
}

#[cfg(test)]
mod tests {
    use broker_admin::v1::Setting;

    use super::*;

    fn blocked(partition: i32) -> BlockedPartition {
        BlockedPartition {
            topic: "t".to_owned(),
            partition,
            replicas: vec![1, 2],
            in_sync: vec![1],
            min_in_sync: 2,
        }
    }

    /// A refusal names partitions; it is for ever only where nothing else stands in the way.
    #[test]
    fn an_answer_is_a_verdict() {
        let granted = AcquireRestartPermitResponse { granted: true, ..Default::default() };
        assert_eq!(verdict(granted), Verdict::Granted { still_led: None });
        let refused = |refusal: Refusal, falls: u32, anyway: u32| AcquireRestartPermitResponse {
            refusal: refusal.into(),
            message: "why".to_owned(),
            blocked: (0..falls as i32).map(blocked).collect(),
            unavoidable: (0..anyway as i32).map(blocked).collect(),
            blocked_total: falls,
            unavoidable_total: anyway,
            ..Default::default()
        };
        let cases = [
            (refused(Refusal::MinIsr, 0, 2), true),
            (refused(Refusal::MinIsr, 1, 2), false),
            (refused(Refusal::Held, 0, 0), false),
            (refused(Refusal::NewController, 0, 0), false),
        ];
        for (answer, expected) in cases {
            let named = answer.blocked.len() + answer.unavoidable.len();
            let Verdict::Refused { message, partitions, is_for_ever } = verdict(answer) else {
                panic!("it was refused")
            };
            assert_eq!((&*message, partitions.len(), is_for_ever), ("why", named, expected));
            let all = partitions
                .iter()
                .all(|one| one.ends_with("(in sync 1 of 1,2, min.insync.replicas 2)"));
            assert!(all, "{partitions:?}");
        }
    }

    #[test]
    fn settings_say_what_a_change_takes() {
        let setting = |name: &str, change: ChangeCode| Setting {
            name: name.to_owned(),
            change: change.into(),
            ..Default::default()
        };
        let settings = DescribeSettingsResponse {
            broker: vec![
                setting("a", ChangeCode::Restart),
                setting("b", ChangeCode::DynamicCluster),
                setting("c", ChangeCode::DynamicPerBroker),
                setting("d", ChangeCode::Unspecified),
            ],
            topic: Vec::new(),
        };
        let expected = [Change::Restart, Change::Cluster, Change::PerBroker, Change::Restart];
        assert_eq!(schema(&settings).into_values().collect::<Vec<_>>(), expected);
    }

    /// An older broker, and one that has heard of another operator, are told apart from what may pass.
    #[test]
    fn a_refused_call_says_what_is_to_be_done() {
        let error = |code| refused("b:9095", "SetCordon", &Status::new(code, "words"));
        assert!(matches!(error(Code::Unimplemented), BrokerError::Lacks { call: "SetCordon", .. }));
        assert!(matches!(error(Code::PermissionDenied), BrokerError::Fenced { .. }));
        assert_eq!(error(Code::Unavailable).to_string(), "SetCordon at b:9095: words");
    }

    #[tokio::test]
    async fn a_broker_that_is_not_there_is_named() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let error = Broker::connect(&address).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the broker at {address} cannot be reached"));
        let error = Broker::connect("no address").await.unwrap_err();
        assert!(matches!(error, BrokerError::Address { .. }), "{error}");
    }
}
