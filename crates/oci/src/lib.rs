#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod archive;
mod claims;
mod contents;
mod convert;
mod copying;
mod descriptor;
mod destination;
mod document;
mod error;
mod format;
mod images;
mod input;
mod json;
mod layout;
mod limits;
mod media;
mod parallel;
mod platform;
mod progress;
mod record;
mod reference;
mod verify;

pub use crate::{
    archive::{ArchiveWriter, DockerArchive, OciArchive, detect, may_be_archive},
    contents::{Contents, Image, ImageLayer},
    convert::{Conversion, Converted, ConvertedLayer, ConvertedManifest, ImageOptions, Outcome, TarBytes, Target},
    copying::{Copied, CopyOptions, Copying},
    descriptor::{Descriptor, TAG_ANNOTATION},
    destination::{Destination, LayerForm, NewBlob},
    error::Error,
    format::Format,
    images::{Blob, Images},
    layout::{Layout, SameTag},
    limits::Limits,
    platform::{ParsePlatformError, Platform},
    record::Record,
    reference::{Reference, Store},
    verify::{Depth, Verification, VerifiedImage, VerifyOptions},
};
