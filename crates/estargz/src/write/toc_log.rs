//! The TOC while it grows: entries packed into one run of bytes, because a layer can have a million of them.
//!
//! An entry takes about 60 bytes plus its name, instead of several strings and maps. Digests are kept as bytes at places
//! that can be filled in later, since the digest of a file is only known after its last chunk.

use std::borrow::Cow;

use dunnage_digest::Digest;

use crate::{
    Error, TocSource, TocType,
    toc::{EMPTY, END, RawEntry, SEPARATOR, START, XattrRefs, write_entry},
};

/// Where the digest of a logged entry stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct DigestPlace(usize);

#[derive(Debug, Default)]
pub(super) struct TocLog {
    log: Vec<u8>,
    entries: u64,
    /// Bytes of all entries as JSON, without what stands between them.
    json: u64,
    scratch: Vec<u8>,
}

impl TocLog {
    pub(super) const fn entries(&self) -> u64 {
        self.entries
    }

    /// Adds an entry; where its digest stands, if it has one.
    pub(super) fn push(&mut self, entry: &RawEntry<'_>) -> DigestPlace {
        self.scratch.clear();
        write_entry(entry, &mut self.scratch);
        self.json = self.json.saturating_add(self.scratch.len() as u64);
        self.entries = self.entries.saturating_add(1);
        let log = &mut self.log;
        log.push(kind_byte(entry.kind));
        log.push(u8::from(entry.digest.is_some()) | u8::from(entry.chunk_digest.is_some()) << 1);
        let place = DigestPlace(log.len());
        for digest in [entry.digest, entry.chunk_digest].into_iter().flatten() {
            log.extend_from_slice(digest.as_bytes());
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
    pub(super) fn set_digest(&mut self, place: DigestPlace, digest: &Digest) {
        let bytes = self.log.get_mut(place.0..).unwrap_or_default().iter_mut();
        bytes.zip(digest.as_bytes()).for_each(|(to, from)| *to = *from);
    }
}

impl TocSource for TocLog {
    fn json_len(&self) -> u64 {
        match self.entries.checked_sub(1) {
            None => EMPTY.len() as u64,
            Some(gaps) => {
                let fixed = (START.len() as u64).saturating_add(END.len() as u64);
                self.json.saturating_add(fixed).saturating_add(gaps.saturating_mul(SEPARATOR.len() as u64))
            }
        }
    }

    fn write_json(&self, sink: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        /// Text is handed on in pieces of about this size.
        const PIECE: usize = 64 << 10;
        if self.entries == 0 {
            return sink(EMPTY);
        }
        let mut text = START.to_vec();
        let mut cursor = Cursor(&self.log);
        let mut first = true;
        while let Some(entry) = cursor.entry() {
            if !first {
                text.extend_from_slice(SEPARATOR);
            }
            first = false;
            write_entry(&entry, &mut text);
            if text.len() >= PIECE {
                sink(&text)?;
                text.clear();
            }
        }
        text.extend_from_slice(END);
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
        let digests = self.byte()?;
        let digest = self.digest(digests & 1 != 0)?;
        let chunk_digest = self.digest(digests & 2 != 0)?;
        Some(RawEntry {
            kind,
            digest,
            chunk_digest,
            name: self.text()?,
            modtime: Cow::Borrowed(std::str::from_utf8(self.bytes()?).ok()?),
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

    fn xattrs(&mut self) -> Option<XattrRefs<'a, [u8]>> {
        (0..self.number()?).map(|_| Some((self.text()?, self.text()?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Toc, TocEntry};

    #[test]
    fn the_log_gives_back_what_was_put_in() {
        let digest = Digest::sha256([7; 32]);
        let entries = vec![
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
            },
            TocEntry { digest: Some(Digest::sha256([0; 32])), ..TocEntry::default() },
        ];
        let mut log = TocLog::default();
        let places: Vec<_> = entries.iter().map(|entry| log.push(&entry.into())).collect();
        log.set_digest(places[2], &digest);
        let mut toc = Toc { version: 1, entries };
        toc.entries[2].digest = Some(digest);
        let mut json = Vec::new();
        let gather = &mut |piece: &[u8]| {
            json.extend_from_slice(piece);
            Ok(())
        };
        log.write_json(gather).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), String::from_utf8(toc.to_json()).unwrap());
        assert_eq!(log.json_len(), toc.to_json().len() as u64);
        assert_eq!(TocLog::default().json_len(), EMPTY.len() as u64);
    }
}
