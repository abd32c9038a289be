//! A writer that tars are appended to, and that ends with the TOC and the footer.
//!
//! The writer reads tars and checks that their entries are a tree. A [`Cutter`] decides where streams start, and the
//! [`Line`] compresses them.

use std::{
    fmt,
    io::{Read, Write},
    sync::Arc,
    thread,
};

use dunnage_digest::{DiffId, Hasher, Progress};
use dunnage_tree::{
    Entries, ExportOptions, Tree,
    tar::{self, EntryType, Header},
};

use super::{
    cutter::Cutter,
    estargz::{EstargzCutter, EstargzLog},
    line::Line,
    options::{Summary, WriteOptions, is_proven},
    shape::Shape,
    storage::{StorageCutter, StorageLog},
    toc_log::TocLog,
};
use crate::{
    Error, Limits,
    annotations::UNCOMPRESSED_SIZE_ANNOTATION,
    codec::{Compressor, Form},
    input::{Gunzip, Watched, decompressed},
    toc::{Style, TOC_TAR_NAME, clean_name},
};

/// Bytes of a chunk unless the caller says otherwise.
const CHUNK: u64 = 4 << 20;
/// Largest chunk that can be written; chunks are compressed whole, in memory.
const MAX_CHUNK: u64 = 64 << 20;

/// Writes one layer. Tars can be appended any number of times before [`finish`](Self::finish).
///
/// Use it where the entries come from the caller, or where a tar is kept bit for bit; [`Build`](crate::Build) makes whole layers
/// with landmarks. After an error the writer must not be used further: the blob is then not valid.
pub struct Writer<W: Write>(Inner<W>);

/// The writer itself. The line is the last field, so that a `&mut Inner<W>` becomes a `&mut Inner<dyn Write>`: all code but
/// `new` and `finish` is compiled once.
struct Inner<W: ?Sized> {
    compressor: Arc<dyn Compressor>,
    chunk: usize,
    gunzip: Option<Gunzip>,
    limits: Limits,
    shape: Shape,
    cutter: Box<dyn Cutter>,
    /// A repeated name is an error, in any form.
    refuse_repeated: bool,
    /// The tars that were appended bit for bit; none once something else was appended.
    input: Option<Input>,
    failed: bool,
    line: Line<W>,
}

/// The bytes of tars that are kept bit for bit, as they were read.
#[derive(Clone, Debug)]
struct Input {
    hasher: Hasher,
    len: u64,
}

impl<W: Write> Writer<W> {
    /// A writer of a layer into `sink`.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a chunk or stream size over 64 MiB, streams of several chunks in a form that has none, or
    /// settings that the compressor cannot use.
    pub fn new(sink: W, options: &WriteOptions) -> Result<Self, Error> {
        let chunk = if options.chunk_size == 0 { CHUNK } else { options.chunk_size };
        if chunk > MAX_CHUNK {
            return Err(Error::Misuse(format!("chunk size {chunk}: expected at most {MAX_CHUNK} bytes")));
        }
        let threads = match options.threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        // Settings that cannot work are found here and not in the middle of a layer.
        drop(options.compressor.encoder()?);
        let compressor = Arc::clone(&options.compressor);
        let chunk_len = usize::try_from(chunk).unwrap_or(usize::MAX);
        let (cutter, log, toc, checksums): (Box<dyn Cutter>, _, _, _) = match compressor.form() {
            Form::Estargz => {
                let cutter = EstargzCutter::new(chunk_len, options)?;
                (Box::new(cutter), Box::new(EstargzLog::new(chunk_len)) as _, TocLog::new(Style::Estargz), false)
            }
            Form::Storage(level) => {
                let cutter = StorageCutter::new(options)?;
                (Box::new(cutter), Box::new(StorageLog::new(level)?) as _, TocLog::new(Style::Storage), true)
            }
        };
        let line = Line::new(sink, &compressor, threads, options.cancel.clone(), (log, toc, checksums));
        Ok(Self(Inner {
            compressor,
            chunk: chunk_len,
            gunzip: options.gunzip.clone(),
            limits: options.limits.clone(),
            shape: Shape::default(),
            cutter,
            refuse_repeated: false,
            input: Some(Input { hasher: Hasher::sha256(), len: 0 }),
            failed: false,
            line,
        }))
    }

    /// Appends the entries of a tar, plain or compressed with gzip or zstd. Headers are written anew in their smallest
    /// form, as the reference does; the writer leaves out an old TOC and everything after the end marker.
    ///
    /// # Errors
    ///
    /// [`Error::Tar`] for an input that is no tar, [`Error::Unsupported`] for entries a TOC cannot describe,
    /// [`Error::Write`] if the sink fails, [`Error::Cancelled`]. In the form of containers/storage also
    /// [`Error::Duplicate`] for a repeated name, and [`Error::Misuse`] after a tar that was kept bit for bit.
    pub fn append_tar<R: Read>(&mut self, mut tar: R) -> Result<(), Error> {
        self.any().append_tar(&mut tar)
    }

    /// Appends a tar so that decompressing the layer's payload gives it back bit for bit, its end marker and whatever
    /// follows included. If nothing but such tars is appended, [`Summary::input`] says what was read, and
    /// [`finish`](Self::finish) has compared it with what was written.
    ///
    /// # Errors
    ///
    /// As [`append_tar`](Self::append_tar); also [`Error::Unsupported`] for an input that has a TOC already, and for
    /// sparse files.
    pub fn append_tar_lossless<R: Read>(&mut self, mut tar: R) -> Result<(), Error> {
        self.any().append_tar_lossless(&mut tar)
    }

    /// Appends one entry, its content read from `content`, with its header written anew.
    ///
    /// PAX global headers and an old TOC are left out.
    ///
    /// # Errors
    ///
    /// As [`append_tar`](Self::append_tar).
    pub fn append_entry<R: Read>(&mut self, header: &Header, content: &mut R) -> Result<(), Error> {
        self.any().append_entry(header, content)
    }

    /// Appends the files of a tree. The layer is the one that [`append_tar`](Self::append_tar) makes of the tar that
    /// [`TarExport`](dunnage_tree::TarExport) writes with these options, but no such tar is written and read again. Returns
    /// the paths of sockets, which a tar cannot hold.
    ///
    /// # Errors
    ///
    /// As [`append_tar`](Self::append_tar); those of the tree as [`Error::Tar`], or as [`Error::Input`] for content.
    pub fn append_tree(&mut self, tree: &dyn Tree, options: &ExportOptions) -> Result<Vec<Vec<u8>>, Error> {
        let inner = self.any();
        inner.start_tar()?;
        inner.append_tree(tree, options, &|_| true, Progress::none())
    }

    /// The same for the entries that `keep` takes; the first content may continue the open stream.
    pub(crate) fn append_files(
        &mut self,
        tree: &dyn Tree,
        options: &ExportOptions,
        keep: &dyn Fn(&Header) -> bool,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        self.any().append_tree(tree, options, keep, progress)
    }

    /// Writes the streams in flight, the TOC and the footer. The sink is not flushed to disk.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails, [`Error::Misuse`] after an earlier error.
    pub fn finish(mut self) -> Result<(W, Summary), Error> {
        self.any().end()?;
        let Inner { compressor, input, line, .. } = self.0;
        let (sink, ended) = line.finish(compressor.as_ref())?;
        let input = input.filter(|input| input.len > 0).map(|input| (input.hasher.finish(), input.len));
        let input = is_proven(input, &ended.hashes)?;
        let mut annotations = ended.annotations;
        if compressor.form() == Form::Estargz {
            annotations.insert(UNCOMPRESSED_SIZE_ANNOTATION, ended.hashes.len.to_string());
        }
        let summary = Summary {
            blob: ended.blob,
            blob_len: ended.blob_len,
            diff_id: DiffId::new(ended.hashes.diff_id),
            toc_digest: ended.toc_digest,
            payload_len: ended.payload_len,
            uncompressed_len: ended.hashes.len,
            entries: ended.entries,
            annotations,
            external_toc: ended.external_toc,
            input,
        };
        Ok((sink, summary))
    }

    /// Makes the next content start a stream of its own, so that its offset is a place to stop reading at.
    pub(crate) fn start_fresh(&mut self) {
        self.0.cutter.start_fresh();
    }

    /// Makes a repeated name an [`Error::Duplicate`].
    pub(crate) fn refuse_repeated(&mut self) {
        self.0.refuse_repeated = true;
    }

    fn any(&mut self) -> &mut Inner<dyn Write + '_> {
        &mut self.0
    }
}

impl Inner<dyn Write + '_> {
    fn append_tar(&mut self, tar: &mut dyn Read) -> Result<(), Error> {
        self.start_tar()?;
        let mut entries = tar::Reader::new(self.unpacked(tar)?, self.limits.tar.clone());
        let mut header = Header::default();
        while entries.next_header(&mut header)? {
            self.append_entry(&header, &mut entries)?;
        }
        drain(&mut entries, |_| Ok(()))
    }

    fn append_tar_lossless(&mut self, tar: &mut dyn Read) -> Result<(), Error> {
        self.start_tar()?;
        let mut input = self.input.take();
        let tar = Hashed { tar: self.unpacked(tar)?, input: input.as_mut() };
        let mut entries = tar::Reader::new(tar, self.limits.tar.clone()).keep_raw(true);
        let mut header = Header::default();
        while entries.next_header(&mut header)? {
            let refused = |reason: &str| {
                let name = header.name.escape_ascii().to_string();
                Err(Error::Unsupported { name, reason: reason.to_owned() })
            };
            if is_toc(&header) {
                return refused("the input has a TOC already; unpack the layer first");
            }
            if header.sparse {
                return refused("a sparse file cannot be kept bit for bit");
            }
            let raw = entries.raw();
            self.guard(|inner| inner.cutter.bytes(raw, &mut inner.line))?;
            self.guard(|inner| inner.entry(&header, &mut entries))?;
        }
        let raw = entries.raw();
        self.guard(|inner| inner.cutter.bytes(raw, &mut inner.line))?;
        drain(&mut entries, |bytes| self.guard(|inner| inner.cutter.bytes(bytes, &mut inner.line)))?;
        drop(entries);
        self.input = input;
        self.cutter.tar_was_kept();
        Ok(())
    }

    fn append_entry(&mut self, header: &Header, content: &mut dyn Read) -> Result<(), Error> {
        if is_toc(header) || header.entry == EntryType::GlobalExtension {
            return Ok(());
        }
        self.input = None;
        self.guard(|inner| {
            inner.cutter.check_open()?;
            let written = inner.cutter.header(header, &mut inner.line)?;
            inner.entry(written.as_ref().unwrap_or(header), content)?;
            let padding = match header.entry {
                EntryType::File => usize::try_from(tar::padding(header.size)).unwrap_or(0),
                _ => 0,
            };
            inner.cutter.pad(padding, &mut inner.line);
            Ok(())
        })
    }

    fn append_tree(
        &mut self,
        tree: &dyn Tree,
        options: &ExportOptions,
        keep: &dyn Fn(&Header) -> bool,
        progress: Progress<'_>,
    ) -> Result<Vec<Vec<u8>>, Error> {
        let mut entries = Watched { inner: Entries::new(tree, options.clone()), read: 0, progress };
        let mut header = Header::default();
        let mut total = Total::default();
        while entries.inner.next_header(&mut header)? {
            progress.check()?;
            total.add(header.size, &self.limits.tar)?;
            if keep(&header) {
                self.append_entry(&header, &mut entries)?;
                // At the end of the content, this compares the length of the file with that in the header.
                entries.inner.next_span()?;
            }
        }
        Ok(entries.inner.skipped().to_vec())
    }

    /// Ends the tar stream, and takes back everything in flight.
    fn end(&mut self) -> Result<(), Error> {
        self.guard(|inner| {
            inner.shape.check()?;
            inner.cutter.end(&mut inner.line)?;
            inner.line.drain()
        })
    }

    /// Begins another tar; its content does not continue a stream of the one before.
    fn start_tar(&mut self) -> Result<(), Error> {
        if self.line.has_begun() {
            self.cutter.start_fresh();
        }
        self.cutter.check_open()
    }

    /// Adds the TOC entries and the content of `header`, whose own bytes are in the stream already.
    fn entry(&mut self, header: &Header, content: &mut dyn Read) -> Result<(), Error> {
        let is_repeated = self.shape.add(header)?.is_some();
        if is_repeated && self.refuse_repeated {
            return Err(Error::Duplicate { name: header.name.escape_ascii().to_string() });
        }
        self.cutter.entry(header, is_repeated, content, &mut self.line)
    }

    fn unpacked<'a>(&self, tar: &'a mut dyn Read) -> Result<Box<dyn Read + 'a>, Error> {
        decompressed(tar, self.gunzip.as_ref()).map_err(|source| Error::Input { source })
    }

    /// Runs a step, and refuses all further ones once one has failed: half an entry must not be continued.
    fn guard(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Misuse("an earlier error ended this layer".to_owned()));
        }
        self.line.cancel.check()?;
        let result = step(self);
        self.failed = result.is_err();
        result
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Writer");
        out.field("compressor", &self.0.compressor).field("chunk_size", &self.0.chunk).field("line", &self.0.line);
        out.finish_non_exhaustive()
    }
}

/// A tar that is kept bit for bit, hashed while it is read.
struct Hashed<'i, R> {
    tar: R,
    input: Option<&'i mut Input>,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = self.tar.read(buf)?;
        if let Some(input) = &mut self.input {
            input.hasher.update(buf.get(..len).unwrap_or_default());
            input.len = input.len.saturating_add(len as u64);
        }
        Ok(len)
    }
}

fn is_toc(header: &Header) -> bool {
    clean_name(&header.name) == TOC_TAR_NAME.as_bytes()
}

/// Reads the bytes after the end of a tar, so that a damaged end of its compression is noticed. `keep` gets them in blocks that
/// do not depend on how they arrive.
fn drain<R: Read>(entries: &mut tar::Reader<R>, mut keep: impl FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
    let mut block = vec![0; 64 << 10];
    loop {
        let mut filled = 0_usize;
        while let Some(rest) = block.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match entries.read_trailing(rest)? {
                0 => break,
                len => filled = filled.saturating_add(len),
            }
        }
        match block.get(..filled) {
            Some([]) | None => return Ok(()),
            Some(bytes) => keep(bytes)?,
        }
    }
}

/// Entries and bytes of a tree, held against the limits that a tar of it would have to keep.
#[derive(Debug, Default)]
struct Total {
    entries: u64,
    bytes: u64,
}

impl Total {
    fn add(&mut self, size: u64, limits: &dunnage_tree::Limits) -> Result<(), Error> {
        self.entries = self.entries.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
        let over = |what, limit, asked| Err(dunnage_tree::Error::Limit { what, limit, asked }.into());
        if self.entries > limits.entries {
            return over("entries of a tree", limits.entries, self.entries);
        }
        if self.bytes > limits.unpacked {
            return over("bytes of all files of a tree", limits.unpacked, self.bytes);
        }
        Ok(())
    }
}
