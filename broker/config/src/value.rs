//! Text to typed values, and the enums that settings take.

use std::collections::HashSet;

/// A type that a setting's text can be read as.
pub trait Value: Sized + Default {
    /// Reads the text; `None` stands for an absent value (Kafka's null).
    fn parse(text: Option<&str>) -> Option<Self>;
}

macro_rules! number {
    ($($ty:ty),*) => { $(impl Value for $ty {
        fn parse(text: Option<&str>) -> Option<Self> {
            text?.trim().parse().ok()
        }
    })* };
}
number!(i16, i32, i64, f64);

impl Value for bool {
    fn parse(text: Option<&str>) -> Option<Self> {
        let text = text?.trim();
        if text.eq_ignore_ascii_case("true") {
            Some(true)
        } else if text.eq_ignore_ascii_case("false") {
            Some(false)
        } else {
            None
        }
    }
}

impl Value for String {
    fn parse(text: Option<&str>) -> Option<Self> {
        text.map(|text| text.trim().to_owned())
    }
}

impl Value for Vec<String> {
    fn parse(text: Option<&str>) -> Option<Self> {
        Some(items(text?).map(str::to_owned).collect())
    }
}

/// Which replicas of a topic are throttled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ThrottledReplicas {
    is_all: bool,
    /// Pairs of partition and broker.
    pairs: HashSet<(i32, i32)>,
}

impl ThrottledReplicas {
    /// Tells whether `broker`'s replica of `partition` is throttled.
    pub fn contains(&self, partition: i32, broker: i32) -> bool {
        self.is_all || (!self.pairs.is_empty() && self.pairs.contains(&(partition, broker)))
    }
}

impl Value for ThrottledReplicas {
    fn parse(text: Option<&str>) -> Option<Self> {
        let text = text?.trim();
        if text == "*" {
            return Some(Self { is_all: true, pairs: HashSet::new() });
        }
        let pair = |item: &str| {
            let (partition, broker) = item.split_once(':')?;
            Some((partition.trim().parse().ok()?, broker.trim().parse().ok()?))
        };
        let pairs = items(text).map(pair).collect::<Option<_>>()?;
        Some(Self { is_all: false, pairs })
    }
}

impl<T: Value> Value for Option<T> {
    fn parse(text: Option<&str>) -> Option<Self> {
        match text.map(str::trim) {
            None | Some("") => Some(None),
            Some(text) => T::parse(Some(text)).map(Some),
        }
    }
}

/// Yields the items of a comma-separated list, trimmed; an empty text has none.
pub fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// What happens to old segments: `cleanup.policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CleanupPolicy {
    /// Segments past their retention are deleted.
    pub delete: bool,
    /// Records superseded by a later one of the same key are removed.
    pub compact: bool,
}

impl Default for CleanupPolicy {
    fn default() -> Self {
        Self { delete: true, compact: false }
    }
}

impl Value for CleanupPolicy {
    fn parse(text: Option<&str>) -> Option<Self> {
        let mut policy = Self { delete: false, compact: false };
        for item in items(text?) {
            match item {
                "delete" => policy.delete = true,
                "compact" => policy.compact = true,
                _ => return None,
            }
        }
        Some(policy)
    }
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $text:literal, )* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
        pub enum $name { $( $(#[$vmeta])* $variant, )* }

        impl $name {
            /// Returns the value as configuration files spell it.
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => $text, )* }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl Value for $name {
            fn parse(text: Option<&str>) -> Option<Self> {
                match text?.trim() { $( $text => Some(Self::$variant), )* _ => None }
            }
        }
    };
}

choice! {
    /// How batches are compressed on disk: `compression.type`.
    CompressionType {
        /// As the producer sent them.
        #[default]
        Producer = "producer",
        /// Not at all.
        Uncompressed = "uncompressed",
        /// By gzip.
        Gzip = "gzip",
        /// By Snappy.
        Snappy = "snappy",
        /// By LZ4.
        Lz4 = "lz4",
        /// By Zstandard.
        Zstd = "zstd",
    }
}

choice! {
    /// Whose clock stamps a record: `message.timestamp.type`.
    TimestampType {
        /// The producer's.
        #[default]
        CreateTime = "CreateTime",
        /// The leader's, at append.
        LogAppendTime = "LogAppendTime",
    }
}

choice! {
    /// What `acks=all` means: `ottla.durability`.
    Durability {
        /// On stable storage on `min.insync.replicas` replicas.
        #[default]
        Synced = "synced",
        /// With the kernel of every in-sync replica, as Kafka has it.
        Replicated = "replicated",
    }
}

choice! {
    /// Which partitions get series of their own on `/metrics`: `metrics.partitions`.
    MetricsPartitions {
        /// Every partition.
        #[default]
        All = "all",
        /// Sums by topic.
        Topic = "topic",
        /// None.
        Off = "off",
    }
}

choice! {
    /// What a listener speaks: `listener.security.protocol.map`.
    SecurityProtocol {
        /// No encryption, no authentication.
        #[default]
        Plaintext = "PLAINTEXT",
        /// TLS.
        Ssl = "SSL",
        /// SASL without encryption.
        SaslPlaintext = "SASL_PLAINTEXT",
        /// SASL over TLS.
        SaslSsl = "SASL_SSL",
    }
}

choice! {
    /// Which replica a consumer is sent to: `replica.selector.class`.
    ReplicaSelector {
        /// The leader.
        #[default]
        Leader = "org.apache.kafka.common.replica.LeaderSelector",
        /// One in the consumer's rack, if there is one in sync (KIP-392).
        RackAware = "org.apache.kafka.common.replica.RackAwareReplicaSelector",
    }
}
