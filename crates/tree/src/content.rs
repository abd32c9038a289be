//! Content of a file of a tree, span by span.

use std::ops::Range;

use crate::{Error, NodeId, Span, Tree};

/// Content of a file on its way from front to back, holes known.
#[derive(Debug)]
pub(crate) struct Content<'t, T: ?Sized> {
    tree: &'t T,
    node: NodeId,
    at: u64,
    size: u64,
    /// The data that the tree reported last; from `at` to its start there are zeros.
    data: Range<u64>,
    /// Whether the bytes before `at` were passed over, not read.
    passed: bool,
}

/// How long a file is, measured by its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Same,
    Shorter,
    Longer,
}

impl<'t, T: Tree + ?Sized> Content<'t, T> {
    /// The content of `node`, a file of `size` bytes by its attributes.
    pub(crate) fn new(tree: &'t T, node: NodeId, size: u64) -> Self {
        Self { tree, node, at: 0, size, data: 0..0, passed: false }
    }

    /// The same content from its start.
    pub(crate) fn again(&self) -> Self {
        Self::new(self.tree, self.node, self.size)
    }

    pub(crate) const fn position(&self) -> u64 {
        self.at
    }

    pub(crate) const fn size(&self) -> u64 {
        self.size
    }

    /// The span at the position; `None` at the end.
    pub(crate) fn span(&mut self) -> Result<Option<Span>, Error> {
        if self.at >= self.size {
            return Ok(None);
        }
        if self.at >= self.data.end {
            let rest = self.at..self.size;
            let data =
                if self.size < HOLES_FROM { Some(rest.clone()) } else { self.tree.data_from(self.node, self.at)? };
            self.data = match data {
                // With data of no bytes, the position would never move.
                Some(data) if data.end <= self.at || data.is_empty() => rest,
                Some(data) => data.start.clamp(rest.start, rest.end)..data.end.min(rest.end),
                None => rest.end..rest.end,
            };
            if self.data.start == self.size && self.measure(true)? == Length::Shorter {
                // The file shrank. As data, the read that finds no byte there reports it.
                self.data = self.at..self.size;
            }
        }
        let hole = self.data.start.saturating_sub(self.at);
        Ok(Some(if hole > 0 { Span::Hole(hole) } else { Span::Data(self.data.end.saturating_sub(self.at)) }))
    }

    /// Moves the position over `len` bytes.
    pub(crate) fn pass(&mut self, len: u64) {
        self.at = self.at.saturating_add(len);
        self.passed = true;
    }

    /// The span at the position, a hole passed over; `None` at the end.
    pub(crate) fn next_span(&mut self) -> Result<Option<Span>, Error> {
        let span = self.span()?;
        if let Some(Span::Hole(len)) = span {
            self.pass(len);
        }
        Ok(span)
    }

    /// Reads up to `len` bytes from the tree; 0 if the file ends before its size.
    pub(crate) fn read(&mut self, buf: &mut [u8], len: u64) -> Result<usize, Error> {
        let read = self.tree.read_at(self.node, self.at, prefix(buf, len))?;
        self.at = self.at.saturating_add(read as u64);
        self.passed = false;
        Ok(read)
    }

    /// The length of the file, once the position is at the end.
    pub(crate) fn length(&self) -> Result<Length, Error> {
        self.measure(self.passed)
    }

    /// Compares the length with the size. After a last hole, no read has shown yet that the byte before the end exists.
    fn measure(&self, passed: bool) -> Result<Length, Error> {
        let expected = u64::from(passed);
        let from = self.size.saturating_sub(expected);
        let mut buf = [0; 2];
        let read = self.tree.read_at(self.node, from, prefix(&mut buf, expected.saturating_add(1)))? as u64;
        Ok(match read.cmp(&expected) {
            std::cmp::Ordering::Less => Length::Shorter,
            std::cmp::Ordering::Equal => Length::Same,
            std::cmp::Ordering::Greater => Length::Longer,
        })
    }
}

/// The first `len` bytes of `buf`, or all of it.
pub(crate) fn prefix(buf: &mut [u8], len: u64) -> &mut [u8] {
    let len = usize::try_from(len).map_or(buf.len(), |len| len.min(buf.len()));
    buf.get_mut(..len).unwrap_or_default()
}

/// In smaller files, asking for holes costs more than reading them.
const HOLES_FROM: u64 = 64 << 10;
