//! What the measuring programs share: a host without a store, and the CPU time of this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use affluent_host::{
    ApproveAll, Backoff, CALL_TIMEOUT_MAX, Exchanges, Host, HostOptions, KeyValue, Secret, SystemClock, TokenKey,
};
use affluent_model::Result;

/// Any error of a measuring program.
pub(crate) type Failed = Box<dyn std::error::Error>;

struct NoStore;

impl KeyValue for NoStore {
    fn get(&self, _: &str, _: &str, _: &str) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn put(&self, _: &str, _: &str, _: &str, _: &[u8]) -> Result<()> {
        Ok(())
    }

    fn delete(&self, _: &str, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

/// A host for the plugins of a folder; compiled code is kept below it.
pub(crate) fn host(folder: PathBuf) -> Result<Host> {
    Host::new(options(folder))
}

/// The options of such a host.
pub(crate) fn options(folder: PathBuf) -> HostOptions {
    let drawn = AtomicU64::new(7);
    HostOptions {
        worker: None,
        plugin_dirs: vec![folder.clone()],
        embedded: &[],
        develop: Default::default(),
        approvals: Arc::new(ApproveAll),
        cache_dir: Some(folder.join("measuring-cache")),
        project_root: PathBuf::from("."),
        output_root: None,
        exchanges: Exchanges::Live,
        clock: Arc::new(SystemClock::default()),
        random: Arc::new(move |buffer| {
            let next = drawn.fetch_add(1, Ordering::Relaxed).to_le_bytes();
            buffer.iter_mut().zip(next.iter().cycle()).for_each(|(byte, drawn)| *byte = *drawn);
        }),
        secrets: Arc::new(|_, _| Ok(Secret::new("secret".to_owned()))),
        addresses: affluent_host::system_resolver(),
        token_keys: Arc::new(|_| Ok(TokenKey::new([7; 32]))),
        credentials: None,
        key_value: Arc::new(NoStore),
        log: Arc::new(|_| {}),
        audit: Arc::new(|_| {}),
        cancelled: Arc::default(),
        backoff: Backoff::default(),
        call_timeout_max: CALL_TIMEOUT_MAX,
    }
}

/// User and system time of this process so far, seconds; in steps of 10 ms (proc(5): 100 ticks a second).
pub(crate) fn cpu_seconds() -> std::result::Result<f64, Failed> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let after_name = stat.rsplit_once(')').ok_or("no process name")?.1;
    let ticks = after_name.split_whitespace().skip(11).take(2).map(str::parse::<u32>).sum::<std::result::Result<u32, _>>()?;
    Ok(f64::from(ticks) / 100.0)
}

/// Prints one line of figures.
#[expect(clippy::print_stdout, reason = "printing the figures is what the programs are for")]
pub(crate) fn print(line: &str) {
    println!("{line}");
}
