//! Where bytes come from, and what they turn out to be.
//!
//! | SOURCE                     | is                                                                        |
//! |----------------------------|---------------------------------------------------------------------------|
//! | a directory                | [`directory`]                                                             |
//! | a file                     | a state file if it begins like one, a layer if it ends like one, else an archive |
//! | `-`, redirected from a file| the same, read by position like any file                                  |
//! | `oci:DIR[:TAG]`            | [`image`]                                                                 |
//! | `-`, a pipe                | kept in a temporary file first, unless the command reads from front to back anyway |
//!
//! Each format is a [`Source`], and commands know no other.

mod archive;
mod directory;
mod image;
mod layer;
mod state;

use std::{
    fs::File,
    io::{self, Read, Seek, Write},
    os::fd::AsFd,
    path::Path,
    sync::Arc,
};

use anyhow::{Context as _, Result};
use dunnage_digest::{Cursor, ErrorKind};
use dunnage_estargz::Packing;
use dunnage_tree::{ExportOptions, Tree};

use self::{archive::Archive, directory::Directory, state::StateFile};
pub(crate) use self::{
    image::{ImageRef, ImageSource, platform_name},
    layer::Layer,
    state::begins_like_one,
};
use crate::{context::Context, exit::Failure, progress::Progress, sink::without_path};

/// Something that commands can work on.
pub(crate) trait Source {
    /// What it is, in words.
    fn format(&self) -> &'static str;

    /// The bytes of the whole, if they are in one place and can be read twice.
    fn blob(&self) -> Option<&File>;

    /// The files in it.
    fn tree(&self) -> Result<Box<dyn Tree + '_>>;

    /// The files in it, for as long as anybody wants them.
    fn into_tree(self: Box<Self>) -> Result<Arc<dyn Tree>>;

    /// Whether the files in it can change while they are looked at.
    fn is_live(&self) -> bool {
        false
    }

    /// The files in it as a tar stream. What is read of the source is counted.
    fn tar<'s>(&'s self, progress: &'s Progress) -> Result<Box<dyn Read + 's>>;

    /// The files and how a tar of them is written, if there is no tar yet. [`note_left_out`](Self::note_left_out) takes the
    /// paths that are not in it.
    fn exported(&self) -> Option<(&dyn Tree, &ExportOptions)> {
        None
    }

    /// Remembers paths for [`left_out`](Self::left_out).
    fn note_left_out(&self, paths: &[Vec<u8>]) {
        let _ = paths;
    }

    /// Bytes that will be counted while the tar stream is read, if that is known.
    fn tar_total(&self) -> Option<u64>;

    /// Whether it is a tar and no more, compressed or not: best read from front to back.
    fn is_archive(&self) -> bool {
        false
    }

    /// Whether the blob is nothing but a tar.
    fn is_plain_tar(&self) -> bool {
        false
    }

    /// What a tar stream cannot hold, known once it was read.
    fn left_out(&self) -> Vec<String> {
        Vec::new()
    }

    /// The layer, if it is one.
    fn layer(&self) -> Option<&Layer> {
        None
    }

    /// The state file, if it is one.
    fn state(&self) -> Option<&File> {
        None
    }

    /// The image, if it is one.
    fn image(&self) -> Option<&ImageSource> {
        None
    }
}

/// How a command reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Here and there: a pipe has to be kept.
    Random,
    /// From front to back, once, and a layer is no more than the tar in it.
    Once,
    /// From front to back, once, unless it is a layer.
    OnceUnlessLayer,
}

/// Opens `path`, or standard input for `-`.
pub(crate) fn open(context: &Context, path: &Path, access: Access) -> Result<Box<dyn Source>> {
    let name = name_of(path);
    // Only a layer that can be read here and there can be compared with a digest.
    let access = if context.toc_digest.is_some() { Access::Random } else { access };
    let source = open_any(context, path, access).with_context(|| format!("cannot open {name}"))?;
    if context.toc_digest.is_some() && source.layer().is_none() {
        let format = source.format();
        let message = format!("{name}: expected a layer with the given TOC digest, got {format}");
        return Err(Failure::new(ErrorKind::Integrity, message).hint("leave --toc-digest out, or name a layer").into());
    }
    Ok(source)
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

fn open_any(context: &Context, path: &Path, access: Access) -> Result<Box<dyn Source>> {
    if let Some(reference) = ImageRef::parse(path)? {
        return Ok(Box::new(ImageSource::open(context, &reference)?));
    }
    if !is_stdin(path) && std::fs::metadata(path)?.is_dir() {
        return Ok(Box::new(Directory::open(context, path)?));
    }
    let mut file =
        if is_stdin(path) { File::from(io::stdin().as_fd().try_clone_to_owned()?) } else { File::open(path)? };
    // A file that is redirected is read by position, unless somebody has begun to read it.
    if file.metadata()?.is_file() && file.stream_position()? == 0 {
        return detect(context, file);
    }
    let keep = match access {
        Access::Random => true,
        Access::Once => false,
        Access::OnceUnlessLayer => {
            let (packing, whole) = Packing::peek(file)?;
            if packing != Packing::Gzip {
                return Ok(Box::new(Archive::stream(context, packing, Box::new(whole))));
            }
            // What it is shows at its end.
            return detect(context, keep(whole, u64::MAX)?);
        }
    };
    if keep {
        return detect(context, self::keep(file, u64::MAX)?);
    }
    let (packing, whole) = Packing::peek(file)?;
    Ok(Box::new(Archive::stream(context, packing, Box::new(whole))))
}

/// Asks each format in turn.
fn detect(context: &Context, file: File) -> Result<Box<dyn Source>> {
    let file = match StateFile::detect(file)? {
        Ok(state) => return Ok(Box::new(state)),
        Err(file) => file,
    };
    let file = match Layer::detect(context, file)? {
        Ok(layer) => return Ok(Box::new(layer)),
        Err(file) => file,
    };
    Ok(Box::new(Archive::detect(context, file)?))
}

/// Copies what can be read once into a temporary file without a name, at most `limit` bytes of it.
pub(crate) fn keep<R: Read>(mut from: R, limit: u64) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(without_path).context("cannot make a temporary file")?;
    let mut block = vec![0; 1 << 20];
    let mut kept = 0_u64;
    loop {
        let len = match from.read(&mut block) {
            Ok(0) => break,
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        kept = kept.saturating_add(len as u64);
        if kept > limit {
            return Err(dunnage_tree::Error::Limit { what: "unpacked bytes", limit, asked: kept }.into());
        }
        file.write_all(block.get(..len).unwrap_or_default()).context("cannot write a temporary file")?;
    }
    file.rewind()?;
    Ok(file)
}

/// The bytes of a blob, counted.
pub(crate) fn stored<'p>(blob: &'p File, progress: &'p Progress) -> io::Result<Box<dyn Read + 'p>> {
    Ok(Box::new(progress.watch(Cursor::new(blob)?)))
}

/// The bytes of a blob without its compression, all of them, counted as they are stored.
pub(crate) fn unpacked<'p>(blob: &'p File, progress: &'p Progress) -> io::Result<Box<dyn Read + 'p>> {
    let (packing, whole) = Packing::peek(progress.watch(Cursor::new(blob)?))?;
    packing.decompressed(whole)
}
