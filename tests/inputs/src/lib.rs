//! Inputs for the tests of all crates: tars of any kind, image layouts, generated trees, random bytes.
//!
//! Nothing here calls a crate of ours, so that the headers of a tar and the digests of a layout are written by another hand
//! than the one under test, and so that every crate can use it in its tests.

#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::exhaustive_enums,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test library: whatever goes wrong here should end the test"
)]

pub mod generate;
pub mod layout;
pub mod random;
pub mod tarball;
