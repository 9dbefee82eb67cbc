//! Which hosts a plugin may send to: what its manifest asks, with the placeholders filled from the connection's
//! configuration, and only as far as the connection's own list of hosts goes (security B-20).

use affluent_model::manifest::{HostRequest, Manifest};
use affluent_model::plan::Connection;
use affluent_model::{Error, Result};
use regex::bytes::RegexBuilder;
use url::{Host, Url};

/// What a placeholder must look like when the manifest does not say: one label of a host name.
const LABEL_PATTERN: &str = "[a-z0-9-]{1,63}";
/// A compiled pattern of a manifest, bytes.
const REGEX_BYTES_MAX: usize = 1 << 18;

/// A host, or all hosts below it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HostPattern {
    host: String,
    /// Written `*.host`: names below it, not itself.
    below: bool,
    /// The scheme's own port when absent.
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct HostRule {
    pattern: HostPattern,
    http: bool,
}

/// The hosts granted to one connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HostGrants {
    rules: Vec<HostRule>,
    /// Not empty: a host must be in it too.
    narrowed: Vec<HostPattern>,
}

impl HostGrants {
    /// Joins the manifest and the connection.
    ///
    /// # Errors
    /// `E0411` when a host, a placeholder or its value is not of the right form.
    pub(crate) fn new(manifest: &Manifest, connection: &Connection) -> Result<Self> {
        let mut rules = Vec::new();
        for request in &manifest.hosts {
            if let Some(pattern) = fill(request, &connection.config)? {
                rules.push(HostRule { pattern, http: connection.egress.http });
            }
        }
        let narrowed = connection.egress.hosts.iter().map(|text| HostPattern::parse(text)).collect::<Result<_>>()?;
        Ok(Self { rules, narrowed })
    }

    /// Whether a request may go to this URL; the reason when not.
    pub(crate) fn permits(&self, url: &Url) -> Result<(), String> {
        let is_http = match url.scheme() {
            "https" => false,
            "http" => true,
            scheme => return Err(format!("scheme `{scheme}` is not granted")),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a URL must not hold a user name or password".to_owned());
        }
        let Some(host) = url.host_str() else { return Err("the URL has no host".to_owned()) };
        let asked = self.rules.iter().filter(|rule| rule.pattern.matches(url)).collect::<Vec<_>>();
        if asked.is_empty() {
            return Err(format!("host `{host}` is not in the plugin's manifest"));
        }
        if is_http && !asked.iter().any(|rule| rule.http) {
            return Err("plain http is not granted".to_owned());
        }
        if !self.narrowed.is_empty() && !self.narrowed.iter().any(|pattern| pattern.matches(url)) {
            return Err(format!("host `{host}` is not in the connection's `egress.hosts`"));
        }
        Ok(())
    }
}

impl HostPattern {
    fn parse(text: &str) -> Result<Self> {
        let refuse =
            || refused(format!("`{text}` is no host: write `api.example.org`, `*.example.org` or `api.example.org:8443`"));
        let (below, rest) = text.strip_prefix("*.").map_or((false, text), |rest| (true, rest));
        let split =
            rest.rsplit_once(':').filter(|(host, _)| !host.ends_with(':') && (!host.contains(':') || host.ends_with(']')));
        let (host, port) = match split {
            Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| refuse())?)),
            None => (rest, None),
        };
        let has_foreign = host.contains(['/', '@', '?', '#', '*', '\\', '%']) || host.chars().any(char::is_whitespace);
        let parsed = Host::parse(host).map_err(|_| refuse())?;
        if has_foreign || (below && !is_below_a_suffix(&parsed)) {
            return Err(refuse());
        }
        Ok(Self { host: parsed.to_string(), below, port })
    }

    /// The origin of a URL.
    fn of_origin(url: &Url) -> Option<Self> {
        let host = url.host_str()?.to_owned();
        Some(Self { host, below: false, port: url.port_or_known_default() })
    }

    fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        let scheme_port = if url.scheme() == "http" { 80 } else { 443 };
        let same_port = url.port_or_known_default() == Some(self.port.unwrap_or(scheme_port));
        let same_host = if self.below {
            host.strip_suffix(&self.host).is_some_and(|label| label.len() > 1 && label.ends_with('.'))
        } else {
            host == self.host
        };
        same_port && same_host
    }
}

/// Whether one owner holds all names below this one: under a public suffix (`co.uk`, `github.io`) anybody can register a
/// name, so that a wildcard over it would be no grant (security B-20).
fn is_below_a_suffix(host: &Host) -> bool {
    let Host::Domain(domain) = host else { return false };
    psl::domain_str(domain).is_some()
}

/// The pattern with its placeholders filled; `None` when a value is not configured.
fn fill(request: &HostRequest, config: &serde_json::Value) -> Result<Option<HostPattern>> {
    let pattern = &request.pattern;
    if let Some(name) = whole_placeholder(pattern)
        && !request.vars.contains_key(name)
    {
        return fill_origin(name, config);
    }
    let mut filled = String::new();
    let mut rest = pattern.as_str();
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or_else(|| refused(format!("host pattern `{pattern}` has no closing brace")))?;
        let Some(value) = config_text(name, config) else { return Ok(None) };
        check_value(request, name, value)?;
        filled.push_str(before);
        filled.push_str(value);
        rest = after;
    }
    filled.push_str(rest);
    HostPattern::parse(&filled).map(Some)
}

/// A URL with its placeholders filled: `{config.base_url}` in front by the origin of that URL, every other by one segment or
/// label; `None` when a value is not configured.
///
/// # Errors
/// `E0411` when it is no URL then.
pub(super) fn fill_url(template: &str, config: &serde_json::Value) -> Result<Option<Url>> {
    let mut filled = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) =
            after.split_once('}').ok_or_else(|| refused(format!("token URL `{template}` has no closing brace")))?;
        let Some(value) = config_text(name, config) else { return Ok(None) };
        filled.push_str(before);
        if filled.is_empty() {
            let origin = Url::parse(value).map_err(|_| refused(format!("`{name}` is no absolute URL")))?.origin();
            filled.push_str(&origin.ascii_serialization());
        } else if value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)) {
            filled.push_str(value);
        } else {
            return Err(refused(format!("`{name}` has characters that cannot stand in the token URL `{template}`")));
        }
        rest = after;
    }
    filled.push_str(rest);
    Url::parse(&filled).map(Some).map_err(|_| refused(format!("the token URL `{template}` is no URL when it is filled")))
}

fn whole_placeholder(pattern: &str) -> Option<&str> {
    let name = pattern.strip_prefix('{')?.strip_suffix('}')?;
    (!name.contains(['{', '}'])).then_some(name)
}

fn fill_origin(name: &str, config: &serde_json::Value) -> Result<Option<HostPattern>> {
    let Some(text) = config_text(name, config) else { return Ok(None) };
    let url = Url::parse(text).map_err(|_| refused(format!("`{name}` is no absolute URL")))?;
    let is_web = matches!(url.scheme(), "http" | "https");
    let pattern = HostPattern::of_origin(&url).filter(|_| is_web);
    pattern.map(Some).ok_or_else(|| refused(format!("`{name}` is no http or https URL")))
}

/// A text of the config by its path, `config.shop`; `None` where there is none, or an empty one.
pub(super) fn config_text<'a>(name: &str, config: &'a serde_json::Value) -> Option<&'a str> {
    let path = name.strip_prefix("config.")?;
    let value = path.split('.').try_fold(config, |value, key| value.get(key))?;
    value.as_str().filter(|text| !text.is_empty())
}

fn check_value(request: &HostRequest, name: &str, value: &str) -> Result<()> {
    let pattern = request.vars.get(name).map_or(LABEL_PATTERN, String::as_str);
    let regex = RegexBuilder::new(&format!("^(?:{pattern})$")).unicode(false).size_limit(REGEX_BYTES_MAX).build();
    let regex = regex.map_err(|_| refused(format!("the manifest's pattern for `{name}` is no regular expression")))?;
    if regex.is_match(value.as_bytes()) {
        return Ok(());
    }
    Err(refused(format!("`{name}` does not have the form that the plugin asks for (`{pattern}`)")))
}

fn refused(message: String) -> Error {
    Error::configuration("E0411", message).help("see `egress` of the connection and `hosts` of the plugin's manifest")
}

#[cfg(test)]
mod tests;
