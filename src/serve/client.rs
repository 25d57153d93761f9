//! Who stands behind a connection.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

/// The last address in `X-Forwarded-For` that no trusted proxy added itself, or the peer.
pub fn client(trusted: &[IpNet], peer: IpAddr, forwarded: Option<&str>) -> IpAddr {
    let trusted = |address: &IpAddr| trusted.iter().any(|net| contains(net, address));
    let mut client = peer.to_canonical();
    for hop in forwarded.unwrap_or_default().rsplit(',') {
        if !trusted(&client) {
            break;
        }
        match address(hop) {
            Some(address) => client = address,
            // Whatever stands before it was written by the same hand.
            None => break,
        }
    }
    client
}

/// A socket of version 6 gives addresses of version 4 as mapped ones, and a network may be written so.
fn contains(net: &IpNet, address: &IpAddr) -> bool {
    let mapped = match address {
        IpAddr::V4(address) => Some(IpAddr::V6(address.to_ipv6_mapped())),
        IpAddr::V6(_) => None,
    };
    net.contains(address) || mapped.is_some_and(|mapped| net.contains(&mapped))
}

/// An address as proxies write it: alone, in brackets, with a port, in quotes, with a zone.
fn address(hop: &str) -> Option<IpAddr> {
    let hop = hop.trim().trim_matches('"');
    let bare = |text: &str| {
        let text = text.split_once('%').map_or(text, |(address, _)| address);
        text.parse::<IpAddr>().ok()
    };
    let bracketed = || {
        let (inside, behind) = hop.strip_prefix('[')?.split_once(']')?;
        let port = behind.is_empty() || behind.strip_prefix(':')?.parse::<u16>().is_ok();
        if port { bare(inside) } else { None }
    };
    let with_port = || hop.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    bare(hop).or_else(with_port).or_else(bracketed).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(trusted: &[&str], peer: &str, forwarded: &str) -> String {
        let nets: Vec<IpNet> = trusted.iter().map(|net| net.parse().unwrap()).collect();
        client(&nets, peer.parse().unwrap(), Some(forwarded)).to_string()
    }

    #[test]
    fn an_address_is_read_in_every_form_that_proxies_write() {
        for (written, expected) in [
            ("203.0.113.5", "203.0.113.5"),
            (" 203.0.113.5:4711 ", "203.0.113.5"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:443", "2001:db8::1"),
            ("\"[2001:db8::1]:443\"", "2001:db8::1"),
            ("::ffff:203.0.113.5", "203.0.113.5"),
            ("[::ffff:203.0.113.5]:80", "203.0.113.5"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:80", "fe80::1"),
        ] {
            assert_eq!(found(&["127.0.0.0/8"], "127.0.0.1", written), expected, "{written}");
        }
        // What is no address was written by the last hop that is trusted, and by nobody before it.
        for written in
            ["unknown", "_hidden", "203.0.113.5:port", "[2001:db8::1]x", "203.0.113.999", ""]
        {
            let list = format!("198.51.100.7, {written}");
            assert_eq!(found(&["127.0.0.0/8"], "127.0.0.1", &list), "127.0.0.1", "{written}");
        }
    }

    #[test]
    fn a_proxy_is_trusted_in_either_version_and_a_stranger_is_not() {
        for (net, peer) in [
            ("127.0.0.0/8", "::ffff:127.0.0.1"),
            ("127.0.0.0/8", "127.0.0.1"),
            ("::ffff:127.0.0.0/104", "127.0.0.1"),
            ("::ffff:127.0.0.0/104", "::ffff:127.0.0.1"),
            ("::1/128", "::1"),
        ] {
            assert_eq!(
                found(&[net], peer, "8.8.8.8, 203.0.113.5:80"),
                "203.0.113.5",
                "{net} {peer}"
            );
        }
        assert_eq!(found(&["10.0.0.0/8"], "::ffff:127.0.0.1", "203.0.113.5"), "127.0.0.1");
        let nets = ["127.0.0.0/8", "10.0.0.0/8"];
        assert_eq!(found(&nets, "127.0.0.1", "8.8.8.8, 203.0.113.5:9, 10.1.2.3:8"), "203.0.113.5");
    }
}
