//! Where bytes come from, and what kind of source they are.
//!
//! Each kind is a file here and a row in [`KINDS`], in the order of detection: `oci:` and the like first, then the content
//! of directories and files. A file is a state file if it begins like one, a layer if it ends like one, else a tar.
//! Standard input that is redirected from a file is read by position like any file. A pipe is kept in a temporary file,
//! unless the verb reads from front to back anyway and the pipe does not begin like an archive of images.
//!
//! A [`Source`] answers the questions of verbs; verbs never ask for its kind.

mod archive;
mod checkpoint;
mod contents;
mod directory;
mod image;
mod input;
mod layer;
mod state;

use std::{
    fs::File,
    io::{self, Read, Seek},
    os::{fd::AsFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use dunnage_digest::{ErrorKind, Progress};
use dunnage_estargz::input::Packing;
use dunnage_tree::{Spool, Tree, tar::is_header};

use self::archive::Archive;
pub(crate) use self::{
    checkpoint::state_file as checkpoint_state,
    image::{image_at, named_image, platform_name},
    input::Input,
    state::{StateHow, begins_like_one as begins_like_state, show_state, verify_state},
};
use crate::{
    args,
    context::Context,
    failure::{Failure, usage},
    options::{self, Uses},
    page::Page,
    report::Document,
};

/// A kind of source: how it is recognised, and which options it can use that other kinds cannot.
pub(crate) struct Kind {
    /// Its name for `--as`.
    pub(crate) name: &'static str,
    /// Beginnings of a SOURCE that name this kind: `oci:`. It is then no path.
    pub(crate) prefixes: &'static [&'static str],
    pub(crate) uses: Uses,
    /// Opens a candidate of this kind; `None` if it is of another.
    pub(crate) open: Open,
}

/// Opens a candidate; `None` if it is of another kind.
type Open = fn(&Context, &Candidate<'_>) -> Result<Option<Box<dyn Source>>>;

/// All kinds, in the order of detection.
pub(crate) static KINDS: &[&Kind] =
    &[&image::KIND, &checkpoint::KIND, &directory::KIND, &state::KIND, &layer::KIND, &archive::KIND];

/// Something that may be a source.
pub(crate) enum Candidate<'p> {
    /// A SOURCE that begins with the prefix of a kind.
    Named(&'p Path),
    Directory(&'p Path),
    /// A file that can be read by position, and its path unless it is standard input.
    File(&'p File, Option<&'p Path>),
}

/// The answer to the question for the kind.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) kind: &'static Kind,
    /// Its format in words.
    pub(crate) format: &'static str,
    /// Whether its files can change while they are read.
    pub(crate) is_live: bool,
    /// Whether whiteouts have been applied to its files.
    pub(crate) is_stacked: bool,
    /// Whether it is read best from front to back: unpacking it needs no copy.
    pub(crate) is_sequential: bool,
}

impl About {
    /// A source whose files do not change, and can be read in any order.
    const fn new(kind: &'static Kind, format: &'static str) -> Self {
        Self { kind, format, is_live: false, is_stacked: false, is_sequential: false }
    }
}

/// Something that verbs can work on. It answers for its kind, so that all verbs say the same of it.
pub(crate) trait Source {
    /// What it is.
    fn about(&self) -> About;

    /// The files in it.
    fn tree(&self) -> Result<Arc<dyn Tree>>;

    /// The page of `inspect`. `document` is the layout, if one was asked for as well.
    fn inspect(&self, context: &Context, args: &args::Inspect, document: Option<&Document>) -> Result<Page>;

    /// Which bytes hold what. Only kinds that use `--layout` and `--report` have it.
    fn document(&self, _context: &Context, _args: &args::Inspect) -> Result<Document> {
        let format = self.about().format;
        Err(usage(format!("there is no layout of: {format}"), "leave --layout and --report out"))
    }

    /// Checks all that it carries, and reads what it carries no digests for.
    fn verify(&self, context: &Context, args: &args::Verify) -> Result<Page>;

    /// The bytes that a conversion reads. A source that describes itself twice is checked first.
    fn input(&self, context: &Context) -> Result<Input<'_>>;
}

/// How a verb reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Here and there: a pipe has to be kept.
    Random,
    /// From front to back, once, and a layer is no more than the tar in it.
    Once,
    /// From front to back, once, unless it is a layer.
    OnceUnlessLayer,
}

/// Opens `path`, or standard input for `-`, and refuses options that it cannot use.
pub(crate) fn open(context: &Context, path: &Path, access: Access) -> Result<Box<dyn Source>> {
    let source = open_unchecked(context, path, access)?;
    check_options(context, &[(path, source.as_ref())])?;
    Ok(source)
}

/// The same without a look at the options.
pub(crate) fn open_unchecked(context: &Context, path: &Path, access: Access) -> Result<Box<dyn Source>> {
    // Only a layer that can be read here and there can be compared with a digest.
    let access = if context.toc_digest.is_some() { Access::Random } else { access };
    open_any(context, path, access).with_context(|| format!("cannot open {}", name_of(path)))
}

/// Refuses options that none of the sources can use.
pub(crate) fn check_options(context: &Context, sources: &[(&Path, &dyn Source)]) -> Result<()> {
    let uses: Vec<&Uses> = sources.iter().map(|(_, source)| &source.about().kind.uses).collect();
    options::check(&context.given, KINDS.iter().map(|kind| &kind.uses), &uses, || {
        let is: Vec<String> =
            sources.iter().map(|(path, source)| format!("{} is: {}", name_of(path), source.about().format)).collect();
        is.join(", and ")
    })
}

/// Refuses options that an image cannot use, for verbs that take images by name.
pub(crate) fn check_image_options(context: &Context, path: &Path) -> Result<()> {
    if let Some(kind) = wanted(context)?.filter(|kind| kind.name != image::KIND.name) {
        return Err(usage(format!("--as {}, and {} is: OCI image", kind.name, name_of(path)), "leave --as out"));
    }
    let uses = KINDS.iter().map(|kind| &kind.uses);
    options::check(&context.given, uses, &[&image::KIND.uses], || format!("{} is: OCI image", name_of(path)))
}

/// How a source is called in messages.
pub(crate) fn name_of(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { format!("`{}`", path.display()) }
}

/// How a source is called in results.
pub(crate) fn title(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

pub(crate) fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// The kind that `path` names by its prefix.
fn named(path: &Path) -> Option<&'static Kind> {
    let text = path.as_os_str().as_bytes();
    let has = |kind: &&&Kind| kind.prefixes.iter().any(|prefix| text.starts_with(prefix.as_bytes()));
    KINDS.iter().find(has).copied()
}

/// The kind of `--as`.
fn wanted(context: &Context) -> Result<Option<&'static Kind>> {
    let Some(name) = &context.kind else { return Ok(None) };
    if let Some(kind) = KINDS.iter().find(|kind| kind.name == name) {
        return Ok(Some(kind));
    }
    let names: Vec<&str> = KINDS.iter().map(|kind| kind.name).collect();
    Err(usage(format!("--as `{name}`: there is no such kind"), format!("the kinds are {}", names.join(", "))))
}

fn open_any(context: &Context, path: &Path, access: Access) -> Result<Box<dyn Source>> {
    let wanted = wanted(context)?;
    if let Some(kind) = named(path) {
        if let Some(wanted) = wanted.filter(|wanted| wanted.name != kind.name) {
            let message = format!("--as {} contradicts the name, which says {}", wanted.name, kind.name);
            return Err(usage(message, "leave --as out"));
        }
        return detect(context, Some(kind), &Candidate::Named(path));
    }
    if !is_stdin(path) && std::fs::metadata(path)?.is_dir() {
        return detect(context, wanted, &Candidate::Directory(path));
    }
    let is_tar = wanted.is_some_and(|kind| kind.name == archive::KIND.name);
    let mut file =
        if is_stdin(path) { File::from(io::stdin().as_fd().try_clone_to_owned()?) } else { File::open(path)? };
    // A file that is redirected is read by position, unless somebody has begun to read it.
    if file.metadata()?.is_file() && file.stream_position()? == 0 {
        let path = Some(path).filter(|path| !is_stdin(path));
        return detect(context, wanted, &Candidate::File(&file, path));
    }
    let kept = |mut whole: &mut dyn Read| {
        let file = Spool::keep(&mut whole, u64::MAX, Progress::none())?.into_file();
        detect(context, wanted, &Candidate::File(&file, None))
    };
    if access == Access::Random || (wanted.is_some() && !is_tar) {
        return kept(&mut file);
    }
    let mut head = Vec::new();
    file.by_ref().take(HEAD).read_to_end(&mut head)?;
    let may_be_images = !is_tar && dunnage_oci::may_be_archive(&head);
    let starts_as_tar = head.first_chunk().is_some_and(is_header);
    let (packing, mut whole) = Packing::peek(io::Cursor::new(head).chain(file))?;
    let is_unknown = packing == Packing::Plain && !starts_as_tar;
    // Whether it is a layer shows at its end.
    let may_be_layer = access == Access::OnceUnlessLayer && packing == Packing::Gzip && !is_tar;
    // Only what begins like a tar is read without a further look.
    if may_be_images || may_be_layer || is_unknown {
        return kept(&mut whole);
    }
    Ok(Box::new(Archive::stream(context, packing, Box::new(whole))))
}

/// Bytes at the start of a pipe in which the first names of a tar are looked for.
const HEAD: u64 = 64 << 10;

/// Asks the kind that is wanted, or each in turn.
fn detect(context: &Context, wanted: Option<&'static Kind>, candidate: &Candidate<'_>) -> Result<Box<dyn Source>> {
    let kinds = wanted.as_ref().map_or(KINDS, std::slice::from_ref);
    for kind in kinds {
        if let Some(source) = (kind.open)(context, candidate)? {
            return Ok(source);
        }
    }
    let message = match wanted {
        Some(kind) => format!("--as {}: it is none", kind.name),
        None => "it is of no kind that is known".to_owned(),
    };
    Err(Failure::new(ErrorKind::Malformed, message).into())
}
