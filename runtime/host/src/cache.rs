//! Compiled components on disk. Compiled code is native code, so nothing is loaded that this installation did not
//! write itself: every file carries an HMAC under a random key that lives beside it with mode 0600, over the engine,
//! the digest of the component and the code (security B-9). A cache that cannot be used is no error: code is compiled.

use std::fs::{self, File, OpenOptions};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wasmtime::Engine;
use wasmtime::component::Component;
use zeroize::Zeroizing;

use crate::options::RandomSource;

const MAGIC: &[u8; 8] = b"AFFLCWA1";
const MAC_BYTES: usize = 32;
const KEY_FILE: &str = "cache.key";
const EXTENSION: &str = "cwasm";
/// Files kept; the oldest go first.
const FILES_MAX: usize = 64;
/// A compiled component, bytes: about three times the component.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Compiled code that this installation made: by this process, or by a worker that it started for that.
pub(crate) struct Artefact(Vec<u8>);

impl Artefact {
    /// What a compiler of this installation gave.
    pub(crate) fn of(code: Vec<u8>) -> Self {
        Self(code)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// # Errors
    /// When it is of another engine.
    #[expect(unsafe_code, reason = "an artefact is compiled code that this installation made")]
    pub(crate) fn component(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: there are two ways to an artefact. `CodeCache::load` verified an HMAC over the code, its component's digest
        // and the engine, under a key that only this installation has. `plugins::compile` has it from the compiler, in
        // this process or over the socket of a worker that is this program. So these bytes are what `precompile_component`
        // gave for this engine, unchanged.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

/// The component whose compiled code is the standard output of this process, a worker.
///
/// # Errors
/// When it is of another engine, or cannot be mapped.
#[cfg(unix)]
#[expect(unsafe_code, reason = "a worker runs what the host that started it hands over")]
pub(crate) fn take_over(engine: &Engine) -> wasmtime::Result<Component> {
    let place = if cfg!(target_os = "linux") { "/proc/self/fd/1" } else { "/dev/fd/1" };
    // SAFETY: the host put an `Artefact` there, in a file that is sealed or has no name, so that nobody changes it while it
    // is mapped; see `Artefact::component` for why the bytes are the compiler's.
    unsafe { Component::deserialize_file(engine, place) }
}

/// The cache of one engine in one folder.
pub(crate) struct CodeCache {
    folder: PathBuf,
    key: Zeroizing<Vec<u8>>,
    engine_hash: u64,
    random: RandomSource,
}

impl CodeCache {
    /// Opens the folder, making it and its key when they are not there.
    ///
    /// # Errors
    /// When the folder cannot be made, or others may write into it.
    pub(crate) fn open(folder: &Path, engine: &Engine, random: &RandomSource) -> io::Result<Self> {
        make_private_folder(folder)?;
        let key = read_or_make_key(folder, random)?;
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Ok(Self { folder: folder.to_owned(), key, engine_hash: hasher.finish(), random: random.clone() })
    }

    /// The compiled code of a component, if it is here and is ours.
    pub(crate) fn load(&self, digest: &str) -> Option<Artefact> {
        let mut file = File::open(self.path(digest)).ok()?;
        if file.metadata().ok()?.len() > FILE_BYTES_MAX {
            return None;
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).ok()?;
        let (mac, code) = bytes.strip_prefix(MAGIC)?.split_at_checked(MAC_BYTES)?;
        self.mac(digest, code)?.verify_slice(mac).ok()?;
        Some(Artefact(code.to_vec()))
    }

    /// Keeps a compiled component.
    ///
    /// # Errors
    /// When the file cannot be written; there is then none.
    pub(crate) fn store(&self, digest: &str, artefact: &Artefact) -> io::Result<()> {
        let code = artefact.bytes();
        let mac = self.mac(digest, code).ok_or_else(|| io::Error::other("no key"))?.finalize().into_bytes();
        let mut nonce = [0u8; 8];
        (self.random)(&mut nonce);
        let partial = self.folder.join(format!("{digest}-{:016x}.partial", u64::from_le_bytes(nonce)));
        let written = write_private(&partial, &[MAGIC, &mac, code]).and_then(|()| fs::rename(&partial, self.path(digest)));
        if written.is_err() {
            drop(fs::remove_file(&partial));
        }
        written?;
        self.prune()
    }

    fn path(&self, digest: &str) -> PathBuf {
        self.folder.join(format!("{digest}-{:016x}.{EXTENSION}", self.engine_hash))
    }

    fn mac(&self, digest: &str, code: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(&self.key).ok()?;
        mac.update(MAGIC);
        mac.update(&self.engine_hash.to_be_bytes());
        mac.update(digest.as_bytes());
        mac.update(code);
        Some(mac)
    }

    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.path().extension().is_some_and(|extension| extension == EXTENSION) {
                files.push((entry.metadata()?.modified()?, entry.path()));
            }
        }
        files.sort();
        let surplus = files.len().saturating_sub(FILES_MAX);
        files.iter().take(surplus).try_for_each(|(_, path)| fs::remove_file(path))
    }
}

fn read_or_make_key(folder: &Path, random: &RandomSource) -> io::Result<Zeroizing<Vec<u8>>> {
    let path = folder.join(KEY_FILE);
    let mut fresh = Zeroizing::new(vec![0u8; MAC_BYTES]);
    random(&mut fresh);
    match write_private(&path, &[&fresh]) {
        Ok(()) => return Ok(fresh),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    let mut key = Zeroizing::new(Vec::new());
    let mut file = File::open(&path)?;
    check_private(&file.metadata()?, "key file")?;
    file.read_to_end(&mut key)?;
    if key.len() == MAC_BYTES { Ok(key) } else { Err(io::Error::other("the cache's key file has the wrong length")) }
}

/// Writes a new file that only we can read; fails when it exists.
fn write_private(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.sync_all()
}

fn make_private_folder(folder: &Path) -> io::Result<()> {
    if !folder.exists() {
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut builder = fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        match builder.create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
    }
    check_private(&fs::metadata(folder)?, "folder")
}

#[cfg(unix)]
fn check_private(metadata: &fs::Metadata, what: &str) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    if metadata.mode() & 0o077 == 0 {
        return Ok(());
    }
    Err(io::Error::other(format!("others may use the cache's {what}: its mode is {:o}, wanted 700", metadata.mode() & 0o777)))
}

#[cfg(not(unix))]
fn check_private(_metadata: &fs::Metadata, _what: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::engine::TickingEngine;

    const COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    fn opened(folder: &Path) -> (TickingEngine, CodeCache) {
        let engine = TickingEngine::start().unwrap();
        let random: RandomSource = Arc::new(|buffer| buffer.fill(7));
        let cache = CodeCache::open(folder, &engine.engine, &random).unwrap();
        (engine, cache)
    }

    fn only_file(folder: &Path) -> PathBuf {
        let mut files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        files.find(|path| path.extension().is_some_and(|extension| extension == EXTENSION)).unwrap()
    }

    #[test]
    fn what_was_stored_is_loaded_under_its_own_digest_only() {
        let folder = tempfile::tempdir().unwrap();
        let (ticking, cache) = opened(&folder.path().join("cache"));
        let artefact = Artefact::of(ticking.engine.precompile_component(COMPONENT).unwrap());

        cache.store("aa", &artefact).unwrap();

        assert!(cache.load("aa").unwrap().component(&ticking.engine).is_ok());
        assert!(cache.load("bb").is_none());
    }

    #[test]
    fn code_that_was_touched_is_never_loaded() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let (ticking, cache) = opened(&folder);
        cache.store("aa", &Artefact::of(ticking.engine.precompile_component(COMPONENT).unwrap())).unwrap();
        let file = only_file(&folder);
        let sound = fs::read(&file).unwrap();

        for position in [0, 8, 39, 40, sound.len() - 1] {
            let mut touched = sound.clone();
            touched[position] ^= 1;
            fs::write(&file, touched).unwrap();
            assert!(cache.load("aa").is_none(), "byte {position}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_others_may_use_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let engine = TickingEngine::start().unwrap();
        let random: RandomSource = Arc::new(|buffer| buffer.fill(7));

        assert!(CodeCache::open(folder.path(), &engine.engine, &random).is_err());
    }
}
