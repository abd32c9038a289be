//! Blobs on their way into an archive: each kept by itself until the archive is written.
//!
//! Conversions finish their layers in any order. The archive lists them in the order of their digests, so that its bytes do
//! not depend on the number of threads.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Seek, Write},
    os::fd::{AsFd, OwnedFd},
    sync::{Mutex, PoisonError},
};

use dunnage_digest::{Digest, ReadAt};
use dunnage_estargz::compose::Restart;
use dunnage_tree::NewFile;

use crate::{Blob, Error, NewBlob};

/// Blobs of this size and below stay in memory, so that documents take no descriptors.
const IN_MEMORY: usize = 64 << 10;

/// The blobs of one archive. Larger ones are files without a name in the folder of the archive.
#[derive(Debug)]
pub(super) struct Store {
    name: String,
    dir: OwnedFd,
    blobs: Mutex<BTreeMap<Digest, (Blob, u64)>>,
}

impl Store {
    pub(super) fn new(name: String, dir: OwnedFd) -> Self {
        Self { name, dir, blobs: Mutex::default() }
    }

    pub(super) fn get(&self, digest: &Digest) -> Option<(Blob, u64)> {
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned()
    }

    pub(super) fn begin(&self) -> StoredBlob<'_> {
        StoredBlob { store: self, bytes: Vec::new(), file: None }
    }

    fn keep(&self, digest: Digest, size: u64, source: impl ReadAt + Send + Sync + 'static) {
        let blob = Blob::new(format!("{}: blob {digest}", self.name), source);
        self.blobs.lock().unwrap_or_else(PoisonError::into_inner).entry(digest).or_insert((blob, size));
    }
}

/// A blob that is being written: in memory while it is small, then in a file.
#[derive(Debug)]
pub(super) struct StoredBlob<'s> {
    store: &'s Store,
    bytes: Vec<u8>,
    file: Option<File>,
}

impl Write for StoredBlob<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        if self.file.is_none() {
            if self.bytes.len().saturating_add(buf.len()) <= IN_MEMORY {
                self.bytes.extend_from_slice(buf);
                return Ok(buf.len());
            }
            // It never gets a name: only its open file is used.
            let mut file = NewFile::create_in(self.store.dir.as_fd(), 0o600)?.file().try_clone()?;
            file.write_all(&self.bytes)?;
            self.file = Some(file);
        }
        self.file.as_mut().map_or(Ok(0), |file| file.write(buf))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Restart for StoredBlob<'_> {
    fn restart(&mut self) -> io::Result<()> {
        self.bytes.clear();
        match &mut self.file {
            Some(file) => {
                file.set_len(0)?;
                file.rewind()
            }
            None => Ok(()),
        }
    }
}

impl NewBlob for StoredBlob<'_> {
    fn commit(self: Box<Self>, digest: &Digest, size: u64) -> Result<(), Error> {
        let Self { store, bytes, file } = *self;
        match file {
            Some(file) => store.keep(*digest, size, file),
            None => store.keep(*digest, size, bytes),
        }
        Ok(())
    }
}
