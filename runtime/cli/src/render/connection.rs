//! Connections as text: whether they work, and what they offer.

use affluent_model::manifest::TargetSchema;
use affluent_model::schema::{Field, StreamSchema, SyncMode};

use crate::commands::connection::{Checked, Offered};
use crate::render::screen::table;

/// Connections that were tried, each with what to do or to know.
pub(crate) fn checked(checked: &[Checked]) -> String {
    let mut rows = table(&["connection", "plugin", "state", "", ""]);
    for one in checked {
        let reason = one.reason.iter().map(|reason| (one.code.unwrap_or_default().to_owned(), reason.clone()));
        let help = one.help.iter().map(|help| ("help".to_owned(), help.clone()));
        let notes = one.notes.iter().map(|note| ("note".to_owned(), note.clone()));
        let mut told = reason.chain(help).chain(notes);
        let (word, text) = told.next().unwrap_or_default();
        rows.add_row([one.connection.clone(), one.plugin.clone(), one.state.to_owned(), word, text]);
        for (word, text) in told {
            rows.add_row([String::new(), String::new(), String::new(), word, text]);
        }
    }
    rows.to_string()
}

/// What a connection offers; the fields too when one stream or object was asked for.
pub(crate) fn offered(offered: &Offered, with_fields: bool) -> String {
    let mut text = String::new();
    if !offered.streams.is_empty() {
        let mut rows = table(&["stream", "sync", "primary key", "changes by", "fields", "personal"]);
        for stream in &offered.streams {
            rows.add_row([
                stream
                    .parent
                    .as_ref()
                    .map_or_else(|| stream.name.clone(), |parent| format!("{} of {}", stream.name, parent.stream)),
                sync_modes(stream),
                stream.primary_key.join(", "),
                stream.cursor_field.clone().unwrap_or_default(),
                stream.fields.len().to_string(),
                personal(&stream.fields),
            ]);
        }
        text.push_str(&format!("{rows}\n\n"));
    }
    if !offered.objects.is_empty() {
        let mut rows = table(&["object", "modes", "match by", "lists", "erases", "fields", "personal"]);
        for object in &offered.objects {
            rows.add_row([
                object.name.clone(),
                modes(object),
                if object.match_fields.is_empty() { "any field".to_owned() } else { object.match_fields.join(", ") },
                yes(object.lists),
                erases(object).to_owned(),
                if object.any_fields { format!("{} and others", object.fields.len()) } else { object.fields.len().to_string() },
                personal(&object.fields),
            ]);
        }
        text.push_str(&format!("{rows}\n\n"));
    }
    if with_fields {
        let streams = offered.streams.iter().map(|stream| ("stream", &stream.name, &stream.fields));
        let objects = offered.objects.iter().map(|object| ("object", &object.name, &object.fields));
        streams.chain(objects).for_each(|(what, name, of)| text.push_str(&format!("{what} {name}\n{}\n\n", fields(of))));
    }
    if text.is_empty() { format!("connection `{}` offers nothing: a scope may be missing", offered.connection) } else { text }
}

fn fields(fields: &[Field]) -> String {
    let mut rows = table(&["field", "type", "personal", "description"]);
    for field in fields {
        rows.add_row([
            field.name.clone(),
            field.kind.as_str().to_owned(),
            field.pii.map_or("", |class| class.as_str()).to_owned(),
            field.description.clone().unwrap_or_default(),
        ]);
    }
    rows.to_string()
}

/// The classes of personal data among fields, each once.
fn personal(fields: &[Field]) -> String {
    let mut classes: Vec<&str> = fields.iter().filter_map(|field| field.pii).map(|class| class.as_str()).collect();
    classes.sort_unstable();
    classes.dedup();
    classes.join(", ")
}

fn sync_modes(stream: &StreamSchema) -> String {
    let word = |mode: &SyncMode| match mode {
        SyncMode::FullRefresh => "full refresh",
        SyncMode::Incremental => "incremental",
    };
    stream.sync_modes.iter().map(word).collect::<Vec<_>>().join(", ")
}

fn modes(object: &TargetSchema) -> String {
    let is_written = |mode: &&String| !mode.contains("erase") && !mode.contains("erasure");
    object.modes.iter().filter(is_written).cloned().collect::<Vec<_>>().join(", ")
}

fn erases(object: &TargetSchema) -> &'static str {
    let has = |mode: &str| object.modes.iter().any(|one| one == mode);
    match (has("erase"), has("verify_erasure")) {
        (true, true) => "yes, verified",
        (true, false) => "yes",
        _ => "",
    }
}

fn yes(is: bool) -> String {
    if is { "yes".to_owned() } else { String::new() }
}
