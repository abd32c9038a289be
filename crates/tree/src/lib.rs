#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod cache;
mod confine;
mod content;
mod diff;
mod dir;
mod entries;
mod error;
mod export;
mod extract;
#[cfg(feature = "fuse")]
pub mod fuse;
mod limits;
mod name;
mod new_file;
mod node;
mod overlay;
pub mod pieces;
mod spool;
pub mod tar;
mod walk;
mod whiteout;

pub use crate::{
    confine::Root,
    diff::{
        CompareContent, CompareMtime, CompareOptions, CompareOwners, CompareXattrs, Difference, DifferenceKind,
        compare, compare_with,
    },
    dir::DirTree,
    entries::{Entries, ExportMtime, ExportNanos, ExportOptions, ExportOwners, ExportRoot, ExportSparse},
    error::{BoxError, Error},
    export::TarExport,
    extract::{
        Destination, Dropped, DroppedPart, Existing, ExtractDevices, ExtractOptions, ExtractOwners, ExtractSetId,
        ExtractWhiteouts, ExtractXattrs, Extracted, extract, extract_tar,
    },
    limits::Limits,
    name::{SafeName, SafePath, UnsafeName, display as display_name},
    new_file::{NewFile, SameName, flush_dir, name_of},
    node::{Attr, DirEntry, DirVisitor, Kind, Mtime, NodeId, Owner, Span, Tree, Usage, XattrVisitor},
    overlay::Overlay,
    spool::Spool,
    walk::{Follow, Visit, Visited, Walk, resolve},
    whiteout::{OpaqueMark, OverlayfsLayer},
};
