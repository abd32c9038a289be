//! `dunnage state`: the grammar of all that is done with gVisor's state files.

use std::path::PathBuf;

use clap::{ArgGroup, Args as ClapArgs, Subcommand, ValueEnum, ValueHint};

use super::parse_size;

/// What to do with a state file.
#[derive(Debug, Subcommand)]
pub(crate) enum State {
    /// Show what a state file is: dialect, compression, key, metadata, chunks
    ///
    /// Without the key of a keyed file, nothing that is said has been checked.
    Show(StateShow),
    /// Check every MAC and every chunk, on all cores, in memory that does not grow
    ///
    /// The format has no end mark: a file that was cut between two chunks looks whole. The hints of the last chunk are
    /// reported, and --expect-bytes makes sure.
    Verify(StateVerify),
    /// Write the payload to standard output
    Cat(StateCat),
    /// Make a state file of a payload
    Pack(StatePack),
    /// Write a state file again, in another dialect or with another compression
    ///
    /// The metadata and the key stay as they are.
    Convert(StateConvert),
    /// Write a state file again, with another key, with one, or without one
    ///
    /// Nothing is decompressed, but every MAC is checked on the way.
    Rekey(StateRekey),
}

/// Where a key comes from. Never from an argument, which everybody on the machine can read.
#[derive(Clone, Debug, Default, ClapArgs)]
pub(crate) struct KeyFrom {
    /// The file that holds the key: all of its bytes, a line break at the end too
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) key_file: Option<PathBuf>,
    /// The number of the open descriptor that the key is read from, to its end
    #[arg(long, value_name = "N", conflicts_with = "key_file")]
    pub(crate) key_fd: Option<u32>,
}

/// How a state file is read.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct StateIn {
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// What the file is written in, instead of finding out
    #[arg(long, value_enum, value_name = "DIALECT")]
    pub(crate) from: Option<Dialect>,
}

/// `dunnage state show`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StateShow {
    /// The state file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) how: StateIn,
}

/// `dunnage state verify`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StateVerify {
    /// The state file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) how: StateIn,
    /// How long the payload is; any other length is an error
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) expect_bytes: Option<u64>,
}

/// `dunnage state cat`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StateCat {
    /// The state file
    #[arg(value_hint = ValueHint::FilePath)]
    pub(crate) file: PathBuf,
    #[command(flatten)]
    pub(crate) how: StateIn,
    /// How long the payload is; any other length is an error
    #[arg(long, value_name = "BYTES", value_parser = parse_size)]
    pub(crate) expect_bytes: Option<u64>,
}

/// `dunnage state pack`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StatePack {
    /// The payload; `-` for standard input
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// The state file; `-` for standard output
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) key: KeyFrom,
    /// How to compress [default: as the runtime of that dialect does: flate-best-speed, with d none]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) compression: Option<StateCompression>,
    /// What to write
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t = Dialect::D)]
    pub(crate) dialect: Dialect,
    /// A key and a value for the metadata; can be given many times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_pair)]
    pub(crate) metadata: Vec<(String, String)>,
    /// The time that is written into the metadata, in seconds since 1970 [default: now]
    #[arg(long, value_name = "SECONDS")]
    pub(crate) timestamp: Option<u64>,
    /// Also write the length of the payload into the metadata: then our readers notice if something is cut off
    #[arg(long)]
    pub(crate) with_length: bool,
    /// Fail if OUT exists
    #[arg(long)]
    pub(crate) no_clobber: bool,
}

/// `dunnage state convert`.
#[derive(Debug, ClapArgs)]
pub(crate) struct StateConvert {
    /// The state file
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// The new one; `-` for standard output
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) how: StateIn,
    /// How to compress [default: as IN is]
    #[arg(long, value_enum, value_name = "HOW")]
    pub(crate) compression: Option<StateCompression>,
    /// What to write
    #[arg(long, value_enum, value_name = "DIALECT", default_value_t = Dialect::D)]
    pub(crate) dialect: Dialect,
    /// Fail if OUT exists
    #[arg(long)]
    pub(crate) no_clobber: bool,
}

/// `dunnage state rekey`.
#[derive(Debug, ClapArgs)]
#[command(group = ArgGroup::new("new_key").args(["new_key_file", "new_key_fd", "no_key"]).required(true))]
pub(crate) struct StateRekey {
    /// The state file
    #[arg(value_name = "IN", value_hint = ValueHint::FilePath)]
    pub(crate) input: PathBuf,
    /// The new one; `-` for standard output
    #[arg(value_name = "OUT", value_hint = ValueHint::FilePath)]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) how: StateIn,
    /// The file that holds the new key
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub(crate) new_key_file: Option<PathBuf>,
    /// The number of the open descriptor that the new key is read from, to its end
    #[arg(long, value_name = "N")]
    pub(crate) new_key_fd: Option<u32>,
    /// Take the key away: then changes of the file cannot be found
    #[arg(long)]
    pub(crate) no_key: bool,
    /// Fail if OUT exists
    #[arg(long)]
    pub(crate) no_clobber: bool,
}

/// What gVisor wrote, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Dialect {
    /// From August 2018 to August 2023: deflate only. Can be read
    L,
    /// Until August 2024
    A,
    /// September 2024
    B,
    /// Until March 2026
    C,
    /// Since March 2026
    D,
}

/// How a payload is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateCompression {
    /// Chunks of 1 MiB, deflated
    FlateBestSpeed,
    /// As it is
    None,
}

impl Dialect {
    /// The dialect as the library calls it.
    pub(crate) const fn known(self) -> dunnage_statefile::Dialect {
        use dunnage_statefile::Dialect as Known;
        match self {
            Self::L => Known::L,
            Self::A => Known::A,
            Self::B => Known::B,
            Self::C => Known::C,
            Self::D => Known::D,
        }
    }
}

impl StateCompression {
    /// The compression as the library calls it.
    pub(crate) const fn known(self) -> dunnage_statefile::Compression {
        use dunnage_statefile::Compression as Known;
        match self {
            Self::FlateBestSpeed => Known::FlateBestSpeed,
            Self::None => Known::None,
        }
    }
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("expected KEY=VALUE, got `{text}`"))?;
    Ok((key.to_owned(), value.to_owned()))
}
