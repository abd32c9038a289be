//! Any tree as a mounted file system, over FUSE.
//!
//! | file          | subject                                                                |
//! |---------------|------------------------------------------------------------------------|
//! | `options`     | options of a mount                                                     |
//! | `attach`      | the device and the mount table: mounting, detaching, `fusermount3`     |
//! | `mount`       | one mount, from the first answer to the last                           |
//! | `filesystem`  | the requests of the kernel, one method each                            |
//! | `server`      | answers requests from the tree                                         |
//! | `convert`     | numbers, attributes and errors in the form of the kernel               |
//! | `pending`     | requests in progress; gives up those whose caller was interrupted      |
//! | `readahead`   | pieces unpacked before a program asks for them                         |
//! | `overflow`    | threads for reads that would occupy the last listener                  |
//! | `listeners`   | how many threads listen                                                |
//! | `passthrough` | open files that the kernel reads without us                            |
//! | `metrics`     | counters, as text for Prometheus                                       |
//!
//! The library underneath is `fuser`, without libfuse. None of its types is visible outside this module.
//!
//! Nothing can be changed through a mount: the kernel refuses most attempts itself, since it is mounted read-only, and a request that
//! comes through is answered with `EROFS`. A panic in a tree is an `EIO` for the caller, and a number in [`Metrics`]; the
//! mount goes on.

mod attach;
mod buffers;
mod convert;
mod filesystem;
mod listeners;
mod metrics;
mod mount;
mod options;
mod overflow;
mod passthrough;
mod pending;
mod readahead;
mod server;

pub use self::{
    attach::{MountsInside, Unmounted, unmount, unmount_with},
    convert::errno_of,
    metrics::Metrics,
    mount::Mount,
    options::{Content, Devices, MountOptions, Passthrough, Report, SetId, Users},
};
