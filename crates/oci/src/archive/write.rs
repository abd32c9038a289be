//! Writing archives: blobs are gathered, and the file is written at the end, whole or not at all.

use std::{
    collections::BTreeSet,
    fs::File,
    io::{self, BufWriter, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

use dunnage_digest::{Algorithm, DiffId, Digest, VerifyingReader};
use dunnage_tree::{
    Mtime, NewFile, SameName, name_of,
    tar::{END, EntryType, Header, encode_header, padding},
};
use serde::Serialize;

use super::{
    docker::{make_manifest, normal_name},
    store::Store,
};
use crate::{
    Blob, Contents, Descriptor, Destination, Error, Image, Images, LayerForm, Limits, NewBlob, SameTag, Store as Kind,
    document::{Node, read_tree},
    layout::{blob_path, choose_tag, layout_marker, new_index, tagged},
    media::{CONFIG, LayerType, MANIFEST, Suffix},
};

/// A new archive with one image, or several: a tar of an OCI layout, or a tar for `docker load`.
///
/// Use it as the [`Destination`] of a [`Conversion`](crate::Conversion) or [`Copying`](crate::Copying). The archive appears
/// under its name when all of it is on disk. Until then blobs are files without a name in the same folder, so the folder needs
/// room for the images twice. A new archive replaces the old file as a whole: images in it are not kept.
///
/// The same images give the same bytes: members are in a fixed order, and have no time and no owner.
#[derive(Debug)]
pub struct ArchiveWriter {
    kind: Kind,
    name: String,
    path: PathBuf,
    limits: Limits,
    dir: OwnedFd,
    store: Store,
}

impl ArchiveWriter {
    /// Begins an archive that will be the file `path`. Nothing appears there before it is finished.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] if the folder of `path` cannot be opened; [`Error::Misuse`] for a path without a file name, and for a
    /// kind that is no archive.
    pub fn create(kind: Kind, path: &Path, limits: &Limits) -> Result<Self, Error> {
        let name = path.display().to_string();
        if kind == Kind::Layout {
            return Err(Error::Misuse(format!("`{name}`: a layout is a directory, and no archive")));
        }
        name_of(path).map_err(|error| Error::Misuse(format!("`{name}`: {error}")))?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let open = File::open(parent).map(OwnedFd::from);
        let dir = open.map_err(|source| Error::Io { action: "open", path: parent.display().to_string(), source })?;
        let copy = dir.try_clone().map_err(|source| Error::Io { action: "open", path: name.clone(), source })?;
        let store = Store::new(name.clone(), copy);
        Ok(Self { kind, name, path: path.to_owned(), limits: limits.clone(), dir, store })
    }

    fn failed(&self, action: &'static str) -> impl Fn(io::Error) -> Error + use<> {
        let path = self.name.clone();
        move |source| Error::Io { action, path: path.clone(), source }
    }

    /// Writes the whole file by `write`, and gives it its name.
    fn write(&self, same_tag: SameTag, write: impl FnOnce(&mut Out<'_>) -> Result<(), Error>) -> Result<(), Error> {
        let file = NewFile::create_in(self.dir.as_fd(), 0o666).map_err(self.failed("create"))?;
        let mut out = Out { writer: self, sink: BufWriter::with_capacity(1 << 20, file), header: Vec::new() };
        write(&mut out)?;
        let mut sink = out.sink;
        sink.write_all(&END).map_err(self.failed("write"))?;
        let file = sink.into_inner().map_err(|error| self.failed("write")(error.into_error()))?;
        let same_name = match same_tag {
            SameTag::Replace => SameName::Replace,
            SameTag::Refuse => SameName::Keep,
        };
        let name = name_of(&self.path).map_err(self.failed("name"))?;
        file.commit(name, same_name).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Error::Exists { path: self.name.clone() },
            _ => self.failed("write")(error),
        })
    }

    fn stored(&self, digest: &Digest) -> Result<(Blob, u64), Error> {
        self.store.get(digest).ok_or_else(|| Error::NoBlob { layout: self.name.clone(), digest: *digest })
    }

    /// The blobs that these images consist of. Layers that are allowed to be somewhere else may be missing.
    fn reachable(&self, images: &[Descriptor]) -> Result<BTreeSet<Digest>, Error> {
        let mut blobs = BTreeSet::new();
        for image in images {
            let root = read_tree(self, image, &[])?;
            gather(&root, &mut |descriptor| {
                blobs.insert(descriptor.digest());
            });
        }
        blobs.retain(|digest| self.store.get(digest).is_some());
        Ok(blobs)
    }

    fn finish_oci(&self, images: &[Descriptor], same_tag: SameTag) -> Result<Vec<Descriptor>, Error> {
        let blobs = self.reachable(images)?;
        let mut index = new_index()?;
        index.set("manifests", images)?;
        let (marker, index) = (layout_marker()?, index.to_bytes()?);
        self.write(same_tag, |out| {
            out.document("oci-layout", &marker)?;
            out.document("index.json", &index)?;
            out.directory("blobs/")?;
            let mut last = None;
            for digest in &blobs {
                let algorithm = digest.algorithm();
                if last.replace(algorithm) != Some(algorithm) {
                    out.directory(&format!("blobs/{}/", algorithm.name()))?;
                }
                let (blob, size) = self.stored(digest)?;
                out.blob(&blob_path(digest), &blob, digest, size)?;
            }
            Ok(())
        })?;
        Ok(images.to_vec())
    }

    fn finish_docker(&self, images: &[Descriptor], same_tag: SameTag) -> Result<Vec<Descriptor>, Error> {
        let mut list: Vec<DockerEntry> = Vec::new();
        let (mut configs, mut layers) = (BTreeSet::new(), BTreeSet::new());
        let mut written = Vec::new();
        for entry in images {
            let contents = Contents::of(self, entry.clone(), &[])?;
            let image = self.only(&contents)?;
            let mut members = Vec::with_capacity(image.layers.len());
            let mut descriptors = Vec::with_capacity(image.layers.len());
            for layer in &image.layers {
                let digest = self.plain(&layer.descriptor, &layer.diff_id, &layer.name)?;
                members.push(format!("{}.tar", digest.to_hex()));
                let kind = LayerType { distributable: true, suffix: Suffix::Plain };
                descriptors.push(Descriptor::new(kind.oci(Suffix::Plain), digest, layer.descriptor.size())?);
                layers.insert(digest);
            }
            let config = image.config.digest();
            configs.insert(config);
            let tags = entry.tag().map(str::to_owned).into_iter().collect();
            list.push(DockerEntry { config: format!("{}.json", config.to_hex()), repo_tags: tags, layers: members });
            let config = Descriptor::new(CONFIG, config, image.config.size())?;
            let manifest = make_manifest(&config, &descriptors)?;
            let digest = Digest::of(Algorithm::Sha256, &manifest);
            written.push(tagged(&Descriptor::new(MANIFEST, digest, manifest.len() as u64)?, entry.tag())?);
        }
        let list = serde_json::to_vec(&list)
            .map_err(|error| Error::Misuse(format!("`manifest.json` cannot be written: {error}")))?;
        self.write(same_tag, |out| {
            out.document("manifest.json", &list)?;
            for (digests, end) in [(&configs, "json"), (&layers, "tar")] {
                for digest in digests {
                    let (blob, size) = self.stored(digest)?;
                    out.blob(&format!("{}.{end}", digest.to_hex()), &blob, digest, size)?;
                }
            }
            Ok(())
        })?;
        Ok(written)
    }

    fn only<'c>(&self, contents: &'c Contents) -> Result<&'c Image, Error> {
        match contents.images.as_slice() {
            [image] => Ok(image),
            images => {
                let platforms: Vec<String> = images.iter().map(|image| image.platform.to_string()).collect();
                let message = format!(
                    "`{}` holds an image for one platform, and there are {}: {}",
                    self.name,
                    images.len(),
                    platforms.join(", ")
                );
                Err(Error::Misuse(message))
            }
        }
    }

    /// The digest of a layer that is a plain tar, and so its diff ID.
    fn plain(&self, descriptor: &Descriptor, diff_id: &DiffId, layer: &str) -> Result<Digest, Error> {
        let (digest, media_type) = (descriptor.digest(), descriptor.media_type());
        let is_plain = LayerType::parse(media_type).is_some_and(|kind| kind.suffix == Suffix::Plain);
        if is_plain && digest == *diff_id.digest() {
            return Ok(digest);
        }
        let expected = format!("a plain tar with the diff ID {diff_id}");
        Err(Error::Inconsistent { document: layer.to_owned(), expected, got: format!("{media_type} {digest}") })
    }
}

/// An image in `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerEntry {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

/// A tar that is being written.
struct Out<'w> {
    writer: &'w ArchiveWriter,
    sink: BufWriter<NewFile>,
    header: Vec<u8>,
}

impl Out<'_> {
    fn header(&mut self, name: &str, entry: EntryType, mode: i64, size: u64) -> Result<(), Error> {
        let mtime = Some(Mtime { secs: 0, nanos: 0 });
        let header = Header { name: name.into(), entry, mode, size, mtime, ..Header::default() };
        self.header.clear();
        encode_header(&header, &mut self.header)
            .map_err(|source| Error::Tar { path: self.writer.name.clone(), source })?;
        self.sink.write_all(&self.header).map_err(self.writer.failed("write"))
    }

    fn directory(&mut self, name: &str) -> Result<(), Error> {
        self.header(name, EntryType::Directory, 0o755, 0)
    }

    fn document(&mut self, name: &str, bytes: &[u8]) -> Result<(), Error> {
        let size = bytes.len() as u64;
        self.header(name, EntryType::File, 0o644, size)?;
        self.sink.write_all(bytes).map_err(self.writer.failed("write"))?;
        self.pad(size)
    }

    /// Compares the blob once more: a file without a name may lie on a disk that fails.
    fn blob(&mut self, name: &str, blob: &Blob, digest: &Digest, size: u64) -> Result<(), Error> {
        self.header(name, EntryType::File, 0o644, size)?;
        let failed = |source| crate::images::read_failed(*digest, blob.place(), source);
        let mut from = VerifyingReader::new(blob.reader().map_err(failed)?, *digest, size);
        let mut block = vec![0; 1 << 20];
        loop {
            let len = io::Read::read(&mut from, &mut block).map_err(failed)?;
            if len == 0 {
                return self.pad(size);
            }
            self.sink.write_all(block.get(..len).unwrap_or_default()).map_err(self.writer.failed("write"))?;
        }
    }

    fn pad(&mut self, size: u64) -> Result<(), Error> {
        let zeros = END.get(..usize::try_from(padding(size)).unwrap_or(0)).unwrap_or_default();
        self.sink.write_all(zeros).map_err(self.writer.failed("write"))
    }
}

impl Destination for ArchiveWriter {
    fn name(&self) -> &str {
        &self.name
    }

    fn layers(&self) -> LayerForm {
        match self.kind {
            Kind::DockerArchive => LayerForm::PlainTars,
            _ => LayerForm::Any,
        }
    }

    /// In an archive for Docker, a given name is completed as Docker does, and an inherited one is kept if it is complete.
    fn choose_name(&self, given: Option<&str>, inherited: Option<&str>) -> Result<Option<String>, Error> {
        if self.kind != Kind::DockerArchive {
            return choose_tag(given, inherited);
        }
        match given {
            Some(name) => {
                let name = normal_name(name);
                if is_docker_name(&name) {
                    return Ok(Some(name));
                }
                let expected = "a name for Docker is REPOSITORY[:TAG], with a repository in lower case";
                Err(Error::Misuse(format!("{expected}, got `{}`", name.escape_debug())))
            }
            None => Ok(inherited.filter(|name| normal_name(name) == *name && is_docker_name(name)).map(str::to_owned)),
        }
    }

    /// Whether there is a file already: it is one archive, whatever the names in it.
    fn has_name(&self, _: &str) -> Result<bool, Error> {
        match self.path.symlink_metadata() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(self.failed("read")(error)),
        }
    }

    fn has_blob(&self, digest: &Digest, size: u64) -> Result<bool, Error> {
        Ok(self.store.get(digest).is_some_and(|(_, stored)| stored == size))
    }

    fn begin(&self, _: Algorithm) -> Result<Box<dyn NewBlob + '_>, Error> {
        Ok(Box::new(self.store.begin()))
    }

    fn finish(&self, images: &[Descriptor], same_tag: SameTag) -> Result<Vec<Descriptor>, Error> {
        match self.kind {
            Kind::DockerArchive => self.finish_docker(images, same_tag),
            _ => self.finish_oci(images, same_tag),
        }
    }
}

/// The blobs that were gathered, so that the documents of the images can be read back.
impl Images for ArchiveWriter {
    fn name(&self) -> &str {
        &self.name
    }

    fn limits(&self) -> &Limits {
        &self.limits
    }

    fn resolve(&self, _: Option<&str>) -> Result<Descriptor, Error> {
        Err(Error::Empty { layout: self.name.clone() })
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Blob, Error> {
        self.stored(&descriptor.digest()).map(|(blob, _)| blob)
    }
}

fn gather(node: &Node, visit: &mut dyn FnMut(&Descriptor)) {
    visit(node.descriptor());
    match node {
        Node::Index(index) => index.children.iter().for_each(|child| gather(child, visit)),
        Node::Image(image) => {
            visit(&image.config);
            image.layers.iter().for_each(|(layer, _)| visit(layer));
        }
        Node::Other(other) => other.blobs.iter().for_each(visit),
    }
}

/// `REPOSITORY:TAG` as Docker takes it: components of lower-case letters and digits joined by `._-`, a host with a port
/// before them, and a tag of letters, digits and `._-`.
fn is_docker_name(name: &str) -> bool {
    let Some((repository, tag)) = name.rsplit_once(':') else { return false };
    let word = |text: &str, joints: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        ends(text.chars().next())
            && ends(text.chars().next_back())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || joints.contains(c))
    };
    let is_repository = repository.len() <= 255
        && repository.split('/').enumerate().all(|(at, part)| word(part, if at == 0 { "._-:" } else { "._-" }));
    let starts = tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_');
    is_repository && starts && tag.len() <= 128 && tag.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_for_docker_are_checked() {
        for (name, wanted) in [
            ("busybox:latest", true),
            ("localhost:5000/me/x_y:1.0-a", true),
            ("busybox", false),
            ("Busybox:1", false),
            ("a//b:1", false),
            ("a:-1", false),
            ("../a:1", false),
            ("a:1\n", false),
        ] {
            assert_eq!(is_docker_name(name), wanted, "{name}");
        }
    }
}
