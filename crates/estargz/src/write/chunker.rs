//! Where the content of a file is cut into chunks, as containers/storage does it: by what the content is, so that the same
//! run of bytes makes the same chunk wherever it comes up.
//!
//! | chunk ends                  | because                                                                       |
//! |-----------------------------|-------------------------------------------------------------------------------|
//! | after a byte                | the low 16 bits of the rolling sum over the last 64 bytes are all ones         |
//! | before and after a hole     | 1024 zeros or more are a chunk of their own, however many they are             |
//! | after 64 MiB                | ours alone: readers hold whole chunks. The reference knows no maximum          |
//! | at the end of the file      |                                                                               |
//!
//! The rolling sum runs through the whole file: it starts anew at none of these. The zeros of a hole are rolled too, and
//! split nothing. Specification: eStargz, section 2.3.

use std::{io::Read, ops::Range};

use crate::Error;

/// Zeros that make a hole.
const HOLE: usize = 1024;
/// Bytes that the rolling sum looks back.
const WINDOW: usize = 64;
/// Added to each byte of the window.
const BIAS: u32 = 31;
/// How much less each byte weighs when it leaves the window than when it came.
const WEIGHT: u32 = 64;
/// A chunk ends where these bits of the sum are all ones.
const SPLIT: u32 = 0xffff;
/// Bytes of content that are looked at together.
const BUFFER: usize = 256 << 10;
/// The longest chunk that is no hole.
const MAX_DATA: u64 = 64 << 20;

/// The sum of the last 64 bytes, and their sum weighted by age, as bup has it.
#[derive(Clone, Debug)]
struct Rolling {
    sum: u32,
    weighted: u32,
    /// The last bytes, the oldest first.
    window: [u8; WINDOW],
}

impl Rolling {
    const fn new() -> Self {
        let sum = BIAS.wrapping_mul(WEIGHT);
        Self { sum, weighted: sum.wrapping_mul(WEIGHT.wrapping_sub(1)), window: [0; WINDOW] }
    }

    /// Takes bytes until a chunk ends behind one of them; how many were taken, and whether it does.
    fn roll(&mut self, bytes: &[u8]) -> (usize, bool) {
        let (mut sum, mut weighted) = (self.sum, self.weighted);
        let mut step = |new: u8, old: u8| {
            let old = u32::from(old);
            sum = sum.wrapping_add(u32::from(new)).wrapping_sub(old);
            let dropped = old.wrapping_add(BIAS).wrapping_mul(WEIGHT);
            weighted = weighted.wrapping_add(sum).wrapping_sub(dropped);
            weighted & SPLIT == SPLIT
        };
        let near = bytes.iter().zip(self.window).position(|(&new, old)| step(new, old));
        // Further on, the window is what was just rolled.
        let mut far = || bytes.iter().skip(WINDOW).zip(bytes).position(|(&new, &old)| step(new, old));
        let found = near.or_else(|| far().map(|at| at.saturating_add(WINDOW)));
        let taken = found.map_or(bytes.len(), |at| at.saturating_add(1));
        (self.sum, self.weighted) = (sum, weighted);
        self.remember(bytes.get(..taken).unwrap_or_default());
        (taken, found.is_some())
    }

    fn remember(&mut self, bytes: &[u8]) {
        match bytes.last_chunk() {
            Some(last) => self.window = *last,
            None => {
                self.window.rotate_left(bytes.len());
                let start = WINDOW.saturating_sub(bytes.len());
                self.window.iter_mut().skip(start).zip(bytes).for_each(|(to, from)| *to = *from);
            }
        }
    }
}

/// How content is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// By what it is.
    ByContent,
    /// Into chunks of this many bytes, zeros or not.
    Every(u64),
}

/// Some bytes of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) bytes: &'a [u8],
    /// Whether the chunk is a hole.
    pub(super) zeros: bool,
    /// Whether the chunk ends here. The last piece of a chunk is never empty.
    pub(super) ends: bool,
}

/// Cuts the content of one file after the other. Where it cuts depends on the content alone, and not on how it arrives.
#[derive(Debug)]
pub(super) struct Chunker {
    cut: Cut,
    buffer: Vec<u8>,
    /// What of the buffer is still to be handed out.
    left: Range<usize>,
    /// Bytes of the file that have not been read yet.
    unread: u64,
    rolling: Rolling,
    /// Bytes of the open chunk so far.
    open: u64,
    /// Whether that chunk is a hole.
    in_hole: bool,
    /// The next hole in the buffer, if it was looked for.
    hole: Option<Range<usize>>,
}

impl Chunker {
    pub(super) fn new(cut: Cut) -> Self {
        Self {
            cut,
            buffer: Vec::new(),
            left: 0..0,
            unread: 0,
            rolling: Rolling::new(),
            open: 0,
            in_hole: false,
            hole: None,
        }
    }

    /// Begins a file of `size` bytes.
    pub(super) fn start(&mut self, size: u64) {
        (self.left, self.unread) = (0..0, size);
        self.rolling = Rolling::new();
        (self.open, self.in_hole, self.hole) = (0, false, None);
    }

    /// Whether all of the file has been handed out.
    pub(super) fn is_done(&self) -> bool {
        self.unread == 0 && self.left.is_empty()
    }

    /// The next piece of the file, which is read from `content`; `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Input`] if `content` fails or ends before the file does.
    pub(super) fn next(&mut self, content: &mut dyn Read) -> Result<Option<Piece<'_>>, Error> {
        if self.is_done() {
            return Ok(None);
        }
        let (range, zeros, ends) = match self.cut {
            Cut::Every(size) => self.next_fixed(size, content)?,
            Cut::ByContent => self.next_by_content(content)?,
        };
        self.left.start = range.end;
        let ends = ends || self.is_done();
        self.open = if ends { 0 } else { self.open.saturating_add(range.len() as u64) };
        self.in_hole = zeros && !ends;
        Ok(Some(Piece { bytes: self.buffer.get(range).unwrap_or_default(), zeros, ends }))
    }

    fn next_fixed(&mut self, size: u64, content: &mut dyn Read) -> Result<(Range<usize>, bool, bool), Error> {
        if self.left.is_empty() {
            self.fill(content)?;
        }
        let room = size.saturating_sub(self.open);
        let len = usize::try_from(room).unwrap_or(usize::MAX).min(self.left.len());
        let end = self.left.start.saturating_add(len);
        Ok((self.left.start..end, false, len as u64 == room))
    }

    fn next_by_content(&mut self, content: &mut dyn Read) -> Result<(Range<usize>, bool, bool), Error> {
        loop {
            let hole = match self.hole.clone().filter(|hole| hole.start >= self.left.start) {
                Some(hole) => hole,
                None => self.find_hole(),
            };
            self.hole = Some(hole.clone());
            let is_last = self.unread == 0;
            if hole.start == self.left.start && (self.in_hole || hole.len() >= HOLE) {
                // Unless the file ends, the last byte waits: only with the next one is it known whether the hole ends.
                let (end, ends) = match hole.end == self.left.end && !is_last {
                    true => (hole.end.saturating_sub(1), false),
                    false => (hole.end, true),
                };
                if end > hole.start {
                    self.rolling = Rolling::new();
                    self.hole = None;
                    return Ok((hole.start..end, true, ends));
                }
            } else {
                // Zeros at the end of the buffer wait, since they may become a hole, and with them the byte in front, which
                // would then be the last one of its chunk.
                let undecided = hole.len() < HOLE;
                let end = match undecided {
                    true if is_last => self.left.end,
                    true => hole.start.saturating_sub(1),
                    false => hole.start,
                };
                let room = usize::try_from(MAX_DATA.saturating_sub(self.open)).unwrap_or(usize::MAX);
                let data = self.buffer.get(self.left.start..end).unwrap_or_default();
                let data = data.get(..room).unwrap_or(data);
                if !data.is_empty() {
                    let (taken, split) = self.rolling.roll(data);
                    let stop = self.left.start.saturating_add(taken);
                    let is_full = taken == room;
                    let at_hole = stop == hole.start && !undecided;
                    return Ok((self.left.start..stop, false, split || is_full || at_hole));
                }
            }
            self.fill(content)?;
        }
    }

    /// The first hole in the buffer, or else the zeros at its end.
    fn find_hole(&self) -> Range<usize> {
        let bytes = self.buffer.get(self.left.clone()).unwrap_or_default();
        let zeros_in_front = |end: usize| {
            let front = bytes.get(..end).unwrap_or_default();
            front.iter().rev().take_while(|&&byte| byte == 0).count()
        };
        let zeros_from =
            |start: usize| bytes.get(start..).unwrap_or_default().iter().take_while(|&&byte| byte == 0).count();
        let found = |range: Range<usize>| {
            let shift = |at: usize| self.left.start.saturating_add(at);
            shift(range.start)..shift(range.end)
        };
        if self.in_hole {
            return found(0..zeros_from(0));
        }
        // Every hole has a byte at one of these places.
        for at in (HOLE.saturating_sub(1)..bytes.len()).step_by(HOLE) {
            if bytes.get(at) != Some(&0) {
                continue;
            }
            let start = at.saturating_sub(zeros_in_front(at));
            let end = at.saturating_add(zeros_from(at));
            if end.saturating_sub(start) >= HOLE {
                return found(start..end);
            }
        }
        let end = bytes.len();
        found(end.saturating_sub(zeros_in_front(end))..end)
    }

    /// Moves the rest to the front of the buffer and reads as much as there is room for.
    fn fill(&mut self, content: &mut dyn Read) -> Result<(), Error> {
        let left = self.left.len();
        self.buffer.copy_within(self.left.clone(), 0);
        let room = BUFFER.saturating_sub(left);
        let more = usize::try_from(self.unread).unwrap_or(usize::MAX).min(room);
        let end = left.saturating_add(more);
        if self.buffer.len() < end {
            self.buffer.resize(end, 0);
        }
        let to = self.buffer.get_mut(left..end).unwrap_or_default();
        content.read_exact(to).map_err(|source| Error::Input { source })?;
        self.unread = self.unread.saturating_sub(more as u64);
        (self.left, self.hole) = (0..end, None);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Where the chunks of `content` end, and whether they are holes.
    fn cuts(cut: Cut, content: &[u8]) -> Vec<(u64, bool)> {
        let mut chunker = Chunker::new(cut);
        // Used twice: nothing of a file may stay behind.
        chunker.start(5);
        while chunker.next(&mut &[1, 2, 3, 0, 0][..]).unwrap().is_some() {}
        chunker.start(content.len() as u64);
        let (mut rest, mut at, mut found, mut got) = (content, 0, Vec::new(), Vec::new());
        let mut ended = true;
        while let Some(piece) = chunker.next(&mut rest).unwrap() {
            assert!(!piece.bytes.is_empty());
            got.extend_from_slice(piece.bytes);
            at += piece.bytes.len() as u64;
            ended = piece.ends;
            if ended {
                found.push((at, piece.zeros));
            }
        }
        assert!(ended && got == content);
        found
    }

    /// The same in the plainest way: byte by byte, with every run of zeros counted.
    fn plainly(content: &[u8]) -> Vec<(u64, bool)> {
        let (mut window, mut s1, mut s2) = ([0_u8; 64], 64 * 31_u32, 64 * 63 * 31_u32);
        let (mut found, mut open, mut at) = (Vec::new(), 0, 0);
        let mut roll = |at: usize| {
            let old = std::mem::replace(&mut window[at % 64], content[at]);
            s1 = s1.wrapping_add(u32::from(content[at])).wrapping_sub(u32::from(old));
            s2 = s2.wrapping_add(s1).wrapping_sub(64 * (u32::from(old) + 31));
            s2 & 0xffff == 0xffff
        };
        while at < content.len() {
            let zeros = content[at..].iter().take_while(|&&byte| byte == 0).count();
            if zeros >= 1024 {
                if open < at {
                    found.push((at as u64, false));
                }
                for at in at..at + zeros {
                    roll(at);
                }
                at += zeros;
                open = at;
                found.push((at as u64, true));
                continue;
            }
            for _ in 0..zeros.max(1) {
                let split = roll(at);
                at += 1;
                if split || at - open == MAX_DATA as usize {
                    open = at;
                    found.push((at as u64, false));
                }
            }
        }
        if open < at {
            found.push((at as u64, false));
        }
        found
    }

    fn noise(seed: u64, len: usize) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 24) as u8
        };
        (0..len).map(step).collect()
    }

    /// xorshift32, one byte a step: the content whose cuts the other implementation was asked for.
    fn shifted(seed: u32, len: usize) -> Vec<u8> {
        let mut state = seed;
        let step = |_| {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            (state >> 24) as u8
        };
        (0..len).map(step).collect()
    }

    const VECTOR_NOISE: [(u64, bool); 8] = [
        (36_948, false),
        (80_609, false),
        (270_900, false),
        (316_431, false),
        (322_400, false),
        (364_566, false),
        (378_784, false),
        (400_000, false),
    ];
    const VECTOR_HOLES: [(u64, bool); 7] = [
        (40_770, false),
        (45_779, false),
        (92_256, false),
        (100_000, false),
        (105_001, true),
        (122_260, false),
        (136_024, false),
    ];

    #[test]
    fn content_is_cut_where_the_reference_cuts_it() {
        // By containers/storage 1.64.2, for these very bytes.
        for (content, wanted) in [
            (shifted(1, 400_000), VECTOR_NOISE.as_slice()),
            ([shifted(2, 100_000), vec![0; 5000], shifted(3, 30_000), vec![0; 1023], vec![7]].concat(), &VECTOR_HOLES),
            (vec![0; 1024], &[(1024, true)]),
            (vec![0; 1023], &[(1023, false)]),
        ] {
            assert_eq!(cuts(Cut::ByContent, &content), wanted);
        }
    }

    #[test]
    fn holes_and_buffers_may_meet_anywhere() {
        for before in [0, 1, 63, 64, 1023, 1024, 70_000] {
            for zeros in [1, 64, 1022, 1023, 1024, 1025, 300_000, 600_000] {
                for after in [0, 1, 65, 1024] {
                    let content = [noise(1, before), vec![0; zeros], noise(2, after)].concat();
                    assert_eq!(cuts(Cut::ByContent, &content), plainly(&content), "{before} {zeros} {after}");
                }
            }
        }
        for shift in [-2100, -1025, -1024, -1023, -2, -1, 0, 1, 2, 1023] {
            let before = BUFFER.checked_add_signed(shift).unwrap();
            for zeros in [1, 1023, 1024, 2000] {
                let content = [noise(3, before), vec![0; zeros], noise(4, 2000)].concat();
                assert_eq!(cuts(Cut::ByContent, &content), plainly(&content), "{shift} {zeros}");
            }
        }
        // Many runs of nearly a hole, and of exactly one.
        let runs: Vec<u8> = (1..600).flat_map(|n| [vec![0; 900 + n % 200], noise(n as u64, n % 7)].concat()).collect();
        assert_eq!(cuts(Cut::ByContent, &runs), plainly(&runs));
        let many = noise(5, 3 << 20);
        assert_eq!(cuts(Cut::ByContent, &many), plainly(&many));
        assert!(plainly(&many).len() > 20);
    }

    #[test]
    fn a_chunk_is_never_larger_than_a_reader_holds() {
        let content = vec![1; (MAX_DATA + 5) as usize];
        assert_eq!(cuts(Cut::ByContent, &content), [(MAX_DATA, false), (MAX_DATA + 5, false)]);
    }

    #[test]
    fn chunks_of_a_fixed_size_take_holes_as_they_come() {
        let content = vec![0; 700_000];
        let wanted = [(300_000, false), (600_000, false), (700_000, false)];
        assert_eq!(cuts(Cut::Every(300_000), &content), wanted);
        assert_eq!(cuts(Cut::Every(4 << 20), &content), [(700_000, false)]);
        assert_eq!(cuts(Cut::Every(350_000), &content), [(350_000, false), (700_000, false)]);
    }

    #[test]
    fn content_that_ends_early_is_an_error() {
        let mut chunker = Chunker::new(Cut::ByContent);
        chunker.start(10);
        assert!(matches!(chunker.next(&mut &[1, 2, 3][..]), Err(Error::Input { .. })));
    }
}
