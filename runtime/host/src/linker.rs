//! What instances are linked against: the few WASI interfaces that toolchains cannot avoid (no file system, no sockets,
//! security B-8) and the contract's own. Built once; what a component may import of it is decided in `component`.

use affluent_model::{Error, Result};
use wasmtime::Engine;
use wasmtime::component::Linker;
use wasmtime_wasi::WasiView;
use wasmtime_wasi::cli::{WasiCli, WasiCliView};
use wasmtime_wasi::p2::add_to_linker_proxy_interfaces_async;
use wasmtime_wasi::p2::bindings::{cli, random};
use wasmtime_wasi::random::WasiRandom;

use crate::bindings::affluent::plugin;
use crate::contract::Version;
use crate::state::State;
use crate::worker::Proxy;

/// WASI only: for the manifest, where everything else traps.
///
/// # Errors
/// A bug when interfaces clash.
pub(crate) fn wasi_linker<T: WasiView + Send + 'static>(engine: &Engine) -> Result<Linker<T>> {
    let mut linker = Linker::new(engine);
    add_wasi(&mut linker).map_err(|error| clash(&error))?;
    Ok(linker)
}

/// WASI and the contract.
///
/// # Errors
/// A bug when interfaces clash.
pub(crate) fn plugin_linker(engine: &Engine) -> Result<Linker<State>> {
    let mut linker = wasi_linker(engine)?;
    for version in Version::LIVE {
        version.link(&mut linker).map_err(|error| clash(&error))?;
    }
    Ok(linker)
}

/// As [`plugin_linker`], for a guest in a worker.
///
/// # Errors
/// A bug when interfaces clash.
pub(crate) fn proxy_linker(engine: &Engine) -> Result<Linker<Proxy>> {
    let mut linker = wasi_linker(engine)?;
    for version in Version::LIVE {
        version.link_proxy(&mut linker).map_err(|error| clash(&error))?;
    }
    Ok(linker)
}

fn add_wasi<T: WasiView + Send + 'static>(linker: &mut Linker<T>) -> wasmtime::Result<()> {
    // io, clocks, random, stdin, stdout, stderr.
    add_to_linker_proxy_interfaces_async(linker)?;
    cli::exit::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::environment::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_input::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_output::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdin::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stdout::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    cli::terminal_stderr::add_to_linker::<T, WasiCli>(linker, T::cli)?;
    random::insecure::add_to_linker::<T, WasiRandom>(linker, |state| wasmtime_wasi::random::WasiRandomView::random(state))?;
    random::insecure_seed::add_to_linker::<T, WasiRandom>(linker, |state| wasmtime_wasi::random::WasiRandomView::random(state))
}

impl plugin::types::Host for State {}

fn clash(error: &wasmtime::Error) -> Error {
    Error::bug(format!("the host's interfaces clash: {error}"))
}
