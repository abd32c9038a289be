//! Pieces of files that are unpacked before a program asks for them.
//!
//! Some formats unpack a file in pieces of a few megabytes, each on one core, and the kernel reads ahead by less than a piece.
//! A program that reads a large file from front to back would wait for each piece while other cores are idle. So as many
//! threads as there are cores unpack the pieces after the one that is read, and the tree keeps them in its cache.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use dunnage_digest::Cancel;

use crate::NodeId;

/// Files that are read from front to back, and the pieces to unpack next.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Threads at most.
    most: usize,
    /// Raised at the end of the mount.
    cancel: Cancel,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    streams: VecDeque<Stream>,
    /// Places in files, one in each piece.
    wanted: VecDeque<(NodeId, u64)>,
    /// Threads that unpack.
    working: usize,
    ended: bool,
}

/// A file that a program reads from front to back.
#[derive(Debug)]
struct Stream {
    node: NodeId,
    /// Where the last read ended.
    read: u64,
    /// Where the last piece begins that was put on the list.
    wanted: u64,
}

impl ReadAhead {
    pub(super) fn new() -> Self {
        Self::of(thread::available_parallelism().map_or(1, usize::from))
    }

    fn of(most: usize) -> Self {
        let state = State { streams: VecDeque::new(), wanted: VecDeque::new(), working: 0, ended: false };
        Self { most, cancel: Cancel::new(), state: Mutex::new(state) }
    }

    /// Raised at the end of the mount, for the work that is in progress then.
    pub(super) const fn cancel(&self) -> &Cancel {
        &self.cancel
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a read of `len` bytes of `node` at `at`. Returns whether one more thread should ask for [`next`](Self::next) until
    /// there is none. `piece_end` returns where the piece of a byte ends.
    pub(super) fn note(&self, node: NodeId, at: u64, len: u64, piece_end: impl Fn(u64) -> Option<u64>) -> bool {
        let end = at.saturating_add(len);
        // Random reads are small; the kernel reads ahead only for a program that goes on where its last read ended.
        if len < LEAST {
            return false;
        }
        let Some(mut next) = piece_end(end.saturating_sub(1)) else { return false };
        let mut state = self.state();
        let known = state.streams.iter().position(|known| known.node == node && known.read.abs_diff(at) <= SLACK);
        let Some(mut stream) = known.and_then(|known| state.streams.remove(known)) else {
            state.streams.push_back(Stream { node, read: end, wanted: 0 });
            if state.streams.len() > STREAMS {
                state.streams.pop_front();
            }
            return false;
        };
        stream.read = stream.read.max(end);
        // The kernel reads pieces smaller than a read ahead by itself, on several cores.
        while next < stream.read.saturating_add(WINDOW)
            && let Some(after) = piece_end(next).filter(|&after| after.saturating_sub(next) > len)
        {
            if next > stream.wanted {
                stream.wanted = next;
                state.wanted.push_back((node, next));
                if state.wanted.len() > WANTED {
                    state.wanted.pop_front();
                }
            }
            next = after;
        }
        // Streams are in the order of their last reads.
        state.streams.push_back(stream);
        let is_needed = !state.ended && state.wanted.len() > state.working && state.working < self.most;
        if is_needed {
            state.working = state.working.saturating_add(1);
        }
        is_needed
    }

    /// The next place to unpack. If there is none, the thread that asks does not come again.
    pub(super) fn next(&self) -> Option<(NodeId, u64)> {
        let mut state = self.state();
        while let Some((node, at)) = state.wanted.pop_front().filter(|_| !state.ended) {
            // A read that has reached the piece by now unpacks it itself.
            if state.streams.iter().any(|stream| stream.node == node && stream.read <= at) {
                return Some((node, at));
            }
        }
        state.working = state.working.saturating_sub(1);
        None
    }

    /// Ends the work, that in progress included.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.cancel.cancel();
    }
}

/// Bytes of the smallest read that counts: the kernel asks for as many when it begins to read ahead.
const LEAST: u64 = 128 << 10;
/// How far a read may be from where the last one ended: several are on their way at once.
const SLACK: u64 = 2 << 20;
/// How far after the last read a piece may begin.
const WINDOW: u64 = 8 << 20;
/// Places that wait at most, while the threads wait for a network, say. The oldest are the first to be of no use.
const WANTED: usize = 256;
/// Files at once. Their windows together are no more than the smallest cache that is usual.
const STREAMS: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// A file of 30 MiB in pieces of 4.
    fn in_fours(at: u64) -> Option<u64> {
        (at < 30 * MIB).then(|| ((at / (4 * MIB) + 1) * 4 * MIB).min(30 * MIB))
    }

    fn wanted(ahead: &ReadAhead) -> Vec<(u64, u64)> {
        ahead.state().wanted.drain(..).map(|(node, at)| (node.get(), at / MIB)).collect()
    }

    #[test]
    fn pieces_after_a_row_of_reads_are_wanted_once() {
        let ahead = ReadAhead::of(2);
        let read = |at: u64| ahead.note(NodeId::new(7), at * MIB, MIB, in_fours);
        // One read is no row.
        assert!(!read(0));
        assert_eq!(wanted(&ahead), []);
        assert!(read(1));
        assert_eq!(wanted(&ahead), [(7, 4), (7, 8)]);
        // Out of order, and again.
        for at in [3, 2, 2] {
            read(at);
        }
        assert_eq!(wanted(&ahead), []);
        read(4);
        assert_eq!(wanted(&ahead), [(7, 12)]);
        // Somewhere else: a row of its own, and the first one goes on.
        assert!(!read(20));
        read(5);
        assert_eq!(wanted(&ahead), []);
        read(21);
        assert_eq!(wanted(&ahead), [(7, 24), (7, 28)]);
        read(28);
        read(29);
        assert_eq!(wanted(&ahead), []);
    }

    #[test]
    fn small_reads_other_files_and_single_bytes_want_nothing() {
        let ahead = ReadAhead::of(2);
        for at in 0..4 {
            assert!(!ahead.note(NodeId::new(1), at * 4096, 4096, in_fours));
            assert!(!ahead.note(NodeId::new(2), at * MIB, MIB, |_| None));
            assert!(!ahead.note(NodeId::new(3 + at), at * MIB, MIB, in_fours));
        }
        assert_eq!(wanted(&ahead), []);
        // Pieces that end where they begin would be wanted for ever.
        for (node, piece) in [(8, MIB), (9, 0)] {
            for at in 0..4 {
                assert!(!ahead.note(NodeId::new(node), at * MIB, MIB, |at| Some((at / MIB * MIB) + piece)));
            }
        }
        assert_eq!(wanted(&ahead), []);
    }

    #[test]
    fn there_are_as_many_threads_as_there_is_work_for_and_no_more() {
        let ahead = ReadAhead::of(2);
        let read = |node: u64, at: u64| ahead.note(NodeId::new(node), at * MIB, MIB, in_fours);
        for node in 1..4 {
            read(node, 0);
        }
        assert_eq!([1, 2, 3].map(|node| read(node, 1)), [true, true, false]);
        let got: Vec<_> = std::iter::from_fn(|| ahead.next()).map(|(node, at)| (node.get(), at / MIB)).collect();
        assert_eq!(got, [(1, 4), (1, 8), (2, 4), (2, 8), (3, 4), (3, 8)]);
        assert_eq!(ahead.next(), None);
        assert_eq!(ahead.state().working, 0);
        // Pieces that were read before their turn are left out, and so are files that were not read for long.
        assert!(read(1, 4));
        read(1, 6);
        read(1, 8);
        read(1, 10);
        read(1, 12);
        assert_eq!(ahead.next(), Some((NodeId::new(1), 16 * MIB)));
        for node in 4..8 {
            read(node, 0);
        }
        assert_eq!([ahead.next(), ahead.next()], [None; 2]);
        assert_eq!(ahead.state().working, 0);
        read(8, 0);
        assert!(read(8, 1));
        ahead.end();
        assert_eq!(ahead.next(), None);
        assert!(!read(8, 4));
    }

    #[test]
    fn places_that_are_never_unpacked_do_not_pile_up() {
        let ahead = ReadAhead::of(1);
        for node in 0..1000 {
            for at in 0..2 {
                ahead.note(NodeId::new(node), at * MIB, MIB, in_fours);
            }
        }
        assert_eq!(ahead.state().wanted.len(), WANTED);
        assert_eq!(ahead.next(), Some((NodeId::new(996), 4 * MIB)));
    }

    #[test]
    fn rows_are_forgotten_when_there_are_many() {
        let ahead = ReadAhead::of(1);
        for node in 0..100 {
            ahead.note(NodeId::new(node), 0, MIB, in_fours);
        }
        assert_eq!(ahead.state().streams.len(), STREAMS);
        assert!(!ahead.note(NodeId::new(0), MIB, MIB, in_fours));
        assert!(ahead.note(NodeId::new(99), MIB, MIB, in_fours));
    }
}
