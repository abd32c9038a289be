//! Inputs and sinks of a build, and how often each can be gone through.

use std::{
    fmt,
    io::{self, Read, Write},
};

use dunnage_digest::ReadAt;
use dunnage_tree::{ExportOptions, NewFile, Tree};

use crate::Error;

/// Reads a tar from its start. Fails with the error that [`Build::run`](super::Build::run) is to return.
pub type Pass<'p> = &'p mut dyn FnMut(&mut dyn Read) -> Result<(), Error>;

/// The files of a layer that is to be built. Tars may be plain, or compressed with gzip or zstd.
#[expect(clippy::exhaustive_enums, reason = "closed: read once, read again, read anywhere, or no tar at all")]
pub enum Input<'i> {
    /// A tar that can be read once, such as a pipe. A repeated name is [`Error::Duplicate`], unless files are prioritized:
    /// the tar is then kept in a temporary file first.
    Stream(&'i mut dyn Read),
    /// A tar that can be read from its start again: the function calls its argument with the tar. The build calls the function
    /// once, or twice if a name is repeated. The function can compare digests once its argument has returned.
    Twice(&'i mut dyn FnMut(Pass<'_>) -> Result<(), Error>),
    /// A tar in a file. If it is plain, the build reads all headers first and keeps no copy of it.
    File(&'i dyn ReadAt),
    /// A tree, written as [`TarExport`](dunnage_tree::TarExport) writes it with these options.
    Tree(&'i dyn Tree, &'i ExportOptions),
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Stream(_) => "Stream",
            Self::Twice(_) => "Twice",
            Self::File(_) => "File",
            Self::Tree(..) => "Tree",
        })
    }
}

/// A sink that can throw away its bytes, so that a build can begin again when a name is repeated.
///
/// Implement it for files that nobody else reads yet. For a sink that cannot do it, such as a pipe, there is [`Once`].
pub trait Restart: Write {
    /// Whether [`restart`](Self::restart) works. If not, an input with repeated names is kept in a temporary file first.
    fn can_restart(&self) -> bool {
        true
    }

    /// Throws away all bytes written so far.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn restart(&mut self) -> io::Result<()>;
}

impl Restart for Vec<u8> {
    fn restart(&mut self) -> io::Result<()> {
        self.clear();
        Ok(())
    }
}

impl Restart for NewFile {
    fn restart(&mut self) -> io::Result<()> {
        Self::restart(self)
    }
}

impl<W: Restart + ?Sized> Restart for &mut W {
    fn can_restart(&self) -> bool {
        (**self).can_restart()
    }

    fn restart(&mut self) -> io::Result<()> {
        (**self).restart()
    }
}

/// A sink whose bytes cannot be taken back, such as a pipe.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "closed: it wraps a sink")]
pub struct Once<W>(pub W);

impl<W: Write> Write for Once<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write> Restart for Once<W> {
    fn can_restart(&self) -> bool {
        false
    }

    fn restart(&mut self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
