//! `affluent plugin build [DIR]`: the language's tools make a component, which is looked at as a pipeline would and put
//! where the project around it finds it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use affluent_host::{Host, Inspection, stamped};
use affluent_model::Error;
use serde::Serialize;

use crate::arguments::Shared;
use crate::failure::{Exit, Failure, Outcome};
use crate::project;
use crate::render::screen::{Screen, duration, number};
use crate::toolchain;
use crate::wire;

/// What was built.
#[derive(Debug, Serialize)]
struct Built {
    file: PathBuf,
    bytes: usize,
    digest: String,
    took_ms: u64,
    checked_ms: u64,
}

pub(crate) async fn run(shared: &Shared, screen: &Screen, folder: &Path) -> Outcome {
    let started = Instant::now();
    let made = toolchain::build(folder, screen)?;
    let took_ms = elapsed_ms(started);
    let started = Instant::now();
    let dist = folder.strip_prefix(".").unwrap_or(folder).join("dist");
    let checked = dist.join(".built.wasm");
    let bytes = fs::read(&made).map_err(|error| unwritable(&made, &error))?;
    fs::create_dir_all(&dist).and_then(|()| fs::write(&checked, stamped(bytes))).map_err(|error| unwritable(&checked, &error))?;
    screen.say("checking the component");
    let inspection = look(shared, folder, &checked).await;
    let inspection = inspection.inspect_err(|_| drop(fs::remove_file(&checked)))?;
    let file = dist.join(format!("{}.wasm", inspection.manifest.name));
    let placed = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::rename(&checked, &file));
    placed.map_err(|error| unwritable(&file, &error))?;
    let checked_ms = elapsed_ms(started);
    let Inspection { bytes, digest, .. } = inspection;
    let built = Built { file, bytes, digest, took_ms, checked_ms };
    screen.result(&built, || {
        let bytes = number(u64::try_from(built.bytes).unwrap_or(u64::MAX));
        let (file, took, checked) = (built.file.display(), duration(built.took_ms), duration(built.checked_ms));
        format!("{file}: {bytes} bytes, built in {took}, checked in {checked}")
    })?;
    Ok(Exit::Done)
}

/// Looks at the component with the host of the project in the folder, so that its code is compiled once.
async fn look(shared: &Shared, folder: &Path, file: &Path) -> Result<Inspection, Failure> {
    let shared = Shared { project: Some(shared.project.clone().unwrap_or_else(|| folder.to_owned())), ..shared.clone() };
    let cancelled = Arc::new(AtomicBool::new(false));
    let host: Host = match project::load(&shared) {
        Ok(project) => wire::host(&project.plan, None, cancelled)?,
        Err(_) => wire::bare_host(cancelled)?,
    };
    Ok(host.inspect_file(file).await?)
}

fn elapsed_ms(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::external("E0814", format!("`{}` cannot be written: {error}", path.display()))
}
