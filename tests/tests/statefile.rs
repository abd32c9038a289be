//! The test vectors of docs/formats/statefile.md, read in every way, and damaged files made of them (tests/cases/statefile).

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test"
)]

use std::{
    io::{self, Read, Write as _},
    sync::{Mutex, mpsc},
    thread,
    time::Duration,
};

use dunnage_conformance::{
    case::{cases, fixtures_in},
    statefile::{KEY, Macs, body_at, chunks, copied, file, frames, header, key, mac, options, stream, vector},
};
use dunnage_digest::{Cancel, ErrorKind, Offset, Progress, ReadAt};
use dunnage_statefile::{
    Compression, Dialect, Error, File, Frames, Limits, Metadata, Mode, ReadOptions, Reader, Timestamp, WriteOptions,
    Writer, metadata_unverified, rekey,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases<C> {
    case: Vec<C>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    #[serde(default)]
    key: String,
    payload: String,
    dialects: String,
}

impl Vector {
    fn all() -> Vec<Self> {
        cases::<Cases<Self>>("statefile/vectors.toml").case
    }

    fn payload(&self) -> Vec<u8> {
        match self.payload.as_str() {
            "@100" => (0..100).map(|at| b'a' + at % 7).collect(),
            "@65536" => vec![0; 65_536],
            text => text.as_bytes().to_vec(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Malformed {
    name: String,
    from: String,
    #[serde(default)]
    key: String,
    #[serde(default)]
    pin: String,
    #[serde(default)]
    edit: Vec<String>,
    #[serde(default)]
    deflate: Vec<String>,
    #[serde(default)]
    zero_frame: bool,
    strict: String,
    /// Where it is something else.
    lenient: Option<String>,
    /// What a file that can be read anywhere gives, where it is something else.
    seekable: Option<String>,
    tail: Option<String>,
    caution: Option<String>,
}

fn unhex(hex: &str) -> Vec<u8> {
    let mut bytes = vec![0; hex.len() / 2];
    dunnage_digest::decode_hex(hex.as_bytes(), &mut bytes).unwrap();
    bytes
}

impl Malformed {
    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vector(&self.from);
        if let [size, data @ ..] = self.deflate.as_slice() {
            let is_keyed = self.key == "K";
            bytes.truncate(body_at(&bytes, is_keyed));
            let data: Vec<Vec<u8>> = data.iter().map(|hex| unhex(hex)).collect();
            bytes.extend(chunks(is_keyed.then_some(&KEY[..]), size.parse().unwrap(), &data));
        }
        if self.zero_frame {
            let before: [u8; 32] = *bytes.last_chunk().unwrap();
            bytes.extend([0; 4]);
            bytes.extend(mac(KEY, &[&[0; 4], &before]));
        }
        for edit in &self.edit {
            let words: Vec<&str> = edit.split(' ').collect();
            let number = |at: usize| {
                let number: i64 = words[at].parse().unwrap();
                if number < 0 { bytes.len() - number.unsigned_abs() as usize } else { number.unsigned_abs() as usize }
            };
            match words[0] {
                "cut" => bytes.truncate(number(1)),
                "set" => {
                    let (at, new) = (number(1), unhex(words[2]));
                    bytes[at..at + new.len()].copy_from_slice(&new);
                }
                "append" => bytes.extend(unhex(words[1])),
                "swap" => {
                    let (a, b, len) = (number(1), number(2), number(3));
                    (0..len).for_each(|at| bytes.swap(a + at, b + at));
                }
                other => panic!("{}: no edit is called `{other}`", self.name),
            }
        }
        bytes
    }
}

/// A source that gives one byte at a time, and is interrupted before each.
struct Drip<'a>(&'a [u8], bool);

impl Read for Drip<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.1 = !self.1;
        if self.1 {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = self.0.len().min(buf.len()).min(1);
        self.0.read(&mut buf[..len])
    }
}

const BUFFERS: [usize; 11] = [1, 3, 7, 8, 15, 16, 17, 160, 4096, 1 << 20, 10 << 20];

#[test]
fn every_vector_is_read_in_every_way() {
    let vectors = Vector::all();
    let mut ways = 0;
    for case in &vectors {
        let (bytes, key, payload) = (vector(&case.name), key(&case.key), case.payload());
        for mode in [Mode::Strict, Mode::Lenient] {
            for pin in ["", "L", "A", "B", "C", "D"] {
                let dialects = case.dialects.split(" to ").collect::<Vec<_>>();
                // What was written before the metadata named a compression is read by A to C too.
                let is_old = case.dialects == "L" && ["A", "B", "C"].contains(&pin);
                let reads = pin.is_empty() || is_old || (dialects[0] <= pin && pin <= dialects[dialects.len() - 1]);
                let is_l = case.dialects == "L" || pin != "L";
                if !(reads && is_l) {
                    continue;
                }
                let options = options(mode, pin);
                let mut outcomes = vec![
                    copied(bytes.as_slice(), key.as_ref(), &options),
                    file(&bytes, key.as_ref(), &options),
                    stream(Drip(&bytes, false), key.as_ref(), &options, 5),
                ];
                outcomes.extend(BUFFERS.map(|len| stream(bytes.as_slice(), key.as_ref(), &options, len)));
                for outcome in outcomes {
                    let name = format!("{} as `{pin}`: {}", case.name, outcome.words());
                    assert!(outcome.result.is_ok() && outcome.payload == payload, "{name}");
                    let encoding = outcome.encoding.unwrap();
                    assert!(!encoding.is_ambiguous || case.name == "v14" || case.name == "v01", "{name}");
                    let told = encoding.dialects.to_string();
                    assert_eq!(told, if pin.is_empty() { &case.dialects } else { pin }, "{name}");
                    ways += 1;
                }
            }
        }
        let names: Metadata = metadata_unverified(&mut bytes.as_slice(), Mode::Strict, &Limits::default()).unwrap();
        assert_eq!(names.get("compression").is_some(), case.name != "v15");
    }
    let known: Vec<String> = vectors.iter().map(|case| format!("{}.img", case.name)).collect();
    assert_eq!(fixtures_in("statefile").into_iter().collect::<Vec<_>>(), known);
    println!("figure statefile_vector_reads={ways}");
}

#[test]
fn what_is_malformed_is_refused_in_these_words() {
    let cases = cases::<Cases<Malformed>>("statefile/malformed.toml").case;
    let mut wrong = Vec::new();
    for case in &cases {
        let (bytes, key) = (case.bytes(), key(&case.key));
        for mode in [Mode::Strict, Mode::Lenient] {
            let options = options(mode, &case.pin);
            let lenient = case.lenient.as_ref().filter(|_| mode == Mode::Lenient);
            let wanted = lenient.unwrap_or(&case.strict);
            let mut check = |how: String, got: &str, wanted: &str| {
                if got != wanted {
                    wrong.push(format!("{} {mode:?} {how}:\n   wanted {wanted}\n   got    {got}", case.name));
                }
            };
            for buffer in BUFFERS {
                let outcome = stream(bytes.as_slice(), key.as_ref(), &options, buffer);
                check(format!("buffer {buffer}"), &outcome.words(), wanted);
                if let (Some(tail), Ok(found)) = (&case.tail, &outcome.result) {
                    check("tail".to_owned(), &format!("{found:?}"), tail);
                }
                if let (Some(caution), Some(encoding)) = (&case.caution, &outcome.encoding) {
                    check("caution".to_owned(), &encoding.cautions().join("; "), caution);
                }
            }
            check("drip".to_owned(), &stream(Drip(&bytes, false), key.as_ref(), &options, 64).words(), wanted);
            check("copied".to_owned(), &copied(bytes.as_slice(), key.as_ref(), &options).words(), wanted);
            for threads in [1, 2, 5] {
                let options = ReadOptions { threads, ..options.clone() };
                let wanted = case.seekable.as_ref().unwrap_or(wanted);
                check(format!("file, {threads} threads"), &file(&bytes, key.as_ref(), &options).words(), wanted);
                let verified =
                    File::open(bytes.as_slice(), key.as_ref(), &options).and_then(|file| file.verify(Progress::none()));
                let got = verified
                    .map_or_else(|error| error.to_string(), |verified| format!("{} bytes", verified.payload_len));
                let words = wanted.split_once(" bytes, then ").map_or(wanted.as_str(), |(_, words)| words);
                check(format!("verify, {threads} threads"), &got, words);
            }
        }
    }
    println!("figure statefile_malformed_cases={}", cases.len());
    assert!(wrong.is_empty(), "{} answers differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn writers_make_the_vectors() {
    let timestamp = Timestamp::new(1_718_738_832, 123_456_789).unwrap();
    for (name, dialect, keyed, writes) in [
        ("v01", Dialect::A, false, &[3, 9][..]),
        ("v02", Dialect::A, true, &[3, 0, 9]),
        ("v04", Dialect::B, true, &[3, 9]),
        ("v05", Dialect::B, false, &[3, 9]),
        ("v05", Dialect::C, false, &[12]),
        ("v06", Dialect::C, true, &[3, 9]),
        ("v06", Dialect::D, true, &[1, 11]),
        ("v07", Dialect::D, false, &[3, 9]),
    ] {
        let key = key(if keyed { "K" } else { "" });
        let options = WriteOptions {
            dialect,
            compression: Some(Compression::None),
            frames: Frames::AsGvisor,
            threads: 2,
            ..WriteOptions::default()
        };
        let mut writer = Writer::new(Vec::new(), key.as_ref(), &Metadata::new(), timestamp, &options).unwrap();
        let mut payload = &b"hello, world"[..];
        for &len in writes {
            writer.write_all(&payload[..len]).unwrap();
            writer.append(&[]).unwrap();
            payload = &payload[len..];
        }
        let (bytes, written) = writer.finish().unwrap();
        assert_eq!(bytes, vector(name), "{name}");
        assert_eq!((written.payload_len, written.file_len), (12, bytes.len() as u64), "{name}");
    }
    // Of deflate, all but the chunk is given.
    for (name, dialect, keyed, same) in
        [("v08", Dialect::A, false, 141), ("v09", Dialect::D, true, 173), ("v10", Dialect::D, false, 109)]
    {
        let key = key(if keyed { "K" } else { "" });
        let compression = Some(Compression::FlateBestSpeed);
        let options = WriteOptions { dialect, compression, ..WriteOptions::default() };
        let mut writer = Writer::new(Vec::new(), key.as_ref(), &Metadata::new(), timestamp, &options).unwrap();
        writer.write_all(b"hello, world").unwrap();
        let (bytes, _) = writer.finish().unwrap();
        assert_eq!(bytes[..same], vector(name)[..same], "{name}");
        let outcome = file(&bytes, key.as_ref(), &ReadOptions::default());
        assert_eq!(outcome.payload, b"hello, world", "{name}: {}", outcome.words());
    }
    // Only the timestamp keeps the empty file from being this vector.
    let writer = Writer::new(Vec::new(), None, &Metadata::new(), timestamp, &WriteOptions::default()).unwrap();
    assert_eq!(writer.finish().unwrap().0.len(), vector("v20").len() + 93 - 38);
}

#[test]
fn a_writer_reads_a_source_again_that_was_interrupted() {
    let payload = vec![7; 3000];
    for compression in [Compression::None, Compression::FlateBestSpeed] {
        let options = WriteOptions { compression: Some(compression), ..WriteOptions::default() };
        let mut writer = Writer::new(Vec::new(), None, &Metadata::new(), Timestamp::EPOCH, &options).unwrap();
        assert_eq!(writer.read_from(&mut Drip(&payload, false)).unwrap(), 3000);
        assert_eq!(file(&writer.finish().unwrap().0, None, &ReadOptions::default()).payload, payload);
    }
}

#[test]
fn a_reader_that_was_read_from_is_not_converted() {
    let bytes = vector("v07");
    let mut reader = Reader::open(bytes.as_slice(), None, &ReadOptions::default()).unwrap();
    reader.read_exact(&mut [0; 3]).unwrap();
    let error = rekey(reader, Vec::new(), None).unwrap_err();
    assert_eq!(error.to_string(), "expected a reader at the start of the payload, got one at byte 3");
}

#[test]
fn a_look_ahead_that_ends_before_the_answer_is_ambiguous() {
    let frame: &[u8] = &[7; 90];
    let header = header(br#"{"compression":"none"}"#);
    let old = [header.clone(), mac(b"", &[&header]).to_vec(), frames(Macs::None, &[frame; 9])].concat();
    let new = [header.clone(), mac(KEY, &[&header]).to_vec(), frames(Macs::Chained(KEY), &[frame; 9])].concat();
    let limits = Limits { look_ahead: 400, ..Limits::default() };
    let options = ReadOptions { limits, ..ReadOptions::default() };
    for (bytes, at, wanted) in [
        (old, "0x46", "frames of dialect A and the raw payload of dialect B or C"),
        (new, "0x26", "frames written with a key and a raw payload written without one"),
    ] {
        let outcome = stream(bytes.as_slice(), None, &options, 100);
        let words =
            format!("ambiguous body at offset {at}: the look-ahead fits both {wanted}; name the dialect to read it");
        assert_eq!(outcome.words(), words);
        assert_eq!(outcome.kind(), Some(ErrorKind::Inconsistent));
    }
}

#[test]
fn copying_and_verifying_report_their_progress_and_can_be_cancelled() {
    let payload = vec![7; 5 << 20];
    let len = payload.len() as u64;
    for (compression, dialect) in
        [(Compression::None, Dialect::A), (Compression::None, Dialect::D), (Compression::FlateBestSpeed, Dialect::D)]
    {
        let write = WriteOptions { compression: Some(compression), dialect, ..WriteOptions::default() };
        let mut writer = Writer::new(Vec::new(), None, &Metadata::new(), Timestamp::EPOCH, &write).unwrap();
        writer.append(&payload).unwrap();
        let (bytes, written) = writer.finish().unwrap();
        for threads in [1, 3] {
            let name = format!("{dialect} {compression}, {threads} threads");
            let options = ReadOptions { threads, ..ReadOptions::default() };
            let open = || File::open(bytes.as_slice(), None, &options).unwrap();
            let (seen, cancel) = (Mutex::new(Vec::new()), Cancel::new());
            let report = |bytes| seen.lock().unwrap().push(bytes);
            let reports = || {
                let seen = std::mem::take(&mut *seen.lock().unwrap());
                assert!(seen.is_sorted(), "{name}: {seen:?}");
                seen.last().copied()
            };
            let progress = Progress::to(&report).cancelled_by(&cancel);
            assert_eq!(open().copy_to(&mut io::sink(), progress).unwrap(), len, "{name}");
            assert_eq!(reports(), Some(len), "{name}");
            assert_eq!(open().verify(progress).unwrap().payload_len, len, "{name}");
            assert_eq!(reports(), Some(written.file_len), "{name}");
            cancel.cancel();
            let copied = open().copy_to(&mut io::sink(), progress);
            assert!(matches!(copied, Err(Error::Cancelled(_))), "{name}: {copied:?}");
            // A raw body has nothing to compare, so nothing takes long.
            let verified = open().verify(progress);
            let is_raw = written.units == 0;
            assert!(is_raw || matches!(verified, Err(Error::Cancelled(_))), "{name}: {verified:?}");
        }
    }
}

#[test]
fn dialect_p_is_named_wherever_its_mac_is() {
    let header = dunnage_conformance::statefile::header(b"{\"_timestamp\":\"2018-05-01 00:00:00 +0000 UTC\"}");
    for keyed in [false, true] {
        for len in [0, 8191, 8192, 8193, 20_000] {
            let key_bytes: &[u8] = if keyed { KEY } else { b"" };
            let header_mac = mac(key_bytes, &[&header]);
            let mut body = vec![0x5a; len];
            body[..len.min(4)].copy_from_slice(&(1_u32 << 20).to_be_bytes()[..len.min(4)]);
            let mut bytes = [header.as_slice(), &header_mac].concat();
            for (at, segment) in body.chunks(8192).enumerate() {
                bytes.extend(segment);
                if segment.len() == 8192 {
                    bytes.extend(mac(key_bytes, &[&header, &header_mac, &body[..(at + 1) * 8192]]));
                }
            }
            bytes.extend(mac(key_bytes, &[&header, &header_mac, &body]));
            let key = key(if keyed { "K" } else { "" });
            for outcome in [
                stream(bytes.as_slice(), key.as_ref(), &ReadOptions::default(), 100),
                file(&bytes, key.as_ref(), &ReadOptions::default()),
            ] {
                assert_eq!(outcome.kind(), Some(ErrorKind::Unsupported), "{len}: {}", outcome.words());
            }
        }
    }
    let pinned = Reader::open(&b"gVisorSF"[..], None, &options(Mode::Strict, "P"));
    assert!(matches!(pinned, Err(Error::Truncated { .. })));
}

#[test]
fn positions_are_read_alike_everywhere() {
    for case in Vector::all() {
        let (bytes, key, payload) = (vector(&case.name), key(&case.key), case.payload());
        let file = File::open(bytes.as_slice(), key.as_ref(), &ReadOptions::default()).unwrap();
        assert_eq!(file.payload_len().unwrap(), payload.len() as u64, "{}", case.name);
        assert_eq!(file.size().unwrap(), payload.len() as u64);
        let step = (payload.len() / 50).max(1);
        for at in (0..=payload.len() + 3).step_by(step) {
            for len in [0, 1, 5, 8, 17, 100] {
                let mut buf = vec![0xee; len];
                let got = file.read_at(at as u64, &mut buf).unwrap();
                let wanted = payload.get(at..).unwrap_or_default();
                let wanted = &wanted[..wanted.len().min(len)];
                assert_eq!(&buf[..got], wanted, "{}: {len} at {at}", case.name);
            }
        }
        assert_eq!(file.read_at(u64::MAX, &mut [0]).unwrap(), 0);
        let summary = file.summary().unwrap();
        let (least, most) = summary.payload_len;
        assert!(least <= payload.len() as u64 && payload.len() as u64 <= most, "{}: {summary:?}", case.name);
    }
}

/// A source of somebody else's, with a fault in it: panics where `from` is read.
struct Faulty {
    bytes: Vec<u8>,
    from: u64,
}

impl ReadAt for Faulty {
    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        assert!(!(at.get()..at.get() + buf.len() as u64).contains(&self.from), "a fault in a source");
        self.bytes.read_exact_at(at, buf)
    }
}

#[test]
fn a_source_that_panics_ends_in_an_error_and_not_in_a_wait() {
    let payload: Vec<u8> = (0..20_u32 << 20).map(|at| (at.wrapping_mul(2_654_435_761) >> 21) as u8).collect();
    let write = WriteOptions { compression: Some(Compression::FlateBestSpeed), ..WriteOptions::default() };
    let mut writer = Writer::new(Vec::new(), None, &Metadata::new(), Timestamp::EPOCH, &write).unwrap();
    writer.write_all(&payload).unwrap();
    let (bytes, _) = writer.finish().unwrap();
    let from = bytes.len() as u64 / 2;
    let options = ReadOptions { threads: 4, ..ReadOptions::default() };
    let (done, outcome) = mpsc::channel();
    thread::spawn(move || {
        // Opening reads here and there; only what lies in the way of verifying is of interest.
        let file = File::open(Faulty { bytes, from }, None, &options).unwrap();
        let _ = done.send(file.verify(Progress::none()).unwrap_err());
    });
    let error = outcome.recv_timeout(Duration::from_secs(20)).unwrap();
    assert!(matches!(error, Error::Worker), "{error}");
}
