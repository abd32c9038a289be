//! Reads that retry when a signal interrupts them: the only such loop in the workspace.

use std::io::{self, Read};

/// Fills `buf` from `reader` and returns the number of bytes read, which is less than `buf.len()` only if `reader`
/// ends.
///
/// Use it where [`Read::read_exact`] would lose bytes: at the end of a stream this returns how many bytes there are,
/// and `read_exact` only an error. After an error, the number of bytes taken from `reader` is unknown.
///
/// # Errors
///
/// As [`read_some`].
pub fn read_full<R: Read + ?Sized>(reader: &mut R, buf: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match read_some(reader, rest)? {
            0 => break,
            len => filled = filled.saturating_add(len),
        }
    }
    Ok(filled)
}

/// Calls [`Read::read`] once, and again as long as it fails with [`io::ErrorKind::Interrupted`]. Returns the number of
/// bytes read, 0 at the end of `reader`.
///
/// # Errors
///
/// Every other error of `reader`, and an error if `reader` reports more bytes than `buf` holds: callers can use the
/// number to slice `buf`.
pub fn read_some<R: Read + ?Sized>(reader: &mut R, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Ok(got) if got > buf.len() => {
                let message = format!("the reader reports {got} bytes in a buffer of {}", buf.len());
                return Err(io::Error::other(message));
            }
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns one byte per read, and fails as interrupted before each.
    struct Reluctant<'a>(&'a [u8], bool);

    impl Read for Reluctant<'_> {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.read(buf.get_mut(..1).unwrap_or_default())
        }
    }

    #[test]
    fn a_block_is_full_unless_the_stream_ends() {
        let mut reader = Reluctant(b"0123456", false);
        let mut block = [0; 5];
        assert_eq!(read_full(&mut reader, &mut block).unwrap(), 5);
        assert_eq!(&block, b"01234");
        assert_eq!(read_full(&mut reader, &mut block).unwrap(), 2);
        assert_eq!(read_full(&mut reader, &mut block).unwrap(), 0);
        assert_eq!(read_full(&mut reader, &mut []).unwrap(), 0);
    }

    /// Reports one byte more than the buffer holds.
    struct Lying;

    impl Read for Lying {
        fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
            Ok(buf.len() + 1)
        }
    }

    #[test]
    fn a_reader_that_reports_more_bytes_than_fit_is_an_error() {
        let mut block = [0; 5];
        let wanted = "the reader reports 6 bytes in a buffer of 5";
        assert_eq!(read_some(&mut Lying, &mut block).unwrap_err().to_string(), wanted);
        assert_eq!(read_full(&mut Lying, &mut block).unwrap_err().to_string(), wanted);
    }
}
