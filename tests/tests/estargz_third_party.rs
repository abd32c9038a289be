//! A compression that this workspace does not know, made up here with nothing but public items, passes upstream's suite:
//! it can be written, built, opened, read, verified and unpacked.
//!
//! | part    | bytes                                                                                   |
//! |---------|-----------------------------------------------------------------------------------------|
//! | streams | each a length of 4 bytes, little endian, and so many bytes as they are                   |
//! | TOC     | the document as it is                                                                    |
//! | footer  | `STORED` and two zeros, offset of the TOC and its length in 8 bytes each, little endian  |

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "a test"
)]

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    sync::Arc,
};

use dunnage_digest::{Hasher, Offset};
use dunnage_estargz::{
    Error, OpenOptions, Reader, WriteOptions, Writer,
    codec::{Compressor, CorruptStream, Decoder, Decompressor, Encoder, End, GrowingStream, TocWritten},
    footer::{Footer, Format, TocPlace},
};
use dunnage_estargz_testsuite::{Controller, run};

const MAGIC: &[u8; 8] = b"STORED\0\0";
const FOOTER_LEN: usize = 24;
const FORMAT: Format = Format::Other("stored");

#[derive(Clone, Copy, Debug)]
struct Stored {
    /// Whether streams can be measured while they grow.
    measured: bool,
}

impl Compressor for Stored {
    fn encoder(&self) -> Result<Box<dyn Encoder>, Error> {
        Ok(Box::new(StoredEncoder))
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        _diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, Error> {
        let mut hasher = Hasher::sha256();
        let mut write = |bytes: &[u8]| out.write_all(bytes).map_err(|source| Error::Write { source });
        end.toc.write_json(&mut |piece| {
            hasher.update(piece);
            write(piece)
        })?;
        write(MAGIC)?;
        write(&end.payload_len.to_le_bytes())?;
        write(&end.toc.json_len().to_le_bytes())?;
        Ok(TocWritten::new(hasher.finish(), 0))
    }

    fn gauge(&self) -> Result<Option<Box<dyn GrowingStream>>, Error> {
        Ok(self.measured.then(|| Box::new(StoredGauge(0)) as Box<dyn GrowingStream>))
    }
}

struct StoredEncoder;

impl Encoder for StoredEncoder {
    fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        out.extend_from_slice(&(input.len() as u32).to_le_bytes());
        out.extend_from_slice(input);
        Ok(())
    }
}

struct StoredGauge(u64);

impl GrowingStream for StoredGauge {
    fn start(&mut self) -> Result<(), Error> {
        self.0 = 4;
        Ok(())
    }

    fn add(&mut self, input: &[u8]) -> Result<u64, Error> {
        self.0 += input.len() as u64;
        Ok(self.0)
    }
}

impl Decompressor for Stored {
    fn footer_len(&self) -> usize {
        FOOTER_LEN
    }

    fn parse_footer(&self, bytes: &[u8], blob_len: u64) -> Result<Footer, Error> {
        let number = |at: usize| bytes[at..].first_chunk().map(|bytes| u64::from_le_bytes(*bytes)).unwrap();
        let start = blob_len - FOOTER_LEN as u64;
        let malformed = |part, got: String| {
            Err(Error::Malformed { part, at: Offset::new(start), expected: "a footer of `stored`".to_owned(), got })
        };
        if !bytes.starts_with(MAGIC) {
            return malformed("magic", bytes[..8].escape_ascii().to_string());
        }
        let (at, len) = (number(8), number(16));
        if at.checked_add(len) != Some(start) {
            return malformed("place of the TOC", format!("{len} bytes at {at}"));
        }
        let toc = TocPlace::Inside { at: Offset::new(at), len, plain_len: Some(len) };
        Ok(Footer { format: FORMAT, payload_len: at, toc, footer_len: FOOTER_LEN as u64 })
    }

    fn decoder(&self) -> Box<dyn Decoder> {
        Box::new(StoredDecoder(Vec::new()))
    }

    fn toc_json<'a>(
        &self,
        toc: Option<Box<dyn Read + Send + 'a>>,
        _: &Footer,
    ) -> Result<Box<dyn Read + Send + 'a>, Error> {
        toc.ok_or(Error::ExternalToc)
    }

    fn streams<'a>(&self, payload: Box<dyn Read + Send + 'a>) -> Box<dyn Read + Send + 'a> {
        Box::new(StoredStreams { payload, left: 0 })
    }
}

struct StoredDecoder(Vec<u8>);

impl Decoder for StoredDecoder {
    fn decode(&mut self, input: &[u8], want: usize) -> Result<&[u8], CorruptStream> {
        let short = || CorruptStream("the stream is too short".to_owned());
        let (len, rest) = input.split_first_chunk().ok_or_else(short)?;
        let stream = rest.get(..u32::from_le_bytes(*len) as usize).filter(|stream| stream.len() >= want);
        stream.ok_or_else(short)?.clone_into(&mut self.0);
        Ok(&self.0)
    }
}

/// All streams, one after the other.
struct StoredStreams<R> {
    payload: R,
    left: usize,
}

impl<R: Read> Read for StoredStreams<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.left == 0 {
            let mut len = [0; 4];
            match self.payload.read(&mut len[..1])? {
                0 => return Ok(0),
                _ => self.payload.read_exact(&mut len[1..])?,
            }
            self.left = u32::from_le_bytes(len) as usize;
        }
        let most = self.left.min(buf.len());
        let len = self.payload.read(&mut buf[..most])?;
        self.left -= len;
        Ok(len)
    }
}

impl Controller for Stored {
    fn name(&self) -> String {
        format!("{self:?}")
    }

    fn compressor(&self) -> Arc<dyn Compressor> {
        Arc::new(*self)
    }

    fn decompressor(&self, external_toc: Option<Vec<u8>>) -> Arc<dyn Decompressor> {
        assert_eq!(external_toc, None);
        Arc::new(*self)
    }

    fn check_streams(&self, blob: &[u8], offsets: &[u64]) {
        let footer_at = blob.len() - FOOTER_LEN;
        let toc_at = u64::from_le_bytes(*blob[footer_at + 8..].first_chunk().unwrap());
        let mut starts = BTreeSet::from([toc_at, footer_at as u64]);
        let mut at = 0;
        while at < toc_at {
            starts.insert(at);
            at += 4 + u64::from(u32::from_le_bytes(*blob[at as usize..].first_chunk().unwrap()));
        }
        assert_eq!(at, toc_at, "streams end where the TOC starts");
        assert!(offsets.iter().all(|offset| starts.contains(offset)), "{offsets:?} are not all of {starts:?}");
    }

    fn tar_of(&self, blob: &[u8]) -> Vec<u8> {
        let mut tar = Vec::new();
        let footer = self.parse_footer(&blob[blob.len() - FOOTER_LEN..], blob.len() as u64).unwrap();
        let payload = &blob[..footer.payload_len as usize];
        StoredStreams { payload, left: 0 }.read_to_end(&mut tar).unwrap();
        tar
    }
}

#[test]
fn a_compression_from_elsewhere_passes_the_whole_suite() {
    let counts = run(&[&Stored { measured: true }, &Stored { measured: false }]);
    println!("figure third_party_runs={}", counts.total());
    // Without a gauge there are no runs with streams that are measured after compression.
    assert_eq!((counts.build, counts.digest_and_verify, counts.write_and_open), (216 + 180, 288 + 216, 384 + 336));
}

#[test]
fn its_layers_are_not_taken_for_others() {
    let compressor = Arc::new(Stored { measured: true });
    let write = WriteOptions { compressor: compressor.clone(), ..WriteOptions::default() };
    let (blob, _) = Writer::new(Vec::new(), &write).unwrap().finish().unwrap();
    assert!(Reader::open(&blob, &OpenOptions::default()).is_err());
    let options = OpenOptions { decompressors: vec![compressor], ..OpenOptions::default() };
    assert_eq!(Reader::open(&blob, &options).unwrap().footer().format, FORMAT);
}
