//! gzip members one after the other, decompressed to one stream.

use std::{
    fmt,
    io::{self, BufRead, Read},
};

use flate2::bufread::GzDecoder;

/// Decompresses all gzip members of `R`. NUL bytes after a member are padding, as tape and pipe writers leave it.
pub(crate) struct Members<R> {
    decoder: GzDecoder<Lent<R>>,
    has_ended: bool,
}

impl<R: BufRead> Members<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { decoder: GzDecoder::new(Lent(Some(input))), has_ended: false }
    }

    /// Goes on to the next member. Returns whether there is one.
    fn advance(&mut self) -> io::Result<bool> {
        let Lent(input) = self.decoder.reset(Lent(None));
        let Some(mut input) = input else { return Ok(false) };
        let padding = skip_zeros(&mut input)?;
        match input.fill_buf()? {
            [] => return Ok(false),
            [0x1f, ..] if padding == 0 => {}
            _ => {
                let len = padding.saturating_add(io::copy(&mut input, &mut io::sink())?);
                let message = format!("{len} bytes that are no gzip member follow");
                return Err(io::Error::new(io::ErrorKind::InvalidData, message));
            }
        }
        self.decoder.reset(Lent(Some(input)));
        Ok(true)
    }
}

fn skip_zeros<R: BufRead>(input: &mut R) -> io::Result<u64> {
    let mut skipped: u64 = 0;
    loop {
        let here = input.fill_buf()?;
        let zeros = here.iter().take_while(|&&byte| byte == 0).count();
        let is_over = zeros < here.len() || here.is_empty();
        input.consume(zeros);
        skipped = skipped.saturating_add(zeros as u64);
        if is_over {
            return Ok(skipped);
        }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while !self.has_ended && !buf.is_empty() {
            match self.decoder.read(buf)? {
                0 => self.has_ended = !self.advance()?,
                len => return Ok(len),
            }
        }
        Ok(0)
    }
}

impl<R> fmt::Debug for Members<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Members").field("has_ended", &self.has_ended).finish_non_exhaustive()
    }
}

/// The input while a decoder has it. A decoder keeps its memory from member to member, but gives its input back only for
/// another one.
struct Lent<R>(Option<R>);

impl<R: BufRead> Read for Lent<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |input| input.read(buf))
    }
}

impl<R: BufRead> BufRead for Lent<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.0.as_mut().map_or(Ok(&[]), R::fill_buf)
    }

    fn consume(&mut self, len: usize) {
        if let Some(input) = &mut self.0 {
            input.consume(len);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    fn member(content: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    fn all(bytes: &[u8], buffer: usize) -> Result<Vec<u8>, String> {
        let mut plain = Vec::new();
        let mut members = Members::new(BufReader::with_capacity(buffer, bytes));
        let read = members.read_to_end(&mut plain).map(|_| plain).map_err(|error| error.to_string());
        assert_eq!(members.read(&mut [0]).unwrap_or(0), 0);
        read
    }

    #[test]
    fn members_follow_each_other_and_zeros_end_them() {
        let (one, two) = (member(b"one"), member(b"two"));
        for buffer in [1, 7, 4096] {
            assert_eq!(all(&one, buffer), Ok(b"one".to_vec()));
            assert_eq!(all(&[one.as_slice(), &member(b""), &two].concat(), buffer), Ok(b"onetwo".to_vec()));
            assert_eq!(all(&[one.as_slice(), &[0; 5000]].concat(), buffer), Ok(b"one".to_vec()));
            for (rest, len) in
                [(b"garbage".as_slice(), 7), (b"\0\0x", 3), (&[[0; 3].as_slice(), &two].concat(), two.len() + 3)]
            {
                let wanted = format!("{len} bytes that are no gzip member follow");
                assert_eq!(all(&[one.as_slice(), rest].concat(), buffer), Err(wanted));
            }
            assert!(all(&one[..one.len() - 1], buffer).is_err());
            assert!(all(&[one.as_slice(), &two[..9]].concat(), buffer).is_err());
        }
    }
}
