//! The metadata of a file: texts by name, as a JSON object.

mod parse;
mod write;

use std::collections::BTreeMap;

use dunnage_digest::Offset;

use crate::{Error, Limits, Mode, error::shown};

pub(crate) use parse::parse;

/// The metadata cap of the format, in bytes of JSON.
pub const MAX_METADATA_LEN: u64 = 16 << 20;

/// Texts by name, in the order in which they are written: by the bytes of the name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// When the file was written, as text. Set by the writer.
    pub const TIMESTAMP: &'static str = "_timestamp";

    /// The bytes of the payload in decimal, if the writer knew them beforehand: a key of ours. [`Reader`](crate::Reader)
    /// and [`File`](crate::File) hold a file to it.
    pub const LENGTH: &'static str = "dunnage.length";

    /// No metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The text of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The text of this name, for callers that cannot do without.
    ///
    /// # Errors
    ///
    /// [`Error::MetadataMissing`].
    pub fn require(&self, name: &str) -> Result<&str, Error> {
        self.get(name).ok_or_else(|| Error::MetadataMissing { key: name.to_owned() })
    }

    /// Sets a text; returns the one it replaces. Names that start with `_` are the format's own, and refused when a file is
    /// written.
    pub fn insert(&mut self, name: impl Into<String>, text: impl Into<String>) -> Option<String> {
        self.0.insert(name.into(), text.into())
    }

    /// Takes a text out.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// All names with their texts, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a document, which starts at offset 0 of `json`.
    ///
    /// [`Mode::Strict`] takes what a writer of gVisor can have written and white space; [`Mode::Lenient`] takes what Go takes.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] with the place of the first thing that is wrong, [`Error::Limit`] for too many keys.
    pub fn parse(json: &[u8], mode: Mode, limits: &Limits) -> Result<Self, Error> {
        parse(json, 0, mode, limits)
    }

    /// The document, byte for byte as Go's `encoding/json` writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write::write(&self.0)
    }

    /// Refuses names that callers must not set.
    pub(crate) fn check_names(&self) -> Result<(), Error> {
        match self.0.keys().find(|name| name.starts_with('_')) {
            Some(name) => Err(Error::MetadataInvalid { key: name.clone() }),
            None => Ok(()),
        }
    }

    /// The length of the payload that the file promises.
    pub(crate) fn promised_len(&self, at: u64) -> Result<Option<u64>, Error> {
        let Some(text) = self.get(Self::LENGTH) else { return Ok(None) };
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        let value = text.parse().ok().filter(|_| is_plain);
        let reason = || format!("expected a number of bytes in `{}`, got `{}`", Self::LENGTH, shown(text));
        value.map(Some).ok_or_else(|| Error::Metadata { at: Offset::new(at), reason: reason() })
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, text)| (name.into(), text.into())).collect())
    }
}

impl<K: Into<String>, V: Into<String>> Extend<(K, V)> for Metadata {
    fn extend<I: IntoIterator<Item = (K, V)>>(&mut self, pairs: I) {
        self.0.extend(pairs.into_iter().map(|(name, text)| (name.into(), text.into())));
    }
}

impl IntoIterator for Metadata {
    type Item = (String, String);
    type IntoIter = std::collections::btree_map::IntoIter<String, String>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
