//! A tar, plain or compressed with gzip or zstd.

use std::{
    fs::File,
    io::Read,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ErrorKind, Offset, read_full, read_some};
use dunnage_estargz::input::Packing;
use dunnage_tree::{
    Limits, Spool, Tree,
    tar::{self, Header, TarTree},
};

use super::{About, Candidate, Input, Kind, Source, contents};
use crate::{
    args, context::Context, failure::Failure, options::Uses, page::Page, progress::Progress, report::Document,
};

/// Tars, plain or compressed.
pub(super) static KIND: Kind = Kind {
    name: "tar",
    prefixes: &[],
    uses: Uses { name: "tars", options: &["max-entries", "max-unpacked", "digest"] },
    open: Archive::detect,
};

/// A tar, plain or compressed.
pub(super) struct Archive {
    packing: Packing,
    from: From,
    limits: Limits,
}

enum From {
    File(File),
    /// `None` once it was read.
    Stream(Mutex<Option<Box<dyn Read>>>),
}

impl Archive {
    /// The last kind that is asked: a file that is no tar is of no kind.
    fn detect(context: &Context, candidate: &Candidate<'_>) -> Result<Option<Box<dyn Source>>> {
        let Candidate::File(file, _) = candidate else { return Ok(None) };
        let (packing, _) = Packing::peek(Cursor::new(*file)?)?;
        let limits = context.tree_limits().clone();
        let mut first = [0; 512];
        let mut plain = packing.decompressed(Cursor::new(*file)?)?;
        let len = read_full(&mut plain, &mut first)?;
        if first == [0; 512] {
            only_zeros(plain)?;
        } else if len < first.len() || !tar::is_header(&first) {
            return Err(no_tar(packing, &first));
        }
        let mut reader = tar::Reader::new(packing.decompressed(Cursor::new(*file)?)?, limits.clone());
        reader.next_header(&mut Header::default())?;
        Ok(Some(Box::new(Self { packing, from: From::File(file.try_clone()?), limits })))
    }

    /// The archive that comes out of `stream`, to be read once.
    pub(super) fn stream(context: &Context, packing: Packing, stream: Box<dyn Read>) -> Self {
        Self { packing, from: From::Stream(Mutex::new(Some(stream))), limits: context.tree_limits().clone() }
    }

    const fn file(&self) -> Option<&File> {
        match &self.from {
            From::File(file) => Some(file),
            From::Stream(_) => None,
        }
    }

    fn bytes(&self) -> Input<'_> {
        match &self.from {
            From::File(file) => Input::Tar(self.packing, file),
            From::Stream(stream) => {
                let stream = stream.lock().unwrap_or_else(PoisonError::into_inner).take();
                Input::Stream(self.packing, stream.map(|stream| stream as Box<dyn Read + '_>))
            }
        }
    }
}

/// Makes sure that nothing follows the blocks of zeros that end an archive without entries: disk images and file systems
/// begin with zeros too.
fn only_zeros(mut plain: impl Read) -> Result<()> {
    let (mut at, mut block) = (512_u64, vec![0; 64 << 10]);
    loop {
        let len = read_some(&mut plain, &mut block)?;
        let block = block.get(..len).unwrap_or_default();
        if let Some(found) = block.iter().position(|&byte| byte != 0) {
            let at = Offset::new(at.saturating_add(found as u64));
            let message = format!("it begins with zeros, as an empty tar does, but there is data at offset {at}");
            return Err(Failure::new(ErrorKind::Malformed, message).into());
        }
        if len == 0 {
            return Ok(());
        }
        at = at.saturating_add(len as u64);
    }
}

/// Compressions that are recognised but not read: their first bytes, their names, and the programs that unpack them.
const OTHERS: [(&[u8], &str, &str); 4] = [
    (b"\xfd7zXZ\0", "xz", "xz -dc"),
    (b"BZh", "bzip2", "bzip2 -dc"),
    (b"\x04\x22\x4d\x18", "lz4", "lz4 -dc"),
    (b"\x5d\0\0", "lzma", "xz -dc --format=lzma"),
];

/// The error for bytes that begin like nothing that is known.
fn no_tar(packing: Packing, first: &[u8]) -> anyhow::Error {
    let other = OTHERS.iter().find(|(magic, ..)| packing == Packing::Plain && first.starts_with(magic));
    match other {
        Some((_, name, program)) => {
            let message = format!("it is compressed with {name}, which is not read here");
            Failure::new(ErrorKind::Unsupported, message).hint(format!("unpack it with `{program}`")).into()
        }
        None => {
            let message = "it is no directory, no eStargz layer and no tar archive (plain, gzip or zstd)";
            Failure::new(ErrorKind::Malformed, message).into()
        }
    }
}

impl Source for Archive {
    fn about(&self) -> About {
        let format = match self.packing {
            Packing::Plain => "tar",
            Packing::Gzip => "tar, gzip",
            Packing::Zstd => "tar, zstd",
        };
        About { is_sequential: true, ..About::new(&KIND, format) }
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        if let (Packing::Plain, Some(file)) = (self.packing, self.file()) {
            return Ok(Arc::new(TarTree::open(file.try_clone()?, &self.limits)?));
        }
        let (mut input, nothing) = (self.bytes(), Progress::none());
        let mut tar = input.tar(&nothing)?;
        let plain = Spool::keep(&mut tar, self.limits.unpacked, dunnage_digest::Progress::none());
        Ok(Arc::new(TarTree::open(plain.context("cannot unpack the archive")?.into_file(), &self.limits)?))
    }

    fn inspect(&self, context: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<Page> {
        let digests = self.file().filter(|_| args.digest).map(|file| contents::digests(context, file)).transpose()?;
        contents::page(context, args, self, contents::Extra { file: self.file(), digests, layer: None })
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page> {
        contents::read_all(context, args, self)
    }

    fn input(&self, _: &Context) -> Result<Input<'_>> {
        Ok(self.bytes())
    }
}
