//! Where the bytes of a sparse file belong: files stored with their holes left out.
//!
//! | variant      | sign                          | regions (offset, length) stand in                    | size with holes         |
//! |--------------|-------------------------------|------------------------------------------------------|-------------------------|
//! | old GNU      | type flag `S`                 | the header block, then blocks of 21 after it         | the header block        |
//! | PAX 0.0      | `GNU.sparse.offset`           | records `GNU.sparse.offset`, `GNU.sparse.numbytes`   | `GNU.sparse.size`       |
//! | PAX 0.1      | `GNU.sparse.map`              | that record, numbers between commas                  | `GNU.sparse.size`       |
//! | PAX 1.0      | `GNU.sparse.major`, `.minor`  | the payload's first blocks, one decimal per line     | `GNU.sparse.realsize`   |
//!
//! The content of the regions is stored in turn; all other bytes are zero.
//!
//! Specification: GNU tar manual, "Sparse Formats" and "Storing Sparse Files".

use std::io::Read;

use dunnage_digest::Offset;

use super::{
    EntryType, Header,
    block::{self, BLOCK, Block, Magic},
    input::Input,
    malformed, number, pax,
    pax::{parse_int, quote},
};
use crate::{Error, Limits, Span};

const MAP: &str = "sparse map";

/// Which parts of a file are stored. Invariant: regions are in order, apart from each other, and inside the file.
#[derive(Debug, Default)]
pub(super) struct Map {
    regions: Vec<Region>,
    /// Bytes that all regions have together.
    stored: u64,
}

#[derive(Clone, Copy, Debug)]
struct Region {
    start: u64,
    end: u64,
}

impl Map {
    pub(super) fn clear(&mut self) {
        self.regions.clear();
        self.stored = 0;
    }

    /// The span at `position`; `next` is the first region that can follow and moves along.
    pub(super) fn span(&self, position: u64, size: u64, next: &mut usize) -> Span {
        while let Some(region) = self.regions.get(*next) {
            if position < region.start {
                return Span::Hole(region.start.saturating_sub(position));
            }
            if position < region.end {
                return Span::Data(region.end.saturating_sub(position));
            }
            *next = next.saturating_add(1);
        }
        Span::Hole(size.saturating_sub(position))
    }

    /// Start and end of each stored region, in order.
    pub(super) fn regions(&self) -> impl Iterator<Item = (u64, u64)> {
        self.regions.iter().map(|region| (region.start, region.end))
    }

    fn push(&mut self, start: Option<i64>, len: Option<i64>, at: Offset, limits: &Limits) -> Result<(), Error> {
        let number = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let region = number(start).zip(number(len));
        let end = region.and_then(|(start, len)| start.checked_add(len));
        let Some(((start, len), end)) = region.zip(end) else {
            let text = |number: Option<i64>| number.map_or("no number".to_string(), |number| number.to_string());
            let got = format!("{} and {}", text(start), text(len));
            return Err(malformed(MAP, at, "offset and length of a region", got));
        };
        let before = self.regions.last().map_or(0, |region| region.end);
        if start < before {
            return Err(malformed(MAP, at, format!("a region from {before} on"), start));
        }
        let count = (self.regions.len() as u64).saturating_add(1);
        if count > limits.sparse_regions {
            let what = "regions of a sparse file";
            return Err(Error::Limit { what, limit: limits.sparse_regions, asked: count });
        }
        self.regions.push(Region { start, end });
        // Regions lie apart, so their sum is at most the last end.
        self.stored = self.stored.saturating_add(len);
        Ok(())
    }

    /// Compares the map with the size of the file and with the number of bytes stored.
    fn check(&self, size: u64, stored: u64, at: Offset) -> Result<(), Error> {
        let end = self.regions.last().map_or(0, |region| region.end);
        if end > size {
            return Err(malformed(MAP, at, format!("regions within {size} bytes"), format!("one up to {end}")));
        }
        if self.stored != stored {
            let expected = format!("regions of {stored} bytes, as stored");
            return Err(malformed(MAP, at, expected, format!("regions of {} bytes", self.stored)));
        }
        Ok(())
    }
}

/// The entry whose map is read.
pub(super) struct Entry<'a, R> {
    pub(super) input: &'a mut Input<R>,
    pub(super) limits: &'a Limits,
    /// Takes the bytes of maps that stand outside the headers.
    pub(super) raw: Option<&'a mut Vec<u8>>,
    /// Where the header block starts.
    pub(super) at: Offset,
    /// Bytes of payload in the archive; a map at its start is taken off.
    pub(super) stored: u64,
}

impl<R: Read> Entry<'_, R> {
    /// Reads the map of an entry with flag `S` into `map`; the size with holes.
    pub(super) fn read_old(&mut self, header: &Block, map: &mut Map) -> Result<u64, Error> {
        if Magic::of(header) != Magic::Gnu {
            let got = quote(block::MAGIC.of(header));
            return Err(malformed("magic of a sparse file's tar header", self.at, "`ustar  \\x00`", got));
        }
        let size = block::GNU_SIZE.number(header);
        let size = self.size(size, || quote(block::GNU_SIZE.of(header)))?;
        self.push_all(block::GNU_REGIONS.of(header), self.at, map)?;
        let mut has_more = block::GNU_MORE.of(header) != &[0];
        let mut bytes = 0_u64;
        while has_more {
            bytes = bytes.saturating_add(BLOCK as u64);
            self.within_limit(bytes)?;
            let at = self.input.position();
            let more = self.block()?;
            self.push_all(block::MORE_REGIONS.of(&more), at, map)?;
            has_more = block::MORE_MORE.of(&more) != &[0];
        }
        map.check(size, self.stored, self.at)?;
        Ok(size)
    }

    /// Reads the map that the PAX records of `header` speak of, if they do; the size with holes, and renames `header`.
    ///
    /// `size` is the size in the header or its record, which stands in where the sparse records give none.
    pub(super) fn read_pax(&mut self, header: &mut Header, map: &mut Map) -> Result<Option<u64>, Error> {
        let record = |key: &[u8]| header.pax.get(key).map_or(&[][..], Vec::as_slice);
        let (major, minor) = (record(b"GNU.sparse.major"), record(b"GNU.sparse.minor"));
        let is_1_0 = match (major, minor) {
            (b"0", b"0" | b"1") => false,
            (b"1", b"0") => true,
            (b"", b"") if !record(pax::SPARSE_MAP).is_empty() => false,
            (b"", b"") => {
                let keys: [&[u8]; 3] = [b"GNU.sparse.size", b"GNU.sparse.realsize", b"GNU.sparse.numblocks"];
                return match keys.into_iter().find(|key| !record(key).is_empty()) {
                    Some(key) => {
                        Err(malformed("PAX sparse records", self.at, "a map", format!("{} alone", quote(key))))
                    }
                    None => Ok(None),
                };
            }
            _ => {
                let got = format!("{}.{}", major.escape_ascii(), minor.escape_ascii());
                return Err(Error::Unsupported { what: "version of GNU sparse format", at: self.at, got });
            }
        };
        if !matches!(header.entry, EntryType::File | EntryType::Other(_)) {
            let got = format!("{:?}", header.entry);
            return Err(malformed("type of a sparse entry", self.at, "a file", got));
        }
        let sizes = [record(b"GNU.sparse.size"), record(b"GNU.sparse.realsize")];
        let size = match sizes.into_iter().find(|size| !size.is_empty()) {
            Some(text) => self.size(parse_int(text), || quote(text))?,
            None => self.stored,
        };
        if is_1_0 {
            self.read_1_0(map)?;
        } else {
            self.parse_0_1(record(b"GNU.sparse.numblocks"), record(pax::SPARSE_MAP), map)?;
        }
        map.check(size, self.stored, self.at)?;
        match record(pax::SPARSE_NAME).to_vec() {
            name if name.is_empty() => {}
            name => header.name = name,
        }
        Ok(Some(size))
    }

    fn parse_0_1(&self, count: &[u8], list: &[u8], map: &mut Map) -> Result<(), Error> {
        let numbers = if list.is_empty() { 0 } else { list.split(|byte| *byte == b',').count() };
        let expected = parse_int(count).and_then(|count| usize::try_from(count).ok()?.checked_mul(2));
        if expected != Some(numbers) {
            let expected = format!("numbers for {} regions", quote(count));
            return Err(malformed(MAP, self.at, expected, format!("{numbers} numbers")));
        }
        let mut numbers = list.split(|byte| *byte == b',');
        while let Some((start, len)) = numbers.next().zip(numbers.next()) {
            map.push(parse_int(start), parse_int(len), self.at, self.limits)?;
        }
        Ok(())
    }

    fn read_1_0(&mut self, map: &mut Map) -> Result<(), Error> {
        let at = self.input.position();
        let mut lines = Lines { block: [0; BLOCK], used: BLOCK, bytes: 0 };
        let count = lines.next(self)?;
        let Some(count) = count.and_then(|count| u64::try_from(count).ok()) else {
            return Err(malformed(MAP, at, "the number of regions", "none"));
        };
        if count > self.limits.sparse_regions {
            let what = "regions of a sparse file";
            return Err(Error::Limit { what, limit: self.limits.sparse_regions, asked: count });
        }
        for _ in 0..count {
            let (start, len) = (lines.next(self)?, lines.next(self)?);
            map.push(start, len, at, self.limits)?;
        }
        Ok(())
    }

    fn size(&self, number: Option<i64>, got: impl Fn() -> String) -> Result<u64, Error> {
        let size = number.and_then(|size| u64::try_from(size).ok());
        size.ok_or_else(|| malformed("size of a sparse file", self.at, "a number from 0 on", got()))
    }

    fn push_all(&self, table: &[u8], at: Offset, map: &mut Map) -> Result<(), Error> {
        let regions = table.chunks_exact(24).take_while(|region| region.first() != Some(&0));
        for (start, len) in regions.filter_map(|region| region.split_at_checked(12)) {
            map.push(number::parse(start), number::parse(len), at, self.limits)?;
        }
        Ok(())
    }

    fn block(&mut self) -> Result<Block, Error> {
        let mut block = [0; BLOCK];
        self.input.read_exact(&mut block, MAP)?;
        if let Some(raw) = self.raw.as_deref_mut() {
            raw.extend_from_slice(&block);
        }
        Ok(block)
    }

    fn within_limit(&self, asked: u64) -> Result<(), Error> {
        let limit = self.limits.tar_extension;
        if asked > limit { Err(Error::Limit { what: "bytes of a sparse map", limit, asked }) } else { Ok(()) }
    }
}

/// Decimal numbers, one a line, at the start of a payload; they take up whole blocks of it.
struct Lines {
    block: Block,
    used: usize,
    bytes: u64,
}

impl Lines {
    /// The number on the next line; `None` if it is none.
    fn next<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<Option<i64>, Error> {
        // The longest number of 64 bits has 19 digits and a sign. A longer line is refused below.
        let mut digits = [0_u8; 20];
        let mut len = 0_usize;
        loop {
            let Some(byte) = self.block.get(self.used) else {
                self.bytes = self.bytes.saturating_add(BLOCK as u64);
                entry.within_limit(self.bytes)?;
                let Some(stored) = entry.stored.checked_sub(BLOCK as u64) else {
                    let at = entry.input.position();
                    return Err(malformed(MAP, at, "a map inside the payload", "the end of the payload"));
                };
                entry.stored = stored;
                (self.block, self.used) = (entry.block()?, 0);
                continue;
            };
            self.used = self.used.saturating_add(1);
            if *byte == b'\n' {
                return Ok(digits.get(..len).and_then(parse_int));
            }
            let Some(digit) = digits.get_mut(len).filter(|_| byte.is_ascii_digit()) else { return Ok(None) };
            *digit = *byte;
            len = len.saturating_add(1);
        }
    }
}
