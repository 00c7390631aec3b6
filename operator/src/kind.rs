//! The kinds of objects that have a controller of their own.

/// A kind of custom resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A cluster of brokers.
    Cluster,
    /// A topic of a cluster.
    Topic,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 2] = [Self::Cluster, Self::Topic];

    /// The kind as objects and labels of metrics have it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "Cluster",
            Self::Topic => "Topic",
        }
    }

    /// The field manager of the controller's writes.
    pub const fn manager(self) -> &'static str {
        match self {
            Self::Cluster => "ottla-operator/cluster",
            Self::Topic => "ottla-operator/topic",
        }
    }
}
