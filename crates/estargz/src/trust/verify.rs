//! Verification: of the TOC against the digest of a manifest, of chunks against the TOC.
//!
//! What it proves: metadata and content are what the author of the layer indexed. What it does not: that the TOC agrees
//! with the tar headers in the blob. Specification: eStargz, section "Verification".

use std::{
    ops::Range,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
};

use dunnage_digest::{Digest, Hasher, Mismatch, Offset, Progress, ReadAt};

use crate::{
    Error, Reader,
    codec::Decoder,
    error::shown,
    read::{
        Chunk,
        index::{DigestCell, Location, NodeKind, Row},
        zeros::hash_zeros,
    },
};

/// Counts of the content that [`Reader::verify`] read, all of it matching its digests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Regular files with content.
    pub files: u64,
    /// Chunks.
    pub chunks: u64,
    /// Bytes of content.
    pub bytes: u64,
}

impl Verified {
    const fn and(self, other: Self) -> Self {
        Self {
            files: self.files.saturating_add(other.files),
            chunks: self.chunks.saturating_add(other.chunks),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

impl<R> Reader<R> {
    /// Checks that the TOC is the one with this digest, and that it covers every chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] for another TOC; those of [`verifiers`](Self::verifiers).
    pub fn verify_toc(&self, expected: &Digest) -> Result<Verifiers<'_, R>, Error> {
        Mismatch::check(expected, self.toc_digest()).map_err(|source| Error::Mismatch {
            what: "the TOC is not the one that was asked for".to_owned(),
            source,
        })?;
        self.verifiers()
    }

    /// Checks that the TOC covers every chunk, each in a place of its own.
    ///
    /// # Errors
    ///
    /// [`Error::NoDigest`] for a chunk without a digest, [`Error::Inconsistent`] for chunks that share bytes of a stream.
    pub fn verifiers(&self) -> Result<Verifiers<'_, R>, Error> {
        if let Some(row) = self.index.without_chunk_digest {
            // Layers from before chunk digests are covered if every file is one chunk and has a digest.
            let nodes = self.index.nodes.iter().zip(0..);
            let uncovered = nodes.filter(|(node, _)| node.kind == NodeKind::File && node.size > 0).find(|(node, _)| {
                self.index.has_chunk_entries || (!node.has_chunk_digest && node.digest == DigestCell::None)
            });
            if let Some((_, first)) = uncovered {
                let row = if self.index.has_chunk_entries { row } else { first };
                return Err(Error::NoDigest { name: self.index.path(row), at: 0 });
            }
        }
        self.check_places()?;
        Ok(Verifiers { reader: self })
    }

    /// Chunks may share a stream, but no byte of it.
    fn check_places(&self) -> Result<(), Error> {
        // As many streams as chunks: each has its own.
        if self.index.streams.len() as u64 == self.index.data_chunks {
            return Ok(());
        }
        let mut places = Vec::new();
        for (node, row) in self.index.nodes.iter().zip(0_u32..) {
            places.extend(self.index.locations(node).map(|chunk| (chunk.offset, chunk.inner, chunk.want(), row)));
        }
        places.sort_unstable();
        for pair in places.windows(2) {
            let &[(first, _, end, _), (second, start, _, row)] = pair else { continue };
            if first == second && start < end {
                let reason = format!("its chunk at offset {second:#x} shares bytes with another one");
                return Err(Error::Inconsistent { name: self.index.path(row), reason });
            }
        }
        Ok(())
    }
}

impl<R: ReadAt + Sync> Reader<R> {
    /// Reads every file and compares it with all its digests: that of each chunk, and that of the file.
    ///
    /// Each stream is read and decompressed once, `threads` at a time (0 for as many as the machine has). `progress`
    /// reports how many bytes have been verified.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] and [`Error::CorruptChunk`] for damage, those of [`verifiers`](Self::verifiers),
    /// [`Error::Read`], [`Error::Cancelled`].
    pub fn verify(&self, threads: usize, progress: Progress<'_>) -> Result<Verified, Error> {
        self.verifiers()?;
        let files = self.files_in_blob_order();
        let jobs = self.jobs(&files);
        let done = AtomicU64::new(0);
        let next = AtomicUsize::new(0);
        // Each thread takes the largest job that is left, so that none of them is last with a long one.
        let work = || {
            let mut worker = Worker::new(self.decompressor().decoder());
            let mut sum = Verified::default();
            while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                progress.check()?;
                let verified = worker.run(self, files.get(job.clone()).unwrap_or_default())?;
                let before = done.fetch_add(verified.bytes, Ordering::Relaxed);
                progress.at(before.saturating_add(verified.bytes));
                sum = sum.and(verified);
            }
            Ok::<_, Error>(sum)
        };
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        thread::scope(|scope| {
            let others: Vec<_> = (1..threads.min(jobs.len())).map(|_| scope.spawn(work)).collect();
            let mine = work();
            // Whichever thread failed, the others run out of jobs by themselves; the first error in order is told.
            let results = others.into_iter().map(|thread| thread.join().map_err(|_| Error::Worker)?);
            [mine].into_iter().chain(results).try_fold(Verified::default(), |sum, result| Ok(sum.and(result?)))
        })
    }

    fn files_in_blob_order(&self) -> Vec<Row> {
        let first = |row: Row| {
            let chunk = self.index.node(row).and_then(|node| self.index.locations(node).next());
            chunk.map_or((0, 0), |chunk| (chunk.offset, chunk.inner))
        };
        let nodes = self.index.nodes.iter().zip(0..);
        let files = nodes.filter(|(node, _)| node.kind == NodeKind::File && node.size > 0);
        let mut files: Vec<Row> = files.map(|(_, row)| row).collect();
        if !files.is_sorted_by_key(|&row| first(row)) {
            files.sort_by_cached_key(|&row| first(row));
        }
        files
    }

    /// Cuts the files into runs of about a megabyte, never inside a shared stream; the largest first.
    fn jobs(&self, files: &[Row]) -> Vec<Range<usize>> {
        const JOB: u64 = 1 << 20;
        let mut jobs = Vec::new();
        let (mut start, mut bytes, mut last) = (0, 0_u64, None);
        for (at, &row) in files.iter().enumerate() {
            let Some(node) = self.index.node(row) else { continue };
            let mut chunks = self.index.locations(node);
            let first = chunks.next().map(|chunk| chunk.offset);
            // A file of several jobs' size gets one to itself.
            if (bytes >= JOB || (bytes > 0 && node.size >= JOB)) && first != last {
                jobs.push((bytes, start..at));
                (start, bytes) = (at, 0);
            }
            bytes = bytes.saturating_add(node.size);
            last = chunks.last().map(|chunk| chunk.offset).or(first);
        }
        jobs.push((bytes, start..files.len()));
        // Stable, so jobs of one size stay in the order of the blob.
        jobs.sort_by_key(|(bytes, _)| std::cmp::Reverse(bytes / JOB));
        jobs.into_iter().map(|(_, files)| files).collect()
    }
}

/// One thread's share of a verification.
struct Worker {
    decoder: Box<dyn Decoder>,
    /// Compressed bytes, and where in the blob they start.
    window: Vec<u8>,
    window_at: u64,
}

/// Compressed bytes that are read at once, if there are as many.
const WINDOW: u64 = 1 << 20;

impl Worker {
    fn new(decoder: Box<dyn Decoder>) -> Self {
        Self { decoder, window: Vec::new(), window_at: 0 }
    }

    fn run<R: ReadAt + Sync>(&mut self, reader: &Reader<R>, rows: &[Row]) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let mut chunks: Vec<(Row, Location)> = Vec::new();
        let mut file: Option<Hasher> = None;
        for row in rows {
            let Some(node) = reader.index.node(*row) else { continue };
            chunks.extend(reader.index.locations(node).map(|chunk| (*row, chunk)));
        }
        let mut at = 0;
        while let Some(&(_, first)) = chunks.get(at) {
            let rest = chunks.get(at..).unwrap_or_default();
            let run = rest.iter().take_while(|(_, chunk)| chunk.offset == first.offset).count();
            let run = rest.get(..run).unwrap_or_default();
            at = at.saturating_add(run.len());
            self.stream(reader, run, &mut file)?;
        }
        for (row, chunk) in &chunks {
            verified.files = verified.files.saturating_add(u64::from(chunk.at == 0));
            verified.bytes = verified.bytes.saturating_add(chunk.size);
            let _ = row;
        }
        verified.chunks = chunks.len() as u64;
        Ok(verified)
    }

    /// Verifies the chunks of one stream.
    fn stream<R: ReadAt + Sync>(
        &mut self,
        reader: &Reader<R>,
        chunks: &[(Row, Location)],
        file: &mut Option<Hasher>,
    ) -> Result<(), Error> {
        let Some(&(row, first)) = chunks.first() else { return Ok(()) };
        if let (true, &[(row, hole)]) = (first.zeros, chunks) {
            reader.check_zeros(row, &hole)?;
            return check_file(reader, row, &hole, |hasher| hash_zeros(hasher, hole.size), file);
        }
        let want = chunks.iter().map(|(_, chunk)| chunk.want()).max().unwrap_or(0);
        let end = reader.index.stream_end(first.offset);
        self.fill(reader, first.offset, end)?;
        let from = usize::try_from(first.offset.saturating_sub(self.window_at)).unwrap_or(usize::MAX);
        let len = usize::try_from(end.saturating_sub(first.offset)).unwrap_or(usize::MAX);
        let input = self.window.get(from..).and_then(|rest| rest.get(..len)).unwrap_or_default();
        let corrupt = |reason: String| reader.corrupt(row, &first, reason);
        let size = usize::try_from(want).map_err(|_| corrupt("too large for this machine".to_owned()))?;
        let stream = self.decoder.decode(input, size).map_err(|error| corrupt(error.to_string()))?;
        for (row, chunk) in chunks {
            let range = usize::try_from(chunk.inner).ok().zip(usize::try_from(chunk.want()).ok());
            let content = range.and_then(|(from, to)| stream.get(from..to));
            let content = content.ok_or_else(|| reader.corrupt(*row, chunk, "the stream is too short".to_owned()))?;
            reader.check(*row, chunk, content)?;
            check_file(reader, *row, chunk, |hasher| hasher.update(content), file)?;
        }
        Ok(())
    }

    /// Makes sure that the window holds `start..end`.
    fn fill<R: ReadAt + Sync>(&mut self, reader: &Reader<R>, start: u64, end: u64) -> Result<(), Error> {
        let have = self.window_at..self.window_at.saturating_add(self.window.len() as u64);
        if have.contains(&start) && end <= have.end {
            return Ok(());
        }
        let end = end.max(start.saturating_add(WINDOW).min(reader.index.payload_len));
        self.window_at = start;
        reader.read_raw(Offset::new(start), end.saturating_sub(start), &mut self.window)
    }
}

/// Adds a chunk to the digest of its file, and compares that after the last one.
fn check_file<R>(
    reader: &Reader<R>,
    row: Row,
    chunk: &Location,
    add: impl FnOnce(&mut Hasher),
    file: &mut Option<Hasher>,
) -> Result<(), Error> {
    let Some(node) = reader.index.node(row) else { return Ok(()) };
    let Some(expected) = reader.index.digest(node.digest).filter(|_| node.count != 0) else { return Ok(()) };
    let mut hasher = match chunk.at {
        0 => Hasher::new(expected.algorithm()),
        _ => file.take().unwrap_or_else(|| Hasher::new(expected.algorithm())),
    };
    add(&mut hasher);
    if chunk.at.saturating_add(chunk.size) < node.size {
        *file = Some(hasher);
        return Ok(());
    }
    Mismatch::check(&expected, &hasher.finish())
        .map_err(|source| Error::Mismatch { what: format!("file `{}`", shown(&reader.index.path(row))), source })
}

/// Checks chunks one by one against a TOC that covers all of them.
#[derive(Debug)]
pub struct Verifiers<'a, R> {
    reader: &'a Reader<R>,
}

impl<R> Verifiers<'_, R> {
    /// A verifier for the chunk of the file at `path` that holds the byte at `offset`.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`] if there is none.
    pub fn verifier(&self, path: &str, offset: u64) -> Result<ChunkVerifier, Error> {
        let missing = || Error::NotFound { name: path.to_owned() };
        let chunk = self.reader.chunk_for_offset(path, offset).ok_or_else(missing)?;
        let expected = chunk.digest.ok_or_else(|| Error::NoDigest { name: path.to_owned(), at: chunk.chunk_offset })?;
        Ok(ChunkVerifier { path: path.to_owned(), chunk, expected, hasher: Hasher::new(expected.algorithm()) })
    }
}

/// Takes the bytes of one chunk and says whether they are the right ones.
#[derive(Debug)]
pub struct ChunkVerifier {
    path: String,
    chunk: Chunk,
    expected: Digest,
    hasher: Hasher,
}

impl ChunkVerifier {
    /// Adds the next bytes of the chunk.
    pub fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
    }

    /// Ends the chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Mismatch`] unless the bytes were those of the TOC.
    pub fn finish(self) -> Result<(), Error> {
        let what = format!("chunk at {} of `{}`", self.chunk.chunk_offset, self.path);
        Mismatch::check(&self.expected, &self.hasher.finish()).map_err(|source| Error::Mismatch { what, source })
    }
}
