//! Reading a stream in full blocks: the one loop that retries interrupted reads.

use std::io::{self, Read};

/// Reads until `buf` is full or `reader` ends; the number of bytes read.
///
/// Interrupted reads are retried. After an error some bytes may have been taken from `reader`.
///
/// # Errors
///
/// Those of `reader`, but for [`io::ErrorKind::Interrupted`].
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

/// One read that is retried when it is interrupted; 0 at the end of `reader`.
///
/// # Errors
///
/// Those of `reader`, but for [`io::ErrorKind::Interrupted`].
pub fn read_some<R: Read + ?Sized>(reader: &mut R, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buf) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a byte at a time, interrupted before each.
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
}
