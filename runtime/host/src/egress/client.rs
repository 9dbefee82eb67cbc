//! HTTP clients that connect to vetted addresses only. The check stands in the resolver, on the addresses that are
//! connected to, so a name that changes its address between check and use gains nothing (security B-22). Addresses
//! written into the URL skip every resolver and are checked apart.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use affluent_model::{Error, Result};
use reqwest::Client;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use url::{Host, Url};

use super::address::{AddressPolicy, is_public};
use super::attempt::{HEADER_BYTES_MAX, HEADERS_MAX};
use crate::options::AddressResolver;

/// Longest silences of a remote (security B-24); that of a whole request is the request's own.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timeouts {
    pub(crate) connect: Duration,
    /// Before the headers of an answer, and between two pieces of its body.
    pub(crate) read: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), read: Duration::from_secs(30) }
    }
}

const USER_AGENT: &str = concat!("affluent/", env!("CARGO_PKG_VERSION"));

/// A name or an address that may not be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AddressRefused {
    #[error("host `{0}` has an address that is private or reserved")]
    Private(String),
    #[error("host `{0}` is public, and plain http reaches only what the connection's `egress.private` names")]
    PlainHttp(String),
}

impl AddressRefused {
    fn new(host: String, address: IpAddr) -> Self {
        if is_public(address) { Self::PlainHttp(host) } else { Self::Private(host) }
    }
}

/// The clients of the process, one per policy: loading certificates and opening connections is dear.
pub(crate) struct Clients {
    addresses: AddressResolver,
    timeouts: Timeouts,
    by_policy: Mutex<HashMap<AddressPolicy, Client>>,
}

impl Clients {
    pub(crate) fn new(addresses: AddressResolver, timeouts: Timeouts) -> Self {
        Self { addresses, timeouts, by_policy: Mutex::default() }
    }

    /// # Errors
    /// `E0414` when the machine's certificates cannot be loaded.
    pub(crate) fn get(&self, policy: &AddressPolicy) -> Result<Client> {
        let mut clients = self.by_policy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(policy) {
            return Ok(client.clone());
        }
        let client = self.build(policy)?;
        clients.insert(policy.clone(), client.clone());
        Ok(client)
    }

    fn build(&self, policy: &AddressPolicy) -> Result<Client> {
        // Fails when another part of the process did it before, which is as good.
        drop(rustls::crypto::ring::default_provider().install_default());
        let resolver = VettingResolver { addresses: Arc::clone(&self.addresses), policy: policy.clone() };
        let client = Client::builder()
            .user_agent(USER_AGENT)
            .connect_timeout(self.timeouts.connect)
            .read_timeout(self.timeouts.read)
            .http1_max_headers(HEADERS_MAX)
            .http2_max_header_list_size(u32::try_from(HEADER_BYTES_MAX).unwrap_or(u32::MAX))
            .redirect(Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .no_proxy()
            .no_gzip()
            .tls_sni(true)
            .dns_resolver(Arc::new(resolver))
            .build();
        client.map_err(|error| {
            Error::configuration("E0414", format!("no HTTP client can be made: {error}"))
                .help("are the machine's root certificates installed? `SSL_CERT_FILE` may name them")
        })
    }
}

/// Refuses a URL whose host is an address that the policy does not permit.
pub(crate) fn check_literal(url: &Url, policy: &AddressPolicy) -> Result<(), AddressRefused> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Ok(()),
    };
    if policy.permits(address) { Ok(()) } else { Err(AddressRefused::new(address.to_string(), address)) }
}

struct VettingResolver {
    addresses: AddressResolver,
    policy: AddressPolicy,
}

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let (addresses, policy) = (Arc::clone(&self.addresses), self.policy.clone());
        Box::pin(async move { Ok(Box::new(look_up(&addresses, name.as_str(), &policy).await?.into_iter()) as Addrs) })
    }
}

/// The addresses of a name that may be connected to. One look-up for each connection: what was checked is what is used.
///
/// # Errors
/// Those of the look-up, and [`AddressRefused`].
pub(super) async fn look_up(
    addresses: &AddressResolver,
    name: &str,
    policy: &AddressPolicy,
) -> std::result::Result<Vec<SocketAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let found = (addresses)(name.to_owned()).await?;
    let found: Vec<SocketAddr> = found.into_iter().map(|address| SocketAddr::new(address, policy.port)).collect();
    Ok(vet(name, &found, policy)?)
}

/// The addresses to connect to: those that the operator granted if there are any (`localhost` has two, and only one may
/// be granted); otherwise all of them must be public, and one bad address among good ones refuses the name.
fn vet(name: &str, addresses: &[SocketAddr], policy: &AddressPolicy) -> Result<Vec<SocketAddr>, AddressRefused> {
    let granted: Vec<SocketAddr> = addresses.iter().filter(|address| policy.is_granted(address.ip())).copied().collect();
    if !granted.is_empty() {
        return Ok(granted);
    }
    match addresses.iter().find(|address| !policy.permits(address.ip())) {
        Some(refused) => Err(AddressRefused::new(name.to_owned(), refused.ip())),
        None => Ok(addresses.to_vec()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> AddressPolicy {
        AddressPolicy { private: Vec::new(), port: 443, private_only: false }
    }

    #[test]
    fn one_private_address_among_public_ones_refuses_the_name() {
        let public = "1.1.1.1:443".parse().unwrap();
        let private = "10.0.0.1:443".parse().unwrap();

        assert!(vet("a.test", &[public], &policy()).is_ok());
        assert!(vet("a.test", &[public, private], &policy()).is_err());
    }

    #[test]
    fn of_a_names_addresses_the_granted_ones_are_used() {
        let (v6, v4) = ("[::1]:8080".parse().unwrap(), "127.0.0.1:8080".parse().unwrap());
        let private = super::super::address::PrivateGrant::parse("127.0.0.1:8080").unwrap();
        let policy = AddressPolicy { private, port: 8080, private_only: true };

        assert_eq!(vet("localhost", &[v6, v4], &policy).ok(), Some(vec![v4]));
        assert!(vet("localhost", &[v6], &policy).is_err());
    }

    #[test]
    fn an_address_in_the_url_is_checked_too() {
        for (url, permitted) in [
            ("https://1.1.1.1/", true),
            ("https://a.test/", true),
            ("https://127.0.0.1/", false),
            ("https://2130706433/", false),
            ("https://0x7f.1/", false),
            ("https://[::ffff:127.0.0.1]/", false),
        ] {
            assert_eq!(check_literal(&Url::parse(url).unwrap(), &policy()).is_ok(), permitted, "{url}");
        }
    }
}
