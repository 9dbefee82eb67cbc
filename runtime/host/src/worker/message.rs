//! What the program and a worker say to each other. The program orders and answers; the worker returns what its guest
//! returned, and asks for what its guest imports. Values of size are [`Bytes`], which are copied whole.

use std::borrow::Cow;

use affluent_model::manifest::PluginKind;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::payload::{PackedBatch, PackedPayload, PackedRequest};
use crate::bindings::affluent::plugin::runtime::Level;
use crate::bindings::exports::affluent::plugin::source::Limits;
use crate::trap::Stop;

/// Tags of what a worker sends.
pub(crate) const IMPORT: u8 = 0;
pub(crate) const RETURNED: u8 = 1;
pub(crate) const STOPPED: u8 = 2;
/// Tags of what the program sends.
pub(crate) const ORDER: u8 = 3;
pub(crate) const ANSWER: u8 = 4;

/// Bytes that are copied as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bytes<'a>(pub(crate) Cow<'a, [u8]>);

impl<'a> Bytes<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }

    pub(crate) fn owned(bytes: Vec<u8>) -> Self {
        Self(Cow::Owned(bytes))
    }

    pub(crate) fn into_vec(self) -> Vec<u8> {
        self.0.into_owned()
    }
}

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&[u8]>::deserialize(deserializer).map(Self::of)
    }
}

/// What the program has a worker do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Order<'a> {
    /// Takes the compiled component; the first order. Answered by [`Loaded`].
    Load {
        contract: &'a str,
        memory_mib: u32,
        call_seconds: u64,
    },
    /// Asks for the manifest, in a store of its own; answered by `Result<String, String>`, what does not fit the contract.
    Manifest,
    /// Instantiates the component; answered by `Result<(), String>`, what does not fit the contract.
    Start {
        kinds: Vec<PluginKind>,
        memory_mib: Option<u32>,
    },
    Check {
        config: &'a str,
    },
    DiscoverStreams {
        config: &'a str,
    },
    OpenSource {
        config: &'a str,
        spec: &'a str,
        #[serde(borrow)]
        state: Option<Bytes<'a>>,
    },
    Next {
        limits: Limits,
    },
    CloseSource,
    OpenTransform {
        config: &'a str,
        input: &'a str,
    },
    Apply {
        #[serde(borrow)]
        batch: PackedPayload<'a>,
    },
    Finish,
    DiscoverTargets {
        config: &'a str,
    },
    OpenDestination {
        config: &'a str,
        target: &'a str,
    },
    Write {
        #[serde(borrow)]
        batch: PackedBatch<'a>,
    },
    Poll {
        token: &'a str,
    },
    CloseDestination,
}

/// What a worker says of the component it took.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// Sorted.
    pub(crate) imports: Vec<String>,
    /// Walls that this machine does not have.
    pub(crate) missing: Vec<String>,
}

/// A guest that did not return.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("the guest stopped")]
pub(crate) struct Stopped {
    pub(crate) stop: Stop,
    /// The end of what it wrote there.
    pub(crate) stderr: Vec<u8>,
}

/// What a guest calls, on behalf of which its worker asks. A number that stands first is a handle's.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ImportCall<'a> {
    WallClock,
    MonotonicClock,
    Log { level: Level, message: String, fields: Vec<(String, String)> },
    Progress { done: u64, total: Option<u64>, note: Option<String> },
    Metric { name: String, value: f64, labels: Vec<(String, String)> },
    NowUs,
    SleepMs(u32),
    Cancelled,
    RandomBytes(u32),
    Get(String),
    Put(String, #[serde(borrow)] Bytes<'a>),
    Delete(String),
    Hmac(String, #[serde(borrow)] Bytes<'a>),
    VerifyHmac(String, #[serde(borrow)] Bytes<'a>, #[serde(borrow)] Bytes<'a>),
    Send(#[serde(borrow)] PackedRequest<'a>),
    SendAll(#[serde(borrow)] Vec<PackedRequest<'a>>, u8),
    OpenBody(#[serde(borrow)] PackedRequest<'a>),
    ReadBody(u32, u32),
    DropBody(u32),
    Inputs,
    OpenInput(String),
    ReadInput(u32, u32),
    SeekInput(u32, u64),
    DropInput(u32),
    OpenOutput(String),
    WriteOutput(u32, #[serde(borrow)] Bytes<'a>),
    CommitOutput(u32),
    DropOutput(u32),
}
