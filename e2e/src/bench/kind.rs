//! Which broker is measured: ours, or Apache Kafka.

use anyhow::Result;

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Ours.
    Ottla,
    /// Apache Kafka of the reference release.
    Kafka,
}

impl Kind {
    /// Reads the name that the command line gives.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "ottla" => Ok(Self::Ottla),
            "kafka" => Ok(Self::Kafka),
            other => anyhow::bail!("a side is ottla or kafka, not {other}"),
        }
    }

    /// Topic settings by which an answer waits for the page cache only.
    pub fn relaxed(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Ottla { &[("ottla.durability", "replicated")] } else { &[] }
    }

    /// Topic settings by which an answer waits for the disk.
    pub fn synced(self) -> &'static [(&'static str, &'static str)] {
        if self == Self::Ottla {
            &[("ottla.durability", "synced")]
        } else {
            &[("flush.messages", "1")]
        }
    }
}
