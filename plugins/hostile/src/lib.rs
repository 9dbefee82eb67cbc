//! A guest that does on purpose what a host must survive: one behaviour per configuration, in a call of choice. Only the
//! host's tests load it; it is never part of the product. It implements the contract below the SDK's traits, because
//! those would not let it lie.

pub mod acts;
pub mod dump;
pub mod pages;
pub mod reports;

mod exports;

use affluent_sdk::manifest::{AuthSlot, PluginLimits};
use affluent_sdk::{Error, Manifest, PluginKind};
use schemars::JsonSchema;
use serde::Deserialize;

pub use exports::Hostile;

/// What to do, and in which call.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Well-behaved without it.
    #[serde(default)]
    pub behaviour: Behaviour,
    /// The call that misbehaves; `next`, `write` and `apply` without it.
    #[serde(default)]
    pub call: Option<Call>,
    /// Records that the stream has; 10 without it.
    #[serde(default)]
    pub records: Option<u32>,
    /// For behaviours that go out.
    #[serde(default)]
    pub url: Option<String>,
}

/// The call that misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Call {
    Check,
    Discover,
    Open,
    Next,
    Apply,
    Finish,
    Write,
    Poll,
    Close,
}

/// What it does. The first groups work in every call, the later ones only where they have a meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Behaviour {
    #[default]
    WellBehaved,

    // Resources, in every call: see `acts`.
    Panic,
    LoopForever,
    AllocateForever,
    RecurseForever,
    Exit,
    ExitZero,
    SleepLong,
    SleepOutside,
    FloodLogs,
    HugeLog,
    FloodStderr,
    FloodStdout,
    FloodMetrics,
    FloodRandom,
    FloodKv,
    HugeKvValue,
    FileNotGranted,
    OutputNotGranted,
    HoardHandles,

    // Errors, in every call.
    HugeErrorMessage,
    RateLimitedForever,
    TransientOnce,
    PanicOnce,
    AuthError,
    ConfigError,

    // Requests, in every call; `url` or a default.
    HttpGet,
    HttpGetJson,
    HttpNotGranted,
    HttpHeaderFlood,
    HttpForbiddenHeaders,
    HttpBrokenHeader,
    HttpBrokenMethod,
    HttpUnknownSlot,
    HttpFlood,
    HttpHugeBody,
    FishSecret,
    FishSecretInPieces,

    // Columns of `next` and `apply`: see `pages`.
    OffsetsNotMonotone,
    OffsetsBeyondData,
    OffsetsTooFew,
    OffsetsNotFromZero,
    InvalidUtf8,
    SplitCharacter,
    InvalidJson,
    InvalidDecimal,
    HugeDecimal,
    BadBoolean,
    WrongRowCount,
    ForgedRowCount,
    ShortValidity,
    WrongType,
    MissingColumn,
    ExtraColumn,
    DuplicateColumn,
    NullInKey,
    HugeValue,
    GarbageNdjson,
    WrongNdjsonType,

    // Pages of `next`.
    UnknownStream,
    TooManyRows,
    ManyParts,
    ManyRejected,
    HugeRejected,
    RejectedOfUnknownStream,
    HugeState,
    SameState,
    NothingForever,

    // Results of `write` and `poll`: see `reports`.
    ForgedRow,
    RowTwice,
    CountsShort,
    CountsOver,
    ManyErrors,
    HugeReportText,
    ForgedRemoteIds,
    PendingForever,
    HugeToken,
    /// See `dump`.
    DumpEverything,

    // On the rows of a batch that hold the text `poison`, in `write` and `apply`.
    PanicOnPoison,
    InvalidDataOnPoison,
    FailPoison,

    // JSON of `check`, `discover` and `open`, which then is the default call.
    GarbageJson,
    HugeJson,
    DeepJson,
    WrongJson,
}

impl Behaviour {
    fn is_about_json(self) -> bool {
        matches!(self, Self::GarbageJson | Self::HugeJson | Self::DeepJson | Self::WrongJson)
    }
}

impl Config {
    /// Reads the configuration.
    ///
    /// # Errors
    /// `config` for an unknown behaviour.
    pub fn read(config: &str) -> Result<Self, Error> {
        serde_json::from_str(config).map_err(|error| Error::config(error.to_string()))
    }

    /// The behaviour in this call.
    pub fn behaviour_in(&self, call: Call) -> Behaviour {
        let is_default = match call {
            Call::Next | Call::Write | Call::Apply | Call::Poll => !self.behaviour.is_about_json(),
            Call::Check | Call::Discover | Call::Open => self.behaviour.is_about_json(),
            Call::Finish | Call::Close => false,
        };
        let is_chosen = self.call.map_or(is_default, |chosen| chosen == call);
        if is_chosen { self.behaviour } else { Behaviour::WellBehaved }
    }
}

/// A manifest without a lie: what it asks for is what the behaviours try.
pub fn manifest() -> Manifest {
    Manifest::new::<Config>(
        "hostile",
        env!("CARGO_PKG_VERSION"),
        [PluginKind::Source, PluginKind::Transform, PluginKind::Destination],
    )
    .description("Misbehaves on purpose, for the host's tests")
    .host("hostile.test", &[])
    .host("127.0.0.1", &[])
    .host("{config.url}", &[])
    .auth("token", AuthSlot::bearer("token"))
    .secret("token", "any text", &[])
    .limits(PluginLimits { memory_mib: Some(256), call_timeout_s: Some(5), concurrency: None })
    .with_files()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_are_limited_to_the_chosen_call() {
        let config = Config::read(r#"{"behaviour": "panic", "call": "open"}"#).unwrap();

        assert_eq!(config.behaviour_in(Call::Open), Behaviour::Panic);
        assert_eq!(config.behaviour_in(Call::Next), Behaviour::WellBehaved);
    }

    #[test]
    fn behaviours_about_json_show_where_json_is_returned() {
        let config = Config::read(r#"{"behaviour": "deep_json"}"#).unwrap();

        assert_eq!(config.behaviour_in(Call::Discover), Behaviour::DeepJson);
        assert_eq!(config.behaviour_in(Call::Write), Behaviour::WellBehaved);
    }
}

/// The example of `plugins/README.md`, compiled and run: it stands here because the SDK's folder must build by itself.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Guide;
