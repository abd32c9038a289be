//! A writer that tars are appended to, and that ends with the TOC and the footer.
//!
//! Streams are cut where the format wants them: at the first byte of each chunk of each file that has content, or, if small
//! files are to share streams, at the first such byte after the stream has grown large enough. What follows the content
//! (padding, headers up to and including that of the next such file) belongs to the same stream. Headers beyond 4 MiB
//! without content between them start a stream of their own, so memory stays bounded. What is different in the form of
//! containers/storage is in `storage.rs`.

use std::{
    borrow::Cow,
    collections::{BTreeMap, VecDeque},
    fmt,
    io::{Read, Write},
    mem,
    ops::Range,
    sync::Arc,
    thread,
};

use dunnage_digest::{Cancel, DiffId, Hasher, Ordered};
use dunnage_tree::tar::{self, EntryType, Header};

use super::{
    batch::{Batch, Content, Packed, Part, pack},
    hashing::Hashing,
    names::{Mentions, text_of, xattrs_of},
    options::{NonUtf8, Streams, Summary, WriteOptions, is_proven},
    shape::Shape,
    storage::{Done, Storage},
    toc_log::{Place, TocLog},
};
use crate::{
    Compressor, End, Error, Form, Gauge, Gunzip, Limits, TOC_TAR_NAME, TocType, UNCOMPRESSED_SIZE_ANNOTATION,
    input::decompressed,
    toc::{RawEntry, Style, clean_name, format_modtime},
};

/// Bytes of a chunk unless the caller says otherwise.
const CHUNK: u64 = 4 << 20;
/// Largest chunk that can be written; chunks are compressed whole, in memory.
const MAX_CHUNK: u64 = 64 << 20;
/// A batch is handed to the workers once it has this many bytes.
const BATCH: usize = 512 << 10;
/// Headers that may follow each other inside one stream, in bytes.
const MAX_TAIL: usize = 4 << 20;
/// A shared stream takes no further content from this size on, however well it compresses.
const MAX_STREAM: u64 = 64 << 20;

/// Writes one layer. Tars can be appended any number of times before [`finish`](Self::finish).
///
/// After an error the writer must not be used further: the blob is then not valid.
pub struct Writer<W: Write> {
    sink: W,
    compressor: Arc<dyn Compressor>,
    chunk: usize,
    threads: usize,
    streams: Streams,
    /// Measures the open stream, and how much of the batch it has seen.
    gauge: Option<(Box<dyn Gauge>, usize)>,
    /// The next content starts a stream, whatever the size of the open one.
    fresh: bool,
    non_utf8: NonUtf8,
    gunzip: Option<Gunzip>,
    limits: Limits,
    pub(super) cancel: Cancel,
    pool: Ordered<Arc<Batch>, Returned>,
    hashing: Hashing,
    pub(super) batch: Batch,
    /// Entries of the batch that is being filled, then of those in flight.
    pub(super) entries: Vec<Pending>,
    pub(super) in_flight: VecDeque<Vec<Pending>>,
    spare: Vec<Batch>,
    toc: TocLog,
    shape: Shape,
    /// Where the digest of the file goes whose chunks are arriving.
    open_file: Option<Place>,
    users: Mentions,
    groups: Mentions,
    blob: Hasher,
    pub(super) written: u64,
    /// The tars that were appended bit for bit; none once something else was appended.
    input: Option<Input>,
    /// What the form of containers/storage needs besides.
    pub(super) storage: Option<Box<Storage>>,
    failed: bool,
}

/// What was read of tars that are kept bit for bit.
#[derive(Clone, Debug)]
struct Input {
    hasher: Hasher,
    len: u64,
}

/// A batch that a worker is done with. The batch comes back so that its buffer can be used again.
type Returned = (Arc<Batch>, Result<Packed, Error>);

/// What waits for its batch to be compressed.
pub(super) enum Pending {
    /// A TOC entry without content.
    Entry(RawEntry<'static>),
    /// A TOC entry of a chunk, and which content of the batch is its.
    Chunk(RawEntry<'static>, usize),
    /// Bytes of the batch that are no content. Only where these are kept apart.
    Segment(Range<usize>),
    /// A TOC entry whose chunks are still to be found. Only where content is cut by what it is.
    File(RawEntry<'static>),
    /// A piece of such a file: which content of the batch, and whether it is part of a hole.
    Piece(usize, bool),
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
        let gauge = options.streams.gauge(options.compressor.as_ref())?.map(|gauge| (gauge, 0));
        let compressor = Arc::clone(&options.compressor);
        let (storage, style) = match compressor.form() {
            Form::Estargz => (None, Style::Estargz),
            Form::Storage(level) => (Some(Box::new(Storage::new(level, options)?)), Style::Storage),
        };
        let checksums = storage.is_some();
        let worker = || {
            let mut encoder = compressor.encoder();
            move |batch: Arc<Batch>| {
                let packed = match &mut encoder {
                    Ok(encoder) => pack(&batch, encoder.as_mut(), checksums),
                    Err(error) => Err(Error::Misuse(error.to_string())),
                };
                (batch, packed)
            }
        };
        Ok(Self {
            sink,
            chunk: usize::try_from(chunk).unwrap_or(usize::MAX),
            threads,
            streams: options.streams,
            gauge,
            fresh: false,
            non_utf8: options.non_utf8,
            gunzip: options.gunzip.clone(),
            limits: options.limits.clone(),
            cancel: options.cancel.clone(),
            pool: Ordered::new(threads, worker),
            hashing: Hashing::new(threads),
            compressor: Arc::clone(&options.compressor),
            batch: Batch::default(),
            entries: Vec::new(),
            in_flight: VecDeque::new(),
            spare: Vec::new(),
            toc: TocLog::new(style),
            shape: Shape::default(),
            open_file: None,
            users: Mentions::default(),
            groups: Mentions::default(),
            blob: Hasher::sha256(),
            written: 0,
            input: Some(Input { hasher: Hasher::sha256(), len: 0 }),
            storage,
            failed: false,
        })
    }

    /// Appends the entries of a tar, plain or compressed with gzip or zstd. Headers are written anew in their smallest
    /// form, as the reference does; an old TOC in the input and everything behind its end marker is left out.
    ///
    /// # Errors
    ///
    /// [`Error::Tar`] for an input that is no tar, [`Error::Unsupported`] for entries a TOC cannot describe,
    /// [`Error::Write`] if the sink fails, [`Error::Cancelled`]. In the form of containers/storage also
    /// [`Error::Duplicate`] for a name that comes up again, and [`Error::Misuse`] behind a tar that was kept bit for bit.
    pub fn append_tar<R: Read>(&mut self, tar: R) -> Result<(), Error> {
        self.start_tar()?;
        let mut entries = tar::Reader::new(unpacked(tar, self.gunzip.as_ref())?, self.limits.tar.clone());
        let mut header = Header::default();
        while entries.next_header(&mut header)? {
            self.append_entry(&header, &mut entries)?;
        }
        drain(&mut entries, |_| Ok(()))
    }

    /// Appends a tar so that decompressing the layer's payload gives it back bit for bit, its end marker and whatever
    /// follows included. If nothing but such tars is appended, [`Summary::input`] says what was read, and
    /// [`finish`](Self::finish) has compared it with what was written.
    ///
    /// # Errors
    ///
    /// As [`append_tar`](Self::append_tar); also [`Error::Unsupported`] for an input that has a TOC already, and for
    /// sparse files.
    pub fn append_tar_lossless<R: Read>(&mut self, tar: R) -> Result<(), Error> {
        self.start_tar()?;
        let mut input = self.input.take();
        let tar = Watched { tar: unpacked(tar, self.gunzip.as_ref())?, input: input.as_mut() };
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
            self.guard(|writer| writer.raw(raw))?;
            // A TOC has no place for a global header, and only that of containers/storage needs one.
            if header.entry != EntryType::GlobalExtension || self.storage.is_some() {
                self.guard(|writer| writer.entry(&header, &mut entries))?;
            }
        }
        let raw = entries.raw();
        self.guard(|writer| writer.raw(raw))?;
        drain(&mut entries, |bytes| self.guard(|writer| writer.raw(bytes)))?;
        drop(entries);
        self.input = input;
        if let Some(storage) = &mut self.storage {
            storage.tar_has_ended();
        }
        Ok(())
    }

    /// Appends one entry, its content read from `content`, with its header written anew.
    ///
    /// PAX global headers and an old TOC are left out.
    ///
    /// # Errors
    ///
    /// As [`append_tar`](Self::append_tar).
    pub fn append_entry<R: Read>(&mut self, header: &Header, content: &mut R) -> Result<(), Error> {
        if is_toc(header) || header.entry == EntryType::GlobalExtension {
            return Ok(());
        }
        self.input = None;
        self.guard(|writer| {
            writer.check_open()?;
            if writer.storage.is_some() {
                let (encoded, written) = written_header(header, &writer.limits.tar)?;
                writer.raw(&encoded)?;
                writer.entry(&written, content)?;
            } else {
                writer.no_content(|data| tar::encode_header(header, data).map(drop).map_err(Error::from))?;
                writer.entry(header, content)?;
            }
            let padding = match header.entry {
                EntryType::File => usize::try_from(tar::padding(header.size)).unwrap_or(0),
                _ => 0,
            };
            match &mut writer.storage {
                Some(storage) => storage.entry_has_ended(padding),
                None => writer.batch.data.resize(writer.batch.data.len().saturating_add(padding), 0),
            }
            Ok(())
        })
    }

    /// Writes what is in flight, the TOC and the footer. The sink is not flushed to disk.
    ///
    /// # Errors
    ///
    /// [`Error::Write`] if the sink fails, [`Error::Misuse`] after an earlier error.
    pub fn finish(mut self) -> Result<(W, Summary), Error> {
        self.guard(|writer| {
            writer.shape.check()?;
            writer.end_storage()?;
            if !writer.batch.streams.is_empty() {
                writer.submit()?;
            }
            while writer.pool.in_flight() > 0 {
                writer.take()?;
            }
            Ok(())
        })?;
        let Self { mut sink, compressor, threads, mut hashing, mut toc, mut blob, written, input, storage, .. } = self;
        hashing.end_of_tar()?;
        let mut tail = Tail { sink: &mut sink, blob: &mut blob, written: 0 };
        let is_estargz = storage.is_none();
        let tar_split = storage.map(|storage| storage.finish(&mut toc)).transpose()?;
        let end = End { payload_len: written, toc: &toc, threads, tar_split: tar_split.as_ref() };
        let toc_written = compressor.write_toc_and_footer(&end, &mut |bytes| hashing.bytes(bytes), &mut tail)?;
        let blob_len = written.saturating_add(tail.written);
        sink.flush().map_err(|source| Error::Write { source })?;
        let hashes = hashing.finish()?;
        let input = input.filter(|input| input.len > 0).map(|input| (input.hasher.finish(), input.len));
        let input = is_proven(input, &hashes)?;
        let mut annotations: BTreeMap<_, _> = toc_written.annotations;
        if is_estargz {
            annotations.insert(UNCOMPRESSED_SIZE_ANNOTATION, hashes.len.to_string());
        }
        let summary = Summary {
            blob: blob.finish(),
            blob_len,
            diff_id: DiffId::new(hashes.diff_id),
            toc_digest: toc_written.toc_digest,
            payload_len: written,
            uncompressed_len: hashes.len,
            entries: toc.entries(),
            annotations,
            external_toc: toc_written.external_toc,
            input,
        };
        Ok((sink, summary))
    }

    /// What is appended now is another tar; it does not continue a stream of the one before.
    fn start_tar(&mut self) -> Result<(), Error> {
        self.fresh = self.written > 0 || !self.batch.streams.is_empty();
        self.check_open()
    }

    /// Whether anything may be appended.
    fn check_open(&self) -> Result<(), Error> {
        self.storage.as_ref().map_or(Ok(()), |storage| storage.check_open())
    }

    /// Makes the next content start a stream of its own, so that its offset is a place to stop reading at.
    pub(crate) const fn start_fresh(&mut self) {
        self.fresh = true;
    }

    /// Runs a step, and refuses all further ones once one has failed: half an entry must not be continued.
    fn guard(&mut self, step: impl FnOnce(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        if self.failed {
            return Err(Error::Misuse("an earlier error ended this layer".to_owned()));
        }
        self.cancel.check()?;
        let result = step(self);
        self.failed = result.is_err();
        result
    }

    /// Adds bytes that are no content: headers, padding, what stands behind the end of a tar.
    fn raw(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.no_content(|data| {
            data.extend_from_slice(bytes);
            Ok(())
        })
    }

    /// Lets `add` append bytes that are no content to the stream they belong to.
    pub(super) fn no_content(&mut self, add: impl FnOnce(&mut Vec<u8>) -> Result<(), Error>) -> Result<(), Error> {
        self.make_room()?;
        let start = self.batch.data.len();
        if let Some(storage) = &mut self.storage {
            self.batch.data.resize(start.saturating_add(storage.take_padding()), 0);
        }
        add(&mut self.batch.data)?;
        if self.storage.is_some() {
            self.entries.push(Pending::Segment(start..self.batch.data.len()));
        }
        Ok(())
    }

    /// Makes sure that bytes which are no content have a stream to go to.
    fn make_room(&mut self) -> Result<(), Error> {
        let apart = self.storage.as_mut().is_some_and(|storage| storage.enter_headers());
        if apart || self.batch.streams.is_empty() || self.batch.tail() >= MAX_TAIL {
            self.start_stream()?;
        }
        Ok(())
    }

    pub(super) fn start_stream(&mut self) -> Result<(), Error> {
        if self.batch.data.len() >= BATCH {
            self.submit()?;
        }
        let start = self.batch.data.len();
        self.batch.streams.push(start);
        if let Some((gauge, seen)) = &mut self.gauge {
            gauge.start()?;
            *seen = start;
        }
        Ok(())
    }

    /// Makes sure that content can begin: in the open stream, or in a new one.
    fn start_content(&mut self, len: usize, part: Part) -> Result<usize, Error> {
        let fresh = mem::take(&mut self.fresh);
        if fresh || self.batch.streams.is_empty() || self.is_full()? {
            self.start_stream()?;
        }
        let stream = self.batch.streams.len().saturating_sub(1);
        let start = self.batch.data.len();
        self.batch.contents.push(Content { stream, start, len, part, of_chunk: Part::Whole });
        Ok(self.batch.contents.len().saturating_sub(1))
    }

    /// Whether the open stream is not to take further content.
    fn is_full(&mut self) -> Result<bool, Error> {
        let open = self.batch.open() as u64;
        Ok(match (self.streams, &mut self.gauge) {
            (Streams::PerChunk, _) => true,
            (Streams::AtLeast(least), _) => open >= least,
            (Streams::CompressedAtLeast(_), _) if open >= MAX_STREAM => true,
            (Streams::CompressedAtLeast(least), Some((gauge, seen))) => {
                let new = self.batch.data.get(*seen..).unwrap_or_default();
                *seen = self.batch.data.len();
                gauge.add(new)? >= least
            }
            (Streams::CompressedAtLeast(_), None) => true,
        })
    }

    /// Adds the TOC entries and the content of `header`, whose own bytes are in the stream already.
    fn entry<R: Read>(&mut self, header: &Header, content: &mut R) -> Result<(), Error> {
        let is_repeated = self.shape.add(header)?;
        if self.storage.is_some() {
            return self.storage_entry(header, is_repeated, content);
        }
        let mut entry = self.describe(header)?;
        if header.entry != EntryType::File || header.size == 0 {
            entry.digest = (header.entry == EntryType::File).then(|| Hasher::sha256().finish());
            self.entries.push(Pending::Entry(entry));
            return Ok(());
        }
        let name = entry.name.clone();
        let mut at = 0;
        while at < header.size {
            let left = header.size.saturating_sub(at);
            let len = usize::try_from(left).unwrap_or(usize::MAX).min(self.chunk);
            if len == self.chunk {
                entry.chunk_size = len as u64;
            }
            entry.chunk_offset = at;
            let part = Part::between(at == 0, left == len as u64);
            self.cancel.check()?;
            let place = self.start_content(len, part)?;
            let start = self.batch.data.len();
            self.batch.data.resize(start.saturating_add(len), 0);
            let content = content.read_exact(self.batch.data.get_mut(start..).unwrap_or_default());
            content.map_err(|source| Error::Input { source })?;
            self.entries.push(Pending::Chunk(entry, place));
            entry = RawEntry { name: name.clone(), kind: TocType::Chunk, ..RawEntry::default() };
            at = at.saturating_add(len as u64);
        }
        Ok(())
    }

    fn describe(&mut self, header: &Header) -> Result<RawEntry<'static>, Error> {
        let (non_utf8, name, limit) = (self.non_utf8, &header.name, self.limits.name);
        // A TOC that no reader takes is not worth writing.
        let text = |bytes: &[u8]| match bytes.len() as u64 {
            asked if asked > limit => Err(Error::Limit { what: "name in a tar entry", limit, asked }),
            _ => text_of(bytes, non_utf8, name),
        };
        let kind = kind_of(header)?;
        let (is_link, is_device) =
            (matches!(kind, TocType::Hardlink | TocType::Symlink), matches!(kind, TocType::Char | TocType::Block));
        Ok(RawEntry {
            name: text(name)?,
            kind,
            size: if kind == TocType::Reg { header.size } else { 0 },
            modtime: format_modtime(header.mtime).into(),
            link_name: if is_link { text(&header.link)? } else { Cow::default() },
            mode: header.mode,
            uid: header.uid,
            gid: header.gid,
            user_name: text(self.users.new_name(header.uid, &header.user))?,
            group_name: text(self.groups.new_name(header.gid, &header.group))?,
            dev_major: if is_device { header.device.0 } else { 0 },
            dev_minor: if is_device { header.device.1 } else { 0 },
            xattrs: xattrs_of(header, non_utf8)?,
            ..RawEntry::default()
        })
    }

    /// Hands the batch to the workers, and takes back what is done.
    fn submit(&mut self) -> Result<(), Error> {
        let mut next = self.spare.pop().unwrap_or_default();
        next.clear();
        let batch = Arc::new(mem::replace(&mut self.batch, next));
        self.hashing.batch(&batch)?;
        self.pool.submit(batch)?;
        self.in_flight.push_back(mem::take(&mut self.entries));
        let most = self.threads.saturating_mul(2).saturating_add(1);
        while self.pool.in_flight() >= most || self.pool.is_ready() {
            self.take()?;
        }
        Ok(())
    }

    /// Writes the oldest batch in flight and logs its entries.
    fn take(&mut self) -> Result<(), Error> {
        let (batch, packed) = self.pool.take()?;
        let packed = packed?;
        let mut offsets = Vec::with_capacity(packed.streams.len());
        let mut offset = self.written;
        for len in &packed.streams {
            offsets.push(offset);
            offset = offset.saturating_add(*len);
        }
        for pending in self.in_flight.pop_front().unwrap_or_default() {
            let (mut entry, number) = match (pending, &mut self.storage) {
                (Pending::Chunk(entry, number), _) => (entry, number),
                (Pending::Entry(entry), None) => {
                    self.toc.push(&entry);
                    continue;
                }
                (pending, Some(storage)) => {
                    let done = Done { batch: &batch, packed: &packed, offsets: &offsets, end: offset };
                    storage.take(pending, &done, &mut self.hashing, &mut self.toc)?;
                    continue;
                }
                (_, None) => continue,
            };
            let Some(content) = batch.contents.get(number) else { continue };
            entry.offset = offsets.get(content.stream).copied().unwrap_or(0);
            entry.inner_offset = batch.inner_offset(content) as u64;
            entry.chunk_digest = packed.digests.get(number).copied();
            if content.part.starts() {
                // Of several chunks the digest is not known yet; that of the first holds its place.
                entry.digest = entry.chunk_digest;
            }
            let place = self.toc.push(&entry);
            match content.part {
                Part::First => self.open_file = Some(place),
                Part::Last => {
                    let digest = self.hashing.digest()?;
                    if let Some(place) = self.open_file.take() {
                        self.toc.set_digest(place, &digest);
                    }
                }
                Part::Whole | Part::Middle => {}
            }
        }
        self.blob.update(&packed.bytes);
        self.sink.write_all(&packed.bytes).map_err(|source| Error::Write { source })?;
        self.written = offset;
        // The buffer is used again, unless the hashes are still being taken of it.
        if let Some(batch) = Arc::into_inner(batch).filter(|_| self.spare.len() < self.threads) {
            self.spare.push(batch);
        }
        Ok(())
    }
}

impl<W: Write> fmt::Debug for Writer<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Writer");
        out.field("compressor", &self.compressor).field("chunk_size", &self.chunk).field("threads", &self.threads);
        out.field("written", &self.written).finish_non_exhaustive()
    }
}

/// A tar that is kept bit for bit, hashed while it is read.
struct Watched<'i, R> {
    tar: R,
    input: Option<&'i mut Input>,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = self.tar.read(buf)?;
        if let Some(input) = &mut self.input {
            input.hasher.update(buf.get(..len).unwrap_or_default());
            input.len = input.len.saturating_add(len as u64);
        }
        Ok(len)
    }
}

/// What stands behind the streams, hashed and counted.
struct Tail<'a, W> {
    sink: &'a mut W,
    blob: &'a mut Hasher,
    written: u64,
}

impl<W: Write> Write for Tail<'_, W> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        let len = self.sink.write(buf)?;
        self.blob.update(buf.get(..len).unwrap_or_default());
        self.written = self.written.saturating_add(len as u64);
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.sink.flush()
    }
}

/// The type of the TOC entry for a header.
pub(super) fn kind_of(header: &Header) -> Result<TocType, Error> {
    let unsupported = |reason: String| Err(Error::Unsupported { name: header.name.escape_ascii().to_string(), reason });
    Ok(match header.entry {
        EntryType::File => TocType::Reg,
        EntryType::HardLink => TocType::Hardlink,
        EntryType::Symlink => TocType::Symlink,
        EntryType::CharDevice => TocType::Char,
        EntryType::BlockDevice => TocType::Block,
        EntryType::Directory => TocType::Dir,
        EntryType::Fifo => TocType::Fifo,
        EntryType::GlobalExtension => return unsupported("a PAX global header".to_owned()),
        EntryType::Other(flag) => return unsupported(format!("type flag `{}`", flag.escape_ascii())),
    })
}

/// A header as it is written, and what it then says: not everything goes into a tar, such as fractions of seconds in some
/// formats, and readers compare what a TOC says with what is there.
fn written_header(header: &Header, limits: &dunnage_tree::Limits) -> Result<(Vec<u8>, Header), Error> {
    let (mut encoded, mut written) = (Vec::new(), Header::default());
    tar::encode_header(header, &mut encoded)?;
    tar::Reader::over(encoded.as_slice(), limits.clone())?.next_header(&mut written)?;
    Ok((encoded, written))
}

fn is_toc(header: &Header) -> bool {
    clean_name(&header.name) == TOC_TAR_NAME.as_bytes()
}

fn unpacked<'a, R: Read + 'a>(tar: R, gunzip: Option<&Gunzip>) -> Result<Box<dyn Read + 'a>, Error> {
    decompressed(tar, gunzip).map_err(|source| Error::Input { source })
}

/// Reads what stands behind the end of a tar, so that a damaged end of its compression is noticed. It is kept in blocks that
/// do not depend on how it arrives.
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
