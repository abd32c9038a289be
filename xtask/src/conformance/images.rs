//! Whole images: converted to every target, and looked at by three programs that know nothing of this project.
//!
//! | program | its answer                                                                             |
//! |---------|----------------------------------------------------------------------------------------|
//! | ggcr    | whether each digest, size and diff ID is right, by go-containerregistry's validators     |
//! | skopeo  | to copy the image, which makes it compare all blobs                                    |
//! | umoci   | to unpack it: the files have to be those it unpacks from the original                  |
//!
//! umoci reads no zstd, so for that skopeo decompresses the layers first. The files that eStargz adds for runtimes which do
//! not know it are left out of the comparison.

mod make;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use dunnage_digest::Progress;
use dunnage_estargz::{
    WriteOptions,
    codec::{Codec, ExternalTocCompressor, GzipCompressor, Level, ZstdCompressor},
};
use dunnage_oci::{
    Conversion, Converted, Depth, ImageOptions, Layout, Limits, TarBytes, Target, Verification, VerifyOptions,
};
use dunnage_tree::{CompareOptions, DirTree, compare};
use serde_json::Value;

pub(super) use self::make::make as make_layout;
use self::make::make;
use super::{Options, tally::Tally};
use crate::{
    peers::Peer,
    workspace::{capture, has_program, is_root, scratch_dir},
};

/// Converts, and compares with what others see.
pub(super) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let peer = if options.peers { Peer::build("ggcr", options.no_skips)? } else { None };
    let tools = Tools { peer, skopeo: tool("skopeo", options)?, umoci: tool("umoci", options)? };
    let dir = tempfile::tempdir_in(scratch_dir("images")?).context("cannot create a scratch directory")?;
    let tally = Tally::run("images".to_owned(), dir.path(), |tally, dir| Images { dir, tools }.check(tally));
    let (made, failed) = (tally.made, tally.failures.len());
    let seconds = start.elapsed().as_secs_f64();
    println!("conformance images: {} targets, {made} comparisons, {failed} failures, {seconds:.0} s", TARGETS.len());
    if failed > 0 {
        bail!("images: {failed} failures");
    }
    Ok(())
}

/// Whether the program is installed. Prints a line if it is not.
pub(super) fn tool(name: &str, options: &Options) -> Result<bool> {
    if has_program(name) {
        return Ok(true);
    }
    println!("SKIPPED {name}: not on this machine");
    if options.no_skips {
        bail!("{name} was skipped, and no skips are allowed");
    }
    Ok(false)
}

struct Tools {
    peer: Option<Peer>,
    skopeo: bool,
    umoci: bool,
}

/// What an image is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    EStargz,
    EStargzExternalToc,
    ZstdChunked,
    Tar,
}

/// What to convert to, and how it is called.
const TARGETS: [(&str, To, TarBytes); 7] = [
    ("estargz", To::EStargz, TarBytes::Rewrite),
    ("estargz-lossless", To::EStargz, TarBytes::Lossless),
    ("external", To::EStargzExternalToc, TarBytes::Rewrite),
    ("external-lossless", To::EStargzExternalToc, TarBytes::Lossless),
    ("zstd-chunked", To::ZstdChunked, TarBytes::Rewrite),
    ("zstd-chunked-lossless", To::ZstdChunked, TarBytes::Lossless),
    ("tar", To::Tar, TarBytes::Rewrite),
];

/// The images of the layout, and for how many platforms each is.
const TAGS: [(&str, u64); 3] = [("five", 1), ("many", 3), ("nested", 3)];

/// Files that the formats add to the root, for runtimes that do not know the format.
const ADDED: [&str; 3] = [".no.prefetch.landmark", ".prefetch.landmark", "stargz.index.json"];

struct Images<'d> {
    dir: &'d Path,
    tools: Tools,
}

impl Images<'_> {
    fn check(&self, tally: &mut Tally) -> Result<()> {
        let original = self.dir.join("original");
        make(&original)?;
        self.look_at(tally, "original", &original)?;
        let wanted = if self.tools.umoci { Some(self.unpack(&original, "wanted")?) } else { None };
        for (name, form, tar) in TARGETS {
            let to = self.dir.join(name);
            let mut same = Vec::new();
            for (tag, threads) in [("five", 2), ("many", 2), ("nested", 2), ("five", 1)] {
                let converted = convert(&original, tag, &to, &image_options(form, tar, threads)?);
                let Some(converted) = tally.works(&format!("{name}: convert {tag}"), converted) else { continue };
                if tag == "five" {
                    same.push(converted.digest);
                }
                let keeps = form != To::EStargz && (tar == TarBytes::Lossless || form == To::Tar);
                let layers = converted.manifests.iter().flat_map(|manifest| &manifest.layers);
                let kept = layers.into_iter().all(|layer| layer.diff_id == layer.source_diff_id);
                tally.same(&format!("{name}: diff IDs of {tag} stay"), &kept, &keeps);
            }
            tally.same(&format!("{name}: the same image with one thread and two"), &same.first(), &same.last());
            self.look_at(tally, name, &to)?;
            if let Some(wanted) = &wanted {
                let plain = if form == To::ZstdChunked { self.decompress(tally, name, &to)? } else { Some(to) };
                if let Some(plain) = plain {
                    self.compare(tally, name, &plain, wanted)?;
                }
            }
        }
        Ok(())
    }

    /// Everybody reads all blobs of both images.
    fn look_at(&self, tally: &mut Tally, name: &str, layout: &Path) -> Result<()> {
        for (tag, images) in TAGS {
            tally.works(&format!("{name}: we verify {tag}"), verify(layout, tag));
            if let Some(peer) = &self.tools.peer {
                let args = ["validate".as_ref(), layout.as_os_str(), tag.as_ref()];
                let found = peer.run(args).and_then(|report| report.number("images"));
                if let Some(found) = tally.works(&format!("{name}: go-containerregistry validates {tag}"), found) {
                    tally.same(&format!("{name}: images that it finds in {tag}"), &found, &images);
                }
            }
            // It reads no index inside of another one.
            if self.tools.skopeo && tag != "nested" {
                let to = format!("oci:{}/{name}-{tag}-copy:{tag}", self.dir.display());
                let copied = skopeo(&["copy", "--all", &format!("oci:{}:{tag}", layout.display()), &to]);
                tally.works(&format!("{name}: skopeo copies {tag}"), copied);
            }
        }
        Ok(())
    }

    /// The image of five layers, its layers decompressed by skopeo: their digests are then those of the configuration.
    fn decompress(&self, tally: &mut Tally, name: &str, layout: &Path) -> Result<Option<PathBuf>> {
        if !self.tools.skopeo {
            return Ok(None);
        }
        let (plain, to) = (self.dir.join(format!("{name}-plain")), self.dir.join(format!("{name}-again")));
        let (from, middle) = (format!("oci:{}:five", layout.display()), format!("dir:{}", plain.display()));
        let copied = skopeo(&["copy", "--dest-decompress", &from, &middle]);
        if tally.works(&format!("{name}: skopeo decompresses"), copied).is_none() {
            return Ok(None);
        }
        let manifest: Value = serde_json::from_slice(&fs::read(plain.join("manifest.json"))?)?;
        let text =
            |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let config = text(&manifest, "/config/digest").replace("sha256:", "");
        let config: Value = serde_json::from_slice(&fs::read(plain.join(config))?)?;
        let list =
            |value: &Value, path: &str| value.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
        let found: Vec<String> = list(&manifest, "/layers").iter().map(|layer| text(layer, "/digest")).collect();
        let wanted: Vec<String> = list(&config, "/rootfs/diff_ids").iter().map(|diff_id| text(diff_id, "")).collect();
        tally.same(&format!("{name}: diff IDs as skopeo decompresses"), &found, &wanted);
        let copied = skopeo(&["copy", &middle, &format!("oci:{}:five", to.display())]);
        Ok(tally.works(&format!("{name}: skopeo copies what it decompressed"), copied).map(|_| to))
    }

    /// umoci unpacks the same files from a conversion as from the original.
    fn compare(&self, tally: &mut Tally, name: &str, layout: &Path, wanted: &Path) -> Result<()> {
        let unpacked = self.unpack(layout, &format!("{name}-files"));
        let Some(files) = tally.works(&format!("{name}: umoci unpacks"), unpacked) else { return Ok(()) };
        for added in ADDED {
            // Not all formats add all of them.
            let _ = fs::remove_file(files.join(added));
        }
        let found =
            compare(&DirTree::open(wanted)?, &DirTree::open(&files)?, &CompareOptions::default(), Progress::none())?;
        // The root has lost what was added, and so has another time.
        let found = found.iter().find(|difference| !difference.path.is_empty()).map(ToString::to_string);
        tally.nothing(&format!("{name}: files, of the original and of the conversion"), found);
        Ok(())
    }

    fn unpack(&self, layout: &Path, name: &str) -> Result<PathBuf> {
        let bundle = self.dir.join(name);
        let mut umoci = Command::new("umoci");
        umoci.arg("unpack").arg("--image").arg(format!("{}:five", layout.display()));
        if !is_root() {
            umoci.arg("--rootless");
        }
        capture(umoci.arg(&bundle))?;
        Ok(bundle.join("rootfs"))
    }
}

pub(super) fn skopeo(args: &[&str]) -> Result<String> {
    // It keeps temporary files where it is told, and asks no policy of the machine.
    capture(Command::new("skopeo").arg("--insecure-policy").args(args))
}

fn image_options(form: To, tar: TarBytes, threads: usize) -> Result<ImageOptions> {
    let mut write = WriteOptions::default();
    let gzip = GzipCompressor::new(Codec::Libdeflate, Level::new(6)?);
    write.compressor = match form {
        To::ZstdChunked => Arc::new(ZstdCompressor::default()),
        To::EStargzExternalToc => Arc::new(ExternalTocCompressor::new(gzip)),
        To::EStargz | To::Tar => Arc::new(gzip),
    };
    let target = if form == To::Tar { Target::Tar } else { Target::Toc };
    Ok(ImageOptions { target, write, tar, threads, ..ImageOptions::default() })
}

fn convert(from: &Path, tag: &str, to: &Path, options: &ImageOptions) -> Result<Converted, dunnage_oci::Error> {
    let source = Layout::open(from, &Limits::default())?;
    let plan = Conversion::plan(&source, Some(tag), options.clone())?;
    plan.run(&Layout::create(to, &Limits::default())?, None, Progress::none())
}

fn verify(layout: &Path, tag: &str) -> Result<(), dunnage_oci::Error> {
    let layout = Layout::open(layout, &Limits::default())?;
    let options = VerifyOptions { depth: Depth::Audit, ..VerifyOptions::default() };
    Verification::plan(&layout, Some(tag), options)?.run(Progress::none()).map(drop)
}
