//! Codes of the mistakes this crate finds, and the list they are gathered in. Every code has a page under
//! `schemas/errors/`. Rendering belongs to `cli`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use affluent_model::diagnostic::{Diagnostic, Location};
use affluent_model::limits::DIAGNOSTICS_PER_FILE_MAX;

use crate::node::Place;
use crate::sources::Sources;

/// Characters of a message at most (security D-45).
const MESSAGE_CHARACTERS_MAX: usize = 500;
/// Characters of a source line shown at most; longer lines are cut after them.
const LINE_CHARACTERS_MAX: usize = 500;

pub(crate) const UNREADABLE: &str = "E0100";
pub(crate) const TOO_BIG: &str = "E0101";
pub(crate) const CHARACTER: &str = "E0102";
pub(crate) const SYNTAX: &str = "E0103";
pub(crate) const TAG: &str = "E0104";
pub(crate) const DUPLICATE_KEY: &str = "E0105";
pub(crate) const MERGE_KEY: &str = "E0106";
pub(crate) const KEY_TYPE: &str = "E0107";
pub(crate) const NUMBER_FORM: &str = "E0108";
pub(crate) const EMPTY: &str = "E0109";
pub(crate) const DOCUMENTS: &str = "E0110";
pub(crate) const ALIASES: &str = "E0111";
pub(crate) const NO_PROJECT: &str = "E0112";
pub(crate) const STRAY_FILE: &str = "E0113";

pub(crate) const UNKNOWN_KEY: &str = "E0150";
pub(crate) const MISSING_KEY: &str = "E0151";
pub(crate) const WRONG_TYPE: &str = "E0152";
pub(crate) const NOT_ALLOWED: &str = "E0153";
pub(crate) const MALFORMED: &str = "E0154";
pub(crate) const OUT_OF_RANGE: &str = "E0155";
pub(crate) const VERSION: &str = "E0156";
pub(crate) const COMBINATION: &str = "E0157";
pub(crate) const SECRET_PLACE: &str = "E0158";
pub(crate) const NOT_SET: &str = "E0159";
pub(crate) const LATER: &str = "E0160";
pub(crate) const PLUGIN_CONFIG: &str = "E0161";
pub(crate) const FILE_PATTERN: &str = "E0163";
pub(crate) const LOOKS_PERSONAL: &str = "E0164";
pub(crate) const NOT_GRANTED: &str = "E0165";
pub(crate) const GRANT_UNUSED: &str = "E0166";
pub(crate) const PERSONAL_USE: &str = "E0167";
pub(crate) const SECRETS: &str = "E0169";

pub(crate) const UNKNOWN_CONNECTION: &str = "E0200";
pub(crate) const UNKNOWN_PIPELINE: &str = "E0201";
pub(crate) const UNKNOWN_PLUGIN: &str = "E0202";
pub(crate) const UNKNOWN_STREAM: &str = "E0203";
pub(crate) const AFTER_CYCLE: &str = "E0204";
pub(crate) const UNKNOWN_SEGMENT: &str = "E0205";
pub(crate) const EXCLUDE_CYCLE: &str = "E0206";
pub(crate) const UNKNOWN_IDENTIFIER: &str = "E0207";
pub(crate) const DUPLICATE_NAME: &str = "E0208";
pub(crate) const UNKNOWN_OBJECT: &str = "E0209";
pub(crate) const UNKNOWN_FIELD: &str = "E0210";
pub(crate) const UNKNOWN_ATTRIBUTE: &str = "E0211";
pub(crate) const UNKNOWN_PURPOSE: &str = "E0212";
pub(crate) const PLUGIN_KIND: &str = "E0213";
pub(crate) const SYNC_MODE: &str = "E0214";
pub(crate) const WRITE_MODE: &str = "E0215";
pub(crate) const NO_IDENTITY: &str = "E0216";
pub(crate) const NO_RATE: &str = "E0218";

pub(crate) const EXPRESSION: &str = "E0300";
pub(crate) const EXPRESSION_TYPE: &str = "E0301";
pub(crate) const EXPRESSION_SHAPE: &str = "E0302";
pub(crate) const TYPE_CONFLICT: &str = "E0303";
pub(crate) const DELIVERY_FORM: &str = "E0304";

/// The lock file was changed by hand.
pub(crate) const LOCK_EDITED: &str = "E0959";

pub(crate) const PLAINTEXT_NOT_GRANTED: &str = "E0416";
pub(crate) const PLAINTEXT_NEEDED: &str = "E0417";

pub(crate) const CRON: &str = "E0350";
pub(crate) const TIMEZONE: &str = "E0351";
pub(crate) const SCHEDULE_EMPTY: &str = "E0352";

/// The mistakes of one file, by place.
pub(crate) struct FileReport {
    file: PathBuf,
    pub(crate) diagnostics: Vec<Diagnostic>,
    /// Places of the maps from which something wrong was taken: what they lack then is no mistake of its own.
    damaged: Vec<Place>,
    /// Values that came from the environment.
    pub(crate) hidden: Vec<String>,
}

impl FileReport {
    pub(crate) fn new(file: &Path) -> Self {
        Self { file: file.to_owned(), diagnostics: Vec::new(), damaged: Vec::new(), hidden: Vec::new() }
    }

    pub(crate) fn damage(&mut self, place: Place) {
        self.damaged.push(place);
    }

    pub(crate) fn location(&self, place: Place) -> Location {
        place.in_file(&self.file)
    }

    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Adds a mistake without help.
    pub(crate) fn add(&mut self, code: &'static str, place: Place, message: impl Into<String>) {
        if !self.follows_from_damage(code, place) {
            self.push(Diagnostic::error(code, message, place.in_file(&self.file)));
        }
    }

    /// Adds a mistake with one line of help.
    pub(crate) fn add_help(&mut self, code: &'static str, place: Place, message: impl Into<String>, help: impl Into<String>) {
        if !self.follows_from_damage(code, place) {
            self.push(Diagnostic::error(code, message, place.in_file(&self.file)).help(help));
        }
    }

    fn follows_from_damage(&self, code: &str, place: Place) -> bool {
        matches!(code, MISSING_KEY | COMBINATION | SCHEDULE_EMPTY) && self.damaged.contains(&place)
    }

    pub(crate) fn push(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.diagnostics.is_empty()
    }
}

/// Sorts by file and position, keeps the first [`DIAGNOSTICS_PER_FILE_MAX`] of each file, fills in the lines'
/// text and makes every text safe for a terminal.
pub(crate) fn finish(mut diagnostics: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    diagnostics.sort_by(|a, b| (&a.at, a.code, &a.message).cmp(&(&b.at, b.code, &b.message)));
    diagnostics.dedup();
    let mut counts: BTreeMap<PathBuf, usize> = BTreeMap::new();
    diagnostics.retain(|diagnostic| {
        let count = counts.entry(diagnostic.at.file.clone()).or_default();
        *count += 1;
        *count <= DIAGNOSTICS_PER_FILE_MAX
    });
    for diagnostic in &mut diagnostics {
        diagnostic.message = printable(&sources.without_hidden(&diagnostic.message), MESSAGE_CHARACTERS_MAX);
        for help in &mut diagnostic.help {
            *help = printable(&sources.without_hidden(help), MESSAGE_CHARACTERS_MAX);
        }
        // The line of a misplaced secret may hold the secret itself.
        if diagnostic.code != SECRET_PLACE {
            let line = sources.text(&diagnostic.at.file).and_then(|text| text.lines().nth(diagnostic.at.line.saturating_sub(1)));
            diagnostic.line_text = line.map_or_else(String::new, |line| printable(line, LINE_CHARACTERS_MAX));
        }
    }
    diagnostics
}

/// The text with control, bidirectional and zero-width characters replaced, cut at `characters_max`.
fn printable(text: &str, characters_max: usize) -> String {
    let mut out: String = text
        .chars()
        .take(characters_max)
        .map(|character| if character == '\t' { ' ' } else { character })
        .map(|character| if is_forbidden(character) { '\u{fffd}' } else { character })
        .collect();
    if text.chars().nth(characters_max).is_some() {
        out.push('…');
    }
    out
}

/// Characters that no project file may hold and no message may print: they hide or reorder what a reader sees
/// (security D-42). Line feed, carriage return and tab are fine in files.
pub(crate) fn is_forbidden(character: char) -> bool {
    matches!(character,
        '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}'..='\u{9f}'
        | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}
