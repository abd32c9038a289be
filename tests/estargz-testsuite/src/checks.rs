//! Checks of a layer that was written and opened.

use dunnage_digest::{Offset, ReadAt};
use dunnage_tree::{Follow, Kind, NodeId, Tree, resolve};

use super::{
    entry::{self, Entry},
    layer::clean,
    sha256,
};
use dunnage_estargz::{
    Reader,
    toc::{Toc, TocEntry, TocType},
};

/// One thing to look at. What it has to be is taken from the input, where it can be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Check {
    /// So many entries in the TOC.
    Entries(usize),
    /// A directory.
    Dir(&'static str),
    /// A file with the length and digest of the input, and its content from each of these offsets to its end.
    File(&'static str, &'static [usize]),
    /// Its extended attributes are those of the input.
    Xattrs(&'static str),
    /// A directory with just these names in it.
    Children(&'static str, &'static [&'static str]),
    /// A file of so many chunks, each of them found by any of its bytes, and each ending where the next one starts.
    Chunks(&'static str, usize),
    /// Owner and group of the input.
    Owner(&'static str),
    /// So many links to a directory.
    Links(&'static str, u32),
    /// A symlink to the target in the input.
    Symlink(&'static str),
    /// So many directories deep, the root being no deeper than itself.
    Depth(usize),
    /// Mode of the input.
    Mode(&'static str),
    /// Nothing but name, type and device are set, and there is one link.
    Bare(&'static str),
    /// Both names lead to one node, by whatever way.
    Same(&'static str, &'static str),
    /// A file and, with it, these first bytes of others: no more and no less.
    PreRead(&'static str, &'static [(&'static str, usize)]),
}

/// A layer, opened, and what it was made of.
pub(super) struct Opened<'a> {
    pub(super) reader: &'a Reader<&'a [u8]>,
    pub(super) toc: &'a Toc,
    pub(super) input: &'a [Entry],
    pub(super) prefix: &'a str,
}

impl Opened<'_> {
    pub(super) fn check(&self, check: &Check) {
        match *check {
            Check::Entries(wanted) => assert_eq!(self.toc.entries.len(), wanted, "entries"),
            Check::Dir(name) => assert_eq!(self.reader.lookup(name).unwrap().kind(), TocType::Dir, "`{name}`"),
            Check::File(name, offsets) => self.file(name, offsets),
            Check::Xattrs(name) => self.xattrs(name),
            Check::Children(dir, wanted) => {
                let entry = self.reader.lookup(dir).unwrap();
                let names: Vec<_> = entry.children().map(|(name, _)| String::from_utf8_lossy(name)).collect();
                assert_eq!(names, wanted, "names in `{dir}`");
            }
            Check::Chunks(name, wanted) => self.chunks(name, wanted),
            Check::Owner(name) => {
                let attr = self.reader.attr(self.node(name)).unwrap();
                let (uid, gid) = self.made_of(name).owner;
                assert_eq!((attr.uid, attr.gid), (uid.into(), gid.into()), "owner of `{name}`");
            }
            Check::Links(name, wanted) => {
                assert_eq!(self.reader.lookup(name).unwrap().links(), wanted, "links of `{name}`");
            }
            Check::Symlink(name) => {
                let entry = self.reader.lookup(name).unwrap();
                assert_eq!(entry.kind(), TocType::Symlink, "`{name}`");
                let target = self.made_of(name).target.as_bytes();
                assert_eq!(entry.link_name(), Some(target), "target of `{name}`");
            }
            Check::Depth(wanted) => assert_eq!(self.depth(), wanted, "depth"),
            Check::Mode(name) => {
                let mode = self.reader.lookup(name).unwrap().mode();
                assert_eq!(mode, self.made_of(name).mode, "mode of `{name}`: {mode:o}");
            }
            Check::Bare(name) => self.bare(name),
            Check::Same(first, second) => self.same(first, second),
            Check::PreRead(name, neighbours) => self.pre_read(name, neighbours),
        }
    }

    /// The entry of the input.
    fn made_of(&self, name: &str) -> &Entry {
        self.input.iter().find(|entry| clean(entry.name) == clean(name)).expect("a name of the input")
    }

    fn node(&self, name: &str) -> NodeId {
        resolve(self.reader, clean(name).as_bytes(), Follow::Never).unwrap()
    }

    fn file(&self, name: &str, offsets: &[usize]) {
        let content = self.made_of(name).content();
        let entry = self.reader.lookup(name).unwrap();
        assert_eq!((entry.kind(), entry.size()), (TocType::Reg, content.len() as u64), "`{name}`");
        assert_eq!(entry.digest(), Some(sha256(content)), "digest of `{name}`");
        let file = self.reader.open_file(name).unwrap();
        assert_eq!(file.size().unwrap(), content.len() as u64, "`{name}`");
        for &offset in offsets {
            let mut got = vec![0; content.len() - offset];
            file.read_exact_at(Offset::new(offset as u64), &mut got).unwrap();
            assert!(got == content[offset..], "`{name}` from {offset}");
            // Nothing at all can be read anywhere, and nothing behind the end.
            file.read_exact_at(Offset::new(offset as u64), &mut []).unwrap();
        }
        assert!(file.read_exact_at(Offset::new(content.len() as u64), &mut [0]).is_err(), "behind the end of `{name}`");
    }

    fn xattrs(&self, name: &str) {
        let mut got = Vec::new();
        let mut keep = |name: &[u8], value: &[u8]| {
            got.push((name.to_vec(), value.to_vec()));
            std::ops::ControlFlow::Continue(())
        };
        self.reader.xattrs(self.node(name), &mut keep).unwrap();
        let wanted = self.made_of(name).xattrs.iter();
        let wanted: Vec<_> = wanted.map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
        assert_eq!(got, wanted, "extended attributes of `{name}`");
    }

    fn chunks(&self, name: &str, wanted: usize) {
        let entry = self.reader.lookup(name).unwrap();
        let chunks: Vec<_> = entry.chunks().collect();
        assert_eq!(chunks.len(), wanted, "chunks of `{name}`");
        let mut found: Vec<_> = (0..entry.size()).map(|at| self.reader.chunk_for_offset(name, at).unwrap()).collect();
        found.dedup();
        assert_eq!(found, chunks, "chunks of `{name}` by their bytes");
        for pair in chunks.windows(2) {
            assert_eq!(pair[0].stream_end, pair[1].offset, "end of a chunk of `{name}`");
        }
    }

    fn depth(&self) -> usize {
        let mut level = vec![self.reader.lookup("").unwrap()];
        for depth in 0..20 {
            level = level.iter().flat_map(|entry| entry.children().map(|(_, child)| child)).collect();
            if level.is_empty() {
                return depth;
            }
        }
        panic!("a directory is in itself");
    }

    fn bare(&self, name: &str) {
        let made_of = self.made_of(name);
        let kind = match made_of.kind {
            entry::Kind::Block => TocType::Block,
            entry::Kind::Char => TocType::Char,
            _ => TocType::Fifo,
        };
        let full = format!("{}{name}", self.prefix);
        let entry = self.toc.entries.iter().find(|entry| entry.name == full).expect("its entry");
        let (dev_major, dev_minor) = (made_of.device.0.into(), made_of.device.1.into());
        assert_eq!(*entry, TocEntry { name: full, kind, dev_major, dev_minor, ..TocEntry::default() });
        let attr = self.reader.attr(self.node(name)).unwrap();
        let kind = match kind {
            TocType::Block => Kind::BlockDevice,
            TocType::Char => Kind::CharDevice,
            _ => Kind::Fifo,
        };
        assert_eq!((attr.kind, attr.device, attr.links), (kind, made_of.device, 1), "`{name}`");
        assert_eq!(
            (attr.mode, attr.uid, attr.gid, attr.size, attr.mtime),
            (0, 0, 0, 0, Some(dunnage_tree::Mtime::default())),
            "`{name}`"
        );
    }

    fn same(&self, first: &str, second: &str) {
        let wanted = self.node(first);
        let path = self.reader.lookup(first).unwrap().path();
        for name in [first, second] {
            assert_eq!(self.reader.lookup(name).unwrap().path(), path, "`{name}` by its path");
            let (dir, base) = name.rsplit_once('/').unwrap_or(("", name));
            let parent = self.reader.lookup(dir).unwrap();
            assert_eq!(parent.child(base.as_bytes()).unwrap().path(), path, "`{name}` by its directory");
            let listed = parent.children().find(|(name, _)| *name == base.as_bytes()).unwrap();
            assert_eq!(listed.1.path(), path, "`{name}` by the list of its directory");
            assert_eq!(self.node(name), wanted, "`{name}` as a node");
            let found = self.reader.lookup(name).unwrap();
            assert_eq!((found.links(), found.size()), (2, self.made_of(first).content().len() as u64), "`{name}`");
        }
    }

    fn pre_read(&self, name: &str, neighbours: &[(&str, usize)]) {
        let mut seen = Vec::new();
        let visit = |pre: &dunnage_estargz::read::PreRead<'_>| {
            assert_eq!(pre.chunk.size, pre.content.len() as u64);
            seen.push((pre.entry.path(), pre.chunk.chunk_offset, pre.content.to_vec()));
            Ok(())
        };
        let content = self.made_of(name).content();
        let mut got = vec![0; content.len()];
        let mut file = self.reader.open_file_with_pre_reader(name, visit).unwrap();
        assert_eq!(file.read_at(0, &mut got).unwrap(), content.len(), "`{name}`");
        assert!(got == content, "`{name}`");
        let wanted: Vec<_> = neighbours
            .iter()
            .map(|&(name, len)| (name.to_owned(), 0, self.made_of(name).content()[..len].to_vec()))
            .collect();
        assert!(
            seen == wanted,
            "with `{name}` came {:?}",
            seen.iter().map(|(name, at, _)| (name, at)).collect::<Vec<_>>()
        );
    }
}
