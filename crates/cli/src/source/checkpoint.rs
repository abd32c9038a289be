//! A directory that `runsc checkpoint` or `runsc fscheckpoint` wrote: each file by its name, and all of them as files.
//!
//! | file               | holds                                                                            |
//! |--------------------|----------------------------------------------------------------------------------|
//! | `checkpoint.img`   | a state file: the kernel's objects, and with deflate also all memory             |
//! | `pages_meta.img`   | the parts of the memory: a length and a protobuf, or before 2026-08 a stream of objects |
//! | `pages.img`        | memory: pages of 4 KiB, one after the other                                     |
//! | `multitar.img`     | file systems of a snapshot, as tars                                              |
//! | `fscheckpoint.pb`  | the parts of such a snapshot: a protobuf, or before 2026-08 JSON             |
//! | `gcs_opts.json`    | that the files are kept in cloud storage under these names                       |

use std::{
    fmt,
    fs::{self, File},
    os::unix::{ffi::OsStrExt as _, fs::OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Offset, ReadAt};
use dunnage_statefile::ReadOptions;
use dunnage_tree::Tree;
use serde::Serialize;

use super::{
    About, Candidate, Input, Kind, Source,
    directory::Directory,
    name_of,
    state::{Facts, StateHow, StateReport, begins_like_one, check_state},
    title,
};
use crate::{
    args,
    context::Context,
    options::Uses,
    page,
    print::{JsonName, bytes, count, counted, printable, row, schema},
    report::Document,
};

/// Checkpoint directories.
pub(super) static KIND: Kind = Kind {
    name: "checkpoint",
    prefixes: &[],
    uses: Uses {
        name: "checkpoints",
        options: &["max-entries", "max-unpacked", "no-passthrough", "key-file", "key-fd"],
    },
    open: |_, candidate| match candidate {
        Candidate::Directory(path) if is_one(path) => {
            Ok(Some(Box::new(Checkpoint { path: (*path).to_owned(), files: Directory::open(path)? })))
        }
        _ => Ok(None),
    },
};

const FORMAT: &str = "gVisor checkpoint";
const PAGE: u64 = 4096;
const STATE: &str = "checkpoint.img";
const PAGES_META: &str = "pages_meta.img";
const PAGES: &str = "pages.img";
const SNAPSHOT: &str = "fscheckpoint.pb";
const TARS: &str = "multitar.img";
const CLOUD: &str = "gcs_opts.json";

/// Whether the directory is one: by its state file, or by two files that always come together.
fn is_one(dir: &Path) -> bool {
    let is_file = |name: &str| fs::symlink_metadata(dir.join(name)).is_ok_and(|found| found.is_file());
    state_file(dir).is_some() || (is_file(PAGES) && (is_file(PAGES_META) || is_file(SNAPSHOT)))
}

/// The state file of a checkpoint; `None` for other directories, and for a checkpoint without one.
pub(crate) fn state_file(dir: &Path) -> Option<PathBuf> {
    let path = dir.join(STATE);
    let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
    (is_file && open(&path).is_ok_and(|file| begins_like_one(&file).unwrap_or(false))).then_some(path)
}

/// A checkpoint directory. For verbs about files it is a directory.
#[derive(Debug)]
struct Checkpoint {
    path: PathBuf,
    files: Directory,
}

impl Checkpoint {
    fn entries(&self) -> Result<Vec<Entry>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let failed = || format!("cannot read `{}`", entry.path().display());
            files.push(Entry::of(entry.file_name().as_bytes().to_vec(), &entry.path()).with_context(failed)?);
        }
        files.sort_by(|a, b| a.name.name.cmp(&b.name.name));
        Ok(files)
    }
}

impl Source for Checkpoint {
    fn about(&self) -> About {
        About { kind: &KIND, format: FORMAT, ..self.files.about() }
    }

    fn tree(&self) -> Result<Arc<dyn Tree>> {
        self.files.tree()
    }

    fn inspect(&self, _: &Context, args: &args::Inspect, _: Option<&Document>) -> Result<page::Page> {
        let files = self.entries().with_context(|| format!("cannot read {}", name_of(&args.source)))?;
        let (schema, source) = (schema("inspect-checkpoint"), title(&args.source));
        Ok(page::Page::new(Page { schema, source, format: FORMAT, files, sound: None }))
    }

    fn verify(&self, context: &Context, args: &args::Verify) -> Result<page::Page> {
        let files = self.entries().with_context(|| format!("cannot read {}", name_of(&args.source)))?;
        let mut sound = None;
        if let Some(path) = state_file(&self.path) {
            let failed = || format!("`{}` is not sound", path.display());
            let file = open(&path).with_context(failed)?;
            let how = StateHow::of_key(context, &args.key)?;
            sound = Some(check_state(context, &path, &file, &how).with_context(failed)?);
        }
        let is_wrong = files.iter().any(|file| file.wrong.is_some());
        let (schema, source) = (schema("verify-checkpoint"), title(&args.source));
        Ok(page::Page::new(Page { schema, source, format: FORMAT, files, sound }).found_if(is_wrong))
    }

    fn input(&self, context: &Context) -> Result<Input<'_>> {
        self.files.input(context)
    }
}

#[derive(Serialize)]
struct Page {
    schema: String,
    source: String,
    format: &'static str,
    files: Vec<Entry>,
    /// The state file, once it was checked.
    #[serde(skip_serializing_if = "Option::is_none")]
    sound: Option<StateReport>,
}

#[derive(Serialize)]
struct Entry {
    #[serde(flatten)]
    name: JsonName,
    /// Bytes; `None` unless it is a file.
    size: Option<u64>,
    what: &'static str,
    /// Whole pages of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pages: Option<u64>,
    /// Damage, as far as it shows without the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    wrong: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<Facts>,
}

impl Entry {
    fn of(name: Vec<u8>, path: &Path) -> Result<Self> {
        let mut entry = Self {
            name: JsonName { key: "name", name },
            size: None,
            what: "not part of a checkpoint",
            pages: None,
            wrong: None,
            state: None,
        };
        let found = fs::symlink_metadata(path)?;
        if !found.is_file() {
            entry.what = if found.is_dir() { "a directory, which is not part of a checkpoint" } else { "no file" };
            return Ok(entry);
        }
        entry.size = Some(found.len());
        let name = entry.name.name.clone();
        match std::str::from_utf8(&name) {
            Ok(STATE) => entry.state_file(path)?,
            Ok(PAGES) => entry.memory(found.len()),
            Ok(PAGES_META) => entry.memory_metadata(path)?,
            Ok(SNAPSHOT) => {
                let is_json = first(path)?.first() == Some(&b'{');
                entry.what =
                    if is_json { "the parts of the snapshot (JSON)" } else { "the parts of the snapshot (protobuf)" };
            }
            Ok(TARS) => entry.what = "file systems, as tars",
            Ok(CLOUD) => entry.what = "says that the files are in cloud storage (JSON)",
            _ => {}
        }
        if entry.size == Some(0) && entry.what != "not part of a checkpoint" {
            entry.wrong = Some("it is empty".to_owned());
        }
        Ok(entry)
    }

    fn state_file(&mut self, path: &Path) -> Result<()> {
        let file = open(path)?;
        if !begins_like_one(&file)? {
            self.what = "should be a state file";
            self.wrong = Some("it does not begin like one".to_owned());
            return Ok(());
        }
        let facts = Facts::of(&file, None, &ReadOptions::default());
        self.what = "state file: the kernel's objects";
        match facts {
            Ok(facts) => {
                if facts.is_compressed() {
                    self.what = "state file: the kernel's objects and all memory";
                }
                self.state = Some(facts);
            }
            // Damage to one file does not hide the others.
            Err(error) => self.wrong = Some(format!("{error:#}")),
        }
        Ok(())
    }

    fn memory(&mut self, size: u64) {
        self.what = "memory, in pages of 4 KiB";
        self.pages = Some(size / PAGE);
        let rest = size % PAGE;
        if rest > 0 {
            self.wrong = Some(format!("it ends {rest} bytes into a page: it was cut off"));
        }
    }

    fn memory_metadata(&mut self, path: &Path) -> Result<()> {
        let begin = first(path)?;
        let size = self.size.unwrap_or_default();
        // A stream of objects read as a length would be far longer than the file.
        let len = begin.try_into().map(u64::from_le_bytes).unwrap_or_default();
        self.what = if len > 0 && len <= size.saturating_sub(8) {
            "the parts of the memory (protobuf, since 2026-08)"
        } else {
            "the parts of the memory (objects, before 2026-08)"
        };
        Ok(())
    }
}

/// Opens without waiting, should the file be a FIFO by now.
fn open(path: &Path) -> std::io::Result<File> {
    File::options().read(true).custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed()).open(path)
}

/// Up to eight bytes from the start.
fn first(path: &Path) -> Result<Vec<u8>> {
    let file = open(path)?;
    let mut begin = vec![0; usize::try_from(ReadAt::size(&file)?.min(8))?];
    file.read_exact_at(Offset::new(0), &mut begin)?;
    Ok(begin)
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.source, self.format)?;
        for entry in &self.files {
            writeln!(f, "{}: {}", printable(&entry.name.name), entry.what)?;
            if let Some(size) = entry.size {
                row(f, "size", format_args!("{} ({} bytes)", bytes(size), count(size)))?;
            }
            if let Some(pages) = entry.pages {
                row(f, "pages", counted(pages, "page", "pages"))?;
            }
            if let Some(wrong) = &entry.wrong {
                row(f, "wrong", printable(wrong.as_bytes()))?;
            }
            if let Some(state) = &entry.state {
                write!(f, "{state}")?;
            }
        }
        self.sound.as_ref().map_or(Ok(()), |state| write!(f, "{state}"))
    }
}
