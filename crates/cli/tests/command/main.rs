//! The built command, as people and scripts call it: every command in both forms of output, every class of exit code, pipes.

mod convert;
mod errors;
mod read;
mod run;
mod verify;
