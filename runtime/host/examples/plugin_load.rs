//! What loading plugins costs: all of them at the same time, first compiled, then from the cache of compiled code; prints
//! wall time and CPU time. Not part of the product.
//!
//! `plugin_load FOLDER NAME...`; FOLDER holds the plugins, and the cache, which is emptied before.

mod support;

use std::path::PathBuf;
use std::time::Instant;

use affluent_model::connector::Connectors;
use futures::future::join_all;
use support::{Failed, cpu_seconds, host, print};

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("FOLDER NAME...")?);
    let names: Vec<String> = arguments.collect();
    // There may be none.
    drop(std::fs::remove_dir_all(folder.join("measuring-cache")));
    for what in ["compiled", "from the cache", "from the cache"] {
        let host = host(folder.clone())?;
        let (started, cpu_before) = (Instant::now(), cpu_seconds()?);
        let loaded = join_all(names.iter().map(|name| host.manifest(name))).await;
        let (elapsed_ms, count) = (started.elapsed().as_secs_f64() * 1_000.0, loaded.iter().flatten().count());
        print(&format!("{count} plugins {what}: {elapsed_ms:.1} ms, {:.2} CPU-s", cpu_seconds()? - cpu_before));
    }
    Ok(())
}
