//! Finds plugins by name, in the binary and in the plugin folders, and keeps those that were loaded. A file that has
//! changed is loaded again; compiled code comes from the cache where it can.

mod compile;
mod inspect;

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};
use std::time::SystemTime;

use affluent_model::connector::{Failure, FailureKind};
use affluent_model::lock::{Candidate, Isolation, Origin, Said};
use affluent_model::{Error, Result};
use tokio::sync::Mutex;

use crate::cache::CodeCache;
use crate::component::{self, Linkers, LoadedPlugin, Unchecked};
use crate::contract::Version;
use crate::engine::TickingEngine;
use crate::failure::{configuration_failure, host_failure};
use crate::limits::COMPONENT_BYTES_MAX;
use crate::linker::{plugin_linker, wasi_linker};
use crate::options::{HostOptions, LogEvent, LogLevel};
use crate::state::Services;
use crate::trap::worker_failure;
use crate::worker::{Distant, Sealed, Unseen, WorkerError};

use self::compile::Compiler;

pub use inspect::Inspection;

/// How cargo names the artefact of a plugin in a checkout.
const ARTEFACT_PREFIX: &str = "affluent_plugin_";
/// Edits between a wrong name and one that is proposed instead.
const NEAR_EDITS_MAX: usize = 2;

/// The plugins at hand.
pub(crate) struct Plugins {
    options: Arc<HostOptions>,
    engine: TickingEngine,
    linkers: Linkers,
    compiler: Compiler,
    places: std::sync::Mutex<HashMap<String, Place>>,
}

/// Where a plugin is kept once it is loaded; held while it is loading, so that a second caller waits instead of compiling
/// the same again, while other plugins load beside it.
type Place = Arc<Mutex<Option<(Stamp, Arc<LoadedPlugin>)>>>;

/// Tells one version of a plugin's bytes from another without reading them.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    Embedded,
    File { path: PathBuf, length: u64, modified: Option<SystemTime>, is_developed: bool },
}

impl Stamp {
    fn origin(&self) -> Origin<'_> {
        match self {
            Self::Embedded => Origin::Embedded,
            Self::File { path, is_developed: true, .. } => Origin::Develop(path),
            Self::File { path, is_developed: false, .. } => Origin::File(path),
        }
    }
}

impl Plugins {
    /// # Errors
    /// When the sandbox cannot start.
    pub(crate) fn new(options: Arc<HostOptions>) -> Result<Self> {
        let engine = TickingEngine::start()?;
        let linkers = Linkers { wasi: wasi_linker(&engine.engine)?, plugin: plugin_linker(&engine.engine)? };
        let cache =
            options.cache_dir.as_ref().and_then(|folder| match CodeCache::open(folder, &engine.engine, &options.random) {
                Ok(cache) => Some(Arc::new(cache)),
                Err(error) => {
                    warn(&options, "", format!("compiled plugins are not kept: {error}"));
                    None
                }
            });
        let compiler = Compiler { options: Arc::clone(&options), cache };
        Ok(Self { options, engine, linkers, compiler, places: std::sync::Mutex::default() })
    }

    /// Loads a plugin by its name, `shopify` or `acme/order-tagger`.
    ///
    /// # Errors
    /// `E0500` when there is none, with near names; those of [`component::load`].
    pub(crate) async fn load(&self, name: &str) -> Result<Arc<LoadedPlugin>, Failure> {
        let stamp = self.find(name)?;
        let place = Arc::clone(self.places.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
        let mut loaded = place.lock().await;
        if let Some((known, plugin)) = &*loaded
            && *known == stamp
        {
            return Ok(Arc::clone(plugin));
        }
        let bytes = self.read(name, &stamp)?;
        let version = component::check_bytes(name, &bytes)?;
        let plugin = Arc::new(self.load_approved(name, stamp.origin(), bytes, version).await?);
        *loaded = Some((stamp, Arc::clone(&plugin)));
        Ok(plugin)
    }

    /// Compiles and asks for the manifest only what was admitted, and gives back only what may have what it asks for.
    async fn load_approved(
        &self,
        name: &str,
        origin: Origin<'_>,
        bytes: Vec<u8>,
        version: Version,
    ) -> Result<LoadedPlugin, Failure> {
        let approvals = &self.options.approvals;
        let digest = component::digest(&bytes);
        let bytes = Arc::<[u8]>::from(bytes);
        let candidate = Candidate { name, digest: &digest, bytes: &bytes, origin };
        approvals.admit(&candidate).map_err(|error| self.not_approved(name, error))?;
        let (plugin, imports) = self.load_admitted(&candidate, Arc::clone(&bytes), version).await?;
        let contract = component::contract(&bytes);
        let said = Said { manifest: &plugin.manifest, contract: &contract, imports: &imports };
        approvals.grant(&candidate, said).map_err(|error| self.not_approved(name, error))?;
        Ok(plugin)
    }

    /// Loads a component for where it is to run; gives its imports, too.
    async fn load_admitted(
        &self,
        candidate: &Candidate<'_>,
        bytes: Arc<[u8]>,
        version: Version,
    ) -> Result<(LoadedPlugin, Vec<String>), Failure> {
        let (name, digest) = (candidate.name, candidate.digest.to_owned());
        let engine = self.engine.engine.clone();
        let artefact = self.compiler.artefact(name, &engine, candidate, bytes).await?;
        if self.options.approvals.isolation(candidate) == Isolation::Process {
            let code = Sealed::new(artefact.bytes()).map_err(|error| {
                worker_failure(name, &WorkerError::Unstartable(format!("its code cannot be handed over: {error}")))
            })?;
            let unseen = Unseen { distant: Distant { code: Arc::new(code), version }, digest, engine };
            return crate::worker::load(name, unseen, &self.options).await;
        }
        let component = tokio::task::spawn_blocking(move || artefact.component(&engine)).await;
        let component = component.map_err(|error| compile::invalid(name, &error.to_string()))?;
        let component = component.map_err(|error| compile::invalid(name, &format!("{error:#}")))?;
        let imports = component::imports(&component);
        let unchecked = Unchecked { component, digest, version };
        Ok((component::load(name, unchecked, &self.linkers, &self.options).await?, imports))
    }

    /// A refusal is an event for whoever watches (security C-45).
    fn not_approved(&self, name: &str, error: Error) -> Failure {
        Services::none(&self.options, name).caller().audit("load", name, &format!("{}: {}", error.code, error.message));
        host_failure(FailureKind::Config, "approval", error)
    }

    /// # Errors
    /// `E0500` when there is no plugin of this name.
    pub(crate) fn known(&self, name: &str) -> Result<(), Failure> {
        self.find(name).map(drop)
    }

    /// The names of all plugins, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: BTreeSet<String> = self.options.embedded.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(self.options.develop.keys().cloned());
        for folder in &self.options.plugin_dirs {
            names.extend(names_in(folder, ""));
            for (inner, path) in folders_in(folder) {
                names.extend(names_in(&path, &format!("{inner}/")));
            }
        }
        names.into_iter().collect()
    }

    /// The file of a plugin that is not inside the binary.
    pub(crate) fn file_of(&self, name: &str) -> Option<PathBuf> {
        match self.find(name).ok()? {
            Stamp::File { path, .. } => Some(path),
            Stamp::Embedded => None,
        }
    }

    fn find(&self, name: &str) -> Result<Stamp, Failure> {
        if let Some(path) = self.options.develop.get(name) {
            let metadata = fs::metadata(path).ok();
            let (length, modified) = metadata.map_or((0, None), |metadata| (metadata.len(), metadata.modified().ok()));
            return Ok(Stamp::File { path: path.clone(), length, modified, is_developed: true });
        }
        if self.options.embedded.iter().any(|(known, _)| *known == name) {
            return Ok(Stamp::Embedded);
        }
        let candidates = if is_plain_name(name) { file_names(name) } else { Vec::new() };
        for folder in &self.options.plugin_dirs {
            for candidate in &candidates {
                let path = folder.join(candidate);
                if let Ok(metadata) = fs::metadata(&path)
                    && metadata.is_file()
                {
                    let (length, modified) = (metadata.len(), metadata.modified().ok());
                    return Ok(Stamp::File { path, length, modified, is_developed: false });
                }
            }
        }
        Err(self.unknown(name))
    }

    fn unknown(&self, name: &str) -> Failure {
        let names = self.names();
        let shown = crate::failure::clean_text(name, 128);
        let near = names.iter().find(|known| strsim::damerau_levenshtein(known, name) <= NEAR_EDITS_MAX);
        let listed = if names.is_empty() { "there are none".to_owned() } else { format!("there are {}", names.join(", ")) };
        let help = near.map_or_else(|| listed.clone(), |near| format!("did you mean `{near}`? {listed}"));
        configuration_failure("E0500", format!("unknown plugin `{shown}`"), &help)
    }

    fn read(&self, name: &str, stamp: &Stamp) -> Result<Vec<u8>, Failure> {
        match stamp {
            Stamp::Embedded => {
                let embedded = self.options.embedded.iter().find(|(known, _)| *known == name);
                Ok(embedded.map(|(_, bytes)| bytes.to_vec()).unwrap_or_default())
            }
            // The rest of a file that is too large makes it too large, whatever its length was.
            Stamp::File { path, .. } => read_at_most(path, COMPONENT_BYTES_MAX + 1).map_err(|error| {
                configuration_failure("E0501", format!("plugin `{name}` cannot be read: {error}"), "check the file's permissions")
            }),
        }
    }
}

fn warn(options: &Arc<HostOptions>, plugin: &str, text: String) {
    Services::none(options, plugin).caller().log(LogLevel::Warn, LogEvent::Host { text });
}

fn read_at_most(path: &Path, bytes_max: usize) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(u64::try_from(bytes_max).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Letters, digits, `-` and `_`, with at most one `/` between two such words.
fn is_plain_name(name: &str) -> bool {
    let is_word = |word: &str| {
        !word.is_empty()
            && word.len() <= 64
            && word.chars().all(|character| character.is_ascii_alphanumeric() || matches!(character, '-' | '_'))
    };
    match name.split_once('/') {
        Some((owner, plugin)) => is_word(owner) && is_word(plugin),
        None => is_word(name),
    }
}

fn file_names(name: &str) -> Vec<String> {
    vec![format!("{name}.wasm"), format!("{ARTEFACT_PREFIX}{}.wasm", name.replace('-', "_"))]
}

fn names_in(folder: &Path, prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let name = |entry: fs::DirEntry| {
        let file_name = entry.file_name().into_string().ok()?;
        let stem = file_name.strip_suffix(".wasm")?;
        let stem = stem.strip_prefix(ARTEFACT_PREFIX).map_or_else(|| stem.to_owned(), |artefact| artefact.replace('_', "-"));
        is_plain_name(&stem).then(|| format!("{prefix}{stem}"))
    };
    entries.flatten().filter_map(name).collect()
}

fn folders_in(folder: &Path) -> Vec<(String, PathBuf)> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    folders
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
        .filter(|(name, _)| is_plain_name(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::TestHost;

    #[test]
    fn names_come_from_all_folders() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("acme")).unwrap();
        for file in ["csv.wasm", "affluent_plugin_order_tagger.wasm", "acme/x.wasm", "notes.txt", "a b.wasm"] {
            fs::write(folder.path().join(file), b"").unwrap();
        }
        let plugins = Plugins::new(TestHost::new().with_plugins(folder.path()).options()).unwrap();

        assert_eq!(plugins.names(), ["acme/x", "csv", "order-tagger"]);
    }

    #[tokio::test]
    async fn a_misspelt_name_is_answered_with_the_near_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("klaviyo.wasm"), b"").unwrap();
        let plugins = Plugins::new(TestHost::new().with_plugins(folder.path()).options()).unwrap();

        let failure = plugins.load("klavyio").await.err().unwrap();

        assert_eq!((failure.error.code, failure.error.help.as_str()), ("E0500", "did you mean `klaviyo`? there are klaviyo"));
        for name in ["../klaviyo", "/etc/passwd", "a/b/c", "", "klaviyo.wasm"] {
            assert_eq!(plugins.load(name).await.err().unwrap().error.code, "E0500", "{name}");
        }
    }
}
