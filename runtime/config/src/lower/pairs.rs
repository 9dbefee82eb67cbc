//! `must_link` and `cannot_link` of `profiles/identity.yaml`: reviewed pairs of records, in the file itself and in CSV files
//! of the project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::matching::{RecordPair, RecordReference};
use affluent_model::plan::IdentityRules;

use crate::mistake::{self, FileReport};
use crate::placed::Placed;
use crate::raw::profiles::{RawIdentity, RawPairs};

/// Pairs of one verdict at most: each is looked up at every run.
const PAIRS_MAX: usize = 100_000;
const FORM_HELP: &str = "a record is a connection and a subject: `shop/1234`";

/// The pairs that must be one profile, and those that are never one.
pub(crate) fn pairs(raw: &RawIdentity, root: &Path, report: &mut FileReport) -> (Vec<RecordPair>, Vec<RecordPair>) {
    let both = [("must_link", &raw.must_link), ("cannot_link", &raw.cannot_link)];
    let [must_link, cannot_link] = both.map(|(name, raw)| match raw {
        Some(raw) => of_one_verdict(name, raw, root, report),
        None => Vec::new(),
    });
    refuse_contradictions(&must_link, &cannot_link, report);
    (must_link, cannot_link)
}

/// Rules that belong to no project have no records of its connections.
pub(crate) fn refused(identity: &IdentityRules) -> Option<Diagnostic> {
    let pair = identity.must_link.iter().chain(&identity.cannot_link).next()?;
    let message = "a pair names records of a project, and these rules belong to none";
    let refused = Diagnostic::error(mistake::COMBINATION, message, pair.at.clone());
    Some(refused.help("give a file of pairs of ids with `--must-link` or `--cannot-link`"))
}

fn of_one_verdict(name: &str, raw: &Placed<RawPairs>, root: &Path, report: &mut FileReport) -> Vec<RecordPair> {
    let mut pairs = Vec::new();
    if raw.files.is_none() && raw.pairs.is_none() {
        report.add(mistake::MISSING_KEY, raw.place(), format!("`{name}` has neither `files` nor `pairs`"));
    }
    for pair in raw.pairs.iter().flatten() {
        let at = report.location(pair.place());
        match pair.as_slice() {
            [one, other] => pairs.extend(pair_of((one, other), at, report)),
            _ => report.add(mistake::MALFORMED, pair.place(), "a pair is a list of two records".to_owned()),
        }
    }
    for file in raw.files.iter().flatten() {
        let read = rows_of(&root.join(file.as_str()), Path::new(file.as_str()));
        match read {
            Ok(rows) => {
                for (at, one, other) in rows {
                    pairs.extend(pair_of((&one, &other), at, report));
                }
            }
            Err(why) => report.add(mistake::UNREADABLE, file.place(), format!("`{}` cannot be read: {why}", file.as_str())),
        }
    }
    if pairs.len() > PAIRS_MAX {
        report.add(mistake::TOO_BIG, raw.place(), format!("`{name}` has more than {PAIRS_MAX} pairs"));
        pairs.truncate(PAIRS_MAX);
    }
    pairs
}

/// The first two columns of a CSV file with a header, each with its place. The library's message may hold text of the file:
/// only the kind of a mistake is told.
fn rows_of(path: &Path, shown: &Path) -> Result<Vec<(Location, String, String)>, String> {
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(path).map_err(|error| kind_of(&error))?;
    let mut rows = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| kind_of(&error))?;
        let line = row.position().map_or(1, csv::Position::line);
        let at = Location { line: usize::try_from(line).unwrap_or(1), ..Location::file_start(PathBuf::from(shown)) };
        let column = |place| row.get(place).unwrap_or_default().to_owned();
        rows.push((at, column(0), column(1)));
        if rows.len() > PAIRS_MAX {
            break;
        }
    }
    Ok(rows)
}

/// What is wrong with a file of rows, without its text.
pub(super) fn kind_of(error: &csv::Error) -> String {
    let line = error.position().map_or_else(String::new, |position| format!("line {}: ", position.line()));
    match error.kind() {
        csv::ErrorKind::Io(error) => error.kind().to_string(),
        csv::ErrorKind::Utf8 { .. } => format!("{line}a value is not UTF-8"),
        csv::ErrorKind::UnequalLengths { .. } => format!("{line}a row has more or fewer values than the header"),
        _ => format!("{line}it is not a file of comma-separated values"),
    }
}

fn pair_of((one, other): (&str, &str), at: Location, report: &mut FileReport) -> Option<RecordPair> {
    let (Some(one), Some(other)) = (reference(one), reference(other)) else {
        let message = "a pair names something that is no record";
        report.push(Diagnostic::error(mistake::MALFORMED, message, at).help(FORM_HELP));
        return None;
    };
    if one == other {
        let message = "a pair names the same record twice";
        report.push(Diagnostic::error(mistake::MALFORMED, message, at).help("name two records, or take the line out"));
        return None;
    }
    Some(RecordPair { one, other, at })
}

fn reference(text: &str) -> Option<RecordReference> {
    let (connection, subject) = text.split_once('/')?;
    let is_whole = !connection.is_empty() && !subject.is_empty();
    is_whole.then(|| RecordReference { connection: connection.to_owned(), subject: subject.to_owned() })
}

/// A pair that is never one, though others say together that it must be.
fn refuse_contradictions(must_link: &[RecordPair], cannot_link: &[RecordPair], report: &mut FileReport) {
    let mut group_of: BTreeMap<&RecordReference, usize> = BTreeMap::new();
    for (number, pair) in must_link.iter().enumerate() {
        let known = [&pair.one, &pair.other].map(|record| *group_of.entry(record).or_insert(number));
        let (kept, gone) = (known[0].min(known[1]), known[0].max(known[1]));
        if kept != gone {
            group_of.values_mut().filter(|group| **group == gone).for_each(|group| *group = kept);
        }
    }
    for pair in cannot_link {
        let group = group_of.get(&pair.one);
        if group.is_some() && group == group_of.get(&pair.other) {
            let message = "`must_link` says that these two are one profile";
            let help = "take the pair out of one of the two";
            report.push(Diagnostic::error(mistake::COMBINATION, message, pair.at.clone()).help(help));
        }
    }
}
