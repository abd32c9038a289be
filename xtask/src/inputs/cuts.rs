//! Files with holes and chunks in every place where containers/storage cuts them.

use std::{io::Write as _, path::PathBuf};

use anyhow::{Context as _, Result};
use dunnage_conformance::{
    random::Random,
    tarball::{Entry, Format, tarball},
};

use super::make;
use crate::workspace::inputs_dir;

/// The tar of them.
pub(crate) fn cuts() -> Result<PathBuf> {
    let tar = inputs_dir()?.join("cuts.tar");
    let mut random = Random::new(0xc075);
    let mut noise = |len: usize| {
        let mut bytes = vec![0; len];
        random.fill(&mut bytes);
        // Nothing here is a zero, so that holes are just where they are put.
        bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = 1);
        bytes
    };
    let zeros = |len: usize| vec![0; len];
    let long = noise(300_000);
    // Where the first chunk of these bytes ends.
    let first = first_cut(&long).context("the noise has no chunk")?;
    let (cut, rest) = long.split_at(first);
    let files = [
        ("empty", Vec::new()),
        ("zero", zeros(1)),
        ("zeros-1023", zeros(1023)),
        ("zeros-1024", zeros(1024)),
        ("zeros-many", zeros(300_000)),
        ("noise", long.clone()),
        ("cut-at-the-end", cut.to_vec()),
        ("cut-before-a-hole", [cut, &zeros(5000), rest].concat()),
        ("cut-before-few-zeros", [cut, &zeros(1000), rest].concat()),
        ("hole-first", [zeros(1024), noise(10)].concat()),
        ("hole-last", [noise(10), zeros(1024)].concat()),
        ("few-zeros-first", [zeros(1023), noise(10)].concat()),
        ("few-zeros-last", [noise(10), zeros(1023)].concat()),
        ("holes", [noise(4096), zeros(4096), noise(1), zeros(10_000), noise(70_000), zeros(1024), noise(1)].concat()),
        ("hole-over-a-block", [noise(4095), zeros(8192), noise(5)].concat()),
        ("text", Random::new(7).text(200_000)),
    ];
    make(&tar, |out| out.write_all(&tarball(Format::Pax, &files.map(|(name, content)| Entry::file(name, content)))))?;
    Ok(tar)
}

/// Bytes up to where bup's rolling sum has 16 ones: written down once more, so as not to ask the code under test.
fn first_cut(bytes: &[u8]) -> Option<usize> {
    let (mut sum, mut weighted) = (64_u32 * 31, 64_u32 * 63 * 31);
    let mut window = [0_u8; 64];
    for (at, (&byte, slot)) in bytes.iter().zip((0..64).cycle()).enumerate() {
        let dropped = u32::from(std::mem::replace(window.get_mut(slot)?, byte));
        sum = sum.wrapping_add(u32::from(byte)).wrapping_sub(dropped);
        weighted = weighted.wrapping_add(sum).wrapping_sub(64_u32.wrapping_mul(dropped + 31));
        if weighted & 0xffff == 0xffff {
            return Some(at + 1);
        }
    }
    None
}
