//! Compiled code of components: from the cache, or made. What is not of the program is compiled in a process of its own, where
//! the kernel ends a compilation that takes too long.

use std::sync::Arc;

use affluent_model::connector::Failure;
use affluent_model::lock::{Candidate, Origin};
use wasmtime::Engine;

use crate::cache::{Artefact, CodeCache};
use crate::failure::{clean_text, configuration_failure};
use crate::options::{HostOptions, LogEvent, LogLevel, WorkerCommand};
use crate::state::Services;
use crate::trap::worker_failure;
use crate::worker::CompileError;

/// Compiles, and keeps what it compiled.
pub(super) struct Compiler {
    pub(super) options: Arc<HostOptions>,
    pub(super) cache: Option<Arc<CodeCache>>,
}

impl Compiler {
    /// The compiled code of a component. Never on the threads that calls run on: several plugins load at the same time, and
    /// no call waits for a compilation.
    ///
    /// # Errors
    /// `E0501` what is no valid component, `E0533` what takes too long, `E0531` and `E0532` about the worker.
    pub(super) async fn artefact(
        &self,
        name: &str,
        engine: &Engine,
        candidate: &Candidate<'_>,
        bytes: Arc<[u8]>,
    ) -> Result<Artefact, Failure> {
        let (engine, cache, key) = (engine.clone(), self.cache.clone(), candidate.digest.to_owned());
        let worker = self.options.worker.clone().filter(|_| candidate.origin != Origin::Embedded);
        let caller = Services::none(&self.options, name).caller();
        let compiled = tokio::task::spawn_blocking(move || {
            if let Some(artefact) = cache.as_ref().and_then(|cache| cache.load(&key)) {
                return Ok(artefact);
            }
            caller.log(LogLevel::Info, LogEvent::Compiling);
            let artefact = Artefact::of(compile(&engine, worker.as_ref(), &bytes)?);
            if let Some(Err(error)) = cache.map(|cache| cache.store(&key, &artefact)) {
                caller.log(LogLevel::Warn, LogEvent::Host { text: format!("compiled code could not be kept: {error}") });
            }
            Ok(artefact)
        });
        let compiled = compiled.await.unwrap_or_else(|error| Err(CompileError::Invalid(error.to_string())));
        compiled.map_err(|error| match error {
            CompileError::Invalid(detail) => invalid(name, &detail),
            CompileError::OutOfTime => out_of_time(name),
            CompileError::Worker(error) => worker_failure(name, &error),
        })
    }
}

fn compile(engine: &Engine, worker: Option<&WorkerCommand>, bytes: &[u8]) -> Result<Vec<u8>, CompileError> {
    match worker {
        Some(worker) => crate::worker::compile(worker, bytes),
        None => engine.precompile_component(bytes).map_err(|error| CompileError::Invalid(format!("{error:#}"))),
    }
}

/// The failure of a component that cannot be compiled.
pub(super) fn invalid(name: &str, detail: &str) -> Failure {
    let message = format!("plugin `{name}` is no valid WebAssembly component: {}", clean_text(detail, 512));
    configuration_failure("E0501", message, "build it for wasm32-wasip2")
}

fn out_of_time(name: &str) -> Failure {
    let message = format!("plugin `{name}` took more than 10 seconds of processor time to compile");
    configuration_failure("E0533", message, "build it with optimisation for size, or split it")
}
