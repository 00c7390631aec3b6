//! Servers as the client library is told of them.
//!
//! The library (0.11.2, `Session::start`) looks at its deadline only where a connection is not refused at once. One
//! to an address for which the host has no route is, and so is every one while the process is out of descriptors:
//! behind the deadline it would try for ever and let nobody else run on its thread. A name is looked up by another
//! thread, which leaves it the time to look. So an address is spelled as one that only the resolver can read.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Returns `servers`, which come by comma, with addresses spelled for the resolver. Names are left alone.
pub(super) fn for_resolver(servers: &str) -> String {
    servers.split(',').map(one).collect::<Vec<_>>().join(",")
}

fn one(server: &str) -> String {
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, format!(":{port}")),
        _ => (server, String::new()),
    };
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        let [first, second, third, fourth] = address.octets();
        return format!("{first:#x}.{second}.{third}.{fourth}{port}");
    }
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner.map(str::parse::<Ipv6Addr>) {
        // The zone that every address is in.
        Some(Ok(address)) => format!("[{address}%0]{port}"),
        Some(Err(_)) | None => server.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::ToSocketAddrs;

    use super::*;

    #[test]
    fn an_address_is_read_by_the_resolver_alone() {
        for address in ["10.255.0.8:2181", "0.0.0.0:1", "[::1]:2181", "[2001:db8::a]:2181"] {
            let spelled = for_resolver(address);
            let (host, port) = spelled.rsplit_once(':').unwrap();
            let host = host.trim_matches(['[', ']']);
            assert!(host.parse::<Ipv4Addr>().is_err() && host.parse::<Ipv6Addr>().is_err());
            let found = (host, port.parse().unwrap()).to_socket_addrs().unwrap().next().unwrap();
            assert_eq!(found, address.parse().unwrap(), "{spelled}");
        }
    }

    #[test]
    fn the_rest_is_left_alone() {
        assert_eq!(for_resolver("10.0.0.1,[::1]"), "0xa.0.0.1,[::1%0]");
        let others = "zk1,zk2:2182,[fe80::1%eth0]:2181,1.2.3.4.example:2181";
        assert_eq!(for_resolver(others), others);
    }
}
