#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation))]

mod contents;
mod convert;
mod descriptor;
mod document;
mod error;
mod format;
mod input;
mod json;
mod layout;
mod limits;
mod media;
mod nameless;
mod parallel;
mod platform;
mod progress;
mod record;
mod verify;

pub use crate::{
    contents::{Contents, Image, ImageLayer},
    convert::{Conversion, Converted, ConvertedLayer, ConvertedManifest, ImageOptions, Outcome, Tar, Target},
    descriptor::{Descriptor, TAG_ANNOTATION},
    error::Error,
    format::Format,
    layout::{Layout, SameTag},
    limits::Limits,
    platform::{ParsePlatformError, Platform},
    record::Record,
    verify::{Depth, Verification, VerifiedImage, VerifyOptions},
};
