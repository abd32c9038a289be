//! Claims of a layer's descriptor about its TOC.
//!
//! | family              | digest of the TOC                                          | of                     |
//! |---------------------|------------------------------------------------------------|------------------------|
//! | containerd          | `containerd.io/snapshot/stargz/toc.digest`                 | the document           |
//! | containers/storage  | `io.github.containers.zstd-chunked.manifest-checksum`      | its stored bytes       |
//!
//! A layer with both is refused, as containers/storage refuses it: two readers would see two layers.
//! Specification: eStargz, sections 2.3 and 9.

use dunnage_digest::{Digest, ReadAt};

use super::Verifiers;
use crate::{
    Error, Reader,
    annotations::{
        STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION, TOC_DIGEST_ANNOTATION,
    },
    footer::Format,
};

/// The claims of a descriptor's annotations about a TOC. Use it to compare a layer with the manifest that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AnnotatedToc {
    /// Digest of the TOC.
    pub digest: Digest,
    /// Whether it is a TOC of containers/storage.
    pub is_storage: bool,
    /// Where such a TOC is: offset, length, length uncompressed.
    pub position: Option<[u64; 3]>,
    /// Where its tar headers are: the same.
    pub tar_split: Option<[u64; 3]>,
}

impl AnnotatedToc {
    /// Reads the annotations of a descriptor, of which `get` gives one by its name; `None` if they name no TOC.
    ///
    /// # Errors
    ///
    /// [`Error::Annotation`] for annotations of both families, and for those that cannot be read.
    pub fn from_annotations<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Result<Option<Self>, Error> {
        let digest = |name: &'static str| match get(name) {
            None => Ok(None),
            Some(text) => Digest::parse_oci(text)
                .map(Some)
                .map_err(|problem| Error::Annotation { name, reason: problem.to_string() }),
        };
        let position = |name: &'static str, parts: usize| get(name).map(|text| numbers(name, text, parts)).transpose();
        let (document, stored) = (digest(TOC_DIGEST_ANNOTATION)?, digest(STORAGE_CHECKSUM_ANNOTATION)?);
        match (document, stored) {
            (Some(_), Some(_)) => Err(Error::Annotation {
                name: STORAGE_CHECKSUM_ANNOTATION,
                reason: format!("there is `{TOC_DIGEST_ANNOTATION}` as well, and a layer has one TOC"),
            }),
            (None, None) => Ok(None),
            (Some(digest), None) => Ok(Some(Self { digest, is_storage: false, position: None, tar_split: None })),
            (None, Some(digest)) => Ok(Some(Self {
                digest,
                is_storage: true,
                position: position(STORAGE_POSITION_ANNOTATION, 4)?,
                tar_split: position(STORAGE_TAR_SPLIT_ANNOTATION, 3)?,
            })),
        }
    }
}

/// Three numbers between colons, and the kind of TOC where there are four.
fn numbers(name: &'static str, text: &str, parts: usize) -> Result<[u64; 3], Error> {
    let refuse = || {
        let kind = if parts == 4 { ":1" } else { "" };
        let reason = format!("expected `<offset>:<length>:<length uncompressed>{kind}`, got `{text}`");
        Error::Annotation { name, reason }
    };
    // No sign, no spaces: digits are all there may be.
    let number = |text: &str| text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    let numbers: Option<Vec<u64>> = text.split(':').map(number).collect();
    match numbers.as_deref() {
        Some(&[at, len, plain_len]) if parts == 3 => Ok([at, len, plain_len]),
        Some(&[at, len, plain_len, 1]) if parts == 4 => Ok([at, len, plain_len]),
        _ => Err(refuse()),
    }
}

impl<R: ReadAt + Sync> Reader<R> {
    /// Checks that the TOC is the one that the layer's annotations name, in the form and the place that they say, and that
    /// it covers every chunk.
    ///
    /// # Errors
    ///
    /// [`Error::Annotation`] if they say otherwise, and those of [`verify_toc`](Self::verify_toc).
    pub fn verify_annotated(&self, annotated: &AnnotatedToc) -> Result<Verifiers<'_, R>, Error> {
        let format = self.footer().format;
        if annotated.is_storage != (format == Format::StorageChunked) {
            let name = if annotated.is_storage { STORAGE_CHECKSUM_ANNOTATION } else { TOC_DIGEST_ANNOTATION };
            return Err(Error::Annotation { name, reason: format!("the layer is {format}") });
        }
        let footer = self.footer();
        let said = [footer.toc_at().get(), footer.toc_len(), footer.toc_plain_len().unwrap_or(0)];
        if let Some(position) = annotated.position.filter(|position| *position != said) {
            let reason = format!("expected {said:?} as in the footer, got {position:?}");
            return Err(Error::Annotation { name: STORAGE_POSITION_ANNOTATION, reason });
        }
        if let Some(position) = annotated.tar_split {
            let part = self.tar_split_part()?;
            let said = [part.at, part.len, part.plain_len];
            if position != said {
                let reason = format!("expected {said:?} as in the footer, got {position:?}");
                return Err(Error::Annotation { name: STORAGE_TAR_SPLIT_ANNOTATION, reason });
            }
        }
        self.verify_toc(&annotated.digest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(annotations: &[(&str, &str)], wanted: &str) {
        let get = |name: &str| annotations.iter().find(|(known, _)| *known == name).map(|(_, text)| *text);
        let got = match AnnotatedToc::from_annotations(get) {
            Ok(None) => "none".to_owned(),
            Ok(Some(toc)) => format!("{} {:?} {:?}", toc.is_storage, toc.position, toc.tar_split),
            Err(error) => error.to_string(),
        };
        assert_eq!(got, wanted, "{annotations:?}");
    }

    #[test]
    fn one_family_is_read_and_two_are_refused() {
        const STORED: &str = STORAGE_CHECKSUM_ANNOTATION;
        let digest = format!("sha256:{}", "ab".repeat(32));
        let digest = digest.as_str();
        check(&[], "none");
        check(&[(STORAGE_POSITION_ANNOTATION, "1:2:3:1")], "none");
        check(&[(TOC_DIGEST_ANNOTATION, digest)], "false None None");
        check(&[(STORED, digest)], "true None None");
        check(
            &[(STORED, digest), (STORAGE_POSITION_ANNOTATION, "1:2:3:1"), (STORAGE_TAR_SPLIT_ANNOTATION, "4:5:6")],
            "true Some([1, 2, 3]) Some([4, 5, 6])",
        );
        check(
            &[(STORED, digest), (TOC_DIGEST_ANNOTATION, digest)],
            "annotation `io.github.containers.zstd-chunked.manifest-checksum`: there is \
             `containerd.io/snapshot/stargz/toc.digest` as well, and a layer has one TOC",
        );
        check(
            &[(STORED, "md5:00")],
            "annotation `io.github.containers.zstd-chunked.manifest-checksum`: unknown digest algorithm `md5`",
        );
        for text in ["1:2:3", "1:2:3:2", "1:2:3:1:", "1:2:+3:1", "1: 2:3:1", "1:2:99999999999999999999:1", ""] {
            let wanted = format!(
                "annotation `io.github.containers.zstd-chunked.manifest-position`: \
                 expected `<offset>:<length>:<length uncompressed>:1`, got `{text}`"
            );
            check(&[(STORED, digest), (STORAGE_POSITION_ANNOTATION, text)], &wanted);
        }
    }
}
