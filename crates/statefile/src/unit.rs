//! Chunks and frames: their lengths and limits, and the work of a worker that compares their MACs and inflates them.
//!
//! | item | bytes on disk | MAC over |
//! |---|---|---|
//! | chunk size, once | 4, then a MAC if there are MACs | size |
//! | chunk | length 4, data, MAC | data, length, MAC before (at first that of the chunk size) |
//! | frame, chained | length 4, data, MAC | data, length, MAC before (at first 32 zero bytes) |
//! | frame, alone | length 4, data, MAC | data, length |
//! | frame without MAC | length 4, data | |
//!
//! The MAC before a unit is in the file, so each worker can check its units alone. If all match, the chain is whole.

use std::sync::Arc;

use dunnage_digest::Offset;

use crate::{
    Body, Error, Limits, MAC_LEN, Macs, Mode, Part,
    codec::{Corrupt, Inflater, bound, grow},
    error::Hint,
    header::truncated,
    key::{Mac, Running, Tag},
};

/// Payload bytes of one job, if units are smaller than that.
pub(crate) const BATCH: usize = 1 << 20;

/// The properties that all units of a body share.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) macs: Macs,
    pub(crate) mac: Option<Mac>,
    /// The chunk size; `None` for frames.
    pub(crate) chunk_size: Option<u32>,
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
}

impl Rules {
    pub(crate) fn length_part(&self, index: u64) -> Part {
        if self.chunk_size.is_some() { Part::ChunkLength(index) } else { Part::FrameLength(index) }
    }

    pub(crate) fn data_part(&self, index: u64) -> Part {
        if self.chunk_size.is_some() { Part::Chunk(index) } else { Part::Frame(index) }
    }

    pub(crate) fn mac_part(&self, index: u64) -> Part {
        if self.chunk_size.is_some() { Part::ChunkMac(index) } else { Part::FrameMac(index) }
    }

    /// Bytes of MAC after each unit.
    pub(crate) fn mac_len(&self) -> usize {
        if self.mac.is_some() { MAC_LEN } else { 0 }
    }

    /// Refuses a length that no unit can have, before any byte of the unit is read.
    pub(crate) fn check_len(&self, index: u64, at: u64, len: u32) -> Result<(), Error> {
        let part = self.length_part(index);
        let at = Offset::new(at);
        if index > self.limits.units {
            return Err(Error::Limit { part, at, limit: self.limits.units, asked: index });
        }
        if len == 0 {
            return Err(Error::Malformed { part, at, expected: "at least 1".to_owned(), got: "0".to_owned() });
        }
        let limit = match self.chunk_size {
            Some(size) => bound(size.into()),
            None if self.mac.is_some() => self.limits.frame,
            // A frame without a MAC is not kept in memory.
            None => u64::MAX,
        };
        let asked = u64::from(len);
        if asked > limit { Err(Error::Limit { part, at, limit, asked }) } else { Ok(()) }
    }

    /// The most units of one job.
    pub(crate) fn units_per_job(&self) -> usize {
        match self.chunk_size.and_then(|size| usize::try_from(size).ok()) {
            Some(size) => BATCH.checked_div(size).unwrap_or(1).clamp(1, 4096),
            None => 4096,
        }
    }

    /// Bytes on disk at which a job is full.
    pub(crate) fn bytes_per_job(&self) -> usize {
        match self.chunk_size {
            Some(_) => usize::MAX,
            None => BATCH,
        }
    }

    /// The number of jobs in flight that keeps `threads` busy and bounds the memory.
    pub(crate) fn jobs_in_flight(&self, threads: usize) -> usize {
        /// For chunks over this size, one job per thread is enough.
        const LARGE: u64 = 4 << 20;
        let unit = self.chunk_size.map_or(0, u64::from);
        if unit > LARGE { threads } else { threads.saturating_mul(2) }
    }

    /// The MAC of a unit up to its length. A chained MAC still lacks the MAC before.
    fn mac_of(&self, data: &[u8]) -> Option<Running> {
        let mut running = self.mac.as_ref()?.start(data);
        // The length was read from 32 bits, so it fits.
        running.update(&u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes());
        Some(running)
    }
}

/// Parses the start of a deflate body: the chunk size, and the MAC before the first chunk.
pub(crate) fn chunk_size(front: &[u8], at: u64, mac: Option<&Mac>, limits: &Limits) -> Result<(u32, Tag), Error> {
    let Some((size, rest)) = front.split_first_chunk::<4>() else {
        return Err(truncated(Part::ChunkSize, at, 4, front.len() as u64));
    };
    let mut chain = Tag::default();
    if let Some(mac) = mac {
        let mac_at = at.saturating_add(4);
        let short = || truncated(Part::ChunkSizeMac, mac_at, MAC_LEN as u64, rest.len() as u64);
        chain = *rest.first_chunk::<MAC_LEN>().ok_or_else(short)?;
        if !mac.start(size).matches(&chain) {
            let at = Offset::new(mac_at);
            return Err(Error::HashMismatch { part: Part::ChunkSizeMac, at, hint: Hint::None });
        }
    }
    let (value, at, part) = (u32::from_be_bytes(*size), Offset::new(at), Part::ChunkSize);
    if value == 0 {
        return Err(Error::Malformed { part, at, expected: "at least 1".to_owned(), got: "0".to_owned() });
    }
    if u64::from(value) > limits.chunk {
        return Err(Error::Limit { part, at, limit: limits.chunk, asked: value.into() });
    }
    Ok((value, chain))
}

/// Bytes that [`chunk_size`] parses.
pub(crate) const fn chunk_size_len(body: Body) -> usize {
    match body {
        Body::Chunks(Macs::None) => 4,
        Body::Chunks(_) => 4 + MAC_LEN,
        Body::Raw | Body::Frames(_) => 0,
    }
}

/// A unit in the buffer of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unit {
    /// Counted from 1.
    pub(crate) index: u64,
    /// Offset of its length in the file.
    pub(crate) at: u64,
    /// Index of its data in [`Job::wire`]. The MAC follows the data.
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// Consecutive units for a worker, and its buffers.
#[derive(Debug, Default)]
pub(crate) struct Job {
    /// Data and MACs, as in the file.
    pub(crate) wire: Vec<u8>,
    /// Receives the inflated chunks.
    pub(crate) out: Vec<u8>,
    pub(crate) units: Vec<Unit>,
    /// The MAC before the first unit.
    pub(crate) chain: Tag,
}

impl Job {
    /// The data of a unit.
    pub(crate) fn data(&self, unit: &Unit) -> &[u8] {
        let end = unit.start.saturating_add(unit.len);
        self.wire.get(unit.start..end).unwrap_or_default()
    }

    /// The MAC of a unit.
    fn tag(&self, unit: &Unit) -> &[u8] {
        let start = unit.start.saturating_add(unit.len);
        self.wire.get(start..start.saturating_add(MAC_LEN)).unwrap_or_default()
    }
}

/// A job after its worker, with the payload of its units.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) job: Job,
    /// Index of the payload, in `job.out` for chunks and in `job.wire` for frames.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// Whether the payload is in `job.out`.
    pub(crate) in_out: bool,
    /// Index, offset and payload bytes of a chunk that is not full. No chunk may follow it.
    pub(crate) short: Option<(u64, u64, u64)>,
    /// Number of correct units before the first fault.
    pub(crate) right: u64,
    /// Payload bytes of the last correct unit.
    pub(crate) last_len: u64,
    pub(crate) result: Result<(), Error>,
}

impl Done {
    /// The payload of all correct units.
    pub(crate) fn payload(&self) -> &[u8] {
        let bytes = if self.in_out { &self.job.out } else { &self.job.wire };
        bytes.get(self.start..self.end).unwrap_or_default()
    }
}

/// Compares MACs and inflates, for one worker.
pub(crate) struct Checker {
    rules: Arc<Rules>,
    inflater: Inflater,
    inflate: bool,
}

impl Checker {
    pub(crate) fn new(rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), inflater: Inflater::new(), inflate: true }
    }

    /// A checker that compares MACs and does not inflate.
    pub(crate) fn macs_alone(rules: &Arc<Rules>) -> Self {
        Self { rules: Arc::clone(rules), inflater: Inflater::new(), inflate: false }
    }

    /// Checks the units in order and joins their payload. Stops at the first fault.
    pub(crate) fn check(&mut self, mut job: Job) -> Done {
        let in_out = self.rules.chunk_size.is_some();
        let units = std::mem::take(&mut job.units);
        let start = if in_out { 0 } else { units.first().map_or(0, |unit| unit.start) };
        let mut done = Done { job, start, end: start, in_out, short: None, right: 0, last_len: 0, result: Ok(()) };
        for unit in &units {
            let before = done.end;
            let checked = self.unit(&mut done, unit);
            done.job.chain = done.job.tag(unit).first_chunk().copied().unwrap_or_default();
            if let Err(error) = checked {
                done.end = before;
                done.result = Err(error);
                break;
            }
            done.right = done.right.saturating_add(1);
            done.last_len = done.end.saturating_sub(before) as u64;
        }
        done.job.units = units;
        done
    }

    fn unit(&mut self, done: &mut Done, unit: &Unit) -> Result<(), Error> {
        let rules = &self.rules;
        if let Some(mut running) = rules.mac_of(done.job.data(unit)) {
            let alone = running.clone();
            if rules.macs == Macs::Chained {
                running.update(&done.job.chain);
            }
            if !running.matches(done.job.tag(unit)) {
                let tag_at = unit.at.saturating_add(4).saturating_add(unit.len as u64);
                let unchained = rules.macs == Macs::Chained && alone.matches(done.job.tag(unit));
                let hint = if unchained { Hint::NotChained } else { Hint::None };
                return Err(Error::HashMismatch { part: rules.data_part(unit.index), at: Offset::new(tag_at), hint });
            }
        }
        match rules.chunk_size {
            _ if !self.inflate => Ok(()),
            Some(size) => self.chunk(done, unit, size),
            None => {
                // Move the frames of a job together, over lengths and MACs. The first one stays, so a large one never
                // moves.
                let end = done.end.saturating_add(unit.len);
                if unit.start != done.end {
                    let from = unit.start..unit.start.saturating_add(unit.len);
                    if from.end > done.job.wire.len() || end > done.job.wire.len() {
                        return Err(Error::Worker);
                    }
                    done.job.wire.copy_within(from, done.end);
                }
                done.end = end;
                Ok(())
            }
        }
    }

    fn chunk(&mut self, done: &mut Done, unit: &Unit, size: u32) -> Result<(), Error> {
        /// The most bytes that deflate makes of one byte: 258 bytes from 2 bits.
        const MOST: usize = 1032;
        let rules = &self.rules;
        self.not_last(done.short)?;
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        // Allocate no more than the data can fill, whatever chunk size the file declares.
        let room = size.min(unit.len.saturating_mul(MOST).saturating_add(MOST));
        grow(&mut done.job.out, done.end.saturating_add(room));
        let Job { wire, out, .. } = &mut done.job;
        let data = wire.get(unit.start..unit.start.saturating_add(unit.len)).unwrap_or_default();
        let out = out.get_mut(done.end..done.end.saturating_add(room)).unwrap_or_default();
        let lenient = rules.mode == Mode::Lenient;
        let data_at = Offset::new(unit.at.saturating_add(4));
        let wrong = |expected: String, got: &str| Error::Malformed {
            part: rules.data_part(unit.index),
            at: data_at,
            expected,
            got: got.to_owned(),
        };
        let len = self.inflater.inflate(data, out, lenient).map_err(|corrupt| match corrupt {
            Corrupt::Invalid => wrong("a deflate stream".to_owned(), "other bytes"),
            Corrupt::Unfinished => wrong("a whole deflate stream".to_owned(), "one without its end"),
            Corrupt::TooLong => wrong(format!("at most {size} bytes inflated"), "more"),
            Corrupt::Trailing(rest) => {
                let bytes = if rest == 1 { "byte" } else { "bytes" };
                wrong("nothing after the deflate stream".to_owned(), &format!("{rest} {bytes}"))
            }
        })?;
        if len == 0 && !lenient {
            return Err(wrong("at least 1 byte inflated".to_owned(), "0"));
        }
        if len < size {
            done.short = Some((unit.index, unit.at, len as u64));
        }
        done.end = done.end.saturating_add(len);
        Ok(())
    }

    fn not_last(&self, short: Option<(u64, u64, u64)>) -> Result<(), Error> {
        short_before_the_end(&self.rules, short)
    }
}

/// Refuses a short chunk that another one follows.
pub(crate) fn short_before_the_end(rules: &Rules, short: Option<(u64, u64, u64)>) -> Result<(), Error> {
    match short {
        Some((index, at, len)) if rules.mode == Mode::Strict => Err(Error::Malformed {
            part: rules.data_part(index),
            at: Offset::new(at.saturating_add(4)),
            expected: format!("{} bytes inflated, since another chunk follows", rules.chunk_size.unwrap_or(0)),
            got: len.to_string(),
        }),
        _ => Ok(()),
    }
}
