//! The TOC while it grows: entries packed into one run of bytes, because a layer can have a million of them.
//!
//! An entry takes about 60 bytes plus its name, instead of several strings and maps. Digests are kept as bytes at places
//! that can be filled in later, since the digest of a file is only known after its last chunk.

use std::borrow::Cow;

use dunnage_digest::Digest;

use crate::{
    Error,
    codec::TocSource,
    toc::{ChunkType, RawEntry, Style, TocType, XattrRefs, write_entry},
};

/// Where the digest of a logged entry stands, and behind its digests, if it has any, where its content ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    digest: usize,
    end: usize,
}

/// The optional fields of an entry, as bits.
const DIGEST: u8 = 1;
const CHUNK_DIGEST: u8 = 2;
/// The fields that only containers/storage has.
const MORE: u8 = 4;

#[derive(Debug, Default)]
pub(super) struct TocLog {
    style: Style,
    tar_split: Option<Digest>,
    log: Vec<u8>,
    entries: u64,
    /// Bytes of all entries as JSON, without what stands between them.
    json: u64,
    scratch: Vec<u8>,
}

impl TocLog {
    pub(super) fn new(style: Style) -> Self {
        Self { style, ..Self::default() }
    }

    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an entry; the places that are filled in later.
    pub(super) fn push(&mut self, entry: &RawEntry<'_>) -> Place {
        self.scratch.clear();
        write_entry(self.style, entry, &mut self.scratch);
        self.json = self.json.saturating_add(self.scratch.len() as u64);
        self.entries = self.entries.saturating_add(1);
        let log = &mut self.log;
        log.push(kind_byte(entry.kind));
        let mut fields = 0;
        let more = self.style == Style::Storage;
        for (bit, there) in
            [(DIGEST, entry.digest.is_some()), (CHUNK_DIGEST, entry.chunk_digest.is_some()), (MORE, more)]
        {
            fields |= if there { bit } else { 0 };
        }
        log.push(fields);
        let digest = log.len();
        for digest in [entry.digest, entry.chunk_digest].into_iter().flatten() {
            log.extend_from_slice(digest.as_bytes());
        }
        let place = Place { digest, end: log.len() };
        if more {
            log.extend_from_slice(&entry.end_offset.to_le_bytes());
            log.push(u8::from(entry.chunk_type == ChunkType::Zeros));
            put_bytes(entry.access_time.as_bytes(), log);
            put_bytes(entry.change_time.as_bytes(), log);
        }
        let modtime = entry.modtime.as_bytes();
        for text in [&entry.name, modtime, &entry.link_name, &entry.user_name, &entry.group_name] {
            put_bytes(text, log);
        }
        let unsigned = [entry.size, entry.offset, entry.inner_offset, entry.chunk_offset, entry.chunk_size];
        unsigned.into_iter().for_each(|number| put_number(number, log));
        let signed = [entry.mode, entry.uid, entry.gid, entry.dev_major, entry.dev_minor];
        // Zigzag: small negative numbers stay short.
        signed.into_iter().for_each(|number| put_number((number << 1 ^ number >> 63).cast_unsigned(), log));
        put_number(entry.xattrs.len() as u64, log);
        for (name, value) in &entry.xattrs {
            put_bytes(name, log);
            put_bytes(value, log);
        }
        place
    }

    /// Fills in a digest that was not known yet.
    pub(super) fn set_digest(&mut self, place: Place, digest: &Digest) {
        self.overwrite(place.digest, digest.as_bytes());
    }

    /// Fills in where the content ends, which was not known yet. The text of 0, which stood there, is none.
    pub(super) fn set_end_offset(&mut self, place: Place, end: u64) {
        self.overwrite(place.end, &end.to_le_bytes());
        let digits = u64::from(end.checked_ilog10().unwrap_or(0)).saturating_add(1);
        self.json = self.json.saturating_add(END_OFFSET.len() as u64).saturating_add(digits);
    }

    /// Fills in the digest of the tar headers that are kept apart.
    pub(super) fn set_tar_split(&mut self, digest: Digest) {
        self.tar_split = Some(digest);
    }

    fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let place = self.log.get_mut(at..).unwrap_or_default().iter_mut();
        place.zip(bytes).for_each(|(to, from)| *to = *from);
    }

    /// What stands around the entries.
    fn frame(&self) -> (Vec<u8>, Vec<u8>) {
        let (mut start, mut end) = (Vec::new(), Vec::new());
        self.style.start(1, self.entries == 0, &mut start);
        self.style.end(self.entries == 0, self.tar_split.as_ref(), &mut end);
        (start, end)
    }
}

/// What stands in front of the number.
const END_OFFSET: &str = ",\"endOffset\":";

impl TocSource for TocLog {
    fn json_len(&self) -> u64 {
        let (start, end) = self.frame();
        let gaps = self.entries.saturating_sub(1).saturating_mul(self.style.separator().len() as u64);
        self.json.saturating_add(start.len() as u64).saturating_add(end.len() as u64).saturating_add(gaps)
    }

    fn write_json(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        /// Text is handed on in pieces of about this size.
        const PIECE: usize = 64 << 10;
        let (mut text, end) = self.frame();
        let mut cursor = Cursor(&self.log);
        let mut first = true;
        while let Some(entry) = cursor.entry() {
            if !first {
                text.extend_from_slice(self.style.separator());
            }
            first = false;
            write_entry(self.style, &entry, &mut text);
            if text.len() >= PIECE {
                sink(&text)?;
                text.clear();
            }
        }
        text.extend_from_slice(&end);
        sink(&text)
    }
}

fn put_number(mut number: u64, log: &mut Vec<u8>) {
    while number >= 0x80 {
        log.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    log.push((number & 0x7f) as u8);
}

fn put_bytes(bytes: &[u8], log: &mut Vec<u8>) {
    put_number(bytes.len() as u64, log);
    log.extend_from_slice(bytes);
}

const KINDS: [TocType; 8] = [
    TocType::Dir,
    TocType::Reg,
    TocType::Symlink,
    TocType::Hardlink,
    TocType::Char,
    TocType::Block,
    TocType::Fifo,
    TocType::Chunk,
];

fn kind_byte(kind: TocType) -> u8 {
    KINDS.iter().zip(0..).find_map(|(known, byte)| (*known == kind).then_some(byte)).unwrap_or(0)
}

/// Reads the log back. `None` at its end; the log is our own, so it is never malformed.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn entry(&mut self) -> Option<RawEntry<'a>> {
        let kind = *KINDS.get(usize::from(self.byte()?))?;
        let fields = self.byte()?;
        let digest = self.digest(fields & DIGEST != 0)?;
        let chunk_digest = self.digest(fields & CHUNK_DIGEST != 0)?;
        let more = if fields & MORE != 0 { self.more()? } else { RawEntry::default() };
        Some(RawEntry {
            kind,
            digest,
            chunk_digest,
            name: self.text()?,
            modtime: self.str()?,
            link_name: self.text()?,
            user_name: self.text()?,
            group_name: self.text()?,
            size: self.number()?,
            offset: self.number()?,
            inner_offset: self.number()?,
            chunk_offset: self.number()?,
            chunk_size: self.number()?,
            mode: self.signed()?,
            uid: self.signed()?,
            gid: self.signed()?,
            dev_major: self.signed()?,
            dev_minor: self.signed()?,
            xattrs: self.xattrs()?,
            ..more
        })
    }

    fn more(&mut self) -> Option<RawEntry<'a>> {
        let (end, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(RawEntry {
            end_offset: u64::from_le_bytes(*end),
            chunk_type: if self.byte()? == 0 { ChunkType::Data } else { ChunkType::Zeros },
            access_time: self.str()?,
            change_time: self.str()?,
            ..RawEntry::default()
        })
    }

    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn digest(&mut self, present: bool) -> Option<Option<Digest>> {
        if !present {
            return Some(None);
        }
        let (bytes, rest) = self.0.split_first_chunk::<32>()?;
        self.0 = rest;
        Some(Some(Digest::sha256(*bytes)))
    }

    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn signed(&mut self) -> Option<i64> {
        let number = self.number()?;
        Some((number >> 1).cast_signed() ^ (number & 1).cast_signed().wrapping_neg())
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<Cow<'a, [u8]>> {
        self.bytes().map(Cow::Borrowed)
    }

    fn str(&mut self) -> Option<Cow<'a, str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Cow::Borrowed)
    }

    fn xattrs(&mut self) -> Option<XattrRefs<'a, [u8]>> {
        (0..self.number()?).map(|_| Some((self.text()?, self.text()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::{Toc, TocEntry};

    fn entries() -> Vec<TocEntry> {
        let digest = Digest::sha256([7; 32]);
        vec![
            TocEntry::default(),
            TocEntry {
                name: "é".repeat(100),
                kind: TocType::Chunk,
                size: u64::MAX >> 1,
                modtime: "m".into(),
                link_name: "l".into(),
                mode: i64::MIN,
                uid: -1,
                gid: i64::MAX,
                user_name: "u".into(),
                group_name: "g".into(),
                offset: 127,
                inner_offset: 128,
                dev_major: 1,
                dev_minor: 2,
                xattrs: [("a".into(), vec![0, 0xff]), ("b".into(), vec![])].into(),
                digest: Some(digest),
                chunk_offset: 1 << 62,
                chunk_size: 3,
                chunk_digest: Some(Digest::sha256([8; 32])),
                access_time: "a".into(),
                change_time: "c".into(),
                end_offset: u64::MAX,
                chunk_type: ChunkType::Zeros,
            },
            TocEntry { digest: Some(Digest::sha256([0; 32])), ..TocEntry::default() },
        ]
    }

    #[test]
    fn the_log_gives_back_what_was_put_in() {
        for style in [Style::Estargz, Style::Storage] {
            let digest = Digest::sha256([9; 32]);
            let mut log = TocLog::new(style);
            let mut toc = Toc { version: 1, entries: entries(), tar_split_digest: Some(digest) };
            let places: Vec<_> = toc.entries.iter().map(|entry| log.push(&entry.into())).collect();
            log.set_digest(places[2], &digest);
            toc.entries[2].digest = Some(digest);
            log.set_tar_split(digest);
            if style == Style::Storage {
                log.set_end_offset(places[2], 1000);
                toc.entries[2].end_offset = 1000;
            }
            let wanted = if style == Style::Storage { toc.to_storage_json() } else { toc.to_json() };
            assert_eq!(text(&log), String::from_utf8(wanted).unwrap());
            assert_eq!(log.json_len(), text(&log).len() as u64);
        }
    }

    fn text(log: &TocLog) -> String {
        let mut json = Vec::new();
        let gather = &mut |piece: &[u8]| {
            json.extend_from_slice(piece);
            Ok(())
        };
        log.write_json(gather).unwrap();
        String::from_utf8(json).unwrap()
    }

    #[test]
    fn an_empty_log_is_an_empty_list() {
        for style in [Style::Estargz, Style::Storage] {
            let log = TocLog::new(style);
            assert!(text(&log).contains("null"));
            assert_eq!(log.json_len(), text(&log).len() as u64);
        }
    }
}
