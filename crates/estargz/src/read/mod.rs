//! Reading layers: open, look up, read verified bytes, verify.

mod annotations;
mod builder;
mod cache;
mod index;
mod layout;
mod open;
mod pages;
mod pre_read;
mod reader;
mod restore;
mod tar_split;
mod telemetry;
mod tree;
mod trusted;
mod unpack;
mod verify;
mod workspace;
mod zeros;

pub use self::{
    annotations::AnnotatedToc,
    layout::{
        FileFacts, Group, GroupShare, KindCounts, LandmarkKind, LayoutOptions, LayoutReport, MeasureOptions, Measured,
        PayloadShares, Plain, PrefetchArea, Segment, SegmentKind, SharedStreams, SizeClass, StreamFacts, StreamFigures,
        StreamKind,
    },
    open::{Landmarks, OpenOptions, RepeatedNames, Trust, Versions},
    pre_read::{PreRead, PreReader},
    reader::{Chunk, Entry, FileReader, Prefetch, Reader},
    restore::restore_tar,
    tar_split::{Reassembled, TarPart},
    telemetry::{Hook, Telemetry},
    trusted::TrustedReader,
    unpack::{find_footer, open_footer, unpack, unpack_with},
    verify::{ChunkVerifier, Verified, Verifiers},
};
