//! Which addresses may be connected to. Everything that is not plainly public is refused, unless the operator grants
//! it for the connection by address and port (security B-22); a plugin's manifest never can.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// IPv4 ranges that are refused: (network, prefix length).
const DENIED_V4: [(Ipv4Addr, u32); 17] = [
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    // A cloud's own services, at a public address of its virtual machines.
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 4),
    (Ipv4Addr::new(240, 0, 0, 0), 4),
    (Ipv4Addr::new(255, 255, 255, 255), 32),
];

/// IPv6 ranges that are refused; outside of 2000::/3 nothing is public anyway.
const DENIED_V6: [(Ipv6Addr, u32); 3] = [
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];
const PUBLIC_V6: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
const NAT64: (Ipv6Addr, u32) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);
const SIX_TO_FOUR: (Ipv6Addr, u32) = (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16);

/// True for addresses of the public internet; embedded IPv4 addresses are judged as such.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    !DENIED_V4.iter().any(|(network, prefix)| prefix_equals(address.to_bits(), network.to_bits(), *prefix, 32))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(mapped) = address.to_ipv4_mapped() {
        return is_public_v4(mapped);
    }
    let [.., a, b, c, d] = address.octets();
    if within(address, NAT64) {
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    if within(address, SIX_TO_FOUR) {
        let [_, _, a, b, c, d, ..] = address.octets();
        return is_public_v4(Ipv4Addr::new(a, b, c, d));
    }
    within(address, PUBLIC_V6) && !DENIED_V6.iter().any(|range| within(address, *range))
}

fn within(address: Ipv6Addr, (network, prefix): (Ipv6Addr, u32)) -> bool {
    let shift = 128u32.saturating_sub(prefix);
    address.to_bits().checked_shr(shift) == network.to_bits().checked_shr(shift)
}

fn prefix_equals(address: u32, network: u32, prefix: u32, width: u32) -> bool {
    let shift = width.saturating_sub(prefix);
    address.checked_shr(shift).unwrap_or(0) == network.checked_shr(shift).unwrap_or(0)
}

/// An address, or a network, with the port that may be connected to although it is not public.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct PrivateGrant {
    network: IpAddr,
    prefix: u32,
    port: u16,
}

impl PrivateGrant {
    /// Reads `127.0.0.1:18080`, `10.1.2.0/24:443`, `[::1]:8080`, `[fd00::/8]:443`; `localhost:PORT` is 127.0.0.1 and ::1.
    pub(crate) fn parse(text: &str) -> Option<Vec<Self>> {
        let (network, port) = text.rsplit_once(':')?;
        let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
        if network.eq_ignore_ascii_case("localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Some(loopback.into_iter().map(|network| Self { network, prefix: 128, port }).collect());
        }
        let bracketed = network.strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
        let (address, prefix) = match bracketed.unwrap_or(network).split_once('/') {
            Some((address, prefix)) => (address, prefix.parse().ok()?),
            None => (bracketed.unwrap_or(network), 128),
        };
        let network: IpAddr = address.parse().ok()?;
        let width = if network.is_ipv4() { 32 } else { 128 };
        let is_plain = network.is_ipv4() == bracketed.is_none() && (prefix <= width || prefix == 128);
        is_plain.then(|| vec![Self { network, prefix, port }])
    }

    pub(crate) fn covers(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        let same_network = match (address, self.network) {
            (IpAddr::V4(address), IpAddr::V4(network)) => {
                prefix_equals(address.to_bits(), network.to_bits(), self.prefix.min(32), 32)
            }
            (IpAddr::V6(address), IpAddr::V6(network)) => within(address, (network, self.prefix)),
            _ => false,
        };
        same_network && self.port == port
    }
}

/// What one connection may reach, for one port and scheme.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressPolicy {
    pub(crate) private: Vec<PrivateGrant>,
    pub(crate) port: u16,
    /// For plain http: only what is granted by address, never the internet.
    pub(crate) private_only: bool,
}

impl AddressPolicy {
    pub(crate) fn permits(&self, address: IpAddr) -> bool {
        self.is_granted(address) || (!self.private_only && is_public(address))
    }

    /// The operator named this address.
    pub(crate) fn is_granted(&self, address: IpAddr) -> bool {
        self.private.iter().any(|grant| grant.covers(address, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(private: &[&str], port: u16, private_only: bool) -> AddressPolicy {
        let private = private.iter().flat_map(|text| PrivateGrant::parse(text).unwrap()).collect();
        AddressPolicy { private, port, private_only }
    }

    #[test]
    fn public_addresses_are_permitted() {
        for address in ["1.1.1.1", "23.227.38.65", "172.32.0.1", "2606:4700::1111", "64:ff9b::101:101", "2002:101:101::1"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn private_loopback_link_local_and_reserved_addresses_are_refused() {
        let v4 = ["0.0.0.0", "10.1.2.3", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.168.1.1", "198.18.0.1"];
        let more = ["192.0.2.1", "203.0.113.9", "224.0.0.1", "255.255.255.255", "192.88.99.1", "240.0.0.1"];
        let v6 = ["::", "::1", "fe80::1", "fd00::1", "ff02::1", "2001:db8::1", "fec0::1", "100::1", "3fff::1"];
        for address in v4.iter().chain(&more).chain(&v6) {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_private_address_inside_an_ipv6_address_is_refused() {
        for address in ["::ffff:10.0.0.1", "::ffff:169.254.169.254", "64:ff9b::a00:1", "2002:a00:1::1", "2002:7f00:1::"] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn a_grant_opens_one_address_and_one_port() {
        let policy = policy(&["127.0.0.1:18080"], 18080, false);

        assert!(policy.permits("127.0.0.1".parse().unwrap()));
        assert!(policy.permits("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!policy.permits("127.0.0.2".parse().unwrap()));
        assert!(!AddressPolicy { port: 18081, ..policy }.permits("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_network_grant_opens_its_addresses_only() {
        let policy = policy(&["10.1.2.0/24:443", "[fd00::/8]:443"], 443, false);

        for (address, permitted) in [("10.1.2.255", true), ("10.1.3.0", false), ("fd12::1", true), ("fe80::1", false)] {
            assert_eq!(policy.permits(address.parse().unwrap()), permitted, "{address}");
        }
    }

    #[test]
    fn plain_http_reaches_granted_addresses_only() {
        let policy = policy(&["127.0.0.1:80"], 80, true);

        assert!(policy.permits("127.0.0.1".parse().unwrap()));
        assert!(!policy.permits("1.1.1.1".parse().unwrap()));
    }

    #[test]
    fn a_grant_needs_an_address_and_a_port() {
        for text in [
            "127.0.0.1",
            "127.0.0.1:0",
            "example.org:80",
            "10.0.0.0/33:443",
            "::1:80",
            "[127.0.0.1]:80",
            "",
            ":80",
            "127.0.0.1:*",
        ] {
            assert_eq!(PrivateGrant::parse(text), None, "{text}");
        }
        assert_eq!(PrivateGrant::parse("localhost:80").map(|grants| grants.len()), Some(2));
    }
}
