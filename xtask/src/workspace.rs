//! Where things are in the repository, and running commands in it.

use std::{
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The cargo that called us.
pub(crate) fn cargo_program() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// A command of that cargo, in the root of the repository.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(cargo_program());
    command.current_dir(root());
    command
}

/// Builds the command with the features and the profile of the tests, which so share it; where it is.
pub(crate) fn build_dunnage() -> Result<PathBuf> {
    capture(cargo().args(["build", "--quiet", "--workspace", "--bin", "dunnage"]))
        .context("cannot build the command")?;
    Ok(Metadata::load()?.target_directory.join("debug/dunnage"))
}

/// Where generated inputs are kept: inside the repository, whatever the target directory, so they are made once.
pub(crate) fn inputs_dir() -> Result<PathBuf> {
    make_dir(root().join("target/inputs"))
}

/// Where blobs made on the way are kept.
pub(crate) fn scratch_dir(name: &str) -> Result<PathBuf> {
    make_dir(root().join("target/scratch").join(name))
}

fn make_dir(dir: PathBuf) -> Result<PathBuf> {
    std::fs::create_dir_all(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    Ok(dir)
}

/// Whether a program can be found.
pub(crate) fn has_program(name: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|dir| dir.join(name).is_file()))
}

/// Whether the process may do what only root may.
pub(crate) fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Runs a command to its end; its output is an error's text if it fails.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let what = format!("{} {:?}", command.get_program().display(), command.get_args().collect::<Vec<_>>());
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("cannot run {what}"))?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("{what} ended with {}: {}", output.status, stderr.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What `cargo metadata` says, as far as we read it.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) packages: Vec<Package>,
    pub(crate) workspace_members: Vec<String>,
    pub(crate) target_directory: PathBuf,
    #[serde(default)]
    pub(crate) resolve: Option<Resolve>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) id: String,
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) license: Option<String>,
    /// The registry or repository it is from; `None` for members of the workspace.
    #[serde(default)]
    pub(crate) source: Option<String>,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
    #[serde(default)]
    pub(crate) features: std::collections::BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) publish: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) manifest_path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    pub(crate) kind: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Target {
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Resolve {
    pub(crate) nodes: Vec<Node>,
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Node {
    pub(crate) id: String,
    pub(crate) features: Vec<String>,
}

impl Metadata {
    /// Asks cargo, with every feature of the workspace on.
    pub(crate) fn load() -> Result<Self> {
        Self::load_for(&[])
    }

    /// The same for these targets alone; for all if there are none.
    pub(crate) fn load_for(targets: &[String]) -> Result<Self> {
        let mut command = cargo();
        command.args(["metadata", "--format-version", "1", "--all-features"]);
        for target in targets {
            command.args(["--filter-platform", target]);
        }
        let text = capture(&mut command)?;
        serde_json::from_str(&text).context("cannot read the output of cargo metadata")
    }

    /// The packages of the workspace.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// The library crates that we publish.
    pub(crate) fn libraries(&self) -> impl Iterator<Item = &Package> {
        self.members().filter(|package| {
            package.publish.is_none()
                && package.targets.iter().any(|target| target.kind.iter().any(|kind| kind == "lib"))
        })
    }
}
