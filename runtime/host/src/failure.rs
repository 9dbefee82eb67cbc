//! Failures in the words of the model: what a plugin says went wrong, and what the host found wrong with a plugin.
//! Texts of a guest are cut, escaped and cleared of known secrets before they get here.

use affluent_model::Error;
use affluent_model::connector::{Failure, FailureKind};
use affluent_model::error::Retry;
use affluent_model::limits::GUEST_MESSAGE_BYTES_MAX;

use crate::bindings::affluent::plugin::types::{ErrorKind, PluginError};

/// A failure that the host itself found; `plugin_code` is `host.<word>`.
pub(crate) fn host_failure(kind: FailureKind, word: &str, error: Error) -> Failure {
    Failure { kind, plugin_code: format!("host.{word}"), retry_after_ms: None, error }
}

/// The plugin broke the contract: its instance must not be used again.
pub(crate) fn contract_failure(code: &'static str, plugin: &str, what: &str) -> Failure {
    let message = format!("plugin `{plugin}` {what}");
    let error =
        Error::external(code, message).retry(Retry::Never).help("this is a mistake in the plugin; report it to its author");
    host_failure(FailureKind::Trap, "contract", error)
}

/// Something wrong with the plugin file or the project, found before the plugin ran.
pub(crate) fn configuration_failure(code: &'static str, message: String, help: &str) -> Failure {
    host_failure(FailureKind::Config, "configuration", Error::configuration(code, message).help(help))
}

pub(crate) fn cancelled_failure() -> Failure {
    host_failure(FailureKind::Cancelled, "cancelled", Error::external("E0415", "the run is being stopped").retry(Retry::Never))
}

/// What a guest reported, as the engine understands it.
pub(crate) fn reported_failure(plugin: &str, reported: PluginError) -> Failure {
    let (kind, code) = classify(reported.kind);
    let message = clean_text(&reported.message, GUEST_MESSAGE_BYTES_MAX);
    let plugin_code = clean_code(&reported.code);
    let text = format!("plugin `{plugin}`: {message} (`{plugin_code}`)");
    let error = match kind {
        FailureKind::Config | FailureKind::Unsupported => Error::configuration(code, text),
        FailureKind::RateLimited => Error::external(code, text).retry(Retry::After(reported.retry_after_ms.unwrap_or(0))),
        FailureKind::Transient => Error::external(code, text),
        _ => Error::external(code, text).retry(Retry::Never),
    };
    Failure { kind, plugin_code, retry_after_ms: reported.retry_after_ms, error: error.help(help_for(kind)) }
}

fn classify(kind: ErrorKind) -> (FailureKind, &'static str) {
    match kind {
        ErrorKind::Config => (FailureKind::Config, "E0409"),
        ErrorKind::Auth => (FailureKind::Auth, "E0401"),
        ErrorKind::Permission => (FailureKind::Permission, "E0402"),
        ErrorKind::NotFound => (FailureKind::NotFound, "E0403"),
        ErrorKind::RateLimited => (FailureKind::RateLimited, "E0404"),
        ErrorKind::Transient => (FailureKind::Transient, "E0405"),
        ErrorKind::InvalidData => (FailureKind::InvalidData, "E0406"),
        ErrorKind::Unsupported => (FailureKind::Unsupported, "E0407"),
        ErrorKind::Internal => (FailureKind::Internal, "E0408"),
    }
}

fn help_for(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::Auth => "check the connection's secrets: expired, revoked or of another account",
        FailureKind::Permission => "grant the missing scope to the credential, as the plugin's manifest lists them",
        FailureKind::RateLimited | FailureKind::Transient => "run again later; nothing is lost",
        FailureKind::Config => "change the connection's `config`",
        _ => "",
    }
}

/// A stable code: letters, digits, `.`, `_`, `-`; anything else becomes `_`; at most 64 characters.
pub(crate) fn clean_code(code: &str) -> String {
    let keep = |character: char| character.is_ascii_alphanumeric() || matches!(character, '.' | '_' | '-');
    code.chars().take(64).map(|character| if keep(character) { character } else { '_' }).collect()
}

/// Cuts a text at `bytes_max` on a character's border and escapes what could forge a log or steer a terminal
/// (security D-62).
pub(crate) fn clean_text(text: &str, bytes_max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(bytes_max));
    for character in text.chars() {
        let forbidden = character.is_control()
            || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200b}'..='\u{200f}');
        if clean.len() + character.len_utf8() > bytes_max {
            break;
        }
        if forbidden {
            clean.extend(character.escape_unicode());
        } else {
            clean.push(character);
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_on_a_character_and_cannot_forge_a_line() {
        assert_eq!(clean_text("aéé", 4), "aé");
        assert_eq!(clean_text("a\nb\u{1b}[2J\u{202e}", 100), "a\\u{a}b\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn a_code_keeps_only_plain_characters() {
        assert_eq!(clean_code("shopify.throttled \n"), "shopify.throttled__");
    }
}
