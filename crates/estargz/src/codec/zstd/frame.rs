//! Decoding the front of frames.
//!
//! A frame that fits is decompressed as a whole, straight into place: no window is needed, whatever the frame asks for.
//! Only where a frame holds much more than is wanted does a streaming decoder take the front of it.

use zstd::zstd_safe::{
    DCtx, DParameter, InBuffer, OutBuffer, ResetDirective, find_frame_compressed_size, get_error_name,
    get_frame_content_size,
};

use super::WINDOW_LOG_MAX;
use crate::codec::{CorruptStream, Decoder};

/// The bytes that a frame may hold after the wanted ones (padding and the headers that follow) before decoding the front
/// alone is cheaper.
const SURPLUS: usize = 1 << 20;
/// The same where the frame does not say how much it holds.
const GUESS: usize = 64 << 10;

/// Whether the wanted bytes may go on in the next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frames {
    /// A stream is one frame.
    One,
    /// A stream is as many frames as it takes, empty ones among them.
    All,
}

pub(super) struct FrameDecoder {
    context: Option<DCtx<'static>>,
    frames: Frames,
    out: Vec<u8>,
}

impl FrameDecoder {
    pub(super) fn new(frames: Frames) -> Self {
        Self { context: DCtx::try_create(), frames, out: Vec::new() }
    }

    /// Whole frames, if there are some and they fit into the expected length.
    fn whole(&mut self, mut input: &[u8], want: usize) -> Option<usize> {
        let mut have = 0_usize;
        loop {
            let (frame, rest) = input.split_at_checked(find_frame_compressed_size(input).ok()?)?;
            let missing = want.saturating_sub(have);
            let room = match get_frame_content_size(frame).ok()? {
                Some(size) => usize::try_from(size).ok().filter(|size| size.saturating_sub(missing) <= SURPLUS)?,
                None => missing.saturating_add(GUESS),
            };
            let end = have.saturating_add(room);
            if self.out.len() < end {
                self.out.resize(end, 0);
            }
            let out = self.out.get_mut(have..end)?;
            have = have.saturating_add(self.context.as_mut()?.decompress(out, frame).ok()?);
            if have >= want {
                return Some(have);
            }
            if self.frames == Frames::One {
                return None;
            }
            input = rest;
        }
    }

    /// The first bytes of a stream.
    fn front(&mut self, input: &[u8], want: usize) -> Result<(), CorruptStream> {
        let failed = |code: usize| CorruptStream(format!("zstd: {}", get_error_name(code)));
        let context = self.context.as_mut().ok_or_else(|| CorruptStream("zstd: no memory for a decoder".to_owned()))?;
        context.reset(ResetDirective::SessionOnly).map_err(failed)?;
        context.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX)).map_err(failed)?;
        if self.out.len() < want {
            self.out.resize(want, 0);
        }
        let len = input.len();
        let mut input = InBuffer::around(input);
        let mut out = OutBuffer::around(self.out.get_mut(..want).unwrap_or_default());
        while out.pos() < want {
            let before = (input.pos(), out.pos());
            let hint = context.decompress_stream(&mut out, &mut input).map_err(failed)?;
            // Zero: the frame ends here. What follows may be another stream.
            let over = hint == 0 && (self.frames == Frames::One || input.pos() == len);
            if out.pos() < want && (over || before == (input.pos(), out.pos())) {
                let missing = want.saturating_sub(out.pos());
                return Err(CorruptStream(format!("the stream ends {missing} bytes too early")));
            }
        }
        Ok(())
    }
}

/// The least bytes that a block takes.
const LEAST_BLOCK: usize = 3;
/// The most bytes that it holds.
const MOST_IN_BLOCK: usize = 128 << 10;

impl Decoder for FrameDecoder {
    fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream> {
        // Memory is for what can come, not for what a TOC claims.
        let blocks = (input.len() / LEAST_BLOCK).saturating_add(1);
        if want > blocks.saturating_mul(MOST_IN_BLOCK) {
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
                    let mut decoder = FrameDecoder::new(Frames::One);
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
        let mut decoder = FrameDecoder::new(Frames::One);
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

    #[test]
    fn a_stream_may_go_on_in_further_frames() {
        let content: Vec<u8> = (0..300_000_u32).map(|n| (n / 7) as u8).collect();
        let empty = zstd::bulk::compress(b"", 3).unwrap();
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
        for pack in [|part: &[u8]| zstd::bulk::compress(part, 3).unwrap(), streamed] {
            let mut stream = [empty.clone(), pack(&content[..100_000]), empty.clone(), skippable.clone()].concat();
            stream.extend([pack(&content[100_000..]), empty.clone()].concat());
            let mut decoder = FrameDecoder::new(Frames::All);
            for want in [0, 1, 100_000, 100_001, 300_000] {
                assert_eq!(&decoder.decode(&stream, want).unwrap()[..want], &content[..want]);
            }
            let error = decoder.decode(&stream, 300_001).unwrap_err();
            assert_eq!(error.to_string(), "the stream ends 1 bytes too early");
            assert!(FrameDecoder::new(Frames::One).decode(&stream, 1).is_err());
        }
    }
}
