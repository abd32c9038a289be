//! Content that is unpacked before anybody asks for it.
//!
//! Some formats unpack a file in pieces of a few megabytes, each on one core, and the kernel reads ahead by less than a piece. So
//! who reads a large file from front to back would wait for each piece while other cores have nothing to do. Instead the pieces
//! behind what is read are unpacked by as many more threads as there are cores, and wait in the cache of their tree.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
};

use crate::NodeId;

/// Who reads what from front to back, and what is to be unpacked for them.
#[derive(Debug)]
pub(super) struct ReadAhead {
    /// Threads at most.
    most: usize,
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

/// A file that somebody reads from front to back.
#[derive(Debug)]
struct Stream {
    node: NodeId,
    /// Where the last read ended.
    read: u64,
    /// Where the last piece begins that somebody has been told to unpack.
    wanted: u64,
}

impl ReadAhead {
    pub(super) fn new() -> Self {
        Self::of(thread::available_parallelism().map_or(1, usize::from))
    }

    const fn of(most: usize) -> Self {
        let state = State { streams: VecDeque::new(), wanted: VecDeque::new(), working: 0, ended: false };
        Self { most, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody reads `len` bytes of `node` at `at`. Whether one more thread should ask for [`next`](Self::next), until there
    /// is none. `piece_end` says where the piece ends that a byte lies in.
    pub(super) fn note(&self, node: NodeId, at: u64, len: u64, piece_end: impl Fn(u64) -> Option<u64>) -> bool {
        let end = at.saturating_add(len);
        // Reads here and there are small, since the kernel reads ahead for whoever goes on where it was.
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
        // Pieces smaller than a read are what the kernel reads ahead itself, on several cores.
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
        // The one that was read last goes last.
        state.streams.push_back(stream);
        let is_needed = !state.ended && state.wanted.len() > state.working && state.working < self.most;
        if is_needed {
            state.working = state.working.saturating_add(1);
        }
        is_needed
    }

    /// A place that is wanted; if there is none, one thread less is there to ask for it.
    pub(super) fn next(&self) -> Option<(NodeId, u64)> {
        let mut state = self.state();
        while let Some((node, at)) = state.wanted.pop_front().filter(|_| !state.ended) {
            // Who has come there by now does it without help; once is enough.
            if state.streams.iter().any(|stream| stream.node == node && stream.read <= at) {
                return Some((node, at));
            }
        }
        state.working = state.working.saturating_sub(1);
        None
    }

    /// Nothing is wanted any more.
    pub(super) fn end(&self) {
        self.state().ended = true;
    }
}

/// Bytes of the smallest read that counts: what the kernel asks for when it begins to read ahead.
const LEAST: u64 = 128 << 10;
/// How far a read may be from where the last one ended: several are on their way at once.
const SLACK: u64 = 2 << 20;
/// How far behind what is read a piece may begin.
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
    fn pieces_behind_a_row_of_reads_are_wanted_once() {
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
        // What is read faster than it can be unpacked ahead is left out, and so is who has not been heard of for long.
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
    fn places_that_nobody_comes_to_do_not_pile_up() {
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
