//! `files`: inputs and outputs that the connection grants, by name. A name is the path below the project's folder, or
//! below the fixed part of an absolute pattern; symbolic links are followed only where they stay inside the grant.
//! An output is a hidden partial file until it is committed: synced, renamed into place, its folder synced.

mod input;
mod output;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use affluent_model::plan::FileGrants;
use wasmtime::component::Resource;

use crate::bindings::affluent::plugin::files::{Host, HostReader, HostWriter, Input};
use crate::state::State;

#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use input::Reader;
#[expect(unreachable_pub, reason = "the generated bindings re-export it")]
pub use output::Writer;

/// What a connection grants of the file system.
#[derive(Debug)]
pub(crate) struct FileAccess {
    root: PathBuf,
    /// Where outputs stand instead, granted folders of any place below it.
    output_root: Option<PathBuf>,
    read: Vec<String>,
    write: Vec<String>,
    /// Folders without leftovers of killed runs: looked through once by each instance.
    swept: Mutex<HashSet<PathBuf>>,
}

impl FileAccess {
    pub(crate) fn new(root: &Path, output_root: Option<PathBuf>, grants: &FileGrants) -> Self {
        let (root, read, write) = (root.to_owned(), grants.read.clone(), grants.write.clone());
        Self { root, output_root, read, write, swept: Mutex::default() }
    }
}

impl State {
    fn files(&self) -> Result<&FileAccess, String> {
        self.services.files.as_ref().ok_or_else(|| "this plugin has no files".to_owned())
    }

    fn refuse_file(&self, name: &str, reason: String) -> String {
        let name = crate::failure::clean_text(name, 256);
        self.services.caller().audit("files", &name, &reason);
        reason
    }
}

impl Host for State {
    fn inputs(&mut self) -> wasmtime::Result<Vec<Input>> {
        Ok(self.files().map(FileAccess::inputs).unwrap_or_default())
    }

    fn open_input(&mut self, name: String) -> wasmtime::Result<Result<Resource<Reader>, String>> {
        match self.files().and_then(|files| files.open_input(&name)) {
            Ok(reader) => Ok(Ok(self.table.push(reader)?)),
            Err(reason) => Ok(Err(self.refuse_file(&name, reason))),
        }
    }

    fn open_output(&mut self, name: String) -> wasmtime::Result<Result<Resource<Writer>, String>> {
        let random = self.services.options.random.clone();
        match self.files().and_then(|files| files.open_output(&name, &random)) {
            Ok(writer) => Ok(Ok(self.table.push(writer)?)),
            Err(reason) => Ok(Err(self.refuse_file(&name, reason))),
        }
    }
}

impl HostReader for State {
    fn read(&mut self, reader: Resource<Reader>, max_bytes: u32) -> wasmtime::Result<Result<Option<Vec<u8>>, String>> {
        Ok(self.table.get_mut(&reader)?.read(max_bytes))
    }

    fn seek(&mut self, reader: Resource<Reader>, offset: u64) -> wasmtime::Result<Result<(), String>> {
        Ok(self.table.get_mut(&reader)?.seek(offset))
    }

    fn drop(&mut self, reader: Resource<Reader>) -> wasmtime::Result<()> {
        self.table.delete(reader)?;
        Ok(())
    }
}

impl HostWriter for State {
    fn write(&mut self, writer: Resource<Writer>, data: Vec<u8>) -> wasmtime::Result<Result<(), String>> {
        Ok(self.table.get_mut(&writer)?.write(&data))
    }

    async fn commit(&mut self, writer: Resource<Writer>) -> wasmtime::Result<Result<(), String>> {
        let Some(open) = self.table.get_mut(&writer)?.take() else {
            return Ok(Err("the output is committed already".to_owned()));
        };
        let committed = tokio::task::spawn_blocking(move || open.commit()).await;
        Ok(committed.unwrap_or_else(|_| Err("the commit was cut short".to_owned())))
    }

    fn drop(&mut self, writer: Resource<Writer>) -> wasmtime::Result<()> {
        self.table.delete(writer)?;
        Ok(())
    }
}
