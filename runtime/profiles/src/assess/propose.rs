//! A pipeline proposed from an assessment, as YAML: what it leads into profiles, with the classes of personal data, and
//! what `profiles/identity.yaml` needs for it.

use std::fmt::Write as _;

use super::personal::PersonalKind;
use super::propose_sql::column;
use super::report::{FieldAssessment, IdentifierCandidate, StreamAssessment, TimeRole};
use super::roles::snake_case;

/// Where the records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposedSource {
    /// A connection of the project.
    Connection(String),
    /// A file that a plugin reads: plugin, path as the project's files name it, and what stands between two fields.
    File { plugin: String, path: String, delimiter: Option<char> },
    /// A file that no plugin reads.
    Unreadable,
}

/// A proposed pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    pub pipeline: String,
    /// `profiles/identity.yaml` with the kinds that are not known yet; `None` when all are.
    pub identity: Option<String>,
}

/// Proposes a pipeline for the streams that hold persons; `known_kinds` are the identifiers that the project has.
#[must_use]
pub fn propose(name: &str, source: &ProposedSource, streams: &[StreamAssessment], known_kinds: &[String]) -> Proposal {
    let mapped: Vec<&StreamAssessment> = streams.iter().filter(|stream| leads_to_persons(stream)).collect();
    let mut pipeline = format!("version: 1\npipeline: {}_to_profiles\nsource:\n", snake_case(name));
    pipeline.push_str(&source_lines(source, &mapped));
    pipeline.push_str("  streams:\n");
    mapped.iter().for_each(|stream| pipeline.push_str(&read_lines(stream)));
    pipeline.push_str("destination:\n  profiles:\n");
    mapped.iter().for_each(|stream| pipeline.push_str(&mapping_lines(stream)));
    Proposal { pipeline, identity: identity(&mapped, known_kinds) }
}

/// True when records of the stream can be led to somebody.
#[must_use]
pub fn leads_to_persons(stream: &StreamAssessment) -> bool {
    stream.subject.is_some() || stream.identifiers.iter().any(|one| one.is_of_person)
}

fn source_lines(source: &ProposedSource, streams: &[&StreamAssessment]) -> String {
    match source {
        ProposedSource::Connection(name) => format!("  connection: {}\n", scalar(name)),
        ProposedSource::Unreadable => "  connection: name_of_a_connection   # no plugin reads this kind of file\n".to_owned(),
        ProposedSource::File { plugin, path, delimiter } => {
            let file = path.rsplit('/').next().unwrap_or(path);
            let mut lines = format!(
                "  connection:\n    plugin: {plugin}\n    files: {{ read: [{}] }}\n    config:\n      streams:\n",
                scalar(path)
            );
            for stream in streams {
                write_line(&mut lines, 8, &format!("{}:", scalar(&stream.stream)));
                write_line(&mut lines, 10, &format!("files: {}", scalar(file)));
                if let Some(delimiter) = delimiter.filter(|delimiter| *delimiter != ',') {
                    write_line(&mut lines, 10, &format!("delimiter: {}", scalar(&delimiter.to_string())));
                }
                file_settings(&mut lines, stream);
            }
            lines
        }
    }
}

/// What a file does not say of itself: key, time of change, and texts that look like numbers.
fn file_settings(lines: &mut String, stream: &StreamAssessment) {
    if let Some(key) = stream.keys.first() {
        let fields: Vec<String> = key.fields.iter().map(|field| scalar(field)).collect();
        write_line(lines, 10, &format!("primary_key: [{}]", fields.join(", ")));
    }
    if let Some(changed) = changed(stream) {
        write_line(lines, 10, &format!("cursor_field: {}", scalar(changed)));
    }
    let texts: Vec<&FieldAssessment> = stream.fields.iter().filter(|field| is_text_by_meaning(stream, field)).collect();
    if !texts.is_empty() {
        write_line(lines, 10, "columns:");
        texts.iter().for_each(|field| write_line(lines, 12, &format!("{}: {{ type: text }}", scalar(&field.name))));
    }
}

/// Ids and personal data are texts even where all of them happen to be digits.
fn is_text_by_meaning(stream: &StreamAssessment, field: &FieldAssessment) -> bool {
    let is_identifier = stream.identifiers.iter().any(|one| one.field == field.name);
    is_identifier || field.personal.as_ref().is_some_and(|personal| personal.kind != PersonalKind::DateOfBirth)
}

fn changed(stream: &StreamAssessment) -> Option<&String> {
    stream.times.iter().find(|time| time.role == TimeRole::Changed).map(|time| &time.field)
}

fn read_lines(stream: &StreamAssessment) -> String {
    let sync = if changed(stream).is_some() { "incremental" } else { "full_refresh" };
    let mut lines = format!("    {}:\n      sync: {sync}\n", scalar(&stream.stream));
    let personal = stream.fields.iter().filter_map(|field| Some((field, field.personal.as_ref()?)));
    let personal: Vec<_> = personal.collect();
    if !personal.is_empty() {
        write_line(&mut lines, 6, "pii:");
    }
    for (field, one) in personal {
        let note = format!("   # {}, {:.0} % sure", one.kind.as_str(), one.confidence * 100.0);
        write_line(&mut lines, 8, &format!("{}: {}{note}", scalar(&field.name), one.class.as_str()));
    }
    lines
}

fn mapping_lines(stream: &StreamAssessment) -> String {
    let mut lines = format!("    {}:\n", scalar(&stream.stream));
    if let Some(subject) = &stream.subject {
        write_line(&mut lines, 6, &format!("subject: {}", scalar(&column(subject))));
    }
    let identifiers = identifiers(stream);
    write_line(&mut lines, 6, "identifiers:");
    for one in &identifiers {
        write_line(&mut lines, 8, &format!("{}: {}", one.kind, scalar(&column(&one.field))));
    }
    let attributes: Vec<&FieldAssessment> =
        stream.fields.iter().filter(|field| is_attribute(stream, &identifiers, field)).collect();
    if !attributes.is_empty() {
        write_line(&mut lines, 6, "attributes:");
    }
    let mut names: Vec<String> = Vec::new();
    for field in attributes {
        let name = attribute_name(&field.name);
        if !names.contains(&name) {
            write_line(&mut lines, 8, &format!("{name}: {}", scalar(&column(&field.name))));
            names.push(name);
        }
    }
    consent_lines(&mut lines, stream);
    lines
}

/// One field per kind, the best filled; the subject too, so that other sources can name it.
#[must_use]
pub fn identifiers(stream: &StreamAssessment) -> Vec<&IdentifierCandidate> {
    let mut chosen: Vec<&IdentifierCandidate> = Vec::new();
    let is_used = |one: &&IdentifierCandidate| one.is_of_person || stream.subject.as_ref() == Some(&one.field);
    for one in stream.identifiers.iter().filter(is_used) {
        match chosen.iter_mut().find(|other| other.kind == one.kind) {
            Some(other) if other.fill_rate < one.fill_rate => *other = one,
            Some(_) => {}
            None => chosen.push(one),
        }
    }
    chosen
}

fn is_attribute(stream: &StreamAssessment, identifiers: &[&IdentifierCandidate], field: &FieldAssessment) -> bool {
    let is_taken = identifiers.iter().any(|one| one.field == field.name)
        || stream.identifiers.iter().any(|one| one.field == field.name && field.personal.is_none())
        || stream.times.iter().any(|time| time.field == field.name)
        || stream.consents.iter().any(|consent| consent.field == field.name);
    let is_not_for_all = field
        .personal
        .as_ref()
        .is_some_and(|personal| matches!(personal.kind, PersonalKind::FreeText | PersonalKind::NationalId | PersonalKind::Ip));
    !is_taken && !is_not_for_all && field.fill_rate > 0.0
}

fn attribute_name(field: &str) -> String {
    let name = snake_case(field);
    if name == "profile" || name.ends_with("__from") { format!("{name}_value") } else { name }
}

fn consent_lines(lines: &mut String, stream: &StreamAssessment) {
    let mut purposes: Vec<&str> = Vec::new();
    for consent in &stream.consents {
        if purposes.is_empty() {
            write_line(lines, 6, "consent:");
        }
        if purposes.contains(&consent.purpose.as_str()) {
            continue;
        }
        let at = changed(stream).map_or_else(String::new, |field| format!(", at: {}", scalar(&column(field))));
        let granted = quoted_text(&consent.granted);
        write_line(lines, 8, &format!("{}: {{ granted: {granted}{at} }}", consent.purpose));
        purposes.push(&consent.purpose);
    }
}

/// The kinds of identifiers that the project lacks, with rules that hold junk and shared values back.
fn identity(streams: &[&StreamAssessment], known_kinds: &[String]) -> Option<String> {
    let mut kinds: Vec<&IdentifierCandidate> = Vec::new();
    for one in streams.iter().flat_map(|stream| identifiers(stream)) {
        if !known_kinds.contains(&one.kind) && !kinds.iter().any(|known| known.kind == one.kind) {
            kinds.push(one);
        }
    }
    if kinds.is_empty() {
        return None;
    }
    let is_subject = |one: &IdentifierCandidate| streams.iter().any(|stream| stream.subject.as_ref() == Some(&one.field));
    kinds.sort_by_key(|one| (!is_subject(one), one.kind != "email", one.kind != "phone"));
    let mut lines = "version: 1\nidentifiers:\n".to_owned();
    for one in kinds {
        let presets = if one.kind == "email" { "role_mailboxes, junk" } else { "junk" };
        // A value that many records share is no person's own: one more than hardly any value has is allowed.
        let fanout = one.records_per_value_p99.saturating_mul(2).max(10);
        write_line(&mut lines, 2, &format!("{}: {{ max_fanout: {fanout}, presets: [{presets}] }}", one.kind));
    }
    Some(lines)
}

fn write_line(lines: &mut String, indent: usize, text: &str) {
    // Writing to a text cannot fail.
    let _ = writeln!(lines, "{:indent$}{text}", "");
}

/// A YAML scalar: plain where nothing in it could be read otherwise.
fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
        && !["true", "false", "yes", "no", "on", "off", "null", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_plain { text.to_owned() } else { quoted_text(text) }
}

/// In double quotes, as JSON and YAML both read it.
fn quoted_text(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\t' => quoted.push_str("\\t"),
            _ if letter.is_control() => {
                // Writing to a text cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            _ => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}
