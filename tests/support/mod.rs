//! Projects in temporary folders, and the binary run on them.

mod archive;
mod assertions;
mod contract;
mod killed;
mod people;
mod relay;
mod serving;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use libtest_mimic::{Failed, Trial};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use archive::tar_gz;
pub(crate) use assertions::{SIGNING_KEY, claims_of};
pub(crate) use contract::keeps_the_contract;
pub(crate) use killed::{RESUME, killed, killed_while_erasing};
pub(crate) use people::{AWKWARD, address, awkward, out_of_crm, people_pipeline, people_to, recorded, replayed};
pub(crate) use relay::{Relay, Step, json_answer};
pub(crate) use serving::{Serving, ask, wait};

/// A test by the sentence it shows.
pub(crate) fn rule(name: &str, check: impl FnOnce() -> Result<(), Failed> + Send + 'static) -> Trial {
    Trial::test(name.replace(' ', "_"), check)
}

/// The repository's root.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// The folder of the vendors' stand-ins, where there is one.
pub(crate) fn shared() -> Option<PathBuf> {
    let folder = std::env::var_os("AFFLUENT_SHARED").map_or_else(|| root().join("../shared"), PathBuf::from);
    folder.join("apis/judge.sh").is_file().then_some(folder)
}

/// Compiled plugins, kept between tests: each project's cache begins as a copy of it, and what is compiled in a project comes
/// back to it. A cache has a key of its own, so only what goes back to the same one counts there.
fn plugin_cache() -> MutexGuard<'static, TempDir> {
    static CACHE: OnceLock<Mutex<TempDir>> = OnceLock::new();
    let cache = CACHE.get_or_init(|| Mutex::new(TempDir::new().expect("a temporary folder")));
    cache.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The file that says to which cache compiled plugins belong.
const CACHE_KEY: &str = "cache.key";

/// A project in a temporary folder of its own.
pub(crate) struct Project {
    folder: TempDir,
}

impl Project {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a temporary folder") }
    }

    /// A copy of an example under `pipelines/`.
    pub(crate) fn copy_of(example: &str) -> Self {
        let project = Self::new();
        copy(&root().join("pipelines").join(example), project.path());
        let _ = fs::remove_dir_all(project.path().join(".affluent"));
        let _ = fs::remove_dir_all(project.path().join("out"));
        project
    }

    /// A copy of a project with its data and keys.
    pub(crate) fn twin(&self) -> Self {
        let twin = Self::new();
        copy(self.path(), twin.path());
        private(&twin.path().join(".affluent"));
        let cache = twin.path().join(".affluent/plugins");
        if cache.is_dir() {
            private(&cache);
        }
        twin
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("folders can be made");
        fs::write(path, text).expect("files can be written");
        self
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path().join(name)).unwrap_or_default()
    }

    /// The binary with these arguments, on this project, not yet started.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_affluent"));
        command.args(arguments).arg("--project").arg(self.path());
        command.env("NO_COLOR", "1").stdin(Stdio::null());
        command
    }

    /// Runs the binary to its end.
    pub(crate) fn affluent(&self, arguments: &[&str]) -> Ended {
        let cache = self.path().join(".affluent/plugins");
        if !cache.exists() {
            let guard = plugin_cache();
            let kept = guard.path().join("plugins");
            if kept.is_dir() {
                copy(&kept, &cache);
                private(&self.path().join(".affluent"));
                private(&cache);
            }
        }
        let output = self.command(arguments).output().expect("the binary starts");
        if cache.is_dir() {
            keep_plugins(&cache);
        }
        Ended::of(output)
    }

    /// Runs a command with `--output json` and parses what it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> (Ended, Value) {
        let mut all = arguments.to_vec();
        all.extend(["--output", "json", "--quiet"]);
        let ended = self.affluent(&all);
        let value = serde_json::from_str(&ended.stdout).unwrap_or(Value::Null);
        (ended, value)
    }

    /// The records in the JSON Lines files below a folder, sorted.
    pub(crate) fn lines_below(&self, folder: &str) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        for file in files_below(&self.path().join(folder)) {
            lines.extend(fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned));
        }
        lines.sort();
        lines
    }
}

/// Takes what a project compiled into the cache of all.
fn keep_plugins(cache: &Path) {
    let guard = plugin_cache();
    let kept = guard.path().join("plugins");
    if !kept.exists() {
        copy(cache, &kept);
    }
    let key = |folder: &Path| fs::read(folder.join(CACHE_KEY)).ok();
    if key(cache) != key(&kept) {
        return;
    }
    for file in files_below(cache) {
        let Some(name) = file.file_name() else { continue };
        let (target, partial) = (kept.join(name), guard.path().join("partial"));
        if !target.exists() && fs::copy(&file, &partial).is_ok() {
            fs::rename(&partial, &target).expect("the cache can be written");
        }
    }
}

/// As the binary wants its folders; from one that others may write to it takes no compiled plugins.
fn private(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).expect("own folder");
}

/// How the binary ended.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Fails with everything that was printed unless the exit code is this one.
    pub(crate) fn expect(self, code: i32) -> Result<Self, Failed> {
        if self.code == code {
            return Ok(self);
        }
        Err(format!("exit code {} instead of {code}\n--- stdout\n{}\n--- stderr\n{}", self.code, self.stdout, self.stderr).into())
    }

    /// Fails unless stderr holds the text.
    pub(crate) fn says(self, text: &str) -> Result<Self, Failed> {
        if self.stderr.contains(text) { Ok(self) } else { Err(format!("stderr lacks `{text}`:\n{}", self.stderr).into()) }
    }
}

/// Fails with both values when they differ.
pub(crate) fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Result<(), Failed> {
    if found == expected { Ok(()) } else { Err(format!("{what}: found {found:?}, expected {expected:?}").into()) }
}

/// Fails with the reason unless it holds.
pub(crate) fn holds(condition: bool, reason: impl Into<String>) -> Result<(), Failed> {
    if condition { Ok(()) } else { Err(reason.into().into()) }
}

/// A folder with everything in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("folders can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("the folder can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("files can be copied");
        }
    }
}

/// Every file below a folder, sorted.
pub(crate) fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries.flatten() {
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path()));
        } else {
            files.push(entry.path());
        }
    }
    files.sort();
    files
}
