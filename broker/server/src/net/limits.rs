//! How many connections may live, and how many bytes of requests may be in flight.
//!
//! Counts are exact: a permit is taken before the connection's task exists and returned when it is
//! dropped. Bytes are counted for large frames only: what a small one needs is already bounded by
//! the number of connections times their read buffer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// In-flight bytes are counted in units of this many bytes, so that a semaphore can hold the count.
const UNIT: usize = 1024;

/// The bounds that all listeners share.
#[derive(Debug)]
pub(crate) struct Limits {
    max_connections: usize,
    max_connections_per_ip: usize,
    counts: Mutex<Counts>,
    request_bytes: Arc<Semaphore>,
    request_bytes_max: usize,
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, usize>,
}

/// Why a connection was closed right after it was accepted.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LimitError {
    #[error("max.connections ({max}) are open")]
    Connections { max: usize },
    #[error("max.connections.per.ip ({max}) are open from {ip}")]
    ConnectionsPerIp { ip: IpAddr, max: usize },
}

/// The right of one connection to live.
#[derive(Debug)]
pub(crate) struct ConnectionPermit {
    limits: Arc<Limits>,
    ip: IpAddr,
}

impl Limits {
    /// `request_bytes_max` bounds the bytes of large requests in flight, over all connections.
    pub(crate) fn new(
        max_connections: usize,
        max_connections_per_ip: usize,
        request_bytes_max: usize,
    ) -> Arc<Self> {
        let units = (request_bytes_max / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Self {
            max_connections,
            max_connections_per_ip,
            counts: Mutex::default(),
            request_bytes: Arc::new(Semaphore::new(units)),
            request_bytes_max: units * UNIT,
        })
    }

    /// Admits one connection from `ip`.
    pub(crate) fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<ConnectionPermit, LimitError> {
        let mut counts = self.counts.lock();
        if counts.total >= self.max_connections {
            return Err(LimitError::Connections { max: self.max_connections });
        }
        let from_ip = counts.by_ip.entry(ip).or_insert(0);
        if *from_ip >= self.max_connections_per_ip {
            return Err(LimitError::ConnectionsPerIp { ip, max: self.max_connections_per_ip });
        }
        *from_ip += 1;
        counts.total += 1;
        Ok(ConnectionPermit { limits: Arc::clone(self), ip })
    }

    /// Waits for room for a request of `size` bytes.
    ///
    /// A request above the whole bound takes all of it: it is read alone, never refused for ever.
    /// Cancel-safe.
    pub(crate) async fn request_bytes(&self, size: usize) -> Option<OwnedSemaphorePermit> {
        let units = size.min(self.request_bytes_max).div_ceil(UNIT) as u32;
        Arc::clone(&self.request_bytes).acquire_many_owned(units).await.ok()
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

    use super::*;

    const A: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const B: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    const C: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 3));

    /// A permit counts for its address and for all, and gives both back when dropped.
    #[test]
    fn connections_are_counted_by_address_and_in_all() {
        let limits = Limits::new(3, 2, UNIT);
        let first = limits.admit(A).unwrap();
        let _second = limits.admit(A).unwrap();
        assert_eq!(limits.admit(A).unwrap_err(), LimitError::ConnectionsPerIp { ip: A, max: 2 });
        let _third = limits.admit(B).unwrap();
        assert_eq!(limits.admit(C).unwrap_err(), LimitError::Connections { max: 3 });
        drop(first);
        assert_eq!(limits.counts.lock().total, 2);
        limits.admit(A).unwrap();
    }

    /// A request larger than the bound gets all of it instead of waiting for ever.
    #[tokio::test]
    async fn a_request_above_the_bound_is_read_alone() {
        let limits = Limits::new(1, 1, 10 * UNIT);
        let all = limits.request_bytes(100 * UNIT).await.unwrap();
        assert_eq!(limits.request_bytes.available_permits(), 0);
        drop(all);
        assert_eq!(limits.request_bytes.available_permits(), 10);
    }
}
