//! What becomes of hostile inputs: layers on their way through the reader, archives through everything that takes one.
//!
//! Every operation answers in one line: `ok`, or the kind of the error and its words, causes included.

use std::{
    error::Error as StdError,
    io::{self, Read},
};

use dunnage_digest::{ErrorKind, Progress};
use dunnage_estargz::{Error, Writer, codec::Codec, input::Packing};
use dunnage_tree::{
    Existing, ExtractOptions, ExtractWhiteouts, Kind, Limits, Tree, Visited, Walk, extract, extract_tar, tar::TarTree,
};

use crate::{dump::sum, layer, sandbox::Sandbox};

/// The first step of a reader that refuses a layer, and in which words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the keys of a case")]
pub struct Refusal {
    pub at: &'static str,
    pub kind: String,
    pub error: String,
}

/// Takes a layer through all a reader does with one: open, verify the TOC, verify all content, read it, list it, extract
/// it. Its listing if every step lets it pass.
pub fn read_layer(blob: &[u8], limits: &dunnage_estargz::Limits) -> Result<Vec<String>, Refusal> {
    let reader = layer::open_within(blob, None, limits).map_err(|error| refusal("open", error.kind(), &error))?;
    let of_layer = |at: &'static str| move |error: Error| refusal(at, error.kind(), &error);
    let of_tree = |at: &'static str| move |error: dunnage_tree::Error| refusal(at, error.kind(), &error);
    reader.verify_toc(reader.toc_digest()).map_err(of_layer("verify_toc"))?;
    let verified = reader.verify(1, Progress::none()).map_err(of_layer("verify"));
    let nodes: Result<Vec<Visited>, _> = Walk::new(&reader).limits(limits.tar.clone()).collect();
    let nodes = nodes.map_err(of_tree("ls"));
    let files = nodes.iter().flatten().filter(|visited| visited.attr.kind == Kind::File);
    let mut files: Vec<_> = files.map(|visited| (visited.path.clone(), visited.node)).collect();
    files.sort();
    // Content that does not verify must not be read either, but its neighbours may be.
    let unread = files.iter().find_map(|(_, node)| sum(&reader, *node, &mut [0; 4096]).err());
    verified?;
    unread.map_or(Ok(()), Err).map_err(of_tree("read"))?;
    let listing = nodes?.into_iter().map(|visited| line(&reader, &visited)).collect::<Result<Vec<_>, _>>();
    let listing = listing.map_err(of_tree("read"))?;
    let sandbox = Sandbox::new();
    let options = ExtractOptions { limits: limits.tar.clone(), ..ExtractOptions::default() };
    extract(&reader, sandbox.inside(), &options, Progress::none()).map_err(of_tree("extract"))?;
    sandbox.assert_untouched();
    Ok(listing)
}

/// The layer's TOC compared with its tar: `ok` and the DiffID, or the differences.
#[must_use]
pub fn audit(blob: &[u8], limits: &dunnage_estargz::Limits) -> String {
    let audited = layer::open_within(blob, None, limits)
        .and_then(|reader| reader.audit(Progress::none()))
        .and_then(dunnage_estargz::audit::Audit::agreed);
    match audited {
        Ok(audit) => format!("ok: {}", audit.diff_id),
        Err(error) => of_tree(error.kind(), &error),
    }
}

/// Converts the layer or archive to a layer, and verifies the result.
#[must_use]
pub fn convert(input: &[u8], limits: &dunnage_estargz::Limits) -> String {
    let mut options = layer::options(Codec::Zlib, 1, 0, 1).expect("options that are right");
    options.limits = limits.clone();
    let plan = layer::plan(&options, &[]);
    let whole = plan.from_source(input, Vec::new());
    let streamed = plan.from_stream(input, Vec::new());
    // A pipe is refused in the same words as a file, except for repeated names.
    if !matches!(streamed, Err(Error::Duplicate { .. })) {
        let (whole, streamed) = (whole.as_ref().map(|made| &made.0), streamed.as_ref().map(|made| &made.0));
        match (whole, streamed) {
            (Ok(whole), Ok(streamed)) => assert!(whole == streamed, "a file and a pipe give different layers"),
            (Err(whole), Err(streamed)) => assert_eq!(whole.kind(), streamed.kind(), "{whole} and {streamed}"),
            (whole, streamed) => panic!("from a file {:?}, from a pipe {:?}", whole.err(), streamed.err()),
        }
    }
    let (blob, built) = match whole {
        Ok(whole) => whole,
        Err(error) => return answer_layer(Err(error)),
    };
    match layer::verify(blob.as_slice(), &built.summary.toc_digest, 1) {
        Ok(_) => "ok".to_owned(),
        Err(error) => format!("ok, but the layer cannot be read: {}", of_tree(error.kind(), &error)),
    }
}

/// The archive kept bit for bit in a layer: `ok` if that gives it back.
#[must_use]
pub fn keep(input: &[u8], limits: &dunnage_estargz::Limits) -> String {
    let mut options = layer::options(Codec::Zlib, 1, 0, 1).expect("options that are right");
    options.limits = limits.clone();
    let kept = Writer::new(Vec::new(), &options).and_then(|mut writer| {
        writer.append_tar_lossless(input)?;
        writer.finish()
    });
    answer_layer(kept.map(|(blob, _)| {
        let back = layer::unpack(blob.as_slice()).expect("a layer of ours unpacks");
        assert!(plain(input).expect("it was read before") == back, "a lossless layer lost something");
    }))
}

/// The names of an archive, by the index over it; an error in one line otherwise.
pub fn list(input: &[u8], limits: &Limits) -> Result<Vec<String>, String> {
    let plain = plain(input).map_err(|error| of_tree(ErrorKind::Malformed, &error))?;
    let tree = TarTree::open(plain, limits).map_err(|error| of_tree(error.kind(), &error))?;
    let lines = Walk::new(&tree).limits(limits.clone()).map(|visited| line(&tree, &visited?));
    lines.collect::<Result<_, _>>().map_err(|error| of_tree(error.kind(), &error))
}

/// The archive extracted to a directory with canaries around it, with names that take away taken as such or as names.
#[must_use]
pub fn unpack(input: &[u8], limits: &Limits, whiteouts: ExtractWhiteouts) -> String {
    let sandbox = Sandbox::new();
    let (limits, existing) = (limits.clone(), Existing::Extend);
    let options = ExtractOptions { limits, whiteouts, existing, ..ExtractOptions::default() };
    let extracted = Packing::peek(input)
        .and_then(|(packing, whole)| packing.decompressed(whole))
        .map_err(|source| Error::Input { source })
        .and_then(|tar| extract_tar(tar, sandbox.inside(), &options, Progress::none()).map_err(Error::from));
    sandbox.assert_untouched();
    answer_layer(extracted.map(drop))
}

fn answer_layer(result: Result<(), Error>) -> String {
    result.map_or_else(|error| of_tree(error.kind(), &error), |()| "ok".to_owned())
}

fn of_tree(kind: ErrorKind, error: &dyn StdError) -> String {
    format!("{kind}: {}", words(error))
}

fn refusal(at: &'static str, kind: ErrorKind, error: &dyn StdError) -> Refusal {
    Refusal { at, kind: kind.to_string(), error: words(error) }
}

/// An error with its causes.
fn words(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn plain(input: &[u8]) -> io::Result<Vec<u8>> {
    let (packing, whole) = Packing::peek(input)?;
    let mut plain = Vec::new();
    packing.decompressed(whole)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// A node in one line: path, kind and content.
fn line<T: Tree + ?Sized>(tree: &T, visited: &Visited) -> Result<String, dunnage_tree::Error> {
    let (path, attr) = (visited.path.escape_ascii(), visited.attr);
    Ok(match attr.kind {
        Kind::Directory => format!("{path}/ {:o}", attr.mode),
        Kind::Symlink => format!("{path} -> {}", tree.read_link(visited.node)?.escape_ascii()),
        Kind::File if attr.size <= 64 => {
            let mut content = [0; 64];
            let len = tree.read_at(visited.node, 0, &mut content)?;
            format!("{path} {:o} {} `{}`", attr.mode, attr.links, content[..len].escape_ascii())
        }
        Kind::File => format!("{path} {:o} {} {} bytes", attr.mode, attr.links, attr.size),
        kind => format!("{path} {:o} {kind} {}:{}", attr.mode, attr.device.0, attr.device.1),
    })
}
