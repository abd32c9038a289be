//! The metadata of a file: strings by name, stored as a JSON object (docs/formats/statefile.md, "Metadata").

mod parse;
mod write;

use std::collections::BTreeMap;

use dunnage_digest::Offset;

use crate::{Error, Limits, Mode, error::shown};

pub(crate) use parse::parse;

/// The most bytes of JSON that the format allows for the metadata.
pub const MAX_METADATA_LEN: u64 = 16 << 20;

/// The metadata of a state file: strings by name, ordered by the bytes of the name, as they are written.
///
/// Fill one for a [`Writer`](crate::Writer), which borrows it and adds `_timestamp` and `compression`. A reader returns
/// one that has what the file has, without defaults. All of it is in memory; [`Limits::metadata`] bounds it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, String>);

impl Metadata {
    /// The key of the time at which the file was written. The writer sets it.
    pub const TIMESTAMP: &'static str = "_timestamp";

    /// The key of the payload's length, in decimal, if the writer knew it beforehand. gVisor does not know this key.
    /// [`Reader`](crate::Reader) and [`File`](crate::File) return an error if the payload has another length.
    pub const LENGTH: &'static str = "dunnage.length";

    /// Empty metadata.
    #[must_use]
    pub const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// The value of `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The value of `name`, for callers that need it.
    ///
    /// # Errors
    ///
    /// [`Error::MetadataMissing`] if there is none.
    pub fn require(&self, name: &str) -> Result<&str, Error> {
        self.get(name).ok_or_else(|| Error::MetadataMissing { key: name.to_owned() })
    }

    /// Sets a value and returns the former one. A writer refuses names that start with `_`, which the format reserves.
    pub fn insert(&mut self, name: impl Into<String>, text: impl Into<String>) -> Option<String> {
        self.0.insert(name.into(), text.into())
    }

    /// Removes a name and returns its value.
    pub fn remove(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// All names and values, ordered by name.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Number of names.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no names.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses the JSON document of a file. Offsets in errors count from the start of `json`.
    ///
    /// [`Mode::Strict`] accepts documents that a writer of gVisor can make, with white space anywhere.
    /// [`Mode::Lenient`] accepts all that Go accepts: repeated keys, of which the last counts, `null` for an empty
    /// string, and broken strings.
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`] with the offset of the first fault, [`Error::Limit`] for too many keys.
    pub fn parse(json: &[u8], mode: Mode, limits: &Limits) -> Result<Self, Error> {
        parse(json, 0, mode, limits)
    }

    /// The JSON document, byte for byte as Go's `encoding/json` writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        write::write(&self.0)
    }

    /// Refuses names that the format reserves.
    pub(crate) fn check_names(&self) -> Result<(), Error> {
        match self.0.keys().find(|name| name.starts_with('_')) {
            Some(name) => Err(Error::MetadataInvalid { key: name.clone() }),
            None => Ok(()),
        }
    }

    /// The length of the payload under [`LENGTH`](Self::LENGTH). An error names the offset `at`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_a_plain_decimal_number() {
        let check = |text: &str, wanted: Result<Option<u64>, &str>| {
            let metadata: Metadata = [(Metadata::LENGTH, text)].into_iter().collect();
            let got = metadata.promised_len(0x10).map_err(|error| error.to_string());
            assert_eq!(got, wanted.map_err(|wanted| format!("malformed metadata at offset 0x10: {wanted}")), "{text}");
        };
        check("0", Ok(Some(0)));
        check("18446744073709551615", Ok(Some(u64::MAX)));
        check("+1", Err("expected a number of bytes in `dunnage.length`, got `+1`"));
        check("", Err("expected a number of bytes in `dunnage.length`, got ``"));
        assert_eq!(Metadata::new().promised_len(0).unwrap(), None);
    }
}
