//! Decoding the front of single frames.
//!
//! A frame that fits is decompressed as a whole, straight into place: no window is needed, whatever the frame asks for.
//! Only where a frame holds much more than is wanted does a streaming decoder take the front of it.

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, find_frame_compressed_size, get_error_name,
    get_frame_content_size,
};

use super::WINDOW_LOG_MAX;
use crate::{CorruptStream, Decoder};

/// What a frame may hold behind the bytes that are wanted (padding and the headers that follow) before decoding the front
/// alone is cheaper.
const SURPLUS: usize = 1 << 20;
/// The same where the frame does not say how much it holds.
const GUESS: usize = 64 << 10;

pub(super) struct FrameDecoder {
    context: Option<DCtx<'static>>,
    out: Vec<u8>,
}

impl FrameDecoder {
    pub(super) fn new() -> Self {
        Self { context: DCtx::try_create(), out: Vec::new() }
    }

    /// The whole frame, if it is one and fits into what is expected.
    fn whole(&mut self, input: &[u8], want: usize) -> Option<usize> {
        let frame = input.get(..find_frame_compressed_size(input).ok()?)?;
        let room = match get_frame_content_size(frame).ok()? {
            Some(size) => usize::try_from(size).ok().filter(|size| size.saturating_sub(want) <= SURPLUS)?,
            None => want.saturating_add(GUESS),
        };
        if self.out.len() < room {
            self.out.resize(room, 0);
        }
        let out = self.out.get_mut(..room)?;
        let len = self.context.as_mut()?.decompress(out, frame).ok()?;
        (len >= want).then_some(len)
    }

    /// The first bytes of a frame.
    fn front(&mut self, input: &[u8], want: usize) -> Result<(), CorruptStream> {
        let failed = |code: usize| CorruptStream(format!("zstd: {}", get_error_name(code)));
        let context = self.context.as_mut().ok_or_else(|| CorruptStream("zstd: no memory for a decoder".to_owned()))?;
        context.reset(ResetDirective::SessionOnly).map_err(failed)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
        if self.out.len() < want {
            self.out.resize(want, 0);
        }
        let mut input = InBuffer::around(input);
        let mut out = OutBuffer::around(self.out.get_mut(..want).unwrap_or_default());
        while out.pos() < want {
            let before = (input.pos(), out.pos());
            let hint = context.decompress_stream(&mut out, &mut input).map_err(failed)?;
            // Zero: the frame ends here. What follows is another stream.
            if out.pos() < want && (hint == 0 || before == (input.pos(), out.pos())) {
                let missing = want.saturating_sub(out.pos());
                return Err(CorruptStream(format!("the stream ends {missing} bytes too early")));
            }
        }
        Ok(())
    }
}

/// The most bytes that a block holds. It takes at least three.
const BLOCK: usize = 128 << 10;

impl Decoder for FrameDecoder {
    fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream> {
        // Memory is for what can come, not for what a TOC claims.
        let blocks = (input.len() / 3).saturating_add(1);
        if want > blocks.saturating_mul(BLOCK) {
            return Err(CorruptStream(format!("{} bytes of zstd cannot hold {want}", input.len())));
        }
        let len = match self.whole(input, want) {
            Some(len) => len,
            None => {
                self.front(input, want)?;
                want
            }
        };
        Ok(self.out.get(..len).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn streamed(content: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 3).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_front_is_decoded_whatever_the_frame_says_and_whatever_follows() {
        let large: Vec<u8> = (0..3 << 20).map(|n: u32| (n / 7) as u8).collect();
        for content in [b"hello".as_slice(), &large] {
            for mut frame in [zstd::bulk::compress(content, 3).unwrap(), streamed(content)] {
                frame.extend_from_slice(b"what follows is not looked at");
                for want in [0, 1, 5, content.len()] {
                    let mut decoder = FrameDecoder::new();
                    // Twice: a decoder is used again.
                    for _ in 0..2 {
                        assert_eq!(&decoder.decode(&frame, want).unwrap()[..want], &content[..want]);
                    }
                    assert!(decoder.decode(&frame, content.len() + 1).is_err());
                }
            }
        }
    }

    #[test]
    fn damage_is_an_error() {
        let mut decoder = FrameDecoder::new();
        let frame = zstd::bulk::compress(b"hello, hello, hello", 3).unwrap();
        for end in 0..frame.len() {
            assert!(decoder.decode(&frame[..end], 19).is_err(), "cut at {end}");
        }
        assert!(decoder.decode(b"no frame at all", 1).is_err());
        // A window of 2 GiB, and content of unknown size.
        let huge = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xa8, 0x03, 0x00, 0x00, 0x61];
        assert!(decoder.decode(&huge, 2).is_err());
        assert!(decoder.out.capacity() < 1 << 20);
        let error = decoder.decode(&frame, 1 << 30).unwrap_err();
        assert_eq!(error.to_string(), format!("{} bytes of zstd cannot hold 1073741824", frame.len()));
    }
}
