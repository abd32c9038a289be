//! Whether a layer is the one that a manifest names: annotations of its descriptor, its TOC, and its chunks.

mod annotations;
mod trusted;
mod verify;

pub use self::{
    annotations::AnnotatedToc,
    trusted::TrustedReader,
    verify::{ChunkVerifier, Verified, Verifiers},
};
