//! Inputs: the files that match the granted patterns. `*` stands for anything within one folder or file name; a name
//! that begins with a dot is matched only when the pattern says the dot.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::FileAccess;
use crate::bindings::affluent::plugin::files::Input;

/// Files of one connection; a folder with more is a mistake in the pattern.
const INPUTS_MAX: usize = 100_000;
/// Bytes of one read.
const READ_BYTES_MAX: u32 = 4 << 20;

/// An open input.
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub struct Reader(File);

impl Reader {
    pub(super) fn read(&mut self, bytes_max: u32) -> Result<Option<Vec<u8>>, String> {
        let bytes_max = bytes_max.clamp(1, READ_BYTES_MAX);
        let mut bytes = Vec::new();
        let read = (&mut self.0).take(u64::from(bytes_max)).read_to_end(&mut bytes);
        read.map_err(|error| format!("the input cannot be read: {}", error.kind()))?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }

    pub(super) fn seek(&mut self, offset: u64) -> Result<(), String> {
        self.0.seek(SeekFrom::Start(offset)).map(drop).map_err(|error| format!("the input cannot be searched: {}", error.kind()))
    }
}

/// A file that a pattern grants.
struct Granted {
    name: String,
    path: PathBuf,
}

impl FileAccess {
    /// The files that are there now, sorted by name.
    pub(super) fn inputs(&self) -> Vec<Input> {
        let describe = |granted: Granted| {
            let metadata = fs::metadata(&granted.path).ok();
            let modified = metadata.as_ref().and_then(|metadata| metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok());
            let modified_us = modified.and_then(|since| i64::try_from(since.as_micros()).ok());
            Input { name: granted.name, bytes: metadata.map(|metadata| metadata.len()), modified_us }
        };
        self.granted().into_iter().map(describe).collect()
    }

    pub(super) fn open_input(&self, name: &str) -> Result<Reader, String> {
        let granted = self.granted().into_iter().find(|granted| granted.name == name);
        let granted = granted.ok_or_else(|| "there is no granted input of this name".to_owned())?;
        File::open(&granted.path).map(Reader).map_err(|error| format!("the input cannot be opened: {}", error.kind()))
    }

    fn granted(&self) -> Vec<Granted> {
        let mut granted: Vec<Granted> = self.read.iter().flat_map(|pattern| self.expand(pattern)).collect();
        granted.sort_by(|a, b| a.name.cmp(&b.name).then_with(|| a.path.cmp(&b.path)));
        granted.dedup_by(|a, b| a.name == b.name);
        granted
    }

    fn expand(&self, pattern: &str) -> Vec<Granted> {
        let Some((base, rest)) = self.split(pattern) else { return Vec::new() };
        let Ok(real_base) = fs::canonicalize(&base) else { return Vec::new() };
        let mut found = vec![base.clone()];
        for (depth, part) in rest.iter().enumerate() {
            let is_last = depth + 1 == rest.len();
            found = found.iter().flat_map(|folder| matching(folder, part, is_last)).take(INPUTS_MAX).collect();
        }
        let name_base = if Path::new(pattern).is_absolute() { &base } else { &self.root };
        let grant = |path: PathBuf| {
            let name = path.strip_prefix(name_base).ok()?.to_str()?.replace('\\', "/");
            let real = fs::canonicalize(&path).ok().filter(|real| real.starts_with(&real_base) && real.is_file())?;
            Some(Granted { name, path: real })
        };
        found.into_iter().filter_map(grant).collect()
    }

    /// The folder before the first `*` (or before the file's name), and the parts after it.
    fn split(&self, pattern: &str) -> Option<(PathBuf, Vec<String>)> {
        let path = Path::new(pattern);
        let mut base = if path.is_absolute() { PathBuf::new() } else { self.root.clone() };
        let mut parts = Vec::new();
        for component in path.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(part) => parts.push(part.to_str()?.to_owned()),
                Component::RootDir | Component::Prefix(_) => base.push(component.as_os_str()),
                Component::ParentDir => return None,
            }
        }
        let fixed = parts.iter().position(|part| part.contains('*')).unwrap_or(parts.len().checked_sub(1)?);
        let rest = parts.split_off(fixed);
        base.extend(parts);
        Some((base, rest))
    }
}

fn matching(folder: &Path, pattern: &str, want_file: bool) -> Vec<PathBuf> {
    if !pattern.contains('*') {
        return vec![folder.join(pattern)];
    }
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let fits = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let hidden = name.starts_with('.') && !pattern.starts_with('.');
        !hidden && matches(pattern, name) && (if want_file { path.is_file() } else { path.is_dir() })
    };
    entries.flatten().map(|entry| entry.path()).filter(fits).take(INPUTS_MAX).collect()
}

/// `*` is any run of characters; everything else is itself.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(mut name) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = rest.split('*').collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = name.split_once(part) else { return false };
        name = after;
    }
    name.ends_with(last)
}

#[cfg(test)]
mod tests {
    use affluent_model::plan::FileGrants;

    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file.as_bytes()).unwrap();
        }
        folder
    }

    fn access(root: &Path, read: &[&str]) -> FileAccess {
        let read = read.iter().map(|pattern| (*pattern).to_owned()).collect();
        FileAccess::new(root, None, &FileGrants { read, write: Vec::new() })
    }

    fn names(access: &FileAccess) -> Vec<String> {
        access.inputs().into_iter().map(|input| input.name).collect()
    }

    #[test]
    fn a_star_matches_within_a_name_only() {
        let cases = [
            ("*.csv", "a.csv", true),
            ("*.csv", "a.csv.gz", false),
            ("a*b*c", "axxbxxc", true),
            ("a*b*c", "axxcxxb", false),
            ("a*a", "a", false),
            ("**", "anything", true),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn inputs_are_the_files_of_the_patterns_sorted_by_name() {
        let root =
            folder(&["in/b.csv", "in/a.csv", "in/c.txt", "in/.hidden.csv", "in/deep/d.csv", "2026-01/x.csv", "2026-02/x.csv"]);

        assert_eq!(
            names(&access(root.path(), &["in/*.csv", "./2026-*/x.csv"])),
            ["2026-01/x.csv", "2026-02/x.csv", "in/a.csv", "in/b.csv"]
        );
        assert_eq!(names(&access(root.path(), &["in/a.csv", "in/*"])), ["in/a.csv", "in/b.csv", "in/c.txt"]);
    }

    #[test]
    fn an_absolute_pattern_names_files_below_its_fixed_part() {
        let root = folder(&["data/a.csv"]);
        let pattern = root.path().join("data/*.csv");

        assert_eq!(names(&access(Path::new("/nowhere"), &[pattern.to_str().unwrap()])), ["a.csv"]);
    }

    #[test]
    fn only_granted_names_can_be_opened() {
        let root = folder(&["in/a.csv", "secret.txt"]);
        let access = access(root.path(), &["in/*.csv", "../*", "in/../*.txt"]);

        assert_eq!(access.open_input("in/a.csv").ok().and_then(|mut reader| reader.read(4).unwrap()).unwrap(), b"in/a");
        for name in ["secret.txt", "in/../secret.txt", "/etc/passwd", "in", "", "in/a.csv\0"] {
            assert!(access.open_input(name).is_err(), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_that_leaves_the_grant_is_no_input() {
        let root = folder(&["in/a.csv", "secret.csv"]);
        std::os::unix::fs::symlink(root.path().join("secret.csv"), root.path().join("in/link.csv")).unwrap();
        std::os::unix::fs::symlink(root.path().join("in/a.csv"), root.path().join("in/same.csv")).unwrap();

        assert_eq!(names(&access(root.path(), &["in/*.csv"])), ["in/a.csv", "in/same.csv"]);
    }
}
