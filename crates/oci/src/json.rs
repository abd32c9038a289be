//! JSON objects of which single fields are changed and everything else stays as it was written.
//!
//! Values are kept as the text they were: unknown fields, their order, numbers of any length and white space inside them
//! survive. Objects that two readers could understand differently are refused: a key that appears twice, and a key that
//! differs from a known one in nothing but case, which some readers take for the same.

use std::{collections::BTreeSet, fmt};

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, Visitor},
    ser::SerializeMap,
};
use serde_json::value::RawValue;

use crate::Error;

/// An object: its fields in order, each value as text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Object {
    fields: Vec<(String, Box<RawValue>)>,
}

impl Object {
    /// Parses `bytes`, which are called `document` in errors and whose meaning depends on the keys `known`.
    pub(crate) fn parse(bytes: &[u8], document: &str, known: &[&str]) -> Result<Self, Error> {
        let object: Self =
            serde_json::from_slice(bytes).map_err(|error| not_json(document, "a JSON object", &error))?;
        for (key, _) in &object.fields {
            let alike = known.iter().find(|known| *known != key && fold(known) == fold(key));
            if let Some(alike) = alike {
                let (expected, got) = (format!("a key `{alike}`"), format!("`{}`", key.escape_debug()));
                return Err(Error::Malformed { document: document.to_owned(), expected, got });
            }
        }
        Ok(object)
    }

    /// The same for a value inside of another object.
    pub(crate) fn parse_value(value: &RawValue, document: &str, known: &[&str]) -> Result<Self, Error> {
        Self::parse(value.get().as_bytes(), document, known)
    }

    pub(crate) fn get(&self, key: &str) -> Option<&RawValue> {
        self.fields.iter().find(|(name, _)| name == key).map(|(_, value)| &**value)
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// The value of `key` as `T`; `None` if it is not there or null.
    pub(crate) fn read<'o, T: Deserialize<'o>>(
        &'o self,
        key: &str,
        document: &str,
        what: &str,
    ) -> Result<Option<T>, Error> {
        let Some(value) = self.get(key).filter(|value| value.get() != "null") else { return Ok(None) };
        serde_json::from_str(value.get()).map_err(|error| not_json(document, &format!("{what} as `{key}`"), &error))
    }

    /// The value of `key`, which has to be there.
    pub(crate) fn need<'o, T: Deserialize<'o>>(&'o self, key: &str, document: &str, what: &str) -> Result<T, Error> {
        self.read(key, document, what)?.ok_or_else(|| Error::Malformed {
            document: document.to_owned(),
            expected: format!("{what} as `{key}`"),
            got: "nothing".to_owned(),
        })
    }

    /// Gives `key` another value in its place, or adds it at the end.
    pub(crate) fn set<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), Error> {
        let value = serde_json::value::to_raw_value(value)
            .map_err(|error| Error::Misuse(format!("`{key}` cannot be written as JSON: {error}")))?;
        match self.fields.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.fields.push((key.to_owned(), value)),
        }
        Ok(())
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.fields.retain(|(name, _)| name != key);
    }

    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.fields.retain(|(name, _)| keep(name));
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The document, without white space between its fields.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(self).map_err(|error| Error::Misuse(format!("a document cannot be written: {error}")))
    }
}

/// As serde_json puts it, without the position in words of its own if it is at the very start.
fn not_json(document: &str, expected: &str, error: &serde_json::Error) -> Error {
    Error::Malformed {
        document: document.to_owned(),
        expected: expected.to_owned(),
        got: format!("JSON with an error: {error}"),
    }
}

/// Letters of one name in whatever case become the same, also the two that only Unicode has (long s and Kelvin).
fn fold(key: &str) -> String {
    key.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.fields.len()))?;
        for (key, value) in &self.fields {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Object, M::Error> {
        let mut fields: Vec<(String, Box<RawValue>)> = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((key, value)) = map.next_entry::<String, Box<RawValue>>()? {
            if !seen.insert(key.clone()) {
                return Err(serde::de::Error::custom(format_args!("key `{}` appears twice", key.escape_debug())));
            }
            fields.push((key, value));
        }
        Ok(Object { fields })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Object, String> {
        Object::parse(text.as_bytes(), "it", &["layers", "key"]).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_not_changed_stays_as_it_was_written() {
        let text = r#"{"z":1.50,"a":{ "b" : [1e400,  "\u00e9"] },"big":123456789012345678901234567890,"x":null}"#;
        let mut object = parse(text).unwrap();
        assert_eq!(String::from_utf8(object.to_bytes().unwrap()).unwrap(), text);
        object.set("a", &["new"]).unwrap();
        object.set("end", "é").unwrap();
        object.remove("x");
        let wanted = r#"{"z":1.50,"a":["new"],"big":123456789012345678901234567890,"end":"é"}"#;
        assert_eq!(String::from_utf8(object.to_bytes().unwrap()).unwrap(), wanted);
    }

    #[test]
    fn objects_with_two_meanings_are_refused() {
        for (text, wanted) in [
            (
                r#"{"a":1,"a":1}"#,
                "malformed it: expected a JSON object, got JSON with an error: key `a` appears twice at line 1 column 13",
            ),
            (r#"{"Layers":1}"#, "malformed it: expected a key `layers`, got `Layers`"),
            ("{\"layer\u{17f}\":1}", "malformed it: expected a key `layers`, got `layerſ`"),
            ("{\"\u{212a}ey\":1}", "malformed it: expected a key `key`, got `\u{212a}ey`"),
            (
                "[]",
                "malformed it: expected a JSON object, got JSON with an error: invalid type: sequence, expected an object at line 1 column 0",
            ),
            (
                "{} {}",
                "malformed it: expected a JSON object, got JSON with an error: trailing characters at line 1 column 4",
            ),
            (
                "",
                "malformed it: expected a JSON object, got JSON with an error: EOF while parsing a value at line 1 column 0",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err(), wanted, "{text}");
        }
    }
}
