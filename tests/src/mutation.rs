//! Blobs changed in every small way there is, and what a reader makes of each.
//!
//! A subject is a blob that is right. A changed one is opened with the TOC digest of the original, verified, and every file
//! read. A change that is not noticed must not change anything that a reader sees: it then fell on bytes that no digest
//! covers (framing of streams, headers and padding of the tar, which the TOC describes on its own).

use std::{
    any::Any,
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Range,
    panic::catch_unwind,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use dunnage_digest::{Digest, ErrorKind, Progress};
use dunnage_estargz::{Error, Limits, footer::Format, read::find_footer, toc::Toc};

use crate::{
    case::{blob, fixture},
    dump::{Line, dump, first_difference},
    layer,
};

/// The subjects: all formats, both codecs, lossy and lossless, one chunk a stream and several.
pub const SUBJECTS: [&str; 23] = [
    "empty-layer",
    "external-toc",
    "kinds-external",
    "kinds-legacy",
    "kinds-libdeflate",
    "kinds-lossless",
    "kinds-shared",
    "kinds-shared.zst",
    "kinds-storage.zst",
    "kinds-zlib",
    "kinds.zst",
    "lossless",
    "shared-stream",
    "small-level-0",
    "small-storage.zst",
    "small.zst",
    "tree-libdeflate",
    "tree-lossless",
    "tree-shared",
    "tree.zst",
    "two-chunks",
    "two-chunks-legacy",
    "two-chunks.zst",
];

/// A blob that is right, and what a reader sees in it.
#[derive(Debug)]
pub struct Subject {
    name: &'static str,
    /// The blob, and behind it the TOC if that is stored elsewhere.
    bytes: Vec<u8>,
    blob_len: usize,
    format: Format,
    payload_len: usize,
    toc_at: Range<usize>,
    digest: Digest,
    toc: Toc,
    lines: Vec<Line>,
    /// Where streams with content start, in order, and where the last one ends.
    starts: Vec<usize>,
    /// Whether a byte can be changed by none of the masks without being noticed, as far as that was asked.
    covered: Mutex<HashMap<usize, bool>>,
}

/// The masks under which every byte is changed.
pub const MASKS: [u8; 3] = [0x01, 0x80, 0xff];

/// One change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Mutation {
    /// Bits of one byte flipped.
    Flip { at: usize, mask: u8 },
    /// Everything from here on cut off.
    Cut { len: usize },
    /// 512 bytes zeroed.
    Zero { at: usize },
    /// A number of 2, 4 or 8 bytes replaced.
    Set { at: usize, width: usize, value: u64, big_endian: bool },
    /// Two streams that follow each other exchanged.
    Swap { first: usize },
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip { at, mask } => write!(f, "byte {at:#x} ^ {mask:#04x}"),
            Self::Cut { len } => write!(f, "cut to {len} bytes"),
            Self::Zero { at } => write!(f, "512 bytes at {at:#x} zeroed"),
            Self::Set { at, width, value, big_endian } => {
                let order = if *big_endian { "big" } else { "little" };
                write!(f, "{width} bytes at {at:#x} set to {value:#x}, {order} endian")
            }
            Self::Swap { first } => write!(f, "streams {first} and {} exchanged", first + 1),
        }
    }
}

/// How much is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a share or all")]
pub enum Depth {
    /// Every byte, every truncation, every swap; a share of the windows.
    Share,
    /// Also every bit, and every window wherever it starts, in both byte orders.
    Full,
}

/// What became of a changed blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a new outcome has to be counted everywhere")]
pub enum Outcome {
    /// Refused as damage of one sort or another.
    Refused,
    /// Nothing that a reader sees has changed.
    Unnoticed,
    /// It is wrong: what happened.
    Wrong(String),
    /// It took this long, and is otherwise right.
    Slow(Duration),
}

impl Subject {
    /// A subject by its name: a fixture below estargz/, `.esgz` unless it says otherwise.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let is_zstd = name.ends_with(".zst");
        let blob = if is_zstd { fixture(&format!("estargz/{name}")) } else { blob(name) };
        let footer = find_footer(&blob).expect("a subject has a footer");
        let external = (footer.format == Format::ExternalToc).then(|| fixture(&format!("estargz/{name}.esgz.toc")));
        let json = external.as_ref().map_or_else(|| layer::toc_json(&blob), |toc| layer::toc_member_json(toc));
        let toc = Toc::parse(&json, &Limits::default()).expect("a subject has a TOC");
        let reader = layer::open_with(blob.as_slice(), external.clone()).expect("a subject opens");
        let digest = *reader.toc_digest();
        let lines = dump(&reader, &toc, true).expect("a subject can be read");
        let streams = toc.entries.iter().filter(|entry| entry.chunk_digest.is_some());
        let streams: BTreeSet<usize> = streams.map(|entry| entry.offset as usize).collect();
        let blob_len = blob.len();
        let payload_len = footer.payload_len as usize;
        let toc_at = match external {
            Some(_) => blob_len..blob_len + external.as_ref().map_or(0, Vec::len),
            None => footer.toc_at().get() as usize..(footer.toc_at().get() + footer.toc_len()) as usize,
        };
        let bytes = [blob, external.unwrap_or_default()].concat();
        Self {
            name,
            bytes,
            blob_len,
            format: footer.format,
            payload_len,
            toc_at,
            digest,
            toc,
            lines,
            starts: streams.into_iter().chain([payload_len]).collect(),
            covered: Mutex::default(),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// Bytes that can be changed: those of the blob, and of a TOC stored elsewhere.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing to change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// All changes of this depth, in a fixed order.
    pub fn mutations(&self, depth: Depth) -> impl Iterator<Item = Mutation> + '_ {
        let full = depth == Depth::Full;
        let len = self.len();
        let masks = move |at| {
            let bits = (1..7).map(|bit| 1 << bit).take(if full { 6 } else { 0 });
            MASKS.into_iter().chain(bits).map(move |mask| Mutation::Flip { at, mask })
        };
        let orders: &[bool] = if full { &[false, true] } else { &[false] };
        let set = move |at, width| {
            let values = self.boundaries(width).into_iter();
            values.flat_map(move |value| {
                orders.iter().map(move |&big_endian| Mutation::Set { at, width, value, big_endian })
            })
        };
        let windows = [2_usize, 4, 8].into_iter().flat_map(move |width| {
            let places = (0..len.saturating_sub(width)).step_by(if full { 1 } else { width });
            places.flat_map(move |at| set(at, width))
        });
        let zeroed = (0..len).step_by(if full { 1 } else { 64 }).map(|at| Mutation::Zero { at });
        let swaps = (2..self.starts.len()).map(|next| Mutation::Swap { first: next - 2 });
        let cuts = (0..len).map(|len| Mutation::Cut { len });
        // Of the windows, every fourth; of everything else, all.
        let share = windows.step_by(if full { 1 } else { 4 });
        (0..len).flat_map(masks).chain(cuts).chain(zeroed).chain(share).chain(swaps)
    }

    /// Values at the edges of the field's type and of the blob.
    fn boundaries(&self, width: usize) -> [u64; 8] {
        let max = if width == 8 { u64::MAX } else { (1 << (8 * width)) - 1 };
        let len = self.blob_len as u64;
        [0, 1, max / 2, max / 2 + 1, max - 1, max, len & max, (len - 40) & max]
    }

    /// What becomes of the blob with this change; nothing if it changes nothing.
    #[must_use]
    pub fn outcome(&self, mutation: Mutation) -> Option<Outcome> {
        let changed = self.changed(mutation)?;
        let outcome = self.judge(&changed);
        let is_flip = matches!(mutation, Mutation::Flip { .. });
        if is_flip || outcome != Outcome::Unnoticed {
            return Some(outcome);
        }
        // Nobody noticed: then none of the bytes was one whose change is noticed. In front of the TOC it is the content that
        // is covered, and several bytes together may be another way to compress it.
        let same_len = changed.len() == self.bytes.len();
        let places = (self.payload_len..self.bytes.len()).filter(|&at| changed.get(at) != self.bytes.get(at));
        let covered = places.filter(|_| same_len).find(|&at| self.is_covered(at, changed[at]));
        match covered {
            Some(at) => Some(Outcome::Wrong(format!("accepted, though byte {at:#x} is covered"))),
            None if same_len => Some(Outcome::Unnoticed),
            None => Some(Outcome::Wrong("accepted, though something is cut off".to_owned())),
        }
    }

    /// Whether a change of this byte to this value, or by any of the masks, is noticed.
    fn is_covered(&self, at: usize, value: u8) -> bool {
        let known = self.covered.lock().unwrap_or_else(PoisonError::into_inner).get(&at).copied();
        let by_masks = known.unwrap_or_else(|| {
            let noticed = |mask: u8| self.alone(at, self.bytes[at] ^ mask) != Outcome::Unnoticed;
            let all = MASKS.into_iter().all(noticed);
            self.covered.lock().unwrap_or_else(PoisonError::into_inner).insert(at, all);
            all
        });
        by_masks && self.alone(at, value) != Outcome::Unnoticed
    }

    fn alone(&self, at: usize, value: u8) -> Outcome {
        let mut changed = self.bytes.clone();
        changed[at] = value;
        self.judge(&changed)
    }

    /// The changed bytes, if they differ.
    fn changed(&self, mutation: Mutation) -> Option<Vec<u8>> {
        let mut bytes = self.bytes.clone();
        match mutation {
            Mutation::Flip { at, mask } => bytes[at] ^= mask,
            // Without its last bytes: the blob, or the TOC apart.
            Mutation::Cut { len } => bytes.truncate(len),
            Mutation::Zero { at } => {
                let end = bytes.len().min(at + 512);
                bytes[at..end].fill(0);
            }
            Mutation::Set { at, width, value, big_endian } => {
                let value = if big_endian { value << (8 * (8 - width)) } else { value };
                let all = if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
                bytes[at..at + width].copy_from_slice(&all[..width]);
            }
            Mutation::Swap { first } => {
                let [start, middle, end] = [self.starts[first], self.starts[first + 1], self.starts[first + 2]];
                bytes[start..end].rotate_left(middle - start);
            }
        }
        (bytes != self.bytes).then_some(bytes)
    }

    /// The blob, and behind it the TOC if that is stored elsewhere.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What a reader makes of changed bytes.
    #[must_use]
    pub fn judge(&self, bytes: &[u8]) -> Outcome {
        let once = || {
            let start = Instant::now();
            let result = catch_unwind(|| self.read(bytes));
            (result, start.elapsed())
        };
        let (mut result, mut took) = once();
        if took > SLOW {
            // A machine may be busy; an input that is slow is slow again.
            (result, took) = once();
        }
        match result {
            Err(panic) => Outcome::Wrong(format!("a panic: {}", told(panic.as_ref()))),
            Ok(_) if took > SLOW => Outcome::Slow(took),
            Ok(Err(error)) => match error.kind() {
                ErrorKind::Io | ErrorKind::Misuse | ErrorKind::Cancelled => {
                    Outcome::Wrong(format!("an error of the wrong kind, {}: {error}", error.kind()))
                }
                _ => Outcome::Refused,
            },
            Ok(Ok(lines)) if lines == self.lines => Outcome::Unnoticed,
            Ok(Ok(lines)) => {
                Outcome::Wrong(format!("accepted: {}", first_difference(&lines, &self.lines).unwrap_or_default()))
            }
        }
    }

    /// Everything in the blob, if it is accepted as the original.
    fn read(&self, bytes: &[u8]) -> Result<Vec<Line>, Error> {
        let (blob, apart) = bytes.split_at(self.blob_len.min(bytes.len()));
        let external = (self.format == Format::ExternalToc).then(|| apart.to_vec());
        let reader = layer::open_within(blob, external, &Limits::small())?;
        reader.verify_toc(&self.digest)?;
        reader.verify(1, Progress::none())?;
        // A blob that verifies must be readable too.
        Ok(dump(&reader, &self.toc, true).unwrap_or_default())
    }

    /// What part of the blob a position belongs to.
    #[must_use]
    pub fn place(&self, at: usize) -> String {
        let is_gzip = matches!(self.format, Format::Estargz | Format::Stargz | Format::ExternalToc);
        let footer_len = find_footer(&self.bytes[..self.blob_len].to_vec()).map_or(0, |footer| footer.footer_len);
        let footer = self.blob_len - footer_len as usize;
        if self.toc_at.contains(&at) {
            let (byte, left) = (at - self.toc_at.start, self.toc_at.end - at);
            return match (is_gzip, byte, left) {
                (true, 0..10, _) => format!("TOC member, gzip header byte {byte}"),
                (true, _, 1..9) => "TOC member, checksum and length".to_owned(),
                (true, ..) => "TOC member".to_owned(),
                (false, ..) => "TOC frame".to_owned(),
            };
        }
        if at >= footer {
            return format!("footer byte {}", at - footer);
        }
        if at >= self.payload_len {
            let name = if at < self.toc_at.start { "header of the TOC's frame" } else { "tar-split data" };
            return name.to_owned();
        }
        let streams = self.starts.split_last().map_or(&[][..], |(_, streams)| streams);
        let Some(&start) = streams.iter().rev().find(|&&start| start <= at) else {
            return "headers before the first content".to_owned();
        };
        match (is_gzip, at - start) {
            (true, 0..10) => "content member, gzip header".to_owned(),
            (true, _) => "content member, behind the content".to_owned(),
            (false, 0..4) => "content frame, magic".to_owned(),
            (false, _) => "content frame".to_owned(),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("refused"),
            Self::Unnoticed => f.write_str("accepted, nothing changed"),
            Self::Wrong(what) => f.write_str(what),
            Self::Slow(took) => write!(f, "took {took:?}"),
        }
    }
}

/// Longer than any input of this size may take.
const SLOW: Duration = Duration::from_secs(1);

pub(crate) fn told(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("of an unknown sort").to_owned()
}
