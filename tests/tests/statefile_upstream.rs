//! The cases of gVisor's own tests for state files and their two kinds of body, and cases that those leave out:
//! several frames, every sequence of calls, every size of buffer, sources that fail, any number of threads.

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

use std::io::{self, Read, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_conformance::{
    parallel,
    random::Random,
    statefile::{KEY, Macs, body_at, chunks, file, frames, header, inner, key, mac, stored, stream},
};
use dunnage_digest::{ErrorKind, Progress};
use dunnage_statefile::{
    Codec, Compression, Dialect, Error, File, Frames, HeaderMac, Key, Limits, Metadata, Mode, ReadOptions, Reader,
    Tail, Timestamp, WriteOptions, Writer, convert, rekey,
};

const COMPRESSIONS: [Compression; 2] = [Compression::None, Compression::FlateBestSpeed];
const WRITTEN: [Dialect; 4] = [Dialect::A, Dialect::B, Dialect::C, Dialect::D];

fn options(dialect: Dialect, compression: Compression) -> WriteOptions {
    WriteOptions { dialect, compression: Some(compression), threads: 2, ..WriteOptions::default() }
}

fn read(dialect: Option<Dialect>) -> ReadOptions {
    ReadOptions { dialect, threads: 2, ..ReadOptions::default() }
}

fn written(key: Option<&Key>, metadata: &Metadata, calls: &[&[u8]], options: &WriteOptions) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), key, metadata, Timestamp::EPOCH, options).unwrap();
    calls.iter().for_each(|call| writer.write_all(call).unwrap());
    let (bytes, told) = writer.finish().unwrap();
    assert_eq!(told.file_len, bytes.len() as u64);
    assert_eq!(told.payload_len, calls.iter().map(|call| call.len() as u64).sum::<u64>());
    bytes
}

#[test]
fn the_cases_of_the_state_file_test() {
    let zeros = vec![0; 30 << 20];
    let texts: [&[u8]; 16] = [
        b"",
        b"",
        b"_",
        b"0",
        b"01",
        b"012",
        b"0123",
        b"01234",
        b"012356",
        b"0123567",
        b"01235678",
        b"longer than hash: a payload of more bytes than one block of SHA-256 has",
        &zeros[..3 << 20],
        &zeros,
        b"data",
        b"data",
    ];
    let cases: Vec<_> = WRITTEN
        .into_iter()
        .flat_map(|dialect| COMPRESSIONS.map(move |compression| (dialect, compression)))
        .flat_map(|(dialect, compression)| (0..16).map(move |case| (dialect, compression, case)))
        .flat_map(|(dialect, compression, case)| [false, true].map(move |keyed| (dialect, compression, case, keyed)))
        .collect();
    parallel::map(&cases, |&(dialect, compression, case, keyed)| {
        let name = format!("{dialect} {compression} case {case} keyed {keyed}");
        let mut random = Random::new(case as u64 * 2 + u64::from(keyed));
        let mut noise = [0; 24];
        random.fill(&mut noise);
        let secret = STANDARD.encode(noise).into_bytes();
        let key = Key::new(secret.clone()).unwrap();
        let mut metadata = Metadata::new();
        if case >= 14 {
            metadata.insert("foo", "bar");
        }
        if case == 15 {
            metadata.insert("one", "two");
        }
        let calls: &[&[u8]] = if case == 0 { &[] } else { &texts[case..=case] };
        let bytes = written(keyed.then_some(&key), &metadata, calls, &options(dialect, compression));
        for pin in [None, Some(dialect)] {
            let outcome = stream(bytes.as_slice(), keyed.then_some(&key), &read(pin), 1 << 20);
            assert!(outcome.payload == texts[case] && outcome.result.is_ok(), "{name}: {}", outcome.words());
        }
        let reader = Reader::open(bytes.as_slice(), keyed.then_some(&key), &read(None)).unwrap();
        assert!(metadata.iter().all(|(name, text)| reader.metadata().get(name) == Some(text)), "{name}");
        assert!(reader.metadata().get("_timestamp").is_some());
        let mut damaged = bytes.clone();
        if keyed {
            let at = random.below(damaged.len() as u64) as usize;
            damaged[at] = damaged[at].wrapping_add(1);
            let outcome = stream(damaged.as_slice(), Some(&key), &read(None), 1 << 20);
            assert!(outcome.result.is_err() && texts[case].starts_with(&outcome.payload), "{name}: byte {at}");
        }
        let mut wrong = secret;
        let at = random.below(wrong.len() as u64) as usize;
        wrong[at] = wrong[at].wrapping_add(1);
        let outcome = stream(bytes.as_slice(), Some(&Key::new(wrong).unwrap()), &read(None), 1 << 20);
        let is_short = dialect == Dialect::D && !keyed && matches!(outcome.result, Err(Error::Truncated { .. }));
        assert!(matches!(outcome.result, Err(Error::HashMismatch { .. })) || is_short, "{name}: {}", outcome.words());
    });
    println!("figure statefile_upstream_runs={}", cases.len());
}

/// Base64 of noise, as upstream's tests of the bodies take.
fn noise(len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len * 3 / 4 + 3];
    Random::new(0).fill(&mut bytes);
    let mut text = STANDARD.encode(bytes).into_bytes();
    text.truncate(len);
    text
}

/// A file with a body of these units of `size`, made by an independent hand.
fn made(compression: Compression, key: Option<&[u8]>, size: usize, payload: &[u8]) -> Vec<u8> {
    let header = header(format!("{{\"compression\":\"{compression}\"}}").as_bytes());
    let tag = mac(key.unwrap_or_default(), &[&header]);
    let mut bytes = [header, tag.to_vec()].concat();
    match compression {
        Compression::None => {
            let macs = key.map_or(Macs::None, Macs::Chained);
            bytes.extend(frames(macs, &payload.chunks(size).collect::<Vec<_>>()));
        }
        Compression::FlateBestSpeed => {
            let deflate = |chunk: &[u8]| {
                let mut out = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
                out.write_all(chunk).unwrap();
                out.finish().unwrap()
            };
            bytes.extend(chunks(key, size as u32, &payload.chunks(size).map(deflate).collect::<Vec<_>>()));
        }
    }
    bytes
}

#[test]
fn the_cases_of_the_tests_of_both_bodies() {
    let noise = noise(13_981_012);
    let mut cases = Vec::new();
    for compression in COMPRESSIONS {
        for size in [1, 4, 1024, 4096, 16_384] {
            for len in [0, 1, 11, 16, noise.len()] {
                // As upstream: tiny chunks with little data only.
                if size > 16 || len <= 16 {
                    cases.extend([false, true].map(|keyed| (compression, size, len, keyed)));
                }
            }
        }
    }
    let runs = parallel::map(&cases, |&(compression, size, len, keyed)| {
        let name = format!("{compression} {size} {len} {keyed}");
        let payload = &noise[..len];
        let bytes = made(compression, keyed.then_some(&KEY[..]), size, payload);
        let key = key(if keyed { "K" } else { "" });
        let pin = match (compression, keyed) {
            (Compression::None, false) => Some(Dialect::A),
            _ => None,
        };
        let outcome = stream(bytes.as_slice(), key.as_ref(), &read(pin), 64 << 10);
        assert!(outcome.result.is_ok() && outcome.payload == payload, "{name}: {}", outcome.words());
        let outcome = file(&bytes, key.as_ref(), &read(pin));
        assert!(outcome.result.is_ok() && outcome.payload == payload, "{name}: {}", outcome.words());
        if !keyed {
            return 1;
        }
        let mut random = Random::new((size * 31 + len) as u64);
        for _ in 0..if len > 16 { 1 } else { 20 } {
            let mut damaged = bytes.clone();
            let at = random.below(damaged.len() as u64) as usize;
            damaged[at] = damaged[at].wrapping_add(1);
            let outcome = stream(damaged.as_slice(), key.as_ref(), &read(None), 64 << 10);
            assert!(outcome.result.is_err() && payload.starts_with(&outcome.payload), "{name}: byte {at}");
        }
        2
    });
    println!("figure statefile_body_runs={}", runs.iter().sum::<i32>());
}

#[test]
fn frames_end_where_gvisor_ends_them() {
    const S: usize = 1 << 20;
    let payload = noise(4 * S);
    for (dialect, calls, wanted) in [
        (Dialect::D, &[S][..], &[S][..]),
        (Dialect::D, &[S + 1], &[S + 1]),
        (Dialect::D, &[3, S], &[S, 3]),
        (Dialect::C, &[3, 2 * S], &[S, S + 3]),
        (Dialect::B, &[10, S - 10, S + 1, 4], &[S, S + 1, 4]),
        (Dialect::D, &[S - 1, 1, 1], &[S, 1]),
        (Dialect::D, &[0, 0], &[]),
        (Dialect::A, &[1, 0, 2, S, S + 5, 3 * S - 9], &[1, 2, S, S + 5, 3 * S - 9]),
    ] {
        let mut rest = payload.iter().cycle().copied().collect_calls(calls);
        for (rule, wanted) in [
            (Frames::AsGvisor, wanted.to_vec()),
            (Frames::Uniform, {
                let total: usize = calls.iter().sum();
                (0..total).step_by(S).map(|at| S.min(total - at)).collect()
            }),
        ] {
            for threads in [1, 2, 5] {
                let options = WriteOptions { frames: rule, threads, ..options(dialect, Compression::None) };
                let calls: Vec<&[u8]> = rest.iter().map(Vec::as_slice).collect();
                let bytes = written(key("K").as_ref(), &Metadata::new(), &calls, &options);
                let whole = calls.concat();
                let mut at = 0;
                let pieces: Vec<&[u8]> = wanted
                    .iter()
                    .map(|len| {
                        at += len;
                        &whole[at - len..at]
                    })
                    .collect();
                let macs = match dialect {
                    Dialect::A | Dialect::B => Macs::Single(KEY),
                    _ => Macs::Chained(KEY),
                };
                assert!(bytes[body_at(&bytes, true)..] == frames(macs, &pieces), "{dialect} {rule:?} {wanted:?}");
                let outcome = file(&bytes, key("K").as_ref(), &read(None));
                assert!(outcome.payload == whole && outcome.result.is_ok());
            }
        }
        rest.clear();
    }
}

trait Calls {
    fn collect_calls(self, lens: &[usize]) -> Vec<Vec<u8>>;
}

impl<I: Iterator<Item = u8>> Calls for I {
    fn collect_calls(mut self, lens: &[usize]) -> Vec<Vec<u8>> {
        lens.iter().map(|len| self.by_ref().take(*len).collect()).collect()
    }
}

#[test]
fn bytes_depend_on_neither_threads_nor_calls() {
    let mut payload = noise(3 << 20);
    payload.extend(vec![0; (2 << 20) + 77]);
    let codecs = [
        Codec::Zlib,
        #[cfg(feature = "libdeflate")]
        Codec::Libdeflate,
    ];
    let mut compared = 0;
    for dialect in WRITTEN {
        for compression in COMPRESSIONS {
            for keyed in [false, true] {
                for codec in codecs {
                    let key = key(if keyed { "K" } else { "" });
                    let base = WriteOptions { codec, ..options(dialect, compression) };
                    let one = written(
                        key.as_ref(),
                        &Metadata::new(),
                        &[&payload],
                        &WriteOptions { threads: 1, ..base.clone() },
                    );
                    for (threads, call) in [(1, 1000), (2, 1 << 20), (7, 77_777), (3, usize::MAX)] {
                        let options = WriteOptions { threads, ..base.clone() };
                        let calls: Vec<&[u8]> = payload.chunks(call).collect();
                        assert!(
                            written(key.as_ref(), &Metadata::new(), &calls, &options) == one,
                            "{dialect} {compression} {threads}"
                        );
                        let mut writer =
                            Writer::new(Vec::new(), key.as_ref(), &Metadata::new(), Timestamp::EPOCH, &options)
                                .unwrap();
                        assert_eq!(writer.read_from(&mut Short(&payload)).unwrap(), payload.len() as u64);
                        assert!(writer.finish().unwrap().0 == one);
                        let read = ReadOptions { threads, ..read(None) };
                        assert!(file(&one, key.as_ref(), &read).payload == payload);
                        for buffer in [(1 << 20) - 1, 1 << 20, (1 << 20) + 1, 10 << 20] {
                            assert!(stream(one.as_slice(), key.as_ref(), &read, buffer).payload == payload);
                        }
                        compared += 1;
                    }
                }
            }
        }
    }
    println!("figure statefile_thread_comparisons={compared}");
}

/// A source that gives less than it is asked for.
struct Short<'a>(&'a [u8]);

impl Read for Short<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = buf.len().min(4099);
        self.0.read(&mut buf[..len])
    }
}

/// A source that fails behind so many bytes, and goes on after that.
struct Failing<'a> {
    bytes: &'a [u8],
    left: usize,
}

impl Read for Failing<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            self.left = usize::MAX;
            return Err(io::Error::other("the disk is on fire"));
        }
        let len = buf.len().min(self.left);
        let got = self.bytes.read(&mut buf[..len])?;
        self.left -= got;
        Ok(got)
    }
}

/// Small files of every layout: dialect, key, bytes, payload.
fn small() -> Vec<(String, bool, Vec<u8>, Vec<u8>)> {
    let payload = noise(3000);
    let mut files = Vec::new();
    for dialect in WRITTEN {
        for compression in COMPRESSIONS {
            for keyed in [false, true] {
                let key = key(if keyed { "K" } else { "" });
                let options = WriteOptions { frames: Frames::AsGvisor, ..options(dialect, compression) };
                let calls: Vec<&[u8]> = payload.chunks(700).collect();
                let bytes = written(key.as_ref(), &Metadata::new(), &calls, &options);
                files.push((format!("{dialect} {compression} {keyed}"), keyed, bytes, payload.clone()));
            }
        }
    }
    for compression in COMPRESSIONS {
        files.push((
            format!("small units {compression}"),
            true,
            made(compression, Some(KEY), 512, &payload),
            payload.clone(),
        ));
    }
    files
}

#[test]
fn a_source_that_fails_is_never_an_end() {
    let mut failures = 0;
    for (name, keyed, bytes, payload) in small() {
        let key = key(if keyed { "K" } else { "" });
        for left in 0..=bytes.len() {
            let outcome = stream(Failing { bytes: &bytes, left }, key.as_ref(), &read(None), 1000);
            assert_eq!(outcome.kind(), Some(ErrorKind::Io), "{name}, fails at {left}: {}", outcome.words());
            assert!(payload.starts_with(&outcome.payload), "{name}, fails at {left}");
            failures += 1;
        }
    }
    println!("figure statefile_source_failures={failures}");
}

/// A sink that fails behind so many bytes.
struct Full(usize);

impl Write for Full {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let len = buf.len().min(self.0);
        self.0 -= len;
        if len == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(len) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_sink_that_fails_poisons_the_writer() {
    let payload = noise((1 << 20) + 50);
    for dialect in WRITTEN {
        for compression in COMPRESSIONS {
            for room in [0, 50, 150, 200, 5000, 400_000] {
                let make = || {
                    Writer::new(
                        Full(room),
                        key("K").as_ref(),
                        &Metadata::new(),
                        Timestamp::EPOCH,
                        &options(dialect, compression),
                    )
                };
                let Ok(mut writer) = make() else { continue };
                let first = writer.write_all(&payload).map_err(inner);
                if let Err(first) = &first {
                    assert_eq!(first.kind(), ErrorKind::Io);
                    let again = writer.append(b"more").expect_err("poisoned");
                    assert_eq!(first.to_string(), again.to_string());
                }
                assert_eq!(writer.finish().err().expect("it is full").kind(), ErrorKind::Io);
            }
        }
    }
}

#[test]
fn nothing_is_written_before_everything_is_checked() {
    let check = |key: Option<&Key>, metadata: &Metadata, options: &WriteOptions, wanted: &str| {
        let mut sink = Vec::new();
        let error =
            Writer::new(&mut sink, key, metadata, Timestamp::EPOCH, options).err().map(|error| error.to_string());
        assert_eq!(error.as_deref(), Some(wanted));
        assert!(sink.is_empty(), "{wanted}");
    };
    let of = |name: &str, text: &str| -> Metadata { [(name, text)].into_iter().collect() };
    let plain = WriteOptions::default();
    check(None, &of("_x", ""), &plain, "invalid metadata: the key `_x` is reserved");
    check(None, &of("compression", "zip"), &plain, "invalid compression `zip`: expected `none` or `flate-best-speed`");
    let both = WriteOptions { compression: Some(Compression::FlateBestSpeed), ..plain.clone() };
    check(
        None,
        &of("compression", "none"),
        &both,
        "two compressions: the metadata say `none`, the options `flate-best-speed`",
    );
    let zeros = Key::new(vec![0; 16]).unwrap();
    check(
        Some(&zeros),
        &Metadata::new(),
        &plain,
        "the key has zero bytes only: HMAC treats it as an empty key, which protects nothing",
    );
    let level = WriteOptions { level: Some(13), ..both };
    check(None, &Metadata::new(), &level, "unsupported compression level 13: expected 1 to 9");
    let old = WriteOptions { dialect: Dialect::L, ..plain.clone() };
    check(None, &Metadata::new(), &old, "dialect L is not written: expected A, B, C or D");
    // The rest is those of the other members.
    let cap = 16 << 20;
    let long = "x".repeat(cap);
    check(
        None,
        &of("a", &long),
        &plain,
        &format!("invalid metadata length at offset 0x8: {} bytes, over the cap of {cap}", cap + 74),
    );
    let fits = of("a", &long[..cap - 74]);
    let bytes = written(None, &fits, &[b"hi"], &plain);
    assert_eq!(stream(bytes.as_slice(), None, &read(None), 10).payload, b"hi");
}

#[test]
fn lengths_that_were_promised_are_kept() {
    let payload = noise(5000);
    for compression in COMPRESSIONS {
        for keyed in [false, true] {
            let key = key(if keyed { "K" } else { "" });
            let options = WriteOptions { payload_len: Some(5000), ..options(Dialect::D, compression) };
            let bytes = written(key.as_ref(), &Metadata::new(), &[&payload], &options);
            let outcome = file(&bytes, key.as_ref(), &read(None));
            assert!(outcome.result.is_ok() && outcome.payload == payload);
            for (asked, got) in [(4999, 4999), (5001, 5000)] {
                let read = ReadOptions { payload_len: Some(asked), ..read(None) };
                let outcome = stream(bytes.as_slice(), key.as_ref(), &read, 100);
                assert!(matches!(outcome.result, Err(Error::Length { .. })), "{}", outcome.words());
                assert_eq!(outcome.payload, payload[..got]);
                let verified = File::open(bytes.as_slice(), key.as_ref(), &read).unwrap().verify(Progress::none());
                assert!(matches!(verified, Err(Error::Length { .. })));
            }
            for len in [4999, 5001] {
                let mut writer =
                    Writer::new(Vec::new(), key.as_ref(), &Metadata::new(), Timestamp::EPOCH, &options).unwrap();
                let result = writer.append(&noise(len)).and_then(|()| writer.finish().map(drop));
                assert!(matches!(result, Err(Error::Length { expected: 5000, .. })));
            }
        }
    }
    // A payload cut by an attacker without the key: only the promised length reveals it.
    let options = WriteOptions { payload_len: Some(5000), ..options(Dialect::D, Compression::None) };
    let bytes = written(None, &Metadata::new(), &[&payload], &options);
    let outcome = stream(&bytes[..bytes.len() - 1], None, &read(None), 100);
    assert_eq!(outcome.words(), "4999 bytes, then payload of 4999 bytes, expected 5000 (by the metadata)");
}

#[test]
fn files_change_their_key_their_dialect_and_their_compression() {
    let other = Key::new(b"another".to_vec()).unwrap();
    let mut made_files = 0;
    for (name, keyed, bytes, payload) in small() {
        let from = key(if keyed { "K" } else { "" });
        let open = || Reader::open(bytes.as_slice(), from.as_ref(), &read(None)).unwrap();
        let header_len = open().header_bytes().len();
        for to in [None, Some(&other)] {
            let (made, told) = rekey(open(), Vec::new(), to).unwrap();
            assert_eq!(told.file_len, made.len() as u64, "{name}");
            assert_eq!(made[..header_len], bytes[..header_len], "{name}");
            let outcome = file(&made, to, &read(None));
            assert!(outcome.result.is_ok() && outcome.payload == payload, "{name}: {}", outcome.words());
            let wanted = open().encoding().dialects.newest();
            assert!(outcome.encoding.unwrap().dialects.contains(wanted), "{name}");
            // And back: where chunks or frames were copied, the same bytes.
            let back = Reader::open(made.as_slice(), to, &read(None)).unwrap();
            let (again, _) = rekey(back, Vec::new(), from.as_ref()).unwrap();
            let same_units = keyed && to.is_some() || bytes[16..header_len].windows(5).any(|part| part == b"flate");
            let legacy = open().encoding().header_mac == HeaderMac::Checksum;
            if same_units && !legacy && !name.starts_with("A ") && !name.starts_with("B ") && !name.starts_with("C ") {
                assert!(again == bytes, "{name}");
            }
            made_files += 2;
        }
        for dialect in WRITTEN {
            for compression in [None, Some(Compression::None), Some(Compression::FlateBestSpeed)] {
                for to in [None, Some(&other)] {
                    let options = WriteOptions { dialect, compression, threads: 2, ..WriteOptions::default() };
                    let (made, told) = convert(open(), Vec::new(), to, &options).unwrap();
                    assert_eq!(told.file_len, made.len() as u64, "{name}");
                    let outcome = file(&made, to, &read(Some(dialect)));
                    assert!(
                        outcome.result.is_ok() && outcome.payload == payload,
                        "{name} to {dialect}: {}",
                        outcome.words()
                    );
                    let told = outcome.encoding.unwrap();
                    assert_eq!(told.compression, compression.unwrap_or(open().encoding().compression));
                    made_files += 1;
                }
            }
        }
        // The caller gets the source's own error.
        if keyed {
            let mut damaged = bytes.clone();
            *damaged.last_mut().unwrap() ^= 1;
            let open = || Reader::open(damaged.as_slice(), from.as_ref(), &read(None)).unwrap();
            let to_flate = WriteOptions { compression: Some(Compression::FlateBestSpeed), ..WriteOptions::default() };
            for error in [rekey(open(), Vec::new(), None).err(), convert(open(), Vec::new(), None, &to_flate).err()] {
                assert!(matches!(error, Some(Error::HashMismatch { .. })), "{name}: {error:?}");
            }
        }
    }
    println!("figure statefile_transcoded={made_files}");
}

#[test]
fn frames_too_long_to_be_held_back_are_read_twice() {
    let payload = noise(300_000);
    let bytes = made(Compression::None, Some(KEY), 100_000, &payload);
    let limits = Limits { frame: 50_000, ..Limits::default() };
    let options = ReadOptions { limits, ..read(Some(Dialect::C)) };
    let key = key("K");
    let outcome = stream(bytes.as_slice(), key.as_ref(), &options, 1000);
    assert!(matches!(outcome.result, Err(Error::Limit { asked: 100_000, .. })), "{}", outcome.words());
    assert!(outcome.payload.is_empty());
    let outcome = file(&bytes, key.as_ref(), &options);
    assert!(outcome.result.is_ok() && outcome.payload == payload, "{}", outcome.words());
    let opened = File::open(bytes.as_slice(), key.as_ref(), &options).unwrap();
    let mut buf = vec![0; 150_000];
    assert_eq!(opened.read_at(60_000, &mut buf).unwrap(), buf.len());
    assert!(buf == payload[60_000..210_000]);
    let mut damaged = bytes.clone();
    let at = damaged.len() - 1;
    damaged[at] ^= 1;
    let outcome = file(&damaged, key.as_ref(), &options);
    assert!(matches!(outcome.result, Err(Error::HashMismatch { .. })), "{}", outcome.words());
    assert_eq!(outcome.payload.len(), 200_000);
}

#[test]
fn a_million_frames_of_a_byte_are_read_and_indexed() {
    let payload = noise(1_000_000);
    let pieces: Vec<&[u8]> = payload.chunks(1).collect();
    for (macs, keyed) in [(Macs::None, false), (Macs::Single(KEY), true)] {
        let header = header(br#"{"compression":"none"}"#);
        let tag = mac(if keyed { KEY } else { b"" }, &[&header]);
        let bytes = [header, tag.to_vec(), frames(macs, &pieces)].concat();
        let key = key(if keyed { "K" } else { "" });
        let pin = ReadOptions { limits: Limits::small(), ..read(Some(Dialect::A)) };
        let outcome = stream(bytes.as_slice(), key.as_ref(), &pin, 4096);
        assert!(outcome.result.is_ok() && outcome.payload == payload, "{}", outcome.words());
        let opened = File::open(bytes.as_slice(), key.as_ref(), &read(None)).unwrap();
        assert_eq!(opened.encoding().dialects.oldest(), Dialect::A);
        assert_eq!(opened.summary().unwrap().units, 1_000_000);
        let verified = opened.verify(Progress::none()).unwrap();
        assert_eq!((verified.payload_len, verified.tail), (1_000_000, Tail::Unknown));
        let mut buf = [0; 100];
        for at in [0, 1, 32_700, 999_900] {
            assert_eq!(opened.read_at(at, &mut buf).unwrap(), 100);
            assert!(buf[..] == payload[at as usize..at as usize + 100]);
        }
    }
}

#[test]
fn a_bomb_does_not_get_its_room() {
    // A chunk size of 64 MiB that nothing fills, and a chunk that would inflate beyond a small one.
    let header = header(br#"{"compression":"flate-best-speed"}"#);
    let bytes = [header.clone(), chunks(None, 64 << 20, &[stored(b"x")])].concat();
    assert_eq!(stream(bytes.as_slice(), None, &read(None), 10).payload, b"x");
    let mut zeros = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    zeros.write_all(&vec![0; 1 << 20]).unwrap();
    let zeros = zeros.finish().unwrap();
    let bytes = [header, chunks(None, 4096, &[zeros])].concat();
    let outcome = stream(bytes.as_slice(), None, &ReadOptions { mode: Mode::Lenient, ..read(None) }, 10);
    assert_eq!(outcome.words(), "malformed chunk 1 at offset 0x3a: expected at most 4096 bytes inflated, got more");
}
