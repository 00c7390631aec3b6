//! How many connections may live, and how fast new ones may come.
//!
//! The bounds are read from the configuration each time, so that a change of one takes effect at the
//! next connection; those that are open stay.
//!
//! Counts are exact: a permit is taken before the connection's task exists and returned when it is
//! dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::dynamic_config::SharedConfig;
use crate::open_files;

/// Connections may come this much ahead of `max.connection.creation.rate`: the rate is kept over a
/// second, as a client opens a handful at once.
const BURST: Duration = Duration::from_secs(1);

/// The bounds that all listeners share.
#[derive(Debug)]
pub(crate) struct Limits {
    config: SharedConfig,
    counts: Mutex<Counts>,
    /// The first descriptor that no connection may have.
    descriptors_kept_from: Option<i32>,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
    /// When all connections so far are within the rate.
    paced_until: Option<Instant>,
}

/// Why a connection was closed right after it was accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error(
        "{max} files and connections are open, the rest of what the system allows is kept for logs: \
         raise the limit on open files (ulimit -n) or lower max.connections"
    )]
    Descriptors { max: i32 },
    #[error("max.connections ({max}) are open")]
    Connections { max: usize },
    #[error("max.connections.per.ip, or its override, ({max}) are open from {ip}")]
    ConnectionsPerIp { ip: IpAddr, max: usize },
}

/// The right of one connection to live.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<Limits>,
    ip: IpAddr,
}

impl Limits {
    /// Counts from nothing.
    pub(crate) fn new(config: SharedConfig) -> Arc<Self> {
        let descriptors_kept_from = open_files::kept_from();
        Arc::new(Self { config, counts: Mutex::default(), descriptors_kept_from })
    }

    /// Whether a connection may have `descriptor`, or leaves too few to logs.
    pub(crate) fn spare(&self, descriptor: RawFd) -> Result<(), LimitError> {
        match self.descriptors_kept_from {
            Some(max) if descriptor >= max => Err(LimitError::Descriptors { max }),
            _ => Ok(()),
        }
    }

    /// Admits one connection from `ip`.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, LimitError> {
        let config = self.config.load();
        let max_connections = config.max_connections.max(0) as usize;
        // A client of a listener on `::` that came over IPv4 is counted under its IPv4 address.
        let ip = ip.to_canonical();
        let max_per_ip = config.max_connections_of(ip).max(0) as usize;
        let mut counts = self.counts.lock();
        if counts.total >= max_connections {
            return Err(LimitError::Connections { max: max_connections });
        }
        let from_ip = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if from_ip >= max_per_ip {
            return Err(LimitError::ConnectionsPerIp { ip, max: max_per_ip });
        }
        counts.by_ip.insert(ip, from_ip + 1);
        counts.total += 1;
        Ok(ConnectionPermit { limits: Arc::clone(self), ip })
    }

    /// Counts a connection that came at `now`; returns how long to wait before the next is accepted,
    /// so that no more than `max.connection.creation.rate` come in a second. Over all listeners.
    pub(crate) fn pace(&self, now: Instant) -> Duration {
        let rate = self.config.load().max_connection_creation_rate;
        if rate == i32::MAX {
            return Duration::ZERO;
        }
        // A rate of none at all is one in a long while: the next change of it must be seen.
        let each = BURST / u32::try_from(rate).unwrap_or(0).max(1);
        let mut counts = self.counts.lock();
        let until = counts.paced_until.map_or(now, |until| until.max(now)) + each;
        counts.paced_until = Some(until);
        (until - now).saturating_sub(BURST)
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let mut counts = self.limits.counts.lock();
        counts.total -= 1;
        if let Some(from_ip) = counts.by_ip.get_mut(&self.ip) {
            *from_ip -= 1;
            if *from_ip == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use arc_swap::ArcSwap;
    use broker_config::broker::BrokerConfig;
    use broker_config::raw::Properties;

    use super::*;
    use crate::clock::{Clock, SystemClock};

    const A: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

    fn config(settings: &[&str]) -> BrokerConfig {
        let mut properties = Properties::default();
        for setting in settings {
            properties.set(setting).unwrap();
        }
        BrokerConfig::from_properties(&properties).unwrap()
    }

    fn shared(settings: &[&str]) -> SharedConfig {
        Arc::new(ArcSwap::from_pointee(config(settings)))
    }

    /// A permit counts for its address and for all, and gives both back when dropped.
    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let limits = Limits::new(shared(&["max.connections=3", "max.connections.per.ip=2"]));
        let first = limits.admit(A).unwrap();
        let _second = limits.admit(A).unwrap();
        assert_eq!(limits.admit(A).unwrap_err(), LimitError::ConnectionsPerIp { ip: A, max: 2 });
        let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
        assert!(limits.admit(mapped).is_err(), "the same address in another form");
        let _third = limits.admit(B).unwrap();
        assert_eq!(limits.admit(C).unwrap_err(), LimitError::Connections { max: 3 });
        drop(first);
        assert_eq!(limits.counts.lock().total, 2);
        limits.admit(A).unwrap();
    }

    /// Bounds are those of the moment, with an address's own before that of all.
    #[test]
    fn a_change_of_a_bound_holds_for_the_next_connection() {
        let bounds = ["max.connections.per.ip=1", "max.connections.per.ip.overrides=127.0.0.2:2"];
        let shared = shared(&bounds);
        let limits = Limits::new(Arc::clone(&shared));
        let _open = [A, B, B].map(|ip| limits.admit(ip).unwrap());
        assert_eq!(limits.admit(A).unwrap_err(), LimitError::ConnectionsPerIp { ip: A, max: 1 });
        assert_eq!(limits.admit(B).unwrap_err(), LimitError::ConnectionsPerIp { ip: B, max: 2 });
        shared.store(Arc::new(config(&["max.connections=4"])));
        let _fourth = limits.admit(A).unwrap();
        assert_eq!(limits.admit(C).unwrap_err(), LimitError::Connections { max: 4 });
        shared.store(Arc::new(config(&["max.connections=0"])));
        assert_eq!(limits.admit(C).unwrap_err(), LimitError::Connections { max: 0 });
    }

    /// Ten a second: ten may come at once, then one each tenth.
    #[test]
    fn new_connections_are_paced() {
        let shared = shared(&["max.connection.creation.rate=10"]);
        let limits = Limits::new(Arc::clone(&shared));
        let start = SystemClock.now();
        let waits: Vec<_> = (0..12).map(|_| limits.pace(start).as_millis()).collect();
        assert_eq!(waits, [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 100, 200]);
        assert_eq!(limits.pace(start + Duration::from_mins(1)), Duration::ZERO);
        shared.store(Arc::new(config(&[])));
        assert_eq!(limits.pace(start), Duration::ZERO);
    }
}
