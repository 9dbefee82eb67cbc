//! The wasmtime engine: one for the process, with everything off that plugins do not need (security B-3), and the
//! thread that ticks its epoch so that no guest can hold a processor.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;

use affluent_model::{Error, Result};
use wasmtime::{Config, Engine, OptLevel, Strategy};

use crate::limits::{CALL_STACK_BYTES, EPOCH_TICK, WASM_STACK_BYTES};

/// The engine and its ticker; the thread ends with it.
pub(crate) struct TickingEngine {
    pub(crate) engine: Engine,
    _stop: Sender<()>,
}

impl TickingEngine {
    /// # Errors
    /// A bug when the processor cannot run what Cranelift makes, or no thread can be started.
    pub(crate) fn start() -> Result<Self> {
        let engine = Engine::new(&config()).map_err(|error| Error::bug(format!("the sandbox cannot start: {error}")))?;
        let (stop, stopped) = mpsc::channel::<()>();
        let weak = engine.weak();
        let tick = move || {
            // Ends when the other side of the channel is dropped.
            while stopped.recv_timeout(EPOCH_TICK) == Err(RecvTimeoutError::Timeout) {
                let Some(engine) = weak.upgrade() else { return };
                engine.increment_epoch();
            }
        };
        let spawned = thread::Builder::new().name("plugin-epochs".to_owned()).spawn(tick);
        spawned.map_err(|error| Error::bug(format!("the sandbox cannot start its thread: {error}")))?;
        Ok(Self { engine, _stop: stop })
    }
}

/// The same in every process: compiled code fits one configuration.
pub(crate) fn config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .cranelift_opt_level(OptLevel::Speed)
        .epoch_interruption(true)
        .max_wasm_stack(WASM_STACK_BYTES)
        .async_stack_size(CALL_STACK_BYTES)
        .wasm_gc(false)
        .wasm_function_references(false)
        .wasm_exceptions(false)
        .wasm_threads(false)
        .shared_memory(false)
        .wasm_memory64(false)
        .wasm_tail_call(false)
        .wasm_relaxed_simd(false)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(20));
    config
}
