//! Names for the TOC out of bytes from a tar header.

use std::{borrow::Cow, collections::HashMap, str::Utf8Chunk};

use dunnage_tree::tar::Header;

use super::NonUtf8;
use crate::{Error, toc::XattrRefs};

/// Checks `bytes`, which come from the entry `name`. Bytes that are not UTF-8 and may be replaced are replaced when the document
/// is written, because its escape there is another one than that of a U+FFFD in the input.
pub(crate) fn text_of(bytes: &[u8], policy: NonUtf8, name: &[u8]) -> Result<Cow<'static, [u8]>, Error> {
    if policy == NonUtf8::Refuse && std::str::from_utf8(bytes).is_err() {
        return Err(Error::Unsupported {
            name: name.escape_ascii().to_string(),
            reason: format!("`{}` is not UTF-8, and a TOC can hold nothing else", bytes.escape_ascii()),
        });
    }
    Ok(Cow::Owned(bytes.to_vec()))
}

/// The extended attributes of an entry, in bytewise order of their names.
pub(super) fn xattrs_of(header: &Header, policy: NonUtf8) -> Result<XattrRefs<'static, [u8]>, Error> {
    let mut xattrs = XattrRefs::new();
    for (name, value) in header.xattrs() {
        xattrs.push((text_of(name, policy, &header.name)?, Cow::Owned(value.to_vec())));
    }
    let mut shown: Vec<_> = xattrs.iter().map(|(name, _)| shown(name)).collect();
    shown.sort_unstable();
    if shown.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
        return Err(Error::Unsupported {
            name: header.name.escape_ascii().to_string(),
            reason: "names of extended attributes that a TOC cannot tell apart".to_owned(),
        });
    }
    Ok(xattrs)
}

/// What a reader of the document will see.
fn shown(name: &[u8]) -> Cow<'_, str> {
    if let Ok(name) = std::str::from_utf8(name) {
        return Cow::Borrowed(name);
    }
    let chars = |chunk: Utf8Chunk<'_>| {
        let replaced = chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER);
        chunk.valid().chars().chain(replaced).collect::<String>()
    };
    name.utf8_chunks().map(chars).collect()
}

/// Names already given to an id; a TOC mentions a name only where it changes.
#[derive(Debug, Default)]
pub(super) struct NamesGiven(HashMap<i64, Vec<u8>>);

impl NamesGiven {
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
