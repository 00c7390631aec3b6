//! What is there, and what is changed, in a cluster: topics, their replicas and settings, brokers.
//!
//! Whatever changes something may be asked for again when its answer was lost: brokers know it then.

use broker_admin::v1::{
    ClearThrottlesRequest, ConfigureBrokersRequest, ConfigureTopicRequest, CreateTopicRequest,
    DeleteTopicRequest, DescribeClusterRequest, DescribeClusterResponse, DescribeTopicsRequest,
    Fence, ForgetBrokerRequest, GrowTopicRequest, Move, ReassignPartitionsRequest,
    TopicDescription, TopicsChanged, WatchTopicsRequest,
};
use tonic::{Status, Streaming};

use super::error::refused;
use super::{Broker, BrokerError, CALL_LIMIT, answered};

/// Moves that are asked for in one message, which a broker bounds.
const MOVES_MAX: usize = 5_000;

/// Which topics change, as a broker tells it.
#[derive(Debug)]
pub struct TopicWatch {
    address: String,
    told: Streaming<TopicsChanged>,
}

impl TopicWatch {
    /// Waits for the next change; `None` when the broker stops. Cancel-safe.
    ///
    /// # Errors
    /// `Unavailable` where the connection is lost.
    pub async fn next(&mut self) -> Result<Option<TopicsChanged>, BrokerError> {
        let told = self.told.message().await;
        told.map_err(|status| refused(&self.address, "WatchTopics", &status))
    }
}

impl Broker {
    /// Asks which brokers there are, and what they hold.
    ///
    /// # Errors
    /// Where it does not answer, or lacks the call: then no topic and no number of brokers is changed.
    pub async fn cluster(&mut self) -> Result<DescribeClusterResponse, BrokerError> {
        let answer = self.client.describe_cluster(DescribeClusterRequest {});
        answered(&self.address, "DescribeCluster", answer).await
    }

    /// Asks for the topics with these names, or for all; what is not there is left out.
    ///
    /// # Errors
    /// Where it does not answer, or lacks the call: then no topic is changed.
    pub async fn topics(&mut self, names: &[&str]) -> Result<Vec<TopicDescription>, BrokerError> {
        const CALL: &str = "DescribeTopics";
        let names = names.iter().map(ToString::to_string).collect();
        let answer = self.client.describe_topics(DescribeTopicsRequest { names });
        let mut told = answered(&self.address, CALL, answer).await?;
        let mut topics = Vec::new();
        loop {
            let next = tokio::time::timeout(CALL_LIMIT, told.message()).await;
            let next = next.unwrap_or_else(|_| Err(Status::deadline_exceeded("it says no more")));
            match next.map_err(|status| refused(&self.address, CALL, &status))? {
                Some(topic) => topics.push(topic),
                None => return Ok(topics),
            }
        }
    }

    /// Begins to be told which topics change; `None` where it lacks the call: then it is looked again after a while.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn watch_topics(&mut self) -> Result<Option<TopicWatch>, BrokerError> {
        let answer = self.client.watch_topics(WatchTopicsRequest {});
        match answered(&self.address, "WatchTopics", answer).await {
            Err(BrokerError::Lacks { .. }) => Ok(None),
            answer => answer.map(|told| Some(TopicWatch { address: self.address.clone(), told })),
        }
    }

    /// Has a topic made; one that is there with the same id is the answer, too.
    ///
    /// # Errors
    /// `Exists`, `Invalid`, `Precondition`, `Lacks`: no topic is made; or where it does not answer.
    pub async fn create_topic(&mut self, topic: CreateTopicRequest) -> Result<(), BrokerError> {
        let answer = self.client.create_topic(topic);
        answered(&self.address, "CreateTopic", answer).await.map(drop)
    }

    /// Has partitions added.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Precondition`, `Lacks`: no partition is added; or where it does not answer.
    pub async fn grow_topic(&mut self, growth: GrowTopicRequest) -> Result<(), BrokerError> {
        let answer = self.client.grow_topic(growth);
        answered(&self.address, "GrowTopic", answer).await.map(drop)
    }

    /// Has the controller give partitions other replicas, at so many bytes a second; 0 bounds nothing. What comes after
    /// an error is not asked for.
    ///
    /// # Errors
    /// `NotController`, `NotFound`, `Precondition`, `Lacks`; or where it does not answer.
    pub async fn reassign(
        &mut self,
        fence: &Fence,
        moves: &[Move],
        throttle_bytes_per_second: u64,
    ) -> Result<(), BrokerError> {
        for moves in moves.chunks(MOVES_MAX) {
            let (fence, moves) = (Some(fence.clone()), moves.to_vec());
            let request = ReassignPartitionsRequest { fence, moves, throttle_bytes_per_second };
            let answer = self.client.reassign_partitions(request);
            answered(&self.address, "ReassignPartitions", answer).await?;
        }
        Ok(())
    }

    /// Has throttles of moves taken away that are over; returns how many are left. One that lacks the call has set none.
    ///
    /// # Errors
    /// Where it does not answer.
    pub async fn clear_throttles(&mut self, fence: Fence) -> Result<u32, BrokerError> {
        let answer = self.client.clear_throttles(ClearThrottlesRequest { fence: Some(fence) });
        match answered(&self.address, "ClearThrottles", answer).await {
            Err(BrokerError::Lacks { .. }) => Ok(0),
            answer => answer.map(|answer| answer.left),
        }
    }

    /// Has settings of a topic changed.
    ///
    /// # Errors
    /// `NotFound`, `Invalid`, `Lacks`: nothing is changed; or where it does not answer.
    pub async fn configure_topic(
        &mut self,
        settings: ConfigureTopicRequest,
    ) -> Result<(), BrokerError> {
        let answer = self.client.configure_topic(settings);
        answered(&self.address, "ConfigureTopic", answer).await.map(drop)
    }

    /// Has a topic marked for deletion; one that is gone is no error.
    ///
    /// # Errors
    /// `Precondition` where topics may not be deleted, `Lacks`; or where it does not answer.
    pub async fn delete_topic(
        &mut self,
        fence: Fence,
        name: &str,
        topic_id: &str,
    ) -> Result<(), BrokerError> {
        let (name, topic_id) = (name.to_owned(), topic_id.to_owned());
        let answer =
            self.client.delete_topic(DeleteTopicRequest { fence: Some(fence), name, topic_id });
        answered(&self.address, "DeleteTopic", answer).await.map(drop)
    }

    /// Has settings of one broker, or of all, changed without a restart.
    ///
    /// # Errors
    /// `Invalid` for what needs a restart, `Lacks` where everything does; or where it does not answer.
    pub async fn configure_brokers(
        &mut self,
        settings: ConfigureBrokersRequest,
    ) -> Result<(), BrokerError> {
        let answer = self.client.configure_brokers(settings);
        answered(&self.address, "ConfigureBrokers", answer).await.map(drop)
    }

    /// Has a broker forgotten that has gone for ever.
    ///
    /// # Errors
    /// `Precondition` while it is there or holds replicas, `Lacks`: then nobody scales down; or where it does not answer.
    pub async fn forget_broker(&mut self, fence: Fence, broker_id: i32) -> Result<(), BrokerError> {
        let answer =
            self.client.forget_broker(ForgetBrokerRequest { fence: Some(fence), broker_id });
        answered(&self.address, "ForgetBroker", answer).await.map(drop)
    }
}
