//! Outputs: written to a hidden partial file beside their place and renamed into it when they are committed. Partial
//! files of killed runs are swept when the next output is opened; a lock tells them from those being written.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use super::FileAccess;
use crate::options::RandomSource;

const PARTIAL_PREFIX: &str = ".affluent-";
const PARTIAL_SUFFIX: &str = ".partial";
const NAME_BYTES_MAX: usize = 512;
const DEPTH_MAX: usize = 8;

/// An output; without a commit nothing remains of it.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Writer(Option<OpenOutput>);

pub(super) struct OpenOutput {
    file: File,
    partial: PathBuf,
    place: PathBuf,
    committed: bool,
}

impl Writer {
    pub(super) fn write(&mut self, data: &[u8]) -> Result<(), String> {
        let Some(open) = &mut self.0 else { return Err("the output is committed already".to_owned()) };
        open.file.write_all(data).map_err(|error| format!("the output cannot be written: {}", error.kind()))
    }

    pub(super) fn take(&mut self) -> Option<OpenOutput> {
        self.0.take()
    }
}

impl OpenOutput {
    pub(super) fn commit(mut self) -> Result<(), String> {
        let result = self.file.sync_all().and_then(|()| fs::rename(&self.partial, &self.place)).and_then(|()| {
            self.committed = true;
            sync_folder(&self.place)
        });
        result.map_err(|error| format!("the output cannot be committed: {}", error.kind()))
    }
}

impl Drop for OpenOutput {
    fn drop(&mut self) {
        if !self.committed {
            // Whatever remains is swept later.
            drop(fs::remove_file(&self.partial));
        }
    }
}

impl FileAccess {
    pub(super) fn open_output(&self, name: &str, random: &RandomSource) -> Result<Writer, String> {
        let place = self.place(name)?;
        let folder = place.parent().ok_or_else(not_granted)?.to_owned();
        if self.swept.lock().unwrap_or_else(PoisonError::into_inner).insert(folder.clone()) {
            sweep(&folder);
        }
        let mut nonce = [0u8; 8];
        random(&mut nonce);
        let partial = folder.join(format!("{PARTIAL_PREFIX}{:016x}{PARTIAL_SUFFIX}", u64::from_le_bytes(nonce)));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let opened = options.open(&partial).and_then(|file| file.lock().map(|()| file));
        let file = opened.map_err(|error| format!("the output cannot be made: {}", error.kind()))?;
        Ok(Writer(Some(OpenOutput { file, partial, place, committed: false })))
    }

    /// Where an output of this name stands: its folder exists and is inside a granted folder, links resolved.
    fn place(&self, name: &str) -> Result<PathBuf, String> {
        let parts = parts(name)?;
        let (granted, rest) = self.granted_folder(&parts)?;
        let (file_name, below) = rest.split_last().ok_or_else(not_granted)?;
        fs::create_dir_all(&granted).map_err(|error| format!("the granted folder cannot be made: {}", error.kind()))?;
        let real_granted = fs::canonicalize(&granted).map_err(|_| not_granted())?;
        let mut folder = real_granted.clone();
        for part in below {
            folder.push(part);
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(format!("the output's folder cannot be made: {}", error.kind()));
                }
                _ => {}
            }
            folder = fs::canonicalize(&folder).map_err(|_| not_granted())?;
            if !folder.starts_with(&real_granted) {
                return Err("the output would leave the granted folder".to_owned());
            }
        }
        let place = folder.join(file_name);
        if place.is_dir() {
            return Err("a folder has the output's name".to_owned());
        }
        Ok(place)
    }

    /// A name that begins with a granted folder lies in it; any other lies in the first granted folder.
    fn granted_folder<'a, 'b>(&self, parts: &'a [&'b str]) -> Result<(PathBuf, &'a [&'b str]), String> {
        for granted in &self.write {
            let folder: Vec<&str> = granted.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
            if !Path::new(granted).is_absolute() && parts.starts_with(folder.as_slice()) && parts.len() > folder.len() {
                let rest = parts.get(folder.len()..).unwrap_or_default();
                return Ok((self.output_folder(granted), rest));
            }
        }
        let first = self.write.first().ok_or_else(not_granted)?;
        Ok((self.output_folder(first), parts))
    }

    fn output_folder(&self, granted: &str) -> PathBuf {
        match &self.output_root {
            Some(root) => root.join(granted.trim_start_matches('/')),
            None => self.root.join(granted),
        }
    }
}

fn parts(name: &str) -> Result<Vec<&str>, String> {
    let parts: Vec<&str> = name.split('/').collect();
    let is_plain = |part: &&str| !part.is_empty() && !part.starts_with('.') && part.len() <= 200;
    let has_foreign = name
        .chars()
        .any(|character| character.is_control() || matches!(character, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|'));
    if name.len() > NAME_BYTES_MAX || parts.len() > DEPTH_MAX || has_foreign || !parts.iter().all(is_plain) {
        return Err("the output's name is not a plain relative name".to_owned());
    }
    Ok(parts)
}

fn not_granted() -> String {
    "no output is granted under this name".to_owned()
}

/// Removes partial files that nobody is writing.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_partial = name.to_str().is_some_and(|name| name.starts_with(PARTIAL_PREFIX) && name.ends_with(PARTIAL_SUFFIX));
        let is_file = entry.file_type().is_ok_and(|kind| kind.is_file());
        if is_partial
            && is_file
            && let Ok(file) = File::open(entry.path())
            && file.try_lock().is_ok()
        {
            drop(fs::remove_file(entry.path()));
        }
    }
}

#[cfg(unix)]
fn sync_folder(place: &Path) -> std::io::Result<()> {
    place.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

#[cfg(not(unix))]
fn sync_folder(_place: &Path) -> std::io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU8, Ordering};

    use affluent_model::plan::FileGrants;

    use super::*;

    fn access(root: &Path, write: &[&str]) -> FileAccess {
        let write = write.iter().map(|folder| (*folder).to_owned()).collect();
        FileAccess::new(root, None, &FileGrants { read: Vec::new(), write })
    }

    fn counting() -> RandomSource {
        let next = AtomicU8::new(0);
        Arc::new(move |buffer| buffer.fill(next.fetch_add(1, Ordering::Relaxed)))
    }

    fn files(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn an_output_appears_when_it_is_committed() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = access(root.path(), &["out/"]).open_output("out/deep/a.jsonl", &counting()).unwrap();
        writer.write(b"one").unwrap();
        assert!(!root.path().join("out/deep/a.jsonl").exists());

        writer.take().unwrap().commit().unwrap();

        assert_eq!(fs::read(root.path().join("out/deep/a.jsonl")).unwrap(), b"one");
        assert_eq!(files(&root.path().join("out/deep")), ["a.jsonl"]);
        assert!(writer.write(b"two").is_err());
    }

    #[test]
    fn an_output_that_is_dropped_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let mut writer = access(root.path(), &["out"]).open_output("a.jsonl", &counting()).unwrap();
        writer.write(b"one").unwrap();

        drop(writer);

        assert!(files(&root.path().join("out")).is_empty());
    }

    #[test]
    fn partial_files_of_killed_runs_are_swept_and_those_being_written_are_not() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        fs::create_dir(&out).unwrap();
        fs::write(out.join(".affluent-dead.partial"), b"").unwrap();
        fs::write(out.join(".affluent-mine.txt"), b"").unwrap();
        let (access, random) = (access(root.path(), &["out"]), counting());

        let _first = access.open_output("a", &random).unwrap();
        let _second = access.open_output("b", &random).unwrap();

        let expected = [".affluent-0000000000000000.partial", ".affluent-0101010101010101.partial", ".affluent-mine.txt"];
        assert_eq!(files(&out), expected);
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let access = access(root.path(), &["out"]);
        let long = "x".repeat(600);
        for name in ["../a", "out/../a", "/etc/passwd", "a//b", ".hidden", "a\0b", "a\\b", "", "C:x", "out", long.as_str()] {
            let opened = access.open_output(name, &counting());
            assert!(opened.is_err() || name == "out", "{name}");
        }
        assert!(self::access(root.path(), &[]).open_output("a", &counting()).is_err());
    }

    #[cfg(unix)]
    #[test]
    fn a_link_inside_the_folder_cannot_lead_out_of_it() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("out")).unwrap();
        fs::create_dir_all(root.path().join("elsewhere")).unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), root.path().join("out/link")).unwrap();

        assert!(access(root.path(), &["out"]).open_output("link/a", &counting()).is_err());
    }
}
