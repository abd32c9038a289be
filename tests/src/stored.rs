//! Layers by hand: gzip members of stored blocks, zstd frames of raw blocks, TOCs, footers.
//!
//! No compressor decides a byte here, so the blobs are the same wherever they are made. Specification: section 14.

use crate::tarball::{Entry, Format, checksum, members, octal, pad};

/// A gzip member that holds `data` in stored blocks.
#[must_use]
pub fn member(data: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
    if data.is_empty() {
        gzip.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
    }
    let pieces = data.chunks(65_535);
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.enumerate() {
        let len = piece.len() as u16;
        gzip.push(u8::from(index == last));
        gzip.extend_from_slice(&len.to_le_bytes());
        gzip.extend_from_slice(&(!len).to_le_bytes());
        gzip.extend_from_slice(piece);
    }
    gzip.extend_from_slice(&crc32fast::hash(data).to_le_bytes());
    gzip.extend_from_slice(&(data.len() as u32).to_le_bytes());
    gzip
}

/// The header of a tar entry, and its content with padding.
#[must_use]
pub fn tar_entry(entry: &Entry) -> Vec<u8> {
    members(Format::Ustar, std::slice::from_ref(entry))
}

/// The header of the TOC's tar entry, its JSON, padding and the end of the archive.
#[must_use]
pub fn toc_tar(json: &[u8]) -> Vec<u8> {
    let mut entry = Entry::file("stargz.index.json", json);
    entry.mode = 0;
    let mut tar = tar_entry(&entry);
    tar.extend_from_slice(&[0; 1024]);
    tar
}

/// The 51-byte footer.
#[must_use]
pub fn footer(toc_at: u64) -> Vec<u8> {
    footer_with(&[b"SG\x16\0".as_slice(), format!("{toc_at:016x}STARGZ").as_bytes()].concat())
}

/// The 47-byte footer of the older form.
#[must_use]
pub fn legacy_footer(toc_at: u64) -> Vec<u8> {
    footer_with(format!("{toc_at:016x}STARGZ").as_bytes())
}

/// An empty gzip member with this extra field.
#[must_use]
pub fn footer_with(extra: &[u8]) -> Vec<u8> {
    let mut gzip = vec![0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0xff];
    gzip.extend_from_slice(&(extra.len() as u16).to_le_bytes());
    gzip.extend_from_slice(extra);
    gzip.extend_from_slice(&[1, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0]);
    gzip
}

/// The 46-byte footer of a blob whose TOC is stored elsewhere.
#[must_use]
pub fn external_footer() -> Vec<u8> {
    footer_with(b"SG\x11\0STARGZEXTERNALTOC")
}

/// A zstd frame that holds `data`, at most 65 791 bytes of it, in one raw block, without a checksum.
#[must_use]
pub fn frame(data: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd];
    match u8::try_from(data.len()) {
        Ok(len) => frame.extend_from_slice(&[0x20, len]),
        Err(_) => {
            let len = u16::try_from(data.len() - 256).expect("at most 65 791 bytes");
            frame.push(0x60);
            frame.extend_from_slice(&len.to_le_bytes());
        }
    }
    let block = 1 | (data.len() as u32) << 3;
    frame.extend_from_slice(&block.to_le_bytes()[..3]);
    frame.extend_from_slice(data);
    frame
}

/// A skippable zstd frame.
#[must_use]
pub fn skippable(content: &[u8]) -> Vec<u8> {
    [&[0x50, 0x2a, 0x4d, 0x18], (content.len() as u32).to_le_bytes().as_slice(), content].concat()
}

/// The 40-byte footer of zstd:chunked, without its frame.
#[must_use]
pub fn zstd_footer(toc_at: u64, toc_len: u64, json_len: u64) -> Vec<u8> {
    let numbers = [toc_at, toc_len, json_len, 1].map(u64::to_le_bytes).concat();
    [numbers.as_slice(), b"GnUlInUx"].concat()
}

/// A zstd:chunked blob of this payload (whole frames) and TOC.
#[must_use]
pub fn zstd_blob(payload: &[u8], json: &[u8]) -> Vec<u8> {
    let toc = frame(json);
    let footer = zstd_footer(payload.len() as u64 + 8, toc.len() as u64, json.len() as u64);
    [payload, &skippable(&toc), &skippable(&footer)].concat()
}

/// The 64-byte footer of zstd:chunked as containers/storage writes it, without its frame: offset, length and length
/// uncompressed of the TOC, then of the tar-split data.
#[must_use]
pub fn storage_footer(toc: [u64; 3], tar_split: [u64; 3]) -> Vec<u8> {
    let numbers = [toc[0], toc[1], toc[2], 1, tar_split[0], tar_split[1], tar_split[2]].map(u64::to_le_bytes).concat();
    [numbers.as_slice(), b"GNUlInUx"].concat()
}

/// A zstd:chunked blob as containers/storage writes it: this payload (whole frames), TOC, and tar-split data (a frame that
/// is said to hold `lines_len` bytes).
#[must_use]
pub fn storage_blob(payload: &[u8], json: &[u8], tar_split: &[u8], lines_len: u64) -> Vec<u8> {
    let toc = frame(json);
    let toc_at = payload.len() as u64 + 8;
    let split_at = toc_at + toc.len() as u64 + 8;
    let toc_place = [toc_at, toc.len() as u64, json.len() as u64];
    let footer = storage_footer(toc_place, [split_at, tar_split.len() as u64, lines_len]);
    [payload, &skippable(&toc), &skippable(tar_split), &skippable(&footer)].concat()
}

/// A blob of this payload (whole members) and TOC.
#[must_use]
pub fn blob(payload: &[u8], json: &[u8]) -> Vec<u8> {
    [payload, &member(&toc_tar(json)), &footer(payload.len() as u64)].concat()
}

/// The header block alone of a regular file, as the vectors have it.
#[must_use]
pub fn header(name: &str, size: u64, mode: u64) -> Vec<u8> {
    let mut entry = Entry::file(name, []);
    entry.mode = mode;
    let mut block: [u8; 512] = tar_entry(&entry).try_into().expect("one block");
    octal(&mut block, 124, 12, size);
    checksum(&mut block);
    block.to_vec()
}

/// Content with the zero bytes up to the next block.
#[must_use]
pub fn padded(content: &[u8]) -> Vec<u8> {
    let mut bytes = content.to_vec();
    pad(&mut bytes);
    bytes
}
