//! Turning what parser and planner say into an [`ExpressionMistake`] that points at the text and says what to do.

use affluent_model::expression::ExpressionMistake;
use datafusion::common::Span;
use datafusion::common::utils::datafusion_strsim::levenshtein;
use datafusion::error::DataFusionError;
use datafusion::sql::sqlparser::tokenizer;

use crate::failures::first_line;

/// Edits between a wrong name and the one suggested.
const EDITS_MAX: usize = 2;
/// Names listed when none is near.
const NAMES_LISTED_MAX: usize = 12;

/// The words of the project for types that planning messages name; longer names first.
const TYPE_WORDS: [(&str, &str); 13] = [
    ("Timestamp(µs, \"UTC\")", "timestamp"),
    ("Timestamp(ns)", "timestamp"),
    ("Decimal128(38, 6)", "decimal"),
    ("LargeUtf8", "text"),
    ("Utf8View", "text"),
    ("Utf8", "text"),
    ("Boolean", "boolean"),
    ("UInt64", "integer"),
    ("Int64", "integer"),
    ("Int32", "integer"),
    ("Float64", "float"),
    ("Date32", "date"),
    ("Binary", "binary"),
];

/// A mistake at a place of the text; `help` may be empty.
pub(crate) fn at(text: &str, span: tokenizer::Span, message: String, help: Option<String>) -> ExpressionMistake {
    let mut mistake = ExpressionMistake::whole(message);
    mistake.help.extend(help);
    if let Some(span) = Span::try_from_sqlparser_span(span) {
        place(&mut mistake, text, span);
    }
    mistake
}

/// What the parser said; its place is at the end of its message.
pub(crate) fn of_parser(text: &str, error: &DataFusionError) -> ExpressionMistake {
    let message = first_line(error);
    let message = message.trim_start_matches("ParserError(\"").trim_end_matches("\")");
    let message = message.trim_start_matches("sql parser error: ").trim_start_matches("TokenizerError(\"");
    let Some((what, place)) = message.split_once(" at Line: ") else {
        return ExpressionMistake::whole(parser_words(message));
    };
    let mut mistake = ExpressionMistake::whole(parser_words(what));
    let position = place.split_once(", Column: ").and_then(|(line, column)| {
        let digits: String = column.chars().take_while(char::is_ascii_digit).collect();
        Some((line.parse().ok()?, digits.parse().ok()?))
    });
    if let Some((line, column)) = position {
        mistake.offset = Some(character(text, line, column).min(text.chars().count()));
        mistake.length = 1;
    }
    mistake
}

fn parser_words(message: &str) -> String {
    let message = message.trim_end_matches('.');
    let mut letters = message.chars();
    let lowered: String = letters.next().into_iter().flat_map(char::to_lowercase).chain(letters).collect();
    if lowered.contains("recursion") { "the expression is nested too deeply".to_owned() } else { lowered }
}

/// What the planner said.
pub(crate) fn of_planner(text: &str, error: &DataFusionError) -> ExpressionMistake {
    let message = TYPE_WORDS.iter().fold(first_line(error), |message, (name, word)| message.replace(name, word));
    let mut mistake = ExpressionMistake::whole(message);
    if let Some(span) = error.diagnostic().and_then(|known| known.span) {
        place(&mut mistake, text, span);
    }
    mistake
}

fn place(mistake: &mut ExpressionMistake, text: &str, span: Span) {
    let start = character(text, span.start.line, span.start.column);
    let end = character(text, span.end.line, span.end.column);
    mistake.offset = Some(start);
    mistake.length = end.saturating_sub(start).max(1);
}

/// Characters before a place given as line and column, both from 1.
fn character(text: &str, line: u64, column: u64) -> usize {
    let lines_before = usize::try_from(line.saturating_sub(1)).unwrap_or(usize::MAX);
    let before: usize = text.split_inclusive('\n').take(lines_before).map(|line| line.chars().count()).sum();
    before + usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX)
}

/// "did you mean …?" for the nearest of `names`, else the names themselves.
pub(crate) fn suggestion<'a>(wrong: &str, names: impl Iterator<Item = &'a str> + Clone, what: &str) -> Option<String> {
    let lowered = wrong.to_lowercase();
    let nearest = names.clone().map(|name| (levenshtein(&name.to_lowercase(), &lowered), name)).min_by_key(|(edits, _)| *edits);
    if let Some((edits, name)) = nearest
        && edits <= EDITS_MAX
        && edits < lowered.chars().count()
    {
        return Some(format!("did you mean `{name}`?"));
    }
    let mut listed: Vec<&str> = names.take(NAMES_LISTED_MAX + 1).collect();
    let is_cut = listed.len() > NAMES_LISTED_MAX;
    listed.truncate(NAMES_LISTED_MAX);
    let more = if is_cut { ", …" } else { "" };
    (!listed.is_empty()).then(|| format!("{what}: `{}`{more}", listed.join("`, `")))
}
