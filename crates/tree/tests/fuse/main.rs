//! Mounts for real, and looked at as programs look at file systems.
//!
//! Where nothing can be mounted, each test says so and does nothing; with `CI=true` that is a failure.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests"
)]

mod faults;
mod made;
mod overlayfs;
mod passthrough;
mod reading;
mod slow;
mod support;
mod writing;
