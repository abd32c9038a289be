//! The layout report.

use dunnage_digest::Offset;

/// How much a [`LayoutReport`] says.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct LayoutOptions {
    /// Files in [`LayoutReport::biggest`]. Default 20.
    pub biggest: usize,
    /// Directories in [`LayoutReport::top_level`]; the others are one group. Default 40.
    pub directories: usize,
    /// Directories in [`LayoutReport::areas`], at most 200; the others are one group. Default 8.
    pub areas: usize,
    /// Segments in [`LayoutReport::segments`], at least 16. Default 1200.
    pub segments: usize,
}

impl Default for LayoutOptions {
    fn default() -> Self {
        Self { biggest: 20, directories: 40, areas: 8, segments: 1200 }
    }
}

/// Which bytes of a layer hold what.
///
/// All lengths are in bytes. A stream's compressed bytes are its files': all of them if there is one, else in proportion to
/// the content bytes each has there, rounded so that nothing is lost. The tar headers and padding in a stream belong to the
/// file before them that way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayoutReport {
    /// The blob.
    pub blob_len: u64,
    /// Compressed tar stream, from the start of the blob.
    pub payload_len: u64,
    /// Compressed TOC in the blob, with its frame; 0 if it is stored elsewhere.
    pub toc_len: u64,
    /// Tar headers kept apart, as containers/storage does it.
    pub tar_split_len: u64,
    /// The TOC document.
    pub toc_json_len: u64,
    /// The footer.
    pub footer_len: u64,
    /// How the streams are compressed.
    pub stream_kind: StreamKind,
    /// Entries of the TOC, further chunks of files included.
    pub toc_entries: u64,
    /// Nodes of the tree without its root and without landmarks, by kind.
    pub counts: KindCounts,
    /// Content of all files but landmarks.
    pub content_len: u64,
    /// Chunks with content.
    pub chunks: u64,
    /// The streams that hold content.
    pub streams: StreamFigures,
    /// Those of them that hold several files.
    pub shared: SharedStreams,
    /// Whose the payload is.
    pub payload: PayloadShares,
    /// An estimate of what the streams cost as such: the header, trailer and end of each. Not in it: what each
    /// compresses worse because it starts without knowing the one before.
    pub framing_len: u64,
    /// The landmark, if there is one.
    pub prefetch: Option<PrefetchArea>,
    /// The files with the largest share of the payload, largest first; those of one size in blob order.
    pub biggest: Vec<FileFacts>,
    /// Files by their size, in powers of two, from the lowest class that is not empty to the highest.
    pub file_sizes: Vec<SizeClass>,
    /// Streams with content by their compressed size, likewise.
    pub stream_sizes: Vec<SizeClass>,
    /// Directories of the root, largest share first, then the files in the root, then all that is in no other group.
    pub top_level: Vec<GroupShare>,
    /// Directories at any depth that cut the payload into pieces of comparable size, largest share first. The last
    /// group is always all that is in no other.
    pub areas: Vec<GroupShare>,
    /// The blob in its order, cut into pieces that can be drawn: without gaps, from its first byte to its last.
    pub segments: Vec<Segment>,
}

/// How streams are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StreamKind {
    /// As gzip members.
    Gzip,
    /// As zstd frames.
    Zstd,
    /// In some other way.
    Other,
}

impl StreamKind {
    /// Bytes that a stream takes at least, whatever it holds.
    #[must_use]
    pub const fn framing_len(self) -> u64 {
        match self {
            // Header, trailer, and the end of the last block.
            Self::Gzip => 10 + 8 + 2,
            // Header with the size of the content, one block's header, checksum.
            Self::Zstd => 4 + 2 + 3 + 4,
            Self::Other => 0,
        }
    }
}

/// How many nodes of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct KindCounts {
    /// Directories, implied ones included.
    pub directories: u64,
    /// Regular files.
    pub files: u64,
    /// Those of them without content.
    pub empty_files: u64,
    /// Further names of files.
    pub hard_links: u64,
    /// Symlinks.
    pub symlinks: u64,
    /// Character devices.
    pub char_devices: u64,
    /// Block devices.
    pub block_devices: u64,
    /// Named pipes.
    pub fifos: u64,
}

impl KindCounts {
    /// All of them.
    #[must_use]
    pub const fn total(&self) -> u64 {
        let links = self.hard_links.saturating_add(self.symlinks);
        let special = self.char_devices.saturating_add(self.block_devices).saturating_add(self.fifos);
        self.directories.saturating_add(self.files).saturating_add(links).saturating_add(special)
    }
}

/// The streams that hold content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamFigures {
    /// How many.
    pub with_content: u64,
    /// Whether there is a stream with nothing but tar headers at the start of the blob.
    pub has_header_stream: bool,
    /// Compressed bytes of one on average, rounded down.
    pub mean: u64,
    /// The one with the fewest compressed bytes, the first of several.
    pub smallest: Option<StreamFacts>,
    /// The one in the middle, the smaller of two.
    pub median: Option<StreamFacts>,
    /// The one with the most compressed bytes, the first of several.
    pub largest: Option<StreamFacts>,
}

/// A stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamFacts {
    /// Where it starts.
    pub offset: Offset,
    /// Its compressed bytes.
    pub len: u64,
    /// Bytes of files in it.
    pub content_len: u64,
    /// Files with content in it; none if a later entry of the same name has replaced what it holds.
    pub files: u64,
    /// The file with the most content in it, the first of several; empty if there is none.
    pub path: Vec<u8>,
}

/// Streams that hold content of more than one file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SharedStreams {
    /// How many.
    pub streams: u64,
    /// Files with content in one of them.
    pub files: u64,
    /// The one with the most content, the first of several.
    pub largest: Option<StreamFacts>,
}

/// Whose the payload is. The shares add up to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PayloadShares {
    /// Tar headers before the first content.
    pub headers: u64,
    /// Files other than landmarks, with padding and the headers after them.
    pub files: u64,
    /// Landmarks, likewise.
    pub landmarks: u64,
    /// Streams whose content was replaced by a later entry of the same name.
    pub replaced: u64,
}

/// Which landmark a layer has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: the format knows these two")]
pub enum LandmarkKind {
    /// The streams before it are worth fetching first.
    Prefetch,
    /// Nothing is.
    NoPrefetch,
}

/// The landmark of a layer. If it has both, the one that says that nothing is worth fetching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrefetchArea {
    /// Which.
    pub kind: LandmarkKind,
    /// Where its stream starts.
    pub offset: Offset,
    /// Bytes of the decompressed stream before it.
    pub inner_offset: u64,
    /// Bytes from the start of the blob that are worth fetching first.
    pub len: u64,
    /// Files with content that starts before it.
    pub files: u64,
}

/// A file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileFacts {
    /// Its path from the root.
    pub path: Vec<u8>,
    /// Its content.
    pub len: u64,
    /// Its share of the payload.
    pub stored: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Where the stream with its first chunk starts.
    pub offset: Offset,
    /// Whether other files have content in one of its streams.
    pub shared: bool,
}

/// Sizes from [`from`](Self::from) to twice that, exclusive; 0 is a class of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SizeClass {
    /// The smallest size: 0 or a power of two.
    pub from: u64,
    /// How many are of this class.
    pub count: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl SizeClass {
    /// The largest size.
    #[must_use]
    pub const fn to(&self) -> u64 {
        self.from.saturating_add(self.from.saturating_sub(1))
    }
}

/// A set of files.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Group {
    /// All below a directory.
    Directory(Vec<u8>),
    /// All files below a directory, without those below a deeper directory that is a group of its own.
    RestOf(Vec<u8>),
    /// The files in the root.
    RootFiles,
    /// The files of no other group.
    Elsewhere,
}

/// Bytes of a set of files. Landmarks are in none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct GroupShare {
    /// Which files.
    pub group: Group,
    /// How many, empty ones included.
    pub files: u64,
    /// Their content.
    pub len: u64,
    /// Their share of the payload.
    pub stored: u64,
}

/// A piece of the blob.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Where it starts.
    pub offset: Offset,
    /// Its bytes.
    pub len: u64,
    /// The kind of its content; of several kinds, the one with the most bytes.
    pub kind: SegmentKind,
    /// Of content: whose it is, as a place in [`LayoutReport::areas`].
    pub area: Option<usize>,
    /// Whether it is made of streams that hold several files.
    pub shared: bool,
    /// Whether it is worth fetching first.
    pub prefetch: bool,
    /// Files whose content starts in it.
    pub files: u64,
    /// The file with the most content in it, the first of several; empty if there is none.
    pub path: Vec<u8>,
}

/// The kind of content in a piece of the blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SegmentKind {
    /// Tar headers before the first content.
    Headers,
    /// Content of files, their padding, and the headers in between.
    Content,
    /// A landmark, and the headers after it.
    Landmark,
    /// Content that was replaced by a later entry of the same name.
    Replaced,
    /// The TOC.
    Toc,
    /// Tar headers kept apart.
    TarSplit,
    /// The footer.
    Footer,
}
