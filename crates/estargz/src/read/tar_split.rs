//! The tar headers that layers in the form of containers/storage keep besides the TOC, and the tar that comes of them and
//! of the files.
//!
//! The lines are described in `write/tar_split.rs`. They are read one by one, after the digest of all of them, compressed,
//! was compared with the one that the TOC names. Specification: eStargz, section 2.3.

use std::io::{Cursor, Write};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Cancel, DiffId, Digest, Hasher, Mismatch, Offset, ReadAt, ReadRequest, read_some};

use super::{Reader, index::NodeKind};
use crate::{
    Error,
    codec::{Decompressor, StorageDecompressor, TocFrame},
    crc64::Crc64,
    footer::{Format, Part, storage_parts},
    toc::{Scanner, Stop, clean_name, excerpt, folds_to},
};

/// A part of a tar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format has these two")]
pub enum TarPart<'a> {
    /// Bytes that are no content: padding and headers.
    Bytes(&'a [u8]),
    /// The content of an entry, which is empty for whatever is no file.
    Content {
        /// The name of the entry, as it stands in the tar.
        name: &'a [u8],
        /// Bytes of content.
        size: u64,
        /// CRC-64 of the content, if there is any.
        crc64: Option<u64>,
    },
}

/// A tar that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reassembled {
    /// Its digest: the DiffID of the layer, if all is well.
    pub diff_id: DiffId,
    /// Its bytes.
    pub len: u64,
    /// Its entries.
    pub entries: u64,
}

impl<R: ReadAt + Sync> Reader<R> {
    /// Hands the parts of the layer's tar to `visit`, in order.
    ///
    /// The compressed lines are held in memory; they are compared with the digest in the TOC before any is looked at. At
    /// most [`Limits::toc_compressed`](crate::Limits) bytes of them are read, which decompress to at most
    /// [`Limits::toc`](crate::Limits), and a line has at most [`Limits::toc_entry`](crate::Limits).
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a layer in another form, [`Error::NoTarSplitDigest`], [`Error::Mismatch`] for other lines than
    /// the TOC's, [`Error::Read`] if the source fails or the compression is damaged, [`Error::TarSplit`] for a line that is
    /// none, [`Error::Limit`], and those of `visit`.
    pub fn tar_split(&self, visit: &mut dyn FnMut(TarPart<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let (part, compressed) = self.read_tar_split()?;
        let (at, frame) = (Offset::new(part.at), Box::new(Cursor::new(compressed)));
        let mut lines = TocFrame::over(frame, WHAT, at, part.len, Some(part.plain_len))?;
        let mut parser = Lines { window: Vec::new(), line: 0, longest: self.limits().toc_entry };
        let mut block = vec![0; BLOCK];
        let mut total = 0_u64;
        loop {
            let len = read_some(&mut lines, &mut block).map_err(|source| Error::Read { what: WHAT, at, source })?;
            total = total.saturating_add(len as u64);
            if total > self.limits().toc {
                return Err(Error::Limit { what: WHAT, limit: self.limits().toc, asked: total });
            }
            match block.get(..len) {
                Some([]) | None => return parser.end(),
                Some(bytes) => parser.feed(bytes, visit)?,
            }
        }
    }

    /// Puts the layer's tar together from its headers and the content of its files, each of which has been compared with
    /// its digests; the result has the layer's DiffID.
    ///
    /// # Errors
    ///
    /// Those of [`tar_split`](Self::tar_split); [`Error::TarSplit`] also for an entry that the TOC does not have, or has
    /// with other content; damage as [`Reader::verify`] reports it; [`Error::Write`] if `sink` fails; [`Error::Cancelled`].
    pub fn reassemble<W: Write>(&self, mut sink: W, cancel: &Cancel) -> Result<Reassembled, Error> {
        let mut hasher = Hasher::sha256();
        let mut done = Reassembled { diff_id: DiffId::new(Hasher::sha256().finish()), len: 0, entries: 0 };
        let mut block = vec![0; BLOCK];
        let mut line = 0_u64;
        self.tar_split(&mut |part| {
            cancel.check()?;
            let mut put = |bytes: &[u8]| {
                hasher.update(bytes);
                done.len = done.len.saturating_add(bytes.len() as u64);
                sink.write_all(bytes).map_err(|source| Error::Write { source })
            };
            match part {
                TarPart::Bytes(bytes) => put(bytes)?,
                TarPart::Content { name, size, crc64 } => {
                    done.entries = done.entries.saturating_add(1);
                    self.put_content(line, name, size, crc64, &mut block, &mut put)?;
                }
            }
            line = line.saturating_add(1);
            Ok(())
        })?;
        sink.flush().map_err(|source| Error::Write { source })?;
        done.diff_id = DiffId::new(hasher.finish());
        Ok(done)
    }

    fn put_content(
        &self,
        line: u64,
        name: &[u8],
        size: u64,
        crc64: Option<u64>,
        block: &mut [u8],
        put: &mut dyn FnMut(&[u8]) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let shown = name.escape_ascii();
        let refuse = |expected: String, got: String| Err(Error::TarSplit { line, expected, got });
        let Some(row) = self.index.lookup(&clean_name(name)) else {
            return refuse("an entry of the TOC".to_owned(), format!("`{shown}`"));
        };
        if size == 0 {
            return Ok(());
        }
        match self.index.node(row) {
            Some(node) if node.kind == NodeKind::File && node.size == size => {}
            Some(node) if node.kind == NodeKind::File => {
                return refuse(format!("{} bytes of `{shown}`, as in the TOC", node.size), format!("{size}"));
            }
            _ => return refuse(format!("a file `{shown}` in the TOC"), "something else".to_owned()),
        }
        let mut crc = Crc64::default();
        let mut at = 0;
        while at < size {
            let len = self.read_row(row, at, block, &ReadRequest::default())?;
            let bytes = block.get(..len).filter(|bytes| !bytes.is_empty());
            // The chunks cover the file, so there is always more.
            let Some(bytes) = bytes else { break };
            crc.update(bytes);
            put(bytes)?;
            at = at.saturating_add(len as u64);
        }
        match crc64 {
            Some(expected) if expected != crc.get() => {
                refuse(format!("`{shown}` with CRC-64 {expected:016x}"), format!("{:016x}", crc.get()))
            }
            _ => Ok(()),
        }
    }

    /// Where the footer says that the compressed lines are.
    pub(crate) fn tar_split_part(&self) -> Result<Part, Error> {
        let at = Offset::ZERO;
        let blob_len =
            self.source().size().map_err(|source| Error::Read { what: "the size of the blob", at, source })?;
        let mut footer = vec![0; StorageDecompressor::new().footer_len()];
        let at = Offset::new(blob_len.saturating_sub(footer.len() as u64));
        self.source().read_exact_at(at, &mut footer).map_err(|source| Error::Read {
            what: "the footer",
            at,
            source,
        })?;
        storage_parts(&footer, blob_len).map(|(_, part)| part)
    }

    /// The compressed lines, and where they are in the blob.
    fn read_tar_split(&self) -> Result<(Part, Vec<u8>), Error> {
        if self.footer().format != Format::StorageChunked {
            let what = format!("an {} layer has no tar headers besides its tar", self.footer().format);
            return Err(Error::Misuse(what));
        }
        let expected = self.tar_split_digest().ok_or(Error::NoTarSplitDigest)?;
        let part = self.tar_split_part()?;
        if part.len > self.limits().toc_compressed {
            let (limit, asked) = (self.limits().toc_compressed, part.len);
            return Err(Error::Limit { what: "compressed tar-split data", limit, asked });
        }
        let mut compressed = Vec::new();
        self.read_part(WHAT, Offset::new(part.at), part.len, &mut compressed, &ReadRequest::default())?;
        let digest = Digest::of(expected.algorithm(), &compressed);
        Mismatch::check(expected, &digest).map_err(|source| Error::Mismatch {
            what: "the tar-split data is not what the TOC names".to_owned(),
            source,
        })?;
        Ok((part, compressed))
    }
}

const WHAT: &str = "the tar-split data";
/// Bytes that are decompressed at once.
const BLOCK: usize = 256 << 10;

/// Reads lines as they arrive.
struct Lines {
    window: Vec<u8>,
    /// The number of the line at the front of the window.
    line: u64,
    longest: u64,
}

impl Lines {
    fn feed(&mut self, bytes: &[u8], visit: &mut dyn FnMut(TarPart<'_>) -> Result<(), Error>) -> Result<(), Error> {
        // The bytes in the window so far hold no end of a line.
        let mut ended = self.window.len();
        self.window.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(len) = self.window.get(ended..).and_then(|rest| memchr::memchr(b'\n', rest)) {
            let end = ended.saturating_add(len);
            let line = self.window.get(start..=end).unwrap_or_default();
            Line::parse(line, self.line)?.visit(visit)?;
            self.line = self.line.saturating_add(1);
            start = end.saturating_add(1);
            ended = start;
        }
        self.window.drain(..start);
        let asked = self.window.len() as u64;
        if asked > self.longest {
            return Err(Error::Limit { what: "bytes of a tar-split line", limit: self.longest, asked });
        }
        Ok(())
    }

    /// A writer of lines ends the last one too.
    fn end(self) -> Result<(), Error> {
        if self.window.is_empty() {
            return Ok(());
        }
        let (expected, got) = ("the end of the line".to_owned(), "the end of the data".to_owned());
        Err(Error::TarSplit { line: self.line, expected, got })
    }
}

/// The members of a line.
#[derive(Debug, Default)]
struct Line {
    kind: i64,
    name: Vec<u8>,
    size: u64,
    payload: Vec<u8>,
}

/// The members by their names, and the message about a wrong one.
const MEMBERS: [(&str, &str); 6] = [
    ("type", "a type"),
    ("name", "a name"),
    ("name_raw", "a name in base64"),
    ("size", "a size"),
    ("payload", "a payload in base64"),
    ("position", "a position"),
];

impl Line {
    fn parse(line: &[u8], number: u64) -> Result<Self, Error> {
        let malformed = |expected: &str, at: usize| {
            let rest = line.get(at..).unwrap_or_default();
            let rest = rest.strip_suffix(b"\n").unwrap_or(rest);
            let got = rest.get(..24).unwrap_or(rest);
            Error::TarSplit { line: number, expected: expected.to_owned(), got: format!("`{}`", excerpt(got)) }
        };
        let stopped = |stop: Stop| match stop {
            Stop::Bad { at, expected } => malformed(expected, at),
            Stop::Limit { what, limit, asked } => Error::Limit { what, limit, asked },
            Stop::More | Stop::Digest(_) => malformed("the rest of the line", line.len()),
        };
        let mut scanner = Scanner::new(line, 0);
        let mut parsed = Self::default();
        let mut seen = 0_u32;
        scanner.expect(b'{', "an object").map_err(stopped)?;
        loop {
            scanner.peek().map_err(stopped)?;
            let at = scanner.pos;
            let key = scanner.key().map_err(stopped)?;
            let Some(member) = MEMBERS.iter().position(|(name, _)| *name == key) else {
                if folds_to(&key, &MEMBERS.map(|(name, _)| name)) {
                    return Err(malformed("known keys exactly spelled", at));
                }
                scanner.skip().map_err(stopped)?;
                if scanner.comma_or(b'}', "`,` or `}`").map_err(stopped)? {
                    continue;
                }
                break;
            };
            let bit = 1 << member;
            if seen & bit != 0 {
                return Err(malformed("each known key once", at));
            }
            seen |= bit;
            parsed.member(member, number, &mut scanner).map_err(stopped)?;
            if !scanner.comma_or(b'}', "`,` or `}`").map_err(stopped)? {
                break;
            }
        }
        // Behind the object there is the end of the line, which the scanner takes for white space.
        if scanner.peek().is_ok() {
            return Err(malformed("the end of the line", scanner.pos));
        }
        if parsed.kind == 0 {
            return Err(malformed("a line with a type", 0));
        }
        if seen & NAMES == NAMES {
            return Err(malformed("one name", 0));
        }
        Ok(parsed)
    }

    fn member(&mut self, member: usize, line: u64, scanner: &mut Scanner<'_>) -> Result<(), Stop> {
        scanner.peek()?;
        let (at, (name, expected)) = (scanner.pos, MEMBERS.get(member).copied().unwrap_or_default());
        let bad = Stop::Bad { at, expected };
        let base64 = |scanner: &mut Scanner<'_>| {
            let text = scanner.string(expected)?;
            STANDARD.decode(text.as_bytes()).map_err(|_| Stop::Bad { at, expected })
        };
        match name {
            "type" => {
                self.kind = scanner.integer()?;
                if !(ENTRY..=SEGMENT).contains(&self.kind) {
                    return Err(bad);
                }
            }
            "name" => self.name = scanner.string(expected)?.as_bytes().to_vec(),
            "name_raw" => self.name = base64(scanner)?,
            "size" => self.size = u64::try_from(scanner.integer()?).map_err(|_| bad)?,
            "payload" if scanner.null()? => {}
            "payload" => self.payload = base64(scanner)?,
            _ => {
                if u64::try_from(scanner.integer()?) != Ok(line) {
                    return Err(Stop::Bad { at, expected: "the number of the line" });
                }
            }
        }
        Ok(())
    }

    fn visit(&self, visit: &mut dyn FnMut(TarPart<'_>) -> Result<(), Error>) -> Result<(), Error> {
        if self.kind == SEGMENT {
            return visit(TarPart::Bytes(&self.payload));
        }
        let crc64 = self.payload.as_slice().try_into().ok().map(u64::from_be_bytes);
        visit(TarPart::Content { name: &self.name, size: self.size, crc64 })
    }
}

/// Types of lines.
const ENTRY: i64 = 1;
const SEGMENT: i64 = 2;
/// The two ways to give a name, as bits of the members.
const NAMES: u32 = 1 << 1 | 1 << 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, piece: usize) -> Result<Vec<String>, String> {
        let mut seen = Vec::new();
        let mut lines = Lines { window: Vec::new(), line: 0, longest: 200 };
        let mut visit = |part: TarPart<'_>| {
            seen.push(match part {
                TarPart::Bytes(bytes) => format!("{}", bytes.escape_ascii()),
                TarPart::Content { name, size, crc64 } => format!("{} {size} {crc64:x?}", name.escape_ascii()),
            });
            Ok(())
        };
        let mut fed = text.as_bytes().chunks(piece).try_for_each(|bytes| lines.feed(bytes, &mut visit));
        if fed.is_ok() {
            fed = lines.end();
        }
        fed.map_err(|error| error.to_string())?;
        Ok(seen)
    }

    #[test]
    fn lines_are_read_however_they_arrive() {
        let text = concat!(
            r#"{"type":2,"payload":"aGVhZGVy","position":0}"#,
            "\n",
            r#"{"type":1,"name":"d/","payload":null,"position":1}"#,
            "\n",
            r#"{"type":1,"name_raw":"/w==","size":9,"payload":"uQlWx3WkEAE=","position":2}"#,
            "\n",
            r#" { "position" : 3 , "other" : [1] , "payload" : "AAAA" , "type" : 2 } "#,
            "\n",
        );
        let wanted = ["header", "d/ 0 None", r"\xff 9 Some(b90956c775a41001)", r"\x00\x00\x00"];
        for piece in [1, 2, 7, 50, 1000] {
            assert_eq!(read(text, piece).unwrap(), wanted, "{piece}");
        }
        assert!(read("", 1).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_line_is_refused_with_its_number() {
        let long = format!(r#"{{"type":2,"payload":"{}"#, "A".repeat(200));
        for (line, wanted) in [
            ("\n", "tar-split line 1: expected the rest of the line, got ``"),
            ("null\n", "tar-split line 1: expected an object, got `null`"),
            ("{}\n", "tar-split line 1: expected a key, got `}`"),
            (r#"{"type":3}"#, "tar-split line 1: expected the end of the line, got the end of the data"),
            ("{\"position\":1}\n", "tar-split line 1: expected a line with a type, got `{\"position\":1}`"),
            ("{\"type\":3}\n", "tar-split line 1: expected a type, got `3}`"),
            ("{\"type\":2,\"type\":2}\n", "tar-split line 1: expected each known key once, got `\"type\":2}`"),
            ("{\"Type\":2}\n", "tar-split line 1: expected known keys exactly spelled, got `\"Type\":2}`"),
            ("{\"type\":1,\"size\":-1}\n", "tar-split line 1: expected a size, got `-1}`"),
            ("{\"type\":2,\"payload\":\"=\"}\n", "tar-split line 1: expected a payload in base64, got `\"=\"}`"),
            ("{\"type\":2,\"position\":0}\n", "tar-split line 1: expected the number of the line, got `0}`"),
            (
                "{\"type\":1,\"name\":\"a\",\"name_raw\":\"YQ==\"}\n",
                "tar-split line 1: expected one name, got `{\"type\":1,\"name\":\"a\",\"na`",
            ),
            ("{\"type\":2} {\n", "tar-split line 1: expected the end of the line, got `{`"),
            ("{\"type\":2\n", "tar-split line 1: expected the rest of the line, got ``"),
            (&long, "bytes of a tar-split line: 221 is over the limit of 200"),
        ] {
            let text = format!("{{\"type\":2,\"payload\":\"\",\"position\":0}}\n{line}");
            assert_eq!(read(&text, 4096).unwrap_err(), wanted, "{line}");
        }
    }
}
