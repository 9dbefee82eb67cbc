//! `connections/*.yaml` and inline connections → [`Connection`].

use std::collections::BTreeMap;

use affluent_model::plan::{Connection, ConnectionLimits, Egress, FileGrants, SecretReference};

use super::texts;
use crate::mistake::{self, FileReport};
use crate::node::{Node, Place};
use crate::placed::{Named, Placed};
use crate::raw::connection::{RawConnection, RawEgress, RawFiles, RawInlineConnection, RawLimits, RawSecret};
use crate::scalar;

/// `node` is the tree of the connection.
pub(crate) fn lower(raw: RawConnection, node: &Node, report: &mut FileReport) -> Connection {
    let at = raw.connection.place();
    let name = raw.connection.to_string();
    let inline = RawInlineConnection {
        plugin: raw.plugin,
        config: raw.config,
        secrets: raw.secrets,
        limits: raw.limits,
        egress: raw.egress,
        files: raw.files,
        webhooks: raw.webhooks,
    };
    lower_inline(inline, name, at, node, report)
}

/// A connection inside a pipeline, under the name that the pipeline gives it.
pub(crate) fn lower_inline(
    raw: RawInlineConnection,
    name: String,
    at: Place,
    node: &Node,
    report: &mut FileReport,
) -> Connection {
    let egress = egress(raw.egress.as_ref(), node, report);
    Connection {
        name,
        plugin: raw.plugin.to_string(),
        config: serde_json::Value::Object(raw.config.unwrap_or_default()),
        secrets: raw.secrets.as_ref().map(secrets).unwrap_or_default(),
        limits: limits(raw.limits.as_ref()),
        egress,
        files: files(raw.files.as_ref()),
        webhook_url: raw.webhooks.as_ref().map(|webhooks| webhooks.url.to_string()),
        config_at: report.location(node.key_place("config").unwrap_or(at)),
        at: report.location(at),
    }
}

fn secrets(raw: &Named<Placed<RawSecret>>) -> BTreeMap<String, SecretReference> {
    let reference = |secret: &RawSecret| match (&secret.secret, &secret.env) {
        (Some(name), _) => Some(SecretReference::Secret(name.to_string())),
        (None, Some(name)) => Some(SecretReference::Environment(name.to_string())),
        (None, None) => None,
    };
    raw.iter().filter_map(|(name, secret)| Some((name.to_string(), reference(secret)?))).collect()
}

fn limits(raw: Option<&RawLimits>) -> ConnectionLimits {
    let Some(raw) = raw else { return ConnectionLimits::default() };
    ConnectionLimits {
        rate: raw.rate.as_ref().and_then(|rate| scalar::rate(rate).ok()),
        burst: raw.burst,
        concurrency: raw.concurrency,
    }
}

fn egress(raw: Option<&RawEgress>, node: &Node, report: &mut FileReport) -> Egress {
    let Some(raw) = raw else { return Egress::default() };
    let http = raw.http.unwrap_or(false);
    let private = texts(raw.private.as_ref());
    if http && private.is_empty() {
        let place = node.deepest(["egress", "http"]).place;
        report.add_help(
            mistake::COMBINATION,
            place,
            "`http` without `private` allows nothing",
            "plain http is only allowed toward addresses listed under `private`",
        );
    }
    Egress { hosts: texts(raw.hosts.as_ref()), private, http }
}

fn files(raw: Option<&RawFiles>) -> FileGrants {
    let Some(raw) = raw else { return FileGrants::default() };
    FileGrants { read: texts(raw.read.as_ref()), write: texts(raw.write.as_ref()) }
}
