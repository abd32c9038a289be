//! Helpers of the conformance suite: an independent tar reader, layers of any shape, tree dumps, cases as data.
//!
//! Nothing here calls the tar code under test: what a layer's headers should be is said twice, by two hands.

#![forbid(unsafe_code)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::indexing_slicing,
    clippy::exhaustive_enums,
    clippy::missing_errors_doc,
    clippy::panic,
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test library: whatever is wrong here should end the test"
)]

pub mod case;
pub mod dump;
pub mod fuzz;
pub mod hostile;
pub mod layer;
pub mod mutate;
pub mod mutation;
pub mod parallel;
pub mod sandbox;
pub mod statefile;
pub mod stored;
pub mod tarview;

pub use dunnage_inputs::{generate, random, tarball};
