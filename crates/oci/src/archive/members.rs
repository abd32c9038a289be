//! The members of an archive by name: where each one is in the tar.

use std::{fs::File, io, ops::Range, path::Path};

use dunnage_digest::{Cursor, Offset, Progress, ReadAt, Section};
use dunnage_estargz::input::Packing;
use dunnage_tree::{
    Limits as TarLimits, Spool,
    tar::{EntryType, Header, Reader},
};

use crate::{Blob, Error, Limits, images::SteadyFile};

/// An open archive: its bytes, uncompressed, and an index of its members.
///
/// The index takes 32 bytes a member, and the names.
#[derive(Debug)]
pub(crate) struct Members {
    name: String,
    source: Blob,
    /// All names and link targets, one after the other.
    text: Vec<u8>,
    /// Sorted by name; of one name, in the order of the archive.
    members: Vec<Member>,
}

#[derive(Clone, Copy, Debug)]
struct Member {
    /// Where the name starts in `text`; a link's target follows it.
    text_at: u32,
    name_len: u16,
    target_len: u16,
    kind: Kind,
    /// Where the content starts in the archive, and its bytes.
    at: u64,
    len: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    File,
    Symlink,
    HardLink,
    /// Directories, devices, sparse files: no content that could be read in place.
    Other,
}

/// A member that is a file, after all links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) at: u64,
    pub(crate) len: u64,
    /// Whether a later member of the same name replaced an earlier one on the way.
    pub(crate) is_repeated: bool,
}

/// Links that lead from one to the next. Docker and its kin write one.
const LINKS: usize = 16;

/// Bytes of all names and link targets together: a million blobs named by their digests fit.
const TEXT: u64 = 128 << 20;

impl Members {
    /// Opens the archive in the file `path`, which may be compressed with gzip or zstd. Anything but a regular file is read
    /// once and kept in a temporary file.
    pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Self, Error> {
        let name = path.display().to_string();
        let failed = |action| {
            let path = name.clone();
            move |source| Error::Io { action, path, source }
        };
        let file = File::open(path).map_err(failed("open"))?;
        let about = file.metadata().map_err(failed("read"))?;
        if about.is_dir() {
            let reason = "it is a directory".to_owned();
            return Err(Error::NotArchive { path: name, reason });
        }
        let spool = |packing: Packing, input: &mut dyn io::Read| {
            let mut plain = packing.decompressed(input).map_err(failed("read"))?;
            let kept = Spool::keep(&mut plain, limits.archive, Progress::none());
            let kept = kept.map_err(|source| Error::Tar { path: name.clone(), source })?;
            Ok::<Blob, Error>(Blob::new(name.clone(), kept))
        };
        let source = if about.is_file() {
            let file = SteadyFile::new(file).map_err(failed("read"))?;
            let (packing, mut whole) =
                Packing::peek(Cursor::new(&file).map_err(failed("read"))?).map_err(failed("read"))?;
            match packing {
                Packing::Plain => Blob::new(name.clone(), file),
                packing => spool(packing, &mut whole)?,
            }
        } else {
            let (packing, mut whole) = Packing::peek(file).map_err(failed("read"))?;
            spool(packing, &mut whole)?
        };
        Self::index(name, source, limits)
    }

    /// Reads all headers.
    fn index(name: String, source: Blob, limits: &Limits) -> Result<Self, Error> {
        let mut this = Self { name, source: source.clone(), text: Vec::new(), members: Vec::new() };
        let tar_limits = TarLimits { entries: limits.members, unpacked: u64::MAX, ..TarLimits::default() };
        let broken = |source| Error::Tar { path: this.name.clone(), source };
        let mut reader = Reader::over(source, tar_limits).map_err(broken)?;
        let mut header = Header::default();
        loop {
            let broken = |source| Error::Tar { path: this.name.clone(), source };
            if !reader.next_header(&mut header).map_err(broken)? {
                break;
            }
            this.add(&header, reader.payload_offset())?;
        }
        let text = &this.text;
        this.members.sort_by(|a, b| name_of(text, a).cmp(name_of(text, b)));
        Ok(this)
    }

    fn add(&mut self, header: &Header, at: Offset) -> Result<(), Error> {
        let kind = match header.entry {
            EntryType::File if !header.sparse => Kind::File,
            EntryType::Symlink => Kind::Symlink,
            EntryType::HardLink => Kind::HardLink,
            EntryType::GlobalExtension => return Ok(()),
            _ => Kind::Other,
        };
        let display = header.name.escape_ascii().to_string();
        let Some(name) = normal(&[], &header.name) else {
            return Err(self.wrong(
                &display,
                at,
                "a name inside of the archive",
                "a name that leads out of it".to_owned(),
            ));
        };
        let target: &[u8] = if matches!(kind, Kind::Symlink | Kind::HardLink) { &header.link } else { &[] };
        let (Ok(name_len), Ok(target_len)) = (u16::try_from(name.len()), u16::try_from(target.len())) else {
            return Err(self.wrong(&display, at, "a name below 65536 bytes", format!("{} bytes", name.len())));
        };
        let asked = (self.text.len() as u64).saturating_add(u64::from(name_len)).saturating_add(u64::from(target_len));
        let text_at = u32::try_from(self.text.len()).ok().filter(|_| asked <= TEXT);
        let Some(text_at) = text_at else {
            return Err(Error::Limit { what: "bytes of all names in an archive", limit: TEXT, asked });
        };
        self.text.extend_from_slice(&name);
        self.text.extend_from_slice(target);
        self.members.push(Member { text_at, name_len, target_len, kind, at: at.get(), len: header.size });
        Ok(())
    }

    /// The archive as the caller named it.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The file that a member is, links followed. `None` if no member has this name.
    ///
    /// Of several members of one name the last one counts, as after unpacking.
    pub(crate) fn find(&self, name: &str) -> Result<Option<Found>, Error> {
        let mut current = name.as_bytes().to_vec();
        let mut is_repeated = false;
        for hop in 0..LINKS {
            let Some(path) = normal(&[], &current) else {
                return Err(self.wrong(name, Offset::ZERO, "a name inside of the archive", show(&current)));
            };
            let range = self.range(&path);
            let Some(member) = self.members.get(range.clone()).and_then(<[Member]>::last) else {
                if hop == 0 {
                    return Ok(None);
                }
                let expected = "a link to another member";
                return Err(self.wrong(
                    name,
                    Offset::ZERO,
                    expected,
                    format!("a link to {}, which is missing", show(&path)),
                ));
            };
            is_repeated |= range.len() > 1;
            let at = Offset::new(member.at);
            let folder =
                path.iter().rposition(|&byte| byte == b'/').and_then(|end| path.get(..end)).unwrap_or_default();
            let next = match member.kind {
                Kind::File => return Ok(Some(Found { at: member.at, len: member.len, is_repeated })),
                Kind::Symlink => normal(folder, self.target_of(member)),
                Kind::HardLink => normal(&[], self.target_of(member)),
                Kind::Other => {
                    return Err(self.wrong(name, at, "a file", "a directory, a device or a sparse file".to_owned()));
                }
            };
            let Some(next) = next else {
                let got = format!("a link to {}", show(self.target_of(member)));
                return Err(self.wrong(name, at, "a link to another member", got));
            };
            current = next;
        }
        Err(self.wrong(name, Offset::ZERO, "a file", format!("a chain of more than {LINKS} links")))
    }

    /// Reads a small member. `None` if no member has this name.
    pub(crate) fn document(&self, name: &str, limit: u64) -> Result<Option<Vec<u8>>, Error> {
        let Some(found) = self.find(name)? else { return Ok(None) };
        if found.is_repeated {
            let expected = "one member of this name, since readers differ in which one they take";
            return Err(self.wrong(name, Offset::new(found.at), expected, "several".to_owned()));
        }
        if found.len > limit {
            return Err(Error::Limit { what: "bytes of a document", limit, asked: found.len });
        }
        let mut bytes = vec![0; usize::try_from(found.len).unwrap_or(usize::MAX)];
        let read = self.source.read_exact_at(Offset::new(found.at), &mut bytes);
        read.map_err(|source| Error::Io { action: "read", path: self.place(name), source })?;
        Ok(Some(bytes))
    }

    /// The content of a member.
    pub(crate) fn blob(&self, name: &str, found: Found) -> Blob {
        Blob::new(self.place(name), Section::new(self.source.clone(), Offset::new(found.at), found.len))
    }

    /// A member in messages.
    fn place(&self, name: &str) -> String {
        format!("{}: {name}", self.name)
    }

    pub(crate) fn wrong(&self, member: &str, at: Offset, expected: &str, got: String) -> Error {
        let (path, member, expected) = (self.name.clone(), member.escape_debug().to_string(), expected.to_owned());
        Error::Archive { path, member, at, expected, got }
    }

    /// Where the members of this name are in the index.
    fn range(&self, name: &[u8]) -> Range<usize> {
        let start = self.members.partition_point(|member| name_of(&self.text, member) < name);
        let end = self.members.partition_point(|member| name_of(&self.text, member) <= name);
        start..end
    }

    fn target_of(&self, member: &Member) -> &[u8] {
        let start = (member.text_at as usize).saturating_add(usize::from(member.name_len));
        self.text.get(start..start.saturating_add(usize::from(member.target_len))).unwrap_or_default()
    }
}

fn name_of<'t>(text: &'t [u8], member: &Member) -> &'t [u8] {
    let start = member.text_at as usize;
    text.get(start..start.saturating_add(usize::from(member.name_len))).unwrap_or_default()
}

fn show(name: &[u8]) -> String {
    format!("`{}`", name.escape_ascii())
}

/// The path of `name`, seen from `folder`, without `.`, `..` and empty components. A leading `/` means the root of the
/// archive. `None` if it leads out of the archive.
fn normal(folder: &[u8], name: &[u8]) -> Option<Vec<u8>> {
    let folder = if name.starts_with(b"/") { &[] } else { folder };
    let mut path = folder.to_vec();
    for part in name.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                if path.is_empty() {
                    return None;
                }
                path.truncate(path.iter().rposition(|&byte| byte == b'/').unwrap_or(0));
            }
            part => {
                if !path.is_empty() {
                    path.push(b'/');
                }
                path.extend_from_slice(part);
            }
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        for (folder, name, wanted) in [
            ("", "a/b", Some("a/b")),
            ("", "./a//b/", Some("a/b")),
            ("", "/a", Some("a")),
            ("", "a/../b", Some("b")),
            ("", "..", None),
            ("", "a/../../b", None),
            ("x/y", "../z/l.tar", Some("x/z/l.tar")),
            ("x/y", "/l.tar", Some("l.tar")),
            ("x", "../../l.tar", None),
            ("", ".", Some("")),
        ] {
            let found = normal(folder.as_bytes(), name.as_bytes());
            assert_eq!(found.as_deref(), wanted.map(str::as_bytes), "{folder}, {name}");
        }
    }
}
