//! The whole grammar of the command, from which help, completions and man pages are made.

mod examples;
mod parse;
mod state;

use std::{ffi::OsString, path::PathBuf};

use clap::{ArgGroup, Args as ClapArgs, CommandFactory, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use dunnage_digest::Digest;
use dunnage_oci::Platform;

pub(crate) use self::state::{
    Dialect, KeyFrom, State, StateCat, StateCompression, StateConvert, StateIn, StatePack, StateRekey,
};
pub(crate) use self::{examples::examples, parse::parse};

/// Build, check, read, extract and compare container layers and file trees.
///
/// SOURCE is a path, or `-` for standard input. Its content says what it is: a directory, a tar (plain, gzip or zstd), a
/// layer with a table of contents (eStargz, older stargz, zstd:chunked), a gVisor state file or checkpoint. `oci:DIR` or
/// `oci:DIR:TAG` is an image in an OCI image layout, `oci-archive:FILE[:TAG]` and `docker-archive:FILE[:NAME]` one in an archive.
#[derive(Debug, Parser)]
#[command(
    name = "dunnage",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100,
    after_help = EXIT_CODES,
    after_long_help = EXIT_CODES
)]
pub(crate) struct Args {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The whole grammar, with examples.
pub(crate) fn grammar() -> clap::Command {
    examples::with_examples(Args::command(), "")
}

/// The exit codes, for help and man pages.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  damage or a difference was found, the source is of a kind that is not read, or a path is not in it
  2  the call is wrong
  3  reading or writing failed
  4  a remote party failed
  5  a key is missing, or a remote party refused our credentials
  6  a limit was exceeded; the message names the flag that raises it";

/// The options of every command.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Everywhere")]
pub(crate) struct Global {
    /// Print JSON, each object with a `schema`; errors too
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Threads to use, at most 1024; 0 for as many as the machine has. No output depends on it
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true,
        value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub(crate) threads: u16,
    /// How to show progress, on standard error
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) progress: ProgressMode,
    /// Print no progress and no notes
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
}

/// How a source is opened: for the verbs that open one. Each option is refused where the source cannot use it.
#[derive(Clone, Debug, Default, ClapArgs)]
#[command(next_help_heading = "Reading the source")]
pub(crate) struct SourceOptions {
    /// Take the source for this kind, instead of finding out: directory, checkpoint, tar, layer, image or state
    #[arg(long = "as", value_name = "KIND", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) kind: Option<String>,
    /// Of an image for many platforms, the one to take; convert, inspect and verify take many [default: all of them]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Vec<Platform>,
    /// The digest that the manifest names for the table of contents of a layer, as `sha256:...`; any other is refused
    #[arg(long, value_name = "DIGEST", value_parser = parse_digest)]
    pub(crate) toc_digest: Option<Digest>,
    /// The table of contents of a layer that has it stored elsewhere
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) toc: Option<PathBuf>,
    /// Also hand out content that the source has no digest for
    #[arg(long)]
    pub(crate) unverified: bool,
    /// Most bytes of a layer's table of contents [default: 512M, compressed 150M]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) max_toc_bytes: Option<u64>,
    /// Most entries of one source [default: 1048576, of a layer 8388608]
    #[arg(long, value_name = "N", value_parser = parse_size)]
    pub(crate) max_entries: Option<u64>,
    /// Most bytes of all files of one source [default: 64G]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) max_unpacked: Option<u64>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressMode {
    /// A bar on a terminal, nothing elsewhere
    #[default]
    Auto,
    /// A line every two seconds
    Plain,
    /// Nothing
    None,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the kind of a source, and its content
    Inspect(Inspect),
    /// List files
    Ls(Ls),
    /// Write files to standard output
    Cat(Cat),
    /// Unpack into a directory, and nowhere else
    ///
    /// Everything belongs to the caller, and anything that could give rights (owners, set-id bits, devices, privileged
    /// attributes) is left out and reported, unless you ask for it.
    Extract(Extract),
    /// Compare two sources, file by file
    ///
    /// Ends with 1 if they differ. The root directory itself is compared only if both sources describe it.
    Diff(Diff),
    /// Check every digest that a source carries; read everything where it carries none
    Verify(Verify),
    /// Convert a directory, a tar or a layer into a layer or a tar, or all layers of an image
    ///
    /// From `oci:DIR[:TAG]` to `oci:DIR[:TAG]` all layers of an image are converted, for all platforms, and the documents
    /// that lead to them. The destination may be a new directory, a layout with other images, or the source itself.
    ///
    /// Before a layer is converted, its table of contents is compared with the tar in it, entry by entry.
    ///
    /// DEST appears whole or not at all. The bytes depend on the input and the options alone, never on the number of
    /// threads, nor on whether the input is a file or a pipe.
    Convert(Convert),
    /// Copy an image from one place to another, unchanged
    ///
    /// Between layouts and OCI archives every digest stays. An archive for Docker holds plain layers and no manifest: diff IDs
    /// and configuration stay, digests of blobs change.
    Copy(Copy),
    /// Show, check, unpack, make and rewrite gVisor's state files, such as `checkpoint.img`
    #[command(subcommand)]
    State(State),
    /// Mount a source as a read-only file system
    ///
    /// Runs until the mount is taken off: by `dunnage umount`, or by an interrupt. If a process uses it then, it goes out of
    /// sight at once and ends when the last file is closed; a second interrupt ends it whatever happens.
    ///
    /// Without privilege it goes through `fusermount3`, which has to be installed.
    #[cfg(feature = "fuse")]
    Mount(Mount),
    /// Take off a mount of `dunnage mount`
    ///
    /// If a process uses it, it goes out of sight at once and ends when the last file is closed. One with other mounts inside
    /// stays as it is.
    #[cfg(feature = "fuse")]
    Umount {
        /// Where it is mounted
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
        /// Take the mounts inside of it off first
        #[arg(long)]
        recursive: bool,
        /// Let the mounts inside go out of sight with it
        #[arg(long, conflicts_with = "recursive")]
        lazy: bool,
        /// Tells a guard to wait for the end of standard input, and names its mount.
        #[arg(long, hide = true, value_name = "MAJOR:MINOR")]
        once_closed: Option<String>,
    },
    /// Print completions for a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Write the man pages of all commands into a directory
    Man {
        /// The directory, which is made if it does not exist
        #[arg(value_hint = ValueHint::DirPath)]
        dir: PathBuf,
    },
}

/// `dunnage inspect`.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("laid_out").args(["layout", "report"]).multiple(true))]
pub(crate) struct Inspect {
    /// What to look at
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Also take the digests of the whole, which reads all of it
    #[arg(long)]
    pub(crate) digest: bool,
    /// Show instead which bytes of a layer hold what
    #[arg(long)]
    pub(crate) layout: bool,
    /// Write that to FILE, as a page, JSON or text: its name ends with `.html`, `.json` or `.txt`
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) report: Option<PathBuf>,
    /// Also compare the layer with one ordinary stream of its kind, at this level [default: gzip 6, zstd 3]; that
    /// decompresses and compresses all of it
    #[arg(
        long,
        value_name = "LEVEL",
        requires = "laid_out",
        num_args = 0..=1,
        require_equals = true,
        value_parser = clap::value_parser!(i32).range(0..=22)
    )]
    pub(crate) measure: Option<Option<i32>>,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage ls`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Ls {
    /// What to list
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Which directory or file in it
    #[arg(default_value = "/", hide_default_value = true)]
    pub(crate) path: OsString,
    /// Show mode, links, owner, group, size or device, time (UTC) and link target
    #[arg(short, long)]
    pub(crate) long: bool,
    /// Go into directories; names are then paths
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage cat`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Cat {
    /// Where the files are
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Which files; symlinks are followed within the source
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<OsString>,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage extract`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Extract {
    /// What to unpack
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Where to: a directory that is empty, or made
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dest: PathBuf,
    /// Keep owners and groups; needs privilege
    #[arg(long)]
    pub(crate) owners: bool,
    /// Make device nodes; needs privilege
    #[arg(long)]
    pub(crate) devices: bool,
    /// Keep set-user-id and set-group-id bits
    #[arg(long)]
    pub(crate) set_id: bool,
    /// Keep attributes named `trusted.*` and `security.*`; needs privilege
    #[arg(long)]
    pub(crate) privileged_xattrs: bool,
    /// Unpack into a directory that is not empty, and replace files of the same name
    #[arg(long)]
    pub(crate) into_existing: bool,
    /// The meaning of names that begin with `.wh.`
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) whiteouts: Whiteouts,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// The meaning of `.wh.` names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Whiteouts {
    /// They are ordinary names
    #[default]
    Keep,
    /// They remove what the directory held before
    Apply,
}

/// `dunnage diff`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Diff {
    /// The first source
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) a: PathBuf,
    /// The second source
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) b: PathBuf,
    /// Do not compare times of last change
    #[arg(long)]
    pub(crate) ignore_mtime: bool,
    /// Compare times to the nanosecond; most formats hold whole seconds
    #[arg(long, conflicts_with = "ignore_mtime")]
    pub(crate) exact_mtime: bool,
    /// Do not compare owners and groups
    #[arg(long)]
    pub(crate) ignore_owner: bool,
    /// Stop after so many differences
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max: Option<u64>,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage mount`.
#[cfg(feature = "fuse")]
#[derive(Debug, ClapArgs)]
pub(crate) struct Mount {
    /// What to mount; of an image, its layers stacked
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// On which directory
    #[arg(value_hint = ValueHint::DirPath)]
    pub(crate) dir: PathBuf,
    /// Go into the background once the mount answers
    #[arg(long)]
    pub(crate) daemon: bool,
    /// Show counts and times of requests at `http://ADDR/metrics`, for Prometheus
    #[arg(long, value_name = "ADDR")]
    pub(crate) metrics: Option<std::net::SocketAddr>,
    /// Let every user look, as far as the permissions in the source allow
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Let set-user-id and set-group-id bits count; needs privilege
    #[arg(long)]
    pub(crate) suid: bool,
    /// Let device nodes be the devices of this machine; needs privilege
    #[arg(long)]
    pub(crate) dev: bool,
    /// The meaning of names that begin with `.wh.` [default: keep, of an image apply]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) whiteouts: Option<MountWhiteouts>,
    /// How long names and attributes may be believed, in seconds [default: 3600, of a directory 1]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) lifetime: Option<u64>,
    /// Most seconds that a program waits for one read; it gets ETIMEDOUT then [default: 120]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) deadline: Option<u64>,
    /// Most bytes of decoded content to keep for further reads, over all layers together [default: 128M]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) cache: Option<u64>,
    /// How far the kernel reads ahead; only root can change it [default: 1M]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) read_ahead: Option<u64>,
    /// Never let the kernel read files of a directory by itself
    #[arg(long)]
    pub(crate) no_passthrough: bool,
    /// Tells a process that it runs in the background.
    #[arg(long, hide = true)]
    pub(crate) is_daemon: bool,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// The meaning of `.wh.` names in a mount.
#[cfg(feature = "fuse")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MountWhiteouts {
    /// They are ordinary names
    Keep,
    /// They are gone, and so is everything that they take away; not for a directory, which can change
    Apply,
    /// What overlayfs expects: devices 0/0 and `trusted.overlay.opaque`
    Overlay,
    /// The same with `user.overlay.opaque`
    OverlayUser,
    /// The same with both attributes
    OverlayBoth,
}

/// `dunnage verify`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Verify {
    /// What to check
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Also unpack the layer and compare it with its table of contents, entry by entry
    #[arg(long)]
    pub(crate) deep: bool,
    /// Where the key of a state file comes from
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage convert`.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("first").args(["prioritize", "prioritize_from", "record"]).multiple(true))]
pub(crate) struct Convert {
    /// What to convert
    #[arg(value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// Where to write; `-` for standard output; `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:NAME]` for an
    /// image
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) dest: PathBuf,
    /// What to make
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub(crate) to: Target,
    /// How hard to compress: 0 to 12 for gzip, 1 to 22 for zstd [default: 6, with zstd 3]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-2..=22))]
    pub(crate) level: Option<i32>,
    /// Bytes of a file that are compressed together, and can be fetched alone [default: 4M]
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) chunk_size: Option<u64>,
    /// Let small files share a stream until it has this many bytes: a smaller layer, of which more has to be fetched at once
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) stream_size: Option<u64>,
    /// The same by compressed bytes, as the reference counts them; slower, since only one core can work
    #[arg(long, value_name = "BYTES", value_parser = parse_size, conflicts_with = "stream_size")]
    pub(crate) min_chunk_size: Option<u64>,
    /// Write the table of contents to this file instead of into the layer (eStargz)
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) toc_out: Option<PathBuf>,
    /// Put the tables of contents of an image into an image of their own, tagged TAG-esgztoc (eStargz)
    #[arg(long, conflicts_with = "toc_out")]
    pub(crate) external_toc: bool,
    /// The compressor for gzip; the bytes depend on it
    #[arg(long, value_enum, value_name = "CODEC", default_value_t)]
    pub(crate) codec: CodecName,
    /// A file to put first in the layer, where it is fetched first; can be given many times
    #[arg(long, value_name = "FILE")]
    pub(crate) prioritize: Vec<String>,
    /// A list of files to put first, one a line
    #[arg(long, value_name = "LIST", value_hint = ValueHint::FilePath)]
    pub(crate) prioritize_from: Option<PathBuf>,
    /// A record of the files that a container read, as JSON lines: these are put first in an image's layers
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    /// Go on if a file to put first is not there
    #[arg(long, requires = "first")]
    pub(crate) allow_missing: bool,
    /// Keep the tar bit for bit, so that unpacking the layer gives it back
    #[arg(long, conflicts_with_all = ["prioritize", "prioritize_from", "record", "duplicates"])]
    pub(crate) lossless: bool,
    /// Write files with holes as sparse members, so that the tar takes no bytes for the holes (tar)
    #[arg(long, conflicts_with = "lossless")]
    pub(crate) sparse: bool,
    /// The treatment of a repeated name
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) duplicates: Duplicates,
    /// The treatment of names that are not UTF-8, which a layer cannot hold
    #[arg(long, value_enum, value_name = "HOW", default_value_t)]
    pub(crate) non_utf8: NonUtf8Names,
    /// Print only the annotations for the layer's descriptor, as `name=value`
    #[arg(long)]
    pub(crate) annotations: bool,
    /// Fail if DEST exists, or has an image of that tag
    #[arg(long)]
    pub(crate) no_clobber: bool,
    #[command(flatten)]
    pub(crate) from: SourceOptions,
}

/// `dunnage copy`.
#[derive(Debug, ClapArgs)]
pub(crate) struct Copy {
    /// The image; an archive or a layout may be named by its path alone
    #[arg(value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) source: PathBuf,
    /// The new place: `oci:DIR[:TAG]`, `oci-archive:FILE[:TAG]` or `docker-archive:FILE[:NAME]`
    #[arg(value_name = "IMAGE", value_hint = ValueHint::AnyPath)]
    pub(crate) dest: PathBuf,
    /// Of an image for many platforms, those to copy [default: all of them]
    #[arg(long, value_name = "OS/ARCH[/VARIANT]")]
    pub(crate) platform: Vec<Platform>,
    /// Fail if the new place has an image of that name
    #[arg(long)]
    pub(crate) no_clobber: bool,
}

/// What a conversion makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Target {
    /// A layer that can be pulled lazily, and is a tar.gz for every other reader
    Estargz,
    /// The same with zstd: smaller, and faster to read
    ZstdChunked,
    /// zstd:chunked in the form of containers/storage, for Podman, Buildah and CRI-O; always lossless
    ZstdChunkedStorage,
    /// An uncompressed tar; of a layer, without what its format added (with --lossless, exactly what it unpacks to)
    Tar,
}

/// The compressor for gzip.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum CodecName {
    /// Smaller and faster
    #[default]
    Libdeflate,
    /// Pure Rust; stops at level 9
    Zlib,
}

/// The treatment of repeated names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Duplicates {
    /// The last entry counts, as when the tar is unpacked
    #[default]
    Replace,
    /// All entries stay; the layer gets no landmark
    Keep,
    /// The conversion fails
    Refuse,
}

/// The treatment of names that are not UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum NonUtf8Names {
    /// The conversion fails
    #[default]
    Refuse,
    /// Each such byte becomes U+FFFD, as the reference does it
    Replace,
}

/// A number of bytes: `4194304`, `4M`, `4MiB`, `4MB`. Letters alone count in 1024s, as those with `i` do.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("expected a number such as 1048576, 4M or 2GiB, got `{text}`");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let factor: u64 = match unit {
        "" | "B" => 1,
        "K" | "k" | "KiB" => 1 << 10,
        "M" | "MiB" => 1 << 20,
        "G" | "GiB" => 1 << 30,
        "T" | "TiB" => 1 << 40,
        "kB" | "KB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "TB" => 1_000_000_000_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(|| format!("`{text}` is more than 2^64 bytes"))
}

fn parse_digest(text: &str) -> Result<Digest, String> {
    Digest::parse_oci(text).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_sound() {
        Args::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_in_both_ways_of_counting() {
        for (text, wanted) in [
            ("0", Some(0)),
            ("4096", Some(4096)),
            ("4K", Some(4096)),
            ("4KiB", Some(4096)),
            ("4kB", Some(4000)),
            ("2G", Some(2 << 30)),
            ("18446744073709551615", Some(u64::MAX)),
            ("16777216T", None),
            ("", None),
            ("K", None),
            ("-1", None),
            ("1.5M", None),
            ("4 M", None),
            ("4µ", None),
        ] {
            assert_eq!(parse_size(text).ok(), wanted, "{text}");
        }
    }
}
