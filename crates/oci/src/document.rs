//! Indexes, manifests and configurations, and the tree they make.
//!
//! A document has to match its descriptor: the media type in it, if there is one, is that of the descriptor, and it has the
//! fields of that type and not those of the other (CVE-2021-41190). Fields that nothing changes later are kept as they were
//! written.

use dunnage_digest::{DiffId, Digest};
use dunnage_estargz::annotations::LAYER_DIGEST_ANNOTATION;
use serde_json::value::RawValue;

use crate::{
    Descriptor, Error, Images, Platform,
    json::Object,
    media::{Document, LayerType, is_called_layer, is_config},
};

pub(crate) const INDEX_KEYS: &[&str] = HEAD_KEYS;
const HEAD_KEYS: &[&str] = &[
    "schemaVersion",
    "mediaType",
    "manifests",
    "config",
    "layers",
    "subject",
    "annotations",
    "artifactType",
    "fsLayers",
];
const CONFIG_KEYS: &[&str] = &["architecture", "os", "variant", "rootfs", "history"];
const ROOTFS_KEYS: &[&str] = &["type", "diff_ids"];

/// The document that a descriptor leads to.
#[derive(Clone, Debug)]
pub(crate) enum Node {
    Index(Index),
    Image(Box<ImageNode>),
    Other(Other),
}

/// A list of manifests, each for another platform or purpose.
#[derive(Clone, Debug)]
pub(crate) struct Index {
    pub(crate) descriptor: Descriptor,
    pub(crate) document: Object,
    pub(crate) children: Vec<Node>,
    /// Whether entries were left out because the caller selects platforms.
    pub(crate) filtered: bool,
}

/// The manifest of an image, with its configuration.
#[derive(Clone, Debug)]
pub(crate) struct ImageNode {
    pub(crate) descriptor: Descriptor,
    pub(crate) document: Object,
    pub(crate) config: Descriptor,
    pub(crate) config_document: Object,
    pub(crate) rootfs: Object,
    pub(crate) platform: Platform,
    pub(crate) layers: Vec<(Descriptor, DiffId)>,
}

/// A document that is no image: a signature, an attestation, a list of parts, or of an unknown kind.
#[derive(Clone, Debug)]
pub(crate) struct Other {
    pub(crate) descriptor: Descriptor,
    /// The blobs that it lists.
    pub(crate) blobs: Vec<Descriptor>,
}

impl Node {
    pub(crate) const fn descriptor(&self) -> &Descriptor {
        match self {
            Self::Index(index) => &index.descriptor,
            Self::Image(image) => &image.descriptor,
            Self::Other(other) => &other.descriptor,
        }
    }

    /// Hands all images to `visit`, in order.
    pub(crate) fn images<'n>(&'n self, visit: &mut dyn FnMut(&'n ImageNode)) {
        match self {
            Self::Index(index) => index.children.iter().for_each(|child| child.images(visit)),
            Self::Image(image) => visit(image),
            Self::Other(_) => {}
        }
    }

    /// Hands all documents that are no images to `visit`, in order.
    pub(crate) fn others<'n>(&'n self, visit: &mut dyn FnMut(&'n Other)) {
        match self {
            Self::Index(index) => index.children.iter().for_each(|child| child.others(visit)),
            Self::Image(_) => {}
            Self::Other(other) => visit(other),
        }
    }
}

/// Reads everything that `entry` leads to, for these platforms; for all if none is given.
///
/// # Errors
///
/// [`Error::NoPlatform`] if there is nothing for one of them; those of the documents.
pub(crate) fn read_tree(images: &dyn Images, entry: &Descriptor, platforms: &[Platform]) -> Result<Node, Error> {
    let mut reading = Reading { images, platforms, found: Vec::new(), manifests: 0, bytes: 0 };
    let root = reading.node(entry, 0)?;
    for wanted in platforms {
        if !reading.found.iter().any(|found| wanted.means(found)) {
            reading.found.sort();
            reading.found.dedup();
            return Err(Error::NoPlatform { wanted: wanted.clone(), found: reading.found });
        }
    }
    match root {
        Some(root) => Ok(root),
        // Not reached: an entry for no selected platform is the error above.
        None => Err(Error::Empty { layout: images.name().to_owned() }),
    }
}

/// The layers of an image that holds tables of contents: none if it is of another sort.
pub(crate) fn toc_image(images: &dyn Images, entry: &Descriptor) -> Result<Vec<Descriptor>, Error> {
    let mut reading = Reading { images, platforms: &[], found: Vec::new(), manifests: 0, bytes: 0 };
    match reading.node(entry, 0)? {
        Some(Node::Other(other)) => Ok(other.blobs),
        _ => Ok(Vec::new()),
    }
}

struct Reading<'r> {
    images: &'r dyn Images,
    platforms: &'r [Platform],
    /// Platforms that images were found for, wanted or not.
    found: Vec<Platform>,
    manifests: u64,
    bytes: u64,
}

impl Reading<'_> {
    /// Whether the caller selects images for this platform.
    fn wanted(&mut self, platform: &Platform) -> bool {
        self.found.push(platform.clone());
        self.platforms.is_empty() || self.platforms.iter().any(|wanted| wanted.means(platform))
    }

    /// The document that `descriptor` leads to; `None` if it is for a platform that the caller does not select.
    fn node(&mut self, descriptor: &Descriptor, depth: u64) -> Result<Option<Node>, Error> {
        let limits = self.images.limits();
        over("manifests of one image", limits.manifests, bump(&mut self.manifests, 1))?;
        over("indexes inside each other", limits.depth, depth)?;
        let document = descriptor.digest().to_string();
        match Document::of(descriptor.media_type()) {
            Document::Index => self.index(descriptor, &document, depth),
            Document::Manifest => self.manifest(descriptor, &document),
            Document::Old => {
                let got = descriptor.media_type().to_owned();
                Err(Error::Unsupported { document, what: "media type", got })
            }
            Document::Other => Ok(Some(Node::Other(Other { descriptor: descriptor.clone(), blobs: Vec::new() }))),
        }
    }

    fn read(&mut self, descriptor: &Descriptor) -> Result<Vec<u8>, Error> {
        let total = bump(&mut self.bytes, descriptor.size());
        let bytes = self.images.document(descriptor)?;
        over("bytes of all documents of one image", self.images.limits().documents, total)?;
        Ok(bytes)
    }

    fn index(&mut self, descriptor: &Descriptor, name: &str, depth: u64) -> Result<Option<Node>, Error> {
        let document = Object::parse(&self.read(descriptor)?, name, HEAD_KEYS)?;
        check_head(&document, name, descriptor.media_type(), Document::Index)?;
        let listed = descriptors(&document, "manifests", name)?;
        let count = listed.len();
        let mut children = Vec::new();
        // An attestation is kept if the image that it is about is.
        let mut about = Vec::new();
        for child in listed {
            let is_image = child.annotation(REFERENCE_TYPE).is_none();
            if let Some(platform) = child.platform().filter(|_| is_image)
                && !platform.os.is_empty()
                && !self.wanted(platform)
            {
                continue;
            }
            if is_image {
                children.extend(self.node(&child, depth.saturating_add(1))?);
            } else {
                about.push((children.len(), child));
            }
        }
        let mut inserted = 0_usize;
        for (at, child) in about {
            let of = child.annotation(REFERENCE_DIGEST).unwrap_or_default();
            let is_kept = children.iter().any(|kept: &Node| kept.descriptor().digest().to_string() == of);
            if self.platforms.is_empty() || is_kept {
                let other = self.other(&child)?;
                children.insert(at.saturating_add(inserted).min(children.len()), Node::Other(other));
                inserted = inserted.saturating_add(1);
            }
        }
        let filtered = children.len() != count;
        if filtered && children.is_empty() {
            return Ok(None);
        }
        Ok(Some(Node::Index(Index { descriptor: descriptor.clone(), document, children, filtered })))
    }

    fn manifest(&mut self, descriptor: &Descriptor, name: &str) -> Result<Option<Node>, Error> {
        let document = Object::parse(&self.read(descriptor)?, name, HEAD_KEYS)?;
        check_head(&document, name, descriptor.media_type(), Document::Manifest)?;
        let config: &RawValue = document.need("config", name, "a descriptor")?;
        let config = Descriptor::parse(config, name)?;
        let layers = descriptors(&document, "layers", name)?;
        over("layers of one manifest", self.images.limits().layers, layers.len() as u64)?;
        if !is_image(&config, &layers) {
            let blobs = std::iter::once(config).chain(layers).collect();
            return Ok(Some(Node::Other(Other { descriptor: descriptor.clone(), blobs })));
        }
        for layer in &layers {
            if LayerType::parse(layer.media_type()).is_none() {
                let got = layer.media_type().to_owned();
                return Err(Error::Unsupported { document: name.to_owned(), what: "media type of a layer", got });
            }
        }
        let in_config = format!("configuration {}", config.digest());
        let config_document = Object::parse(&self.read(&config)?, &in_config, CONFIG_KEYS)?;
        let text = |key| Ok::<String, Error>(config_document.read(key, &in_config, "a text")?.unwrap_or_default());
        let platform = Platform { os: text("os")?, architecture: text("architecture")?, variant: text("variant")? };
        // The index has decided already, if it named a platform.
        if descriptor.platform().is_none_or(|platform| platform.os.is_empty()) && !self.wanted(&platform) {
            return Ok(None);
        }
        let platform = descriptor.platform().filter(|platform| !platform.os.is_empty()).cloned().unwrap_or(platform);
        let (rootfs, diff_ids) = diff_ids(&config_document, &in_config)?;
        let counted = |what: &str, expected: usize, got: usize| Error::Inconsistent {
            document: in_config.clone(),
            expected: format!("{expected} {what}, as layers in manifest {name}"),
            got: got.to_string(),
        };
        if diff_ids.len() != layers.len() {
            return Err(counted("diff IDs", layers.len(), diff_ids.len()));
        }
        if let Some(got) = history_layers(&config_document, &in_config)?
            && got != layers.len()
        {
            return Err(counted("entries of its history that are layers", layers.len(), got));
        }
        let layers = layers.into_iter().zip(diff_ids).collect();
        let descriptor = descriptor.clone();
        let image = ImageNode { descriptor, document, config, config_document, rootfs, platform, layers };
        Ok(Some(Node::Image(Box::new(image))))
    }

    /// A manifest that is known to be no image.
    fn other(&mut self, descriptor: &Descriptor) -> Result<Other, Error> {
        over("manifests of one image", self.images.limits().manifests, bump(&mut self.manifests, 1))?;
        let name = descriptor.digest().to_string();
        let mut blobs = Vec::new();
        if Document::of(descriptor.media_type()) == Document::Manifest {
            let document = Object::parse(&self.read(descriptor)?, &name, HEAD_KEYS)?;
            check_head(&document, &name, descriptor.media_type(), Document::Manifest)?;
            let config: &RawValue = document.need("config", &name, "a descriptor")?;
            blobs.push(Descriptor::parse(config, &name)?);
            blobs.extend(descriptors(&document, "layers", &name)?);
        }
        Ok(Other { descriptor: descriptor.clone(), blobs })
    }
}

/// Annotation by which an index says that an entry is about another one, and which.
const REFERENCE_TYPE: &str = "vnd.docker.reference.type";
const REFERENCE_DIGEST: &str = "vnd.docker.reference.digest";

/// Whether a manifest is that of a file system to run. Other documents borrow the form: their configuration is of another
/// type, or none of their blobs is called a layer, or the layers are tables of contents.
fn is_image(config: &Descriptor, layers: &[Descriptor]) -> bool {
    is_config(config.media_type())
        && (layers.is_empty() || layers.iter().any(|layer| is_called_layer(layer.media_type())))
        && !layers.iter().any(|layer| layer.annotation(LAYER_DIGEST_ANNOTATION).is_some())
}

/// Checks that the document has the version, the media type and the fields that its descriptor implies.
pub(crate) fn check_head(document: &Object, name: &str, media_type: &str, kind: Document) -> Result<(), Error> {
    let wrong = |expected: &str, got: String| {
        Err(Error::Malformed { document: name.to_owned(), expected: expected.to_owned(), got })
    };
    let version: u64 = document.need("schemaVersion", name, "a number")?;
    if version != 2 {
        return wrong("schema version 2", version.to_string());
    }
    if let Some(got) = document.read::<String>("mediaType", name, "a text")?
        && got != media_type
    {
        return wrong(
            &format!("media type `{media_type}`, as its descriptor says"),
            format!("`{}`", got.escape_debug()),
        );
    }
    let (what, foreign): (_, &[&str]) = match kind {
        Document::Index => ("an index", &["config", "layers", "fsLayers"]),
        _ => ("a manifest", &["manifests", "fsLayers"]),
    };
    match foreign.iter().find(|key| document.has(key)) {
        Some(key) => wrong(what, format!("a document with `{key}`")),
        None => Ok(()),
    }
}

fn descriptors(document: &Object, key: &str, name: &str) -> Result<Vec<Descriptor>, Error> {
    let listed: Vec<&RawValue> = document.need(key, name, "a list of descriptors")?;
    listed.into_iter().map(|descriptor| Descriptor::parse(descriptor, name)).collect()
}

fn diff_ids(config: &Object, name: &str) -> Result<(Object, Vec<DiffId>), Error> {
    let rootfs: &RawValue = config.need("rootfs", name, "an object")?;
    let rootfs = Object::parse_value(rootfs, name, ROOTFS_KEYS)?;
    let sort: String = rootfs.need("type", name, "a text")?;
    if sort != "layers" {
        return Err(Error::Unsupported { document: name.to_owned(), what: "type of root file system", got: sort });
    }
    // Some builders write null for an image without layers.
    let texts: Vec<String> = rootfs.read("diff_ids", name, "a list of digests")?.unwrap_or_default();
    let parse = |text: String| {
        let digest = Digest::parse_oci(&text).map_err(|error| Error::Malformed {
            document: name.to_owned(),
            expected: format!("a diff ID ({error})"),
            got: format!("`{}`", text.escape_debug()),
        });
        digest.map(DiffId::new)
    };
    let diff_ids = texts.into_iter().map(parse).collect::<Result<_, _>>()?;
    Ok((rootfs, diff_ids))
}

/// The diff IDs in the bytes of a configuration.
pub(crate) fn config_diff_ids(bytes: &[u8], name: &str) -> Result<Vec<DiffId>, Error> {
    Ok(diff_ids(&Object::parse(bytes, name, CONFIG_KEYS)?, name)?.1)
}

/// The number of layers in the history; `None` if there is no history.
fn history_layers(config: &Object, name: &str) -> Result<Option<usize>, Error> {
    #[derive(serde::Deserialize)]
    struct Step {
        #[serde(default)]
        empty_layer: Option<bool>,
    }
    let history: Option<Vec<Step>> = config.read("history", name, "a list of steps")?;
    let history = history.filter(|history| !history.is_empty());
    Ok(history.map(|history| history.iter().filter(|step| step.empty_layer != Some(true)).count()))
}

fn over(what: &'static str, limit: u64, asked: u64) -> Result<(), Error> {
    if asked > limit { Err(Error::Limit { what, limit, asked }) } else { Ok(()) }
}

/// Adds, and returns the sum.
fn bump(counter: &mut u64, more: u64) -> u64 {
    *counter = counter.saturating_add(more);
    *counter
}
