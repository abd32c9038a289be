//! The public items of each published library, one file a crate under docs/api, so that a change to them shows in review.
//!
//! The list comes from rustdoc's JSON. Stable toolchains write it only when `RUSTC_BOOTSTRAP` is set, and its format has a
//! version that each release of Rust may raise; [`FORMAT`] is the one that we read.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use crate::workspace::{Metadata, capture, cargo, cargo_program, root};

/// The version of rustdoc's JSON that Rust 1.95 writes and the crate `public-api` of our Cargo.lock reads.
const FORMAT: u32 = 57;

/// What `api` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail, and show the difference, if a listing is not as the sources are.
    #[arg(long)]
    check: bool,
    /// Where the listings go, instead of docs/api.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// `cargo xtask api`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let metadata = Metadata::load()?;
    let dir = options.out.clone().unwrap_or_else(|| root().join("docs/api"));
    let (mut expected, mut differences) = (BTreeSet::new(), 0_usize);
    for library in metadata.libraries() {
        let listing = listing(&document(&metadata, &library.name)?, &library.name)?;
        let path = dir.join(format!("{}.txt", library.name));
        expected.insert(path.clone());
        if options.check {
            let committed = if path.is_file() { read(&path)? } else { String::new() };
            differences += show(&library.name, &difference(&committed, &listing));
        } else {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
            fs::write(&path, listing).with_context(|| format!("cannot write `{}`", path.display()))?;
        }
    }
    for path in strangers(&dir, &expected)? {
        if options.check {
            eprintln!("api: `{}` lists no crate of ours", path.display());
            differences += 1;
        } else {
            fs::remove_file(&path).with_context(|| format!("cannot remove `{}`", path.display()))?;
        }
    }
    if differences > 0 {
        bail!(
            "{differences} public items are not as listed; `cargo xtask api` lists them again, in a commit of their own"
        );
    }
    println!("api: {} crates, {}", expected.len(), if options.check { "all as listed" } else { "listed" });
    Ok(())
}

/// Writes rustdoc's JSON of one library with all features; where it is.
///
/// Build scripts of other crates run again when `RUSTC_BOOTSTRAP` changes, and all that depends on them is built again. So
/// cargo does not see the variable: it calls this program as its rustdoc, and [`as_rustdoc`] adds it.
fn document(metadata: &Metadata, name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut rustdoc = cargo();
    rustdoc.env("RUSTDOC", own).env(AS_RUSTDOC, Path::new(&cargo_program()).with_file_name("rustdoc"));
    rustdoc.args(["rustdoc", "--quiet", "--package", name, "--lib", "--all-features"]);
    rustdoc.args(["--", "-Z", "unstable-options", "--output-format", "json", "--cap-lints", "allow"]);
    capture(&mut rustdoc).with_context(|| format!("cannot document `{name}` as JSON"))?;
    Ok(metadata.target_directory.join("doc").join(format!("{}.json", name.replace('-', "_"))))
}

/// The variable that makes this program a rustdoc: the path of the real one.
const AS_RUSTDOC: &str = "DUNNAGE_XTASK_RUSTDOC";

/// Becomes rustdoc with its unstable options, if cargo called this program in place of it.
pub(crate) fn as_rustdoc() -> Option<std::io::Error> {
    let rustdoc = std::env::var_os(AS_RUSTDOC)?;
    Some(Command::new(rustdoc).args(std::env::args_os().skip(1)).env("RUSTC_BOOTSTRAP", "1").exec())
}

/// The listing of a crate: a public item a line, sorted, without the methods that derived traits bring.
fn listing(json: &Path, name: &str) -> Result<String> {
    check_format(&read(json)?).with_context(|| format!("cannot list `{name}`"))?;
    let items = |with_derived: bool| -> Result<Vec<String>> {
        let api = public_api::Builder::from_rustdoc_json(json)
            .omit_blanket_impls(true)
            .omit_auto_trait_impls(true)
            .omit_auto_derived_impls(!with_derived)
            .build()
            .with_context(|| format!("cannot read `{}`", json.display()))?;
        Ok(api.items().map(ToString::to_string).collect())
    };
    let written: BTreeSet<String> = items(false)?.into_iter().collect();
    let mut text = format!("# Public items of {name} with all features. Written by `cargo xtask api`.\n");
    for item in items(true)?.iter().filter(|item| written.contains(*item) || item.starts_with("impl")) {
        text.push_str(item);
        text.push('\n');
    }
    Ok(text)
}

fn check_format(json: &str) -> Result<()> {
    #[derive(Deserialize)]
    struct Head {
        format_version: u32,
    }
    let Head { format_version } = serde_json::from_str(json).context("rustdoc wrote JSON without a format version")?;
    if format_version != FORMAT {
        bail!("this toolchain writes version {format_version} of rustdoc's JSON, expected {FORMAT} (Rust 1.95)");
    }
    Ok(())
}

/// Lines of one listing that are not in the other: `-` for those that went, `+` for those that came.
fn difference(committed: &str, made: &str) -> Vec<String> {
    let lines = |text: &str| -> BTreeSet<String> { text.lines().map(str::to_owned).collect() };
    let (before, after) = (lines(committed), lines(made));
    let gone = committed.lines().filter(|line| !after.contains(*line)).map(|line| format!("-{line}"));
    let new = made.lines().filter(|line| !before.contains(*line)).map(|line| format!("+{line}"));
    let mut changed: Vec<String> = gone.chain(new).collect();
    if changed.is_empty() && committed != made {
        changed.push(" the same lines in another order".to_owned());
    }
    changed
}

fn show(name: &str, changed: &[String]) -> usize {
    if !changed.is_empty() {
        eprintln!("--- docs/api/{name}.txt\n+++ the sources\n{}", changed.join("\n"));
    }
    changed.len()
}

/// Files of the directory that no crate belongs to.
fn strangers(dir: &Path, expected: &BTreeSet<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut strangers = Vec::new();
    if dir.is_dir() {
        for entry in fs::read_dir(dir).with_context(|| format!("cannot list `{}`", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "txt") && !expected.contains(&path) {
                strangers.push(path);
            }
        }
    }
    strangers.sort();
    Ok(strangers)
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_lines_that_went_and_lines_that_came() {
        let difference = difference("pub fn a()\npub fn b(u8)\n", "pub fn a()\npub fn b(u16)\npub fn c()\n");
        assert_eq!(difference, ["-pub fn b(u8)", "+pub fn b(u16)", "+pub fn c()"]);
    }

    #[test]
    fn another_order_is_a_difference() {
        assert!(difference("a\nb\n", "a\nb\n").is_empty());
        assert_eq!(difference("a\nb\n", "b\na\n"), [" the same lines in another order"]);
    }

    #[test]
    fn json_of_another_toolchain_is_refused_by_its_version() {
        assert!(check_format(r#"{"format_version": 57, "index": {}}"#).is_ok());
        assert_eq!(
            check_format(r#"{"format_version": 58}"#).unwrap_err().to_string(),
            "this toolchain writes version 58 of rustdoc's JSON, expected 57 (Rust 1.95)"
        );
    }

    #[test]
    fn files_of_crates_that_are_gone_are_found() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["dunnage-tree.txt", "dunnage-gone.txt", "README.md"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let expected = BTreeSet::from([dir.path().join("dunnage-tree.txt")]);
        assert_eq!(strangers(dir.path(), &expected).unwrap(), [dir.path().join("dunnage-gone.txt")]);
    }
}
