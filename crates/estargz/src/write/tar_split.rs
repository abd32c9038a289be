//! The tar stream without the content of files, so that a reader that has the files can put it together again.
//!
//! One JSON object a line, each with its number:
//!
//! | type | about                     | members                                                                    |
//! |------|---------------------------|----------------------------------------------------------------------------|
//! | 2    | bytes that are no content | `payload`: the bytes, base64                                                |
//! | 1    | an entry                  | `name`, `size` unless 0, `payload`: CRC-64 of the content, or null without   |
//!
//! In front of each entry there is a line with the padding of the content before and the headers of the entry. All lines
//! are one zstd frame. Specification: eStargz, section 2.3.

use std::io::Write;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dunnage_digest::{Algorithm, Digest};
use dunnage_tree::tar;

use crate::{
    Error,
    codec::{TarSplit, ZstdLevel},
    crc64::Crc64,
    toc::json_text,
};

/// Lines, compressed while they are added.
pub(super) struct TarSplitLog {
    frame: zstd::Encoder<'static, Vec<u8>>,
    /// Bytes that are no content and have no line yet.
    segment: Vec<u8>,
    line: Vec<u8>,
    lines: u64,
    plain_len: u64,
}

impl TarSplitLog {
    pub(super) fn new(level: ZstdLevel) -> Result<Self, Error> {
        let mut frame = zstd::Encoder::new(Vec::new(), level.get()).map_err(failed)?;
        frame.include_checksum(true).map_err(failed)?;
        Ok(Self { frame, segment: Vec::new(), line: Vec::new(), lines: 0, plain_len: 0 })
    }

    /// Adds bytes that are no content, if there are any.
    ///
    /// Those behind the last entry have one line as far as that goes. Readers look for a header at the start of each line,
    /// and the reference's own stumble over less than two blocks of zeros there.
    pub(super) fn segment(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.segment.extend_from_slice(bytes);
        if self.segment.len() >= MAX_SEGMENT {
            let rest = self.segment.split_off(self.segment.len().saturating_sub(tar::END.len()));
            self.end_segment()?;
            self.segment = rest;
        }
        Ok(())
    }

    fn end_segment(&mut self) -> Result<(), Error> {
        if self.segment.is_empty() {
            return Ok(());
        }
        self.line.extend_from_slice(b"{\"type\":2,\"payload\":");
        put_payload(&self.segment, &mut self.line);
        self.segment.clear();
        self.end_line()
    }

    /// Adds an entry; `content` is its length and checksum, if it has any.
    pub(super) fn entry(&mut self, name: &[u8], content: Option<(u64, Crc64)>) -> Result<(), Error> {
        self.end_segment()?;
        self.line.extend_from_slice(b"{\"type\":1");
        if !name.is_empty() {
            self.line.extend_from_slice(b",\"name\":");
            json_text(name, true, &mut self.line);
        }
        match content {
            None => self.line.extend_from_slice(b",\"payload\":null"),
            Some((size, crc)) => {
                self.line.extend_from_slice(format!(",\"size\":{size},\"payload\":").as_bytes());
                put_payload(&crc.get().to_be_bytes(), &mut self.line);
            }
        }
        self.end_line()
    }

    fn end_line(&mut self) -> Result<(), Error> {
        self.line.extend_from_slice(format!(",\"position\":{}}}\n", self.lines).as_bytes());
        self.frame.write_all(&self.line).map_err(failed)?;
        self.lines = self.lines.saturating_add(1);
        self.plain_len = self.plain_len.saturating_add(self.line.len() as u64);
        self.line.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> Result<TarSplit, Error> {
        self.end_segment()?;
        let bytes = self.frame.finish().map_err(failed)?;
        let digest = Digest::of(Algorithm::Sha256, &bytes);
        Ok(TarSplit { bytes, plain_len: self.plain_len, digest })
    }
}

/// Bytes that make a line of their own, though nothing ends them.
const MAX_SEGMENT: usize = 1 << 20;

/// Appends `bytes` as a string of base64.
fn put_payload(bytes: &[u8], line: &mut Vec<u8>) {
    line.push(b'"');
    let start = line.len();
    // Four characters for three bytes.
    let room = bytes.len().div_ceil(3).saturating_mul(4);
    line.resize(start.saturating_add(room), 0);
    // There is room for all of it.
    let _ = STANDARD.encode_slice(bytes, line.get_mut(start..).unwrap_or_default());
    line.push(b'"');
}

fn failed(source: std::io::Error) -> Error {
    Error::Misuse(format!("zstd: {source}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_written_as_the_reference_writes_them() {
        let mut log = TarSplitLog::new(ZstdLevel::DEFAULT).unwrap();
        log.segment(b"header").unwrap();
        log.entry(b"d/", None).unwrap();
        log.segment(b"").unwrap();
        log.segment(&[0xff; 4]).unwrap();
        log.entry(b"d/<\x08>", Some((9, Crc64::of(b"123456789")))).unwrap();
        log.segment(&[0; 3]).unwrap();
        let split = log.finish().unwrap();
        let text = String::from_utf8(zstd::decode_all(split.bytes.as_slice()).unwrap()).unwrap();
        let wanted = concat!(
            r#"{"type":2,"payload":"aGVhZGVy","position":0}"#,
            "\n",
            r#"{"type":1,"name":"d/","payload":null,"position":1}"#,
            "\n",
            r#"{"type":2,"payload":"/////w==","position":2}"#,
            "\n",
            r#"{"type":1,"name":"d/\u003c\b\u003e","size":9,"payload":"uQlWx3WkEAE=","position":3}"#,
            "\n",
            r#"{"type":2,"payload":"AAAA","position":4}"#,
            "\n",
        );
        assert_eq!(text, wanted);
        assert_eq!(split.plain_len, text.len() as u64);
        assert_eq!(split.digest, Digest::of(Algorithm::Sha256, &split.bytes));
    }

    #[test]
    fn what_is_behind_the_last_entry_is_cut_where_readers_do_not_stumble() {
        for len in [1, 1024, 1 << 20, (1 << 20) + 300, 3 << 20, (3 << 20) + 1] {
            let mut log = TarSplitLog::new(ZstdLevel::DEFAULT).unwrap();
            for piece in vec![0; len].chunks(64 << 10) {
                log.segment(piece).unwrap();
            }
            let text = zstd::decode_all(log.finish().unwrap().bytes.as_slice()).unwrap();
            let text = String::from_utf8(text).unwrap();
            let lens = text.lines().map(|line| line.split('"').nth(5).unwrap()).map(|text| {
                let padding = text.bytes().rev().take_while(|&byte| byte == b'=').count();
                text.len() / 4 * 3 - padding
            });
            let lens: Vec<_> = lens.collect();
            assert_eq!(lens.iter().sum::<usize>(), len);
            assert!(
                lens.iter().all(|&line| line == len || (1024..=(1 << 20) + (64 << 10)).contains(&line)),
                "{lens:?}"
            );
        }
    }

    #[test]
    fn no_lines_are_an_empty_frame() {
        let split = TarSplitLog::new(ZstdLevel::DEFAULT).unwrap().finish().unwrap();
        assert_eq!((split.plain_len, zstd::decode_all(split.bytes.as_slice()).unwrap().len()), (0, 0));
    }
}
