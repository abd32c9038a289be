//! The built command, as people and scripts call it: every command in both forms of output, every class of exit code, pipes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests, and their helpers"
)]

mod convert;
mod errors;
mod image;
mod layout;
#[cfg(feature = "fuse")]
mod mount;
mod options;
mod read;
mod run;
mod state;
mod verify;
