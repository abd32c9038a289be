//! DiffID, the digests of digests of several chunks, and those of chunks in several streams: hashes over bytes that must be
//! seen in order.
//!
//! They run on a thread of their own beside compression, or in place when only one thread is allowed.

use std::{collections::VecDeque, sync::Arc, thread};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use dunnage_digest::{Digest, Hasher};

use super::batch::{Batch, Part};
use crate::Error;

#[derive(Debug)]
struct State {
    diff: Hasher,
    len: u64,
    file: Option<Hasher>,
    chunk: Option<Hasher>,
    /// What was hashed up to the end of the tar.
    tar: Option<(Digest, u64)>,
}

/// The hashes of a layer's tar stream.
pub(super) struct Hashes {
    /// Of all of it.
    pub(super) diff_id: Digest,
    pub(super) len: u64,
    /// Of the part in front of the TOC.
    pub(super) tar: Digest,
    pub(super) tar_len: u64,
}

impl State {
    fn new() -> Self {
        Self { diff: Hasher::sha256(), len: 0, file: None, chunk: None, tar: None }
    }

    /// Digests that are complete are handed to `done`: that of a chunk before that of the file it ends.
    fn batch(&mut self, batch: &Batch, mut done: impl FnMut(Digest)) {
        self.bytes(&batch.data);
        for (place, content) in batch.contents() {
            for (part, open) in [(place.of_chunk, &mut self.chunk), (place.part, &mut self.file)] {
                if part == Part::Whole {
                    continue;
                }
                let hasher = match part.starts() {
                    true => open.insert(Hasher::sha256()),
                    false => open.get_or_insert_with(Hasher::sha256),
                };
                hasher.update(content);
                if part.ends()
                    && let Some(hasher) = open.take()
                {
                    done(hasher.finish());
                }
            }
        }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.diff.update(bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
    }

    fn end_of_tar(&mut self) {
        self.tar = Some((self.diff.clone().finish(), self.len));
    }

    fn finish(self) -> Hashes {
        let (diff_id, len) = (self.diff.finish(), self.len);
        let (tar, tar_len) = self.tar.unwrap_or((diff_id, len));
        Hashes { diff_id, len, tar, tar_len }
    }
}

enum Message {
    Batch(Arc<Batch>),
    Bytes(Vec<u8>),
    EndOfTar,
}

/// The hashes of one layer.
pub(super) struct Hashing(Lane);

enum Lane {
    Here { state: Box<State>, digests: VecDeque<Digest> },
    Thread { sender: Sender<Message>, digests: Receiver<Digest>, thread: thread::JoinHandle<State>, buffer: Vec<u8> },
}

/// Loose bytes are gathered up to this size before they are sent on.
const GATHER: usize = 256 << 10;

impl Hashing {
    pub(super) fn new(threads: usize) -> Self {
        let (sender, messages) = bounded::<Message>(4);
        let (done, digests) = unbounded();
        let work = move || {
            let mut state = State::new();
            for message in messages {
                match message {
                    Message::Batch(batch) => state.batch(&batch, |digest| {
                        // If nobody takes the digest, the writer is gone already.
                        let _ = done.send(digest);
                    }),
                    Message::Bytes(bytes) => state.bytes(&bytes),
                    Message::EndOfTar => state.end_of_tar(),
                }
            }
            state
        };
        if threads > 1
            && let Ok(thread) = thread::Builder::new().name("dunnage-hash".to_owned()).spawn(work)
        {
            return Self(Lane::Thread { sender, digests, thread, buffer: Vec::new() });
        }
        Self(Lane::Here { state: Box::new(State::new()), digests: VecDeque::new() })
    }

    /// Adds the next batch.
    pub(super) fn batch(&mut self, batch: &Arc<Batch>) -> Result<(), Error> {
        match &mut self.0 {
            Lane::Here { state, digests } => state.batch(batch, |digest| digests.push_back(digest)),
            Lane::Thread { sender, .. } => {
                sender.send(Message::Batch(Arc::clone(batch))).map_err(|_| Error::Worker)?;
            }
        }
        Ok(())
    }

    /// Adds bytes to the DiffID alone.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Lane::Here { state, .. } => state.bytes(bytes),
            Lane::Thread { sender, buffer, .. } => {
                buffer.extend_from_slice(bytes);
                if buffer.len() >= GATHER {
                    // A thread that died is noticed when it is joined.
                    let _ = sender.send(Message::Bytes(std::mem::take(buffer)));
                }
            }
        }
    }

    /// The digest of the next chunk of several streams or file of several chunks, which must have been added whole.
    pub(super) fn digest(&mut self) -> Result<Digest, Error> {
        match &mut self.0 {
            Lane::Here { digests, .. } => digests.pop_front().ok_or(Error::Worker),
            Lane::Thread { digests, .. } => digests.recv().map_err(|_| Error::Worker),
        }
    }

    /// All batches were added; what follows is the TOC.
    pub(super) fn end_of_tar(&mut self) -> Result<(), Error> {
        match &mut self.0 {
            Lane::Here { state, .. } => state.end_of_tar(),
            Lane::Thread { sender, .. } => sender.send(Message::EndOfTar).map_err(|_| Error::Worker)?,
        }
        Ok(())
    }

    /// The hashes of all that was added.
    pub(super) fn finish(self) -> Result<Hashes, Error> {
        let state = match self.0 {
            Lane::Here { state, .. } => *state,
            Lane::Thread { sender, thread, buffer, .. } => {
                sender.send(Message::Bytes(buffer)).map_err(|_| Error::Worker)?;
                drop(sender);
                thread.join().map_err(|_| Error::Worker)?
            }
        };
        Ok(state.finish())
    }
}
