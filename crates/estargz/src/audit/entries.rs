//! The TOC, entry by entry: parsed on a thread of its own, a few hundred entries ahead.

use std::{collections::VecDeque, io::Read, thread};

use crossbeam_channel::{Receiver, SendError, Sender, bounded};
use dunnage_digest::{Mismatch, ReadAt};

use super::is_node;
use crate::{
    Error, Reader,
    codec::TocDigestOf,
    toc::{TocEntry, TocParser},
};

/// Entries that are handed over at once.
const BATCH: usize = 128;
/// Batches between the two threads.
const AHEAD: usize = 4;
/// Bytes of the document that are parsed at once.
const BLOCK: usize = 64 << 10;

type Batch = Result<Vec<TocEntry>, Error>;

/// The entries that are left.
pub(super) struct Entries {
    batches: Receiver<Batch>,
    ready: VecDeque<TocEntry>,
}

impl Entries {
    /// The next entry that is no further chunk, and the further chunks that follow it.
    pub(super) fn next(&mut self) -> Result<Option<(TocEntry, Vec<TocEntry>)>, Error> {
        let Some(entry) = self.pop()? else { return Ok(None) };
        let mut chunks = Vec::new();
        while self.peek()?.is_some_and(|next| !is_node(next)) {
            chunks.extend(self.pop()?);
        }
        Ok(Some((entry, chunks)))
    }

    fn peek(&mut self) -> Result<Option<&TocEntry>, Error> {
        while self.ready.is_empty() {
            // The thread is gone: that was all.
            let Ok(batch) = self.batches.recv() else { break };
            self.ready.extend(batch?);
        }
        Ok(self.ready.front())
    }

    fn pop(&mut self) -> Result<Option<TocEntry>, Error> {
        self.peek()?;
        Ok(self.ready.pop_front())
    }
}

/// Runs `work` with the entries of the layer's TOC, and makes sure that it is the TOC that was opened.
pub(super) fn with_entries<R: ReadAt + Sync, T>(
    reader: &Reader<R>,
    work: impl FnOnce(&mut Entries) -> Result<T, Error>,
) -> Result<T, Error> {
    thread::scope(|scope| {
        let (sender, batches) = bounded(AHEAD);
        let parser = thread::Builder::new().name("dunnage-toc".to_owned());
        let parser = parser.spawn_scoped(scope, || parse(reader, sender)).map_err(|_| Error::Worker)?;
        let result = work(&mut Entries { batches, ready: VecDeque::new() });
        parser.join().map_err(|_| Error::Worker)?;
        result
    })
}

fn parse<R: ReadAt + Sync>(reader: &Reader<R>, sender: Sender<Batch>) {
    let mut gathered = Vec::with_capacity(BATCH);
    let result = read(reader, &mut gathered, &sender);
    // Fails if the receiver is gone, which needs no entries any more.
    let _ = match result {
        Ok(()) => sender.send(Ok(gathered)),
        Err(Stop::Nobody) => Ok(()),
        Err(Stop::Failed(error)) => sender.send(Err(error)),
    };
}

enum Stop {
    Nobody,
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl<T> From<SendError<T>> for Stop {
    fn from(_: SendError<T>) -> Self {
        Self::Nobody
    }
}

fn read<R: ReadAt + Sync>(
    reader: &Reader<R>,
    gathered: &mut Vec<TocEntry>,
    sender: &Sender<Batch>,
) -> Result<(), Stop> {
    let mut document = reader.document()?;
    let mut parser = TocParser::new(reader.limits());
    let mut block = vec![0; BLOCK];
    let failed = |source| Error::Read { what: "the TOC", at: reader.footer().toc_at(), source };
    loop {
        let len = document.json.read(&mut block).map_err(failed)?;
        let bytes = block.get(..len).unwrap_or_default();
        if bytes.is_empty() {
            break;
        }
        document.hasher.update(bytes);
        parser.feed(bytes, &mut |entry| {
            gathered.push(entry.to_owned());
            Ok(())
        })?;
        if gathered.len() >= BATCH {
            sender.send(Ok(std::mem::replace(gathered, Vec::with_capacity(BATCH))))?;
        }
    }
    parser.finish(&mut |entry| {
        gathered.push(entry.to_owned());
        Ok(())
    })?;
    if document.covers == TocDigestOf::Document {
        Mismatch::check(reader.toc_digest(), &document.hasher.finish()).map_err(|source| {
            Stop::Failed(Error::Mismatch { what: "the TOC has changed since it was opened".to_owned(), source })
        })?;
    }
    Ok(())
}
