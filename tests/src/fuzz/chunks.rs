//! Streams: our decoders give what the plain ones of their libraries give, and never more than was asked for.

use std::io::Read;

use dunnage_estargz::{
    codec::{Decompressor, GzipDecompressor, ZstdDecompressor},
    input::Packing,
};

pub(super) const GZIP: &[&[u8]] = &[
    b"\x1f\x8b\x08\x00",
    b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x02\x00xx",
    b"\x1f\x8b\x08\x1e",
    b"\x1f\x8b\x08\xe0",
    b"\x01\x00\x00\xff\xff",
    b"\x01\x05\x00\xfa\xff",
    b"\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
];

pub(super) const ZSTD: &[&[u8]] = &[
    b"\x28\xb5\x2f\xfd",
    b"\x28\xb5\x2f\xfd\x20\x05\x29\x00\x00hello",
    b"\x28\xb5\x2f\xfd\x00\x58",
    b"\x28\xb5\x2f\xfd\x00\xa8",
    b"\x28\xb5\x2f\xfd\xe0\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x50\x2a\x4d\x18\x04\x00\x00\x00",
    b"\x02\x00\x10\x61",
    b"\x01\x00\x00",
];

/// Most that a body decompresses of one input.
const MOST: u64 = 1 << 20;

/// Any bytes as gzip members.
pub fn gzip_members(data: &[u8]) {
    let mut first = Vec::new();
    let ended = flate2::bufread::GzDecoder::new(data).take(MOST).read_to_end(&mut first).is_ok();
    front(&GzipDecompressor::new(), data, (&first, ended));
    let mut all = Vec::new();
    let whole = flate2::bufread::MultiGzDecoder::new(data).take(MOST).read_to_end(&mut all);
    same(&GzipDecompressor::new(), data, (&all, whole.is_ok()));
    unpacked(data);
}

/// Any bytes as zstd frames.
pub fn zstd_frames(data: &[u8]) {
    let plain = |single: bool| {
        let mut out = Vec::new();
        let decoder = zstd::Decoder::with_buffer(data).and_then(|mut decoder| {
            decoder.window_log_max(25)?;
            Ok(decoder)
        });
        let Ok(decoder) = decoder else { return (out, false) };
        let decoder = if single { decoder.single_frame() } else { decoder };
        let result = decoder.take(MOST).read_to_end(&mut out);
        (out, result.is_ok())
    };
    let (first, ended) = plain(true);
    front(&ZstdDecompressor::new(), data, (&first, ended));
    let (all, ok) = plain(false);
    same(&ZstdDecompressor::new(), data, (&all, ok));
    unpacked(data);
}

/// The front of the first stream is that of `first`, which a plain decoder made before the stream ended or failed.
fn front(ours: &dyn Decompressor, data: &[u8], (first, ended): (&[u8], bool)) {
    let mut decoder = ours.decoder();
    for want in [0, 1, first.len() / 2, first.len(), first.len() + 1] {
        match decoder.decode(data, want) {
            Ok(out) => {
                assert!(out.len() >= want, "{} bytes, though {want} were asked for", out.len());
                let both = out.len().min(first.len());
                assert!(out[..both] == first[..both], "another content than a plain decoder gives");
            }
            Err(error) => assert!(!ended || want == 0 || want > first.len(), "{want} of {}: {error}", first.len()),
        }
    }
}

/// All streams one after the other are what a plain decoder makes of them.
fn same(ours: &dyn Decompressor, data: &[u8], (wanted, ok): (&[u8], bool)) {
    let mut all = Vec::new();
    let result = ours.streams(Box::new(data)).take(MOST).read_to_end(&mut all);
    assert!(all == wanted, "another content than a plain decoder gives");
    assert_eq!(result.is_ok(), ok, "{result:?}");
}

/// Told by its first bytes and unpacked; an error is one of damage.
fn unpacked(data: &[u8]) {
    let Ok((packing, whole)) = Packing::peek(data) else { panic!("bytes in memory can be read") };
    let Ok(mut plain) = packing.decompressed(whole) else { return };
    let mut block = [0; 4096];
    let mut total = 0;
    while total < MOST {
        match plain.read(&mut block) {
            Ok(0) => return,
            Ok(len) => total += len as u64,
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::InvalidData, "{error}");
                return;
            }
        }
    }
}
