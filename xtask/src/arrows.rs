//! Rules of the house that a machine can check: arrows between crates, the top level, how sources open, what prose cites.

mod absent;
mod prose;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::workspace::{Metadata, root};

/// Which crate may use which of ours. A crate that is not listed is an error, so a new one is a decision.
const ARROWS: &[(&str, &[&str])] = &[
    ("dunnage-digest", &[]),
    ("dunnage-tree", &["dunnage-digest"]),
    ("dunnage-statefile", &["dunnage-digest"]),
    ("dunnage-objstore", &["dunnage-digest", "dunnage-tree"]),
    ("dunnage-estargz", &["dunnage-digest", "dunnage-tree"]),
    ("dunnage-oci", &["dunnage-digest", "dunnage-tree", "dunnage-estargz"]),
    ("dunnage-imagefmt", &["dunnage-digest", "dunnage-tree", "dunnage-oci"]),
    ("dunnage-layer", &["dunnage-digest", "dunnage-tree", "dunnage-estargz", "dunnage-oci"]),
    ("dunnage", LIBRARIES),
    ("dunnage-inputs", &[]),
    ("dunnage-estargz-testsuite", &["dunnage-inputs", "dunnage-digest", "dunnage-tree", "dunnage-estargz"]),
    ("dunnage-conformance", TOOLS),
    ("xtask", TOOLS),
];

const LIBRARIES: &[&str] = &[
    "dunnage-digest",
    "dunnage-tree",
    "dunnage-statefile",
    "dunnage-objstore",
    "dunnage-estargz",
    "dunnage-oci",
    "dunnage-imagefmt",
    "dunnage-layer",
];

/// All libraries, and the crates of the tests.
const TOOLS: &[&str] = &[
    "dunnage-inputs",
    "dunnage-estargz-testsuite",
    "dunnage-conformance",
    "dunnage-digest",
    "dunnage-tree",
    "dunnage-statefile",
    "dunnage-objstore",
    "dunnage-estargz",
    "dunnage-oci",
    "dunnage-imagefmt",
    "dunnage-layer",
];

/// What may stand at the top of the repository, besides dotfiles.
const TOP: &[&str] = &[
    "Cargo.toml",
    "Cargo.lock",
    "crates",
    "xtask",
    "tests",
    "fixtures",
    "docs",
    "README.md",
    "LICENSE-MIT",
    "LICENSE-APACHE",
];

/// `cargo xtask arrows`.
pub(crate) fn run() -> Result<()> {
    let metadata = Metadata::load()?;
    let mut wrong = check_arrows(&metadata);
    wrong.extend(check_top(&top_level()?));
    wrong.extend(absent::check()?);
    wrong.extend(prose::check()?);
    let mut sources = 0_usize;
    for package in metadata.members() {
        for target in &package.targets {
            if target.kind.iter().any(|kind| kind == "lib") {
                wrong.extend(check_library(&target.src_path, &read(&target.src_path)?));
            }
        }
        let mut files = Vec::new();
        let dir = package.manifest_path.parent().unwrap_or(Path::new("."));
        rust_files(&dir.join("src"), &mut files)?;
        sources += files.len();
        for file in files {
            wrong.extend(check_opening(&file, &read(&file)?));
        }
    }
    if wrong.is_empty() {
        println!("arrows: {} crates, {sources} source files, all as they should be", metadata.members().count());
        return Ok(());
    }
    for line in &wrong {
        eprintln!("arrows: {line}");
    }
    bail!("{} rules broken", wrong.len())
}

/// Dependencies between crates of ours that are not in [`ARROWS`]; those for tests alone may point anywhere.
fn check_arrows(metadata: &Metadata) -> Vec<String> {
    let ours: BTreeSet<&str> = metadata.members().map(|package| package.name.as_str()).collect();
    let mut wrong = Vec::new();
    for package in metadata.members() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            wrong.push(format!("`{}` is not a crate that docs/ARCHITECTURE.md knows", package.name));
            continue;
        };
        for dependency in &package.dependencies {
            let name = dependency.name.as_str();
            let counts = dependency.kind.as_deref() != Some("dev");
            if counts && ours.contains(name) && !allowed.contains(&name) {
                wrong.push(format!("`{}` must not depend on `{name}`", package.name));
            }
        }
    }
    wrong
}

fn check_top(names: &BTreeSet<String>) -> Vec<String> {
    let unknown = names.iter().filter(|name| !name.starts_with('.') && !TOP.contains(&name.as_str()));
    let mut wrong: Vec<String> = unknown.map(|name| format!("`{name}` does not belong at the top level")).collect();
    wrong.extend(TOP.iter().filter(|name| !names.contains(**name)).map(|name| format!("`{name}` is missing")));
    wrong
}

fn check_library(path: &Path, text: &str) -> Option<String> {
    let forbids = text.lines().any(|line| line.trim() == "#![forbid(unsafe_code)]");
    (!forbids).then(|| format!("`{}` does not say #![forbid(unsafe_code)]", path.display()))
}

fn check_opening(path: &Path, text: &str) -> Option<String> {
    let opens = text.starts_with("//!") || text.starts_with("#![doc");
    (!opens).then(|| format!("`{}` does not open with `//!`", path.display()))
}

/// Names at the top of the repository, without what git ignores.
fn top_level() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(root()).context("cannot list the repository")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "target" {
            names.insert(name);
        }
    }
    Ok(names)
}

fn rust_files(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list `{}`", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            rust_files(&path, into)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::{Dependency, Package};

    fn package(name: &str, dependencies: &[(&str, Option<&str>)]) -> Package {
        let dependency =
            |&(name, kind): &(&str, Option<&str>)| Dependency { name: name.to_owned(), kind: kind.map(str::to_owned) };
        let dependencies = dependencies.iter().map(dependency).collect();
        Package { id: name.to_owned(), name: name.to_owned(), dependencies, ..Package::default() }
    }

    fn metadata(packages: Vec<Package>) -> Metadata {
        let workspace_members = packages.iter().map(|package| package.id.clone()).collect();
        Metadata { packages, workspace_members, ..Metadata::default() }
    }

    #[test]
    fn arrows_that_point_down_pass() {
        let metadata = metadata(vec![
            package("dunnage-digest", &[("sha2", None)]),
            package("dunnage-tree", &[("dunnage-digest", None)]),
            package("dunnage-oci", &[("dunnage-estargz", None)]),
            package("dunnage-estargz", &[("dunnage-tree", None), ("dunnage-oci", Some("dev"))]),
        ]);
        assert!(check_arrows(&metadata).is_empty());
    }

    #[test]
    fn arrows_that_point_up_or_sideways_are_named() {
        let metadata = metadata(vec![
            package("dunnage-digest", &[("dunnage-tree", Some("build"))]),
            package("dunnage-tree", &[]),
            package("dunnage-objstore", &[("dunnage-estargz", None)]),
            package("dunnage-estargz", &[]),
            package("dunnage-utils", &[]),
        ]);
        assert_eq!(
            check_arrows(&metadata),
            [
                "`dunnage-digest` must not depend on `dunnage-tree`",
                "`dunnage-objstore` must not depend on `dunnage-estargz`",
                "`dunnage-utils` is not a crate that docs/ARCHITECTURE.md knows",
            ]
        );
    }

    #[test]
    fn the_top_level_is_closed() {
        let mut names: BTreeSet<String> = TOP.iter().map(|name| (*name).to_owned()).collect();
        names.insert(".ci".to_owned());
        assert!(check_top(&names).is_empty());
        names.insert("scripts".to_owned());
        names.remove("docs");
        assert_eq!(check_top(&names), ["`scripts` does not belong at the top level", "`docs` is missing"]);
    }

    #[test]
    fn sources_open_with_what_they_are() {
        let path = Path::new("a.rs");
        assert!(check_opening(path, "//! The footer.\n").is_none());
        assert!(check_opening(path, "#![doc = include_str!(\"../README.md\")]\n").is_none());
        assert_eq!(check_opening(path, "use std::io;\n").as_deref(), Some("`a.rs` does not open with `//!`"));
        assert!(check_library(path, "#![forbid(unsafe_code)]\n").is_none());
        assert!(check_library(path, "// #![forbid(unsafe_code)]\n").is_some());
    }
}
