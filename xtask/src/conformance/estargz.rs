//! eStargz: combinations of input, compression, level, chunk size, streams, order and mode, both ways.
//!
//! Ours to the reference: it verifies every chunk, shows the same tree with the same content as for its own blob of the
//! same input and options, and encodes our TOC to the same bytes. Theirs to us: the same the other way round. Beside that:
//! the tar inside is equal byte for byte (which is what DiffIDs cover besides the TOC), lossless gives the input back, the
//! bytes do not depend on threads or on whether the input is a file or a pipe, and GNU tar lists the layer. Where files
//! share streams, both sides come by the same neighbours.
//!
//! gzip with a stream for each chunk is run in all combinations. Of the other forms (zstd:chunked, a TOC apart, shared
//! streams) enough are chosen that every two settings meet.

mod blob;
mod check;
mod combination;
mod pre_read;
mod reference;

use anyhow::Result;
use dunnage_estargz::write::Streams;

use self::{
    combination::{Combination, Form, MODES},
    reference::Dumps,
};
use super::{
    Options,
    input::{self, DEBIAN, Input, inputs},
    pairs, run_all,
};
use crate::peers::Peer;

const LEVELS: [i32; 3] = [1, 6, 9];
const CHUNKS: [u64; 3] = [0, 4096, 1 << 20];

/// Compressions that are run in pairs of settings.
const FORMS: [(Form, i32); 4] = [(Form::Zstd, 1), (Form::Zstd, 3), (Form::External, 6), (Form::Gzip, 6)];
/// Streams that are run in pairs of settings.
const STREAMS: [Streams; 3] = [Streams::PerChunk, Streams::CompressedAtLeast(50_000), Streams::AtLeast(50_000)];

/// Runs all combinations, two at a time.
pub(super) fn run(options: &Options) -> Result<()> {
    let peer = if options.peers { Peer::build("estargz", options.no_skips)? } else { None };
    let inputs = inputs(options, peer.as_ref())?;
    let mut combinations = every_gzip(&inputs, options);
    combinations.extend(paired(&inputs));
    combinations.retain(|combination| options.wants(&combination.name()));
    // The long ones first, so that no core waits for the other at the end.
    combinations.sort_by_key(|combination| combination.input.small);
    for input in &inputs {
        let count = combinations.iter().filter(|combination| combination.input.name == input.name).count();
        println!("  input {}: {count} combinations", input.name);
    }
    let dumps = Dumps::default();
    run_all("estargz", peer.is_some(), &combinations, |combination, dir| combination.run(peer.as_ref(), &dumps, dir))
}

/// All combinations of gzip with a stream for each chunk.
fn every_gzip<'i>(inputs: &'i [Input], options: &Options) -> Vec<Combination<'i>> {
    let mut all = Vec::new();
    for input in inputs {
        for (l, &level) in LEVELS.iter().enumerate() {
            for (c, &chunk) in CHUNKS.iter().enumerate() {
                let is_left_out = options.quick && (level != 6 || chunk > 4096);
                if is_left_out || (options.sample && !input.small && (level, chunk) != (6, 0)) {
                    continue;
                }
                for (m, mode) in MODES.into_iter().enumerate() {
                    let (form, streams, turn) = (Form::Gzip, Streams::PerChunk, l + c + m);
                    all.push(Combination { input, form, level, streams, chunk, mode, turn });
                }
            }
        }
    }
    all
}

/// Combinations of the other forms and streams, so that every two settings meet.
fn paired(inputs: &[Input]) -> Vec<Combination<'_>> {
    let sizes = [input::NAMES.len(), FORMS.len(), STREAMS.len(), CHUNKS.len(), MODES.len()];
    let mut chosen = Vec::new();
    for (turn, values) in pairs::choose(&sizes, is_allowed).into_iter().enumerate() {
        let &[input, form, streams, chunk, mode] = values.as_slice() else { continue };
        let input = input::NAMES.get(input).and_then(|name| inputs.iter().find(|input| input.name == *name));
        let (form, streams) = (FORMS.get(form), STREAMS.get(streams));
        let (chunk, mode) = (CHUNKS.get(chunk), MODES.get(mode));
        if let (Some(input), Some(&(form, level)), Some(&streams)) = (input, form, streams)
            && let (Some(&chunk), Some(&mode)) = (chunk, mode)
        {
            chosen.push(Combination { input, form, level, streams, chunk, mode, turn });
        }
    }
    chosen
}

fn is_allowed(values: &[usize]) -> bool {
    let &[input, form, streams, chunk, _] = values else { return false };
    let is_gzip = FORMS.get(form).is_some_and(|(form, _)| *form == Form::Gzip);
    let is_zstd = FORMS.get(form).is_some_and(|(form, _)| *form == Form::Zstd);
    let is_shared = STREAMS.get(streams) != Some(&Streams::PerChunk);
    // That is what all combinations of gzip are about.
    if is_gzip && !is_shared {
        return false;
    }
    // Tens of thousands of chunks: the reference makes a zstd decoder for each, and decompresses shared streams from their
    // start for each. That takes minutes, and the small inputs show the same.
    let is_slow = is_zstd || is_shared;
    !(is_slow && input::NAMES.get(input) == Some(&DEBIAN) && CHUNKS.get(chunk) == Some(&4096))
}
