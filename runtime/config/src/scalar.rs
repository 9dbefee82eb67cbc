//! The small typed texts of the project files: names, durations, sizes, rates, percentages, instants, addresses.
//! Each parser says what is wrong and gives an example; [`check`] is the one table from a schema's word to them.

use std::net::IpAddr;

use chrono::{DateTime, NaiveDate};

/// Characters of a name at most.
const NAME_CHARACTERS_MAX: usize = 64;
/// Characters of an address at most.
const URL_CHARACTERS_MAX: usize = 2_000;

/// Checks `text` against the kind that a schema names under `x-affluent`; an unknown kind accepts all.
///
/// # Errors
/// A lowercase fragment that says what is wrong, without the text itself, and help with an example.
pub(crate) fn check(kind: &str, text: &str) -> Result<(), (String, String)> {
    let (result, example) = match kind {
        "name" => (name(text), "lower-case letters, digits, `_` and `-`, such as `shop_orders`"),
        "words" => (words(text), "such as `same email`"),
        "duration" => (duration_ms(text).map(drop), "a number and one of ms, s, m, h, d, such as `15m`"),
        "size" => (size_bytes(text).map(drop), "a number and one of B, KB, MB, GB, such as `5MB`"),
        "rate" => (rate(text).map(drop), "requests per time, such as `2/s` or `100/10s`"),
        "percent" => (share(text).map(drop), "such as `10%`"),
        "since" => (since_us(text).map(drop), "such as `2024-01-01` or `2024-01-01T08:00:00Z`"),
        "host" => (host(text), "a host without scheme and path, such as `api.example.com` or `*.example.com`"),
        "address" => (address(text), "such as `127.0.0.1:8080`, `10.1.2.3` or `10.0.0.0/8:443`"),
        "files" => (file_pattern(text), "such as `exports/*.csv`"),
        "region" => (region(text), "two capital letters, such as `FR`"),
        "jurisdiction" => (jurisdiction(text), "an ISO 3166 code, such as `FR` or `US-CA`"),
        "mail_domain" => (mail_domain(text).map(drop), "what stands after the `@`, such as `gmail.com`"),
        "secret" => (secret_path(text), "names joined by `/`, such as `shop/token`"),
        "environment" => (environment(text), "letters, digits and `_`, such as `SHOP_TOKEN`"),
        "key_id" => (key_id(text).map(drop), "the `1` of AFFLUENT_KEK_1, as a text: `\"1\"`"),
        "plugin" => (plugin_name(text), "a name or `owner/name`, such as `acme/order-tagger`"),
        "sha256" => (hex_digits(text, 64), "64 hex digits in lower case"),
        "public_key" => (public_key(text), "the second line of a minisign public key file, `RW…`"),
        "key" => (key(text), "a key id of 16 hex digits, or a public key `RW…`"),
        "versions" => (versions(text), "such as `<1.2.0`, `=1.4.1` or `>=2.0.0, <2.3.1`"),
        "webhook_url" => {
            (webhook_url(text), "the address as the service was given it, such as `https://hooks.example.com/webhooks/crm`")
        }
        "filled" => (filled(text), "write something"),
        _ => (Ok(()), ""),
    };
    result.map_err(|wrong| (wrong, example.to_owned()))
}

fn require(holds: bool, wrong: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong.to_owned()) }
}

fn filled(text: &str) -> Result<(), String> {
    require(!text.trim().is_empty(), "is empty")
}

/// `FR` or `US-CA`.
fn jurisdiction(text: &str) -> Result<(), String> {
    let (country, part) = text.split_once('-').unwrap_or((text, "AA"));
    let is_country = country.len() == 2 && country.chars().all(|c| c.is_ascii_uppercase());
    let is_part = (1..=3).contains(&part.len()) && part.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit());
    require(is_country && is_part, "is not a place")
}

/// `[a-z0-9_-]{1,64}`.
fn name(text: &str) -> Result<(), String> {
    let length = text.chars().count();
    let allowed = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-');
    require(allowed && (1..=NAME_CHARACTERS_MAX).contains(&length), "is not a name")
}

fn words(text: &str) -> Result<(), String> {
    let fits = !text.trim().is_empty() && text.chars().count() <= NAME_CHARACTERS_MAX;
    require(fits, "is not a name of at most 64 characters")
}

/// Digits and then the unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(digits)?;
    Some((number.parse().ok()?, unit))
}

/// Milliseconds of `15m`.
pub(crate) fn duration_ms(text: &str) -> Result<u64, String> {
    affluent_model::duration::milliseconds(text)
}

/// Bytes of `5MB`; units are powers of 1000, `MiB` and the like of 1024.
pub(crate) fn size_bytes(text: &str) -> Result<u64, String> {
    let wrong = || "is not a size".to_owned();
    let (number, unit) = number_and_unit(text).ok_or_else(wrong)?;
    let unit_bytes = match unit {
        "B" => 1,
        "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(unit_bytes).ok_or_else(|| "is too large a size".to_owned())
}

/// Requests and the milliseconds they are for: `100/10s` is `(100, 10000)`.
pub(crate) fn rate(text: &str) -> Result<(u32, u64), String> {
    let wrong = || "is not a rate".to_owned();
    let (requests, time) = text.split_once('/').ok_or_else(wrong)?;
    let requests: u32 = requests.parse().map_err(|_| wrong())?;
    let per_ms =
        if time.starts_with(|c: char| c.is_ascii_digit()) { duration_ms(time) } else { duration_ms(&format!("1{time}")) };
    let per_ms = per_ms.map_err(|_| wrong())?;
    if requests == 0 || per_ms == 0 {
        return Err("is a rate of zero: nothing would ever be sent".to_owned());
    }
    Ok((requests, per_ms))
}

/// `10%` as 0.1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let wrong = || "is not a percentage from 0% to 100%".to_owned();
    let number = text.strip_suffix('%').ok_or_else(wrong)?;
    let plain = number.chars().all(|c| c.is_ascii_digit() || c == '.');
    let percent: f64 = number.parse().map_err(|_| wrong())?;
    if plain && (0.0..=100.0).contains(&percent) { Ok(percent / 100.0) } else { Err(wrong()) }
}

/// Microseconds UTC of a date (its first instant) or of an RFC 3339 instant.
pub(crate) fn since_us(text: &str) -> Result<i64, String> {
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(date.and_time(chrono::NaiveTime::MIN).and_utc().timestamp_micros());
    }
    DateTime::parse_from_rfc3339(text).map(|at| at.timestamp_micros()).map_err(|_| "is neither a date nor an instant".to_owned())
}

fn host(text: &str) -> Result<(), String> {
    let name = text.strip_prefix("*.").unwrap_or(text);
    let (name, port) = match name.rsplit_once(':') {
        Some((name, port)) => (name, port.parse::<u16>().is_ok_and(|port| port > 0)),
        None => (name, true),
    };
    let label = |label: &str| {
        let inner = label.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_');
        !label.is_empty() && label.len() <= 63 && inner && !label.starts_with('-') && !label.ends_with('-')
    };
    require(port && name.len() <= 253 && name.split('.').all(label), "is not a host name")
}

/// `https://hooks.example.com/webhooks/crm`: of printable ASCII, without a user and without a fragment.
fn webhook_url(text: &str) -> Result<(), String> {
    let rest = text.strip_prefix("https://").ok_or("does not begin with `https://`")?;
    require(text.len() <= URL_CHARACTERS_MAX && text.chars().all(|c| c.is_ascii_graphic()), "is not an address")?;
    require(!rest.contains('#'), "has a part after `#`, which is never sent")?;
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    require(!authority.contains('@'), "has a user in it")?;
    host(&authority.to_ascii_lowercase()).and_then(|()| require(!authority.starts_with('*'), "is not an address"))
}

/// `127.0.0.1`, `127.0.0.1:8080`, `10.0.0.0/8:443`, `[::1]:8080`, `::1`.
fn address(text: &str) -> Result<(), String> {
    let wrong = "is not an address with an optional prefix length and port";
    let (range, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((inner, rest)) => {
            (format!("{inner}{}", rest.split(':').next().unwrap_or_default()), rest.split_once(':').map(|(_, port)| port))
        }
        None if text.matches(':').count() == 1 => {
            let (range, port) = text.split_once(':').unwrap_or((text, ""));
            (range.to_owned(), Some(port))
        }
        None => (text.to_owned(), None),
    };
    let (ip, prefix) = range.split_once('/').map_or((range.as_str(), None), |(ip, prefix)| (ip, Some(prefix)));
    let Ok(ip) = ip.parse::<IpAddr>() else { return Err(wrong.to_owned()) };
    let prefix_max = if ip.is_ipv4() { 32 } else { 128 };
    let prefix_fits = prefix.is_none_or(|prefix| prefix.parse::<u8>().is_ok_and(|bits| bits <= prefix_max));
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    require(prefix_fits && port_fits, wrong)
}

fn file_pattern(text: &str) -> Result<(), String> {
    filled(text)?;
    let climbs = text.split(['/', '\\']).any(|part| part == "..");
    require(!climbs, "leaves its folder with `..`")
}

fn region(text: &str) -> Result<(), String> {
    require(text.len() == 2 && text.chars().all(|c| c.is_ascii_uppercase()), "is not a region")
}

/// The canonical form of a domain of e-mail addresses.
pub(crate) fn mail_domain(text: &str) -> Result<String, String> {
    affluent_model::normalize::mail_domain(text).ok_or_else(|| "is not a domain of e-mail addresses".to_owned())
}

fn secret_path(text: &str) -> Result<(), String> {
    let part = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    require(text.len() <= 200 && text.split('/').all(part), "is not the name of a secret")
}

fn environment(text: &str) -> Result<(), String> {
    let allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    require(allowed && starts && text.len() <= 200, "is not the name of an environment variable")
}

/// Decimal, from 1, without a sign or leading zeroes: one id has one spelling.
pub(crate) fn key_id(text: &str) -> Result<u32, String> {
    let id = text.parse::<u32>().ok().filter(|id| *id > 0 && id.to_string() == text);
    id.ok_or_else(|| "is not the id of a key, a number from 1 to 4294967295".to_owned())
}

/// Letters, digits, `-` and `_`, with at most one `/` between two such words.
fn plugin_name(text: &str) -> Result<(), String> {
    let is_word = |word: &str| {
        let allowed = word.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
        allowed && (1..=NAME_CHARACTERS_MAX).contains(&word.len())
    };
    require(text.split('/').count() <= 2 && text.split('/').all(is_word), "is not the name of a plugin")
}

fn hex_digits(text: &str, count: usize) -> Result<(), String> {
    let is_hex = |c: char| matches!(c, '0'..='9' | 'a'..='f');
    require(text.len() == count && text.chars().all(is_hex), &format!("is not {count} hex digits"))
}

/// 42 bytes in base64, of which the first two say Ed25519.
fn public_key(text: &str) -> Result<(), String> {
    let allowed = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '/'));
    require(text.len() == 56 && text.starts_with("RW") && allowed, "is not a public key of minisign")
}

fn key(text: &str) -> Result<(), String> {
    let is_id = text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    if is_id { Ok(()) } else { public_key(text).map_err(|_| "is neither the id of a key nor a public key".to_owned()) }
}

fn versions(text: &str) -> Result<(), String> {
    require(semver::VersionReq::parse(text).is_ok(), "is not a range of versions")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_sizes_and_rates_have_units() {
        assert_eq!(duration_ms("15m"), Ok(900_000));
        assert_eq!(duration_ms("250ms"), Ok(250));
        assert_eq!(size_bytes("5MB"), Ok(5_000_000));
        assert_eq!(rate("2/s"), Ok((2, 1_000)));
        assert_eq!(rate("100/10s"), Ok((100, 10_000)));
        for wrong in ["15", "m", "1.5h", "-3s", "15 m", "", "99999999999999999999s", "9999999999999d"] {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
        for wrong in ["2", "0/s", "2/0s", "/s", "2/", "2/s/s"] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn percentages_lie_between_nothing_and_all() {
        assert_eq!(share("10%"), Ok(0.1));
        for wrong in ["10", "101%", "-1%", "%", "1e1%", "inf%"] {
            assert!(share(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_key_has_a_number_with_one_spelling() {
        assert_eq!(key_id("7"), Ok(7));
        assert_eq!(key_id("4294967295"), Ok(u32::MAX));
        for wrong in ["", "0", "07", "+7", "-1", " 7", "4294967296", "KEK", "AFFLUENT_KEK_7"] {
            assert!(key_id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn since_takes_a_date_or_an_instant() {
        assert_eq!(since_us("2024-01-01"), Ok(1_704_067_200_000_000));
        assert_eq!(since_us("2024-01-01T01:00:00+01:00"), Ok(1_704_067_200_000_000));
        for wrong in ["2024-13-01", "01/02/2024", "2024-01-01T00:00:00", "yesterday"] {
            assert!(since_us(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn webhooks_come_to_an_address_of_https() {
        for fine in ["https://a.test", "https://A.test:8443/webhooks/crm?to=a%3Ab", "https://hooks.example.com/"] {
            assert_eq!(webhook_url(fine), Ok(()), "{fine}");
        }
        for wrong in [
            "http://a.test/",
            "a.test/x",
            "https://",
            "https:///x",
            "https://me@a.test/",
            "https://a.test/#x",
            "https://a b/",
            "https://a.test/\u{e9}",
        ] {
            assert!(webhook_url(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_may_have_a_prefix_and_a_port() {
        for fine in ["127.0.0.1", "127.0.0.1:8080", "10.0.0.0/8:443", "10.1.2.3/32", "::1", "[::1]:80", "[fd00::]/8:80"] {
            assert_eq!(address(fine), Ok(()), "{fine}");
        }
        for wrong in ["localhost", "10.0.0.0/33", "10.0.0.1:0", "10.0.0.1:70000", "", "1.2.3"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
