//! What a user can do about an error: only where it is true for every error of that sort.

use dunnage_digest::ErrorKind;

/// What follows from the kind alone.
pub(super) const fn of_kind(kind: ErrorKind) -> Option<&'static str> {
    match kind {
        ErrorKind::Integrity | ErrorKind::Inconsistent => Some("do not use it"),
        ErrorKind::Unauthenticated => Some("--unverified hands out content that has no digest"),
        _ => None,
    }
}

pub(super) fn of_tree(error: &dunnage_tree::Error) -> Option<&'static str> {
    use dunnage_tree::Error;
    match error {
        Error::NotFound { .. } => Some("`dunnage ls -R SOURCE` lists all paths"),
        Error::Limit { what, .. } => Some(of_limit(what)),
        _ => None,
    }
}

pub(super) fn of_layer(error: &dunnage_estargz::Error) -> Option<&'static str> {
    use dunnage_estargz::Error;
    match error {
        Error::Unsupported { reason, .. } if reason.contains("UTF-8") => {
            Some("--non-utf8 replace writes a replacement character for each such byte")
        }
        Error::Duplicate { .. } => {
            Some("save the input to a file and convert that, or let --duplicates keep leave both entries in")
        }
        Error::ExternalToc => Some("--toc FILE gives it"),
        Error::NotFound { .. } => Some("--allow-missing goes on without it"),
        Error::Limit { what, .. } => Some(of_limit(what)),
        Error::Tar(error) => of_tree(error),
        _ => None,
    }
}

pub(super) fn of_image(error: &dunnage_oci::Error) -> Option<&'static str> {
    use dunnage_oci::Error;
    match error {
        Error::NoPlatform { .. } => Some("--platform takes one of these"),
        Error::NoTag { .. } | Error::ManyTags { .. } => Some("name one of these as oci:DIR:TAG"),
        Error::NotLayout { .. } => {
            Some("name a directory with the files `oci-layout` and `index.json`, or a new one to write to")
        }
        Error::TagExists { .. } => Some("leave --no-clobber out to replace it"),
        Error::NotFound { .. } => Some("--allow-missing goes on without it"),
        Error::Record { .. } => Some("a line is an object such as {\"path\":\"etc/passwd\"}"),
        Error::Limit { what, .. } => Some(of_limit(what)),
        _ => None,
    }
}

pub(super) const fn of_state(error: &dunnage_statefile::Error) -> Option<&'static str> {
    use dunnage_statefile::{Error, Hint, Part};
    match error {
        Error::KeyRequired { .. } => Some("--key-file FILE or --key-fd N gives it"),
        Error::HashMismatch { hint: Hint::WrittenWithoutKey, .. } => Some("leave the key out"),
        Error::HashMismatch { .. } => Some("it was changed, or its key is another one: do not use it"),
        Error::Ambiguous { .. } => Some("--from names the dialect"),
        Error::Length { .. } => Some("it was cut off, or is another one: do not use it"),
        Error::EmptyKey | Error::WeakKey => Some("take 32 random bytes"),
        Error::MetadataInvalid { .. } => Some("keys that begin with `_` belong to the format"),
        Error::Limit { part: Part::Frame(_) | Part::LookAhead, .. } => {
            Some("save it to a file first: that can be read twice")
        }
        Error::Limit { .. } => Some(FIXED),
        _ => None,
    }
}

/// The flag that raises the limit.
fn of_limit(what: &str) -> &'static str {
    match what {
        "TOC document" | "compressed TOC" => "--max-toc-bytes raises it, if you trust the source",
        _ if what.ends_with("entries") => "--max-entries raises it, if you trust the source",
        _ if what.starts_with("unpacked bytes") || what.starts_with("bytes of all files") => {
            "--max-unpacked raises it, if you trust the source"
        }
        _ => FIXED,
    }
}

const FIXED: &str = "this limit is fixed";
