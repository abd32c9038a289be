//! What a read comes by in a stream that files share: the same entries for both readers, with the same content.

use std::{collections::BTreeMap, fmt::Debug, fs, path::Path};

use anyhow::{Context as _, Result};
use dunnage_conformance::{dump::clean, layer, random::Random};
use dunnage_estargz::{
    Limits,
    read::PreRead,
    toc::{Toc, TocType},
};
use serde::{Deserialize, Serialize};

use super::{blob::Blob, reference::Reference};
use crate::conformance::tally::Tally;

/// Files that are read of a large layer; of a small one, it is all.
const FILES: usize = 40;

/// One read that the peer is asked for.
#[derive(Debug, Serialize)]
struct Request {
    path: String,
    offset: u64,
    /// 0: to the end of the chunk. A longer read fails in the reference (defect Q15).
    length: u64,
}

/// One read: what the peer tells.
#[derive(Debug, Deserialize)]
struct Answer {
    path: String,
    offset: u64,
    length: u64,
    sha256: String,
    visited: Vec<Visit>,
    #[serde(default)]
    error: String,
}

/// An entry that was passed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Visit {
    name: String,
    chunk_offset: u64,
    size: u64,
    sha256: String,
}

/// Reads files of a blob with a pre-reader, on both sides.
pub(super) fn check(tally: &mut Tally, whose: &str, reference: &Reference<'_>, path: &Path, blob: &Blob) -> Result<()> {
    let requests = requests(blob, reference.combination.input.small)?;
    let (list, out) = (reference.scratch.join("reads.jsonl"), reference.scratch.join("visits.jsonl"));
    let lines = requests.iter().map(serde_json::to_string).collect::<Result<Vec<_>, _>>()?;
    fs::write(&list, lines.join("\n")).context("cannot write the list of reads")?;
    reference.read("pre-read", Vec::new(), path, &[&list, &out])?;
    let text = fs::read_to_string(&out).context("the peer told nothing of its reads")?;
    let answers = text.lines().map(serde_json::from_str).collect::<Result<Vec<Answer>, _>>()?;
    tally.same(&format!("{whose}: pre-reads answered"), &answers.len(), &requests.len());
    let visited: usize = answers.iter().map(|answer| answer.visited.len()).sum();
    tally.same(&format!("{whose}: some stream is shared"), &(visited > 0), &true);
    let difference = first_difference(blob, &answers)?;
    tally.nothing(&format!("{whose}: pre-reads, ours against the reference's"), difference);
    Ok(())
}

/// Starts of files, and for files of several chunks a place somewhere inside.
fn requests(blob: &Blob, all: bool) -> Result<Vec<Request>> {
    let toc = Toc::parse(&blob.toc_json(), &Limits::default())?;
    // Of a name that is there twice, the last counts.
    let mut files = BTreeMap::new();
    for entry in toc.entries.iter().filter(|entry| entry.kind != TocType::Chunk) {
        files.insert(clean(entry.name.as_bytes()), entry);
    }
    let mut random = Random::new(0x9e4d);
    let mut files: Vec<_> = files.into_values().filter(|entry| entry.kind == TocType::Reg && entry.size > 0).collect();
    if !all {
        for at in 0..files.len().min(FILES) {
            let left = files.len() - at;
            files.swap(at, at + random.below(left as u64) as usize);
        }
        files.truncate(FILES);
    }
    let mut requests = Vec::new();
    for file in files {
        requests.push(Request { path: file.name.clone(), offset: 0, length: 0 });
        if file.chunk_size > 0 && file.chunk_size < file.size {
            requests.push(Request { path: file.name.clone(), offset: random.below(file.size), length: 0 });
        }
    }
    Ok(requests)
}

/// What holds content, or is an empty file, in the order of the TOC.
#[derive(Debug)]
struct Piece {
    name: String,
    chunk_offset: u64,
    size: u64,
    /// Where its stream starts; 0 for an empty file.
    offset: u64,
}

fn pieces(toc: &Toc) -> Vec<Piece> {
    let mut file_size = 0;
    let mut pieces = Vec::new();
    for entry in &toc.entries {
        match entry.kind {
            TocType::Reg => file_size = entry.size,
            TocType::Chunk => {}
            _ => continue,
        }
        let size = if entry.chunk_size == 0 { file_size.saturating_sub(entry.chunk_offset) } else { entry.chunk_size };
        pieces.push(Piece {
            name: cleaned(&entry.name),
            chunk_offset: entry.chunk_offset,
            size: size.min(file_size),
            offset: entry.offset,
        });
    }
    pieces
}

fn cleaned(name: &str) -> String {
    String::from_utf8_lossy(&clean(name.as_bytes())).into_owned()
}

/// The first read in which something is not as it should be.
///
/// We come by every other piece of the stream. The reference takes an empty file, which has no offset, for the end of the
/// stream, and in the first stream, whose offset is 0, for a piece of it that it cannot get at (defect Q15).
fn first_difference(blob: &Blob, answers: &[Answer]) -> Result<Option<String>> {
    let reader = blob.open()?;
    let pieces = pieces(&Toc::parse(&blob.toc_json(), &Limits::default())?);
    for Answer { path, offset, length, sha256, visited, error } in answers {
        let at = format!("`{path}` at {offset}");
        let mut passed = Vec::new();
        let mut file = reader.open_file_with_pre_reader(path, |pre: &PreRead<'_>| {
            passed.push(Visit {
                name: pre.entry.path(),
                chunk_offset: pre.chunk.chunk_offset,
                size: pre.chunk.size,
                sha256: layer::sha256(pre.content).to_hex(),
            });
            Ok(())
        })?;
        let mut content = vec![0; if error.is_empty() { *length as usize } else { 1 }];
        let got = file.read_at(*offset, &mut content)?;
        if got != content.len() {
            return Ok(Some(format!("{at}: {got} of {} bytes", content.len())));
        }
        let name = cleaned(path);
        let is_target = |piece: &Piece| {
            piece.name == name && (piece.chunk_offset..piece.chunk_offset + piece.size).contains(offset)
        };
        let target = pieces.iter().rposition(is_target).with_context(|| format!("{at}: not in the TOC"))?;
        let stream = pieces.get(target).map(|piece| piece.offset).unwrap_or_default();
        let is_sibling =
            |(index, piece): &(usize, &Piece)| piece.offset == stream && piece.size > 0 && *index != target;
        let siblings: Vec<(usize, &Piece)> = pieces.iter().enumerate().filter(is_sibling).collect();
        let ours: Vec<_> = passed.iter().map(|visit| (visit.name.as_str(), visit.chunk_offset, visit.size)).collect();
        let wanted: Vec<_> =
            siblings.iter().map(|(_, piece)| (piece.name.as_str(), piece.chunk_offset, piece.size)).collect();
        if let Some(difference) = differs(&ours, &wanted) {
            return Ok(Some(format!("{at}: we against the TOC: {difference}")));
        }
        if !error.is_empty() {
            if stream == 0 && error.contains("discard of remaining -") {
                continue;
            }
            return Ok(Some(format!("{at}: the reference fails: {error}")));
        }
        // Up to the next piece of another stream in both directions.
        let same = |piece: &&Piece| piece.offset == stream;
        let back = pieces.get(..target).unwrap_or_default().iter().rev().take_while(same).count();
        let front = pieces.get(target..).unwrap_or_default().iter().take_while(same).count();
        let run = target - back..target + front;
        let near = siblings.iter().zip(&passed).filter(|((index, _), _)| run.contains(index));
        let near: Vec<Visit> = near.map(|(_, visit)| visit.clone()).collect();
        let visited = visited.iter().filter(|visit| visit.size > 0);
        let visited: Vec<Visit> = visited.map(|visit| Visit { name: cleaned(&visit.name), ..visit.clone() }).collect();
        if let Some(difference) = differs(&near, &visited) {
            return Ok(Some(format!("{at}: we against the reference: {difference}")));
        }
        let content = layer::sha256(&content).to_hex();
        if content != *sha256 {
            return Ok(Some(format!("{at}: content {content} against {sha256}")));
        }
    }
    Ok(None)
}

/// Where two lists begin to differ.
fn differs<T: PartialEq + Debug>(ours: &[T], theirs: &[T]) -> Option<String> {
    let at = (0..ours.len().max(theirs.len())).find(|&at| ours.get(at) != theirs.get(at))?;
    let (len, their_len) = (ours.len(), theirs.len());
    Some(format!("{len} against {their_len}, number {at}: {:?} against {:?}", ours.get(at), theirs.get(at)))
}
