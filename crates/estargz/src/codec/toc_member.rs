//! The TOC as the last member of a gzip layer.
//!
//! | part             | bytes                                            |
//! |------------------|--------------------------------------------------|
//! | tar header       | 512, USTAR, `stargz.index.json`, all else zero   |
//! | document         | as long as the header says                       |
//! | padding          | zeros up to the next 512                         |
//! | end of archive   | 1024 zeros                                       |
//!
//! Written as one member in blocks that are compressed side by side: each block is a run of deflate blocks closed by a
//! sync flush, primed with the end of the block before it, so cutting costs a few bytes a block. The cut is at fixed
//! positions; the bytes are the same for any number of threads. Specification: eStargz, sections 2.1 and 4.3.

use std::{
    io::{self, BufRead, BufReader, Read, Write},
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use dunnage_digest::{ErrorKind, Hasher, Offset, Ordered, kind_of};
use dunnage_tree::tar::{self, EntryType, Format, Header};

use super::{
    End, Level, TocWritten,
    deflate::{Deflater, gzip_header},
};
use crate::{Error, toc::TOC_TAR_NAME};

/// Bytes of one block before compression.
const BLOCK: usize = 1 << 20;
/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;
/// Zeros that may follow the end of the archive: tar programs fill up records of 10 KiB, some of 1 MiB.
const MAX_ZEROS: u64 = 1 << 20;

struct Block {
    dictionary: Vec<u8>,
    data: Vec<u8>,
    last: bool,
}

type Deflated = Result<(Vec<u8>, crc32fast::Hasher), Error>;

/// Writes the TOC member.
pub(super) fn write_toc_member(
    level: Level,
    end: &End<'_>,
    diff: &mut dyn FnMut(&[u8]),
    out: &mut dyn Write,
) -> Result<TocWritten, Error> {
    let json_len = end.toc.json_len();
    let header = Header {
        name: TOC_TAR_NAME.into(),
        entry: EntryType::File,
        size: json_len,
        format: Format::Unknown,
        ..Header::default()
    };
    let worker = move || {
        let mut deflater = Deflater::new(level);
        move |block: Block| -> Deflated {
            let mut out = Vec::new();
            deflater.deflate_part(&block.dictionary, &block.data, block.last, &mut out)?;
            let mut crc = crc32fast::Hasher::new();
            crc.update(&block.data);
            Ok((out, crc))
        }
    };
    let mut member = Member {
        pool: Ordered::new(end.threads, worker),
        in_flight: end.threads.saturating_mul(2),
        block: Vec::with_capacity(BLOCK),
        dictionary: Vec::new(),
        crc: crc32fast::Hasher::new(),
        len: 0,
        out,
        diff,
    };
    member.write(&gzip_header(level))?;
    let mut head = Vec::new();
    tar::encode_header(&header, &mut head)?;
    member.push(&head)?;
    let mut hasher = Hasher::sha256();
    end.toc.write_json(&mut |piece| {
        hasher.update(piece);
        member.push(piece)
    })?;
    let padding = usize::try_from(tar::padding(json_len)).unwrap_or(0);
    member.push([0; 512].get(..padding).unwrap_or_default())?;
    member.push(&[0; 1024])?;
    let diff_len = member.finish()?;
    Ok(TocWritten::new(hasher.finish(), diff_len))
}

struct Member<'a> {
    pool: Ordered<Block, Deflated>,
    in_flight: usize,
    block: Vec<u8>,
    dictionary: Vec<u8>,
    crc: crc32fast::Hasher,
    len: u64,
    out: &'a mut dyn Write,
    diff: &'a mut dyn FnMut(&[u8]),
}

impl Member<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(|source| Error::Write { source })
    }

    fn push(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        (self.diff)(bytes);
        self.len = self.len.saturating_add(bytes.len() as u64);
        while !bytes.is_empty() {
            let room = BLOCK.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.submit(false)?;
            }
        }
        Ok(())
    }

    fn submit(&mut self, last: bool) -> Result<(), Error> {
        let data = mem::replace(&mut self.block, Vec::with_capacity(if last { 0 } else { BLOCK }));
        let tail = data.get(data.len().saturating_sub(WINDOW)..).unwrap_or_default().to_vec();
        let dictionary = mem::replace(&mut self.dictionary, tail);
        self.pool.submit(Block { dictionary, data, last })?;
        while self.pool.in_flight() > self.in_flight {
            self.take()?;
        }
        Ok(())
    }

    fn take(&mut self) -> Result<(), Error> {
        let (bytes, crc) = self.pool.take()??;
        self.crc.combine(&crc);
        self.write(&bytes)
    }

    fn finish(mut self) -> Result<u64, Error> {
        self.submit(true)?;
        while self.pool.in_flight() > 0 {
            self.take()?;
        }
        let crc = mem::take(&mut self.crc).finalize();
        self.write(&crc.to_le_bytes())?;
        let len = (self.len & 0xffff_ffff).to_le_bytes();
        self.write(len.first_chunk::<4>().unwrap_or(&[0; 4]))?;
        Ok(self.len)
    }
}

/// Reads the document out of a TOC member, and fails at its end if anything else is there.
pub(super) struct TocJson<'a> {
    tar: tar::Reader<flate2::bufread::GzDecoder<Counted<'a>>>,
    /// Where the member starts, and how long it has to be.
    at: Offset,
    len: u64,
    /// Bytes of the member that were used.
    taken: Arc<AtomicU64>,
    ended: bool,
}

impl<'a> TocJson<'a> {
    /// The document in a member of `len` bytes at `at` in its blob.
    pub(super) fn open(toc: Box<dyn Read + Send + 'a>, at: Offset, len: u64) -> Result<Self, Error> {
        let taken = Arc::new(AtomicU64::new(0));
        let inner = BufReader::with_capacity(64 << 10, toc);
        let gzip = flate2::bufread::GzDecoder::new(Counted { inner, taken: Arc::clone(&taken) });
        let limits = dunnage_tree::Limits { unpacked: u64::MAX, ..dunnage_tree::Limits::default() };
        let mut tar = tar::Reader::new(gzip, limits);
        let mut header = Header::default();
        let found = tar.next_header(&mut header);
        let malformed = |got: String| Error::Malformed {
            part: "TOC member",
            at,
            expected: format!("a regular file `{TOC_TAR_NAME}`"),
            got,
        };
        match found {
            Ok(true) if header.name == TOC_TAR_NAME.as_bytes() && header.entry == EntryType::File => {
                Ok(Self { tar, at, len, taken, ended: false })
            }
            Ok(true) => Err(malformed(format!("`{}`", header.name.escape_ascii()))),
            Ok(false) => Err(malformed("an empty archive".to_owned())),
            // The source failed, and the member may be fine.
            Err(dunnage_tree::Error::Read { source, .. }) if kind_of(&source) != ErrorKind::Malformed => {
                Err(Error::Read { what: "the TOC", at, source })
            }
            Err(dunnage_tree::Error::Read { source, .. }) => Err(malformed(format!("no gzip member ({source})"))),
            Err(error) => Err(malformed(error.to_string())),
        }
    }

    /// Behind the document there are zeros, the end of the member, and then the footer.
    fn check_end(&mut self) -> io::Result<()> {
        let invalid = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
        let behind = |error: dunnage_tree::Error| {
            if error.kind() != ErrorKind::Malformed {
                return io::Error::from(error);
            }
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
            invalid(format!("after the TOC: {error}{cause}"))
        };
        let mut header = Header::default();
        if self.tar.next_header(&mut header).map_err(behind)? {
            return Err(invalid(format!("after the TOC: a further entry `{}`", header.name.escape_ascii())));
        }
        let mut block = [0; 4096];
        let mut zeros = 0_u64;
        loop {
            let len = self.tar.read_trailing(&mut block).map_err(behind)?;
            match block.get(..len) {
                Some([]) | None => break,
                Some(bytes) if bytes.iter().any(|&byte| byte != 0) => {
                    return Err(invalid("after the TOC: bytes that are not zero".to_owned()));
                }
                Some(bytes) => zeros = zeros.saturating_add(bytes.len() as u64),
            }
            // Zeros cost next to nothing to send, and time to inflate.
            if zeros > MAX_ZEROS {
                return Err(invalid(format!(
                    "after the TOC: more than {MAX_ZEROS} zeros after the end of the archive"
                )));
            }
        }
        let used = self.taken.load(Ordering::Relaxed);
        if used != self.len {
            let (at, end) = (self.at.saturating_add(used), self.at.saturating_add(self.len));
            return Err(invalid(format!("the TOC member ends at offset {at}, the footer starts at {end}")));
        }
        Ok(())
    }
}

impl Read for TocJson<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.tar.read(buf)?;
        if len == 0 && !buf.is_empty() && !self.ended {
            self.check_end()?;
            self.ended = true;
        }
        Ok(len)
    }
}

/// Counts the bytes that were used, not those that were merely buffered.
struct Counted<'a> {
    inner: BufReader<Box<dyn Read + Send + 'a>>,
    taken: Arc<AtomicU64>,
}

impl Read for Counted<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.inner.fill_buf()
    }

    fn consume(&mut self, len: usize) {
        self.taken.fetch_add(len as u64, Ordering::Relaxed);
        self.inner.consume(len);
    }
}
