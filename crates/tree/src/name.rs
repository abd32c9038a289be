//! Names that can be used as names.
//!
//! Leading `/` and `./` are stripped, a `..` component is refused rather than folded. Formats that define folding
//! (eStargz) fold while they parse; only the folded form exists afterwards.

use std::fmt;

/// One component of a path: non-empty, no `/`, no NUL, not `.` or `..`, at most 255 bytes.
///
/// Use it for names from an archive or a document before they reach a host file system.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SafeName<'a>(&'a [u8]);

impl<'a> SafeName<'a> {
    /// Checks a component.
    ///
    /// # Errors
    ///
    /// [`UnsafeName`] with the reason.
    pub fn new(name: &'a [u8]) -> Result<Self, UnsafeName> {
        let reason = match name {
            [] => "empty",
            b"." | b".." => "a relative component",
            _ if name.len() > 255 => "longer than 255 bytes",
            _ if name.contains(&0) => "contains NUL",
            _ if name.contains(&b'/') => "contains `/`",
            _ => return Ok(Self(name)),
        };
        Err(UnsafeName { name: display(name), reason })
    }

    /// The bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }
}

impl fmt::Debug for SafeName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafeName({})", display(self.0))
    }
}

/// A relative path of safe names; empty for the root. Use it for paths of archives, as [`SafeName`] for single names.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SafePath(Vec<u8>);

impl SafePath {
    /// Checks an archive's path: leading `/`, `.` components, doubled and trailing slashes fall away.
    ///
    /// # Errors
    ///
    /// [`UnsafeName`] for `..`, NUL and components over 255 bytes.
    pub fn new(path: &[u8]) -> Result<Self, UnsafeName> {
        let mut clean = Vec::with_capacity(path.len());
        for part in path.split(|&byte| byte == b'/') {
            if matches!(part, b"" | b".") {
                continue;
            }
            let name = SafeName::new(part).map_err(|error| UnsafeName { name: display(path), ..error })?;
            if !clean.is_empty() {
                clean.push(b'/');
            }
            clean.extend_from_slice(name.as_bytes());
        }
        Ok(Self(clean))
    }

    /// The bytes, without leading or trailing slash.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is the root.
    #[must_use]
    pub const fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names it consists of, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = SafeName<'_>> {
        self.0.split(|&byte| byte == b'/').filter(|part| !part.is_empty()).map(SafeName)
    }

    /// The directory it lies in, and its last name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(&[u8], SafeName<'_>)> {
        if self.0.is_empty() {
            return None;
        }
        match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => {
                let (parent, rest) = self.0.split_at(at);
                Some((parent, SafeName(rest.get(1..).unwrap_or_default())))
            }
            None => Some((&[], SafeName(&self.0))),
        }
    }
}

impl fmt::Debug for SafePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SafePath({})", display(&self.0))
    }
}

/// A name that was refused, for a reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` {reason}")]
#[non_exhaustive]
pub struct UnsafeName {
    /// The name, with unprintable bytes escaped.
    pub name: String,
    /// The reason.
    pub reason: &'static str,
}

/// Bytes of a name as text for messages, unprintable ones escaped, cut at 256 bytes.
#[must_use]
pub fn display(name: &[u8]) -> String {
    match name.get(..256) {
        Some(head) if name.len() > 256 => format!("{}…", head.escape_ascii()),
        _ => match std::str::from_utf8(name) {
            Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
            _ => name.escape_ascii().to_string(),
        },
    }
}
