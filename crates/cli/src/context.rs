//! What holds for the whole run, whatever the command.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use dunnage_digest::{Digest, ErrorKind};
use dunnage_estargz::{Decoders, ExternalTocDecompressor, OpenOptions, Trust};
use dunnage_oci::Platform;
use dunnage_tree::pieces::PieceCache;

use crate::{
    args::{Global, ProgressMode},
    exit::Failure,
};

/// What holds for the whole run.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) json: bool,
    pub(crate) quiet: bool,
    /// 0: as many as the machine has.
    pub(crate) threads: usize,
    pub(crate) progress: ProgressMode,
    /// Ceilings for layers; those for archives and trees are inside.
    pub(crate) limits: dunnage_estargz::Limits,
    pub(crate) trust: Trust,
    /// What the TOC of a layer has to hash to.
    pub(crate) toc_digest: Option<Digest>,
    /// The TOC of a layer that has it stored elsewhere.
    pub(crate) toc: Option<PathBuf>,
    /// Decoded content of all layers that this run opens.
    pub(crate) cache: PieceCache,
    /// Decoders for all layers that this run opens.
    pub(crate) decoders: Decoders,
    /// Which images to take of several; all if empty.
    pub(crate) platforms: Vec<Platform>,
}

impl Context {
    pub(crate) fn new(global: &Global) -> Self {
        let mut limits = dunnage_estargz::Limits::default();
        if let Some(bytes) = global.max_toc_bytes {
            limits.toc = bytes;
            limits.toc_compressed = bytes;
        }
        if let Some(entries) = global.max_entries {
            limits.entries = entries;
            limits.tar.entries = entries;
        }
        if let Some(bytes) = global.max_unpacked {
            limits.tar.unpacked = bytes;
        }
        Self {
            json: global.json,
            quiet: global.quiet,
            threads: global.threads,
            progress: if global.quiet { ProgressMode::None } else { global.progress },
            limits,
            trust: if global.unverified { Trust::Unverified } else { Trust::Verified },
            toc_digest: global.toc_digest,
            toc: global.toc.clone(),
            cache: PieceCache::with_bytes(CACHE),
            decoders: Decoders::default(),
            platforms: global.platform.clone(),
        }
    }

    /// Ceilings for archives and trees.
    pub(crate) const fn tree_limits(&self) -> &dunnage_tree::Limits {
        &self.limits.tar
    }

    pub(crate) fn open_options(&self) -> OpenOptions {
        let mut options = OpenOptions {
            limits: self.limits.clone(),
            threads: self.threads,
            trust: self.trust,
            cache: self.cache.clone(),
            decoders: self.decoders.clone(),
            ..OpenOptions::default()
        };
        if let Some(path) = self.toc.clone() {
            let limit = self.limits.toc_compressed;
            let read = move || {
                let mut toc = Vec::new();
                File::open(&path)?.take(limit).read_to_end(&mut toc)?;
                Ok(toc)
            };
            options.decompressors.push(Arc::new(ExternalTocDecompressor::new(read)));
        }
        options
    }

    /// Tells something worth knowing that is no error, on stderr.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            // There is nobody left to tell if this fails.
            let _ = writeln!(io::stderr().lock(), "dunnage: {text}");
        }
    }
}

/// Bytes of decoded content that are kept, over all layers together.
const CACHE: u64 = 128 << 20;

/// The error for a call that cannot work, whatever the input.
pub(crate) fn usage(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Failure::new(ErrorKind::Misuse, message).hint(hint).into()
}
