//! Whole images: the tests make layouts and archives, convert, copy and verify them, and damage them in every place.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "tests, and their helpers"
)]

mod archives;
mod broken_archives;
mod convert;
mod hostile;
mod kept;
mod make;
mod sources;
mod targets;
mod verify;
