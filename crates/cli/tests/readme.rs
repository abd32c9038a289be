//! README's commands, run as they stand there.
//!
//! All blocks marked `sh` are one script, run by one shell. A line that needs what a machine may not have is left out by
//! name, with a line that says why.
//!
//! The suite runs them over a small directory: a `rustc` in front of the real one says that its sysroot is there.
//! `DUNNAGE_README=real` (`cargo xtask deep`) installs the command and takes the half gigabyte that README speaks of.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::print_stdout,
    reason = "tests, and their helpers"
)]

use std::{
    env,
    fs::{self, OpenOptions},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

/// The text of README: in the repository, or beside the crate's own files once it is packed.
fn readme() -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = [here.join("../../README.md"), here.join("README.md")].into_iter().find(|path| path.is_file());
    fs::read_to_string(path.expect("a README")).unwrap()
}

/// The lines of all blocks marked `sh`.
fn commands(readme: &str) -> Vec<&str> {
    let blocks = readme.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.flat_map(str::lines).filter(|line| !line.trim().is_empty()).collect()
}

/// Why a line is left out, if it is.
fn left_out(line: &str, is_real: bool) -> Option<&'static str> {
    let has = |program: &str| {
        env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|dir| dir.join(program).is_file()))
    };
    let has_fuse = cfg!(feature = "fuse")
        && OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok()
        && (has("fusermount3") || rustix::process::geteuid().is_root());
    match line {
        line if line.starts_with("git clone") => Some("the test is in the clone"),
        line if line.starts_with("cargo install") && !is_real => Some("the test has built the command"),
        line if line.contains("mount ") || line.contains("mnt") => (!has_fuse).then_some("no FUSE on this machine"),
        line if line.contains("images") => (!has("umoci")).then_some("no umoci on this machine"),
        _ => None,
    }
}

/// A directory with the programs that the lines find first: the command, and a `rustc` whose sysroot is small.
fn programs(dir: &Path) -> PathBuf {
    let (bin, sysroot) = (dir.join("bin"), dir.join("sysroot"));
    let rustlib = sysroot.join("lib/rustlib");
    fs::create_dir_all(&bin).unwrap();
    fs::create_dir_all(rustlib.join("etc")).unwrap();
    fs::write(rustlib.join("components"), "rustc\ncargo\n").unwrap();
    fs::write(rustlib.join("etc/empty"), "").unwrap();
    let library: Vec<u8> = (0..5_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(sysroot.join("lib/librustc_driver.so"), library).unwrap();
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_dunnage"), bin.join("dunnage")).unwrap();
    fs::write(
        bin.join("rustc"),
        format!("#!/bin/sh\n[ \"$*\" = '--print sysroot' ] && echo '{}'\n", sysroot.display()),
    )
    .unwrap();
    fs::set_permissions(bin.join("rustc"), fs::Permissions::from_mode(0o755)).unwrap();
    bin
}

#[test]
fn the_commands_of_readme_work_as_they_stand() {
    let is_real = env::var_os("DUNNAGE_README").is_some_and(|value| value == "real");
    let dir = tempfile::tempdir().unwrap();
    let readme = readme();
    let mut script = String::from("set -eEuo pipefail\ntrap 'echo \"failed: $BASH_COMMAND\" >&2' ERR\n");
    for line in commands(&readme) {
        match left_out(line, is_real) {
            Some(reason) => println!("SKIPPED `{line}`: {reason}"),
            None => script.extend([line, "\n"]),
        }
    }
    let first = if is_real { dir.path().join("installed/bin") } else { programs(dir.path()) };
    let path = env::join_paths([first].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap()))).unwrap();
    let mut shell = Command::new("bash");
    // `mktemp -d` makes its directory below TMPDIR, so all that the lines make goes with the test's directory.
    shell.args(["-c", &script]).env("PATH", path).env("TMPDIR", dir.path()).env_remove("RUST_BACKTRACE");
    shell.env("CARGO_INSTALL_ROOT", dir.path().join("installed"));
    shell.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
    let ran = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{}\n{out}\n{err}", ran.status);
    // The lines found what they speak of.
    for part in [
        "rust.esgz: eStargz layer with ",
        "rust.esgz: eStargz layer, sound",
        "checkpoint.img: gVisor state file, sound",
    ] {
        assert!(out.contains(part), "`{part}` is not in {out}");
    }
}

#[test]
fn lines_of_other_blocks_are_no_commands() {
    let readme = "a\n```sh\none\n\ntwo  # why\n```\n```text\nthree\n```\n```sh\nfour\n```\n";
    assert_eq!(commands(readme), ["one", "two  # why", "four"]);
}
