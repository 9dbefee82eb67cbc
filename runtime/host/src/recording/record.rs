//! Keeps the exchanges of a run in memory and writes them at its end, when all personal values that went through are
//! known. Nothing of it touches a disk before that.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use affluent_model::pii::PiiClass;
use affluent_model::schema::{Field, FieldType};
use affluent_model::{Error, Result};
use arrow::array::{Array, AsArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::record_batch::RecordBatch;

use super::file::{self, Body, Exchange, Failed, GivenResponse, Header, SentRequest, VERSION};
use super::json_text;
use super::pseudonyms::Pseudonyms;
use super::redact::{Redactor, Unredacted};
use super::{RecordedClock, locked, seeded};
use crate::options::{Clock, RandomSource};

/// What a recording may hold, bytes of requests and answers; it is kept in memory until the end.
const RECORDING_BYTES_MAX: usize = 256 << 20;
/// Headers of answers that are of the connection, or wrong once the body is replaced.
const DROPPED_HEADERS: [&str; 6] = ["content-length", "connection", "keep-alive", "transfer-encoding", "alt-svc", "etag"];

/// Records the exchanges of one run.
pub struct Recorder {
    folder: PathBuf,
    now_us: i64,
    seed: [u8; 32],
    key: [u8; 32],
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// By connection.
    tapes: BTreeMap<String, Tape>,
    /// Value, trimmed and in lower case → class.
    personal: HashMap<String, PiiClass>,
    bytes: usize,
    is_full: bool,
}

#[derive(Default)]
struct Tape {
    plugin: String,
    exchanges: Vec<Taken>,
}

/// One exchange as it was, cleared of secrets, not yet of personal values.
pub(crate) struct Taken {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) answer: std::result::Result<TakenAnswer, Failed>,
}

/// An answer that came.
pub(crate) struct TakenAnswer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Recorder {
    /// A recording that begins now and will be written to `folder`.
    #[must_use]
    pub fn new(folder: &Path, now_us: i64, random: &RandomSource) -> Self {
        let (mut seed, mut key) = ([0; 32], [0; 32]);
        random(&mut seed);
        random(&mut key);
        Self { folder: folder.to_owned(), now_us, seed, key, kept: Mutex::default() }
    }

    /// The clock that guests must see while this is recorded: it shows the same time in every replay.
    #[must_use]
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(RecordedClock::live(self.now_us))
    }

    /// The randomness that guests must get while this is recorded.
    #[must_use]
    pub fn random(&self) -> RandomSource {
        seeded(self.seed)
    }

    /// Writes one file per connection, in place of those of an earlier recording. Gives their paths.
    ///
    /// # Errors
    /// `E0921` when personal values of an exchange cannot be found or replaced, `E0922` when there was too much to keep;
    /// nothing is written then. `E0920` when the folder cannot be written.
    pub fn write(&self) -> Result<Vec<PathBuf>> {
        let kept = locked(&self.kept);
        if kept.is_full {
            let limit = RECORDING_BYTES_MAX >> 20;
            return Err(Error::configuration("E0922", format!("the recording is larger than {limit} MiB and was not written"))
                .help("record fewer records: `affluent run --record DIR --limit 1000`"));
        }
        let mut redactor = Redactor::new(&kept.personal, Pseudonyms::new(self.key, &kept.personal));
        let mut texts = Vec::new();
        for (connection, tape) in &kept.tapes {
            texts.push((file::path(&self.folder, connection), self.lines(connection, tape, &mut redactor)?));
        }
        for stale in file::files(&self.folder).unwrap_or_default() {
            if !texts.iter().any(|(path, _)| *path == stale) {
                std::fs::remove_file(&stale).map_err(|error| {
                    Error::external("E0920", format!("`{}` cannot be removed: {}", stale.display(), error.kind()))
                })?;
            }
        }
        for (path, lines) in &texts {
            file::write(path, lines)?;
        }
        Ok(texts.into_iter().map(|(path, _)| path).collect())
    }

    pub(crate) fn keep(&self, connection: &str, plugin: &str, taken: Taken) {
        let mut kept = locked(&self.kept);
        let answer = taken.answer.as_ref().map_or(0, |answer| answer.body.len());
        kept.bytes = kept.bytes.saturating_add(taken.url.len() + taken.body.len() + answer);
        kept.is_full |= kept.bytes > RECORDING_BYTES_MAX;
        if kept.is_full {
            // It will not be written: what it holds is in the way.
            kept.tapes.clear();
            return;
        }
        let tape = kept.tapes.entry(connection.to_owned()).or_default();
        plugin.clone_into(&mut tape.plugin);
        tape.exchanges.push(taken);
    }

    /// Remembers the values of classified columns as personal.
    pub(crate) fn note(&self, fields: &[Field], records: &RecordBatch) {
        for field in fields {
            let (Some(class), Some(column)) = (field.pii, records.column_by_name(&field.name)) else { continue };
            let Ok(texts) = cast(column, &DataType::Utf8) else { continue };
            let Some(texts) = texts.as_string_opt::<i32>() else { continue };
            let mut kept = locked(&self.kept);
            for text in (0..texts.len()).filter(|row| texts.is_valid(*row)).map(|row| texts.value(row)) {
                if field.kind != FieldType::Json
                    || json_text::rewrite(text, &mut |_, _, leaf| note(&mut kept, class, leaf)).is_none()
                {
                    note(&mut kept, class, text);
                }
            }
        }
    }

    fn lines(&self, connection: &str, tape: &Tape, redactor: &mut Redactor<'_>) -> Result<String> {
        let header = Header {
            recording: VERSION,
            connection: connection.to_owned(),
            plugin: tape.plugin.clone(),
            recorded_at_us: self.now_us,
            seed: self.seed.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let mut lines = to_line(&header)?;
        for taken in &tape.exchanges {
            let redacted = redact(taken, redactor).and_then(|exchange| {
                let line = to_line(&exchange).map_err(|_| Unredacted::Unsearchable)?;
                redactor.left(&line).map_or(Ok(line), |class| Err(Unredacted::Left(class)))
            });
            lines.push_str(&redacted.map_err(|reason| not_redacted(connection, taken, reason))?);
        }
        Ok(lines)
    }
}

fn note(kept: &mut Kept, class: PiiClass, value: &str) -> Option<String> {
    let value = value.trim();
    if !value.is_empty() {
        kept.personal.entry(value.to_lowercase()).or_insert(class);
    }
    None
}

fn redact(taken: &Taken, redactor: &mut Redactor<'_>) -> std::result::Result<Exchange, Unredacted> {
    let headers = |redactor: &mut Redactor<'_>, headers: &[(String, String)]| -> Vec<(String, String)> {
        let kept = headers.iter().filter(|(name, _)| !DROPPED_HEADERS.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), redactor.header(value))).collect()
    };
    let request = SentRequest {
        method: taken.method.clone(),
        url: redactor.url(&taken.url),
        headers: headers(redactor, &taken.headers),
        body: Body::of(&redactor.body(&taken.body, content_type(&taken.headers))?),
    };
    let (response, failure) = match &taken.answer {
        Ok(answer) => {
            let body = redactor.body(&answer.body, content_type(&answer.headers))?;
            let headers = headers(redactor, &answer.headers);
            (Some(GivenResponse { status: answer.status, headers, body: Body::of(&body) }), None)
        }
        Err(failed) => (None, Some(*failed)),
    };
    Ok(Exchange { request, response, failure })
}

fn content_type(headers: &[(String, String)]) -> &str {
    headers.iter().find(|(name, _)| name == "content-type").map_or("", |(_, value)| value)
}

fn to_line(value: &impl serde::Serialize) -> Result<String> {
    serde_json::to_string(value).map(|line| line + "\n").map_err(|error| Error::bug(format!("an exchange is no JSON: {error}")))
}

fn not_redacted(connection: &str, taken: &Taken, reason: Unredacted) -> Error {
    let url = taken.url.split('?').next().unwrap_or_default();
    let host = url.split('/').nth(2).unwrap_or_default();
    let what = match reason {
        Unredacted::Unsearchable => "a body is neither JSON nor text, so that personal values cannot be found in it".to_owned(),
        Unredacted::Left(class) => format!("a value of class `{}` is left where it cannot be replaced", class.as_str()),
    };
    Error::configuration("E0921", format!("the recording was not written: {what}"))
        .at(format!("connection {connection}, {} to {host}", taken.method))
        .help("leave this stream out with `--stream`, or classify the field that holds the value")
}
