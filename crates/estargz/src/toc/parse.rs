//! Reads a TOC as it arrives, entry by entry, holding no more of the document than the entry at hand.
//!
//! The format's rules that can be decided from one object alone are decided here: known keys exactly spelled and at most
//! once, the right JSON types, no negative sizes or offsets, a known type. Specification: eStargz, section "Decoding
//! rules"; hostile inputs H6, H7, H16, H25, H26.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Digest, Offset, decode_lower_hex};

use super::{
    ChunkType, EntryRef, TocType,
    entry::XattrRefs,
    json::{Scanner, Stop},
};
use crate::{Error, Limits};

/// What a parser did with the bytes it was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    More,
    Done,
}

/// Where in the document the parser stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Start,
    FirstMember,
    Member,
    AfterMember,
    FirstElement,
    Element,
    AfterElement,
    Done,
}

#[derive(Debug)]
pub(crate) struct TocParser {
    limits: Limits,
    window: Vec<u8>,
    /// Position in the document of the window's first byte.
    base: u64,
    state: State,
    version: Option<i64>,
    has_entries: bool,
    entries: u64,
    /// Bytes that the window must have before an item that was cut short is looked at again: twice as many each time, so
    /// that a long one is not scanned once a block.
    patience: usize,
    /// What the document says about tar headers that are kept apart; nothing is said by an empty text.
    tar_split: Option<Option<Digest>>,
}

/// What a document says besides its entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) version: i64,
    pub(crate) tar_split_digest: Option<Digest>,
}

impl TocParser {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.clone(),
            window: Vec::new(),
            base: 0,
            state: State::Start,
            version: None,
            has_entries: false,
            entries: 0,
            patience: 0,
            tar_split: None,
        }
    }

    /// Takes the next bytes of the document and hands each entry that is now complete to `sink`.
    pub(crate) fn feed(
        &mut self,
        block: &[u8],
        sink: &mut dyn FnMut(EntryRef<'_>) -> Result<(), Error>,
    ) -> Result<Progress, Error> {
        let total = self.base.saturating_add(self.window.len() as u64).saturating_add(block.len() as u64);
        if total > self.limits.toc {
            return Err(Error::Limit { what: "TOC document", limit: self.limits.toc, asked: total });
        }
        self.window.extend_from_slice(block);
        if self.window.len() < self.patience && !block.is_empty() {
            return Ok(Progress::More);
        }
        let window = std::mem::take(&mut self.window);
        let mut scanner = Scanner::new(&window, 0);
        let result = loop {
            let start = scanner.pos;
            match self.step(&mut scanner, sink) {
                Ok(()) if self.state == State::Done => break self.only_space(&mut scanner).map(|()| Progress::Done),
                Ok(()) => {}
                Err(Stopped::Scan(Stop::More)) => {
                    scanner.pos = start;
                    break Ok(Progress::More);
                }
                Err(Stopped::Scan(stop)) => break Err(self.error(&window, stop)),
                Err(Stopped::Sink(error)) => break Err(error),
            }
        };
        let consumed = scanner.pos;
        self.window = window;
        self.window.drain(..consumed.min(self.window.len()));
        self.base = self.base.saturating_add(consumed as u64);
        let (limit, item) = (self.limits.toc_entry, self.window.len());
        if result.is_ok() && item as u64 > limit {
            return Err(Error::Limit { what: "TOC entry", limit, asked: item as u64 });
        }
        self.patience = item.saturating_mul(2).min(usize::try_from(limit).unwrap_or(usize::MAX));
        result
    }

    /// Ends the document.
    pub(crate) fn finish(mut self, sink: &mut dyn FnMut(EntryRef<'_>) -> Result<(), Error>) -> Result<Ended, Error> {
        if self.state != State::Done {
            self.feed(b"", sink)?;
        }
        if self.state != State::Done {
            let at = Offset::new(self.base.saturating_add(self.window.len() as u64));
            let (expected, got) = ("the rest of the document".to_owned(), "its end".to_owned());
            return Err(Error::Malformed { part: "TOC document", at, expected, got });
        }
        Ok(Ended { version: self.version.unwrap_or(0), tar_split_digest: self.tar_split.flatten() })
    }

    /// One step of the document's grammar, all of it or nothing.
    fn step(
        &mut self,
        scanner: &mut Scanner<'_>,
        sink: &mut dyn FnMut(EntryRef<'_>) -> Result<(), Error>,
    ) -> Result<(), Stopped> {
        match self.state {
            State::Start => {
                scanner.expect(b'{', "an object")?;
                self.state = State::FirstMember;
            }
            State::FirstMember if scanner.peek()? == b'}' => {
                scanner.expect(b'}', "`}`")?;
                self.state = State::Done;
            }
            State::FirstMember | State::Member => self.member(scanner)?,
            State::AfterMember => {
                let more = scanner.comma_or(b'}', "`,` or `}`")?;
                self.state = if more { State::Member } else { State::Done };
            }
            State::FirstElement if scanner.peek()? == b']' => {
                scanner.expect(b']', "`]`")?;
                self.state = State::AfterMember;
            }
            State::FirstElement | State::Element => {
                let mut entry = EntryRef::default();
                self.entry(scanner, &mut entry)?;
                self.entries = self.entries.saturating_add(1);
                if self.entries > self.limits.entries {
                    let (limit, asked) = (self.limits.entries, self.entries);
                    return Err(Stop::Limit { what: "TOC entries", limit, asked }.into());
                }
                sink(entry).map_err(Stopped::Sink)?;
                self.state = State::AfterElement;
            }
            State::AfterElement => {
                let more = scanner.comma_or(b']', "`,` or `]`")?;
                self.state = if more { State::Element } else { State::AfterMember };
            }
            State::Done => {}
        }
        Ok(())
    }

    fn member(&mut self, scanner: &mut Scanner<'_>) -> Result<(), Stopped> {
        let at = scanner.pos;
        let key = scanner.key()?;
        match key.as_ref() {
            "version" if self.version.is_none() => {
                self.version = Some(if scanner.null()? { 0 } else { scanner.integer()? });
            }
            "entries" if !self.has_entries => {
                if scanner.null()? {
                    self.state = State::AfterMember;
                } else {
                    scanner.expect(b'[', "a list of entries")?;
                    self.state = State::FirstElement;
                }
                self.has_entries = true;
                return Ok(());
            }
            "tarSplitDigest" if self.tar_split.is_none() => {
                self.tar_split = Some(if scanner.null()? { None } else { digest(scanner)? });
            }
            key if folds_to(key, &["version", "entries", "tarSplitDigest"]) => {
                return Err(Stop::Bad { at, expected: "each known key once, exactly spelled" }.into());
            }
            _ => scanner.skip()?,
        }
        self.state = State::AfterMember;
        Ok(())
    }

    fn entry<'a>(&self, scanner: &mut Scanner<'a>, entry: &mut EntryRef<'a>) -> Result<(), Stop> {
        let start = scanner.pos;
        scanner.expect(b'{', "a TOC entry")?;
        let mut seen = 0_u32;
        let mut next = 0;
        let mut more = scanner.peek()? != b'}';
        if !more {
            scanner.expect(b'}', "`}`")?;
        }
        while more {
            scanner.peek()?;
            let at = scanner.pos;
            let likely = usual_field(scanner, next);
            let (key, field) = match likely {
                Some(field) => (Cow::Borrowed(""), Some(field)),
                None => {
                    let key = scanner.key()?;
                    let field = KEYS.iter().position(|known| *known == key);
                    (key, field)
                }
            };
            match field {
                Some(field) => {
                    next = field.saturating_add(1);
                    let bit = 1 << field;
                    if seen & bit != 0 {
                        return Err(Stop::Bad { at, expected: "each known key once" });
                    }
                    seen |= bit;
                    if !scanner.null()? {
                        self.field(scanner, field, entry)?;
                    } else if KEYS.get(field) == Some(&"type") {
                        return Err(Stop::Bad { at, expected: "a type" });
                    }
                }
                None if folds_to(&key, &KEYS) => {
                    return Err(Stop::Bad { at, expected: "known keys exactly spelled" });
                }
                None => scanner.skip()?,
            }
            more = scanner.comma_or(b'}', "`,` or `}`")?;
        }
        if seen & TYPE == 0 {
            return Err(Stop::Bad { at: start, expected: "an entry with a type" });
        }
        Ok(())
    }

    fn field<'a>(&self, scanner: &mut Scanner<'a>, field: usize, entry: &mut EntryRef<'a>) -> Result<(), Stop> {
        match field {
            0 => entry.name = self.name(scanner, "a name")?,
            1 if scanner.literally(b"\"reg\"") => entry.kind = TocType::Reg,
            1 => {
                let at = scanner.pos;
                let text = scanner.string("a type")?;
                entry.kind = TocType::parse(&text).ok_or(Stop::Bad { at, expected: "a known type" })?;
            }
            2 => entry.size = unsigned(scanner)?,
            3 => entry.modtime = scanner.string("a time")?,
            4 => entry.link_name = self.name(scanner, "a link target")?,
            5 => entry.mode = scanner.integer()?,
            6 => entry.uid = scanner.integer()?,
            7 => entry.gid = scanner.integer()?,
            8 => entry.user_name = self.name(scanner, "a user name")?,
            9 => entry.group_name = self.name(scanner, "a group name")?,
            10 => entry.offset = unsigned(scanner)?,
            11 => entry.inner_offset = unsigned(scanner)?,
            12 => entry.dev_major = scanner.integer()?,
            13 => entry.dev_minor = scanner.integer()?,
            14 => entry.xattrs = self.xattrs(scanner)?,
            15 => entry.digest = digest(scanner)?,
            16 => entry.chunk_offset = unsigned(scanner)?,
            17 => entry.chunk_size = unsigned(scanner)?,
            18 => entry.chunk_digest = digest(scanner)?,
            19 => entry.access_time = scanner.string("a time")?,
            20 => entry.change_time = scanner.string("a time")?,
            21 => entry.end_offset = unsigned(scanner)?,
            _ => {
                scanner.peek()?;
                let at = scanner.pos;
                let text = scanner.string("a type of chunk")?;
                entry.chunk_type =
                    ChunkType::parse(&text).ok_or(Stop::Bad { at, expected: "a known type of chunk" })?;
            }
        }
        Ok(())
    }

    fn name<'a>(&self, scanner: &mut Scanner<'a>, expected: &'static str) -> Result<Cow<'a, str>, Stop> {
        let text = scanner.string(expected)?;
        let asked = text.len() as u64;
        if asked > self.limits.name {
            return Err(Stop::Limit { what: "TOC: name", limit: self.limits.name, asked });
        }
        Ok(text)
    }

    fn xattrs<'a>(&self, scanner: &mut Scanner<'a>) -> Result<XattrRefs<'a>, Stop> {
        scanner.expect(b'{', "an object of extended attributes")?;
        let mut xattrs: XattrRefs<'a> = Vec::new();
        if scanner.peek()? == b'}' {
            scanner.expect(b'}', "`}`")?;
            return Ok(xattrs);
        }
        loop {
            let at = scanner.pos;
            let key = scanner.key()?;
            let value = if scanner.null()? { Cow::Borrowed("") } else { scanner.string("a base64 value")? };
            let value = STANDARD.decode(value.as_bytes()).map_err(|_| Stop::Bad { at, expected: "a base64 value" })?;
            let asked = value.len() as u64;
            if asked > self.limits.xattr {
                return Err(Stop::Limit { what: "TOC: extended attribute", limit: self.limits.xattr, asked });
            }
            xattrs.push((key, Cow::Owned(value)));
            if !scanner.comma_or(b'}', "`,` or `}`")? {
                break;
            }
        }
        xattrs.sort_by(|(a, _), (b, _)| a.as_bytes().cmp(b.as_bytes()));
        if xattrs.windows(2).any(|pair| matches!(pair, [(a, _), (b, _)] if a == b)) {
            return Err(Stop::Bad { at: scanner.pos, expected: "each extended attribute once" });
        }
        Ok(xattrs)
    }

    /// After the document only white space may follow: bytes that are not parsed must not hide after it.
    fn only_space(&self, scanner: &mut Scanner<'_>) -> Result<(), Error> {
        match scanner.peek() {
            Err(_) => Ok(()),
            Ok(byte) => {
                let at = Offset::new(self.base.saturating_add(scanner.pos as u64));
                let (expected, got) = ("nothing after the document".to_owned(), format!("byte {byte:#04x}"));
                Err(Error::Malformed { part: "TOC document", at, expected, got })
            }
        }
    }

    fn error(&self, window: &[u8], stop: Stop) -> Error {
        let position = |at: usize| Offset::new(self.base.saturating_add(at as u64));
        match stop {
            Stop::Bad { at, expected } => {
                let got = match window.get(at..) {
                    Some(rest) => format!("`{}`", excerpt(rest.get(..24).unwrap_or(rest))),
                    None => "the end".to_owned(),
                };
                Error::Malformed { part: "TOC document", at: position(at), expected: expected.to_owned(), got }
            }
            Stop::Limit { what, limit, asked } => Error::Limit { what, limit, asked },
            Stop::Digest(problem) => Error::Digest { entry: self.entries, problem },
            Stop::More => Error::Misuse("the window ended".to_owned()),
        }
    }
}

/// Bytes for a message: text as it is, anything unprintable as U+FFFD.
pub(crate) fn excerpt(bytes: &[u8]) -> String {
    let printable = |character: char| if character.is_control() { char::REPLACEMENT_CHARACTER } else { character };
    String::from_utf8_lossy(bytes).chars().map(printable).collect()
}

/// A stop of the scanner, or an error of the caller that takes the entries.
enum Stopped {
    Scan(Stop),
    Sink(Error),
}

impl From<Stop> for Stopped {
    fn from(stop: Stop) -> Self {
        Self::Scan(stop)
    }
}

fn unsigned(scanner: &mut Scanner<'_>) -> Result<u64, Stop> {
    scanner.peek()?;
    let at = scanner.pos;
    u64::try_from(scanner.integer()?).map_err(|_| Stop::Bad { at, expected: "a number that is not negative" })
}

fn digest(scanner: &mut Scanner<'_>) -> Result<Option<Digest>, Stop> {
    // Nearly every digest takes this way; whatever it does not like is read by the grammar.
    const USUAL: usize = 73;
    if let Some(usual) = scanner.ahead::<USUAL>()
        && let Some(hex) = usual.strip_prefix(b"\"sha256:").and_then(|rest| rest.strip_suffix(b"\""))
    {
        let mut bytes = [0; 32];
        if decode_lower_hex(hex, &mut bytes).is_ok() {
            scanner.literally(usual);
            return Ok(Some(Digest::sha256(bytes)));
        }
    }
    let text = scanner.string("a digest")?;
    if text.is_empty() {
        return Ok(None);
    }
    Digest::parse_oci(&text).map(Some).map_err(Stop::Digest)
}

/// The field whose key comes next, if it is spelled as writers spell it and not before `next` in their order.
fn usual_field(scanner: &mut Scanner<'_>, next: usize) -> Option<usize> {
    let keys = USUAL_KEYS.iter().enumerate().skip(next);
    keys.take(12).find_map(|(field, key)| scanner.literally(key).then_some(field))
}

/// Whether the reference, which ignores case, would take `key` for one of `known`. Two characters beyond ASCII fold to
/// letters too: U+017F to `s` and U+212A to `k`.
pub(crate) fn folds_to(key: &str, known: &[&str]) -> bool {
    let fold = |character: char| match character {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    known.iter().any(|known| key.chars().map(fold).eq(known.chars().map(|character| character.to_ascii_lowercase())))
}

/// Keys of an entry: those of eStargz in the order in which they are written, then those of containers/storage alone.
const KEYS: [&str; 23] = [
    "name",
    "type",
    "size",
    "modtime",
    "linkName",
    "mode",
    "uid",
    "gid",
    "userName",
    "groupName",
    "offset",
    "innerOffset",
    "devMajor",
    "devMinor",
    "xattrs",
    "digest",
    "chunkOffset",
    "chunkSize",
    "chunkDigest",
    "accesstime",
    "changetime",
    "endOffset",
    "chunkType",
];

/// The same keys with the quotes, colon and space that writers put around them.
const USUAL_KEYS: [&[u8]; 19] = [
    b"\"name\": ",
    b"\"type\": ",
    b"\"size\": ",
    b"\"modtime\": ",
    b"\"linkName\": ",
    b"\"mode\": ",
    b"\"uid\": ",
    b"\"gid\": ",
    b"\"userName\": ",
    b"\"groupName\": ",
    b"\"offset\": ",
    b"\"innerOffset\": ",
    b"\"devMajor\": ",
    b"\"devMinor\": ",
    b"\"xattrs\": ",
    b"\"digest\": ",
    b"\"chunkOffset\": ",
    b"\"chunkSize\": ",
    b"\"chunkDigest\": ",
];

/// Bit of `type` among the keys seen.
const TYPE: u32 = 1 << 1;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toc::Toc;

    const REG: &str = r#"{"name":"a","type":"reg"}"#;

    fn check(json: &str, wanted: &str) {
        let limits = Limits { toc_entry: 4096, toc: 8192, name: 64, ..Limits::default() };
        let whole = Toc::parse(json.as_bytes(), &limits).map(|toc| toc.entries.len().to_string());
        let whole = whole.unwrap_or_else(|error| error.to_string());
        assert_eq!(whole, wanted, "{json}");
        // The same, byte by byte: windows may end anywhere.
        let mut parser = TocParser::new(&limits);
        let mut count = 0;
        let mut sink = |_: EntryRef<'_>| {
            count += 1;
            Ok(())
        };
        let fed = json.as_bytes().chunks(1).try_for_each(|byte| parser.feed(byte, &mut sink).map(drop));
        match fed.and_then(|()| parser.finish(&mut sink).map(drop)) {
            Ok(()) => assert_eq!(count.to_string(), wanted, "{json}"),
            Err(error) => {
                // What was got is cut where the window ends.
                let (error, wanted) = (error.to_string(), wanted.to_owned());
                let head = |text: &str| text.split(", got").next().unwrap().to_owned();
                assert_eq!(head(&error), head(&wanted), "{json}");
            }
        }
    }

    #[test]
    fn documents_are_accepted_as_the_format_says() {
        for (key, usual) in KEYS.iter().zip(USUAL_KEYS) {
            assert_eq!(format!("\"{key}\": ").as_bytes(), usual);
        }
        check(r#"{"version":1,"entries":null}"#, "0");
        check(r#"{"version":1,"entries":[]}"#, "0");
        check(&format!(r#" {{ "entries" : [ {REG} , {REG} ] , "version" : 1 }} "#), "2");
        check(&format!(r#"{{"extra":{{"a":[1,{{"b":[]}},"x\"y"],"c":-1.5e3,"d":{{}}}},"entries":[{REG}]}}"#), "1");
        check(r#"{"entries":[{"type":"reg","name":null,"size":null,"xattrs":null,"digest":""}]}"#, "1");
        check(r#"{"entries":[{"type":"reg","name":"a\u00e9\ud83d\ude00\n\/","other":[true,false,null]}]}"#, "1");
    }

    #[test]
    fn documents_are_refused_with_the_position_of_the_fault() {
        for (json, wanted) in [
            ("null", "malformed TOC document at offset 0x0: expected an object, got `null`"),
            (r#"{"entries":[null]}"#, "malformed TOC document at offset 0xc: expected a TOC entry, got `null]}`"),
            (r#"{"entries":[{}]}"#, "malformed TOC document at offset 0xc: expected an entry with a type, got `{}]}`"),
            (
                r#"{"entries":[{"type":"dirt"}]}"#,
                "malformed TOC document at offset 0x14: expected a known type, got `\"dirt\"}]}`",
            ),
            (
                r#"{"entries":[{"type":null}]}"#,
                "malformed TOC document at offset 0xd: expected a type, got `\"type\":null}]}`",
            ),
            (
                r#"{"entries":[{"Type":"reg"}]}"#,
                "malformed TOC document at offset 0xd: expected known keys exactly spelled, got `\"Type\":\"reg\"}]}`",
            ),
            (
                "{\"entries\":[{\"\u{17f}ize\":1}]}",
                "malformed TOC document at offset 0xd: expected known keys exactly spelled, got `\"ſize\":1}]}`",
            ),
            (
                r#"{"entries":[{"size":1,"size":2}]}"#,
                "malformed TOC document at offset 0x16: expected each known key once, got `\"size\":2}]}`",
            ),
            (
                r#"{"entries":[],"entries":[]}"#,
                "malformed TOC document at offset 0xe: expected each known key once, exactly spelled, got `\"entries\":[]}`",
            ),
            (
                r#"{"Version":1}"#,
                "malformed TOC document at offset 0x1: expected each known key once, exactly spelled, got `\"Version\":1}`",
            ),
            (
                r#"{"entries":[{"size":-1}]}"#,
                "malformed TOC document at offset 0x14: expected a number that is not negative, got `-1}]}`",
            ),
            (
                r#"{"entries":[{"size":1.0}]}"#,
                "malformed TOC document at offset 0x14: expected an integer of 64 bits, got `1.0}]}`",
            ),
            (
                r#"{"entries":[{"size":1e3}]}"#,
                "malformed TOC document at offset 0x14: expected an integer of 64 bits, got `1e3}]}`",
            ),
            (
                r#"{"entries":[{"size":01}]}"#,
                "malformed TOC document at offset 0x14: expected an integer of 64 bits, got `01}]}`",
            ),
            (
                r#"{"entries":[{"size":9223372036854775808}]}"#,
                "malformed TOC document at offset 0x14: expected an integer of 64 bits, got `9223372036854775808}]}`",
            ),
            (
                r#"{"entries":[{"size":"1"}]}"#,
                "malformed TOC document at offset 0x14: expected an integer of 64 bits, got `\"1\"}]}`",
            ),
            (r#"{"entries":[{"name":1}]}"#, "malformed TOC document at offset 0x14: expected a name, got `1}]}`"),
            (
                r#"{"entries":[{"name":"\x"}]}"#,
                "malformed TOC document at offset 0x15: expected an escape, got `\\x\"}]}`",
            ),
            (
                r#"{"entries":[{"name":"\ud800x"}]}"#,
                "malformed TOC document at offset 0x15: expected a pair of surrogates, got `\\ud800x\"}]}`",
            ),
            (
                "{\"entries\":[{\"name\":\"\u{1}\"}]}",
                "malformed TOC document at offset 0x15: expected an escaped control character, got `�\"}]}`",
            ),
            (
                r#"{"entries":[{"xattrs":{"a":"="}}]}"#,
                "malformed TOC document at offset 0x17: expected a base64 value, got `\"a\":\"=\"}}]}`",
            ),
            (
                r#"{"entries":[{"xattrs":{"a":"","a":""}}]}"#,
                "malformed TOC document at offset 0x25: expected each extended attribute once, got `}]}`",
            ),
            (r#"{"entries":[{"digest":"sha1:00"}]}"#, "TOC entry 0: unknown digest algorithm `sha1`"),
            (
                r#"{"entries":[]"#,
                "malformed TOC document at offset 0xd: expected the rest of the document, got its end",
            ),
            (
                r#"{"entries":[]} {}"#,
                "malformed TOC document at offset 0xf: expected nothing after the document, got byte 0x7b",
            ),
            (r#"{"entries":[],}"#, "malformed TOC document at offset 0xe: expected a key, got `}`"),
            ("", "malformed TOC document at offset 0x0: expected the rest of the document, got its end"),
        ] {
            check(json, wanted);
        }
    }

    #[test]
    fn nothing_grows_beyond_its_limit() {
        let name = "n".repeat(65);
        check(&format!(r#"{{"entries":[{{"name":"{name}"}}]}}"#), "TOC: name: 65 is over the limit of 64");
        let deep = format!(r#"{{"x":{}}}"#, "[".repeat(100));
        check(&deep, "TOC: nesting: 65 is over the limit of 64");
        let long = format!(r#"{{"x":"{}"#, "y".repeat(4092));
        check(&long, "TOC entry: 4097 is over the limit of 4096");
        let longer = format!(r#"{{"x":"{}"#, "y".repeat(8192));
        assert!(Toc::parse(longer.as_bytes(), &Limits { toc: 8192, ..Limits::default() }).is_err());
    }

    #[test]
    fn a_long_entry_is_not_scanned_again_with_every_block() {
        let json = format!(r#"{{"entries":[{{"type":"reg","name":"{}"}}]}}"#, "\\n".repeat(4 << 20));
        let limits = Limits { name: 64 << 20, ..Limits::default() };
        let start = std::time::Instant::now();
        let mut parser = TocParser::new(&limits);
        let mut name = 0;
        let mut sink = |entry: EntryRef<'_>| {
            name = entry.name.len();
            Ok(())
        };
        for block in json.as_bytes().chunks(1024) {
            parser.feed(block, &mut sink).unwrap();
        }
        parser.finish(&mut sink).unwrap();
        assert_eq!(name, 4 << 20);
        // Scanned with every block, it takes minutes.
        assert!(start.elapsed() < std::time::Duration::from_secs(5), "{:?}", start.elapsed());
    }

    #[test]
    fn invalid_utf_8_is_refused() {
        let json = b"{\"entries\":[{\"name\":\"a\xff\"}]}";
        let error = Toc::parse(json, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), "malformed TOC document at offset 0x16: expected UTF-8, got `�\"}]}`");
    }
}
