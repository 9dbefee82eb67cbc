//! A plugin that takes all the memory it can get makes its host larger by its own limit and little more. A test binary of
//! its own with nothing beside it, because it measures the memory of its process.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, clippy::panic, clippy::print_stderr, reason = "this is a test, and it shows what it measured")]

#[path = "contained/components.rs"]
mod components;
#[path = "contained/setting.rs"]
#[expect(dead_code, reason = "hosts with workers and remotes are for other tests")]
mod setting;
#[path = "contained/table.rs"]
#[expect(dead_code, reason = "this test takes only the greedy ones of the table")]
mod table;

use std::time::Duration;

use setting::host;
use table::{BEHAVIOURS, act, good_records};

/// What the hostile plugin's manifest asks for, MiB.
const LIMIT_MIB: u64 = 256;
/// What the host may need beside the guest's own memory, MiB: the values it takes over, before it refuses them.
const BESIDE_MIB: u64 = 32;
/// Behaviours that are about memory.
const GREEDY: [&str; 14] = [
    "allocate_forever",
    "flood_random",
    "hoard_handles",
    "huge_log",
    "huge_kv_value",
    "huge_error_message",
    "too_many_rows",
    "many_parts",
    "many_rejected",
    "huge_value",
    "huge_state",
    "huge_json",
    "huge_token",
    "many_errors",
];

/// A line of `/proc/self/status`, MiB (proc_pid_status(5): kB).
fn status_mib(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

#[tokio::test]
async fn a_plugin_makes_its_host_larger_by_its_limit_and_32_mib_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let (host, _) = host(folder.path(), Duration::from_secs(60));
    good_records(&host).await.unwrap();
    let base_mib = status_mib("VmRSS:");

    let mut most = (0, "");
    let acts: Vec<_> = BEHAVIOURS.iter().filter(|(behaviour, ..)| GREEDY.contains(behaviour)).collect();
    for (behaviour, call, _) in &acts {
        // Sets the mark of the highest memory to the present (proc(5), clear_refs).
        std::fs::write("/proc/self/clear_refs", "5").unwrap();
        let _ = act(&host, behaviour, call).await;
        let more_mib = status_mib("VmHWM:").saturating_sub(base_mib);
        eprintln!("{behaviour:20} {more_mib:4} MiB more than the {base_mib} before");
        most = most.max((more_mib, *behaviour));
    }

    assert_eq!(acts.len(), GREEDY.len());
    assert!(most.0 > LIMIT_MIB / 2, "nothing was greedy: {most:?}");
    assert!(most.0 <= LIMIT_MIB + BESIDE_MIB, "{most:?}");
}
