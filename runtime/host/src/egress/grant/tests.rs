use serde_json::json;

use super::*;

fn manifest(hosts: serde_json::Value) -> Manifest {
    let manifest =
        json!({"manifest_version": 1, "name": "p", "version": "1", "kinds": ["source"], "config_schema": {}, "hosts": hosts});
    serde_json::from_value(manifest).unwrap()
}

fn grants(hosts: serde_json::Value, config: serde_json::Value, narrowed: &[&str], http: bool) -> Result<HostGrants> {
    let mut connection = crate::test_support::connection("p", config);
    connection.egress.hosts = narrowed.iter().map(|host| (*host).to_owned()).collect();
    connection.egress.http = http;
    HostGrants::new(&manifest(hosts), &connection)
}

fn fixed(pattern: &str) -> HostGrants {
    grants(json!([{"pattern": pattern}]), json!({}), &[], false).unwrap()
}

#[track_caller]
fn check(grants: &HostGrants, permitted: &[&str], refused: &[&str]) {
    for url in permitted {
        assert_eq!(grants.permits(&Url::parse(url).unwrap()), Ok(()), "{url}");
    }
    for url in refused {
        assert!(grants.permits(&Url::parse(url).unwrap()).is_err(), "{url}");
    }
}

#[test]
fn a_host_grants_itself_over_https_only() {
    let permitted = ["https://a.klaviyo.com", "https://A.KLAVIYO.com/api?x=1", "https://a.klaviyo.com:443/"];
    let refused = ["http://a.klaviyo.com", "https://klaviyo.com", "https://b.a.klaviyo.com", "ftp://a.klaviyo.com"];
    check(&fixed("a.klaviyo.com"), &permitted, &refused);
}

#[test]
fn a_host_that_only_looks_alike_is_refused() {
    let refused = [
        "https://a.klaviyo.com.evil.test",
        "https://a.klaviyo.com.",
        "https://a-klaviyo.com",
        "https://evil.test/a.klaviyo.com",
        "https://evil.test#a.klaviyo.com",
        "https://a.klaviyo.com@evil.test",
        "https://user@a.klaviyo.com",
        "https://а.klaviyo.com", // Cyrillic
    ];
    check(&fixed("a.klaviyo.com"), &[], &refused);
}

#[test]
fn another_port_is_another_grant() {
    check(&fixed("a.test"), &[], &["https://a.test:8443"]);
    check(&fixed("a.test:8443"), &["https://a.test:8443"], &["https://a.test", "https://a.test:8444"]);
}

#[test]
fn a_wildcard_grants_what_is_below_it() {
    let refused = ["https://example.org", "https://evilexample.org", "https://x.example.org.evil.test"];
    check(&fixed("*.example.org"), &["https://x.example.org", "https://x.Y.example.org"], &refused);
}

#[test]
fn a_wildcard_over_a_public_suffix_is_no_grant() {
    for pattern in ["*.com", "*", "*.", "*.co.uk", "*.myshopify.com", "*.*.example.org", "a.*.org", "*.127.0.0.1"] {
        assert_eq!(grants(json!([{"pattern": pattern}]), json!({}), &[], false).unwrap_err().code, "E0411", "{pattern}");
    }
}

#[test]
fn a_pattern_that_is_more_than_a_host_is_refused() {
    for pattern in ["a.test/path", "https://a.test", "user@a.test", "a.test?x", "a test", "a.test:99999", "", "a%2etest"] {
        assert!(grants(json!([{"pattern": pattern}]), json!({}), &[], false).is_err(), "{pattern}");
    }
}

#[test]
fn a_placeholder_is_filled_from_the_configuration() {
    let hosts = json!([{"pattern": "{config.shop}.myshopify.com", "vars": {"config.shop": "^[a-z0-9-]{1,60}$"}}]);
    let grants = grants(hosts, json!({"shop": "acme"}), &[], false).unwrap();

    check(&grants, &["https://acme.myshopify.com"], &["https://other.myshopify.com"]);
}

#[test]
fn a_value_cannot_leave_its_place_in_the_host() {
    for vars in [json!({}), json!({"config.shop": "^[a-z0-9-]{1,60}$"}), json!({"config.shop": "[a-z]+|[a-z0-9-]*"})] {
        let hosts = json!([{"pattern": "{config.shop}.myshopify.com", "vars": vars}]);
        for shop in ["evil.test/", "evil.test#", "a.b", "x@evil.test:443/", "a\nb", "é"] {
            let error = grants(hosts.clone(), json!({"shop": shop}), &[], false).unwrap_err();
            assert!(!error.message.contains(shop), "{}", error.message);
        }
    }
}

#[test]
fn a_placeholder_without_a_value_grants_nothing() {
    let hosts = json!([{"pattern": "{config.shop}.myshopify.com"}, {"pattern": "b.test"}]);
    let grants = grants(hosts, json!({}), &[], false).unwrap();

    check(&grants, &["https://b.test"], &["https://.myshopify.com", "https://myshopify.com"]);
}

#[test]
fn a_base_url_grants_its_origin() {
    let config = json!({"base_url": "http://127.0.0.1:18080/v1"});
    let grants = grants(json!([{"pattern": "{config.base_url}"}]), config, &[], true).unwrap();

    check(&grants, &["http://127.0.0.1:18080/x"], &["http://127.0.0.1:18081/", "http://localhost:18080/", "http://127.0.0.1/"]);
}

#[test]
fn plain_http_needs_the_operator() {
    let config = json!({"base_url": "http://a.test"});
    let grants = grants(json!([{"pattern": "{config.base_url}"}]), config, &[], false).unwrap();

    check(&grants, &[], &["http://a.test"]);
}

#[test]
fn the_connection_narrows_and_never_widens() {
    let hosts = json!([{"pattern": "a.test"}, {"pattern": "b.test"}]);
    let grants = grants(hosts, json!({}), &["b.test", "c.test"], false).unwrap();

    check(&grants, &["https://b.test"], &["https://a.test", "https://c.test"]);
}

#[test]
fn a_plugin_without_hosts_reaches_nothing() {
    check(&grants(json!([]), json!({}), &["a.test"], true).unwrap(), &[], &["https://a.test", "http://a.test"]);
}

#[test]
fn an_ipv6_host_keeps_its_brackets() {
    check(&fixed("[2606:4700::1111]:8443"), &["https://[2606:4700::1111]:8443/"], &["https://[2606:4700::1112]:8443/"]);
}
