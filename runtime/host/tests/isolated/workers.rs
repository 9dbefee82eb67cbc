//! The processes that a program started, seen from outside.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use affluent_model::connector::Connectors;
use libtest_mimic::Failed;
use serde_json::json;

use crate::setting::{connection, isolating_host};
use crate::table::{LIMITS, open};
use crate::{PATIENCE, folder, holds};

/// For a process to come or to go, with room for a busy machine.
const SOON: Duration = Duration::from_secs(90);

/// The running children of a process.
fn children_of(parent: u32) -> std::io::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in std::fs::read_dir("/proc")?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        let after_name: Vec<&str> = stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().collect()).unwrap_or_default();
        if after_name.get(1).is_some_and(|found| *found == parent.to_string()) {
            children.push(pid);
        }
    }
    Ok(children)
}

/// The workers of this program, zombies among them.
pub(crate) fn running() -> std::io::Result<Vec<u32>> {
    children_of(std::process::id())
}

fn wait_until<T>(what: &str, mut found: impl FnMut() -> std::io::Result<Option<T>>) -> Result<T, Failed> {
    let started = Instant::now();
    loop {
        if let Some(found) = found()? {
            return Ok(found);
        }
        if started.elapsed() > SOON {
            return Err(what.to_owned().into());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn wait_for_one() -> Result<u32, Failed> {
    wait_until("there is not one worker", || {
        Ok(running()?.as_slice().first().copied().filter(|_| running().is_ok_and(|all| all.len() == 1)))
    })
}

pub(crate) fn wait_for_none() -> Result<(), Failed> {
    wait_until("a worker is left", || Ok(running()?.is_empty().then_some(())))
}

pub(crate) fn kill(pid: u32) {
    Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap();
}

/// Lowers a limit of a running process.
pub(crate) fn lower(pid: u32, limit: &str, value: &str) -> Result<(), Failed> {
    let set = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("{limit}={value}")]).status()?;
    holds(set.success(), "prlimit failed")
}

/// The soft limits of a process by their names.
pub(crate) fn limits_of(pid: u32) -> Result<HashMap<String, String>, Failed> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let row = |line: &str| {
        let (name, rest) = line.split_at_checked(26)?;
        Some((name.trim().to_owned(), rest.split_whitespace().next()?.to_owned()))
    };
    Ok(text.lines().skip(1).filter_map(row).collect())
}

/// The program that is killed: reads from a plugin that computes for ever.
pub(crate) fn program(folder: &Path) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (host, _) = isolating_host(folder, PATIENCE * 2);
        let bad = connection("hostile", json!({"behaviour": "loop_forever", "call": "next"}));
        let Ok(mut source) = open(&host, bad, "bad").await else { return };
        std::fs::write(folder.join("opened"), b"").unwrap();
        drop(source.next(LIMITS).await);
    });
    ExitCode::SUCCESS
}

/// A process that is killed at the end, however that comes.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Kills a program in the middle of a call and looks for what it leaves behind.
pub(crate) async fn orphan_ends() -> Result<(), Failed> {
    let folder = folder();
    drop(isolating_host(folder.path(), PATIENCE).0.manifest("hostile").await?);
    let program = Command::new("/proc/self/exe").arg("program").arg(folder.path()).stdout(Stdio::null()).spawn()?;
    let program = Killed(program);
    wait_until("the plugin was not opened", || Ok(folder.path().join("opened").exists().then_some(())))?;
    let pid = program.0.id();
    let worker = wait_until("there is no worker", || Ok(children_of(pid)?.first().copied()))?;
    drop(program);
    let place = format!("/proc/{worker}/stat");
    let is_gone = || Ok(std::fs::read_to_string(&place).map_or(true, |stat| stat.contains(") Z ")).then_some(()));
    wait_until("the worker runs on without its program", is_gone)
}
