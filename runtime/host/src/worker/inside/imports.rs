//! What a guest in a worker imports: every call is asked of the program. The worker itself has nothing to give but what
//! WASI cannot do without: an empty environment, randomness, and where a panic's text goes.

use std::time::Duration;

use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use super::line::Line;
use crate::bindings::affluent::plugin::http::{HttpError, Request, Response, ResponseHead};
use crate::bindings::affluent::plugin::runtime::Level;
use crate::bindings::affluent::plugin::{crypto, files, http, kv, runtime, types};
use crate::contract::Imports;
use crate::imports::files::{Reader, Writer};
use crate::imports::http::Body;
use crate::limits::{HANDLES_MAX, RANDOM_BYTES_MAX};
use crate::state::Limiter;
use crate::stdio::CappedPipe;
use crate::worker::message::{Bytes, ImportCall as Call};
use crate::worker::payload::{PackedRequest, PackedResponse};

/// The data of a store in a worker.
pub(crate) struct Proxy {
    wasi: WasiCtx,
    table: ResourceTable,
    pub(super) limiter: Limiter,
    pub(super) stdio: CappedPipe,
    line: Line,
}

impl Proxy {
    pub(super) fn new(line: Line, memory_mib: Option<u32>) -> Self {
        let stdio = CappedPipe::default();
        let wasi = WasiCtx::builder()
            .stdout(stdio.clone())
            .stderr(stdio.clone())
            .wall_clock(AskedClock(line.clone()))
            .monotonic_clock(AskedClock(line.clone()))
            .max_random_size(u64::from(RANDOM_BYTES_MAX))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { wasi, table, limiter: Limiter::new(memory_mib), stdio, line }
    }
}

impl WasiView for Proxy {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// The program's clocks; without an answer the worker is about to end.
#[derive(Clone)]
struct AskedClock(Line);

const MILLISECOND: Duration = Duration::from_millis(1);

impl HostWallClock for AskedClock {
    fn resolution(&self) -> Duration {
        MILLISECOND
    }

    fn now(&self) -> Duration {
        self.0.ask(&Call::WallClock).unwrap_or_default()
    }
}

impl HostMonotonicClock for AskedClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        self.0.ask(&Call::MonotonicClock).unwrap_or_default()
    }
}

impl Imports for Proxy {}

impl types::Host for Proxy {}

impl runtime::Host for Proxy {
    fn log(&mut self, level: Level, message: String, fields: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.line.ask(&Call::Log { level, message, fields })
    }

    fn progress(&mut self, done: u64, total: Option<u64>, note: Option<String>) -> wasmtime::Result<()> {
        self.line.ask(&Call::Progress { done, total, note })
    }

    fn metric(&mut self, name: String, value: f64, labels: Vec<(String, String)>) -> wasmtime::Result<()> {
        self.line.ask(&Call::Metric { name, value, labels })
    }

    fn now_us(&mut self) -> wasmtime::Result<i64> {
        self.line.ask(&Call::NowUs)
    }

    async fn sleep_ms(&mut self, ms: u32) -> wasmtime::Result<()> {
        self.line.ask(&Call::SleepMs(ms))
    }

    fn cancelled(&mut self) -> wasmtime::Result<bool> {
        self.line.ask(&Call::Cancelled)
    }

    fn random_bytes(&mut self, n: u32) -> wasmtime::Result<Vec<u8>> {
        self.line.ask_for_bytes(&Call::RandomBytes(n))
    }
}

impl kv::Host for Proxy {
    fn get(&mut self, key: String) -> wasmtime::Result<Option<Vec<u8>>> {
        self.line.ask_and(&Call::Get(key), |frame| Ok(frame.decode::<Option<Bytes<'_>>>()?.map(Bytes::into_vec)))
    }

    fn put(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.line.ask(&Call::Put(key, Bytes::owned(value)))
    }

    fn delete(&mut self, key: String) -> wasmtime::Result<()> {
        self.line.ask(&Call::Delete(key))
    }
}

impl crypto::Host for Proxy {
    fn hmac_sha256(&mut self, secret: String, data: Vec<u8>) -> wasmtime::Result<Result<Vec<u8>, String>> {
        self.line.ask(&Call::Hmac(secret, Bytes::owned(data)))
    }

    fn verify_hmac_sha256(&mut self, secret: String, data: Vec<u8>, mac: Vec<u8>) -> wasmtime::Result<Result<bool, String>> {
        self.line.ask(&Call::VerifyHmac(secret, Bytes::owned(data), Bytes::owned(mac)))
    }
}

/// A handle of the program's, under the number it has there.
fn handle<T: 'static>(number: u32) -> Resource<T> {
    Resource::new_own(number)
}

impl http::Host for Proxy {
    async fn send(&mut self, request: Request) -> wasmtime::Result<Result<Response, HttpError>> {
        self.line.ask_and(&Call::Send(PackedRequest::of(request)), |frame| Ok(PackedResponse::unpack(frame.decode()?)))
    }

    async fn send_all(
        &mut self,
        requests: Vec<Request>,
        max_in_flight: u8,
    ) -> wasmtime::Result<Vec<Result<Response, HttpError>>> {
        let requests = requests.into_iter().map(PackedRequest::of).collect();
        self.line.ask_and(&Call::SendAll(requests, max_in_flight), |frame| {
            let answers: Vec<Result<PackedResponse<'_>, HttpError>> = frame.decode()?;
            Ok(answers.into_iter().map(PackedResponse::unpack).collect())
        })
    }

    async fn open(&mut self, request: Request) -> wasmtime::Result<Result<(ResponseHead, Resource<Body>), HttpError>> {
        type Opened = Result<(ResponseHead, u32), HttpError>;
        let opened: Opened = self.line.ask(&Call::OpenBody(PackedRequest::of(request)))?;
        Ok(opened.map(|(head, body)| (head, handle(body))))
    }
}

impl http::HostBody for Proxy {
    async fn read(&mut self, body: Resource<Body>, max_bytes: u32) -> wasmtime::Result<Result<Option<Vec<u8>>, HttpError>> {
        self.line.ask_for_piece(&Call::ReadBody(body.rep(), max_bytes))
    }

    fn drop(&mut self, body: Resource<Body>) -> wasmtime::Result<()> {
        self.line.ask(&Call::DropBody(body.rep()))
    }
}

impl files::Host for Proxy {
    fn inputs(&mut self) -> wasmtime::Result<Vec<files::Input>> {
        self.line.ask(&Call::Inputs)
    }

    fn open_input(&mut self, name: String) -> wasmtime::Result<Result<Resource<Reader>, String>> {
        let opened: Result<u32, String> = self.line.ask(&Call::OpenInput(name))?;
        Ok(opened.map(handle))
    }

    fn open_output(&mut self, name: String) -> wasmtime::Result<Result<Resource<Writer>, String>> {
        let opened: Result<u32, String> = self.line.ask(&Call::OpenOutput(name))?;
        Ok(opened.map(handle))
    }
}

impl files::HostReader for Proxy {
    fn read(&mut self, reader: Resource<Reader>, max_bytes: u32) -> wasmtime::Result<Result<Option<Vec<u8>>, String>> {
        self.line.ask_for_piece(&Call::ReadInput(reader.rep(), max_bytes))
    }

    fn seek(&mut self, reader: Resource<Reader>, offset: u64) -> wasmtime::Result<Result<(), String>> {
        self.line.ask(&Call::SeekInput(reader.rep(), offset))
    }

    fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        self.line.ask(&Call::DropInput(reader.rep()))
    }
}

impl files::HostWriter for Proxy {
    fn write(&mut self, writer: Resource<Writer>, data: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        self.line.ask(&Call::WriteOutput(writer.rep(), Bytes::owned(data)))
    }

    async fn commit(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Result<(), String>> {
        self.line.ask(&Call::CommitOutput(writer.rep()))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.line.ask(&Call::DropOutput(writer.rep()))
    }
}
