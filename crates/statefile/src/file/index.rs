//! The index of a file: the offsets of its chunks and frames.
//!
//! Making it reads the lengths and nothing else. Units are gathered into groups of about 1 MiB: dialect A writes
//! millions of one-byte frames, and an entry for each would take more memory than the frames.

use dunnage_digest::{Progress, ReadAt};

use super::File;
use crate::{
    Body, Error, MAC_LEN,
    detect::{Anywhere, Look as _},
    header::truncated,
    unit::{BATCH, chunk_size_len},
};

/// Some consecutive units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Offset of the length of the first unit.
    pub(super) at: u64,
    /// Offset of the first byte after the last unit.
    pub(super) end: u64,
    /// Index of the first unit, counted from 1.
    pub(super) first: u64,
    pub(super) units: u64,
    /// Position of the group in the payload. For chunks, it is right if all chunks before are full.
    pub(super) payload_at: u64,
    /// Bytes of data, without lengths and MACs.
    pub(super) stored: u64,
    /// Whether the group is one frame that is longer than [`Limits::frame`](crate::Limits::frame).
    pub(super) is_huge: bool,
}

/// All groups, up to the first fault in the lengths.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) groups: Vec<Group>,
    pub(super) units: u64,
    pub(super) stored: u64,
    pub(super) largest: u64,
    /// The end of the file after the last group, or the fault there.
    pub(super) end: Result<(), Error>,
}

impl Index {
    /// Walks over the body. Returns an error only if the source fails; a fault of the file goes into
    /// [`end`](Self::end).
    pub(super) fn new<S: ReadAt>(file: &File<S>, progress: Progress<'_>) -> Result<Self, Error> {
        let mut index = Self { groups: Vec::new(), units: 0, stored: 0, largest: 0, end: Ok(()) };
        let body = file.encoding.body;
        if body == Body::Raw {
            return Ok(index);
        }
        let mut look = Anywhere::new(&file.source, file.size);
        let mut at = file.body_at.saturating_add(chunk_size_len(body) as u64);
        while at < file.size {
            if index.units.is_multiple_of(4096) {
                file.check(progress)?;
            }
            match file.unit(&mut look, at, index.units.saturating_add(1)) {
                Ok(Some((len, end))) => {
                    index.add(file, at, end, len);
                    at = end;
                }
                Ok(None) => break,
                Err(error @ (Error::Read { .. } | Error::Cancelled(_))) => return Err(error),
                Err(error) => {
                    index.end = Err(error);
                    break;
                }
            }
        }
        Ok(index)
    }

    fn add<S: ReadAt>(&mut self, file: &File<S>, at: u64, end: u64, len: u64) {
        /// The most units of a group.
        const MANY: u64 = 32_768;
        self.units = self.units.saturating_add(1);
        self.stored = self.stored.saturating_add(len);
        self.largest = self.largest.max(len);
        let rules = &file.rules;
        let is_huge = rules.mac.is_some() && rules.chunk_size.is_none() && len > rules.limits.frame;
        let payload = |units: u64, stored: u64| match rules.chunk_size {
            Some(size) => units.saturating_mul(size.into()),
            None => stored,
        };
        let full = |group: &Group| {
            let bytes = group.end.saturating_sub(group.at).max(payload(group.units, group.stored));
            let is_open = rules.mac.is_none() && rules.chunk_size.is_none();
            // A group of frames without MACs is never read as a whole, so it can be longer.
            let most = if is_open { MANY.saturating_mul(32) } else { MANY };
            group.is_huge || is_huge || bytes >= BATCH as u64 || group.units >= most
        };
        match self.groups.last_mut().filter(|group| !full(group)) {
            Some(group) => {
                group.end = end;
                group.units = group.units.saturating_add(1);
                group.stored = group.stored.saturating_add(len);
            }
            None => {
                let before = self.groups.last();
                let payload_at =
                    before.map_or(0, |group| group.payload_at.saturating_add(payload(group.units, group.stored)));
                self.groups.push(Group { at, end, first: self.units, units: 1, payload_at, stored: len, is_huge });
            }
        }
    }

    /// The group with this position of the payload, or the last group if the position is past its end.
    pub(super) fn group_of(&self, at: u64) -> Option<usize> {
        self.groups.partition_point(|group| group.payload_at <= at).checked_sub(1)
    }
}

impl<S: ReadAt> File<S> {
    /// The data length and the end of the unit at this offset; `None` at the end of the file.
    fn unit(&self, look: &mut Anywhere<'_, S>, at: u64, index: u64) -> Result<Option<(u64, u64)>, Error> {
        let rules = &self.rules;
        let seen = look.look(at, 4)?;
        let Some(declared) = seen.first_chunk::<4>().map(|len| u32::from_be_bytes(*len)) else {
            if rules.chunk_size.is_some() && rules.mode == crate::Mode::Lenient {
                return Ok(None);
            }
            return Err(truncated(rules.length_part(index), at, 4, seen.len() as u64));
        };
        match rules.check_len(index, at, declared) {
            // A stream reader refuses such a frame. Here it can be read twice.
            Err(Error::Limit { asked, .. }) if rules.chunk_size.is_none() && asked == u64::from(declared) => {}
            result => result?,
        }
        let len = u64::from(declared);
        let data_at = at.saturating_add(4);
        let left = self.size.saturating_sub(data_at);
        if left < len {
            return Err(truncated(rules.data_part(index), data_at, len, left));
        }
        let tag_at = data_at.saturating_add(len);
        let left = self.size.saturating_sub(tag_at);
        if rules.mac.is_some() && left < MAC_LEN as u64 {
            return Err(truncated(rules.mac_part(index), tag_at, MAC_LEN as u64, left));
        }
        Ok(Some((len, tag_at.saturating_add(rules.mac_len() as u64))))
    }
}
