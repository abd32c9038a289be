//! Writes the document as Go does: without white space, ordered by name, and with five characters escaped that JSON
//! allows.
//!
//! | character | written |
//! |---|---|
//! | `"` `\` | `\"` `\\` |
//! | backspace, form feed, line feed, carriage return, tab | `\b` `\f` `\n` `\r` `\t` |
//! | others below 0x20, `<` `>` `&`, U+2028, U+2029 | `\u` and four lower-case hex digits |
//! | all others, also 0x7f and `/` | unchanged |

use std::{collections::BTreeMap, fmt::Write as _};

pub(super) fn write(map: &BTreeMap<String, String>) -> Vec<u8> {
    let mut json = String::from("{");
    for (at, (name, text)) in map.iter().enumerate() {
        if at > 0 {
            json.push(',');
        }
        string(name, &mut json);
        json.push(':');
        string(text, &mut json);
    }
    json.push('}');
    json.into_bytes()
}

fn string(text: &str, json: &mut String) {
    json.push('"');
    for char in text.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..' ' | '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            char => json.push(char),
        }
    }
    json.push('"');
}

#[cfg(test)]
mod tests {
    use crate::{Limits, Metadata, Mode};

    #[test]
    fn the_document_equals_that_of_go() {
        let awkward = "q\"b\\s/ \x08\x0c\n\r\t\x00\x1f\x7f \u{2028}\u{2029} é 😀 ok";
        let metadata: Metadata = [
            ("Z", "1"),
            ("a", "3"),
            ("é", "4"),
            ("", "5"),
            ("compression", "none"),
            ("a<b>&c", awkward),
            ("_timestamp", "2024-06-18 19:27:12.123456789 +0000 UTC"),
        ]
        .into_iter()
        .collect();
        let wanted = concat!(
            "7b22223a2235222c225a223a2231222c225f74696d657374616d70223a22323032342d30362d31382031393a32373a31322e3132333435363738",
            "39202b3030303020555443222c2261223a2233222c22615c7530303363625c75303033655c753030323663223a22715c22625c5c732f205c625c",
            "665c6e5c725c745c75303030305c75303031667f205c75323032385c753230323920c3a920f09f9880206f6b222c22636f6d7072657373696f6e",
            "223a226e6f6e65222c22c3a9223a2234227d",
        );
        let json = metadata.to_json();
        assert_eq!(json.len(), 192);
        assert_eq!(dunnage_digest::encode_hex(&json), wanted);
        assert_eq!(Metadata::parse(&json, Mode::Strict, &Limits::default()).unwrap(), metadata);
    }
}
