//! The files of a recording: one per connection, JSON Lines, a first line about the whole and a line per exchange. A
//! body that is JSON on one line stands there as it was sent, byte for byte; any other text as a string.

use std::fs;
use std::path::{Path, PathBuf};

use affluent_model::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version of the format that this host reads and writes.
pub(super) const VERSION: u32 = 1;
/// A file of a recording, bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;
const SUFFIX: &str = "exchanges.jsonl";

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    /// Always [`VERSION`].
    pub(super) recording: u32,
    pub(super) connection: String,
    pub(super) plugin: String,
    /// When the recording began: microseconds UTC. Guests see this time in every replay.
    pub(super) recorded_at_us: i64,
    /// Seeds the randomness of guests; hex. Nothing secret comes from it.
    pub(super) seed: String,
}

/// A request and what came back.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Exchange {
    pub(crate) request: SentRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response: Option<GivenResponse>,
    /// Set instead of `response` when none came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) failure: Option<Failed>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SentRequest {
    pub(super) method: String,
    pub(super) url: String,
    /// Those that the guest set; for the reader, not for matching.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) body: Option<Body>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GivenResponse {
    pub(crate) status: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<Body>,
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Failed {
    Connect,
    Timeout,
    TooLarge,
    Invalid,
}

/// A body in its most readable form that loses nothing.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Body {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
}

impl Body {
    /// `None` for an empty body.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.is_empty() {
            return None;
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Some(Self { base64: Some(STANDARD.encode(bytes)), ..Self::default() });
        };
        let is_one_line = text.trim() == text && !text.contains(['\n', '\r']);
        let json = is_one_line.then(|| RawValue::from_string(text.to_owned()).ok()).flatten();
        // Numbers alone and the like are JSON, too, but read better as what they are.
        match json.filter(|_| text.starts_with(['{', '['])) {
            Some(json) => Some(Self { json: Some(json), ..Self::default() }),
            None => Some(Self { text: Some(text.to_owned()), ..Self::default() }),
        }
    }

    pub(crate) fn bytes(&self) -> Option<Vec<u8>> {
        match (&self.json, &self.text, &self.base64) {
            (Some(json), None, None) => Some(json.get().as_bytes().to_vec()),
            (None, Some(text), None) => Some(text.as_bytes().to_vec()),
            (None, None, Some(base64)) => STANDARD.decode(base64).ok(),
            _ => None,
        }
    }
}

/// Where the exchanges of a connection stand.
pub(super) fn path(folder: &Path, connection: &str) -> PathBuf {
    let plain: String =
        connection.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '-') { c } else { '_' }).collect();
    folder.join(format!("{plain}.{SUFFIX}"))
}

/// The files of a recording, sorted.
///
/// # Errors
/// `E0920` when the folder cannot be read or holds no recording.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).map_err(|error| unusable(folder, &error.to_string()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(&format!(".{SUFFIX}"))))
        .collect();
    files.sort();
    if files.is_empty() {
        return Err(unusable(folder, &format!("there is no `*.{SUFFIX}` in it")));
    }
    Ok(files)
}

/// Writes a file whole or not at all.
///
/// # Errors
/// `E0920`.
pub(super) fn write(path: &Path, lines: &str) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = path
        .parent()
        .map_or(Ok(()), fs::create_dir_all)
        .and_then(|()| fs::write(&partial, lines))
        .and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        Error::external("E0920", format!("the recording `{}` cannot be written: {}", path.display(), error.kind()))
            .help("is the folder yours, and is there room?")
    })
}

/// Reads a file: its first line and its exchanges.
///
/// # Errors
/// `E0920` when it cannot be read, `E0923` with the line when it is no recording of this version.
pub(super) fn read(path: &Path) -> Result<(Header, Vec<Exchange>)> {
    let length = fs::metadata(path).map_err(|error| unusable(path, &error.to_string()))?.len();
    if length > FILE_BYTES_MAX {
        return Err(unusable(path, "it is larger than 1 GiB"));
    }
    let text = fs::read_to_string(path).map_err(|error| unusable(path, &error.to_string()))?;
    let mut lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (_, first) = lines.next().ok_or_else(|| malformed(path, 1, "it is empty"))?;
    let header: Header = serde_json::from_str(first).map_err(|error| malformed(path, 1, &reason(&error)))?;
    if header.recording != VERSION {
        return Err(malformed(path, 1, &format!("it has version {}, this program reads {VERSION}", header.recording)));
    }
    let mut exchanges = Vec::new();
    for (number, line) in lines {
        exchanges.push(parse(line).map_err(|reason| malformed(path, number + 1, &reason))?);
    }
    Ok((header, exchanges))
}

fn parse(line: &str) -> Result<Exchange, String> {
    let exchange: Exchange = serde_json::from_str(line).map_err(|error| reason(&error))?;
    if exchange.response.is_some() == exchange.failure.is_some() {
        return Err("an exchange has either a `response` or a `failure`".to_owned());
    }
    let bodies = exchange.request.body.iter().chain(exchange.response.iter().filter_map(|response| response.body.as_ref()));
    if bodies.into_iter().any(|body| body.bytes().is_none()) {
        return Err("a body is one of `json`, `text` and `base64`".to_owned());
    }
    Ok(exchange)
}

/// Where the mistake is, never the text around it.
fn reason(error: &serde_json::Error) -> String {
    format!("not of the right form at column {}", error.column())
}

fn unusable(path: &Path, reason: &str) -> Error {
    Error::configuration("E0920", format!("`{}` cannot be used as a recording: {reason}", path.display()))
        .help("make one with `affluent run --record DIR`")
}

fn malformed(path: &Path, line: usize, reason: &str) -> Error {
    Error::configuration("E0923", format!("`{}` line {line} is no recording: {reason}", path.display()))
        .help("record again with `--record`")
}
