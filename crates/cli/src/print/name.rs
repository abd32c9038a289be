//! Names, which are bytes, on terminals and in JSON, which are not.

use std::borrow::Cow;

use base64::Engine as _;
use serde::{Serialize, Serializer, ser::SerializeMap};

/// A name that a terminal can show and that cannot show itself as something else: unprintable characters are escaped.
pub(crate) fn printable(name: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(name) {
        Ok(text) if !text.chars().any(is_unsafe) => Cow::Borrowed(text),
        _ => Cow::Owned(name.escape_ascii().to_string()),
    }
}

/// Control characters, and those that change the direction of text or are not seen.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A name in JSON, as one or two keys to be flattened into an object: `KEY` with the text, and if the name is no UTF-8,
/// `KEY_base64` with the bytes.
#[derive(Clone, Debug)]
pub(crate) struct JsonName {
    pub(crate) key: &'static str,
    pub(crate) name: Vec<u8>,
}

impl Serialize for JsonName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(self.key, &String::from_utf8_lossy(&self.name))?;
        if std::str::from_utf8(&self.name).is_err() {
            let bytes = base64::engine::general_purpose::STANDARD.encode(&self.name);
            map.serialize_entry(&format!("{}_base64", self.key), &bytes)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_act_on_is_escaped() {
        for (name, wanted) in [
            (b"plain name".as_slice(), "plain name"),
            ("grüße".as_bytes(), "grüße"),
            (b"a\x1b[2Jb", r"a\x1b[2Jb"),
            (b"two\nlines", r"two\nlines"),
            (b"\xff", r"\xff"),
            ("cod\u{202e}txt.exe".as_bytes(), r"cod\xe2\x80\xaetxt.exe"),
        ] {
            assert_eq!(printable(name), wanted);
        }
    }

    #[test]
    fn names_survive_json() {
        for (name, wanted) in
            [(b"a\"b\n".as_slice(), r#"{"name":"a\"b\n"}"#), (b"\xff\xfe", r#"{"name":"��","name_base64":"//4="}"#)]
        {
            let name = JsonName { key: "name", name: name.to_vec() };
            assert_eq!(serde_json::to_string(&name).unwrap(), wanted);
        }
    }
}
