//! Every reason that conditions and events give: one word each, never another for the same thing.
//!
//! The README's table has the same words; a test compares.

/// How an event is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// Something happened.
    Normal,
    /// Somebody should look.
    Warning,
}

impl Weight {
    /// The event's `type`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Makes the type of rows: the word, whether conditions give it, and how an event of it is shown, if there are any.
macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident: $is_of_conditions:expr, $event:expr;)*) => {
        /// A reason.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The word.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }

            /// How an event of it is shown; `None` where there are no such events.
            pub const fn event(self) -> Option<Weight> {
                match self {
                    $(Self::$name => $event,)*
                }
            }

            /// Whether conditions give it.
            pub const fn is_of_conditions(self) -> bool {
                match self {
                    $(Self::$name => $is_of_conditions,)*
                }
            }
        }
    };
}

reasons! {
    /// Something did not work that is tried again.
    Retrying: true, Some(Weight::Warning);
    /// Somebody else is to do something first.
    Waiting: true, None;
    /// What the object says cannot be.
    InvalidSpec: true, Some(Weight::Warning);
    /// Somebody else changed the same thing.
    Conflict: true, None;
    /// The operator itself is wrong.
    InternalError: true, Some(Weight::Warning);
    /// The object cannot be read.
    Unreadable: false, Some(Weight::Warning);
    /// All is as the object says.
    Ready: true, None;
    /// Nothing is being changed.
    Idle: true, None;
    /// Nothing is wrong.
    AsExpected: true, None;
    /// Nothing is paused.
    Running: true, None;
    /// The cluster is paused.
    Paused: true, None;
    /// The object asks for a plan alone.
    DryRun: true, None;
    /// The plan is to be approved.
    AwaitingApproval: true, None;
    /// The object is looked at for the first time.
    Beginning: true, None;
    /// The topic is being made.
    Creating: true, None;
    /// The topic is being taken over.
    Adopting: true, None;
    /// The topic is being changed.
    Changing: true, None;
    /// Replicas move.
    Moving: true, None;
    /// Nobody leads some partitions.
    NoLeader: true, None;
    /// The object is being deleted.
    Deleting: true, None;
    /// A topic of the name is being deleted.
    BeingDeleted: true, None;
    /// Another hand has deleted the topic.
    TopicGone: true, None;
    /// The topic has no id yet.
    NoTopicId: true, None;
    /// There is no such cluster.
    ClusterNotFound: true, None;
    /// Nobody answers.
    ClusterUnreachable: true, None;
    /// The object may not be deleted.
    Protected: true, None;
    /// An older object has the topic.
    TopicTaken: true, Some(Weight::Warning);
    /// The topic is not this object's.
    TopicExists: true, Some(Weight::Warning);
    /// There are fewer brokers than replicas.
    TooFewBrokers: true, None;
    /// The topic has more partitions than the object says.
    MorePartitions: true, Some(Weight::Warning);
    /// A topic was made.
    TopicCreated: false, Some(Weight::Normal);
    /// A topic was taken over.
    TopicAdopted: false, Some(Weight::Normal);
    /// A topic has grown.
    PartitionsAdded: false, Some(Weight::Normal);
    /// A reassignment has begun.
    ReplicasMoving: false, Some(Weight::Normal);
    /// A reassignment is over.
    ReplicasMoved: false, Some(Weight::Normal);
    /// Settings of a topic were changed.
    Configured: false, Some(Weight::Normal);
    /// What another hand had changed was put back.
    DriftReverted: false, Some(Weight::Warning);
    /// A topic was marked for deletion.
    TopicDeleted: false, Some(Weight::Normal);
    /// A topic stays without its object.
    TopicRetained: false, Some(Weight::Normal);
    /// A topic is deleted later.
    DeletionDeferred: false, Some(Weight::Normal);
    /// Brokers start for the first time, or come.
    Starting: true, None;
    /// Brokers are restarted.
    Restarting: true, None;
    /// A pod is not there.
    PodMissing: true, None;
    /// A broker does not start.
    PodFailing: true, Some(Weight::Warning);
    /// A broker may not be restarted yet.
    RestartRefused: true, Some(Weight::Warning);
    /// Brokers do not serve, and nobody has restarted them.
    BrokersAway: true, Some(Weight::Warning);
    /// Brokers begin to be restarted.
    RollStarted: false, Some(Weight::Normal);
    /// One broker is restarted.
    BrokerRestarted: false, Some(Weight::Normal);
    /// All brokers are what they should be.
    RollFinished: false, Some(Weight::Normal);
    /// What another hand had deleted was made again.
    Restored: false, Some(Weight::Warning);
    /// Brokers are to run another image.
    ImageChosen: false, Some(Weight::Normal);
    /// Brokers are to speak something else among themselves.
    ProtocolChosen: false, Some(Weight::Normal);
    /// Volumes go with their cluster.
    VolumesDeleted: false, Some(Weight::Normal);
    /// A broker is being emptied.
    BrokerLeaving: true, Some(Weight::Normal);
    /// A broker cannot be taken away.
    BrokerStays: true, Some(Weight::Warning);
    /// A broker was taken away.
    BrokerGone: false, Some(Weight::Normal);
    /// Replicas are to be spread anew.
    Rebalancing: true, Some(Weight::Normal);
    /// Replicas were spread anew.
    Rebalanced: false, Some(Weight::Normal);
    /// A volume grows.
    VolumeGrowing: true, Some(Weight::Normal);
    /// A volume cannot grow.
    VolumeNotGrowing: true, Some(Weight::Warning);
    /// A volume is lost, or will be.
    VolumeLost: true, Some(Weight::Warning);
    /// A node does not say which rack it is in.
    RackUnknown: false, Some(Weight::Warning);
}

impl Reason {
    /// Returns the reason with this word.
    pub fn of(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.text() == text)
    }
}
