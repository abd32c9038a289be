//! Recognises layouts and archives of images without being told.
//!
//! A directory is a layout if it has `oci-layout` and `index.json`. A file is an archive if all its members have names as
//! image archives have them, and the documents are among them. A tar of anything else has another name at the start as a
//! rule, so one header is enough to tell.

use std::{fs::File, io::Read, path::Path};

use dunnage_digest::Cursor;
use dunnage_estargz::input::Packing;
use dunnage_tree::{
    Limits as TarLimits,
    tar::{EntryType, Header, Reader},
};
use serde_json::value::RawValue;

use crate::{Error, Store, json::Object};

/// Tells whether `path` holds images: a directory that is a layout, or a regular file that is an archive. `None` for
/// anything else, also for a file that is damaged before this shows.
///
/// It reads the headers of a tar until the first member that no image archive has. A compressed file is unpacked that far.
///
/// # Errors
///
/// [`Error::Io`] if the file cannot be read. That there is no such file is one.
pub fn detect(path: &Path) -> Result<Option<Store>, Error> {
    let failed = |source| Error::Io { action: "read", path: path.display().to_string(), source };
    let about = path.metadata().map_err(failed)?;
    if about.is_dir() {
        let is_layout = ["oci-layout", "index.json"].iter().all(|name| path.join(name).is_file());
        return Ok(is_layout.then_some(Store::Layout));
    }
    if !about.is_file() {
        return Ok(None);
    }
    let file = File::open(path).map_err(failed)?;
    let (packing, whole) = Packing::peek(Cursor::new(&file).map_err(failed)?).map_err(failed)?;
    let limits = TarLimits { unpacked: u64::MAX, ..TarLimits::default() };
    if packing == Packing::Plain {
        return Ok(Reader::over(&file, limits).ok().and_then(look_through));
    }
    let plain = packing.decompressed(whole).map_err(failed)?;
    Ok(look_through(Reader::new(plain, limits)))
}

/// Tells whether a stream that begins with `head` may be an archive of images, plain or compressed: whether all members that
/// begin in it have names as image archives have them.
///
/// Use it before a stream is read that cannot be read twice. If it may be one, keep the stream in a file and ask [`detect`]. A
/// few kilobytes are enough for most tars of other files; an empty `head` is none.
#[must_use]
pub fn may_be_archive(head: &[u8]) -> bool {
    let Ok((packing, whole)) = Packing::peek(head) else { return false };
    let Ok(plain) = packing.decompressed(whole) else { return false };
    let mut reader = Reader::new(plain, TarLimits { unpacked: u64::MAX, ..TarLimits::default() });
    let mut header = Header::default();
    let mut count: u64 = 0;
    // The tar ends where `head` ends, which is an error or a short payload.
    while let Ok(true) = reader.next_header(&mut header) {
        if header.entry == EntryType::GlobalExtension {
            continue;
        }
        if !is_usual(plain_name(&header.name)) {
            return false;
        }
        count = count.saturating_add(1);
    }
    count > 0
}

/// `name` without `./` in front and a slash at the end.
fn plain_name(name: &[u8]) -> &[u8] {
    let name = name.strip_prefix(b".").unwrap_or(name);
    let name = name.strip_prefix(b"/").unwrap_or(name);
    name.strip_suffix(b"/").unwrap_or(name)
}

/// The documents that were found among the members.
#[derive(Default)]
struct Documents {
    marker: bool,
    index: bool,
    list: bool,
}

fn look_through<R: Read>(mut reader: Reader<R>) -> Option<Store> {
    let mut found = Documents::default();
    let mut header = Header::default();
    loop {
        match reader.next_header(&mut header) {
            Ok(true) => {}
            Ok(false) => break,
            // Opening the file reports the error, if it is opened as an archive.
            Err(_) => return None,
        }
        if header.entry == EntryType::GlobalExtension {
            continue;
        }
        let name = plain_name(&header.name);
        if !is_usual(name) {
            return None;
        }
        match name {
            b"oci-layout" => found.marker = true,
            b"index.json" => found.index = true,
            b"manifest.json" => found.list = is_list(&mut reader)?,
            _ => {}
        }
    }
    match found {
        Documents { marker: true, index: true, .. } => Some(Store::OciArchive),
        Documents { list: true, .. } => Some(Store::DockerArchive),
        _ => None,
    }
}

/// Whether a member is called as one of an image archive: a document, a blob, a layer, a folder named by a digest.
fn is_usual(name: &[u8]) -> bool {
    let is_hex = |part: &[u8]| part.len() >= 32 && part.iter().all(u8::is_ascii_hexdigit);
    let mut parts = name.split(|&byte| byte == b'/');
    let first = parts.next().unwrap_or_default();
    let last = parts.next_back().unwrap_or(first);
    let ends = |end: &[u8]| last.ends_with(end) && last.len() > end.len();
    let is_file = matches!(last, b"" | b"oci-layout" | b"repositories" | b"VERSION" | b"json")
        || [b".json".as_slice(), b".tar", b".tar.gz", b".tgz", b".tar.zst"].into_iter().any(ends);
    let is_blob = first == b"blobs" || first.starts_with(b"sha256:") || is_hex(first);
    is_blob || is_file && (first == last || is_hex(last.split(|&byte| byte == b'.').next().unwrap_or_default()))
}

/// Whether the payload is a list of images; `None` if it cannot be read.
fn is_list<R: Read>(reader: &mut Reader<R>) -> Option<bool> {
    let mut bytes = Vec::new();
    reader.take(LIST).read_to_end(&mut bytes).ok()?;
    let images: Result<Vec<&RawValue>, _> = serde_json::from_slice(&bytes);
    let is_image = |image: &&RawValue| {
        Object::parse_value(image, "manifest.json", &[]).is_ok_and(|image| image.has("Config") && image.has("Layers"))
    };
    Some(images.is_ok_and(|images| images.iter().all(is_image)))
}

/// Bytes of a list of images that is looked at.
const LIST: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_of_archives_are_told_from_others() {
        let hex = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";
        for (name, wanted) in [
            ("", true),
            ("oci-layout", true),
            ("manifest.json", true),
            ("repositories", true),
            ("blobs/sha256/HEX", true),
            ("HEX/layer.tar", true),
            ("HEX.tar.gz", true),
            ("sha256:HEX", true),
            ("config.json", true),
            ("etc/passwd", false),
            ("etc", false),
            ("bin/sh", false),
            ("package/package.json", false),
            ("usr", false),
        ] {
            assert_eq!(is_usual(name.replace("HEX", hex).as_bytes()), wanted, "{name}");
        }
    }
}
