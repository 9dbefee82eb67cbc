//! Mistakes in a project, each with its line underlined, and the errors of runs.

use affluent_model::Error;
use affluent_model::diagnostic::{Diagnostic, Severity};
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use crate::render::screen::Screen;

/// All mistakes, and how many they are.
pub(crate) fn mistakes(screen: &Screen, diagnostics: &[Diagnostic]) -> String {
    let renderer = if screen.is_coloured { Renderer::styled() } else { Renderer::plain() };
    let mut text = String::new();
    for diagnostic in diagnostics {
        text.push_str(&one(&renderer, diagnostic));
        text.push_str("\n\n");
    }
    let errors = diagnostics.iter().filter(|one| one.severity == Severity::Error).count();
    let files: std::collections::BTreeSet<_> = diagnostics.iter().map(|one| &one.at.file).collect();
    let plural = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    text.push_str(&format!(
        "{} in {}; `affluent explain CODE` says more about each",
        plural(errors, "mistake"),
        plural(files.len(), "file")
    ));
    text
}

fn one(renderer: &Renderer, diagnostic: &Diagnostic) -> String {
    let path = diagnostic.at.file.display().to_string();
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let start = byte_at(&diagnostic.line_text, diagnostic.at.column.saturating_sub(1));
    let end = byte_at(&diagnostic.line_text, diagnostic.at.column.saturating_sub(1) + diagnostic.at.length.max(1)).max(start);
    let snippet = Snippet::source(diagnostic.line_text.as_str())
        .line_start(diagnostic.at.line)
        .path(path.as_str())
        .annotation(AnnotationKind::Primary.span(start..end));
    let mut group = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code).element(snippet);
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    renderer.render(&[group])
}

/// The byte at which a character stands; the end of the line for one beyond it.
fn byte_at(line: &str, character: usize) -> usize {
    line.char_indices().nth(character).map_or(line.len(), |(byte, _)| byte)
}

/// The error of a run: what, where, what to do.
pub(crate) fn error(error: &Error) -> String {
    let mut text = format!("error[{}]: {}", error.code, error.message);
    if !error.at.is_empty() {
        text.push_str(&format!("\n  at: {}", error.at.join(", ")));
    }
    if !error.help.is_empty() {
        text.push_str(&format!("\n  help: {}", error.help));
    }
    text
}
