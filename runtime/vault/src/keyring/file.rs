//! The key file on disk (Unix): read only when no one else can touch it, written only as a whole. A looser file would make
//! every other promise of this crate worthless, so there is no flag to accept one.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use affluent_model::Result;
use zeroize::Zeroizing;

use super::RING_KEYS_MAX;
use super::format::LINE_BYTES_MAX;
use crate::errors;

const FILE_BYTES_MAX: usize = RING_KEYS_MAX * LINE_BYTES_MAX;
const PERMISSION_BITS: u32 = 0o7777;
const GROUP_OR_WORLD_WRITE: u32 = 0o022;
const WANTED_MODES: [u32; 2] = [0o400, 0o600];

/// The content of the key file, after every check of security A-40.
pub(super) fn read_checked(path: &Path, effective_uid: u32) -> Result<Zeroizing<Vec<u8>>> {
    let shown = path.display().to_string();
    let before = fs::symlink_metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => errors::key_missing(&format!("there is no key file `{shown}`")),
        _ => errors::key_file_io(&shown, &error),
    })?;
    check_kind(&shown, &before)?;
    check_directory(path)?;
    check_owner_and_mode(&shown, &before, effective_uid)?;
    let mut file = File::open(path).map_err(|error| errors::key_file_io(&shown, &error))?;
    let opened = file.metadata().map_err(|error| errors::key_file_io(&shown, &error))?;
    if (opened.dev(), opened.ino()) != (before.dev(), before.ino()) {
        return Err(errors::key_permissions(&shown, "replaced while it was opened", "left alone"));
    }
    // Checked once more on the open file: the mode may have changed between the look and the opening.
    check_owner_and_mode(&shown, &opened, effective_uid)?;
    read_bounded(&mut file, &shown)
}

/// Writes a file that must not exist yet; on failure nothing stays behind.
pub(super) fn write_new(path: &Path, content: &str) -> Result<()> {
    check_directory(path)?;
    let shown = path.display().to_string();
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = created.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => errors::key_exists(&shown),
        _ => errors::key_file_io(&shown, &error),
    })?;
    let written = file.write_all(content.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_directory(path));
    written.map_err(|error| {
        // The file is ours and half written; that it cannot be removed adds nothing to the first error.
        drop(fs::remove_file(path));
        errors::key_file_io(&shown, &error)
    })
}

/// Replaces the file: readers see the old content or the new one, also after a crash.
pub(super) fn replace(path: &Path, content: &str) -> Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    write_new(&beside, content)?;
    fs::rename(&beside, path).and_then(|()| sync_directory(path)).map_err(|error| {
        drop(fs::remove_file(&beside));
        errors::key_file_io(&path.display().to_string(), &error)
    })
}

/// The user this process acts as: the owner of its own entry in `/proc`, and where there is none, of a file it creates.
pub(super) fn effective_uid() -> Result<u32> {
    match fs::metadata("/proc/self") {
        Ok(entry) => Ok(entry.uid()),
        Err(_) => owner_of_new_file(),
    }
}

pub(super) fn owner_of_new_file() -> Result<u32> {
    let path = std::env::temp_dir().join(format!("affluent-owner-{}", std::process::id()));
    let owner = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|file| file.metadata());
    let removed = fs::remove_file(&path);
    let owner = owner.and_then(|metadata| removed.map(|()| metadata.uid()));
    owner.map_err(|error| errors::key_file_io(&path.display().to_string(), &error))
}

fn check_kind(shown: &str, metadata: &Metadata) -> Result<()> {
    if metadata.file_type().is_symlink() {
        return Err(errors::key_permissions(shown, "a symbolic link", "a regular file"));
    }
    if !metadata.is_file() {
        return Err(errors::key_permissions(shown, "not a regular file", "a regular file"));
    }
    Ok(())
}

fn check_owner_and_mode(shown: &str, metadata: &Metadata, effective_uid: u32) -> Result<()> {
    if metadata.uid() != effective_uid {
        let found = format!("owned by user {}", metadata.uid());
        return Err(errors::key_permissions(shown, &found, &format!("owned by user {effective_uid}")));
    }
    let mode = metadata.mode() & PERMISSION_BITS;
    if !WANTED_MODES.contains(&mode) {
        return Err(errors::key_permissions(shown, &format!("of mode {mode:04o}"), "of mode 0400 or 0600"));
    }
    Ok(())
}

fn check_directory(path: &Path) -> Result<()> {
    let directory = directory_of(path);
    let shown = directory.display().to_string();
    let metadata = fs::metadata(directory).map_err(|error| errors::key_file_io(&shown, &error))?;
    let mode = metadata.mode() & PERMISSION_BITS;
    if mode & GROUP_OR_WORLD_WRITE != 0 {
        return Err(errors::key_permissions(
            &shown,
            &format!("of mode {mode:04o}"),
            "a directory that only its owner can write to",
        ));
    }
    Ok(())
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn read_bounded(file: &mut File, shown: &str) -> Result<Zeroizing<Vec<u8>>> {
    let mut content = Zeroizing::new(vec![0; FILE_BYTES_MAX + 1]);
    let mut filled = 0;
    loop {
        let rest = content.get_mut(filled..).unwrap_or_default();
        match file.read(rest) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(errors::key_file_io(shown, &error)),
        }
    }
    if filled > FILE_BYTES_MAX {
        return Err(errors::key_format(&format!("`{shown}` is longer than {FILE_BYTES_MAX} bytes, it is no key file")));
    }
    content.truncate(filled);
    Ok(content)
}
