//! `affluent plugin inspect FILE|NAME`: works outside of a project too.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use affluent_host::Host;

use crate::arguments::Shared;
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::plugin;
use crate::render::screen::Screen;
use crate::wire;

pub(crate) async fn run(shared: &Shared, screen: &Screen, asked: &str) -> Outcome {
    let is_file = Path::new(asked).extension().is_some_and(|extension| extension == "wasm");
    let host = host(shared, is_file)?;
    let inspection = if is_file { host.inspect_file(Path::new(asked)).await? } else { host.inspect(asked).await? };
    screen.result(&inspection, || plugin::inspection(&inspection))?;
    Ok(Exit::Done)
}

/// The project's host where there is a project. One with mistakes does not hide a file.
fn host(shared: &Shared, is_file: bool) -> Result<Host, Failure> {
    let cancelled = Arc::new(AtomicBool::new(false));
    match project::load(shared) {
        Ok(project) => Ok(wire::host(&project.plan, None, cancelled)?),
        Err(_) if is_file => Ok(wire::bare_host(cancelled)?),
        Err(Failure::Error(error)) if error.code == "E0817" && shared.project.is_none() => Ok(wire::bare_host(cancelled)?),
        Err(failure) => Err(failure),
    }
}
