//! Reading a blob by position, through a shared reference.
//!
//! There is no seek position, so any number of threads can read one source at once.

use std::{
    fs::File,
    io::{self, Read},
    ops::Range,
    os::unix::fs::FileExt,
    sync::Arc,
};

use crate::{Offset, ReadRequest};

/// Random access to the bytes of one blob.
///
/// Implement it for anything that can return a range of bytes: a local file, memory, an object on a server. The readers
/// of this workspace take a `ReadAt` instead of a path, so a new kind of source needs no change in them.
///
/// [`size`](Self::size) and [`read_exact_at`](Self::read_exact_at) are enough for a source that answers at once. A
/// source that waits for a network also overrides [`read_exact_at_for`](Self::read_exact_at_for), to stop when the
/// caller does, and [`prefetch`](Self::prefetch). It wraps its errors in [`SourceError`](crate::SourceError), so that a
/// timeout is still a timeout several crates up.
///
/// Reads take `&self` and there is no seek: readers call from many threads at once. They may read a range twice and
/// expect the same bytes; a source that cannot promise that reports an error.
pub trait ReadAt {
    /// Length of the blob, in bytes.
    ///
    /// # Errors
    ///
    /// Those of the source.
    fn size(&self) -> io::Result<u64>;

    /// Fills all of `buf` from `at`.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::UnexpectedEof`] if the blob ends first; those of the source. The content of `buf` is unspecified
    /// then.
    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()>;

    /// Does the same for a caller that states the purpose of the read and how long it waits. The default checks the
    /// request once and reads. Override it where a read can wait longer than for a local disk.
    ///
    /// # Errors
    ///
    /// Those of [`read_exact_at`](Self::read_exact_at) and of [`ReadRequest::check`].
    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        request.check()?;
        self.read_exact_at(at, buf)
    }

    /// Announces that the caller will read these ranges soon, in this order. Returns at once and reports no error: the
    /// reads do. The default does nothing.
    fn prefetch(&self, ranges: &[Range<u64>]) {
        let _ = ranges;
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        let from = usize::try_from(at.get()).ok().and_then(|at| self.get(at..));
        let bytes = from.and_then(|bytes| bytes.get(..buf.len())).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }
}

impl<const N: usize> ReadAt for [u8; N] {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(at, buf)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.as_slice().read_exact_at(at, buf)
    }
}

impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        // The kernel reads the position as a signed number and refuses a negative one as an invalid argument. Here it
        // is a position past the end.
        if i64::try_from(at.get()).is_err() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        FileExt::read_exact_at(self, buf, at.get())
    }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<T: ReadAt + ?Sized> ReadAt for $pointer {
            fn size(&self) -> io::Result<u64> {
                (**self).size()
            }

            fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
                (**self).read_exact_at(at, buf)
            }

            fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
                (**self).read_exact_at_for(at, buf, request)
            }

            fn prefetch(&self, ranges: &[Range<u64>]) {
                (**self).prefetch(ranges);
            }
        }
    )*};
}

forward!(&T, Box<T>, Arc<T>);

/// A part of a blob, as a blob of its own: position 0 is the start of the part.
///
/// Use it to give a reader one member of an archive, or one partition of a disk image. It costs an addition per read,
/// and passes requests and announcements on. It never reads outside of its part, even if the source has bytes there.
#[derive(Clone, Copy, Debug)]
pub struct Section<R> {
    source: R,
    start: u64,
    len: u64,
}

impl<R: ReadAt> Section<R> {
    /// The `len` bytes of `source` from `start`. Does not check that the source is that long: a read past its end
    /// fails.
    pub const fn new(source: R, start: Offset, len: u64) -> Self {
        Self { source, start: start.get(), len }
    }
}

impl<R> Section<R> {
    /// Position in the source of the `len` bytes at `at` of the section.
    fn place(&self, at: Offset, len: usize) -> io::Result<Offset> {
        let end = at.get().checked_add(len as u64).filter(|&end| end <= self.len);
        let start = end.and_then(|_| self.start.checked_add(at.get())).ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(Offset::new(start))
    }
}

impl<R: ReadAt> ReadAt for Section<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.source.read_exact_at(self.place(at, buf.len())?, buf)
    }

    fn read_exact_at_for(&self, at: Offset, buf: &mut [u8], request: &ReadRequest<'_>) -> io::Result<()> {
        self.source.read_exact_at_for(self.place(at, buf.len())?, buf, request)
    }

    fn prefetch(&self, ranges: &[Range<u64>]) {
        let inside = |at: u64| self.start.saturating_add(at.min(self.len));
        let ranges: Vec<_> = ranges.iter().map(|range| inside(range.start)..inside(range.end)).collect();
        self.source.prefetch(&ranges);
    }
}

/// Makes a [`Read`] of a [`ReadAt`]: reads from front to back, with a position of its own.
///
/// Use it where a function takes a stream. It has no buffer: each read is one read of the source. It asks for the size
/// once, so it does not see a source grow.
#[derive(Clone, Debug)]
pub struct Cursor<R> {
    source: R,
    at: u64,
    size: u64,
}

impl<R: ReadAt> Cursor<R> {
    /// A reader that starts at the first byte of `source`.
    ///
    /// # Errors
    ///
    /// Those of [`ReadAt::size`].
    pub fn new(source: R) -> io::Result<Self> {
        let size = source.size()?;
        Ok(Self { source, at: 0, size })
    }

    /// Position of the next byte.
    pub const fn position(&self) -> Offset {
        Offset::new(self.at)
    }

    /// Moves to `at`, which may be past the end: reads return 0 bytes there.
    pub const fn set_position(&mut self, at: Offset) {
        self.at = at.get();
    }

    /// Bytes between the position and the end.
    pub const fn remaining(&self) -> u64 {
        self.size.saturating_sub(self.at)
    }
}

impl<R: ReadAt> Read for Cursor<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = usize::try_from(self.remaining()).unwrap_or(usize::MAX).min(buf.len());
        let Some(buf) = buf.get_mut(..len) else { return Ok(0) };
        if !buf.is_empty() {
            self.source.read_exact_at(Offset::new(self.at), buf)?;
            self.at = self.at.saturating_add(len as u64);
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, sync::Mutex};

    use super::*;
    use crate::{Cancel, ErrorKind, kind_of};

    /// Remembers the ranges that were announced.
    #[derive(Default)]
    struct Announced(Mutex<Vec<Range<u64>>>);

    impl ReadAt for Announced {
        fn size(&self) -> io::Result<u64> {
            Ok(100)
        }

        fn read_exact_at(&self, _: Offset, _: &mut [u8]) -> io::Result<()> {
            Ok(())
        }

        fn prefetch(&self, ranges: &[Range<u64>]) {
            self.0.lock().unwrap().extend_from_slice(ranges);
        }
    }

    #[test]
    fn requests_and_announcements_pass_through_windows_and_pointers() {
        let source = Arc::new(Announced::default());
        let window = Box::new(Section::new(&source, Offset::new(10), 20));
        window.prefetch(&[0..5, 15..90]);
        assert_eq!(*source.0.lock().unwrap(), [10..15, 25..30]);
        let cancel = Cancel::new();
        let request = ReadRequest::cancelled_by(&cancel);
        window.read_exact_at_for(Offset::new(3), &mut [0], &request).unwrap();
        cancel.cancel();
        let error = window.read_exact_at_for(Offset::new(3), &mut [0], &request).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Cancelled);
    }

    fn check<R: ReadAt>(source: R) {
        let mut buf = [0; 3];
        assert_eq!(source.size().unwrap(), 10);
        source.read_exact_at(Offset::new(7), &mut buf).unwrap();
        assert_eq!(&buf, b"789");
        for at in [8, 10, 11, u64::MAX] {
            let error = source.read_exact_at(Offset::new(at), &mut buf).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "at {at}");
        }
        let section = Section::new(&source, Offset::new(2), 5);
        section.read_exact_at(Offset::new(2), &mut buf).unwrap();
        assert_eq!(&buf, b"456");
        assert!(section.read_exact_at(Offset::new(3), &mut buf).is_err());
        assert!(section.read_exact_at(Offset::new(u64::MAX), &mut buf).is_err());
        let mut text = String::new();
        Cursor::new(section).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "23456");
    }

    #[test]
    fn every_source_reads_exactly_or_not_at_all() {
        let bytes = b"0123456789";
        check(*bytes);
        check(bytes.as_slice());
        check(bytes.to_vec());
        let vector = bytes.to_vec();
        check(&vector);
        check(Arc::new(bytes.to_vec()));
        check(Box::new(bytes.to_vec()) as Box<dyn ReadAt>);
        let path = std::env::temp_dir().join(format!("dunnage-read-at-{}", std::process::id()));
        let mut file = File::options().read(true).write(true).create_new(true).open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        file.write_all(bytes).unwrap();
        check(file);
    }
}
