//! State files: an independent maker of them, every way to read one, and changed ones to be judged.
//!
//! The maker shares no code with the crate under test: MACs are made with `hmac` itself, chunks come as deflate bytes.

use std::io::{self, Read};

use dunnage_digest::{ErrorKind, Progress};
use dunnage_statefile::{Dialect, Encoding, Error, File, Key, Mode, ReadOptions, Reader, Tail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::case::fixture;

/// The key of the test vectors.
pub const KEY: &[u8; 32] = b"01234567890123456789012345678901";

/// The key of a case: `K`, `K+1` for another, empty for none.
#[must_use]
pub fn key(name: &str) -> Option<Key> {
    match name {
        "" | "none" => None,
        "K" => Some(Key::new(KEY.to_vec()).unwrap()),
        "K+1" => Some(Key::new([b"1", &KEY[1..]].concat()).unwrap()),
        other => panic!("no key is called `{other}`"),
    }
}

/// A test vector of docs/formats/statefile.md.
#[must_use]
pub fn vector(name: &str) -> Vec<u8> {
    fixture(&format!("statefile/{name}.img"))
}

/// HMAC-SHA-256 over several pieces.
#[must_use]
pub fn mac(key: &[u8], pieces: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
    pieces.iter().for_each(|piece| mac.update(piece));
    mac.finalize().into_bytes().into()
}

/// Magic, length, document.
#[must_use]
pub fn header(document: &[u8]) -> Vec<u8> {
    [b"gVisorSF", (document.len() as u64).to_be_bytes().as_slice(), document].concat()
}

/// Bytes of a file up to its body: header and, if there is one, header MAC.
#[must_use]
pub fn body_at(file: &[u8], has_mac: bool) -> usize {
    let len = u64::from_be_bytes(*file[8..].first_chunk().unwrap()) as usize;
    16 + len + if has_mac { 32 } else { 0 }
}

fn len_of(data: &[u8]) -> [u8; 4] {
    (data.len() as u32).to_be_bytes()
}

/// A deflate body of these chunks, with MACs if there is a key.
#[must_use]
pub fn chunks(key: Option<&[u8]>, size: u32, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut body = size.to_be_bytes().to_vec();
    let mut before = key.map(|key| mac(key, &[&size.to_be_bytes()]));
    body.extend(before.iter().flatten());
    for data in chunks {
        body.extend(len_of(data));
        body.extend(data);
        before = key.zip(before).map(|(key, before)| mac(key, &[data, &len_of(data), &before]));
        body.extend(before.iter().flatten());
    }
    body
}

/// How frames are protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a test helper")]
pub enum Macs<'a> {
    /// Not at all.
    None,
    /// Each alone.
    Single(&'a [u8]),
    /// Each with the one before.
    Chained(&'a [u8]),
}

/// A body of frames.
#[must_use]
pub fn frames(macs: Macs<'_>, frames: &[&[u8]]) -> Vec<u8> {
    let mut body = Vec::new();
    let mut before = [0; 32];
    for data in frames {
        body.extend(len_of(data));
        body.extend(*data);
        match macs {
            Macs::None => {}
            Macs::Single(key) => body.extend(mac(key, &[data, &len_of(data)])),
            Macs::Chained(key) => {
                before = mac(key, &[data, &len_of(data), &before]);
                body.extend(before);
            }
        }
    }
    body
}

/// One stored deflate block, the final one.
#[must_use]
pub fn stored(payload: &[u8]) -> Vec<u8> {
    let len = payload.len() as u16;
    [&[1][..], &len.to_le_bytes(), &(!len).to_le_bytes(), payload].concat()
}

/// What reading gave.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a test helper")]
pub struct Outcome {
    /// The payload that was handed out.
    pub payload: Vec<u8>,
    /// What came then.
    pub result: Result<Tail, Error>,
    /// What the file was taken for.
    pub encoding: Option<Encoding>,
}

impl Outcome {
    /// `N bytes`, `N bytes, then WORDS`, or the words alone.
    #[must_use]
    pub fn words(&self) -> String {
        match (&self.result, self.payload.len()) {
            (Ok(_), len) => format!("{len} bytes"),
            (Err(error), 0) => error.to_string(),
            (Err(error), len) => format!("{len} bytes, then {error}"),
        }
    }

    /// Whose problem it is.
    #[must_use]
    pub fn kind(&self) -> Option<ErrorKind> {
        self.result.as_ref().err().map(Error::kind)
    }

    fn failed(error: Error) -> Self {
        Self { payload: Vec::new(), result: Err(error), encoding: None }
    }
}

/// The error inside of an I/O error.
#[must_use]
pub fn inner(error: io::Error) -> Error {
    dunnage_digest::error_inside::<Error>(&error).cloned().unwrap_or_else(|| panic!("no error of the crate: {error:?}"))
}

/// Reads a stream with buffers of this size. An error must stay.
#[must_use]
pub fn stream(source: impl Read, key: Option<&Key>, options: &ReadOptions, buffer: usize) -> Outcome {
    let mut reader = match Reader::open(source, key, options) {
        Ok(reader) => reader,
        Err(error) => return Outcome::failed(error),
    };
    let encoding = Some(reader.encoding().clone());
    let (mut payload, mut buffer) = (Vec::new(), vec![0; buffer]);
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => {
                assert_eq!(reader.read(&mut buffer).unwrap(), 0, "the end stays");
                return Outcome { payload, result: Ok(reader.tail()), encoding };
            }
            Ok(got) => payload.extend(&buffer[..got]),
            Err(error) => {
                let error = inner(error);
                let again = inner(reader.read(&mut buffer).expect_err("the error stays"));
                assert_eq!(error.to_string(), again.to_string());
                return Outcome { payload, result: Err(error), encoding };
            }
        }
    }
}

/// Copies a stream.
#[must_use]
pub fn copied(source: impl Read, key: Option<&Key>, options: &ReadOptions) -> Outcome {
    let mut reader = match Reader::open(source, key, options) {
        Ok(reader) => reader,
        Err(error) => return Outcome::failed(error),
    };
    let encoding = Some(reader.encoding().clone());
    let mut payload = Vec::new();
    let result = reader.copy_to(&mut payload).map(|copied| {
        assert_eq!(copied, payload.len() as u64);
        reader.tail()
    });
    Outcome { payload, result, encoding }
}

/// Copies a file that can be read anywhere.
#[must_use]
pub fn file(bytes: &[u8], key: Option<&Key>, options: &ReadOptions) -> Outcome {
    let file = match File::open(bytes, key, options) {
        Ok(file) => file,
        Err(error) => return Outcome::failed(error),
    };
    let encoding = Some(file.encoding().clone());
    let mut payload = Vec::new();
    let result = file.copy_to(&mut payload, Progress::none()).and_then(|_| file.verify(Progress::none()));
    Outcome { payload, result: result.map(|verified| verified.tail), encoding }
}

/// Options for a mode, and a dialect if one is named.
#[must_use]
pub fn options(mode: Mode, pin: &str) -> ReadOptions {
    let dialect: Option<Dialect> = (!pin.is_empty()).then(|| pin.parse().unwrap());
    ReadOptions { mode, dialect, threads: 2, ..ReadOptions::default() }
}

/// A file that is right, of which every byte is to be changed.
#[derive(Debug)]
#[expect(clippy::exhaustive_structs, reason = "a test helper")]
pub struct Subject {
    /// Its name.
    pub name: String,
    /// The file.
    pub bytes: Vec<u8>,
    /// What it holds.
    pub payload: Vec<u8>,
    /// Whether it was written with [`KEY`].
    pub is_keyed: bool,
}

/// The vectors, keyed by hand and unkeyed, and what our writers make of each layout.
#[must_use]
pub fn subjects() -> Vec<Subject> {
    use dunnage_statefile::{Compression, Frames, Metadata, Timestamp, WriteOptions, Writer};
    let mut subjects = Vec::new();
    let text: Vec<u8> = (0..90_u8).map(|at| b'a' + at % 11).collect();
    for number in 1..=20 {
        let (name, is_keyed) = (format!("v{number:02}"), [2, 4, 6, 9, 11, 12, 13, 18].contains(&number));
        let bytes = vector(&name);
        let outcome = file(&bytes, key(if is_keyed { "K" } else { "" }).as_ref(), &ReadOptions::default());
        assert!(outcome.result.is_ok(), "{name}: {}", outcome.words());
        subjects.push(Subject { name, bytes, payload: outcome.payload, is_keyed });
    }
    for dialect in [Dialect::A, Dialect::B, Dialect::C, Dialect::D] {
        for compression in [Compression::None, Compression::FlateBestSpeed] {
            for is_keyed in [false, true] {
                let options = WriteOptions {
                    dialect,
                    compression: Some(compression),
                    frames: Frames::AsGvisor,
                    threads: 1,
                    payload_len: Some(text.len() as u64),
                    ..WriteOptions::default()
                };
                let key = key(if is_keyed { "K" } else { "" });
                let mut writer =
                    Writer::new(Vec::new(), key.as_ref(), &Metadata::new(), Timestamp::EPOCH, &options).unwrap();
                text.chunks(40).for_each(|call| writer.append(call).unwrap());
                let name = format!("{dialect}-{compression}{}", if is_keyed { "-keyed" } else { "" });
                subjects.push(Subject { name, bytes: writer.finish().unwrap().0, payload: text.clone(), is_keyed });
            }
        }
    }
    subjects
}

/// What became of changed bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a test helper")]
pub struct Tally {
    /// Inputs judged.
    pub inputs: u64,
    /// Refused.
    pub refused: u64,
    /// Read, though something was changed: only where nothing is covered.
    pub read: u64,
}

impl Subject {
    /// Changes every byte by three masks and cuts at every length, and reads each of these in four ways.
    ///
    /// # Errors
    ///
    /// What was answered wrongly: accepted although a MAC covers it, unverified bytes handed out, or ways that do not agree.
    pub fn judge_all(&self) -> Result<Tally, Vec<String>> {
        let mut tally = Tally::default();
        let mut wrong = Vec::new();
        let flips = (0..self.bytes.len())
            .flat_map(|at| [1, 0x80, 0xff].map(|mask| (format!("byte {at:#x} ^ {mask:#x}"), at, mask)));
        for (name, at, mask) in flips {
            let mut bytes = self.bytes.clone();
            bytes[at] ^= mask;
            self.judge(&name, &bytes, false, &mut tally, &mut wrong);
        }
        for len in 0..self.bytes.len() {
            self.judge(&format!("cut to {len}"), &self.bytes[..len], true, &mut tally, &mut wrong);
        }
        if wrong.is_empty() { Ok(tally) } else { Err(wrong) }
    }

    fn judge(&self, what: &str, bytes: &[u8], is_cut: bool, tally: &mut Tally, wrong: &mut Vec<String>) {
        for mode in [Mode::Strict, Mode::Lenient] {
            let options = ReadOptions { mode, threads: 1, ..ReadOptions::default() };
            for key in [key("K"), None] {
                let outcomes = std::panic::catch_unwind(|| {
                    [
                        stream(bytes, key.as_ref(), &options, 7),
                        copied(bytes, key.as_ref(), &options),
                        file(bytes, key.as_ref(), &options),
                    ]
                });
                tally.inputs += 1;
                let mut bad = |problem: &str| wrong.push(format!("{} {what} {mode:?}: {problem}", self.name));
                let Ok([first, second, third]) = outcomes else {
                    bad("a panic");
                    continue;
                };
                if first.result.is_ok() {
                    tally.read += 1
                } else {
                    tally.refused += 1
                }
                if first.words() != second.words() || first.payload != second.payload {
                    bad(&format!("stream and copy differ: {} and {}", first.words(), second.words()));
                }
                // Of a file more can be seen at once; what both read is the same.
                if first.result.is_ok() && third.result.is_ok() && first.payload != third.payload {
                    bad("stream and file differ");
                }
                if key.is_none() || !self.is_keyed {
                    continue;
                }
                // Every byte of a keyed file is covered. A file cut at the end of a unit still verifies: the format has no end.
                for outcome in [&first, &third] {
                    if outcome.result.is_ok() && !is_cut {
                        bad("accepted, though a MAC covers it");
                    }
                    if !self.payload.starts_with(&outcome.payload) {
                        bad("handed out what no MAC covers");
                    }
                    let tail = *outcome.result.as_ref().unwrap_or(&Tail::Complete);
                    let promised = outcome.encoding.is_some() && self.name.len() > 3;
                    if is_cut
                        && outcome.result.is_ok()
                        && (promised || (tail == Tail::Complete && !self.name.starts_with("v1")))
                    {
                        bad("a cut file taken for a whole one");
                    }
                }
            }
        }
    }
}
