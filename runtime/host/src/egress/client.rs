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

use super::address::AddressPolicy;

/// Security B-24.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
const USER_AGENT: &str = concat!("affluent/", env!("CARGO_PKG_VERSION"));

/// A name whose addresses are not granted.
#[derive(Debug, thiserror::Error)]
#[error("host `{0}` has an address that is private or reserved")]
pub(crate) struct AddressRefused(String);

/// The clients of the process, one per policy: loading certificates and opening connections is dear.
#[derive(Default)]
pub(crate) struct Clients(Mutex<HashMap<AddressPolicy, Client>>);

impl Clients {
    /// # Errors
    /// `E0414` when the machine's certificates cannot be loaded.
    pub(crate) fn get(&self, policy: &AddressPolicy) -> Result<Client> {
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(policy) {
            return Ok(client.clone());
        }
        let client = build(policy)?;
        clients.insert(policy.clone(), client.clone());
        Ok(client)
    }
}

fn build(policy: &AddressPolicy) -> Result<Client> {
    // Fails when another part of the process did it before, which is as good.
    drop(rustls::crypto::ring::default_provider().install_default());
    let client = Client::builder()
        .user_agent(USER_AGENT)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        .redirect(Policy::none())
        .retry(reqwest::retry::never())
        .referer(false)
        .no_proxy()
        .no_gzip()
        .tls_sni(true)
        .dns_resolver(Arc::new(VettingResolver(policy.clone())))
        .build();
    client.map_err(|error| {
        Error::configuration("E0414", format!("no HTTP client can be made: {error}"))
            .help("are the machine's root certificates installed? `SSL_CERT_FILE` may name them")
    })
}

/// Refuses a URL whose host is an address that the policy does not permit.
pub(crate) fn check_literal(url: &Url, policy: &AddressPolicy) -> Result<(), AddressRefused> {
    let address = match url.host() {
        Some(Host::Ipv4(address)) => IpAddr::V4(address),
        Some(Host::Ipv6(address)) => IpAddr::V6(address),
        _ => return Ok(()),
    };
    if policy.permits(address) { Ok(()) } else { Err(AddressRefused(address.to_string())) }
}

struct VettingResolver(AddressPolicy);

impl Resolve for VettingResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let name = name.as_str().to_owned();
            let addresses: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), policy.port)).await?.collect();
            let vetted = vet(&name, &addresses, &policy)?;
            Ok(Box::new(vetted.into_iter()) as Addrs)
        })
    }
}

/// The addresses to connect to: those that the operator granted if there are any (`localhost` has two, and only one may
/// be granted); otherwise all of them must be public, and one bad address among good ones refuses the name.
fn vet(name: &str, addresses: &[SocketAddr], policy: &AddressPolicy) -> Result<Vec<SocketAddr>, AddressRefused> {
    let granted: Vec<SocketAddr> = addresses.iter().filter(|address| policy.is_granted(address.ip())).copied().collect();
    if !granted.is_empty() {
        return Ok(granted);
    }
    let all_permitted = addresses.iter().all(|address| policy.permits(address.ip()));
    if all_permitted { Ok(addresses.to_vec()) } else { Err(AddressRefused(name.to_owned())) }
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
