//! Our side: a file from a payload, and what we make of a file.

use std::{collections::BTreeMap, io::Read as _};

use anyhow::{Context as _, Result, bail};
use dunnage_digest::Progress;
use dunnage_statefile::{
    Codec, Compression, Dialect, Error, File, Frames, Key, Limits, MAC_LEN, Metadata, Mode, ReadOptions, Reader,
    Timestamp, WriteOptions, Writer, metadata_unverified,
};

use super::Combination;

/// What we read.
pub(super) struct Read {
    pub(super) payload: Vec<u8>,
    pub(super) metadata: BTreeMap<String, String>,
}

/// A file with the payload handed over in these calls, and frames where gVisor ends them.
pub(super) fn write(it: &Combination<'_>, calls: &[usize], timestamp: &str, threads: usize) -> Result<Vec<u8>> {
    let mut writer = writer(it, timestamp, Frames::AsGvisor, threads)?;
    let mut rest = it.payload();
    for &call in calls.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, behind) = rest.split_at(call.min(rest.len()));
        writer.append(piece)?;
        rest = behind;
    }
    Ok(writer.finish()?.0)
}

/// A file whose frames do not depend on calls.
pub(super) fn write_uniform(it: &Combination<'_>, timestamp: &str) -> Result<Vec<u8>> {
    let mut writer = writer(it, timestamp, Frames::Uniform, 2)?;
    writer.read_from(&mut it.payload())?;
    Ok(writer.finish()?.0)
}

fn writer(it: &Combination<'_>, timestamp: &str, frames: Frames, threads: usize) -> Result<Writer<Vec<u8>>> {
    let mut metadata = Metadata::new();
    for (name, text) in &it.inputs.metadata {
        metadata.insert(name, text);
    }
    let options = WriteOptions {
        dialect: it.dialect,
        compression: Some(it.compression),
        codec: Codec::Libdeflate,
        frames,
        threads,
        ..WriteOptions::default()
    };
    Ok(Writer::new(Vec::new(), key(it.key())?.as_ref(), &metadata, time(timestamp)?, &options)?)
}

/// The whole file, as a stream.
pub(super) fn read(bytes: &[u8], key_bytes: Option<&[u8]>, dialect: Option<Dialect>) -> Result<Read> {
    let options = ReadOptions { dialect, threads: 2, ..ReadOptions::default() };
    let mut reader = Reader::open(bytes, key(key_bytes)?.as_ref(), &options)?;
    let mut payload = Vec::new();
    reader.read_to_end(&mut payload)?;
    Ok(Read { payload, metadata: plain(reader.metadata()) })
}

/// What a file of this many bytes says it is, and all of its payload: as a stream, or if a stream has to be told what it
/// is, by position.
pub(super) fn read_finding_out(bytes: &[u8], key_bytes: Option<&[u8]>) -> Result<Read> {
    match read(bytes, key_bytes, None) {
        Err(error) if error.downcast_ref().is_some_and(|error| matches!(error, Error::Ambiguous { .. })) => {
            let file = File::open(bytes, key(key_bytes)?.as_ref(), &ReadOptions::default())?;
            let mut payload = Vec::new();
            file.copy_to(&mut payload, Progress::none())?;
            Ok(Read { payload, metadata: plain(file.metadata()) })
        }
        other => other,
    }
}

/// Verifies the whole file; how many bytes of payload there are.
pub(super) fn verify(bytes: &[u8], key_bytes: Option<&[u8]>, dialect: Dialect) -> Result<u64> {
    let options = ReadOptions { dialect: Some(dialect), threads: 2, ..ReadOptions::default() };
    let file = File::open(bytes, key(key_bytes)?.as_ref(), &options)?;
    Ok(file.verify(Progress::none())?.payload_len)
}

/// A piece of the payload, read by position.
pub(super) fn piece(bytes: &[u8], key_bytes: Option<&[u8]>, dialect: Dialect, at: u64, len: usize) -> Result<Vec<u8>> {
    let options = ReadOptions { dialect: Some(dialect), ..ReadOptions::default() };
    let file = File::open(bytes, key(key_bytes)?.as_ref(), &options)?;
    let mut piece = vec![0; len];
    let len = file.read_at(at, &mut piece)?;
    piece.truncate(len);
    Ok(piece)
}

/// The metadata, whatever follows them.
pub(super) fn metadata(bytes: &[u8]) -> Result<BTreeMap<String, String>> {
    Ok(plain(&metadata_unverified(&mut &*bytes, Mode::Strict, &Limits::default())?))
}

/// Bytes in front of the first chunk or frame.
pub(super) fn front_len(it: &Combination<'_>, bytes: &[u8]) -> usize {
    let document = bytes.get(8..16).and_then(|len| len.try_into().ok()).map_or(0, u64::from_be_bytes) as usize;
    let header_mac = if it.is_keyed || it.dialect != Dialect::D { MAC_LEN } else { 0 };
    let chunk_size = match (it.compression, it.is_keyed) {
        (Compression::None, _) => 0,
        (Compression::FlateBestSpeed, false) => 4,
        (Compression::FlateBestSpeed, true) => 4 + MAC_LEN,
    };
    (16 + document + header_mac + chunk_size).min(bytes.len())
}

fn plain(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

fn key(bytes: Option<&[u8]>) -> Result<Option<Key>> {
    Ok(bytes.map(Key::new).transpose()?)
}

/// The time of a `_timestamp`, such as `2024-06-18 19:27:12.123456789 +0000 UTC`.
fn time(text: &str) -> Result<Timestamp> {
    let whole = text.strip_suffix(" +0000 UTC").context("a time that is not in UTC")?;
    let (whole, fraction) = whole.split_once('.').unwrap_or((whole, "0"));
    let numbers = whole.split(['-', ' ', ':']).map(str::parse).collect::<Result<Vec<i64>, _>>()?;
    let &[year, month, day, hour, minute, second] = numbers.as_slice() else { bail!("no time: `{text}`") };
    // Days since the first of March of year 0, as if years began there.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1 - 719_468;
    let nanos = format!("{fraction:0<9}").parse()?;
    let time = Timestamp::new((days * 86_400 + hour * 3600 + minute * 60 + second) as u64, nanos)?;
    // The text counts, byte for byte.
    if time.to_string() != text {
        bail!("`{text}` is not how that time is written, which is `{time}`");
    }
    Ok(time)
}
