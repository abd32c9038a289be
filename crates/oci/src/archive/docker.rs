//! A tar as `docker save` writes it: `manifest.json`, configurations, layers.
//!
//! Such an archive has no manifests in the sense of OCI. One is made for each image when it is asked for: its layers are
//! the members that `manifest.json` lists. The digest of a plain layer is its diff ID; a compressed one is hashed.

use std::{
    collections::BTreeMap,
    io::{self, Read as _},
    path::Path,
    sync::{Mutex, PoisonError},
};

use dunnage_digest::{Algorithm, DiffId, Digest, Hasher, HashingReader, Mismatch, Offset, ReadAt as _};
use dunnage_estargz::{Error as LayerError, input::Packing};
use serde_json::value::RawValue;

use super::members::{Found, Members};
use crate::{
    Blob, Descriptor, Error, Images, Limits,
    document::config_diff_ids,
    format::packing,
    images::no_image,
    json::Object,
    layout::tagged,
    media::{CONFIG, LayerType, MANIFEST, Suffix},
};

/// A tar as `docker save` writes it, for reading. Layers are read in place.
///
/// Use it for files of `docker save`, `podman save`, `skopeo copy ... docker-archive:FILE`, nix, bazel, jib, ko and kaniko.
/// [`detect`](crate::detect) tells whether a file is one. The archive has neither manifests nor digests of blobs: this makes
/// a manifest of each image that is asked for. Configurations and diff IDs are those in the archive.
#[derive(Debug)]
pub struct DockerArchive {
    members: Members,
    limits: Limits,
    images: Vec<Listed>,
    made: Mutex<Made>,
}

/// An image as `manifest.json` lists it.
#[derive(Debug)]
struct Listed {
    config: String,
    tags: Vec<String>,
    layers: Vec<String>,
}

/// Manifests that were made, and members that they lead to.
#[derive(Debug, Default)]
struct Made {
    /// The descriptor of each image, by its place.
    images: BTreeMap<usize, Descriptor>,
    manifests: BTreeMap<Digest, Vec<u8>>,
    members: BTreeMap<Digest, (String, Found)>,
}

const LIST: &str = "manifest.json";
const KEYS: &[&str] = &["Config", "RepoTags", "Layers"];

impl DockerArchive {
    /// Opens the archive in the file `path` and reads its list of images. A compressed archive, and one that is no regular
    /// file, is unpacked into a temporary file without a name.
    ///
    /// # Errors
    ///
    /// [`Error::NotArchive`] for a tar without `manifest.json`; [`Error::Tar`] for one that cannot be read;
    /// [`Error::Archive`] for members that contradict each other; [`Error::Malformed`], [`Error::Limit`], [`Error::Io`].
    pub fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let members = Members::open(path, limits)?;
        let Some(bytes) = members.document(LIST, limits.document)? else {
            let advice = if members.find("index.json")?.is_some() { ": name it as oci-archive:FILE" } else { "" };
            let reason = format!("it has no member `{LIST}`{advice}");
            return Err(Error::NotArchive { path: members.name().to_owned(), reason });
        };
        let listed: Vec<&RawValue> = serde_json::from_slice(&bytes).map_err(|error| Error::Malformed {
            document: LIST.to_owned(),
            expected: "a list of images".to_owned(),
            got: format!("JSON with an error: {error}"),
        })?;
        let asked = listed.len() as u64;
        if asked > limits.manifests {
            return Err(Error::Limit { what: "images of one archive", limit: limits.manifests, asked });
        }
        let images = listed.into_iter().map(|image| Listed::parse(image, limits)).collect::<Result<_, _>>()?;
        Ok(Self { members, limits: limits.clone(), images, made: Mutex::default() })
    }

    /// The names of the images in the archive, in order: those of `docker tag`.
    pub fn names(&self) -> impl Iterator<Item = &[String]> {
        self.images.iter().map(|image| image.tags.as_slice())
    }

    /// Places of the images that `name` means.
    fn places(&self, name: Option<&str>) -> Result<Vec<usize>, Error> {
        let all = 0..self.images.len();
        let Some(name) = name else { return Ok(all.collect()) };
        if let Some(chosen) = name.strip_prefix('@') {
            if let Ok(place) = chosen.parse::<usize>() {
                return Ok(all.filter(|&known| known == place).collect());
            }
            let Ok(digest) = chosen.parse::<Digest>() else { return Ok(Vec::new()) };
            let mut places = Vec::new();
            for place in all {
                if self.image(place, None)?.digest() == digest {
                    places.push(place);
                }
            }
            return Ok(places);
        }
        let wanted = normal_name(name);
        let has = |place: &usize| {
            let tags = self.images.get(*place).map(|image| image.tags.as_slice()).unwrap_or_default();
            tags.iter().any(|tag| tag == name || normal_name(tag) == wanted)
        };
        Ok(all.filter(has).collect())
    }

    /// A name for each image that finds it again.
    fn found(&self) -> Vec<String> {
        let name =
            |(place, image): (usize, &Listed)| image.tags.first().cloned().unwrap_or_else(|| format!("@{place}"));
        self.images.iter().enumerate().map(name).collect()
    }

    /// The descriptor of an image, with this name or its first one. Its manifest is made if that has not been done.
    fn image(&self, place: usize, name: Option<&str>) -> Result<Descriptor, Error> {
        let Some(listed) = self.images.get(place) else { return Err(Error::Worker) };
        let known = self.made.lock().unwrap_or_else(PoisonError::into_inner).images.get(&place).cloned();
        let descriptor = match known {
            Some(known) => known,
            None => self.make(place, listed)?,
        };
        tagged(&descriptor, name.or_else(|| listed.tags.first().map(String::as_str)))
    }

    fn make(&self, place: usize, listed: &Listed) -> Result<Descriptor, Error> {
        let config = self.members.document(&listed.config, self.limits.document)?;
        let config = config.ok_or_else(|| self.missing(&listed.config))?;
        let digest = Digest::of(Algorithm::Sha256, &config);
        let in_config = format!("configuration {digest}");
        let diff_ids = config_diff_ids(&config, &in_config)?;
        if diff_ids.len() != listed.layers.len() {
            let expected = format!("{} diff IDs, as layers in `{LIST}`", listed.layers.len());
            return Err(Error::Inconsistent { document: in_config, expected, got: diff_ids.len().to_string() });
        }
        let mut members = BTreeMap::new();
        let mut layers = Vec::with_capacity(diff_ids.len());
        for (name, diff_id) in listed.layers.iter().zip(&diff_ids) {
            let found = self.members.find(name)?.ok_or_else(|| self.missing(name))?;
            let blob = self.members.blob(name, found);
            let failed = |source| Error::Layer { layer: format!("layer `{}`", name.escape_debug()), source };
            let (suffix, digest) = match packing(&blob).map_err(failed)?.1 {
                Packing::Plain => (Suffix::Plain, *diff_id.digest()),
                packing => {
                    let suffix = if packing == Packing::Gzip { Suffix::Gzip } else { Suffix::Zstd };
                    (suffix, self.hash(name, &blob, packing, diff_id)?)
                }
            };
            layers.push(Descriptor::new(PLAIN.oci(suffix), digest, found.len)?);
            members.insert(digest, (name.clone(), found));
        }
        let found = self.members.find(&listed.config)?.ok_or_else(|| self.missing(&listed.config))?;
        members.insert(digest, (listed.config.clone(), found));
        let config = Descriptor::new(CONFIG, digest, config.len() as u64)?;
        let manifest = make_manifest(&config, &layers)?;
        let descriptor = Descriptor::new(MANIFEST, Digest::of(Algorithm::Sha256, &manifest), manifest.len() as u64)?;
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        made.images.insert(place, descriptor.clone());
        made.manifests.insert(descriptor.digest(), manifest);
        made.members.extend(members);
        Ok(descriptor)
    }

    /// The digest of a compressed layer. Nothing else in the archive tells whether it is whole, so its content is compared
    /// with the diff ID.
    fn hash(&self, name: &str, blob: &Blob, packing: Packing, diff_id: &DiffId) -> Result<Digest, Error> {
        let layer = || format!("layer `{}`", name.escape_debug());
        let failed = |source| Error::Layer { layer: layer(), source: LayerError::Input { source } };
        let mut stored = HashingReader::new(blob.reader().map_err(failed)?, Hasher::sha256());
        let limit = self.limits.archive;
        let plain = packing.decompressed(&mut stored).map_err(failed)?.take(limit.saturating_add(1));
        let mut plain = HashingReader::new(plain, Hasher::new(diff_id.digest().algorithm()));
        let asked = io::copy(&mut plain, &mut io::sink()).map_err(failed)?;
        if asked > limit {
            return Err(Error::Limit { what: "unpacked bytes of a layer", limit, asked });
        }
        let content = plain.finish().1;
        Mismatch::check(diff_id.digest(), &content).map_err(|source| Error::DiffId { layer: layer(), source })?;
        io::copy(&mut stored, &mut io::sink()).map_err(failed)?;
        Ok(stored.finish().1)
    }

    fn missing(&self, member: &str) -> Error {
        self.members.wrong(member, Offset::ZERO, "a member of this name, as `manifest.json` says", "none".to_owned())
    }
}

impl Images for DockerArchive {
    fn name(&self) -> &str {
        self.members.name()
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn resolve(&self, name: Option<&str>) -> Result<Descriptor, Error> {
        let layout = self.members.name().to_owned();
        if self.images.is_empty() {
            return Err(Error::Empty { layout });
        }
        let tag = name.filter(|name| !name.starts_with('@'));
        match (self.places(name)?.as_slice(), name) {
            ([place], _) => self.image(*place, tag),
            ([], Some(name)) => Err(no_image(&layout, name, self.found())),
            (several, _) => Err(Error::ManyTags { layout, count: several.len(), found: self.found() }),
        }
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        let (digest, expected) = (descriptor.digest(), descriptor.size());
        let made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let blob = match (made.manifests.get(&digest), made.members.get(&digest)) {
            (Some(manifest), _) => {
                Blob::new(format!("{}: manifest made of {LIST}", self.members.name()), manifest.clone())
            }
            (None, Some((name, found))) => self.members.blob(name, *found),
            (None, None) => return Err(Error::NoBlob { layout: self.members.name().to_owned(), digest }),
        };
        drop(made);
        let got = blob.size().map_err(blob.failure(descriptor))?;
        if got == expected {
            return Ok(blob);
        }
        Err(Error::Mismatch { blob: digest, source: Box::new(Mismatch::Size { expected, got }) })
    }
}

impl Listed {
    fn parse(image: &RawValue, limits: &Limits) -> Result<Self, Error> {
        let image = Object::parse_value(image, LIST, KEYS)?;
        let list = |key| Ok::<Vec<String>, Error>(image.read(key, LIST, "a list of texts")?.unwrap_or_default());
        let layers = list("Layers")?;
        let asked = layers.len() as u64;
        if asked > limits.layers {
            return Err(Error::Limit { what: "layers of one image", limit: limits.layers, asked });
        }
        Ok(Self { config: image.need("Config", LIST, "a name of a member")?, tags: list("RepoTags")?, layers })
    }
}

/// Layers of an archive may be passed on: they are in it.
const PLAIN: LayerType = LayerType { distributable: true, suffix: Suffix::Plain };

/// A manifest of these parts, always with the same bytes.
pub(super) fn make_manifest(config: &Descriptor, layers: &[Descriptor]) -> Result<Vec<u8>, Error> {
    let mut manifest = Object::default();
    manifest.set("schemaVersion", &2)?;
    manifest.set("mediaType", MANIFEST)?;
    manifest.set("config", config)?;
    manifest.set("layers", layers)?;
    manifest.to_bytes()
}

/// A name as Docker completes it: `busybox` means `docker.io/library/busybox:latest`.
pub(super) fn normal_name(name: &str) -> String {
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    let name = name.strip_prefix("library/").unwrap_or(name);
    let last = name.rsplit('/').next().unwrap_or(name);
    if last.contains(':') { name.to_owned() } else { format!("{name}:latest") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_completed() {
        for (name, wanted) in [
            ("busybox", "busybox:latest"),
            ("docker.io/library/busybox", "busybox:latest"),
            ("docker.io/library/busybox:1", "busybox:1"),
            ("docker.io/me/x:1", "me/x:1"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("localhost:5000/x:1", "localhost:5000/x:1"),
        ] {
            assert_eq!(normal_name(name), wanted);
        }
    }
}
