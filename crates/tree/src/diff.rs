//! Differences between two trees of any kind.
//!
//! Both are walked side by side in order of names, so only the current entries are in memory, and the numbers of files that
//! have hard links. Content is compared by reading both sides in blocks of 1 MiB. Where both have a hole nothing is read;
//! where one has a hole, the data of the other is compared with zeros.

mod difference;

use std::{cmp::Ordering, collections::BTreeMap, ops::ControlFlow};

use dunnage_digest::Progress;
use hashbrown::HashMap;

pub use self::difference::{Difference, DifferenceKind};
use crate::{
    Attr, Error, Kind, Limits, NodeId, Span, Tree, Visited, Walk,
    content::{Content, prefix},
};

/// Which differences count. By default, all do.
#[derive(Clone, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct CompareOptions {
    /// Times of last change. Default: to the nanosecond. A side that has none differs from nothing.
    pub mtime: CompareMtime,
    /// Owner and group numbers. Default: they count.
    pub owners: CompareOwners,
    /// Content of files. Default: it is read and compared.
    pub content: CompareContent,
    /// Extended attributes. Default: all count.
    pub xattrs: CompareXattrs,
    /// [`compare`] stops after so many. Default: never.
    pub at_most: Option<usize>,
    /// Ceilings of both walks.
    pub limits: Limits,
}

/// How exactly times of last change have to agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: the precisions that formats have")]
pub enum CompareMtime {
    /// To the nanosecond.
    #[default]
    Exact,
    /// To the second, cut off or half a second rounded up: formats that hold no more do one or the other.
    Seconds,
    /// Not at all.
    Ignore,
}

/// Whether owner and group numbers count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: they count or not")]
#[expect(missing_docs, reason = "the names say it")]
pub enum CompareOwners {
    #[default]
    Count,
    Ignore,
}

/// Whether the content of files is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: it is read or not")]
pub enum CompareContent {
    /// Files of one size are read and compared.
    #[default]
    Read,
    /// Only sizes count.
    SizeOnly,
}

/// Which extended attributes count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: all, those of users, or none")]
pub enum CompareXattrs {
    /// All.
    #[default]
    All,
    /// Those named `user.*`.
    User,
    /// None.
    Ignore,
}

/// The differences between `a` and `b`, in order of paths.
///
/// Use it where the differences are few or [limited](CompareOptions::at_most); [`compare_with`] keeps none in memory.
/// `progress` receives the bytes of content compared so far, holes included.
///
/// # Errors
///
/// Those of the trees; [`Error::Limit`] beyond the limits; [`Error::Cancelled`].
pub fn compare<A, B>(a: &A, b: &B, options: &CompareOptions, progress: Progress<'_>) -> Result<Vec<Difference>, Error>
where
    A: Tree + ?Sized,
    B: Tree + ?Sized,
{
    let mut found = Vec::new();
    let at_most = options.at_most.unwrap_or(usize::MAX);
    if at_most > 0 {
        compare_with(a, b, options, progress, &mut |difference| {
            found.push(difference);
            if found.len() < at_most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
    }
    Ok(found)
}

/// Hands each difference between `a` and `b` to `report`, in order of paths, until it breaks.
///
/// # Errors
///
/// As [`compare`].
pub fn compare_with<A, B>(
    a: &A,
    b: &B,
    options: &CompareOptions,
    progress: Progress<'_>,
    report: &mut dyn FnMut(Difference) -> ControlFlow<()>,
) -> Result<(), Error>
where
    A: Tree + ?Sized,
    B: Tree + ?Sized,
{
    let mut walk_a = Walk::new(a).limits(options.limits.clone());
    let mut walk_b = Walk::new(b).limits(options.limits.clone());
    let (partners, back) = (HashMap::new(), HashMap::new());
    let mut pair = Pair { a, b, options, progress, compared: 0, partners, back, buffers: None };
    let (mut at_a, mut at_b) = (walk_a.next().transpose()?, walk_b.next().transpose()?);
    loop {
        progress.check()?;
        let order = match (&at_a, &at_b) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => path_order(&a.path, &b.path),
        };
        let mut found = Vec::new();
        match (order, &at_a, &at_b) {
            (Ordering::Less, Some(only), _) => {
                walk_a.skip_children();
                found.push(Difference::new(&only.path, DifferenceKind::OnlyInA { kind: only.attr.kind }));
            }
            (Ordering::Greater, _, Some(only)) => {
                walk_b.skip_children();
                found.push(Difference::new(&only.path, DifferenceKind::OnlyInB { kind: only.attr.kind }));
            }
            (_, Some(in_a), Some(in_b)) => {
                if in_a.attr.kind != in_b.attr.kind {
                    walk_a.skip_children();
                    walk_b.skip_children();
                }
                pair.nodes(in_a, in_b, &mut found)?;
            }
            _ => {}
        }
        for difference in found {
            if report(difference).is_break() {
                return Ok(());
            }
        }
        if order != Ordering::Greater {
            at_a = walk_a.next().transpose()?;
        }
        if order != Ordering::Less {
            at_b = walk_b.next().transpose()?;
        }
    }
}

/// The order of a depth-first walk: name by name.
fn path_order(a: &[u8], b: &[u8]) -> Ordering {
    a.split(|&byte| byte == b'/').cmp(b.split(|&byte| byte == b'/'))
}

struct Pair<'p, A: ?Sized, B: ?Sized> {
    a: &'p A,
    b: &'p B,
    options: &'p CompareOptions,
    progress: Progress<'p>,
    /// Bytes of content that were compared.
    compared: u64,
    /// Files with several names, by their number in `a`: the number in `b` and the first path.
    partners: HashMap<NodeId, (NodeId, Vec<u8>)>,
    /// The same the other way round.
    back: HashMap<NodeId, (NodeId, Vec<u8>)>,
    buffers: Option<(Vec<u8>, Vec<u8>)>,
}

impl<A: Tree + ?Sized, B: Tree + ?Sized> Pair<'_, A, B> {
    fn nodes(&mut self, in_a: &Visited, in_b: &Visited, found: &mut Vec<Difference>) -> Result<(), Error> {
        let (a, b) = (&in_a.attr, &in_b.attr);
        let mut report = |what| found.push(Difference::new(&in_a.path, what));
        if a.kind != b.kind {
            report(DifferenceKind::Kind { a: a.kind, b: b.kind });
            return Ok(());
        }
        let known = match self.link(in_a, in_b) {
            Link::New => false,
            Link::Known => true,
            Link::Differs(what) => {
                report(what);
                false
            }
        };
        if known {
            // The same two files as under an earlier name.
            return Ok(());
        }
        // Symlinks have no modes of their own; a source may report any.
        if a.mode != b.mode && a.kind != Kind::Symlink {
            report(DifferenceKind::Mode { a: a.mode, b: b.mode });
        }
        if (a.uid, a.gid) != (b.uid, b.gid) && self.options.owners == CompareOwners::Count {
            report(DifferenceKind::Owner { a: (a.uid, a.gid), b: (b.uid, b.gid) });
        }
        if let (Some(time_a), Some(time_b)) = (a.mtime, b.mtime) {
            let differs = match self.options.mtime {
                CompareMtime::Exact => time_a != time_b,
                // Some formats round a time and some cut it off.
                CompareMtime::Seconds => time_a.secs != time_b.secs && time_a.rounded() != time_b.rounded(),
                CompareMtime::Ignore => false,
            };
            if differs {
                report(DifferenceKind::Mtime { a: time_a, b: time_b });
            }
        }
        if a.device != b.device {
            report(DifferenceKind::Device { a: a.device, b: b.device });
        }
        if a.kind == Kind::Symlink {
            let (link_a, link_b) = (self.a.read_link(in_a.node)?, self.b.read_link(in_b.node)?);
            if link_a != link_b {
                report(DifferenceKind::Target { a: link_a.into_owned(), b: link_b.into_owned() });
            }
        }
        if a.kind == Kind::File {
            if a.size != b.size {
                report(DifferenceKind::Size { a: a.size, b: b.size });
            } else if self.options.content == CompareContent::Read
                && let Some(at) = self.content(in_a.node, in_b.node, a.size)?
            {
                report(DifferenceKind::Content { at });
            }
        }
        self.xattrs(in_a.node, in_b.node, &mut report)
    }

    /// Whether files that share a number on one side share one on the other.
    fn link(&mut self, in_a: &Visited, in_b: &Visited) -> Link {
        let several = |attr: &Attr| attr.kind != Kind::Directory && attr.links > 1;
        if !several(&in_a.attr) && !several(&in_b.attr) {
            return Link::New;
        }
        let (to_b, to_a) = (self.partners.get(&in_a.node), self.back.get(&in_b.node));
        let what = match (to_b, to_a) {
            (Some((node, _)), Some(_)) if *node == in_b.node => return Link::Known,
            (None, None) => None,
            (first_a, first_b) => {
                let first = |side: Option<&(NodeId, Vec<u8>)>| side.map(|(_, path)| path.clone());
                Some(DifferenceKind::HardLink { a: first(first_a), b: first(first_b) })
            }
        };
        self.partners.entry(in_a.node).or_insert_with(|| (in_b.node, in_a.path.clone()));
        self.back.entry(in_b.node).or_insert_with(|| (in_a.node, in_b.path.clone()));
        what.map_or(Link::New, Link::Differs)
    }

    /// Position of the first byte that differs in two files of one size.
    fn content(&mut self, a: NodeId, b: NodeId, size: u64) -> Result<Option<u64>, Error> {
        let (mut a, mut b) = (Content::new(self.a, a, size), Content::new(self.b, b, size));
        let (buf_a, buf_b) = self.buffers.get_or_insert_with(|| (vec![0; BLOCK], vec![0; BLOCK]));
        loop {
            self.progress.check()?;
            let at = a.position();
            let (Some(span_a), Some(span_b)) = (a.span()?, b.span()?) else { return Ok(None) };
            let len = span_a.len().min(span_b.len());
            if let (Span::Hole(_), Span::Hole(_)) = (span_a, span_b) {
                a.pass(len);
                b.pass(len);
            } else {
                let (block_a, block_b) = (take(&mut a, span_a, buf_a, len)?, take(&mut b, span_b, buf_b, len)?);
                if block_a != block_b {
                    let same = block_a.iter().zip(block_b).take_while(|(a, b)| a == b).count();
                    return Ok(Some(at.saturating_add(same as u64)));
                }
                if block_a.is_empty() {
                    // Both files shrank to this length.
                    return Ok(None);
                }
            }
            self.compared = self.compared.saturating_add(a.position().saturating_sub(at));
            self.progress.at(self.compared);
        }
    }

    fn xattrs(&self, a: NodeId, b: NodeId, report: &mut dyn FnMut(DifferenceKind)) -> Result<(), Error> {
        let counts = |name: &[u8]| match self.options.xattrs {
            CompareXattrs::All => true,
            CompareXattrs::User => name.starts_with(b"user."),
            CompareXattrs::Ignore => false,
        };
        if self.options.xattrs == CompareXattrs::Ignore {
            return Ok(());
        }
        /// The value on each side.
        type Sides = (Option<Vec<u8>>, Option<Vec<u8>>);
        let mut all: BTreeMap<Vec<u8>, Sides> = BTreeMap::new();
        self.a.xattrs(a, &mut |name, value| {
            if counts(name) {
                all.entry(name.to_vec()).or_default().0 = Some(value.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        self.b.xattrs(b, &mut |name, value| {
            if counts(name) {
                all.entry(name.to_vec()).or_default().1 = Some(value.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        for (name, (a, b)) in all {
            if a != b {
                report(DifferenceKind::Xattr { name, a, b });
            }
        }
        Ok(())
    }
}

/// Reads up to `len` bytes of one side. Of a hole, these are zeros.
fn take<'b, T: Tree + ?Sized>(
    content: &mut Content<'_, T>,
    span: Span,
    buf: &'b mut [u8],
    len: u64,
) -> Result<&'b [u8], Error> {
    let part = prefix(buf, len);
    let read = match span {
        Span::Data(_) => content.read(part, len)?,
        Span::Hole(_) => {
            part.fill(0);
            content.pass(part.len() as u64);
            part.len()
        }
    };
    Ok(part.get(..read).unwrap_or_default())
}

enum Link {
    /// Nothing is known about the two yet.
    New,
    /// They were compared under an earlier name.
    Known,
    Differs(DifferenceKind),
}

const BLOCK: usize = 1 << 20;
