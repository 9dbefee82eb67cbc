//! What a plugin file is and asks for, without running more of it than its manifest.

use std::path::Path;
use std::sync::Arc;

use affluent_model::connector::Failure;
use affluent_model::lock::{Candidate, Isolation};
use affluent_model::manifest::Manifest;
use serde::Serialize;

use super::{Plugins, Stamp};
use crate::binary::summarize;
use crate::component;
use crate::failure::clean_text;

/// A plugin, looked at from outside.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Inspection {
    /// The name it was asked for by, or its file's.
    pub name: String,
    /// SHA-256 of the component, hex.
    pub digest: String,
    /// Size of the component.
    pub bytes: usize,
    /// Functions of all its core modules.
    pub functions: u64,
    /// Version of the plugin contract it was built for.
    pub contract: String,
    /// Interfaces it imports, sorted.
    pub imports: Vec<String>,
    /// Whether its instances run in processes of their own.
    pub isolation: Isolation,
    pub manifest: Manifest,
}

impl Plugins {
    /// Looks at a plugin by its name.
    ///
    /// # Errors
    /// As [`Plugins::load`].
    pub(crate) async fn inspect(&self, name: &str) -> Result<Inspection, Failure> {
        let stamp = self.find(name)?;
        self.inspect_at(name, &stamp).await
    }

    /// Looks at a component file.
    ///
    /// # Errors
    /// `E0501` when it cannot be read or is no component; those of [`component::load`].
    pub(crate) async fn inspect_file(&self, path: &Path) -> Result<Inspection, Failure> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let name = clean_text(&stem, 128);
        self.inspect_at(&name, &Stamp::File { path: path.to_owned(), length: 0, modified: None, is_developed: false }).await
    }

    async fn inspect_at(&self, name: &str, stamp: &Stamp) -> Result<Inspection, Failure> {
        let bytes = self.read(name, stamp)?;
        let version = component::check_bytes(name, &bytes)?;
        let (length, summary) = (bytes.len(), summarize(&bytes).unwrap_or_default());
        let (digest, bytes) = (component::digest(&bytes), Arc::<[u8]>::from(bytes));
        let candidate = Candidate { name, digest: &digest, bytes: &bytes, origin: stamp.origin() };
        let (plugin, imports) = self.load_admitted(&candidate, Arc::clone(&bytes), version).await?;
        let isolation = plugin.isolation();
        Ok(Inspection {
            isolation,
            name: name.to_owned(),
            digest: plugin.digest,
            bytes: length,
            functions: summary.functions,
            contract: summary.api.unwrap_or_default(),
            imports,
            manifest: plugin.manifest.as_ref().clone(),
        })
    }
}
