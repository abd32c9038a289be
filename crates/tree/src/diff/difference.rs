//! One difference, and the line that describes it.

use std::fmt;

use crate::{Kind, Mtime, name::display};

/// One difference between two trees. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Where, without leading slash; empty for the root.
    pub path: Vec<u8>,
    /// The attribute that differs.
    pub what: DifferenceKind,
}

impl Difference {
    pub(super) fn new(path: &[u8], what: DifferenceKind) -> Self {
        Self { path: path.to_vec(), what }
    }
}

/// The attribute in which two nodes of one path differ, with the value of each side.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`a` and `b` are the values of the two sides")]
#[non_exhaustive]
pub enum DifferenceKind {
    /// Only the first tree has it; the nodes below it are not reported again.
    OnlyInA { kind: Kind },
    /// Only the second tree has it; the nodes below it are not reported again.
    OnlyInB { kind: Kind },
    /// The sort of node; nothing else is compared then.
    Kind { a: Kind, b: Kind },
    /// The low twelve bits of the mode.
    Mode { a: u16, b: u16 },
    /// Owner and group numbers.
    Owner { a: (i64, i64), b: (i64, i64) },
    /// Time of last change.
    Mtime { a: Mtime, b: Mtime },
    /// Bytes of a file.
    Size { a: u64, b: u64 },
    /// Files of one size: the first byte that differs.
    Content { at: u64 },
    /// Target of a symlink.
    Target { a: Vec<u8>, b: Vec<u8> },
    /// Major and minor number of a device.
    Device { a: (u32, u32), b: (u32, u32) },
    /// An extended attribute, `None` on the side that lacks it.
    Xattr { name: Vec<u8>, a: Option<Vec<u8>>, b: Option<Vec<u8>> },
    /// A hard link on one side, another file on the other: the first path of the file on each side, `None` for this one.
    HardLink { a: Option<Vec<u8>>, b: Option<Vec<u8>> },
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_slice() {
            [] => f.write_str("/: ")?,
            path => write!(f, "{}: ", display(path))?,
        }
        match &self.what {
            DifferenceKind::OnlyInA { kind } => write!(f, "{kind} only in the first"),
            DifferenceKind::OnlyInB { kind } => write!(f, "{kind} only in the second"),
            DifferenceKind::Kind { a, b } => write!(f, "{a} / {b}"),
            DifferenceKind::Mode { a, b } => write!(f, "mode {a:04o} / {b:04o}"),
            DifferenceKind::Owner { a, b } => write!(f, "owner {}:{} / {}:{}", a.0, a.1, b.0, b.1),
            DifferenceKind::Mtime { a, b } => write!(f, "mtime {}.{:09} / {}.{:09}", a.secs, a.nanos, b.secs, b.nanos),
            DifferenceKind::Size { a, b } => write!(f, "size {a} / {b} bytes"),
            DifferenceKind::Content { at } => write!(f, "content from offset {at:#x}"),
            DifferenceKind::Target { a, b } => write!(f, "target `{}` / `{}`", display(a), display(b)),
            DifferenceKind::Device { a, b } => write!(f, "device {}:{} / {}:{}", a.0, a.1, b.0, b.1),
            DifferenceKind::Xattr { name, a, b } => {
                write!(f, "xattr {} {} / {}", display(name), value(a.as_deref()), value(b.as_deref()))
            }
            DifferenceKind::HardLink { a, b } => write!(f, "hard link {} / {}", link(a.as_deref()), link(b.as_deref())),
        }
    }
}

fn value(value: Option<&[u8]>) -> String {
    value.map_or_else(
        || "absent".to_owned(),
        |value| format!("\"{}\"", value.escape_ascii().take(256).map(char::from).collect::<String>()),
    )
}

fn link(first: Option<&[u8]>) -> String {
    first.map_or_else(|| "to nothing before it".to_owned(), |first| format!("to `{}`", display(first)))
}
