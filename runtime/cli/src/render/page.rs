//! The kit of HTML pages that commands write: one file that needs nothing else, readable in light and in dark, on a
//! screen and on paper. A page is a title, a few facts, and sections of tables and charts.

pub(crate) mod chart;

use std::path::Path;

use affluent_model::{Error, Result};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Looks of all pages; the palette follows the reader's choice of light or dark.
const STYLE: &str = include_str!("page/style.css");

/// A whole page.
pub(crate) struct Page {
    pub(crate) title: String,
    /// Under the title: what it was made from.
    pub(crate) subtitle: String,
    /// What the reader chooses from, at most [`CHOICES_MAX`]; nothing to choose where empty.
    pub(crate) choices: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// What a reader can choose from at most: the style has a rule for each.
pub(crate) const CHOICES_MAX: usize = 8;

/// A part of a page under a heading of its own.
pub(crate) struct Section {
    pub(crate) heading: String,
    /// How to read it; may be empty.
    pub(crate) note: String,
    pub(crate) body: Markup,
}

impl Page {
    /// Writes the page to a file.
    ///
    /// # Errors
    /// `E0828` when the file cannot be written.
    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        std::fs::write(path, self.html().into_string()).map_err(|error| {
            Error::external("E0828", format!("`{}` cannot be written: {error}", path.display()))
                .help("name a file in a folder that exists and that you may write to")
        })
    }

    fn html(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header { h1 { (self.title) } p { (self.subtitle) } }
                    @for (place, name) in self.choices.iter().enumerate() {
                        input.choice type="radio" name="choice" id=(format!("choice-{place}")) aria-label=(name) checked[place == 0];
                    }
                    @if !self.choices.is_empty() {
                        nav.choices { @for (place, name) in self.choices.iter().enumerate() { label for=(format!("choice-{place}")) { (name) } } }
                    }
                    main {
                        @for section in &self.sections {
                            section {
                                h2 { (section.heading) }
                                @if !section.note.is_empty() { p.note { (section.note) } }
                                (section.body)
                            }
                        }
                    }
                    footer { "made by affluent" }
                }
            }
        }
    }
}

/// A body for each of the page's choices, of which the chosen one is seen; on paper all are, under their names.
pub(crate) fn chosen(choices: &[String], body: impl Fn(usize) -> Markup) -> Markup {
    html! {
        @for (place, name) in choices.iter().enumerate() {
            div class=(format!("chosen of-{place}")) { h3.paper { (name) } (body(place)) }
        }
    }
}

/// Figures side by side: name and value.
pub(crate) fn facts(facts: &[(impl AsRef<str>, String)]) -> Markup {
    html! {
        dl.facts { @for (name, value) in facts { div { dt { (name.as_ref()) } dd { (value) } } } }
    }
}

/// A table; the first column is text, the others are numbers.
pub(crate) fn table(head: &[&str], rows: &[Vec<String>]) -> Markup {
    html! {
        div.scroll {
            table {
                thead { tr { @for name in head { th scope="col" { (name) } } } }
                tbody {
                    @for row in rows {
                        tr {
                            @for (place, cell) in row.iter().enumerate() {
                                @if place == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Sentences.
pub(crate) fn list(lines: &[String]) -> Markup {
    html! { ul { @for line in lines { li { (line) } } } }
}
