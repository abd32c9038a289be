//! The facts that a state file states about itself, for a page of its own or as a part of one.

use std::{collections::BTreeMap, fmt};

use anyhow::Result;
use dunnage_digest::{Cursor, ReadAt};
use dunnage_statefile::{
    Compression, Encoding, Error, File, HeaderMac, Key, Limits, Metadata, Mode, ReadOptions, metadata_unverified,
};
use serde::Serialize;

use crate::print::{bytes, count, printable, row};

/// The facts that a state file states about itself.
#[derive(Debug, Serialize)]
pub(crate) struct Facts {
    /// The dialects that write such a file, oldest first; none if the key is needed to tell.
    dialects: Vec<&'static str>,
    releases: Option<String>,
    /// The bytes also read well as another dialect.
    ambiguous: bool,
    compression: Option<&'static str>,
    key: KeyState,
    /// Whether a key was given, and covers header and body.
    authenticated: bool,
    body: Option<String>,
    chunk_size: Option<u32>,
    /// Chunks or frames.
    units: Option<u64>,
    /// Bytes of chunks or frames as they are stored.
    stored_bytes: Option<u64>,
    /// How much the payload has at least and at most: what the last chunk inflates to is not looked at.
    payload_bytes: Option<(u64, u64)>,
    body_offset: Option<u64>,
    cautions: Vec<&'static str>,
    /// Damage, as far as it shows without looking into chunks.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
    metadata: BTreeMap<String, String>,
}

/// The protection of the file, in place of a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum KeyState {
    /// It was written without one.
    None,
    /// The same, with a checksum that anyone can make.
    Checksum,
    /// It was written with the one that was given.
    Given,
    /// It was written with one that was not given.
    Needed,
}

impl Facts {
    /// The facts of `source`. A key that is needed is one of them, and no error.
    pub(crate) fn of(source: &std::fs::File, key: Option<&Key>, options: &ReadOptions) -> Result<Self> {
        match File::open(source, key, options) {
            Ok(file) => Ok(Self::of_file(&file)),
            Err(Error::KeyRequired { .. }) => {
                let mut cursor = Cursor::new(source)?;
                Ok(Self::unverified(&metadata_unverified(&mut cursor, Mode::Strict, &Limits::default())?))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of_file<S: ReadAt>(file: &File<S>) -> Self {
        let (encoding, summary) = (file.encoding(), file.summary());
        let wrong = summary.as_ref().err().map(ToString::to_string);
        let summary = summary.ok();
        Self {
            dialects: encoding.dialects.iter().map(dunnage_statefile::Dialect::as_str).collect(),
            releases: Some(releases(encoding)),
            ambiguous: encoding.is_ambiguous,
            compression: Some(encoding.compression.as_str()),
            key: match encoding.header_mac {
                HeaderMac::Absent => KeyState::None,
                HeaderMac::Checksum => KeyState::Checksum,
                HeaderMac::Keyed => KeyState::Given,
            },
            authenticated: encoding.is_authenticated(),
            body: Some(encoding.body.to_string()),
            chunk_size: file.chunk_size(),
            units: summary.as_ref().map(|summary| summary.units),
            stored_bytes: summary.as_ref().map(|summary| summary.stored_len),
            payload_bytes: summary.as_ref().map(|summary| summary.payload_len),
            body_offset: summary.as_ref().map(|summary| summary.body_at.get()),
            cautions: encoding.cautions(),
            wrong,
            metadata: plain(file.metadata()),
        }
    }

    fn unverified(metadata: &Metadata) -> Self {
        Self {
            dialects: Vec::new(),
            releases: None,
            ambiguous: false,
            compression: match metadata.get(Compression::KEY) {
                Some("none") => Some(Compression::None.as_str()),
                Some("flate-best-speed") => Some(Compression::FlateBestSpeed.as_str()),
                _ => None,
            },
            key: KeyState::Needed,
            authenticated: false,
            body: None,
            chunk_size: None,
            units: None,
            stored_bytes: None,
            payload_bytes: None,
            body_offset: None,
            cautions: vec!["the key was not given: nothing that is said here was checked"],
            wrong: None,
            metadata: plain(metadata),
        }
    }

    /// Whether the payload is deflated.
    pub(crate) fn is_compressed(&self) -> bool {
        self.compression == Some(Compression::FlateBestSpeed.as_str())
    }
}

fn plain(metadata: &Metadata) -> BTreeMap<String, String> {
    metadata.iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
}

/// The releases of gVisor that write such files.
fn releases(encoding: &Encoding) -> String {
    let (oldest, newest) = (encoding.dialects.oldest(), encoding.dialects.newest());
    if oldest == newest {
        return oldest.releases().to_owned();
    }
    let first = oldest.releases().split(" to ").next().unwrap_or_default();
    let last = newest.releases().rsplit(" to ").next().unwrap_or_default();
    match last.strip_suffix(" and later") {
        Some(_) => format!("{first} and later"),
        None => format!("{first} to {last}"),
    }
}

impl fmt::Display for Facts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.releases, self.dialects.first(), self.dialects.last()) {
            (Some(releases), Some(first), Some(last)) if first == last => {
                row(f, "dialect", format_args!("{first} (gVisor {releases})"))?;
            }
            (Some(releases), Some(first), Some(last)) => {
                row(f, "dialect", format_args!("{first} to {last}, which are alike (gVisor {releases})"))?;
            }
            _ => row(f, "dialect", "the key is needed to tell")?,
        }
        row(f, "compression", self.compression.unwrap_or("not said"))?;
        row(
            f,
            "key",
            match self.key {
                KeyState::None => "none",
                KeyState::Checksum => "none; the header has a checksum",
                KeyState::Given => "the one given; the header's MAC matches",
                KeyState::Needed => "one is needed; --key-file FILE or --key-fd N gives it",
            },
        )?;
        if let Some(body) = &self.body {
            let units = self.units.filter(|units| *units > 0);
            match (units, self.chunk_size) {
                (Some(units), Some(size)) => {
                    row(f, "body", format_args!("{body}: {} of up to {} bytes", count(units), count(size.into())))?;
                }
                (Some(units), None) => row(f, "body", format_args!("{body}: {}", count(units)))?,
                (None, _) => row(f, "body", body)?,
            }
        }
        match (self.payload_bytes, self.stored_bytes) {
            (Some((least, most)), _) if least == most => {
                row(f, "payload", format_args!("{} ({} bytes)", bytes(most), count(most)))?;
            }
            (Some((least, most)), Some(stored)) => {
                row(
                    f,
                    "payload",
                    format_args!("{} to {} bytes, stored in {}", count(least), count(most), bytes(stored)),
                )?;
            }
            _ => {}
        }
        for (name, text) in &self.metadata {
            row(f, "metadata", format_args!("{}={}", printable(name.as_bytes()), Short(text)))?;
        }
        for caution in &self.cautions {
            row(f, "caution", caution)?;
        }
        self.wrong.as_ref().map_or(Ok(()), |wrong| row(f, "wrong", printable(wrong.as_bytes())))
    }
}

/// A text that a terminal can show, and not all of it if it is long: JSON has all.
struct Short<'a>(&'a str);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 120;
        let end = self.0.char_indices().nth(LONGEST).map(|(at, _)| at);
        let shown = end.and_then(|end| self.0.get(..end)).unwrap_or(self.0);
        f.write_str(&printable(shown.as_bytes()))?;
        if end.is_some() { write!(f, "... ({} bytes)", count(self.0.len() as u64)) } else { Ok(()) }
    }
}
