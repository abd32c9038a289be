//! Reading an archive entry by entry.
//!
//! | blocks                      | meaning                                                                     |
//! |-----------------------------|-----------------------------------------------------------------------------|
//! | 1 + body, flag `x`          | PAX records for the next entry                                              |
//! | 1 + body, flag `L` or `K`   | GNU: name or link name of the next entry, ended by NUL                      |
//! | 1 + body, flag `g`          | PAX records for all later entries, handed on as an entry of its own         |
//! | 1                           | the entry itself, see `block.rs`                                            |
//! | size / 512, rounded up      | payload and padding                                                         |
//! | 2 of zeros                  | end of the archive; one, or none, and the end of the input will also do     |
//!
//! The facts are those of Go's `archive/tar`, which the layers of this field are written and read with. Where that reader
//! guesses or passes over something, this one refuses: see [`Reader`].
//!
//! Specification: POSIX.1-2001, `pax`; GNU tar manual, "Basic Tar Format".

use std::{
    fmt,
    io::{self, Read},
};

use dunnage_digest::{Cursor, Offset, ReadAt};

use super::{
    EntryType, Format, Header,
    block::{self, BLOCK, Block, Field, Magic},
    encode::padding,
    input::Input,
    malformed, number, pax,
    pax::quote,
    sparse,
};
use crate::{Error, Limits, Mtime, Span, content::prefix};

/// Reads a tar archive from front to back: a header, its payload, the next header.
///
/// Use it for streams, and where each entry is needed once; [`TarTree`](super::TarTree) finds entries by name.
///
/// Reads USTAR, PAX, GNU, star and V7 archives, and sparse files of all GNU formats, whose holes read as zeros. Numbers,
/// names and the detected [`Format`] are those that Go's `archive/tar` finds. The reader refuses archives that are malformed
/// there, and also: payload or padding cut short, maps of sparse files that leave stored bytes over, sparse formats of unknown
/// version, and entries that go on from another volume.
///
/// It reads these as GNU tar and Go do: a size on a link, a device, a directory or a FIFO means nothing. Of two extension
/// headers of one type before an entry, the later one counts; one that no entry follows means nothing. A contiguous file
/// (type `7`) is a file. A file whose name ends with a slash is a directory, and so is type `D` of an incremental archive;
/// a payload of theirs is passed over. Labels of volumes (type `V`) are passed over.
///
/// After an error, every further call fails.
///
/// ```
/// use dunnage_tree::{Limits, tar::{self, Header, Reader}};
///
/// let mut archive = Vec::new();
/// let written = Header { name: b"motd".to_vec(), size: 5, ..Header::default() };
/// tar::encode_header(&written, &mut archive)?;
/// archive.extend_from_slice(b"ahoy\n");
/// archive.resize(archive.len() + 507, 0);
/// archive.extend_from_slice(&tar::END);
///
/// let mut reader = Reader::new(archive.as_slice(), Limits::default());
/// let mut header = Header::default();
/// let mut payload = [0; 16];
/// assert!(reader.next_header(&mut header)?);
/// assert_eq!(header.name, b"motd");
/// assert_eq!(reader.read_payload(&mut payload)?, 5);
/// assert!(!reader.next_header(&mut header)?);
/// # Ok::<(), dunnage_tree::Error>(())
/// ```
pub struct Reader<R> {
    input: Input<R>,
    limits: Limits,
    state: State,
    /// Bytes of payload that are still in the source, and of padding after them.
    stored: u64,
    padding: u64,
    /// Bytes of payload, holes included, and how many of them have been handed out.
    size: u64,
    given: u64,
    payload_at: Offset,
    /// Which parts of a sparse file are stored, and the region of it that comes next.
    map: sparse::Map,
    next_region: usize,
    is_sparse: bool,
    entries: u64,
    unpacked: u64,
    /// `Some` if raw bytes are to be kept.
    raw: Option<Vec<u8>>,
    /// Body of an extension header.
    body: Vec<u8>,
    long_name: Vec<u8>,
    long_link: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Entries,
    End,
    Failed,
}

impl<R: Read> Reader<R> {
    /// A reader over a stream. Headers are read through a buffer of 64 KiB, large payloads are not.
    pub fn new(source: R, limits: Limits) -> Self {
        Self::with_input(Input::stream(source), limits)
    }

    /// Whether the bytes that are not payload are kept for [`raw`](Self::raw). They are not, unless asked for.
    #[must_use]
    pub fn keep_raw(mut self, keep: bool) -> Self {
        self.raw = keep.then(Vec::new);
        self
    }

    /// Steps to the next entry and describes it in `header`, of which nothing old remains; `false` at the end.
    ///
    /// The unread rest of the payload before is passed over. Plain entries cost no allocation once the vectors of `header`
    /// have grown to their names.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails or ends inside an entry, [`Error::Malformed`] for bytes that contradict the
    /// format, [`Error::Unsupported`] for parts of files from other volumes and unknown versions of sparse files,
    /// [`Error::Limit`] beyond the limits. Never panics, whatever the bytes.
    pub fn next_header(&mut self, header: &mut Header) -> Result<bool, Error> {
        match self.state {
            State::Entries => {}
            State::End => return Ok(false),
            State::Failed => return Err(self.refusal()),
        }
        let result = self.advance(header);
        self.state = match result {
            Ok(true) => State::Entries,
            Ok(false) => State::End,
            Err(_) => State::Failed,
        };
        result
    }

    /// Reads payload of the current entry until `buf` is full or the payload ends; the number of bytes read.
    ///
    /// Holes of sparse files read as zeros. Entries of unknown type have the payload that their size speaks of.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails or ends before the payload does.
    pub fn read_payload(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if self.state == State::Failed {
            return Err(self.refusal());
        }
        let result = self.fill_from_payload(buf);
        if result.is_err() {
            self.state = State::Failed;
        }
        result
    }

    /// The span at the current position of the payload; `None` at its end.
    ///
    /// A hole is passed over by this call. Data is not: the caller reads it with [`read_payload`](Self::read_payload), and
    /// a call in the middle of data returns the rest of it. Payloads that are not sparse are one span.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] after an earlier error.
    pub fn next_span(&mut self) -> Result<Option<Span>, Error> {
        if self.state == State::Failed {
            return Err(self.refusal());
        }
        let span = self.span();
        if let Some(Span::Hole(len)) = span {
            self.given = self.given.saturating_add(len);
        }
        Ok(span)
    }

    /// The bytes consumed since the payload of the entry before: its padding, extension headers, the header block.
    ///
    /// After the end: the last padding and the blocks of zeros. With all payloads read, and nothing sparse among them,
    /// the raw bytes, the payloads and [trailing bytes](Self::read_trailing) make up the input bit for bit. Empty unless
    /// [kept](Self::keep_raw).
    #[must_use]
    pub fn raw(&self) -> &[u8] {
        self.raw.as_deref().unwrap_or_default()
    }

    /// Reads bytes of the source after the end of the archive; 0 when there are no more.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source fails, or if the end has not been reached yet.
    pub fn read_trailing(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let what = "bytes after the end of the archive";
        if self.state != State::End {
            let source = io::Error::other("the end has not been reached");
            return Err(Error::Read { what, at: self.position(), source });
        }
        self.input.read_some(buf, what)
    }

    /// Position in the source of the next byte to be consumed.
    #[must_use]
    pub fn position(&self) -> Offset {
        self.input.position()
    }

    /// Where the payload of the current entry starts in the source. Of a sparse file, these bytes are not the content.
    #[must_use]
    pub const fn payload_offset(&self) -> Offset {
        self.payload_at
    }

    /// Which parts of the current entry are stored, if it is sparse.
    pub(super) const fn map(&self) -> &sparse::Map {
        &self.map
    }

    fn with_input(input: Input<R>, limits: Limits) -> Self {
        Self {
            input,
            limits,
            state: State::Entries,
            stored: 0,
            padding: 0,
            size: 0,
            given: 0,
            payload_at: Offset::ZERO,
            map: sparse::Map::default(),
            next_region: 0,
            is_sparse: false,
            entries: 0,
            unpacked: 0,
            raw: None,
            body: Vec::new(),
            long_name: Vec::new(),
            long_link: Vec::new(),
        }
    }

    fn advance(&mut self, header: &mut Header) -> Result<bool, Error> {
        self.finish_entry()?;
        header.pax.clear();
        self.long_name.clear();
        self.long_link.clear();
        let mut format = Formats::ALL;
        loop {
            let at = self.input.position();
            let Some(block) = self.next_block()? else { return Ok(false) };
            let parsed = parse_block(&block, at, header)?;
            let size = u64::try_from(parsed.size)
                .map_err(|_| malformed("tar header size", at, "a number from 0 on", parsed.size))?;
            format = format.and(parsed.format);
            match parsed.flag {
                b'x' | b'g' => {
                    format = format.and(Formats::PAX);
                    let body_at = self.read_extension(size)?;
                    header.pax.clear();
                    pax::parse_records(&self.body, body_at, &mut header.pax)?;
                    if parsed.flag == b'g' {
                        return self.finish_global(header, format, at);
                    }
                }
                flag @ (b'L' | b'K') => {
                    format = format.and(Formats::GNU);
                    self.read_extension(size)?;
                    let long = if flag == b'L' { &mut self.long_name } else { &mut self.long_link };
                    replace(long, block::until_nul(&self.body));
                }
                b'V' => {
                    self.charge(0)?;
                    self.read_extension(size)?;
                    header.pax.clear();
                    self.long_name.clear();
                    self.long_link.clear();
                    format = Formats::ALL;
                }
                _ => {
                    self.finish_header(header, &block, parsed, at)?;
                    header.format = format.guess();
                    return Ok(true);
                }
            }
        }
    }

    /// Passes over the rest of the current entry.
    fn finish_entry(&mut self) -> Result<(), Error> {
        if let Some(raw) = &mut self.raw {
            raw.clear();
            self.input.skip(self.stored, "payload")?;
            read_into(&mut self.input, raw, self.padding, "padding of a payload")?;
        } else {
            self.input.skip(self.stored, "payload")?;
            self.input.skip(self.padding, "padding of a payload")?;
        }
        (self.stored, self.padding, self.size, self.given) = (0, 0, 0, 0);
        self.is_sparse = false;
        Ok(())
    }

    /// The next header block; `None` at the end of the archive.
    fn next_block(&mut self) -> Result<Option<Block>, Error> {
        let Some(block) = self.input.block("tar header")? else { return Ok(None) };
        self.keep(&block);
        if block != [0; BLOCK] {
            return Ok(Some(block));
        }
        let at = self.input.position();
        let Some(second) = self.input.block("second block of zeros")? else { return Ok(None) };
        self.keep(&second);
        if second != [0; BLOCK] {
            return Err(malformed("end of the archive", at, "a second block of zeros", "other bytes"));
        }
        Ok(None)
    }

    /// Reads the body of an extension header and the padding after it; where the body starts.
    fn read_extension(&mut self, size: u64) -> Result<Offset, Error> {
        let limit = self.limits.tar_extension;
        if size > limit {
            return Err(Error::Limit { what: "bytes of a tar extension header", limit, asked: size });
        }
        let at = self.input.position();
        self.body.clear();
        read_into(&mut self.input, &mut self.body, size, "tar extension header")?;
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(&self.body);
            read_into(&mut self.input, raw, padding(size), "padding of a tar extension header")?;
        } else {
            self.input.skip(padding(size), "padding of a tar extension header")?;
        }
        Ok(at)
    }

    fn finish_global(&mut self, header: &mut Header, format: Formats, at: Offset) -> Result<bool, Error> {
        pax::apply(header, &mut 0, at)?;
        // Only the name and the records of such a header mean anything.
        let (name, pax) = (std::mem::take(&mut header.name), std::mem::take(&mut header.pax));
        *header = Header { name, pax, entry: EntryType::GlobalExtension, format: format.guess(), ..Header::default() };
        pax::check_xattrs(header, &self.limits)?;
        self.charge(0)?;
        self.payload_at = self.input.position();
        Ok(true)
    }

    /// Applies the extensions to `header`, whose main block starts at `at`, and sets up its payload.
    fn finish_header(&mut self, header: &mut Header, block: &Block, parsed: Parsed, at: Offset) -> Result<(), Error> {
        let mut size = parsed.size;
        if !header.pax.is_empty() {
            pax::apply(header, &mut size, at)?;
            pax::check_xattrs(header, &self.limits)?;
        }
        if !self.long_name.is_empty() {
            header.name.clone_from(&self.long_name);
        }
        if !self.long_link.is_empty() {
            header.link.clone_from(&self.long_link);
        }
        header.entry = match parsed.flag {
            0 | b'0' | b'7' if header.name.ends_with(b"/") => EntryType::Directory,
            0 | b'7' | b'S' => EntryType::File,
            b'D' => EntryType::Directory,
            b'M' => {
                let got = quote(&header.name);
                return Err(Error::Unsupported { what: "continuation of a file from another volume", at, got });
            }
            flag => EntryType::from_flag(flag),
        };
        let Ok(stored) = u64::try_from(size) else {
            return Err(malformed("size of a tar entry", at, "a number from 0 on", size));
        };
        // What these types are followed by is the next header, whatever they say.
        let has_no_payload = matches!(parsed.flag, b'1'..=b'6');
        let stored = if has_no_payload { 0 } else { stored };
        let mut full = self.read_map(header, block, stored, at)?;
        if header.entry == EntryType::Directory {
            full = 0;
        }
        self.payload_at = self.input.position();
        self.padding = padding(stored);
        if header.entry == EntryType::Directory && self.raw.is_some() {
            // No caller reads this payload, so it is kept with the header.
            let payload = std::mem::take(&mut self.stored);
            self.read_extension(payload)?;
            self.padding = 0;
        }
        self.size = full;
        header.size = full;
        header.sparse = self.is_sparse;
        self.charge(full)
    }

    /// Reads the map of a sparse file, if it is one; the size with holes.
    fn read_map(&mut self, header: &mut Header, block: &Block, stored: u64, at: Offset) -> Result<u64, Error> {
        self.stored = stored;
        if *block::FLAG.of(block) != *b"S" && header.pax.is_empty() {
            return Ok(stored);
        }
        self.map.clear();
        self.next_region = 0;
        let (input, limits, raw) = (&mut self.input, &self.limits, self.raw.as_mut());
        let mut entry = sparse::Entry { input, limits, raw, at, stored };
        let full = if block::FLAG.of(block) == b"S" {
            Some(entry.read_old(block, &mut self.map)?)
        } else {
            entry.read_pax(header, &mut self.map)?
        };
        self.stored = entry.stored;
        self.is_sparse = full.is_some();
        Ok(full.unwrap_or(stored))
    }

    /// Counts an entry with `size` bytes against the limits.
    fn charge(&mut self, size: u64) -> Result<(), Error> {
        self.entries = self.entries.saturating_add(1);
        if self.entries > self.limits.entries {
            return Err(Error::Limit { what: "tar entries", limit: self.limits.entries, asked: self.entries });
        }
        let total = self.unpacked.checked_add(size);
        self.unpacked = total.filter(|total| *total <= self.limits.unpacked).ok_or(Error::Limit {
            what: "bytes of all files of a tar archive",
            limit: self.limits.unpacked,
            asked: total.unwrap_or(u64::MAX),
        })?;
        Ok(())
    }

    /// The span at the position; `None` at the end of the payload.
    fn span(&mut self) -> Option<Span> {
        let left = self.size.saturating_sub(self.given);
        if left == 0 {
            None
        } else if self.is_sparse {
            Some(self.map.span(self.given, self.size, &mut self.next_region))
        } else {
            Some(Span::Data(left))
        }
    }

    fn fill_from_payload(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0_usize;
        loop {
            let rest = buf.get_mut(filled..).unwrap_or_default();
            let Some(span) = self.span().filter(|_| !rest.is_empty()) else { return Ok(filled) };
            let got = match span {
                Span::Data(len) => {
                    let part = prefix(rest, len);
                    let got = self.input.read_some(part, "payload")?;
                    if got == 0 {
                        let at = self.input.position();
                        return Err(Error::Read { what: "payload", at, source: io::ErrorKind::UnexpectedEof.into() });
                    }
                    self.stored = self.stored.saturating_sub(got as u64);
                    got
                }
                Span::Hole(len) => {
                    let part = prefix(rest, len);
                    part.fill(0);
                    part.len()
                }
            };
            filled = filled.saturating_add(got);
            self.given = self.given.saturating_add(got as u64);
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        if let Some(raw) = &mut self.raw {
            raw.extend_from_slice(bytes);
        }
    }

    fn refusal(&self) -> Error {
        let source = io::Error::other("an earlier error ended the archive");
        Error::Read { what: "tar archive", at: self.position(), source }
    }
}

impl<R: ReadAt> Reader<Cursor<R>> {
    /// A reader over a source with random access: payloads that the caller does not read are stepped over.
    ///
    /// Headers cost one read of at most 4 KiB per entry, fewer if entries are small.
    ///
    /// # Errors
    ///
    /// [`Error::Read`] if the source cannot tell its size.
    pub fn over(source: R, limits: Limits) -> Result<Self, Error> {
        Ok(Self::with_input(Input::over(source)?, limits))
    }
}

/// Reads the payload of the current entry, as [`Reader::read_payload`] does.
impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_payload(buf).map_err(io::Error::from)
    }
}

impl<R> fmt::Debug for Reader<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Reader");
        debug.field("state", &self.state).field("entries", &self.entries).field("payload_at", &self.payload_at);
        debug.field("size", &self.size).field("given", &self.given).finish_non_exhaustive()
    }
}

/// Formats an entry can be in, given all blocks seen of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Formats(u8);

impl Formats {
    const NONE: Self = Self(0);
    const PAX: Self = Self(2);
    const USTAR_OR_PAX: Self = Self(3);
    const GNU: Self = Self(4);
    const ALL: Self = Self(7);

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// The format, if one is left. An entry that could be USTAR or PAX is USTAR, since PAX entries have records.
    const fn guess(self) -> Format {
        match self {
            Self::USTAR_OR_PAX => Format::Ustar,
            Self::PAX => Format::Pax,
            Self::GNU => Format::Gnu,
            _ => Format::Unknown,
        }
    }
}

/// The fields of a header block that do not go into the `Header` as they are.
#[derive(Clone, Copy, Debug)]
struct Parsed {
    flag: u8,
    size: i64,
    format: Formats,
}

/// Reads the block at `at` into all fields of `header` but the type, the sizes, the records and the format.
fn parse_block(block: &Block, at: Offset, header: &mut Header) -> Result<Parsed, Error> {
    check_sum(block, at)?;
    fn number<const N: usize>(field: Field<N>, part: &'static str, block: &Block, at: Offset) -> Result<i64, Error> {
        field.number(block).ok_or_else(|| malformed(part, at, "an octal or base-256 number", quote(field.of(block))))
    }
    let [flag] = *block::FLAG.of(block);
    let mut format = Formats::NONE;
    let size = number(block::SIZE, "tar header size", block, at)?;
    header.mode = number(block::MODE, "tar header mode", block, at)?;
    header.uid = number(block::UID, "tar header uid", block, at)?;
    header.gid = number(block::GID, "tar header gid", block, at)?;
    header.mtime = Some(moment(number(block::MTIME, "tar header mtime", block, at)?));
    (header.atime, header.ctime) = (None, None);
    header.name.clear();
    replace(&mut header.link, block::LINK.text(block));
    let magic = Magic::of(block);
    if magic == Magic::V7 {
        header.user.clear();
        header.group.clear();
        header.device = (0, 0);
    } else {
        replace(&mut header.user, block::USER.text(block));
        replace(&mut header.group, block::GROUP.text(block));
        let major = number(block::MAJOR, "tar header devmajor", block, at)?;
        header.device = (major, number(block::MINOR, "tar header devminor", block, at)?);
    }
    let mut prefix = &[][..];
    match magic {
        Magic::V7 => {}
        Magic::Ustar => {
            prefix = block::PREFIX.text(block);
            if block::is_strict_ustar(block) {
                format = Formats::USTAR_OR_PAX;
            }
        }
        Magic::Star => {
            prefix = block::STAR_PREFIX.text(block);
            header.atime = Some(moment(number(block::STAR_ATIME, "tar header atime", block, at)?));
            header.ctime = Some(moment(number(block::STAR_CTIME, "tar header ctime", block, at)?));
        }
        Magic::Gnu => {
            let time = |field: Field<12>| match field.of(block) {
                [0, ..] => Some(None),
                text => number::parse(text).map(|secs| Some(moment(secs))),
            };
            if let Some((atime, ctime)) = time(block::GNU_ATIME).zip(time(block::GNU_CTIME)) {
                (header.atime, header.ctime) = (atime, ctime);
                format = Formats::GNU;
            } else if block::PREFIX.text(block).is_ascii() {
                // Go before 1.8 wrote the prefix of USTAR, which GNU does not have, over these two times.
                prefix = block::PREFIX.text(block);
            }
        }
    }
    if !prefix.is_empty() {
        header.name.extend_from_slice(prefix);
        header.name.push(b'/');
    }
    header.name.extend_from_slice(block::NAME.text(block));
    Ok(Parsed { flag, size, format })
}

/// Whether `block` is the header of a tar entry by its checksum: bytes that begin so are a tar, whatever is wrong later.
#[must_use]
pub fn is_header(block: &[u8; 512]) -> bool {
    check_sum(block, Offset::ZERO).is_ok()
}

fn check_sum(block: &Block, at: Offset) -> Result<(), Error> {
    let field = block::CHECKSUM.of(block);
    let (unsigned, signed) = block::checksums(block);
    match number::parse_octal(field) {
        Some(sum) if sum == i64::from(unsigned) || sum == i64::from(signed) => Ok(()),
        Some(sum) => Err(malformed("tar header checksum", at, unsigned, sum)),
        None => Err(malformed("tar header checksum", at, unsigned, quote(field))),
    }
}

const fn moment(secs: i64) -> Mtime {
    Mtime { secs, nanos: 0 }
}

fn replace(text: &mut Vec<u8>, with: &[u8]) {
    text.clear();
    text.extend_from_slice(with);
}

/// Appends the next `len` bytes, of which the caller knows that they are few.
fn read_into<R: Read>(input: &mut Input<R>, to: &mut Vec<u8>, len: u64, what: &'static str) -> Result<(), Error> {
    let start = to.len();
    // A length that no memory could hold would have been over every limit.
    let len = usize::try_from(len).unwrap_or(usize::MAX);
    to.resize(start.saturating_add(len), 0);
    input.read_exact(to.get_mut(start..).unwrap_or_default(), what)
}
