//! Descriptors: the type, digest and size by which a document refers to a blob.
//!
//! The rules are in `docs/formats/oci.md`.

use std::collections::BTreeMap;

use dunnage_digest::Digest;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{Error, Platform, json::Object};

/// Annotation that holds the tag of an entry of a layout.
pub const TAG_ANNOTATION: &str = "org.opencontainers.image.ref.name";

/// Type, digest and size of a blob, and the other fields of the document that refers to it.
///
/// [`Images::resolve`](crate::Images::resolve) returns one, and [`Images::blob`](crate::Images::blob) opens its blob. It keeps
/// unknown fields as they were written.
#[derive(Clone, Debug)]
pub struct Descriptor {
    media_type: String,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
    platform: Option<Platform>,
    /// As it was written.
    fields: Object,
}

const KNOWN: &[&str] = &["mediaType", "digest", "size", "annotations", "platform", "urls", "data", "artifactType"];

impl Descriptor {
    /// A descriptor with these three fields and no others.
    pub(crate) fn new(media_type: &str, digest: Digest, size: u64) -> Result<Self, Error> {
        let mut fields = Object::default();
        fields.set("mediaType", media_type)?;
        fields.set("digest", &digest.to_string())?;
        fields.set("size", &size)?;
        let (annotations, platform) = (BTreeMap::new(), None);
        Ok(Self { media_type: media_type.to_owned(), digest, size, annotations, platform, fields })
    }

    /// Reads a descriptor; `document` is what it stands in.
    pub(crate) fn parse(value: &RawValue, document: &str) -> Result<Self, Error> {
        let fields = Object::parse_value(value, document, KNOWN)?;
        let media_type: String = fields.need("mediaType", document, "a text")?;
        let text: String = fields.need("digest", document, "a text")?;
        // Paths are made of digests only, and this is the only place that makes a digest of a text.
        let digest = Digest::parse_oci(&text).map_err(|error| Error::Malformed {
            document: document.to_owned(),
            expected: format!("a digest ({error})"),
            got: format!("`{}`", text.escape_debug()),
        })?;
        let size = fields.need("size", document, "a number of bytes")?;
        let annotations = fields.read("annotations", document, "a map of texts")?.unwrap_or_default();
        let platform = fields.read("platform", document, "a platform")?;
        Ok(Self { media_type, digest, size, annotations, platform, fields })
    }

    /// Media type of the blob.
    #[must_use]
    pub fn media_type(&self) -> &str {
        &self.media_type
    }

    /// Digest of the blob.
    #[must_use]
    pub const fn digest(&self) -> Digest {
        self.digest
    }

    /// Bytes of the blob.
    #[must_use]
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// Its annotations.
    #[must_use]
    pub const fn annotations(&self) -> &BTreeMap<String, String> {
        &self.annotations
    }

    /// One of its annotations.
    #[must_use]
    pub fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.get(name).map(String::as_str)
    }

    /// The platform, if the descriptor names one. Manifests that stand alone name theirs in their configuration.
    #[must_use]
    pub const fn platform(&self) -> Option<&Platform> {
        self.platform.as_ref()
    }

    /// The tag, if it is an entry of a layout that has one.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        self.annotation(TAG_ANNOTATION)
    }

    /// Whether the blob may be found somewhere else.
    pub(crate) fn has_urls(&self) -> bool {
        self.fields.has("urls")
    }

    /// The same descriptor for another blob. Fields about the old blob alone (`data`, `urls`) are removed.
    pub(crate) fn lead_to(&self, media_type: &str, digest: Digest, size: u64) -> Result<Self, Error> {
        let mut new = self.clone();
        new.fields.set("mediaType", media_type)?;
        media_type.clone_into(&mut new.media_type);
        if (digest, size) != (self.digest, self.size) {
            new.fields.set("digest", &digest.to_string())?;
            new.fields.set("size", &size)?;
            new.fields.remove("urls");
            new.fields.remove("data");
            (new.digest, new.size) = (digest, size);
        }
        Ok(new)
    }

    /// Removes the annotations that `drop` names and sets `set`; all others stay as they were written.
    pub(crate) fn annotate<'a>(
        &mut self,
        drop: impl Fn(&str) -> bool,
        set: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<(), Error> {
        let mut written = match self.fields.get("annotations") {
            Some(value) if value.get() != "null" => Object::parse_value(value, "annotations", &[])?,
            _ => Object::default(),
        };
        let before = self.annotations.len();
        self.annotations.retain(|name, _| !drop(name));
        written.retain(|name| !drop(name));
        let mut changed = self.annotations.len() != before;
        for (name, value) in set {
            changed |= self.annotations.insert(name.to_owned(), value.to_owned()).as_deref() != Some(value);
            written.set(name, value)?;
        }
        match (changed, written.is_empty()) {
            (false, _) => {}
            (true, true) => self.fields.remove("annotations"),
            (true, false) => self.fields.set("annotations", &written)?,
        }
        Ok(())
    }
}

impl Serialize for Descriptor {
    /// As it was written, but for what was changed.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.fields.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Descriptor, String> {
        Descriptor::parse(&RawValue::from_string(text.to_owned()).unwrap(), "it").map_err(|error| error.to_string())
    }

    fn text(descriptor: &Descriptor) -> String {
        serde_json::to_string(descriptor).unwrap()
    }

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn only_what_has_to_change_does() {
        let before = format!(
            r#"{{"annotations":{{"b":"1","old":"2","a":"é"}},"mediaType":"x","x-new":{{"k": 1.0}},"digest":"sha256:{HEX}","size":5,"data":"aGVsbG8=","urls":["u"],"platform":{{"os":"linux","architecture":"arm","os.version":"7"}}}}"#
        );
        let descriptor = parse(&before).unwrap();
        assert_eq!(text(&descriptor), before);
        let same = descriptor.lead_to("y", descriptor.digest(), 5).unwrap();
        assert_eq!(text(&same), before.replace(r#""x""#, r#""y""#));
        let other = Digest::sha256([0; 32]);
        let mut new = descriptor.lead_to("x", other, 6).unwrap();
        new.annotate(|name| name == "old", [("new", "3")]).unwrap();
        let after = format!(
            r#"{{"annotations":{{"b":"1","a":"é","new":"3"}},"mediaType":"x","x-new":{{"k": 1.0}},"digest":"{other}","size":6,"platform":{{"os":"linux","architecture":"arm","os.version":"7"}}}}"#
        );
        assert_eq!(text(&new), after);
        new.annotate(|_| true, []).unwrap();
        assert!(!text(&new).contains("annotations"));
    }

    #[test]
    fn what_is_no_descriptor_says_why() {
        let digest = format!("sha256:{HEX}");
        for (text, wanted) in [
            (r#"{"digest":"a:b","size":1}"#.to_owned(), "malformed it: expected a text as `mediaType`, got nothing"),
            (
                r#"{"mediaType":"x","digest":"sha256:../../../etc/passwd","size":1}"#.to_owned(),
                "malformed it: expected a digest (expected 64 hex digits, got 19), got `sha256:../../../etc/passwd`",
            ),
            (
                r#"{"mediaType":"x","digest":"../x:00","size":1}"#.to_owned(),
                "malformed it: expected a digest (unknown digest algorithm `../x`), got `../x:00`",
            ),
            (
                format!(r#"{{"mediaType":"x","digest":"{digest}","size":-1}}"#),
                "malformed it: expected a number of bytes as `size`, got JSON with an error: invalid value: integer `-1`, expected u64 at line 1 column 2",
            ),
            (
                format!(r#"{{"mediaType":"x","digest":"{digest}","size":1,"Size":2}}"#),
                "malformed it: expected a key `size`, got `Size`",
            ),
            (
                format!(r#"{{"mediaType":"x","digest":"{digest}","size":1,"annotations":{{"a":1}}}}"#),
                "malformed it: expected a map of texts as `annotations`, got JSON with an error: invalid type: integer `1`, expected a string at line 1 column 6",
            ),
        ] {
            assert_eq!(parse(&text).unwrap_err(), wanted, "{text}");
        }
    }
}
