//! `affluent assess --html`: a source as a page that a data team can hand around.

use affluent_profiles::assess::report::{Assessment, FieldAssessment, Ground, StreamAssessment};
use maud::{Markup, html};

use crate::render::assess::{distinct, junk, known, match_lines, percent, personal, roles, shares};
use crate::render::page::chart;
use crate::render::page::{Page, Section, facts, list, table};
use crate::render::screen::number;

/// The page.
pub(crate) fn page(found: &Assessment) -> Page {
    let mut sections = Vec::new();
    for stream in &found.streams {
        sections.extend([overview(stream), fill(stream), fields(stream)]);
        sections.extend((!stream.identifiers.is_empty()).then(|| identifiers(stream)));
    }
    let records: u64 = found.streams.iter().map(|stream| stream.records).sum();
    Page {
        title: format!("Assessment · {}", found.source.rsplit('/').next().unwrap_or_default()),
        subtitle: format!("{} records; no personal value is on this page", number(records)),
        choices: Vec::new(),
        sections,
    }
}

fn overview(stream: &StreamAssessment) -> Section {
    let is_personal = |field: &&FieldAssessment| field.personal.is_some();
    let mut known = vec![
        ("records", number(stream.records)),
        ("fields", number(stream.fields.len() as u64)),
        ("personal fields", number(stream.fields.iter().filter(is_personal).count() as u64)),
        ("identifiers", number(stream.identifiers.len() as u64)),
    ];
    if stream.rejected > 0 {
        known.push(("unreadable", number(stream.rejected)));
    }
    if let Some(matches) = &stream.matches {
        known.push(("would join profiles", percent(matches.match_rate)));
        known.push(("new profiles", number(matches.profiles_made)));
    }
    let body = html! {
        (facts(&known))
        (list(&roles(stream)))
        @if let Some(matches) = &stream.matches { (list(&match_lines(matches))) }
    };
    let note = if stream.is_whole { "All records were read." } else { "A sample of the first records: there are more." };
    Section { heading: stream.stream.clone(), note: note.to_owned(), body }
}

fn fill(stream: &StreamAssessment) -> Section {
    let rows = stream.fields.iter().map(|field| chart::Fill {
        name: field.name.clone(),
        filled: field.fill_rate,
        junk: junk_share(field, stream.records),
        value: percent(field.fill_rate),
        tip: format!("{} null, {} empty, {}", number(field.nulls), number(field.empty), junk_words(field)),
    });
    let body = html! {
        (chart::key("filled", "a value that stands for none"))
        (chart::fills(&rows.collect::<Vec<_>>()))
    };
    Section { heading: "How full the fields are".to_owned(), note: "Junk counts as not filled.".to_owned(), body }
}

fn junk_words(field: &FieldAssessment) -> String {
    let words = junk(field);
    if words.is_empty() { "no junk".to_owned() } else { words }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 do not occur")]
fn junk_share(field: &FieldAssessment, records: u64) -> f64 {
    let junk: u64 = field.junk.iter().filter(|junk| junk.preset == "junk").map(|junk| junk.records).sum();
    if records == 0 { 0.0 } else { junk as f64 / records as f64 }
}

fn fields(stream: &StreamAssessment) -> Section {
    let rows: Vec<Vec<String>> = stream
        .fields
        .iter()
        .map(|field| {
            vec![
                field.name.clone(),
                field.kind.as_str().to_owned(),
                distinct(field),
                personal(field),
                grounds(field),
                formats(field),
                shares(field),
            ]
        })
        .collect();
    let head = ["field", "type", "distinct", "personal", "by", "formats", "shapes or values"];
    let note = "Shapes mask what is written: A and a for letters, 9 for digits. Values are shown where they are few and nothing \
                speaks for personal data.";
    Section {
        heading: "What the fields hold".to_owned(),
        note: note.to_owned(),
        body: html! { div.words { (table(&head, &rows)) } },
    }
}

fn grounds(field: &FieldAssessment) -> String {
    let word = |ground: &Ground| match ground {
        Ground::Declared => "the source",
        Ground::Name => "name",
        Ground::Content => "content",
    };
    let by = field.personal.iter().flat_map(|personal| &personal.by).map(word);
    by.collect::<Vec<_>>().join(", ")
}

fn formats(field: &FieldAssessment) -> String {
    field.formats.iter().map(|one| format!("{} {}", one.name, percent(one.share))).collect::<Vec<_>>().join(", ")
}

fn identifiers(stream: &StreamAssessment) -> Section {
    let is_compared = stream.identifiers.iter().any(|one| !one.known.is_empty());
    let rows: Vec<Vec<String>> = stream
        .identifiers
        .iter()
        .map(|one| {
            let mut row = vec![
                one.field.clone(),
                one.kind.clone(),
                number(one.distinct),
                format!("{:.2}", one.records_per_value),
                number(one.records_per_value_p99),
                number(one.records_per_value_max),
                percent(one.junk_share),
            ];
            row.extend(is_compared.then(|| known(one)));
            row
        })
        .collect();
    let mut head = vec!["field", "as", "distinct", "records per value", "99 of 100", "most", "junk"];
    head.extend(is_compared.then_some("known"));
    let body = html! { (table(&head, &rows)) @if is_compared { (overlap(stream)) } };
    let note = "A value that very many records share is no person's own: a till, a test address, a shop's phone.";
    Section { heading: "What points to persons and things".to_owned(), note: note.to_owned(), body }
}

fn overlap(stream: &StreamAssessment) -> Markup {
    let mut rows: Vec<(String, f64, String)> = Vec::new();
    for one in &stream.identifiers {
        let told = one.known.iter().filter(|known| known.known > 0 || known.kind == one.kind);
        rows.extend(told.map(|known| {
            let name = if known.kind == one.field { known.kind.clone() } else { format!("{} as {}", one.field, known.kind) };
            (name, known.share, percent(known.share))
        }));
    }
    html! {
        h3 { "known already, of the distinct values" }
        (chart::shares(&rows))
    }
}
