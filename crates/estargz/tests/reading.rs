//! Reads of layers from sources that are slow, fail, or never answer.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests"
)]

use std::{
    collections::HashMap,
    fs, io,
    ops::Range,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use dunnage_digest::{Cancel, Digest, ErrorKind, Offset, Purpose, ReadAt, ReadRequest, SourceError, kind_of};
use dunnage_estargz::{OpenOptions, Reader, WriteOptions, Writer, read::Decoders};
use dunnage_inputs::{
    random::Random,
    tarball::{Entry, Format, tarball},
};
use dunnage_tree::{
    Tree,
    pieces::{PieceCache, PieceCacheOptions, PieceStore},
};

const CHUNK: usize = 64 << 10;

/// How a source answers reads of content.
#[derive(Clone, Copy, Debug)]
enum Answers {
    AtOnce,
    After(Duration),
    /// Not before the request ends.
    Never,
    Failing(ErrorKind),
}

/// A blob whose reads are counted.
#[derive(Debug)]
struct Source {
    bytes: Vec<u8>,
    answers: Mutex<Answers>,
    reads: AtomicUsize,
    /// Reads that wait at the moment, and the most there ever were.
    waiting: AtomicUsize,
    most: AtomicUsize,
    announced: Mutex<Vec<Range<u64>>>,
    purposes: Mutex<Vec<Purpose>>,
}

impl ReadAt for Source {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact_at_for(at, buf, &ReadRequest::default())
    }

    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        let answers = *self.answers.lock().unwrap();
        self.reads.fetch_add(1, SeqCst);
        self.purposes.lock().unwrap().push(request.purpose);
        self.most.fetch_max(self.waiting.fetch_add(1, SeqCst) + 1, SeqCst);
        let start = Instant::now();
        let waited = loop {
            let left = match answers {
                Answers::AtOnce => Duration::ZERO,
                Answers::After(delay) => delay.saturating_sub(start.elapsed()),
                Answers::Never => Duration::MAX,
                Answers::Failing(kind) => break Err(SourceError::new(kind, "the source says no").into()),
            };
            if let (Err(error), false) = (request.check(), left.is_zero()) {
                break Err(error);
            }
            if left.is_zero() {
                break Ok(());
            }
            thread::sleep(left.min(Duration::from_millis(20)));
        };
        self.waiting.fetch_sub(1, SeqCst);
        waited?;
        self.bytes.read_exact_at(at, buf)
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        self.announced.lock().unwrap().extend_from_slice(ranges);
    }
}

/// A layer with one file `noise` of so many chunks, its content, and the same with a source that answers at once.
fn layer(chunks: usize) -> (Arc<Source>, Vec<u8>) {
    let mut content = vec![0; chunks * CHUNK];
    Random::new(chunks as u64).fill(&mut content);
    let tar = tarball(Format::Ustar, &[Entry::file("noise", content.clone())]);
    let options = WriteOptions { chunk_size: CHUNK as u64, ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), &options).unwrap();
    writer.append_tar(tar.as_slice()).unwrap();
    let source = Source {
        bytes: writer.finish().unwrap().0,
        answers: Mutex::new(Answers::AtOnce),
        reads: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        announced: Mutex::default(),
        purposes: Mutex::default(),
    };
    (Arc::new(source), content)
}

impl Source {
    fn answer(&self, answers: Answers) {
        *self.answers.lock().unwrap() = answers;
        self.reads.store(0, SeqCst);
        self.most.store(0, SeqCst);
        self.purposes.lock().unwrap().clear();
    }
}

fn open(source: &Arc<Source>, options: &OpenOptions) -> Reader<Arc<Source>> {
    Reader::open(Arc::clone(source), options).unwrap()
}

/// Reads `len` bytes at `at` of the file `noise`.
fn read(
    reader: &Reader<Arc<Source>>,
    at: usize,
    len: usize,
    request: &ReadRequest<'_>,
) -> Result<Vec<u8>, dunnage_tree::Error> {
    let node = reader.lookup_node();
    let mut buf = vec![0; len];
    let read = reader.read_at_for(node, at as u64, &mut buf, request)?;
    buf.truncate(read);
    Ok(buf)
}

trait LookupNode {
    fn lookup_node(&self) -> dunnage_tree::NodeId;
}

impl LookupNode for Reader<Arc<Source>> {
    fn lookup_node(&self) -> dunnage_tree::NodeId {
        Tree::lookup(self, self.root(), b"noise").unwrap().unwrap()
    }
}

const ALWAYS: ReadRequest<'_> = ReadRequest { purpose: Purpose::Demand, deadline: None, cancel: None };

fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(60), "{what} takes too long");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn many_readers_wait_for_a_slow_source_at_once() {
    let (source, content) = layer(32);
    let reader = open(&source, &OpenOptions::default());
    source.answer(Answers::After(Duration::from_millis(100)));
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..32 {
            let (reader, content) = (&reader, &content);
            scope.spawn(move || {
                let at = number * CHUNK + 100;
                assert_eq!(read(reader, at, 5000, &ALWAYS).unwrap(), content[at..at + 5000]);
            });
        }
    });
    let (took, most) = (start.elapsed(), source.most.load(SeqCst));
    println!("32 readers, 100 ms a read: {most} fetches in flight at once, {took:?}");
    assert!(most >= 16, "{most}");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

#[test]
fn a_thousand_interrupted_reads_leave_no_thread_behind() {
    let (source, content) = layer(50);
    let reader = Arc::new(open(&source, &OpenOptions::default()));
    let tasks = || fs::read_dir("/proc/self/task").unwrap().count();
    let before = tasks();
    source.answer(Answers::Never);
    let cancel = Cancel::new();
    // 20 readers of each chunk: one fetches, the others wait for it. Ten read it whole.
    let readers: Vec<_> = (0..1000)
        .map(|number| {
            let (reader, cancel) = (Arc::clone(&reader), cancel.clone());
            let read_one = move || {
                let at = number % 50 * CHUNK;
                let len = if number < 500 { 100 } else { CHUNK };
                let failed = read(&reader, at, len, &ReadRequest::cancelled_by(&cancel)).unwrap_err();
                (failed.kind(), Instant::now())
            };
            thread::Builder::new().stack_size(256 << 10).spawn(read_one).unwrap()
        })
        .collect();
    until("starting", || source.waiting.load(SeqCst) == 50);
    let start = Instant::now();
    cancel.cancel();
    let ends: Vec<_> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    let last = ends.iter().map(|(_, at)| at.saturating_duration_since(start)).max().unwrap();
    println!("1000 interrupted reads: the last reader is back after {last:?}");
    assert!(ends.iter().all(|(kind, _)| *kind == ErrorKind::Cancelled));
    assert!(last < Duration::from_secs(5), "{last:?}");
    // Other tests of this process have threads of their own.
    until("ending", || tasks() <= before + 64);
    // Nothing is left in the way of reads that follow.
    source.answer(Answers::AtOnce);
    assert_eq!(read(&reader, 0, content.len(), &ALWAYS).unwrap(), content);
}

#[test]
fn a_deadline_ends_a_read_and_a_failure_keeps_its_kind() {
    let (source, content) = layer(2);
    let reader = open(&source, &OpenOptions::default());
    source.answer(Answers::Never);
    let deadline = Some(Instant::now() + Duration::from_millis(50));
    let failed = read(&reader, 0, 10, &ReadRequest { deadline, ..ALWAYS }).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Timeout);
    for &kind in ErrorKind::ALL {
        source.answer(Answers::Failing(kind));
        for len in [10, CHUNK, 2 * CHUNK] {
            assert_eq!(read(&reader, 0, len, &ALWAYS).unwrap_err().kind(), kind);
        }
        let failed = reader.open_file("noise").unwrap().read_exact_at(Offset::ZERO, &mut [0; 10]).unwrap_err();
        assert_eq!(kind_of(&failed), kind);
    }
    source.answer(Answers::AtOnce);
    assert_eq!(read(&reader, 0, content.len(), &ALWAYS).unwrap(), content);
}

#[test]
fn a_chunk_is_fetched_once_however_many_read_it() {
    let (source, content) = layer(1);
    for len in [100, CHUNK] {
        let reader = open(&source, &OpenOptions::default());
        source.answer(Answers::After(Duration::from_millis(200)));
        thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| assert_eq!(read(&reader, 0, len, &ALWAYS).unwrap(), content[..len]));
            }
        });
        // A reader that starts after the others are done fetches again what they did not keep.
        let reads = source.reads.load(SeqCst);
        println!("16 readers of {len} bytes of a chunk: {reads} fetch(es)");
        assert!(reads <= 2, "{reads}");
        source.answer(Answers::AtOnce);
    }
}

#[test]
fn a_read_of_several_chunks_announces_those_that_are_missing() {
    let (source, content) = layer(6);
    let reader = open(&source, &OpenOptions::default());
    let chunks: Vec<_> = reader.lookup("noise").unwrap().chunks().map(|c| c.offset.get()..c.stream_end.get()).collect();
    let announced = || std::mem::take(&mut *source.announced.lock().unwrap());
    for (at, len, wanted) in [
        (0, 100, [].as_slice()),
        (3 * CHUNK + 5, 10, &[]),
        // Chunks 0 and 3 are kept.
        (50, 3 * CHUNK, &[1, 2]),
        // They were read as a whole, so they were not kept.
        (CHUNK, 2 * CHUNK, &[1, 2]),
        // Chunk 3 is kept, and a single one is not announced.
        (3 * CHUNK, 2 * CHUNK, &[]),
        (0, 9 * CHUNK, &[0, 1, 2, 3, 4, 5]),
    ] {
        let len = len.min(content.len() - at);
        assert_eq!(read(&reader, at, len, &ALWAYS).unwrap(), content[at..at + len]);
        let wanted: Vec<_> = wanted.iter().map(|&number: &usize| chunks[number].clone()).collect();
        assert_eq!(announced(), wanted, "{at} {len}");
    }
}

#[test]
fn the_purpose_of_a_read_reaches_the_source() {
    let (source, _) = layer(3);
    let reader = open(&source, &OpenOptions::default());
    source.answer(Answers::AtOnce);
    for (at, purpose) in [(0, Purpose::Background), (CHUNK, Purpose::Ahead), (2 * CHUNK, Purpose::Demand)] {
        let request = ReadRequest { purpose, ..ALWAYS };
        match purpose {
            Purpose::Ahead => reader.prepare(reader.lookup_node(), at as u64, &request).unwrap(),
            _ => drop(read(&reader, at, 10, &request).unwrap()),
        }
    }
    assert_eq!(*source.purposes.lock().unwrap(), [Purpose::Background, Purpose::Ahead, Purpose::Demand]);
    // A prepared chunk is there.
    source.answer(Answers::Failing(ErrorKind::Remote));
    read(&reader, CHUNK, 10, &ALWAYS).unwrap();
}

#[test]
fn twenty_readers_share_one_bound_of_bytes() {
    const BOUND: u64 = 4 << 20;
    let layers: Vec<_> = (0..20).map(|number| layer(40 + number)).collect();
    let options = OpenOptions { cache: PieceCache::with_bytes(BOUND), ..OpenOptions::default() };
    let readers: Vec<_> = layers.iter().map(|(source, _)| open(source, &options)).collect();
    let most = AtomicUsize::new(0);
    thread::scope(|scope| {
        for seed in 0..4 {
            let (layers, readers, options, most) = (&layers, &readers, &options, &most);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..500 {
                    let number = random.below(20) as usize;
                    let content = &layers[number].1;
                    let at = random.below(content.len() as u64 - 4096) as usize;
                    assert_eq!(read(&readers[number], at, 4096, &ALWAYS).unwrap(), content[at..at + 4096]);
                    most.fetch_max(options.cache.bytes() as usize, SeqCst);
                }
            });
        }
    });
    println!("20 readers, a bound of {BOUND} bytes: at most {} bytes kept", most.load(SeqCst));
    // Four threads can have made room for a chunk each before they put it in.
    assert!(most.load(SeqCst) as u64 <= BOUND, "{most:?}");
    assert!(options.cache.bytes() > BOUND / 2);
    drop(readers);
    assert_eq!(options.cache.bytes(), 0);
}

/// Pieces in memory, or lies about them.
#[derive(Debug, Default)]
struct Store {
    pieces: Mutex<HashMap<Digest, Vec<u8>>>,
    asked: AtomicUsize,
    lies: AtomicBool,
}

impl PieceStore for Store {
    fn load(&self, digest: &Digest, content: &mut [u8], _: &ReadRequest<'_>) -> bool {
        self.asked.fetch_add(1, SeqCst);
        match self.pieces.lock().unwrap().get(digest) {
            Some(piece) if piece.len() == content.len() => content.copy_from_slice(piece),
            _ => return false,
        }
        if self.lies.load(SeqCst) {
            content[0] ^= 1;
        }
        true
    }

    fn store(&self, digest: &Digest, content: &[u8]) {
        self.pieces.lock().unwrap().insert(*digest, content.to_vec());
    }
}

#[test]
fn a_store_is_asked_first_filled_and_not_trusted() {
    let (source, content) = layer(4);
    let store = Arc::new(Store::default());
    let with_store = || {
        let cache = PieceCacheOptions { store: Some(Arc::clone(&store) as _), ..PieceCacheOptions::default() };
        OpenOptions { cache: PieceCache::new(cache), ..OpenOptions::default() }
    };
    let all = |options: &OpenOptions| {
        let reader = open(&source, options);
        source.reads.store(0, SeqCst);
        assert_eq!(read(&reader, 0, content.len(), &ALWAYS).unwrap(), content);
        (source.reads.load(SeqCst), store.asked.swap(0, SeqCst), store.pieces.lock().unwrap().len())
    };
    // Reads of the source, questions to the store, pieces in the store.
    assert_eq!(all(&with_store()), (4, 4, 4));
    assert_eq!(all(&with_store()), (0, 4, 4));
    store.lies.store(true, SeqCst);
    assert_eq!(all(&with_store()), (4, 4, 4));
    // Pieces in memory come before the store.
    let reader = open(&source, &with_store());
    for _ in 0..3 {
        read(&reader, 0, 10, &ALWAYS).unwrap();
    }
    assert_eq!(store.asked.load(SeqCst), 1);
    assert_eq!(all(&OpenOptions::default()), (4, 1, 4));
}

/// A store whose calls wait, to see that decoders are not taken meanwhile.
#[derive(Debug, Default)]
struct Held {
    /// Whether it is open, and how many wait.
    state: Mutex<(bool, usize)>,
    changed: Condvar,
}

impl PieceStore for Held {
    fn load(&self, _: &Digest, _: &mut [u8], _: &ReadRequest<'_>) -> bool {
        let mut state = self.state.lock().unwrap();
        state.1 += 1;
        drop(self.changed.wait_while(state, |state| !state.0).unwrap());
        false
    }

    fn store(&self, _: &Digest, _: &[u8]) {}
}

#[test]
fn a_reader_that_waits_holds_no_decoder() {
    let (source, content) = layer(8);
    let (store, decoders) = (Arc::new(Held::default()), Decoders::default());
    let cache = PieceCacheOptions { store: Some(Arc::clone(&store) as _), ..PieceCacheOptions::default() };
    let held = OpenOptions { cache: PieceCache::new(cache), decoders: decoders.clone(), ..OpenOptions::default() };
    let (slow, quick) = (open(&source, &held), open(&source, &OpenOptions { decoders, ..OpenOptions::default() }));
    thread::scope(|scope| {
        for number in 0..8 {
            let (slow, content) = (&slow, &content);
            let at = number * CHUNK;
            scope.spawn(move || assert_eq!(read(slow, at, 10, &ALWAYS).unwrap(), content[at..at + 10]));
        }
        until("waiting", || store.state.lock().unwrap().1 == 8);
        assert_eq!(read(&quick, 0, content.len(), &ALWAYS).unwrap(), content);
        store.state.lock().unwrap().0 = true;
        store.changed.notify_all();
    });
}

#[test]
fn a_layer_is_detected_with_one_read_of_its_footer() {
    let (source, _) = layer(1);
    let reader = Reader::detect(Arc::clone(&source), &OpenOptions::default()).unwrap().unwrap();
    let once = source.reads.swap(0, SeqCst);
    drop(reader);
    open(&source, &OpenOptions::default());
    assert_eq!(source.reads.load(SeqCst), once);
    for other in [Vec::new(), vec![7; 10], vec![7; 1000]] {
        let given_back = Reader::detect(other.clone(), &OpenOptions::default()).unwrap().unwrap_err();
        assert_eq!(given_back, other);
    }
    source.answer(Answers::Failing(ErrorKind::Auth));
    let failed = Reader::detect(Arc::clone(&source), &OpenOptions::default()).unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Auth);
}
