//! The settings of a run.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::PathBuf,
    sync::Arc,
};

use dunnage_digest::Digest;
use dunnage_estargz::{
    OpenOptions,
    codec::ExternalTocDecompressor,
    read::{Decoders, Trust},
};
use dunnage_oci::Platform;
use dunnage_tree::pieces::PieceCache;

use crate::{
    args::{Global, ProgressMode, SourceOptions},
    options::Given,
};

/// The settings of a run.
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
    /// The digest that the TOC of a layer must have.
    pub(crate) toc_digest: Option<Digest>,
    /// The TOC of a layer that has it stored elsewhere.
    pub(crate) toc: Option<PathBuf>,
    /// Decoded content of all layers that this run opens.
    pub(crate) cache: PieceCache,
    /// Decoders for all layers that this run opens.
    pub(crate) decoders: Decoders,
    /// Which images to take of several; all if empty.
    pub(crate) platforms: Vec<Platform>,
    /// The kind that the source is taken for, instead of finding out.
    pub(crate) kind: Option<String>,
    /// The options of the command line.
    pub(crate) given: Given,
}

impl Context {
    pub(crate) fn new(global: &Global, given: Given) -> Self {
        Self {
            json: global.json,
            quiet: global.quiet,
            threads: usize::from(global.threads),
            progress: if global.quiet { ProgressMode::None } else { global.progress },
            limits: dunnage_estargz::Limits::default(),
            trust: Trust::Verified,
            toc_digest: None,
            toc: None,
            cache: PieceCache::with_bytes(CACHE),
            decoders: Decoders::default(),
            platforms: Vec::new(),
            kind: None,
            given,
        }
    }

    /// The same for a verb that opens sources with these options.
    pub(crate) fn reading(&self, options: &SourceOptions) -> Self {
        let mut context = self.clone();
        let limits = &mut context.limits;
        if let Some(bytes) = options.max_toc_bytes {
            limits.toc = bytes;
            limits.toc_compressed = bytes;
        }
        if let Some(entries) = options.max_entries {
            limits.entries = entries;
            limits.tar.entries = entries;
        }
        if let Some(bytes) = options.max_unpacked {
            limits.tar.unpacked = bytes;
        }
        if options.unverified {
            context.trust = Trust::Unverified;
        }
        context.toc_digest = options.toc_digest;
        context.toc.clone_from(&options.toc);
        context.platforms.clone_from(&options.platform);
        context.kind.clone_from(&options.kind);
        context
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

    /// Prints a note, which is no error, to standard error.
    pub(crate) fn note(&self, text: &str) {
        if !self.quiet {
            // A note that standard error cannot take is lost: there is no other place for it.
            let _ = writeln!(io::stderr().lock(), "dunnage: {text}");
        }
    }
}

/// Bytes of decoded content that are kept, over all layers together.
const CACHE: u64 = 128 << 20;
