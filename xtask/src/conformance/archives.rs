//! Archives of images, both ways: archives of other programs are read here, and archives written here are read by them.
//!
//! | program | writes                                            | reads                                             |
//! |---------|---------------------------------------------------|---------------------------------------------------|
//! | skopeo  | `docker-archive:`, `oci-archive:`                 | both, into a layout                               |
//! | umoci   | a layout, which GNU tar packs                     | a layout that GNU tar unpacked                    |
//! | ggcr    | go-containerregistry's package `tarball`          | the same, by its validators                       |
//!
//! Each archive has to show the image that the layout shows: the same configuration, diff IDs and files, and a conversion
//! with the same bytes.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use dunnage_digest::{Algorithm, Digest, Progress};
use dunnage_oci::{
    Contents, Conversion, CopyOptions, Copying, Depth, ImageOptions, Images, Layout, Limits, Platform, Reference,
    Store, Verification, VerifyOptions, detect,
};
use dunnage_tree::{CompareOptions, compare};

use super::{
    Options,
    images::{make_layout, skopeo, tool},
    tally::Tally,
};
use crate::{
    peers::Peer,
    workspace::{capture, is_root, scratch_dir},
};

/// Reads and writes archives.
pub(super) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let peer = if options.peers { Peer::build("ggcr", options.no_skips)? } else { None };
    let (skopeo, umoci) = (tool("skopeo", options)?, tool("umoci", options)?);
    let dir = tempfile::tempdir_in(scratch_dir("archives")?).context("cannot create a scratch directory")?;
    let tally = Tally::run("archives".to_owned(), dir.path(), |tally, dir| {
        let layout = dir.join("layout");
        make_layout(&layout)?;
        Archives { dir, layout, peer, skopeo, umoci }.check(tally)
    });
    let (made, failed) = (tally.made, tally.failures.len());
    println!("conformance archives: {made} comparisons, {failed} failures, {:.0} s", start.elapsed().as_secs_f64());
    if failed > 0 {
        bail!("archives: {failed} failures");
    }
    Ok(())
}

struct Archives<'d> {
    dir: &'d Path,
    layout: PathBuf,
    peer: Option<Peer>,
    skopeo: bool,
    umoci: bool,
}

/// The tag of the image in the layout, and its name in archives for Docker.
const TAG: &str = "five";
const NAME: &str = "example.org/five:latest";

/// Everything about an image that an archive must not change.
#[derive(Debug, PartialEq)]
struct Facts {
    config: String,
    platform: Platform,
    diff_ids: Vec<String>,
    /// Digests of the layers after conversion to eStargz.
    converted: Vec<String>,
    entries: u64,
}

impl Archives<'_> {
    fn check(&self, tally: &mut Tally) -> Result<()> {
        let original = Reference { name: Some(TAG.to_owned()), ..Reference::to(Store::Layout, &self.layout) };
        let wanted = self.facts(&original, None, "original")?;
        for (name, archive) in self.theirs(tally)? {
            self.ours_reads(tally, &name, &archive, (&original, &wanted))?;
        }
        self.ours_writes(tally, &original)
    }

    /// Archives that others write.
    fn theirs(&self, tally: &mut Tally) -> Result<Vec<(String, Reference)>> {
        let mut archives = Vec::new();
        let from = format!("oci:{}:{TAG}", self.layout.display());
        let mut add = |tally: &mut Tally, store: Store, name: &str, write: &mut dyn FnMut(&Path) -> Result<()>| {
            let path = self.dir.join(format!("{name}.tar"));
            if tally.works(&format!("{name}: written"), write(&path)).is_some() {
                archives.push((name.to_owned(), Reference::to(store, &path)));
            }
        };
        if self.skopeo {
            for (store, tag) in [(Store::DockerArchive, NAME), (Store::OciArchive, TAG)] {
                add(tally, store, &format!("skopeo {}", store.prefix()), &mut |path| {
                    skopeo(&["copy", &from, &format!("{}:{}:{tag}", store.prefix(), path.display())]).map(drop)
                });
            }
        }
        if self.umoci {
            let copy = self.dir.join("umoci");
            capture(Command::new("cp").arg("-r").arg(&self.layout).arg(&copy))?;
            let image = format!("{}:{TAG}", copy.display());
            capture(Command::new("umoci").args(["tag", "--image", &image, "again"]))?;
            capture(Command::new("umoci").args(["remove", "--image", &format!("{}:many", copy.display())]))?;
            add(tally, Store::OciArchive, "umoci and tar", &mut |path| {
                capture(Command::new("tar").arg("-C").arg(&copy).arg("-cf").arg(path).arg(".")).map(drop)
            });
            add(tally, Store::OciArchive, "umoci and tar with gzip", &mut |path| {
                capture(Command::new("tar").arg("-C").arg(&copy).arg("-czf").arg(path).arg(".")).map(drop)
            });
        }
        if let Some(peer) = &self.peer {
            add(tally, Store::DockerArchive, "go-containerregistry", &mut |path| {
                let args = ["save".as_ref(), self.layout.as_os_str(), TAG.as_ref(), path.as_os_str(), NAME.as_ref()];
                peer.run(args).map(drop)
            });
        }
        Ok(archives)
    }

    /// An archive of another program shows the image of the layout.
    fn ours_reads(
        &self,
        tally: &mut Tally,
        name: &str,
        archive: &Reference,
        (original, wanted): (&Reference, &Facts),
    ) -> Result<()> {
        tally.same(&format!("{name}: recognised"), &detect(&archive.path)?, &Some(archive.store));
        let tag = match archive.store {
            Store::DockerArchive => NAME,
            _ => TAG,
        };
        let named = Reference { name: Some(tag.to_owned()), ..archive.clone() };
        let facts = self.facts(&named, Some(original), name);
        if let Some(facts) = tally.works(&format!("{name}: read"), facts) {
            tally.same(&format!("{name}: the image"), &facts, wanted);
        }
        let to = Reference::to(Store::Layout, &self.dir.join(format!("{name}-copied")));
        let copied = copy(&named, &to);
        if let Some(changed) = tally.works(&format!("{name}: copied into a layout"), copied) {
            tally.same(&format!("{name}: no digest changes"), &changed, &false);
            let facts = self.facts(&to, Some(original), &format!("{name}-copy"));
            if let Some(facts) = tally.works(&format!("{name}: the copy is read"), facts) {
                tally.same(&format!("{name}: the image in the copy"), &facts, wanted);
            }
        }
        Ok(())
    }

    /// Verifies an image, converts it, and compares its files with those of another one.
    fn facts(&self, image: &Reference, other: Option<&Reference>, name: &str) -> Result<Facts> {
        let images = image.open(&Limits::default())?;
        let options = VerifyOptions { depth: Depth::Audit, ..VerifyOptions::default() };
        let verified = Verification::plan(&*images, image.name.as_deref(), options)?.run(Progress::none())?;
        let contents = Contents::read(&*images, image.name.as_deref(), &[])?;
        let [only] = contents.images.as_slice() else { bail!("{} images", contents.images.len()) };
        if let Some(other) = other {
            let others = other.open(&Limits::default())?;
            let theirs = Contents::read(&*others, other.name.as_deref(), &[])?;
            let theirs = theirs.images.first().context("no image")?.tree(&*others, &Default::default())?;
            let ours = only.tree(&*images, &Default::default())?;
            let found = compare(&theirs, &ours, &CompareOptions::default(), Progress::none())?;
            if let Some(difference) = found.first() {
                bail!("{} differences, the first is {difference}", found.len());
            }
        }
        let to = Layout::create(&self.dir.join(format!("{name}-converted")), &Limits::default())?;
        let options = ImageOptions::default();
        let converted =
            Conversion::plan(&*images, image.name.as_deref(), options)?.run(&to, Some("x"), Progress::none())?;
        let layers = converted.manifests.iter().flat_map(|manifest| &manifest.layers);
        Ok(Facts {
            config: only.config.digest().to_string(),
            platform: only.platform.clone(),
            diff_ids: only.layers.iter().map(|layer| layer.diff_id.to_string()).collect(),
            converted: layers.map(|layer| layer.digest.to_string()).collect(),
            entries: verified.entries,
        })
    }

    /// Archives that are written here show the image of the layout to others.
    fn ours_writes(&self, tally: &mut Tally, original: &Reference) -> Result<()> {
        let images = original.open(&Limits::default())?;
        let config = Contents::read(&*images, Some(TAG), &[])?;
        let config = config.images.first().context("no image")?.config.digest().to_string();
        let digest = images.resolve(Some(TAG))?.digest().to_string();
        for (store, tag) in [(Store::DockerArchive, NAME), (Store::OciArchive, TAG)] {
            let name = format!("ours {}", store.prefix());
            let path = self.dir.join(format!("{name}.tar"));
            let to = Reference { name: Some(tag.to_owned()), ..Reference::to(store, &path) };
            let changed = copy(original, &to);
            let Some(changed) = tally.works(&format!("{name}: written"), changed) else { continue };
            tally.same(&format!("{name}: digests change"), &changed, &(store == Store::DockerArchive));
            if self.skopeo {
                let layout = self.dir.join(format!("{name}-skopeo"));
                let args = [to.to_string(), format!("oci:{}:{TAG}", layout.display())];
                let copied = skopeo(&["copy", &args[0], &args[1]]);
                if tally.works(&format!("{name}: skopeo reads"), copied).is_some() {
                    let copy = Reference::to(Store::Layout, &layout);
                    let facts = self.facts(&copy, Some(original), &format!("{name}-skopeo-facts"));
                    if let Some(facts) = tally.works(&format!("{name}: the copy of skopeo is the image"), facts) {
                        // From a Docker archive into a layout, skopeo writes the configuration again in the form of OCI.
                        if store == Store::OciArchive {
                            tally.same(&format!("{name}: configuration, as skopeo sees it"), &facts.config, &config);
                        }
                    }
                }
            }
            if store == Store::DockerArchive {
                self.config(tally, &to, &config)?;
            }
            if let Some(peer) = self.peer.as_ref().filter(|_| store == Store::DockerArchive) {
                let report = peer.run(["load".as_ref(), path.as_os_str(), NAME.as_ref()]);
                let found = report.and_then(|report| report.text("config").map(str::to_owned));
                if let Some(found) = tally.works(&format!("{name}: go-containerregistry validates"), found) {
                    tally.same(&format!("{name}: configuration, as go-containerregistry sees it"), &found, &config);
                }
            }
            if store == Store::OciArchive {
                self.digest(tally, &to, &digest)?;
                let layout = self.dir.join(format!("{name}-unpacked"));
                fs::create_dir(&layout)?;
                capture(Command::new("tar").arg("-C").arg(&layout).arg("-xf").arg(&path))?;
                if let Some(peer) = &self.peer {
                    let report = peer.run(["validate".as_ref(), layout.as_os_str(), TAG.as_ref()]);
                    tally.works(&format!("{name}: go-containerregistry validates"), report);
                }
                if self.umoci {
                    let mut umoci = Command::new("umoci");
                    umoci.arg("unpack").arg("--image").arg(format!("{}:{TAG}", layout.display()));
                    if !is_root() {
                        umoci.arg("--rootless");
                    }
                    let unpacked = capture(umoci.arg(self.dir.join(format!("{name}-files"))));
                    tally.works(&format!("{name}: umoci unpacks"), unpacked);
                }
            }
        }
        self.several_platforms(tally)
    }

    /// An image for several platforms goes into an OCI archive whole.
    fn several_platforms(&self, tally: &mut Tally) -> Result<()> {
        let from = Reference { name: Some("many".to_owned()), ..Reference::to(Store::Layout, &self.layout) };
        let to = Reference::to(Store::OciArchive, &self.dir.join("many.tar"));
        if tally.works("many: written", copy(&from, &to)).is_some() {
            let wanted = Layout::open(&self.layout, &Limits::default())?.resolve(Some("many"))?.digest().to_string();
            self.digest(tally, &to, &wanted)?;
        }
        Ok(())
    }

    /// The digest of the topmost document as skopeo sees it. (Into a layout, skopeo would compress plain layers.)
    fn digest(&self, tally: &mut Tally, archive: &Reference, wanted: &str) -> Result<()> {
        if !self.skopeo {
            return Ok(());
        }
        let name = archive.path.file_name().unwrap_or_default().to_string_lossy();
        let dir = self.dir.join(format!("{name}-dir"));
        let copied = skopeo(&["copy", "--all", &archive.to_string(), &format!("dir:{}", dir.display())]);
        if tally.works(&format!("{name}: skopeo copies as it is"), copied).is_some() {
            let found = Digest::of(Algorithm::Sha256, &fs::read(dir.join("manifest.json"))?).to_string();
            tally.same(&format!("{name}: digest, as skopeo sees it"), &found, &wanted.to_owned());
        }
        Ok(())
    }

    /// The digest of the configuration in the manifest that skopeo makes for a Docker archive, where it changes no form.
    fn config(&self, tally: &mut Tally, archive: &Reference, wanted: &str) -> Result<()> {
        if !self.skopeo {
            return Ok(());
        }
        let dir = self.dir.join("docker-dir");
        let copied = skopeo(&["copy", &archive.to_string(), &format!("dir:{}", dir.display())]);
        if tally.works("docker-archive: skopeo copies as it is", copied).is_some() {
            let manifest: serde_json::Value = serde_json::from_slice(&fs::read(dir.join("manifest.json"))?)?;
            let found = manifest.pointer("/config/digest").and_then(serde_json::Value::as_str).unwrap_or_default();
            tally.same("docker-archive: configuration, as skopeo sees it", &found, &wanted);
        }
        Ok(())
    }
}

fn copy(from: &Reference, to: &Reference) -> Result<bool> {
    let source = from.open(&Limits::default())?;
    let plan = Copying::plan(&*source, from.name.as_deref(), CopyOptions::default())?;
    let to_name = to.name.as_deref();
    Ok(plan.run(&*to.create(&Limits::default())?, to_name, Progress::none())?.blobs_changed)
}
