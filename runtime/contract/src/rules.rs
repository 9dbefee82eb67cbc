//! The rules of the plugin contract: a stable id, what it asks for, and what an author mends when it is broken. The
//! modules below look at them; docs and output are made from this table.

pub(crate) mod check;
pub(crate) mod destination;
pub(crate) mod discover;
pub(crate) mod faults;
pub(crate) mod hygiene;
pub(crate) mod manifest;
pub(crate) mod source;
pub(crate) mod transform;

use affluent_model::manifest::PluginKind;

/// One rule.
pub(crate) struct Rule {
    pub(crate) id: &'static str,
    /// Only for plugins of this kind; for all when absent.
    pub(crate) kind: Option<PluginKind>,
    pub(crate) says: &'static str,
    pub(crate) mend: &'static str,
}

const fn any(id: &'static str, says: &'static str, mend: &'static str) -> Rule {
    Rule { id, kind: None, says, mend }
}

const fn source(id: &'static str, says: &'static str, mend: &'static str) -> Rule {
    Rule { id, kind: Some(PluginKind::Source), says, mend }
}

const fn destination(id: &'static str, says: &'static str, mend: &'static str) -> Rule {
    Rule { id, kind: Some(PluginKind::Destination), says, mend }
}

const fn transform(id: &'static str, says: &'static str, mend: &'static str) -> Rule {
    Rule { id, kind: Some(PluginKind::Transform), says, mend }
}

/// All rules, in the order in which they are reported.
pub(crate) const RULES: &[Rule] = &[
    any(
        "manifest.loads",
        "the component speaks the contract and gives a manifest without any import",
        "build it with the SDK of this release; the manifest may use no host service",
    ),
    any(
        "manifest.imports",
        "it imports what its kind and its manifest use, and nothing else",
        "drop the import, or declare what it is for: `files` for files, `hosts` for requests",
    ),
    any("manifest.stable", "the manifest is the same in every call and every instance", "build the manifest from constants only"),
    any(
        "manifest.identity",
        "name and version are well-formed",
        "name: lower-case words joined by `-`, at most one `/`; version: MAJOR.MINOR.PATCH",
    ),
    any(
        "manifest.config_schema",
        "config_schema is a valid JSON Schema 2020-12 of an object",
        "derive it with schemars from the type that reads the config",
    ),
    any(
        "manifest.hosts",
        "every host is well-formed and its placeholders are properties of the config",
        "write `api.example.org`, `{config.shop}.example.org` or `{config.base_url}`, with the property in config_schema",
    ),
    any(
        "manifest.auth",
        "every auth slot can work: its secrets are declared, and what it sends and signs is said in full",
        "mend the slot as the evidence says",
    ),
    any(
        "manifest.secrets",
        "every secret is used by an auth slot or for webhooks, and no credential is part of the config",
        "name the secret in `auth` or `webhooks`, and remove credentials from the config",
    ),
    any(
        "check.accepts",
        "check accepts the good configuration",
        "make the config of the contract file right, or let `check` pass it",
    ),
    any(
        "check.config",
        "check answers a bad configuration with an error of kind config",
        "read the config into a type with `deny_unknown_fields`, and return `Error::config`",
    ),
    any(
        "check.credential",
        "check answers a refused credential with kind auth or permission, and says so",
        "map 401 to `Error::auth` and 403 to `Error::permission`: `error_for_status()` does; let check send a request",
    ),
    any(
        "check.secrecy",
        "a refused credential's message repeats neither the credential nor what the service said of it",
        "write messages of your own; never put the body of an answer into one",
    ),
    source(
        "discover.stable",
        "two calls of discover give the same streams",
        "keep the order fixed; no clock and no randomness in discover",
    ),
    source(
        "discover.valid",
        "names are plain and unique, keys and cursors are fields, parents exist, costs are of streams",
        "names: lower-case letters, digits and `_`; every name in primary_key, cursor_field and parent.field is a field",
    ),
    source(
        "discover.types",
        "what read returns has the columns, types and nulls that discover says",
        "correct the field's type, or make it nullable in discover",
    ),
    source(
        "discover.keys",
        "the primary key is present and unique within a full read",
        "choose the fields that identify a record, or leave primary_key empty",
    ),
    source(
        "discover.pii",
        "no column without a PII class holds e-mail addresses or phone numbers",
        "give the column its class in discover: `.pii(PiiClass::Email)`",
    ),
    source("read.ends", "a full read ends without a failure", "return position `end` with the last page"),
    source(
        "read.limits",
        "a page has no more rows than was asked for",
        "ask the service for at most `limits.max_rows` records, and keep the rest for the next page",
    ),
    source("read.cursor", "each page with records moves the state forward", "set `page.state` to where the next page begins"),
    source(
        "read.resume",
        "opened at the state of any page, the source gives exactly the rest",
        "put everything that `open` needs into the state: the cursor of the next page, not of this one",
    ),
    source(
        "read.idempotent",
        "reading a page again from the same state gives the same page",
        "nothing outside of the state may decide what is read: no clock, no store, no randomness",
    ),
    source(
        "read.incremental",
        "read again from its last state, an unchanged stream gives nothing new",
        "keep the greatest value of the cursor field in the state, and ask for what is greater",
    ),
    source(
        "read.empty_page",
        "a page without records in the middle does not end the reading",
        "end when the service says there is no next page, not when a page is empty",
    ),
    source(
        "read.cursor_loop",
        "a service that answers with the same page for ever is noticed",
        "the state must be the service's cursor and nothing that counts up by itself",
    ),
    source(
        "read.throttled",
        "429 with Retry-After is waited for, and no record is lost",
        "use `error_for_status()`: 429 becomes `rate_limited` with the wait; keep the place in `next`",
    ),
    source(
        "read.server_error",
        "500 and 503 are tried again or reported as transient, and no record is lost",
        "use `error_for_status()`: 5xx becomes `transient`; keep the place in `next`",
    ),
    source(
        "read.truncated",
        "an answer cut short is reported as transient, never taken as data",
        "parse the whole answer before using any of it: `answer.json()` reports `transient`",
    ),
    source("read.slow", "a slow answer loses no record", "leave the time-out to the host, or set `timeout_ms` generously"),
    source(
        "read.credential",
        "a credential refused in the middle stops with kind auth or permission",
        "map 401 and 403 as `error_for_status()` does",
    ),
    destination(
        "targets.valid",
        "two calls of discover give the same objects; names are unique, modes are known, match fields exist, costs are of objects",
        "modes: insert, update, upsert, mirror, append; every match field is a field",
    ),
    destination(
        "write.outcomes",
        "every row of a batch gets exactly one outcome",
        "start from `Report::accepted(0)`, add each refused row, end with `counted(rows)`",
    ),
    destination(
        "write.sizes",
        "batches of one row, of max_rows and the row after them are taken",
        "say `max_rows` when opened, and split requests inside of a batch",
    ),
    destination(
        "write.same_key",
        "the same batch with the same idempotency key gives the same report",
        "send the idempotency key to the service, or write by key",
    ),
    destination("write.nulls", "rows with nulls are taken or named", "skip null fields, or send them as the service wants them"),
    destination(
        "write.unicode",
        "texts of any script and with quotes and line breaks are taken or named",
        "build bodies with a JSON library, never by joining strings",
    ),
    destination(
        "write.deletes",
        "a batch of deletions gets outcomes like any other",
        "handle `RowOp::Delete`, or leave the mode `mirror` out of discover",
    ),
    destination(
        "write.poison",
        "a row that the service refuses is named alone",
        "map the service's errors to rows, or return `invalid_data` and let the host split the batch",
    ),
    destination("write.recovers", "a good batch after a failed one is taken", "leave nothing of a failed batch in the writer"),
    destination(
        "write.throttled",
        "429 with Retry-After fails no row for good",
        "put the rows into `retryable`, or return `rate_limited`",
    ),
    destination("write.server_error", "500 and 503 fail no row for good", "put the rows into `retryable`, or return `transient`"),
    destination(
        "write.truncated",
        "an answer cut short fails no row for good and accepts none blindly",
        "parse the answer before counting rows as accepted",
    ),
    destination(
        "write.credential",
        "a credential refused while writing stops with kind auth or permission",
        "map 401 and 403 as `error_for_status()` does",
    ),
    destination(
        "erase.accepts",
        "people are taken for erasure, also when asked for twice, and also those who are not known there",
        "accept whoever the service does not know; leave `erases()` out where a person cannot be erased",
    ),
    destination(
        "erase.verifies",
        "who is not there is told to be gone",
        "accept a person who is not found, and put one who is still there into `retryable`",
    ),
    transform(
        "transform.opens",
        "it opens for its stream and takes a good batch",
        "give the stream it is for in the contract file",
    ),
    transform(
        "transform.schema",
        "what apply returns has the form that open said",
        "return from open the schema that apply keeps",
    ),
    transform(
        "transform.split",
        "batches cut differently give the same rows",
        "decide by the row alone, or hold rows back and give them out in finish",
    ),
    transform(
        "transform.deterministic",
        "the same rows give the same result in every instance",
        "use no randomness and no clock",
    ),
    transform(
        "transform.formats",
        "columns and ndjson give the same rows",
        "read both forms through the SDK, or accept one only",
    ),
    transform(
        "transform.counts",
        "rows out and rows rejected account for the rows in",
        "reject the row that you cannot take instead of dropping it; say `drops_rows` in the contract file if it is a filter",
    ),
    transform(
        "transform.poison",
        "a row that cannot be taken is named alone, the others pass",
        "return it in `rejected` with its number in the batch",
    ),
    any(
        "hygiene.secrets",
        "no secret is in any message, log line, code, state or metric",
        "a plugin never needs a secret: let the host add it through an auth slot",
    ),
    any(
        "hygiene.personal",
        "no personal value is in any message, log line, code, state or metric",
        "name the row, the field and the reason, never the value",
    ),
    any(
        "hygiene.log_volume",
        "the log stays readable: at most a line per ten rows and 100 lines a second",
        "log once per page, and use metrics for counts",
    ),
    any("hygiene.no_trap", "no call traps, whatever the answer was", "return an error instead of unwrapping"),
];

/// Ids of the rules that begin with a prefix.
pub(crate) fn ids(prefix: &str) -> Vec<&'static str> {
    RULES.iter().map(|rule| rule.id).filter(|id| id.starts_with(prefix)).collect()
}
