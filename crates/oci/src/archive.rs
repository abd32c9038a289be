//! Images in one file: tars of a layout, and tars as `docker save` writes them.
//!
//! The rules for both forms are in `docs/formats/image-archives.md`. Archives are read in place: one pass over the headers
//! records where each member is. A compressed archive is unpacked into a temporary file first.

mod docker;
mod members;
mod oci;
mod sniff;
mod store;
mod write;

pub use self::{
    docker::DockerArchive,
    oci::OciArchive,
    sniff::{detect, may_be_archive},
    write::ArchiveWriter,
};
