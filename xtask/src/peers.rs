//! Our Go programs under tests/peers, which call the reference implementations.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;

use crate::workspace::{capture, has_program, root};

/// Leaves out the storage drivers that need libraries in C; nothing here uses them.
const TAGS: &str = "exclude_graphdriver_btrfs,exclude_graphdriver_devicemapper,exclude_graphdriver_zfs";

/// One built peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    program: PathBuf,
}

impl Peer {
    /// Builds the peer `name`; `None`, and a line that says so, where there is no Go.
    ///
    /// With `must`, a missing Go is an error.
    pub(crate) fn build(name: &str, must: bool) -> Result<Option<Self>> {
        Self::build_with(name, None, must)
    }

    /// The same against the libraries that the file `MODULES.mod` in the peer's directory names, as `NAME-MODULES`.
    pub(crate) fn build_with(name: &str, modules: Option<&str>, must: bool) -> Result<Option<Self>> {
        if !has_program("go") {
            println!("SKIPPED peer {name}: no go on this machine");
            return if must { Err(anyhow!("peer {name} was skipped, and no skips are allowed")) } else { Ok(None) };
        }
        let out = root().join("target/peers");
        std::fs::create_dir_all(&out).with_context(|| format!("cannot create `{}`", out.display()))?;
        let program = out.join(modules.map_or_else(|| name.to_owned(), |modules| format!("{name}-{modules}")));
        let peers = root().join("tests/peers");
        // A peer with many dependencies is a module of its own, below the others.
        let own = peers.join(name);
        let (dir, package) =
            if own.join("go.mod").is_file() { (own, ".".to_owned()) } else { (peers, format!("./{name}")) };
        let mut go = Command::new("go");
        go.current_dir(dir).env("CGO_ENABLED", "0").args(["build", "-trimpath", "-tags", TAGS, "-o"]).arg(&program);
        if let Some(modules) = modules {
            go.arg(format!("-modfile={modules}.mod"));
        }
        go.arg(package);
        capture(&mut go).with_context(|| format!("cannot build the peer {name}"))?;
        Ok(Some(Self { program }))
    }

    /// Where the program is.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// Runs a subcommand; what it printed.
    pub(crate) fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Result<Report> {
        self.run_on(None, args)
    }

    /// The same with so many processors for Go, and less of their time spent on its memory: several combinations at once
    /// share the machine, and the reference makes a new decompressor for every chunk. Not for benches.
    pub(crate) fn run_on<S: AsRef<OsStr>>(
        &self,
        processors: Option<usize>,
        args: impl IntoIterator<Item = S>,
    ) -> Result<Report> {
        let mut command = Command::new(&self.program);
        command.args(args);
        if let Some(processors) = processors {
            command.env("GOMAXPROCS", processors.to_string()).env("GOGC", "400");
        }
        Report::parse(&capture(&mut command)?)
    }
}

/// The JSON object a peer printed.
#[derive(Clone, Debug)]
pub(crate) struct Report(Value);

impl Report {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map(Self).with_context(|| format!("the peer did not print JSON but `{text}`"))
    }

    /// A text field.
    pub(crate) fn text(&self, key: &str) -> Result<&str> {
        self.0.get(key).and_then(Value::as_str).with_context(|| format!("the peer printed no text `{key}`: {}", self.0))
    }

    /// A field of texts by name.
    pub(crate) fn texts(&self, key: &str) -> Result<BTreeMap<String, String>> {
        let texts = self.0.get(key).cloned().with_context(|| format!("the peer printed no `{key}`: {}", self.0))?;
        serde_json::from_value(texts).with_context(|| format!("the peer printed other things than texts in `{key}`"))
    }

    /// A number field.
    pub(crate) fn number(&self, key: &str) -> Result<u64> {
        self.0
            .get(key)
            .and_then(Value::as_u64)
            .with_context(|| format!("the peer printed no number `{key}`: {}", self.0))
    }

    /// Wall time of the operation proper.
    pub(crate) fn seconds(&self) -> Result<f64> {
        self.0
            .get("seconds")
            .and_then(Value::as_f64)
            .with_context(|| format!("the peer printed no seconds: {}", self.0))
    }
}
