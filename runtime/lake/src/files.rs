//! The files as queries read them: only ranges of them, into memory that was read into before. Memory that is new to a process
//! is cleared and mapped page by page, which costs more than to copy a column into it.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::local::LocalFileSystem;
use datafusion::object_store::path::Path;
use datafusion::object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use futures::stream::BoxStream;

use crate::limits::READ_MEMORY_KEPT_BYTES_MAX;

/// A store of the files of one directory, which are only read.
#[derive(Debug)]
pub(crate) struct ReadFiles {
    dir: PathBuf,
    files: LocalFileSystem,
    memory: Arc<Memory>,
}

impl ReadFiles {
    /// # Errors
    /// When there is no such directory.
    pub(crate) fn new(dir: PathBuf) -> Result<Self> {
        let files = LocalFileSystem::new_with_prefix(&dir)?;
        Ok(Self { dir, files, memory: Arc::default() })
    }
}

impl fmt::Display for ReadFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("files of the lake")
    }
}

fn only_read(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "files of the lake".to_owned() }
}

#[async_trait]
impl ObjectStore for ReadFiles {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let (path, ranges, memory) = (self.dir.join(location.as_ref()), ranges.to_vec(), Arc::clone(&self.memory));
        let read = tokio::task::spawn_blocking(move || {
            let file = File::open(path)?;
            ranges.into_iter().map(|range| read(&file, range, &memory)).collect::<io::Result<Vec<_>>>()
        });
        let read = read.await.map_err(|source| Error::JoinError { source })?;
        read.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Error::NotFound { path: location.to_string(), source: error.into() },
            _ => Error::Generic { store: "files of the lake", source: error.into() },
        })
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(only_read("put"))
    }

    async fn put_multipart_opts(&self, _: &Path, _: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        Err(only_read("put"))
    }

    fn delete_stream(&self, _: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        Box::pin(futures::stream::once(async { Err(only_read("delete")) }))
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(only_read("copy"))
    }
}

fn read(mut file: &File, range: Range<u64>, memory: &Arc<Memory>) -> io::Result<Bytes> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).map_err(io::Error::other)?;
    let mut lent = Lent { bytes: memory.take(length), memory: Arc::clone(memory) };
    file.seek(io::SeekFrom::Start(range.start))?;
    // Into memory as it is: nothing clears it first.
    if file.take(range.end - range.start).read_to_end(&mut lent.bytes)? < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Bytes::from_owner(lent))
}

/// Memory that nobody uses now.
#[derive(Default)]
struct Memory {
    /// The smallest first.
    free: Mutex<Vec<Vec<u8>>>,
}

impl Memory {
    /// Room for at least so many bytes.
    fn take(&self, length: usize) -> Vec<u8> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.partition_point(|bytes| bytes.capacity() < length);
        // What is far larger is kept for those who need it.
        let fits = free.get(place).is_some_and(|bytes| bytes.capacity() / 2 <= length);
        if fits { free.remove(place) } else { Vec::with_capacity(room_for(length)) }
    }

    /// Keeps memory for later, the largest first.
    fn give_back(&self, mut bytes: Vec<u8>) {
        bytes.clear();
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let place = free.partition_point(|other| other.capacity() < bytes.capacity());
        free.insert(place, bytes);
        let mut kept: usize = free.iter().map(Vec::capacity).sum();
        while kept > READ_MEMORY_KEPT_BYTES_MAX && !free.is_empty() {
            kept -= free.remove(0).capacity();
        }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

/// Parts of one column are about as long as each other: with a sixteenth more room, what one was read into mostly holds the next.
fn room_for(length: usize) -> usize {
    length.next_multiple_of((length / 16).next_power_of_two())
}

/// Memory that is in use.
struct Lent {
    bytes: Vec<u8>,
    memory: Arc<Memory>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.memory.give_back(std::mem::take(&mut self.bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(store: &ReadFiles, ranges: &[Range<u64>]) -> Vec<Vec<u8>> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = runtime.block_on(store.get_ranges(&Path::from("f"), ranges)).unwrap();
        read.into_iter().map(|bytes| bytes.to_vec()).collect()
    }

    #[test]
    fn memory_that_was_used_says_only_what_was_read_into_it_last() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"abcdefghij").unwrap();
        let store = ReadFiles::new(dir.path().to_owned()).unwrap();

        assert_eq!(read_all(&store, &[0..6, 2..4]), [b"abcdef".to_vec(), b"cd".to_vec()]);
        assert_eq!(store.memory.free.lock().unwrap().len(), 2, "both are kept");
        assert_eq!(read_all(&store, &[5..9, 9..10, 3..3]), [b"fghi".to_vec(), b"j".to_vec(), Vec::new()]);
    }

    #[test]
    fn what_lies_beyond_the_end_or_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), b"abc").unwrap();
        let store = ReadFiles::new(dir.path().to_owned()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let read = |name: &str| runtime.block_on(store.get_ranges(&Path::from(name), &[1..9, 1..2]));

        assert!(matches!(read("f"), Err(Error::Generic { .. })));
        assert!(matches!(read("g"), Err(Error::NotFound { .. })));
    }

    #[test]
    fn no_more_memory_is_kept_than_may_be_and_large_one_not_wasted_on_little() {
        let memory = Memory::default();
        memory.give_back(vec![1; READ_MEMORY_KEPT_BYTES_MAX]);

        assert_eq!(memory.take(10).capacity(), 10);
        memory.give_back(vec![2; 10]);

        let free: Vec<usize> = memory.free.lock().unwrap().iter().map(Vec::capacity).collect();
        assert_eq!(free, [READ_MEMORY_KEPT_BYTES_MAX]);
    }

    #[test]
    fn what_is_a_little_longer_fits_into_the_memory_of_what_was_there_before() {
        let memory = Memory::default();
        let (length, longer) = (6_300_000, 6_310_000);
        let taken = memory.take(length);
        let place = taken.as_ptr();
        memory.give_back(taken);

        let taken = memory.take(longer);
        assert_eq!(taken.as_ptr(), place);
        for length in [0, 1, 15, 16, 17, 1_000, 6_300_000] {
            let room = room_for(length);
            assert!(room >= length && room <= length + length / 8 + 1, "{length}: {room}");
        }
    }
}
