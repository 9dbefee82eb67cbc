//! What is known of plugins as Markdown.

use serde_json::Value;

use super::offers::{Act, Cost, Offers};
use crate::support::root;

/// One plugin.
pub(super) struct Described {
    pub(super) name: String,
    /// What `affluent plugin inspect` prints.
    pub(super) inspected: Value,
    /// What it does about consent, of `[package.metadata.affluent]`.
    pub(super) consent: String,
    pub(super) offers: Option<Offers>,
}

const HEAD: &str = "# Catalogue of the plugins in the program

Made by `AFFLUENT_WRITE_CATALOGUE=1 cargo test --test affluent -- catalogue` from what plugins say of themselves and from accounts at stand-ins
of the services, and checked by that test: run it twice, first what is measured, then what is made of it. Streams, objects and fields are those
of such an account; `affluent connection discover` shows those of yours. `affluent plugin inspect NAME` shows all of a manifest.
";

const BEGIN: &str = "<!-- made by the catalogue's test: begin -->";
const END: &str = "<!-- made by the catalogue's test: end -->";

/// Sizes change with every release of the compiler: one that is near is left as it is.
const SIZE_TOLERANCE_KIB: u64 = 100;

/// The catalogue; `kept` is the one before.
pub(super) fn catalogue(plugins: &[Described], kept: &str) -> String {
    let mut text = HEAD.to_owned();
    table(
        &mut text,
        "",
        "| plugin | reads | writes | what | consent | contract | size |",
        plugins.iter().map(|plugin| role(plugin, kept)),
    );
    table(
        &mut text,
        "Streams",
        "| plugin | stream | sync | primary key | changes by | personal |",
        plugins.iter().flat_map(streams),
    );
    let objects = plugins.iter().flat_map(objects);
    table(&mut text, "Objects", "| plugin | object | modes | match by | lists | erases people | personal |", objects);
    let head = "| plugin | what | rows | requests | by `plan` | at least, by the limits it keeps | processor |";
    table(&mut text, "What rows cost", head, plugins.iter().flat_map(costs));
    text.push_str("\nWhat `affluent plan` forecasts is compared with what is measured: two requests, 0.2 s or a fifth apart, no more. Processor time is that\nof the whole run, start and sealing included, in an unoptimised build.\n");
    table(
        &mut text,
        "What they ask for",
        "| plugin | reaches | secrets and scopes | webhooks | limits it keeps |",
        plugins.iter().map(asks),
    );
    text
}

/// A plugin's page with what it offers at its end.
pub(super) fn with_offers(page: &str, plugin: &Described) -> String {
    let head = page.split(BEGIN).next().unwrap_or_default().trim_end();
    let mut text = format!(
        "{head}\n\n{BEGIN}\n## What an account offers\n\nThat of the stand-in: `affluent connection discover` shows yours.\n"
    );
    for (kind, offered) in offered(plugin) {
        let name = word(&offered["name"]);
        let rows = list(&offered["fields"])
            .map(|field| format!("`{}` | {} | {}", word(&field["name"]), word(&field["type"]), word(&field["pii"])));
        text.push_str(&format!("\n**{kind} `{name}`**\n"));
        table(&mut text, "", "| field | type | personal |", rows);
    }
    let limits = many(&plugin.inspected["manifest"], "rate_limits").iter().map(limit).collect::<Vec<_>>().join("; ");
    text.push_str(&format!("\nLimits that it keeps: {}.\n", if limits.is_empty() { "none" } else { &limits }));
    for row in costs(plugin) {
        let cells: Vec<&str> = row.split(" | ").skip(1).collect();
        let [what, rows, requests, _, at_least, _] = cells.as_slice() else { continue };
        text.push_str(&format!("\n{rows} rows {what}: {requests} requests, at least {at_least} by these limits.\n"));
    }
    text.push_str(&format!("{END}\n"));
    text
}

/// Rows under a title, where there are any.
fn table(text: &mut String, title: &str, head: &str, rows: impl Iterator<Item = String>) {
    let rows: Vec<String> = rows.collect();
    if rows.is_empty() {
        return;
    }
    if !title.is_empty() {
        text.push_str(&format!("\n## {title}\n"));
    }
    let columns = head.matches('|').count() - 1;
    text.push_str(&format!("\n{head}\n{}|\n", "|---".repeat(columns)));
    rows.iter().for_each(|row| text.push_str(&format!("| {row} |\n")));
}

fn role(plugin: &Described, kept: &str) -> String {
    let Described { name, inspected, consent, .. } = plugin;
    let kinds: Vec<String> = list(&inspected["manifest"]["kinds"]).map(word).collect();
    let is = |kind: &str| if kinds.iter().any(|one| one == kind) { "yes" } else { "" };
    let has_page = root().join("plugins").join(name).join("README.md").is_file();
    let linked = if has_page { format!("[{name}]({name}/README.md)") } else { name.clone() };
    let size = size(inspected["bytes"].as_u64().unwrap_or(0) / 1_024, kept, &linked);
    let (what, contract) = (word(&inspected["manifest"]["description"]), word(&inspected["contract"]));
    format!("{linked} | {} | {} | {what} | {consent} | {contract} | {size} KiB", is("source"), is("destination"))
}

/// The size that is kept where the true one is near.
fn size(kib: u64, kept: &str, linked: &str) -> u64 {
    let row = kept.lines().find(|line| line.starts_with(&format!("| {linked} |")));
    let before = row.and_then(|row| row.strip_suffix(" KiB |")?.rsplit(' ').next()?.parse().ok());
    before.filter(|before: &u64| before.abs_diff(kib) <= SIZE_TOLERANCE_KIB).unwrap_or(kib)
}

fn offered(plugin: &Described) -> impl Iterator<Item = (&'static str, &Value)> {
    let streams = plugin.offers.iter().flat_map(|offers| offers.streams.iter().map(|stream| ("Stream", stream)));
    let objects = plugin.offers.iter().flat_map(|offers| offers.objects.iter().map(|object| ("Object", object)));
    streams.chain(objects)
}

fn streams(plugin: &Described) -> Vec<String> {
    let row = |stream: &Value| {
        let parent = stream["parent"]["stream"].as_str().map_or(String::new(), |parent| format!(", of `{parent}`"));
        let sync = words(&stream["sync_modes"]).replace('_', " ");
        let (key, cursor) = (words(&stream["primary_key"]), word(&stream["cursor_field"]));
        format!("{} | `{}`{parent} | {sync} | {key} | {cursor} | {}", plugin.name, word(&stream["name"]), personal(stream))
    };
    plugin.offers.iter().flat_map(|offers| &offers.streams).map(row).collect()
}

fn objects(plugin: &Described) -> Vec<String> {
    let row = |object: &Value| {
        let modes: Vec<String> = list(&object["modes"]).map(word).collect();
        let has = |mode: &str| modes.iter().any(|one| one == mode);
        let erases = match (has("erase"), has("verify_erasure")) {
            (true, true) => "yes, and looks whether they are gone",
            (true, false) => "yes",
            _ => "",
        };
        let written: Vec<&str> = modes.iter().map(String::as_str).filter(|mode| !mode.contains("eras")).collect();
        let lists = if object["lists"] == true { "yes" } else { "" };
        let (name, by) = (word(&object["name"]), words(&object["match_fields"]));
        format!("{} | `{name}` | {} | {by} | {lists} | {erases} | {}", plugin.name, written.join(", "), personal(object))
    };
    plugin.offers.iter().flat_map(|offers| &offers.objects).map(row).collect()
}

/// What is done with rows, and how many there are; then what it costs.
fn costs(plugin: &Described) -> Vec<String> {
    let row = |Cost { act, of, rows, requests, forecast, limits_ms, cpu_ms }: &Cost| {
        let what = match act {
            Act::Read => format!("read `{of}`"),
            Act::Written => format!("written `{of}`"),
            Act::Listed => format!("written `{of}`, on a list"),
            Act::Removed => format!("`{of}` taken off it"),
        };
        let (limit_s, cpu_s) = (seconds(*limits_ms), seconds(*cpu_ms));
        format!("{} | {what} | {rows} | {requests} | {forecast} | {limit_s} s | {cpu_s} s", plugin.name)
    };
    plugin.offers.iter().flat_map(|offers| &offers.costs).map(row).collect()
}

fn asks(plugin: &Described) -> String {
    let manifest = &plugin.inspected["manifest"];
    let hosts: Vec<String> = many(manifest, "hosts").iter().map(|host| format!("`{}`", word(&host["pattern"]))).collect();
    let hosts = if manifest["files"] == true { "files".to_owned() } else { hosts.join(", ") };
    let secret = |secret: &Value| format!("`{}`: {}", word(&secret["name"]), words(&secret["scopes"]));
    let secrets: Vec<String> = many(manifest, "secrets").iter().map(secret).collect();
    let limits: Vec<String> = many(manifest, "rate_limits").iter().map(limit).collect();
    format!("{} | {hosts} | {} | {} | {}", plugin.name, secrets.join("; "), webhooks(&manifest["webhooks"]), limits.join("; "))
}

/// By what webhooks are known, and what they ask.
fn webhooks(webhooks: &Value) -> String {
    let signature = &webhooks["signature"];
    if signature.is_null() {
        return String::new();
    }
    let age = webhooks["max_age_s"].as_u64().map_or(String::new(), |age| format!(", of the last {} min", age / 60));
    let asked = words(&webhooks["requests"]["topics"]);
    let asked = if asked.is_empty() { asked } else { format!("; a person is told of {asked}") };
    format!("signed (`{}`){age}{asked}", word(&signature["name"]))
}

/// The limit in words: `90 in 10 s`, with the requests that it is for.
fn limit(limit: &Value) -> String {
    let unit = if limit["cost"].is_null() { "" } else { " points" };
    let requests = limit["matches"].as_str().map_or(String::new(), |matches| format!(" for `{matches}`"));
    format!("{}{unit} in {} s{requests}", limit["requests"], seconds(limit["per_ms"].as_u64().unwrap_or(0)))
}

/// `1500` → `1.5`.
fn seconds(ms: u64) -> String {
    let tenths = ms.div_ceil(100);
    if tenths.is_multiple_of(10) { format!("{}", tenths / 10) } else { format!("{}.{}", tenths / 10, tenths % 10) }
}

/// The classes of personal data among fields, each once.
fn personal(offered: &Value) -> String {
    let mut classes: Vec<String> =
        list(&offered["fields"]).filter_map(|field| field["pii"].as_str().map(str::to_owned)).collect();
    classes.sort();
    classes.dedup();
    classes.join(", ")
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn many(value: &Value, name: &str) -> Vec<Value> {
    value[name].as_array().cloned().unwrap_or_default()
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn words(value: &Value) -> String {
    list(value).map(word).collect::<Vec<_>>().join(", ")
}
