//! Records of accesses: the files that a container read when it ran, and that should therefore come first in a layer.
//!
//! One JSON object a line: `{"path":"usr/bin/x","manifestDigest":"sha256:...","layerIndex":3}`, the last two optional.
//! The reference's optimizer writes this form and its converter reads it. The two use it differently; here the line itself
//! decides:
//!
//! - It names the manifest that is converted, and a layer: the file goes first in that layer and no other.
//! - Anything else (no layer, no manifest, or another manifest, such as that of another platform): the file goes first in
//!   every layer that has it.
//!
//! If a path is repeated for one layer, the first line counts.

use std::{
    collections::HashSet,
    io::{BufRead, Read as _},
};

use dunnage_digest::Digest;
use serde::Deserialize;

use crate::Error;

/// Bytes of one line.
const MAX_LINE: u64 = 64 << 10;
/// Lines of one record.
const MAX_LINES: u64 = 1 << 20;

/// A record of accesses, in order.
///
/// Use it as [`ImageOptions::record`](crate::ImageOptions::record), to put the files that a container needs first where a
/// runtime fetches them first.
#[derive(Clone, Debug, Default)]
pub struct Record {
    entries: Vec<Access>,
}

#[derive(Clone, Debug)]
struct Access {
    line: u64,
    path: String,
    manifest: Option<Digest>,
    layer: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    path: String,
    #[serde(default)]
    manifest_digest: Option<String>,
    #[serde(default)]
    layer_index: Option<u64>,
}

impl Record {
    /// Reads a record. Empty lines are skipped.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] with the number of a line that is no such object or longer than 64 KiB, [`Error::Limit`] beyond
    /// 2^20 lines, [`Error::ReadRecord`].
    pub fn read(mut from: impl BufRead) -> Result<Self, Error> {
        let mut entries = Vec::new();
        let mut text = Vec::new();
        let mut line = 0_u64;
        loop {
            line = line.saturating_add(1);
            text.clear();
            let read = from.by_ref().take(MAX_LINE.saturating_add(1)).read_until(b'\n', &mut text);
            if read.map_err(|source| Error::ReadRecord { line, source })? == 0 {
                return Ok(Self { entries });
            }
            if line > MAX_LINES {
                return Err(Error::Limit { what: "lines of a record", limit: MAX_LINES, asked: line });
            }
            if text.len() as u64 > MAX_LINE {
                let expected = format!("at most {MAX_LINE} bytes");
                return Err(Error::Record { line, expected, got: "more".to_owned() });
            }
            let text = text.trim_ascii();
            if !text.is_empty() {
                entries.push(Access::parse(text, line)?);
            }
        }
    }

    /// Whether nothing was recorded.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The files that go first in each of the `layers` layers of `manifest`.
    ///
    /// # Errors
    ///
    /// [`Error::Record`] for a line that names a layer which this manifest does not have.
    pub(crate) fn per_layer(&self, manifest: &Digest, layers: usize) -> Result<Vec<Vec<String>>, Error> {
        let mut lists = vec![Vec::new(); layers];
        let mut seen: Vec<HashSet<&str>> = vec![HashSet::new(); layers];
        for access in &self.entries {
            let layer = access.layer.filter(|_| access.manifest.as_ref() == Some(manifest));
            if let Some(got) = layer.filter(|&layer| layer >= layers) {
                let expected = format!("a `layerIndex` below {layers}, as manifest {manifest} has layers");
                return Err(Error::Record { line: access.line, expected, got: got.to_string() });
            }
            for (number, (list, seen)) in lists.iter_mut().zip(&mut seen).enumerate() {
                if layer.is_none_or(|layer| layer == number) && seen.insert(&access.path) {
                    list.push(access.path.clone());
                }
            }
        }
        Ok(lists)
    }
}

impl Access {
    fn parse(text: &[u8], line: u64) -> Result<Self, Error> {
        let wrong = |expected: &str, got: String| Error::Record { line, expected: expected.to_owned(), got };
        let parsed: Line = serde_json::from_slice(text)
            .map_err(|error| wrong("an object with a `path`", format!("JSON with an error: {error}")))?;
        if parsed.path.is_empty() {
            return Err(wrong("a `path`", "an empty one".to_owned()));
        }
        let manifest = parsed.manifest_digest.filter(|text| !text.is_empty()).map(|text| {
            let wrong = |error| wrong(&format!("a `manifestDigest` ({error})"), format!("`{}`", text.escape_debug()));
            Digest::parse_oci(&text).map_err(wrong)
        });
        let layer = parsed.layer_index.map(|layer| usize::try_from(layer).unwrap_or(usize::MAX));
        Ok(Self { line, path: parsed.path, manifest: manifest.transpose()?, layer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIS: &str = "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
    const THAT: &str = "sha256:486ea46224d1bb4fb680f34f7c9ad96a8f24ec88be73ea8e5a6c65260e9cb8a7";

    fn read(text: &str) -> Result<Record, String> {
        Record::read(text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_is_for_one_layer_or_for_all() {
        let text = format!(
            r#"{{"path":"a"}}
               {{"path":"b","manifestDigest":"{THIS}","layerIndex":1}}

               {{"path":"c","manifestDigest":"{THAT}","layerIndex":0}}
               {{"path":"d","manifestDigest":"{THIS}"}}
               {{"path":"e","layerIndex":7,"new":true}}
               {{"path":"a","manifestDigest":"{THIS}","layerIndex":1}}
               {{"path":"b"}}"#
        );
        let lists = read(&text).unwrap().per_layer(&THIS.parse().unwrap(), 2).unwrap();
        assert_eq!(lists, [vec!["a", "c", "d", "e", "b"], vec!["a", "b", "c", "d", "e"]]);
        assert!(read("\n\n").unwrap().is_empty());
    }

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        let long = format!("{{\"path\":\"{}\"}}", "x".repeat(MAX_LINE as usize));
        for (text, wanted) in [
            (
                "{\"path\":\"a\"}\nx",
                "line 2 of the record: expected an object with a `path`, got JSON with an error: expected value at line 1 column 1",
            ),
            (
                "{}",
                "line 1 of the record: expected an object with a `path`, got JSON with an error: missing field `path` at line 1 column 2",
            ),
            (r#"{"path":""}"#, "line 1 of the record: expected a `path`, got an empty one"),
            (
                r#"{"path":"a","manifestDigest":"x"}"#,
                "line 1 of the record: expected a `manifestDigest` (expected `algorithm:hex`, got no colon), got `x`",
            ),
            (
                r#"{"path":"a","layerIndex":-1}"#,
                "line 1 of the record: expected an object with a `path`, got JSON with an error: invalid value: integer `-1`, expected u64 at line 1 column 27",
            ),
            (&long, "line 1 of the record: expected at most 65536 bytes, got more"),
        ] {
            assert_eq!(read(text).unwrap_err(), wanted);
        }
        let record = read(&format!(r#"{{"path":"a","manifestDigest":"{THIS}","layerIndex":2}}"#)).unwrap();
        let error = record.per_layer(&THIS.parse().unwrap(), 2).unwrap_err().to_string();
        let wanted =
            format!("line 1 of the record: expected a `layerIndex` below 2, as manifest {THIS} has layers, got 2");
        assert_eq!(error, wanted);
        assert_eq!(record.per_layer(&THAT.parse().unwrap(), 1).unwrap(), [["a"]]);
    }
}
