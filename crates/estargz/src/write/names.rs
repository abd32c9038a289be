//! Text for the TOC out of bytes from a tar header.

use std::collections::HashMap;

use super::NonUtf8;
use crate::Error;

/// The text for `bytes`, which come from the entry `name`.
pub(crate) fn text_of(bytes: &[u8], policy: NonUtf8, name: &[u8]) -> Result<String, Error> {
    match (std::str::from_utf8(bytes), policy) {
        (Ok(text), _) => Ok(text.to_owned()),
        (Err(_), NonUtf8::Refuse) => Err(Error::Unsupported {
            name: name.escape_ascii().to_string(),
            reason: format!("`{}` is not UTF-8, and a TOC can hold nothing else", bytes.escape_ascii()),
        }),
        (Err(_), NonUtf8::Replace) => {
            let mut text = String::with_capacity(bytes.len());
            for chunk in bytes.utf8_chunks() {
                text.push_str(chunk.valid());
                text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            Ok(text)
        }
    }
}

/// Names already given to an id; a TOC mentions a name only where it changes.
#[derive(Debug, Default)]
pub(super) struct Mentions(HashMap<i64, Vec<u8>>);

impl Mentions {
    /// `name` if it has to be written, else nothing.
    pub(super) fn new_name<'a>(&mut self, id: i64, name: &'a [u8]) -> &'a [u8] {
        if name.is_empty() {
            return name;
        }
        let last = self.0.entry(id).or_default();
        if last == name {
            return &[];
        }
        name.clone_into(last);
        name
    }
}
