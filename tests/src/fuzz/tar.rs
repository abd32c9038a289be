//! Tars: every way of reading one gives the same entries; raw bytes equal the input; headers survive being written.

use std::{
    io::{Cursor, Read},
    ops::ControlFlow,
};

use dunnage_digest::ErrorKind;
use dunnage_tree::{
    Error, Kind, Limits, Tree, Walk,
    tar::{EntryType, Header, Reader, TarTree, encode_header, padding},
};

use crate::tarball::checksum;

pub(super) const DICTIONARY: &[&[u8]] = &[
    b"ustar\x0000",
    b"ustar  \x00",
    b"11 path=aa\n",
    b"9 size=5\n",
    b"22 GNU.sparse.major=1\n",
    b"22 GNU.sparse.minor=0\n",
    b"25 GNU.sparse.realsize=9\n",
    b"24 GNU.sparse.map=0,1,2\n",
    b"28 GNU.sparse.numblocks=100\n",
    b"20 SCHILY.xattr.a=v\n",
    b"19 mtime=1.5000000\n",
    b"././@LongLink",
    b"0000644\x00",
    b"77777777777\x00",
    b"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    b"../",
    b"tar\x00",
];

fn limits() -> Limits {
    Limits { entries: 2000, unpacked: 1 << 20, tar_extension: 1 << 16, sparse_regions: 64, ..Limits::default() }
}

/// Any bytes as a tar.
pub fn tar_stream(data: &[u8]) {
    let streamed = read(Reader::new(data, limits()));
    let seeking = Reader::over(data, limits()).and_then(read);
    let kept = read(Reader::new(data, limits()).keep_raw(true));
    for other in [&seeking, &kept] {
        match (&streamed, other) {
            (Ok(one), Ok(other)) => assert!(one.entries == other.entries, "two ways of reading see different entries"),
            (Err(one), Err(other)) => assert_eq!(one.to_string(), other.to_string()),
            (one, other) => panic!("{:?}, but also {:?}", one.as_ref().err(), other.as_ref().err()),
        }
    }
    // One byte at a time, as a slow pipe gives it.
    if data.len() <= 8 << 10 {
        let slow = read(Reader::new(OneByOne(data), limits()));
        assert_eq!(slow.as_ref().err().map(ToString::to_string), streamed.as_ref().err().map(ToString::to_string));
    }
    if let Err(error) = &streamed {
        assert!(!matches!(error.kind(), ErrorKind::Io | ErrorKind::Misuse), "{error}");
    }
    if let Ok(kept) = kept
        && !kept.entries.iter().any(|(header, _)| header.sparse)
    {
        assert!(kept.raw == data, "what was kept raw is not the input");
    }
    for (header, _) in streamed.into_iter().flat_map(|seen| seen.entries) {
        again(&header);
    }
    tree(data);
}

struct Seen {
    entries: Vec<(Header, Vec<u8>)>,
    /// Everything in its order: raw bytes, payloads, what trails.
    raw: Vec<u8>,
}

fn read<R: Read>(mut reader: Reader<R>) -> Result<Seen, Error> {
    let mut seen = Seen { entries: Vec::new(), raw: Vec::new() };
    let mut header = Header::default();
    let mut buf = [0; 700];
    while reader.next_header(&mut header)? {
        seen.raw.extend_from_slice(reader.raw());
        let mut payload = Vec::new();
        loop {
            let len = reader.read_payload(&mut buf)?;
            if len == 0 {
                break;
            }
            payload.extend_from_slice(&buf[..len]);
        }
        assert_eq!(payload.len() as u64, header.size, "a payload of another size than its header says");
        seen.raw.extend_from_slice(&payload);
        seen.entries.push((header.clone(), payload));
    }
    seen.raw.extend_from_slice(reader.raw());
    loop {
        let len = reader.read_trailing(&mut buf)?;
        if len == 0 {
            return Ok(seen);
        }
        seen.raw.extend_from_slice(&buf[..len]);
    }
}

/// A header that can be written is read as it was, and written as it was.
fn again(header: &Header) {
    let mut first = Vec::new();
    if header.sparse || encode_header(header, &mut first).is_err() {
        return;
    }
    let is_file = header.entry == EntryType::File;
    let mut archive = first.clone();
    let payload = if is_file { header.size } else { 0 };
    archive.resize(archive.len() + (payload + padding(payload)) as usize, 0);
    let mut reader = Reader::new(archive.as_slice(), Limits::trusted());
    let mut back = Header::default();
    assert!(reader.next_header(&mut back).expect("what was written can be read"), "what was written is not there");
    let fields = |header: &Header| {
        let size = if is_file { header.size } else { 0 };
        (header.name.clone(), header.entry, header.mode, header.uid, header.gid, size, header.device)
    };
    if header.entry != EntryType::GlobalExtension {
        let is_device = matches!(header.entry, EntryType::CharDevice | EntryType::BlockDevice);
        let (mut one, mut other) = (fields(header), fields(&back));
        if !is_device {
            (one.6, other.6) = ((0, 0), (0, 0));
        }
        assert_eq!(one, other, "written and read again, it says something else");
        assert!(header.xattrs().eq(back.xattrs()), "attributes are others");
    }
    let mut second = Vec::new();
    encode_header(&back, &mut second).expect("what was read can be written");
    assert!(first == second, "written again, it is spelled otherwise");
}

/// The tree of it can be walked and read, whatever it is.
fn tree(data: &[u8]) {
    let Ok(tree) = TarTree::open(data, &limits()) else { return };
    let mut buf = vec![0; 8 << 10];
    for visited in Walk::new(&tree).limits(limits()) {
        let Ok(visited) = visited else { return };
        tree.xattrs(visited.node, &mut |_, _| ControlFlow::Continue(())).expect("attributes");
        match visited.attr.kind {
            Kind::Symlink => drop(tree.read_link(visited.node).expect("a target")),
            Kind::File => {
                let len = tree.read_at(visited.node, 0, &mut buf).expect("content that was stepped over");
                assert_eq!(len as u64, visited.attr.size.min(buf.len() as u64));
            }
            _ => {}
        }
    }
}

struct OneByOne<'a>(&'a [u8]);

impl Read for OneByOne<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let len = buf.len().min(1);
        Cursor::new(&mut self.0).get_mut().read(&mut buf[..len])
    }
}

/// Sets the checksums of all blocks that look like headers.
pub(super) fn seal_all(data: &mut [u8]) {
    for block in data.chunks_exact_mut(512) {
        let Ok(block) = <&mut [u8; 512]>::try_from(block) else { continue };
        if block[257..262] == *b"ustar" {
            checksum(block);
        }
    }
}
