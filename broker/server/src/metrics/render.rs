//! A page from a snapshot: pure, and complete, so that a golden file can hold every name.
//!
//! The text is made by the `prometheus` crate: each scrape has a registry with one collector, whose
//! families are those of the catalogue.

mod broker;
mod cluster;
mod own;
mod requests;
mod series;

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Encoder, Registry, TextEncoder};

use super::catalogue::{FAMILIES, Page};
use super::snapshot::Snapshot;
use series::Series;

/// Whose facts a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// `/metrics`: what this broker owns.
    Broker,
    /// `/metrics/cluster`: what kafka_exporter would say of the whole cluster.
    Cluster,
}

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be written as text")]
pub struct RenderError(#[from] prometheus::Error);

/// Writes the page of `scope`.
///
/// # Errors
/// When a family is not what its description says.
pub fn render(snapshot: Snapshot, scope: Scope) -> Result<Vec<u8>, RenderError> {
    let registry = Registry::new();
    registry.register(Box::new(AtScrape { snapshot: Arc::new(snapshot), scope }))?;
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(text)
}

/// Gives the families of one snapshot to a registry.
struct AtScrape {
    snapshot: Arc<Snapshot>,
    scope: Scope,
}

impl Collector for AtScrape {
    fn desc(&self) -> Vec<&Desc> {
        // A description per family would let the registry refuse doubles; the catalogue's test does.
        Vec::new()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        families(&self.snapshot, self.scope)
    }
}

/// Makes every family of a page.
fn families(snapshot: &Snapshot, scope: Scope) -> Vec<MetricFamily> {
    let families = FAMILIES.iter().filter(|f| scope == Scope::Broker || f.page == Page::Both);
    let mut series = Series::new(families);
    cluster::render(snapshot, scope, &mut series);
    if scope == Scope::Broker {
        broker::render(snapshot, &mut series);
        requests::render(snapshot, &mut series);
        own::render(snapshot, &mut series);
    }
    series.into_families()
}

#[cfg(test)]
mod tests;
