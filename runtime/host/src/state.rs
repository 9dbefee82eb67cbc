//! What belongs to one instance of a plugin: its WASI context (empty), its handles, its limits and the services that
//! the host grants it. A state lives and dies with its store.

use std::sync::Arc;
use std::time::Duration;

use affluent_model::manifest::Manifest;
use affluent_model::plan::Connection;
use wasmtime::ResourceLimiter;
use wasmtime::component::ResourceTable;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock, WasiCtx, WasiCtxView, WasiView};

use crate::blind::TokenVault;
use crate::deadline::CallTime;
use crate::egress::Egress;
use crate::imports::files::FileAccess;
use crate::imports::runtime::LogLimiter;
use crate::limits::{
    HANDLES_MAX, INSTANCES_MAX, MEMORIES_MAX, MEMORY_MIB, MEMORY_MIB_MAX, RANDOM_BYTES_MAX, TABLE_ELEMENTS_MAX, TABLES_MAX,
};
use crate::options::{AuditEvent, Clock, HostOptions, LogEvent, LogLevel, LogLine};
use crate::recording::Exchanges;
use crate::stdio::CappedPipe;
use crate::trap::MemoryExceeded;
use crate::vault::SecretVault;
use crate::worker::Worker;

/// Who an instance works for, and through what.
pub(crate) struct Services {
    pub(crate) options: Arc<HostOptions>,
    pub(crate) plugin: String,
    pub(crate) pipeline: String,
    /// Empty for transforms.
    pub(crate) connection_name: String,
    pub(crate) secrets: Option<Arc<SecretVault>>,
    /// Of a destination.
    pub(crate) tokens: Option<Arc<TokenVault>>,
    pub(crate) egress: Option<Egress>,
    pub(crate) files: Option<FileAccess>,
    pub(crate) log_limiter: LogLimiter,
}

/// The identity under which log lines and audit events are written.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) options: Arc<HostOptions>,
    pub(crate) plugin: String,
    pub(crate) connection: String,
    pub(crate) pipeline: String,
}

impl Caller {
    pub(crate) fn log(&self, level: LogLevel, event: LogEvent) {
        let (plugin, connection, pipeline) = (self.plugin.clone(), self.connection.clone(), self.pipeline.clone());
        (self.options.log)(LogLine { level, plugin, connection, pipeline, event });
    }

    /// The time outside, microseconds UTC: also while a recording shows guests a time that stands.
    pub(crate) fn wall_us(&self) -> i64 {
        let clock = &self.options.clock;
        match self.options.exchanges {
            Exchanges::Record(_) => {
                clock.now_us().saturating_add(i64::try_from(clock.monotonic().as_micros()).unwrap_or(i64::MAX))
            }
            Exchanges::Live | Exchanges::Replay(_) => clock.now_us(),
        }
    }

    pub(crate) fn audit(&self, action: &'static str, object: &str, reason: &str) {
        let (plugin, connection, pipeline) = (self.plugin.clone(), self.connection.clone(), self.pipeline.clone());
        let (object, reason) = (object.to_owned(), reason.to_owned());
        (self.options.audit)(AuditEvent { plugin, connection, pipeline, action, object, reason });
    }
}

impl Services {
    /// A text of a guest, without secrets and without the values of the batch at hand.
    pub(crate) fn clean(&self, text: &str) -> String {
        let scrubbed = self.secrets.as_ref().map_or_else(|| text.to_owned(), |secrets| secrets.scrubber().clean_text(text));
        match self.tokens.as_ref().and_then(|tokens| tokens.values()) {
            Some(values) => crate::blind::clean_text(&values, &scrubbed),
            None => scrubbed,
        }
    }

    pub(crate) fn caller(&self) -> Caller {
        Caller {
            options: Arc::clone(&self.options),
            plugin: self.plugin.clone(),
            connection: self.connection_name.clone(),
            pipeline: self.pipeline.clone(),
        }
    }

    /// Without any grant: for the manifest.
    pub(crate) fn none(options: &Arc<HostOptions>, plugin: &str) -> Self {
        Self::for_transform(options, plugin, "")
    }

    /// Log, clock and randomness only.
    pub(crate) fn for_transform(options: &Arc<HostOptions>, plugin: &str, pipeline: &str) -> Self {
        Self {
            options: Arc::clone(options),
            plugin: plugin.to_owned(),
            pipeline: pipeline.to_owned(),
            connection_name: String::new(),
            secrets: None,
            tokens: None,
            egress: None,
            files: None,
            log_limiter: LogLimiter::default(),
        }
    }

    /// What a connection grants, for one pipeline.
    pub(crate) fn for_connection(caller: Caller, connection: &Arc<Connection>, manifest: &Manifest) -> Self {
        let Caller { options, plugin, pipeline, connection: connection_name } = caller;
        let secrets = Arc::new(SecretVault::new(Arc::clone(&options), Arc::clone(connection), manifest));
        let files =
            manifest.files.then(|| FileAccess::new(&options.project_root, options.output_root.clone(), &connection.files));
        let log_limiter = LogLimiter::default();
        let (secrets, tokens, egress) = (Some(secrets), None, None);
        Self { options, plugin, pipeline, connection_name, secrets, tokens, egress, files, log_limiter }
    }
}

/// The data of a store.
pub(crate) struct State {
    wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) stdio: CappedPipe,
    pub(crate) time: Arc<CallTime>,
    pub(crate) services: Services,
    /// Where the guest is when it is not in this process.
    pub(crate) worker: Option<Worker>,
}

impl State {
    pub(crate) fn new(services: Services, memory_mib: Option<u32>, time: Arc<CallTime>) -> Self {
        let stdio = CappedPipe::default();
        let clock = WasiClock::of(&services.options);
        let wasi = WasiCtx::builder()
            .stdout(stdio.clone())
            .stderr(stdio.clone())
            .wall_clock(clock.clone())
            .monotonic_clock(clock)
            .max_random_size(u64::from(RANDOM_BYTES_MAX))
            .build();
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Self { wasi, table, limiter: Limiter::new(memory_mib), stdio, time, services, worker: None }
    }
}

impl Drop for State {
    fn drop(&mut self) {
        let memory_bytes = u64::try_from(self.limiter.memory_bytes).unwrap_or(u64::MAX);
        self.services.caller().log(LogLevel::Trace, LogEvent::Usage { memory_bytes });
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Memory and table limits of an instance; running out of memory is a trap, so that it does not look like a panic.
#[derive(Debug)]
pub(crate) struct Limiter {
    memory_bytes: usize,
    memory_mib_max: usize,
}

impl Limiter {
    pub(crate) fn new(memory_mib: Option<u32>) -> Self {
        let mib = memory_mib.unwrap_or(MEMORY_MIB).clamp(1, MEMORY_MIB_MAX);
        Self { memory_bytes: 0, memory_mib_max: usize::try_from(mib).unwrap_or(1) }
    }
}

impl ResourceLimiter for Limiter {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        // The sum over all memories of the instance.
        let wanted = self.memory_bytes.saturating_sub(current).saturating_add(desired);
        if wanted > self.memory_mib_max << 20 {
            return Err(MemoryExceeded(self.memory_mib_max).into());
        }
        self.memory_bytes = wanted;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS_MAX)
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        TABLES_MAX
    }

    fn memories(&self) -> usize {
        MEMORIES_MAX
    }
}

/// The injected clock behind WASI's, in whole milliseconds (security B-8).
#[derive(Clone)]
pub(crate) struct WasiClock(Arc<dyn Clock>);

impl WasiClock {
    pub(crate) fn of(options: &HostOptions) -> Self {
        Self(Arc::clone(&options.clock))
    }
}

const MILLISECOND: Duration = Duration::from_millis(1);

impl HostWallClock for WasiClock {
    fn resolution(&self) -> Duration {
        MILLISECOND
    }

    fn now(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.now_us() / 1_000).unwrap_or(0))
    }
}

impl HostMonotonicClock for WasiClock {
    fn resolution(&self) -> u64 {
        1_000_000
    }

    fn now(&self) -> u64 {
        u64::try_from(self.0.monotonic().as_millis()).unwrap_or(u64::MAX).saturating_mul(1_000_000)
    }
}
