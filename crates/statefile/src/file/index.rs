//! Where chunks and frames lie.
//!
//! Only lengths are read for it. Units are gathered to groups of about 1 MiB, so that the millions of one-byte frames of dialect A
//! take no more room than what is in them.

use dunnage_digest::{Progress, ReadAt};

use super::File;
use crate::{
    Body, Error, MAC_LEN,
    detect::{Anywhere, Look as _},
    header::truncated,
    unit::{BATCH, chunk_size_len},
};

/// Consecutive units.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    /// Offset of the length of the first.
    pub(super) at: u64,
    /// Offset behind the last.
    pub(super) end: u64,
    /// Index of the first, counted from 1.
    pub(super) first: u64,
    pub(super) units: u64,
    /// Position of its payload. Of chunks, if all in front are full.
    pub(super) payload_at: u64,
    /// Bytes without lengths and MACs.
    pub(super) stored: u64,
    /// It is one frame that is too long to be held back.
    pub(super) is_huge: bool,
}

/// All groups, as far as the lengths make sense.
#[derive(Debug)]
pub(super) struct Index {
    pub(super) groups: Vec<Group>,
    pub(super) units: u64,
    pub(super) stored: u64,
    pub(super) largest: u64,
    /// What comes behind the last group: the end, or what is wrong there.
    pub(super) end: Result<(), Error>,
}

impl Index {
    /// Walks over the body. An error is one of the source; what is wrong with the file is in [`end`](Self::end).
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
        /// Units of a group at most.
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
            // Nothing is read of frames without MACs but what is asked for.
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

    /// The group that has this position of the payload, if any has.
    pub(super) fn group_of(&self, at: u64) -> Option<usize> {
        self.groups.partition_point(|group| group.payload_at <= at).checked_sub(1)
    }
}

impl<S: ReadAt> File<S> {
    /// The length of the unit at this offset, and where it ends; `None` if that is the end.
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
            // Frames that are too long to be held back can be read twice here.
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
