//! A directory of inputs, and the command in it.

use std::{
    fs,
    io::Write,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use dunnage_inputs::tarball::{Entry, Format, tarball};
use serde_json::Value;
use tempfile::TempDir;

/// A working directory with a small tree in `tree`.
pub(crate) struct Here {
    dir: TempDir,
}

/// What a run left.
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) bytes: Vec<u8>,
    pub(crate) err: String,
}

impl Here {
    /// `tree` holds: `etc/motd`, `etc/motd.link` (symlink), `etc/hard` (hard link), `bin/tool` (0755), `big` (300 000
    /// bytes), `empty/`, `out` (a symlink that leads out).
    pub(crate) fn new() -> Self {
        let here = Self { dir: tempfile::tempdir().unwrap() };
        let tree = here.path("tree");
        for dir in ["etc", "bin", "empty"] {
            fs::create_dir_all(tree.join(dir)).unwrap();
        }
        fs::write(tree.join("etc/motd"), "hello\n").unwrap();
        symlink("motd", tree.join("etc/motd.link")).unwrap();
        fs::hard_link(tree.join("etc/motd"), tree.join("etc/hard")).unwrap();
        fs::write(tree.join("bin/tool"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(tree.join("bin/tool"), fs::Permissions::from_mode(0o755)).unwrap();
        let big: Vec<u8> = (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(tree.join("big"), big).unwrap();
        symlink("../../../../etc/passwd", tree.join("out")).unwrap();
        here
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap()
    }

    pub(crate) fn write(&self, name: &str, bytes: &[u8]) {
        fs::write(self.path(name), bytes).unwrap();
    }

    /// Names in the working directory.
    pub(crate) fn names(&self) -> Vec<String> {
        names(self.dir.path())
    }

    pub(crate) fn command(&self, args: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dunnage"));
        command.args(args.split_whitespace()).current_dir(self.dir.path()).env_remove("RUST_BACKTRACE");
        command
    }

    pub(crate) fn run(&self, args: &str) -> Ran {
        Ran::from(self.command(args).stdin(Stdio::null()).output().unwrap())
    }

    /// Gives a directory the time of `tree`: the tars made of that have no entry for the root, so a directory that is
    /// extracted from them keeps the time at which it was made.
    pub(crate) fn date_root(&self, dir: &str) {
        let time = fs::metadata(self.path("tree")).unwrap().modified().unwrap();
        fs::File::open(self.path(dir)).unwrap().set_modified(time).unwrap();
    }

    /// Runs it, and it has to end well.
    pub(crate) fn ok(&self, args: &str) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, 0, "{args}: {}{}", ran.err, ran.out);
        ran
    }

    /// Runs it with `--json`, and it has to end well; the one object that it printed.
    pub(crate) fn json(&self, args: &str) -> Value {
        let ran = self.ok(&format!("{args} --json"));
        assert_eq!(ran.out.lines().count(), 1, "{}", ran.out);
        serde_json::from_str(&ran.out).unwrap()
    }

    /// Runs it with `input` coming out of a pipe.
    pub(crate) fn piped(&self, args: &str, input: &[u8]) -> Ran {
        let mut command = self.command(args);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // The command may have seen enough.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        feeder.join().unwrap();
        Ran::from(output)
    }

    /// Makes `layer.esgz`, `tree.tar`, `tree.tar.gz` and `tree.tar.zst` of `tree`.
    pub(crate) fn with_all_forms() -> Self {
        let here = Self::new();
        here.ok("convert tree tree.tar --to tar -q");
        here.ok("convert tree.tar layer.esgz --to estargz -q --chunk-size 64K");
        let tar = here.read("tree.tar");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&tar).unwrap();
        here.write("tree.tar.gz", &gzip.finish().unwrap());
        let mut zstd = zstd::Encoder::new(Vec::new(), 1).unwrap();
        zstd.include_checksum(true).unwrap();
        zstd.write_all(&tar).unwrap();
        here.write("tree.tar.zst", &zstd.finish().unwrap());
        here
    }

    /// Makes the tar `name` of files with these names and contents.
    pub(crate) fn tar(&self, name: &str, files: &[(&[u8], &str)]) {
        let entry = |(name, content): &(&[u8], &str)| Entry { name: name.to_vec(), ..Entry::file("", *content) };
        let entries: Vec<Entry> = files.iter().map(entry).collect();
        self.write(name, &tarball(Format::Gnu, &entries));
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().expect("ended by a signal"),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            bytes: output.stdout,
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Ran {
    /// It failed with this code, and said these things in one line.
    #[track_caller]
    pub(crate) fn failed(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        for part in says {
            assert!(self.err.contains(part), "expected `{part}` in: {}", self.err);
        }
    }
}

pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = entries.collect();
    names.sort();
    names
}
