//! Answers what a guest in a worker asks for, by the very functions that guests in this process call: there is one egress
//! gate, one limit of log lines, one store. A worker is not believed: what its guest may not import is not answered.

use affluent_model::manifest::{Manifest, PluginKind};
use serde::Serialize;
use wasmtime::component::Resource;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

use super::frame::encode;
use super::message::{ANSWER, Bytes, ImportCall};
use super::payload::{PackedRequest, PackedResponse};
use crate::bindings::affluent::plugin::{crypto, files, http, kv, runtime};
use crate::component::is_allowed;
use crate::state::{State, WasiClock};
use crate::trap::Forbidden;

/// The interfaces that a guest may call.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Allowed {
    runtime: bool,
    outside: bool,
    files: bool,
}

impl Allowed {
    /// What a plugin of this manifest may import.
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let files = is_allowed("affluent:plugin/files", manifest);
        let outside = manifest.kinds.iter().any(|kind| *kind != PluginKind::Transform);
        Self { runtime: true, outside, files }
    }

    fn has(self, call: &ImportCall<'_>) -> bool {
        use ImportCall as Call;
        match call {
            Call::WallClock | Call::MonotonicClock => true,
            Call::Log { .. }
            | Call::Progress { .. }
            | Call::Metric { .. }
            | Call::NowUs
            | Call::SleepMs(_)
            | Call::Cancelled
            | Call::RandomBytes(_) => self.runtime,
            Call::Inputs
            | Call::OpenInput(_)
            | Call::ReadInput(..)
            | Call::SeekInput(..)
            | Call::DropInput(_)
            | Call::OpenOutput(_)
            | Call::WriteOutput(..)
            | Call::CommitOutput(_)
            | Call::DropOutput(_) => self.files,
            _ => self.outside,
        }
    }
}

type Given = wasmtime::Result<Vec<u8>>;

fn give(value: &impl Serialize) -> Given {
    Ok(encode(ANSWER, value)?)
}

/// The answer as a message.
///
/// # Errors
/// What traps a guest: an import that it may not call, a handle that it does not have.
pub(super) async fn answer(state: &mut State, allowed: Allowed, call: ImportCall<'_>) -> Given {
    use ImportCall as Call;
    if !allowed.has(&call) {
        return Err(Forbidden("an interface that a plugin of its kind does not get").into());
    }
    match call {
        Call::WallClock | Call::MonotonicClock | Call::NowUs | Call::Cancelled | Call::RandomBytes(_) | Call::SleepMs(_) => {
            about_time(state, call).await
        }
        Call::Log { level, message, fields } => give(&runtime::Host::log(state, level, message, fields)?),
        Call::Progress { done, total, note } => give(&runtime::Host::progress(state, done, total, note)?),
        Call::Metric { name, value, labels } => give(&runtime::Host::metric(state, name, value, labels)?),
        Call::Get(key) => give(&kv::Host::get(state, key)?.map(Bytes::owned)),
        Call::Put(key, value) => give(&kv::Host::put(state, key, value.into_vec())?),
        Call::Delete(key) => give(&kv::Host::delete(state, key)?),
        Call::Hmac(secret, data) => give(&crypto::Host::hmac_sha256(state, secret, data.into_vec())?),
        Call::VerifyHmac(secret, data, mac) => {
            give(&crypto::Host::verify_hmac_sha256(state, secret, data.into_vec(), mac.into_vec())?)
        }
        Call::Send(_) | Call::SendAll(..) | Call::OpenBody(_) | Call::ReadBody(..) | Call::DropBody(_) => {
            about_network(state, call).await
        }
        _ => about_files(state, call).await,
    }
}

async fn about_time(state: &mut State, call: ImportCall<'_>) -> Given {
    let clock = WasiClock::of(&state.services.options);
    match call {
        ImportCall::WallClock => give(&HostWallClock::now(&clock)),
        ImportCall::MonotonicClock => give(&HostMonotonicClock::now(&clock)),
        ImportCall::NowUs => give(&runtime::Host::now_us(state)?),
        ImportCall::SleepMs(ms) => give(&runtime::Host::sleep_ms(state, ms).await?),
        ImportCall::RandomBytes(count) => give(&Bytes::owned(runtime::Host::random_bytes(state, count)?)),
        _ => give(&runtime::Host::cancelled(state)?),
    }
}

async fn about_network(state: &mut State, call: ImportCall<'_>) -> Given {
    match call {
        ImportCall::Send(request) => give(&PackedResponse::of(http::Host::send(state, request.unpack()).await?)),
        ImportCall::SendAll(requests, in_flight) => {
            let requests = requests.into_iter().map(PackedRequest::unpack).collect();
            let answers = http::Host::send_all(state, requests, in_flight).await?;
            give(&answers.into_iter().map(PackedResponse::of).collect::<Vec<_>>())
        }
        ImportCall::OpenBody(request) => {
            let opened = http::Host::open(state, request.unpack()).await?;
            give(&opened.map(|(head, body)| (head, body.rep())))
        }
        ImportCall::ReadBody(body, bytes_max) => {
            let read = http::HostBody::read(state, Resource::new_own(body), bytes_max).await?;
            give(&read.map(|piece| piece.map(Bytes::owned)))
        }
        ImportCall::DropBody(body) => give(&http::HostBody::drop(state, Resource::new_own(body))?),
        _ => Err(Forbidden("something unknown").into()),
    }
}

async fn about_files(state: &mut State, call: ImportCall<'_>) -> Given {
    match call {
        ImportCall::Inputs => give(&files::Host::inputs(state)?),
        ImportCall::OpenInput(name) => give(&files::Host::open_input(state, name)?.map(|reader| reader.rep())),
        ImportCall::ReadInput(reader, bytes_max) => {
            let read = files::HostReader::read(state, Resource::new_own(reader), bytes_max)?;
            give(&read.map(|piece| piece.map(Bytes::owned)))
        }
        ImportCall::SeekInput(reader, offset) => give(&files::HostReader::seek(state, Resource::new_own(reader), offset)?),
        ImportCall::DropInput(reader) => give(&files::HostReader::drop(state, Resource::new_own(reader))?),
        ImportCall::OpenOutput(name) => give(&files::Host::open_output(state, name)?.map(|writer| writer.rep())),
        ImportCall::WriteOutput(writer, data) => {
            give(&files::HostWriter::write(state, Resource::new_own(writer), data.into_vec())?)
        }
        ImportCall::CommitOutput(writer) => give(&files::HostWriter::commit(state, Resource::new_own(writer)).await?),
        ImportCall::DropOutput(writer) => give(&files::HostWriter::drop(state, Resource::new_own(writer))?),
        _ => Err(Forbidden("something unknown").into()),
    }
}
