//! Writing the header of an entry, byte for byte as Go's `archive/tar` does.
//!
//! | format | before the block, each with its own header block and padding                                  |
//! |--------|------------------------------------------------------------------------------------------------|
//! | USTAR  | nothing                                                                                        |
//! | PAX    | `x`, named `<dir>/PaxHeaders.0/<base>`: records, sorted by key, if there are any                |
//! | GNU    | `././@LongLink` with `L`, then with `K`: names over 100 bytes, ended by NUL                     |
//!
//! The block itself then holds the values that fit: in PAX, the ASCII part of a text, cut off, and 0 for numbers that do not
//! fit; in GNU, base-256 numbers.
//!
//! This is the order and the choice of tar-split's copy of that library (0.12), which the reference writer of lossy eStargz
//! uses. Its `formatString` looks for trailing slashes of cut names in one byte more than the standard library's does; both
//! end up with the same bytes, so there is one behaviour to follow.
//!
//! Specification: POSIX.1-2001, `pax`; GNU tar manual, "Basic Tar Format".

use std::{borrow::Cow, collections::BTreeMap, fmt, ops::Range};

use super::{
    Format, Header,
    block::{self, BLOCK, Block, Field},
    number,
    pax::{self, quote},
};
use crate::{Error, Mtime, name::display};

/// The end of an archive: two blocks of zeros.
pub const END: [u8; 1024] = [0; 1024];

/// Zeros that follow `size` bytes of payload: 0 to 511.
#[must_use]
pub const fn padding(size: u64) -> u64 {
    size.wrapping_neg() & (BLOCK as u64).wrapping_sub(1)
}

/// Appends the blocks that describe `header`, extension headers first; the format they are in.
///
/// With [`Format::Unknown`], the time of the last change is rounded to the nearest second, the two other times are left
/// out, and the first of USTAR, PAX and GNU that can hold the header is written. [`Format::Pax`] writes USTAR where nothing
/// needs records. Records of `header.pax` are written unless another field decides about their key; `GNU.sparse.` records
/// are not written, since the content is written in full.
///
/// # Errors
///
/// [`Error::Header`] if the format, or no format, can hold the header; nothing is appended then.
pub fn encode_header(header: &Header, out: &mut Vec<u8>) -> Result<Format, Error> {
    encode(header, Maps::Dropped, out)
}

fn encode(header: &Header, maps: Maps, out: &mut Vec<u8>) -> Result<Format, Error> {
    let plan = Plan::new(header, maps)?;
    match plan.format {
        Format::Ustar => plan.write_ustar(out),
        Format::Gnu => plan.write_gnu(out),
        Format::Pax | Format::Unknown => plan.write_pax(out)?,
    }
    Ok(plan.format)
}

/// The records of sparse files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Maps {
    /// They are left out: the content is written in full.
    Dropped,
    /// They are written: a map begins the payload.
    Kept,
}

/// The map of a sparse file in GNU's PAX format 1.0, which begins its payload.
#[derive(Debug)]
pub(crate) struct SparseMap {
    /// Decimal numbers, one a line, and zeros up to the end of a block.
    text: Vec<u8>,
    /// Bytes of data.
    data: u64,
}

impl SparseMap {
    /// The map of a file of `size` bytes with data in `ranges`; `None` if it takes over `limit` bytes.
    pub(crate) fn new(size: u64, ranges: &[Range<u64>], limit: u64) -> Option<Self> {
        // GNU tar makes the file as long as the last region reaches, so an empty one stands for a hole at the end.
        let last = (ranges.last().is_none_or(|last| last.end < size)).then_some(size..size);
        let count = ranges.len().saturating_add(last.iter().count());
        let (mut text, mut data) = (format!("{count}\n").into_bytes(), 0_u64);
        for range in ranges.iter().chain(&last) {
            let len = range.end.saturating_sub(range.start);
            text.extend_from_slice(format!("{}\n{len}\n", range.start).as_bytes());
            data = data.saturating_add(len);
            if text.len() as u64 > limit {
                return None;
            }
        }
        let zeros = usize::try_from(padding(text.len() as u64)).unwrap_or(0);
        text.extend(std::iter::repeat_n(0, zeros));
        (text.len() as u64 <= limit).then_some(Self { text, data })
    }

    /// Appends the blocks that describe `header` with this map, and the map; the bytes of payload, map included.
    pub(crate) fn encode(&self, header: &Header, out: &mut Vec<u8>) -> Result<u64, Error> {
        let stored = self.data.saturating_add(self.text.len() as u64);
        let mut header = header.clone();
        let name = std::mem::take(&mut header.name);
        header.name = beside(&name, b"GNUSparseFile.0");
        let size = header.size.to_string();
        for (key, value) in [
            ("GNU.sparse.major", &b"1"[..]),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", &name),
            ("GNU.sparse.realsize", size.as_bytes()),
        ] {
            header.pax.insert(key.into(), value.to_vec());
        }
        header.size = stored;
        encode(&header, Maps::Kept, out)?;
        out.extend_from_slice(&self.text);
        Ok(stored)
    }
}

/// A header that is known to fit its format.
struct Plan<'a> {
    header: &'a Header,
    flag: u8,
    size: i64,
    mtime: Option<Mtime>,
    atime: Option<Mtime>,
    ctime: Option<Mtime>,
    records: Records<'a>,
    format: Format,
}

type Records<'a> = BTreeMap<&'a [u8], Cow<'a, [u8]>>;

impl<'a> Plan<'a> {
    fn new(header: &'a Header, maps: Maps) -> Result<Self, Error> {
        let flag = match header.entry.flag() {
            0 if header.name.ends_with(b"/") => b'5',
            0 => b'0',
            flag => flag,
        };
        let [mut mtime, mut atime, mut ctime] = [header.mtime, header.atime, header.ctime].map(|time| {
            // Go means "no time" by this one.
            time.filter(|time| *time != Mtime { secs: -62_135_596_800, nanos: 0 })
        });
        if header.format == Format::Unknown {
            mtime = mtime
                .map(|time| Mtime { secs: time.secs.wrapping_add(i64::from(time.nanos >= 500_000_000)), nanos: 0 });
            (atime, ctime) = (None, None);
        }
        let plain = |reason: &str| refusal(header, header.format, reason.to_string());
        let size = i64::try_from(header.size).map_err(|_| plain("the size is over 2^63 - 1"))?;
        if flag == b'g' {
            // Fields that a reader sets to nothing are the only ones a global header has no place for.
            let bare = Header { name: header.name.clone(), pax: header.pax.clone(), ..Header::default() };
            let bare = Header { entry: header.entry, format: header.format, ..bare };
            if *header != bare {
                return Err(plain("a global extension header has a name and records only"));
            }
        }
        let mut plan =
            Self { header, flag, size, mtime, atime, ctime, records: BTreeMap::new(), format: Format::Unknown };
        plan.format = plan.choose(maps)?;
        Ok(plan)
    }

    /// Decides for a format, and which records it takes to be PAX.
    fn choose(&mut self, maps: Maps) -> Result<Format, Error> {
        let header = self.header;
        let mut fit = Fit {
            pax: &header.pax,
            records: BTreeMap::new(),
            ustar: None,
            other_pax: None,
            gnu: None,
            prefer_pax: false,
        };
        fit.text("name", &header.name, block::NAME, b"path");
        fit.text("link name", &header.link, block::LINK, b"linkpath");
        fit.text("user name", &header.user, block::USER, b"uname");
        fit.text("group name", &header.group, block::GROUP, b"gname");
        fit.number("mode", header.mode, block::MODE, b"");
        fit.number("uid", header.uid, block::UID, b"uid");
        fit.number("gid", header.gid, block::GID, b"gid");
        fit.number("size", self.size, block::SIZE, b"size");
        fit.number("devmajor", header.device.0, block::MAJOR, b"");
        fit.number("devminor", header.device.1, block::MINOR, b"");
        fit.time("mtime", self.mtime, b"mtime");
        fit.time("atime", self.atime, b"atime");
        fit.time("ctime", self.ctime, b"ctime");
        let plain = |reason: &str| refusal(header, header.format, reason.to_string());
        match self.flag {
            b'0' | b'3' | b'4' | b'6' if header.name.ends_with(b"/") => {
                return Err(plain("only names of directories end in `/`"));
            }
            b'x' | b'L' | b'K' => return Err(plain("extension headers are written with the entry they belong to")),
            b'S' | b'M' => return Err(plain("parts of files are not written")),
            _ => {}
        }
        let is_global = self.flag == b'g';
        for (key, value) in &header.pax {
            let is_map = maps == Maps::Dropped && key.starts_with(pax::SPARSE);
            let is_free = is_global || !(is_basic(key) || is_map);
            if is_free && !fit.records.contains_key(key.as_slice()) {
                fit.records.insert(key, value.as_slice().into());
            }
        }
        if let Some((key, _)) = fit.records.iter().find(|(key, value)| !pax::is_valid(key, value)) {
            return Err(refusal(header, header.format, format!("{} cannot be a PAX record", quote(key))));
        }
        let only_pax = match (is_global, header.pax.is_empty()) {
            (true, _) => Some(Misfit::Text("global extension header", b"")),
            (false, false) => Some(Misfit::Text("PAX records", b"")),
            (false, true) => None,
        };
        let (ustar, gnu) = (fit.ustar.or(only_pax), fit.gnu.or(only_pax));
        let wants = |format| header.format == Format::Unknown || header.format == format;
        let chosen = if ustar.is_none() && (wants(Format::Ustar) || (wants(Format::Pax) && !fit.prefer_pax)) {
            Format::Ustar
        } else if fit.other_pax.is_none() && wants(Format::Pax) {
            Format::Pax
        } else if gnu.is_none() && wants(Format::Gnu) {
            Format::Gnu
        } else {
            let misfit = match header.format {
                Format::Unknown | Format::Pax => fit.other_pax,
                Format::Ustar => ustar,
                Format::Gnu => gnu,
            };
            let reason = misfit.map(|misfit| format!("no place for the {misfit}")).unwrap_or_default();
            return Err(refusal(header, header.format, reason));
        };
        self.records = fit.records;
        Ok(chosen)
    }

    fn write_ustar(&self, out: &mut Vec<u8>) {
        let (prefix, name) = split_name(&self.header.name).unwrap_or((&[], &self.header.name));
        let mut block = self.block(name, |text| text.into(), number::put_octal);
        block::PREFIX.set(&mut block, |field| put_text(field, prefix));
        finish(block, block::USTAR_MAGIC, out);
    }

    fn write_pax(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        let is_global = self.flag == b'g';
        if !self.records.is_empty() || is_global {
            let mut body = Vec::new();
            for (key, value) in &self.records {
                pax::put_record(&mut body, key, value);
            }
            if body.len() > MAX_RECORDS {
                let reason = format!("{} bytes of records are over {MAX_RECORDS}", body.len());
                return Err(refusal(self.header, Format::Pax, reason));
            }
            let name = &self.header.name;
            let (name, flag) = match (is_global, name.is_empty()) {
                (true, true) => (b"GlobalHead.0.0".to_vec(), b'g'),
                (true, false) => (name.clone(), b'g'),
                (false, _) => (extension_name(name), b'x'),
            };
            put_extension(&name, flag, &body, block::USTAR_MAGIC, out);
            if is_global {
                return Ok(());
            }
        }
        let block = self.block(&ascii(&self.header.name), ascii, number::put_octal);
        finish(block, block::USTAR_MAGIC, out);
        Ok(())
    }

    fn write_gnu(&self, out: &mut Vec<u8>) {
        for (name, flag) in [(&self.header.name, b'L'), (&self.header.link, b'K')] {
            if name.len() > Field::<100>::LEN {
                let body = [name.as_slice(), b"\0"].concat();
                put_extension(b"././@LongLink", flag, &body, block::GNU_MAGIC, out);
            }
        }
        let mut block = self.block(&self.header.name, |text| text.into(), number::put);
        for (field, time) in [(block::GNU_ATIME, self.atime), (block::GNU_CTIME, self.ctime)] {
            if let Some(time) = time {
                field.set(&mut block, |field| number::put(field, time.secs));
            }
        }
        finish(block, block::GNU_MAGIC, out);
    }

    /// The fields that all three formats have.
    fn block(&self, name: &[u8], text: fn(&'a [u8]) -> Cow<'a, [u8]>, number: fn(&mut [u8], i64)) -> Block {
        let header = self.header;
        let mut block = [0; BLOCK];
        let to = &mut block;
        block::FLAG.set(to, |field| field.fill(self.flag));
        block::NAME.set(to, |field| put_text(field, name));
        block::LINK.set(to, |field| put_text(field, &text(&header.link)));
        block::MODE.set(to, |field| number(field, header.mode));
        block::UID.set(to, |field| number(field, header.uid));
        block::GID.set(to, |field| number(field, header.gid));
        block::SIZE.set(to, |field| number(field, self.size));
        block::MTIME.set(to, |field| number(field, self.mtime.unwrap_or_default().secs));
        block::USER.set(to, |field| put_text(field, &text(&header.user)));
        block::GROUP.set(to, |field| put_text(field, &text(&header.group)));
        block::MAJOR.set(to, |field| number(field, header.device.0));
        block::MINOR.set(to, |field| number(field, header.device.1));
        block
    }
}

/// The most bytes of records that readers of the reference accept.
const MAX_RECORDS: usize = 1 << 20;

/// The first value that does not fit each format, and the records that PAX needs.
struct Fit<'a> {
    pax: &'a BTreeMap<Vec<u8>, Vec<u8>>,
    records: Records<'a>,
    ustar: Option<Misfit<'a>>,
    other_pax: Option<Misfit<'a>>,
    gnu: Option<Misfit<'a>>,
    /// Whether USTAR would lose part of a time.
    prefer_pax: bool,
}

impl<'a> Fit<'a> {
    fn text<const N: usize>(&mut self, part: &'static str, text: &'a [u8], _: Field<N>, key: &'static [u8]) {
        let misfit = Misfit::Text(part, text);
        let is_long = text.len() > N;
        let is_name = matches!(key, b"path" | b"linkpath");
        if text.contains(&0) || (is_long && !is_name) {
            self.gnu.get_or_insert(misfit);
        }
        if is_long || !is_plain(text) {
            if key != b"path" || split_name(text).is_none() {
                self.ustar.get_or_insert(misfit);
            }
            self.records.insert(key, text.into());
        }
        self.keep_equal(key, text);
    }

    /// A number; one without a key has no record that could stand for it.
    fn number<const N: usize>(&mut self, part: &'static str, number: i64, _: Field<N>, key: &'static [u8]) {
        let misfit = Misfit::Number(part, number);
        if !number::fits_base256(N, number) {
            self.gnu.get_or_insert(misfit);
        }
        if !number::fits_octal(N, number) {
            self.ustar.get_or_insert(misfit);
            if key.is_empty() {
                self.other_pax.get_or_insert(misfit);
            } else {
                self.records.insert(key, number.to_string().into_bytes().into());
            }
        }
        if self.pax.contains_key(key) {
            self.keep_equal(key, number.to_string().as_bytes());
        }
    }

    fn time(&mut self, part: &'static str, time: Option<Mtime>, key: &'static [u8]) {
        let Some(time) = time else { return };
        let is_mtime = key == b"mtime";
        let fits = is_mtime && number::fits_octal(Field::<12>::LEN, time.secs);
        if !fits {
            self.ustar.get_or_insert(Misfit::Time(part, time));
        }
        if !fits || time.nanos != 0 {
            self.prefer_pax = true;
            self.records.insert(key, pax::format_time(time).into_bytes().into());
        }
        if self.pax.contains_key(key) {
            self.keep_equal(key, pax::format_time(time).as_bytes());
        }
    }

    /// A record that equals its field is written although the field alone would do.
    fn keep_equal(&mut self, key: &'static [u8], value: &[u8]) {
        if let Some(own) = self.pax.get(key).filter(|own| *own == value) {
            self.records.insert(key, own.as_slice().into());
        }
    }
}

/// A value that a format has no place for.
#[derive(Clone, Copy, Debug)]
enum Misfit<'a> {
    Text(&'static str, &'a [u8]),
    Number(&'static str, i64),
    Time(&'static str, Mtime),
}

impl fmt::Display for Misfit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(part, []) => f.write_str(part),
            Self::Text(part, text) => write!(f, "{part} {}", quote(text)),
            Self::Number(part, number) => write!(f, "{part} {number}"),
            Self::Time(part, time) => write!(f, "{part} {}", pax::format_time(*time)),
        }
    }
}

fn refusal(header: &Header, format: Format, reason: String) -> Error {
    let format = match format {
        Format::Unknown => "tar",
        Format::Ustar => "USTAR",
        Format::Pax => "PAX",
        Format::Gnu => "GNU tar",
    };
    Error::Header { path: display(&header.name), format, reason }
}

/// Keys whose values come from fields of the header.
fn is_basic(key: &[u8]) -> bool {
    matches!(
        key,
        b"path" | b"linkpath" | b"size" | b"uid" | b"gid" | b"uname" | b"gname" | b"mtime" | b"atime" | b"ctime"
    )
}

/// Whether `text` can be in a USTAR field: ASCII without NUL.
fn is_plain(text: &[u8]) -> bool {
    text.is_ascii() && !text.contains(&0)
}

/// The bytes of `text` that a USTAR field can hold.
fn ascii(text: &[u8]) -> Cow<'_, [u8]> {
    if is_plain(text) {
        return text.into();
    }
    text.iter().copied().filter(|byte| byte.is_ascii() && *byte != 0).collect()
}

/// Writes text and a NUL, as much as fits. A name that is cut right after a slash loses the slash, so that it does not look
/// like a directory.
fn put_text(field: &mut [u8], text: &[u8]) {
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
    if text.len() > field.len() && field.last() == Some(&b'/') {
        let end = field.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last.saturating_add(1));
        if let Some(slash) = field.get_mut(end) {
            *slash = 0;
        }
    }
}

/// Cuts a name of more than 100 bytes into prefix and rest, at the last slash that leaves the prefix short enough.
fn split_name(name: &[u8]) -> Option<(&[u8], &[u8])> {
    const PREFIX_LEN: usize = Field::<155>::LEN;
    const NAME_LEN: usize = Field::<100>::LEN;
    if name.len() <= NAME_LEN || !is_plain(name) {
        return None;
    }
    let searched = match name {
        _ if name.len() > PREFIX_LEN + 1 => name.get(..PREFIX_LEN + 1)?,
        [rest @ .., b'/'] => rest,
        _ => name,
    };
    let slash = memchr::memrchr(b'/', searched)?;
    let (prefix, rest) = name.split_at_checked(slash)?;
    let rest = rest.get(1..)?;
    (!prefix.is_empty() && prefix.len() <= PREFIX_LEN && !rest.is_empty() && rest.len() <= NAME_LEN)
        .then_some((prefix, rest))
}

/// `<dir>/PaxHeaders.0/<base>`, with `.`, `..` and doubled slashes resolved.
fn extension_name(name: &[u8]) -> Vec<u8> {
    beside(name, b"PaxHeaders.0")
}

/// `<dir>/<between>/<base>`, with `.`, `..` and doubled slashes resolved.
fn beside(name: &[u8], between: &[u8]) -> Vec<u8> {
    let base_at = memchr::memrchr(b'/', name).map_or(0, |slash| slash.saturating_add(1));
    let (dir, base) = name.split_at_checked(base_at).unwrap_or_default();
    let is_rooted = dir.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in dir.split(|byte| *byte == b'/').chain([between, base]) {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|last| *last != b"..") => drop(parts.pop()),
            b".." if is_rooted => {}
            _ => parts.push(part),
        }
    }
    match (is_rooted, parts.is_empty()) {
        (true, _) => [b"/", parts.join(&b'/').as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => parts.join(&b'/'),
    }
}

/// Appends a member that describes the next one.
fn put_extension(name: &[u8], flag: u8, body: &[u8], magic: &[u8; 8], out: &mut Vec<u8>) {
    let name = ascii(name);
    let mut name = name.get(..Field::<100>::LEN).unwrap_or(&name);
    while let [rest @ .., b'/'] = name {
        name = rest;
    }
    let mut block = [0; BLOCK];
    block::FLAG.set(&mut block, |field| field.fill(flag));
    block::NAME.set(&mut block, |field| put_text(field, name));
    for field in [block::MODE, block::UID, block::GID] {
        field.set(&mut block, |field| number::put_octal(field, 0));
    }
    block::SIZE.set(&mut block, |field| number::put_octal(field, i64::try_from(body.len()).unwrap_or(0)));
    block::MTIME.set(&mut block, |field| number::put_octal(field, 0));
    finish(block, magic, out);
    out.extend_from_slice(body);
    let zeros = usize::try_from(padding(body.len() as u64)).unwrap_or(0);
    out.extend(std::iter::repeat_n(0, zeros));
}

fn finish(mut block: Block, magic: &[u8; 8], out: &mut Vec<u8>) {
    block::MAGIC.set(&mut block, |field| field.copy_from_slice(magic));
    block::seal(&mut block);
    out.extend_from_slice(&block);
}
