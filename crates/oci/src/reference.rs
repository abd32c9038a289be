//! References to images, as people write them: `oci:DIR:TAG`, `docker-archive:FILE:NAME`.
//!
//! | form                                    | the image                                                    |
//! |-----------------------------------------|--------------------------------------------------------------|
//! | `oci:DIR`                               | the only one in the layout DIR                               |
//! | `oci:DIR:TAG`                           | the one with that tag                                        |
//! | `oci:DIR@sha256:HEX`                    | the one whose document has that digest                       |
//! | `oci:DIR:@N`                            | the one in place N of the index, counted from 0              |
//! | `oci-archive:FILE`, and the same names  | one in a tar of a layout                                     |
//! | `docker-archive:FILE`, and the same     | one in an archive as `docker save` writes it; TAG is a repository with its tag |
//!
//! Paths and tags may both contain colons. So if the whole text after the prefix exists, it is the path. Otherwise the path
//! ends at the last colon before which something exists, and if nothing exists, at the first colon.

use std::{
    ffi::OsStr,
    fmt,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use dunnage_digest::Digest;

use crate::{ArchiveWriter, Destination, DockerArchive, Error, Images, Layout, Limits, OciArchive};

/// Where an image is, and which one of the images there.
///
/// Use it where a person names an image. [`open`](Self::open) and [`create`](Self::create) lead to the place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "callers make references of their own")]
pub struct Reference {
    /// The kind of place.
    pub store: Store,
    /// The directory or file.
    pub path: PathBuf,
    /// The name of the image there, as [`Images::resolve`](crate::Images::resolve) takes it.
    pub name: Option<String>,
}

/// The kinds of places that a [`Reference`] can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Store {
    /// A directory with an OCI image layout: [`Layout`](crate::Layout).
    Layout,
    /// A tar of an OCI image layout: [`OciArchive`](crate::OciArchive).
    OciArchive,
    /// A tar with `manifest.json`: [`DockerArchive`](crate::DockerArchive).
    DockerArchive,
}

impl Store {
    /// All kinds, for help texts and tests.
    pub const ALL: &'static [Self] = &[Self::Layout, Self::OciArchive, Self::DockerArchive];

    /// The word before the colon of a reference.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Layout => "oci",
            Self::OciArchive => "oci-archive",
            Self::DockerArchive => "docker-archive",
        }
    }

    /// The reference in words, for usage messages: `oci:DIR[:TAG]`.
    #[must_use]
    pub const fn usage(self) -> &'static str {
        match self {
            Self::Layout => "oci:DIR[:TAG]",
            Self::OciArchive => "oci-archive:FILE[:TAG]",
            Self::DockerArchive => "docker-archive:FILE[:NAME]",
        }
    }
}

impl Reference {
    /// Reads a reference. `None` if the text does not begin with one of the prefixes, so that it is a path and no more.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a reference without a path, with an empty name, or with two names.
    pub fn parse(text: &OsStr) -> Result<Option<Self>, Error> {
        let bytes = text.as_bytes();
        let rest = |store: &&Store| bytes.strip_prefix(store.prefix().as_bytes())?.strip_prefix(b":");
        let Some((store, rest)) = Store::ALL.iter().find_map(|store| Some((*store, rest(&store)?))) else {
            return Ok(None);
        };
        let wrong = |problem: &str| {
            let text = text.to_string_lossy();
            Err(Error::Misuse(format!("`{}` {problem}: write {}", text.escape_debug(), store.usage())))
        };
        if rest.is_empty() {
            return wrong("names no path");
        }
        if as_path(rest).exists() {
            return Ok(Some(Self { store, path: as_path(rest).to_owned(), name: None }));
        }
        // A digest ends the text. It has a colon of its own, so it comes off first.
        let at = rest.iter().rposition(|&byte| byte == b'@');
        let digest = at.and_then(|at| rest.get(at.saturating_add(1)..)).and_then(|text| str::from_utf8(text).ok());
        if let (Some(at), Some(digest)) = (at, digest)
            && digest.parse::<Digest>().is_ok()
        {
            let path = rest.get(..at).unwrap_or_default();
            let path = path.strip_suffix(b":").unwrap_or(path);
            if path.is_empty() {
                return wrong("names no path");
            }
            if !as_path(path).exists() && split(path).is_some_and(|(path, _)| as_path(path).exists()) {
                return wrong("has a tag and a digest, and one is enough");
            }
            return Ok(Some(Self { store, path: as_path(path).to_owned(), name: Some(format!("@{digest}")) }));
        }
        let Some((path, name)) = split(rest) else {
            return Ok(Some(Self { store, path: as_path(rest).to_owned(), name: None }));
        };
        match str::from_utf8(name) {
            Ok("") => wrong("has no tag after its colon"),
            Ok(name) => Ok(Some(Self { store, path: as_path(path).to_owned(), name: Some(name.to_owned()) })),
            Err(_) => wrong("has a tag that is not UTF-8"),
        }
    }

    /// Opens the place for reading.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::open`], [`OciArchive::open`] and [`DockerArchive::open`].
    pub fn open(&self, limits: &Limits) -> Result<Arc<dyn Images>, Error> {
        Ok(match self.store {
            Store::Layout => Arc::new(Layout::open(&self.path, limits)?),
            Store::OciArchive => Arc::new(OciArchive::open(&self.path, limits)?),
            Store::DockerArchive => Arc::new(DockerArchive::open(&self.path, limits)?),
        })
    }

    /// Opens the place for writing. A layout is made if there is none; an archive is made anew.
    ///
    /// # Errors
    ///
    /// Those of [`Layout::create`] and [`ArchiveWriter::create`].
    pub fn create(&self, limits: &Limits) -> Result<Arc<dyn Destination>, Error> {
        Ok(match self.store {
            Store::Layout => Arc::new(Layout::create(&self.path, limits)?),
            archive => Arc::new(ArchiveWriter::create(archive, &self.path, limits)?),
        })
    }

    /// The reference to a place without a name: the only image there.
    #[must_use]
    pub fn to(store: Store, path: &Path) -> Self {
        Self { store, path: path.to_owned(), name: None }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.store.prefix(), self.path.display())?;
        self.name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
    }
}

/// Path and name: split at the last colon before which something exists, or else at the first colon.
fn split(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colons = || text.iter().enumerate().filter(|&(at, byte)| *byte == b':' && at > 0).map(|(at, _)| at);
    let exists = |at: &usize| text.get(..*at).is_some_and(|path| as_path(path).exists());
    let at = colons().rev().find(exists).or_else(|| colons().next())?;
    Some((text.get(..at)?, text.get(at.saturating_add(1)..)?))
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

    #[test]
    fn paths_and_names_are_told_apart() {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().to_str().unwrap();
        for dir in ["a", "a:b", "a:b:c", "at@0", "d@sha256:x"] {
            std::fs::create_dir(temp.path().join(dir)).unwrap();
        }
        let digest = format!("@sha256:{HEX}");
        for (text, path, name) in [
            ("a", "a", None),
            ("a:b", "a:b", None),
            ("a:x", "a", Some("x")),
            ("a:b:x", "a:b", Some("x")),
            ("a:b:c:x", "a:b:c", Some("x")),
            ("a:x:y", "a", Some("x:y")),
            ("a:host.example/x:1.0", "a", Some("host.example/x:1.0")),
            ("new", "new", None),
            ("new:x", "new", Some("x")),
            ("new:x:y", "new", Some("x:y")),
            ("a:@0", "a", Some("@0")),
            ("at@0", "at@0", None),
            ("at@0:@1", "at@0", Some("@1")),
            ("d@sha256:x", "d@sha256:x", None),
            (&format!("a{digest}"), "a", Some(&*digest)),
            (&format!("a:{digest}"), "a", Some(&*digest)),
            (&format!("a:b{digest}"), "a:b", Some(&*digest)),
            (&format!("new{digest}"), "new", Some(&*digest)),
        ] {
            for store in Store::ALL {
                let parsed = Reference::parse(OsStr::new(&format!("{}:{root}/{text}", store.prefix()))).unwrap();
                let wanted = Reference { store: *store, path: temp.path().join(path), name: name.map(str::to_owned) };
                assert_eq!(parsed, Some(wanted.clone()), "{text}");
                assert_eq!(Reference::parse(OsStr::new(&wanted.to_string())).unwrap(), Some(wanted), "{text}");
            }
        }
        for plain in ["./oci:a", "ocid:a", "a", "-", "docker:a"] {
            assert_eq!(Reference::parse(OsStr::new(plain)).unwrap(), None, "{plain}");
        }
        for (bad, wanted) in [
            ("oci:".to_owned(), "`oci:` names no path: write oci:DIR[:TAG]"),
            (
                "docker-archive:x:".to_owned(),
                "`docker-archive:x:` has no tag after its colon: write docker-archive:FILE[:NAME]",
            ),
            (format!("oci-archive:{digest}"), "`oci-archive:DIGEST` names no path: write oci-archive:FILE[:TAG]"),
            (
                format!("oci:{root}/a:x{digest}"),
                "`oci:ROOT/a:xDIGEST` has a tag and a digest, and one is enough: write oci:DIR[:TAG]",
            ),
        ] {
            let wanted = wanted.replace("DIGEST", &digest).replace("ROOT", root);
            assert_eq!(Reference::parse(OsStr::new(&bad)).unwrap_err().to_string(), wanted);
        }
    }
}
