//! Which pieces are kept, and which reader makes the one that is missing.
//!
//! A piece is dropped once as many bytes were read from it as it holds: it was almost certainly read through, and the kernel
//! keeps what a mount returned. A wrong guess costs one more decoding for as many bytes again.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use dunnage_digest::ReadRequest;
use hashbrown::HashMap;

use super::{
    PieceStore,
    buffers::{Buffers, PieceBuffer},
    pages::{Pages, Piece},
    wait::wait_for,
};

/// How a [`PieceCache`] is made.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct PieceCacheOptions {
    /// Bytes of decoded pieces that are kept, over all sources together. A single piece may be larger; it is then the only
    /// one. Default 32 MiB.
    pub bytes: u64,
    /// Bytes that may be fetched and not decoded yet, over all sources together. A single fetch may be larger; it then waits
    /// until it is the only one. Default 32 MiB.
    pub in_flight: u64,
    /// A cache that is asked before a source. Default: none.
    pub store: Option<Arc<dyn PieceStore>>,
}

impl Default for PieceCacheOptions {
    fn default() -> Self {
        Self { bytes: 32 << 20, in_flight: 32 << 20, store: None }
    }
}

/// Decoded pieces of any number of sources, bounded in bytes over all of them.
///
/// Make one per mount or command, and give clones of it to every reader: clones share the pieces, the bound, and the bound of
/// the bytes in flight. A reader that is opened alone can make its own. A lookup costs one uncontended lock and one hash.
#[derive(Clone)]
pub struct PieceCache(Arc<Shared>);

struct Shared {
    /// Bytes of memory for pieces; a single piece may be larger.
    capacity: usize,
    pages: Arc<Pages>,
    buffers: Arc<Buffers>,
    store: Option<Arc<dyn PieceStore>>,
    sources: AtomicU64,
    state: Mutex<State>,
}

/// A piece: the number of its source, and two numbers by which the source knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    source: u64,
    file: u64,
    at: u64,
}

#[derive(Default)]
struct State {
    pieces: HashMap<Key, Row>,
    /// Keys with the time of a use, oldest first. A key whose piece was used since goes to the end when its turn comes, so a
    /// lookup writes nothing here.
    order: VecDeque<(Key, u64)>,
    uses: u64,
    /// Bytes of memory of the pieces, and of those that are being copied into the cache.
    bytes: usize,
    /// Pieces that some reader makes at the moment.
    flights: HashMap<Key, Arc<Flight>>,
}

struct Row {
    piece: Arc<Piece>,
    /// The time of the last use.
    used: u64,
    /// Bytes that were read from the piece.
    read: usize,
}

/// A piece on its way. Readers that want it wait here.
#[derive(Default)]
struct Flight {
    /// `Some(None)` once the reader that made the piece failed.
    result: Mutex<Option<Option<Arc<Piece>>>>,
    ended: Condvar,
}

impl Default for PieceCache {
    fn default() -> Self {
        Self::new(PieceCacheOptions::default())
    }
}

impl PieceCache {
    /// An empty cache.
    #[must_use]
    pub fn new(options: PieceCacheOptions) -> Self {
        let PieceCacheOptions { bytes, in_flight, store } = options;
        let capacity = usize::try_from(bytes).unwrap_or(usize::MAX);
        Self(Arc::new(Shared {
            capacity,
            pages: Pages::new(capacity),
            buffers: Buffers::new(in_flight),
            store,
            sources: AtomicU64::new(0),
            state: Mutex::default(),
        }))
    }

    /// A cache with this bound on the bytes of its pieces, and the defaults for everything else.
    #[must_use]
    pub fn with_bytes(bytes: u64) -> Self {
        Self::new(PieceCacheOptions { bytes, ..PieceCacheOptions::default() })
    }

    /// The view of one more source, for its reader to keep. Pieces of two sources never mix.
    #[must_use]
    pub fn source(&self) -> PieceSource {
        PieceSource { cache: self.clone(), number: self.0.sources.fetch_add(1, Relaxed) }
    }

    /// The store that readers ask before they fetch, if there is one.
    #[must_use]
    pub fn store(&self) -> Option<&dyn PieceStore> {
        self.0.store.as_deref()
    }

    /// Bytes of memory that kept pieces take at the moment.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.0.state().bytes as u64
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One source in a [`PieceCache`]. Its pieces are forgotten when it is dropped.
pub struct PieceSource {
    cache: PieceCache,
    number: u64,
}

/// The answer of [`PieceSource::enter`].
#[derive(Debug)]
#[expect(clippy::exhaustive_enums, reason = "closed: the piece is there, or the caller makes it")]
pub enum PieceLookup<'s> {
    /// The piece.
    Kept(Arc<Piece>),
    /// The piece is missing: the caller makes it, and others wait for the caller.
    Make(PieceTurn<'s>),
}

impl PieceSource {
    /// The cache that this source shares with others.
    #[must_use]
    pub const fn cache(&self) -> &PieceCache {
        &self.cache
    }

    const fn key(&self, file: u64, at: u64) -> Key {
        Key { source: self.number, file, at }
    }

    /// Looks a piece up, of which the caller will read `read` bytes. `file` and `at` are numbers that the source chooses; equal
    /// numbers stand for equal bytes.
    ///
    /// If another reader makes the piece, waits for it. If that reader fails, or ends early, the next one that waits gets the
    /// turn, and reports its own error.
    ///
    /// # Errors
    ///
    /// Those of the request, if it ends while this thread waits.
    pub fn enter(&self, file: u64, at: u64, read: usize, request: &ReadRequest<'_>) -> io::Result<PieceLookup<'_>> {
        let (shared, key) = (&*self.cache.0, self.key(file, at));
        loop {
            let mut state = shared.state();
            if let Some(piece) = state.get(key, read) {
                return Ok(PieceLookup::Kept(piece));
            }
            let Some(flight) = state.flights.get(&key).map(Arc::clone) else {
                let flight = Arc::new(Flight::default());
                state.flights.insert(key, Arc::clone(&flight));
                return Ok(PieceLookup::Make(PieceTurn { shared, key, read, flight }));
            };
            drop(state);
            let result = flight.result.lock().unwrap_or_else(PoisonError::into_inner);
            let (guard, piece) = wait_for(&flight.ended, result, request, |result| result.clone())?;
            drop(guard);
            if let Some(piece) = piece {
                // For the count of the bytes read; the piece may have been dropped again by now.
                drop(shared.state().get(key, read));
                return Ok(PieceLookup::Kept(piece));
            }
        }
    }

    /// The piece, from the cache or from `make`: [`enter`](Self::enter) for callers that copy the content out of the piece
    /// afterwards.
    ///
    /// # Errors
    ///
    /// Those of `make`, and of the request.
    pub fn get_or_make<E: From<io::Error>>(
        &self,
        file: u64,
        at: u64,
        read: usize,
        request: &ReadRequest<'_>,
        make: impl FnOnce(PieceTurn<'_>) -> Result<Arc<Piece>, E>,
    ) -> Result<Arc<Piece>, E> {
        match self.enter(file, at, read, request)? {
            PieceLookup::Kept(piece) => Ok(piece),
            PieceLookup::Make(turn) => make(turn),
        }
    }

    /// Whether the piece is kept, or some reader makes it at the moment. For callers that announce reads to a source.
    #[must_use]
    pub fn has(&self, file: u64, at: u64) -> bool {
        let (state, key) = (self.cache.0.state(), self.key(file, at));
        state.pieces.contains_key(&key) || state.flights.contains_key(&key)
    }

    /// An empty buffer for `len` fetched bytes. Waits while the buffers of all sources together would exceed the bound.
    ///
    /// # Errors
    ///
    /// Those of the request, if it ends while this thread waits.
    pub fn buffer(&self, len: u64, request: &ReadRequest<'_>) -> io::Result<PieceBuffer> {
        self.cache.0.buffers.take(len, request)
    }

    /// Drops all pieces of this source.
    pub fn forget(&self) {
        let mut dropped = Vec::new();
        let mut state = self.cache.0.state();
        state.pieces.retain(|key, row| {
            let stays = key.source != self.number;
            if !stays {
                dropped.push(Arc::clone(&row.piece));
            }
            stays
        });
        for piece in &dropped {
            state.bytes = state.bytes.saturating_sub(piece.memory());
        }
        state.order.retain(|(key, _)| key.source != self.number);
        drop(state);
        if !dropped.is_empty() {
            drop(dropped);
            self.cache.0.pages.trim();
        }
    }
}

impl Drop for PieceSource {
    fn drop(&mut self) {
        self.forget();
    }
}

/// The right to make a piece. If it is dropped without content, by an error or a panic, the next reader that waits gets it.
pub struct PieceTurn<'s> {
    shared: &'s Shared,
    key: Key,
    read: usize,
    flight: Arc<Flight>,
}

impl PieceTurn<'_> {
    /// Keeps a copy of `content`, in the memory of pieces that were not used for longer, and hands it to the readers that wait.
    pub fn keep(self, content: &[u8]) -> Arc<Piece> {
        let need = Pages::size_for(content.len());
        let surplus = self.shared.state().make_room(need, self.shared.capacity);
        // Their pages are used again for this piece.
        drop(surplus);
        let piece = Arc::new(self.shared.pages.piece(content));
        let mut state = self.shared.state();
        let replaced = state.put(self.key, &piece, self.read);
        drop(state);
        drop(replaced);
        self.end(Some(&piece));
        piece
    }

    /// Hands `content` to the readers that wait, if there are any, and keeps nothing. For a caller that reads the whole piece:
    /// as a rule no other read of it follows.
    pub fn pass(self, content: &[u8]) {
        // From here on no reader joins the flight, so its other owners are those that wait.
        self.shared.state().flights.remove(&self.key);
        if Arc::strong_count(&self.flight) > 1 {
            self.end(Some(&Arc::new(self.shared.pages.piece(content))));
        }
    }

    fn end(&self, piece: Option<&Arc<Piece>>) {
        let mut state = self.shared.state();
        // After `pass` a flight of the same key can be that of another reader.
        if state.flights.get(&self.key).is_some_and(|flight| Arc::ptr_eq(flight, &self.flight)) {
            state.flights.remove(&self.key);
        }
        drop(state);
        let mut result = self.flight.result.lock().unwrap_or_else(PoisonError::into_inner);
        if result.is_none() {
            *result = Some(piece.map(Arc::clone));
            drop(result);
            self.flight.ended.notify_all();
        }
    }
}

impl Drop for PieceTurn<'_> {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl State {
    fn get(&mut self, key: Key, read: usize) -> Option<Arc<Piece>> {
        self.uses = self.uses.saturating_add(1);
        let row = self.pieces.get_mut(&key)?;
        row.read = row.read.saturating_add(read);
        if row.read >= row.piece.len() {
            let piece = self.pieces.remove(&key)?.piece;
            self.bytes = self.bytes.saturating_sub(piece.memory());
            return Some(piece);
        }
        row.used = self.uses;
        Some(Arc::clone(&row.piece))
    }

    /// Drops pieces until there is room for `need` bytes, and counts these as taken. The caller drops the pieces that are
    /// returned, outside of the lock.
    fn make_room(&mut self, need: usize, capacity: usize) -> Vec<Arc<Piece>> {
        let mut surplus = Vec::new();
        self.bytes = self.bytes.saturating_add(need);
        while self.bytes > capacity
            && let Some((key, used)) = self.order.pop_front()
        {
            match self.pieces.get(&key).map(|row| row.used) {
                Some(last) if last > used => self.order.push_back((key, last)),
                Some(last) if last == used => surplus.extend(self.remove(key)),
                // The place of a piece that was dropped before, and made again since.
                _ => {}
            }
        }
        surplus
    }

    fn remove(&mut self, key: Key) -> Option<Arc<Piece>> {
        let row = self.pieces.remove(&key)?;
        self.bytes = self.bytes.saturating_sub(row.piece.memory());
        Some(row.piece)
    }

    /// Puts a piece in, whose bytes are counted already, and returns the one in its place.
    fn put(&mut self, key: Key, piece: &Arc<Piece>, read: usize) -> Option<Arc<Piece>> {
        let replaced = self.remove(key);
        self.uses = self.uses.saturating_add(1);
        self.pieces.insert(key, Row { piece: Arc::clone(piece), used: self.uses, read });
        self.order.push_back((key, self.uses));
        // The places of pieces that were read through stay in the queue until they are swept.
        if self.order.len() > self.pieces.len().saturating_mul(2).saturating_add(SLACK) {
            let pieces = &self.pieces;
            let mut seen = hashbrown::HashSet::with_capacity(pieces.len());
            // The last place of a key is the one that counts: walk from the end.
            let mut places: Vec<_> =
                self.order.drain(..).rev().filter(|(key, _)| pieces.contains_key(key) && seen.insert(*key)).collect();
            places.reverse();
            self.order = places.into();
        }
        replaced
    }
}

/// Places of dropped pieces that may pile up before they are swept.
const SLACK: usize = 1024;

impl fmt::Debug for PieceCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state();
        let mut out = f.debug_struct("PieceCache");
        out.field("pieces", &state.pieces.len()).field("bytes", &state.bytes).field("capacity", &self.0.capacity);
        out.finish_non_exhaustive()
    }
}

impl fmt::Debug for PieceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceSource").field("number", &self.number).finish_non_exhaustive()
    }
}

impl fmt::Debug for PieceTurn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PieceTurn").field("key", &self.key).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering::SeqCst},
        thread,
        time::{Duration, Instant},
    };

    use dunnage_digest::{Cancel, ErrorKind, Purpose, kind_of};

    use super::*;

    const ALWAYS: ReadRequest<'_> = ReadRequest { purpose: Purpose::Demand, deadline: None, cancel: None };

    /// The piece, made of `content` if it is missing; and whether it was made.
    fn read(source: &PieceSource, at: u64, content: &[u8], read: usize) -> (Arc<Piece>, bool) {
        match source.enter(0, at, read, &ALWAYS).unwrap() {
            PieceLookup::Kept(piece) => (piece, false),
            PieceLookup::Make(turn) => (turn.keep(content), true),
        }
    }

    fn until(is_so: impl Fn() -> bool) {
        let start = Instant::now();
        while !is_so() {
            assert!(start.elapsed() < Duration::from_secs(20), "it takes too long");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Kept pieces, and their bytes.
    fn left(cache: &PieceCache) -> (usize, u64) {
        let state = cache.0.state();
        (state.pieces.len(), state.bytes as u64)
    }

    #[test]
    fn the_piece_unused_for_longest_goes_first() {
        let page = Pages::size_for(1);
        let cache = PieceCache::with_bytes(5 * page as u64);
        let source = cache.source();
        let put = |at: u64, pages: usize| assert!(read(&source, at, &vec![7; pages * page], 1).1);
        let has = |at: u64| source.has(0, at);
        put(1, 2);
        put(2, 2);
        assert!(!read(&source, 1, &[], 1).1);
        put(3, 2);
        assert_eq!([1, 2, 3].map(has), [true, false, true]);
        put(4, 50);
        assert_eq!([1, 2, 3, 4].map(has), [false, false, false, true]);
        assert_eq!(left(&cache), (1, 50 * page as u64));
        // Small ones take a page each.
        put(5, 1);
        put(6, 1);
        assert_eq!(left(&cache), (2, 2 * page as u64));
    }

    #[test]
    fn all_sources_share_one_bound_and_keep_their_pieces_apart() {
        let page = Pages::size_for(1);
        let cache = PieceCache::with_bytes(64 * page as u64);
        let sources: Vec<_> = (0..20).map(|_| cache.source()).collect();
        for at in 0..100 {
            for (number, source) in sources.iter().enumerate() {
                let (piece, _) = read(source, at, &vec![number as u8; page], 1);
                let mut byte = [255];
                assert!(piece.copy_to(5, &mut byte));
                assert_eq!(byte, [number as u8]);
                assert!(cache.bytes() <= 64 * page as u64);
            }
        }
        assert_eq!(left(&cache), (64, 64 * page as u64));
        // The first source has been pushed out by now, all but its last pieces.
        let of_first = |cache: &PieceCache| cache.0.state().pieces.keys().filter(|key| key.source == 0).count();
        assert!(of_first(&cache) > 0);
        sources[0].forget();
        assert_eq!(of_first(&cache), 0);
        drop(sources);
        assert_eq!((left(&cache), cache.0.state().order.len()), ((0, 0), 0));
    }

    #[test]
    fn a_piece_that_was_read_through_is_dropped() {
        let cache = PieceCache::default();
        let source = cache.source();
        assert!(read(&source, 1, &[7; 100], 40).1);
        let kept = (1, Pages::size_for(100) as u64);
        for (bytes, is_made, expected) in [(40, false, kept), (20, false, (0, 0)), (20, true, kept)] {
            let (piece, made) = read(&source, 1, &[7; 100], bytes);
            assert_eq!((made, left(&cache)), (is_made, expected), "{bytes}");
            assert!(piece.copy_to(80, &mut [0; 20]));
        }
    }

    #[test]
    fn places_of_dropped_pieces_do_not_pile_up() {
        let cache = PieceCache::default();
        let source = cache.source();
        for at in 0..10_000 {
            read(&source, at, &[7; 10], 5);
            read(&source, at, &[7; 10], 5);
        }
        assert_eq!(left(&cache), (0, 0));
        assert!(cache.0.state().order.len() <= SLACK + 1);
    }

    #[test]
    fn a_piece_that_many_readers_want_is_made_once() {
        // Readers of a part keep the piece, readers of the whole pass it on.
        for whole in [false, true] {
            let (cache, made) = (PieceCache::default(), AtomicUsize::new(0));
            let source = cache.source();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| match source.enter(0, 5, 10, &ALWAYS).unwrap() {
                        PieceLookup::Kept(piece) => assert!(piece.copy_to(0, &mut [0; 100])),
                        PieceLookup::Make(turn) => {
                            made.fetch_add(1, SeqCst);
                            // All others wait by then.
                            until(|| Arc::strong_count(&turn.flight) == 9);
                            if whole { turn.pass(&[7; 100]) } else { drop(turn.keep(&[7; 100])) }
                        }
                    });
                }
            });
            assert_eq!((made.load(SeqCst), source.has(0, 5)), (1, !whole));
        }
    }

    #[test]
    fn a_failure_is_the_readers_own_and_a_panic_stops_nobody() {
        let (cache, made) = (PieceCache::default(), AtomicUsize::new(0));
        let source = cache.source();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let failed = source.get_or_make(0, 5, 10, &ALWAYS, |_turn| {
                        made.fetch_add(1, SeqCst);
                        Err(io::Error::other("damaged"))
                    });
                    assert_eq!(failed.unwrap_err().to_string(), "damaged");
                });
            }
        });
        assert_eq!(made.load(SeqCst), 4);
        let panicked = thread::scope(|scope| {
            let make = || source.get_or_make::<io::Error>(0, 5, 10, &ALWAYS, |_turn| panic!("in a decoder"));
            scope.spawn(make).join()
        });
        assert!(panicked.is_err());
        assert!(read(&source, 5, &[7; 100], 10).1);
    }

    #[test]
    fn a_waiting_reader_ends_with_its_request_and_the_maker_goes_on() {
        let (cache, cancel) = (PieceCache::default(), Cancel::new());
        let source = cache.source();
        let PieceLookup::Make(turn) = source.enter(0, 5, 10, &ALWAYS).unwrap() else { panic!("it is there already") };
        thread::scope(|scope| {
            let cancelled = scope.spawn(|| source.enter(0, 5, 10, &ReadRequest::cancelled_by(&cancel)).map(drop));
            let deadline = Some(Instant::now() + Duration::from_millis(30));
            let late = source.enter(0, 5, 10, &ReadRequest { deadline, ..ALWAYS }).map(drop);
            assert_eq!(kind_of(&late.unwrap_err()), ErrorKind::Timeout);
            cancel.cancel();
            let cancelled = cancelled.join().unwrap();
            assert_eq!(kind_of(&cancelled.unwrap_err()), ErrorKind::Cancelled);
        });
        turn.keep(&[7; 100]);
        assert!(!read(&source, 5, &[], 10).1);
    }
}
