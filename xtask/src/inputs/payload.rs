//! What a state file holds: half of it like text, half noise, in runs that fit no chunk.

use std::{
    io::{self, Write},
    path::PathBuf,
};

use anyhow::Result;
use dunnage_conformance::random::Random;

use super::make;
use crate::workspace::inputs_dir;

/// A run of text, and then one of noise, so that most chunks of 1 MiB have both.
const RUN: usize = 320 << 10;
/// Text is cut out of so much of it, at a place of its own each time.
const TEXT: usize = 8 << 20;

/// `bytes` bytes that are the same everywhere.
pub(crate) fn payload(bytes: u64) -> Result<PathBuf> {
    let path = inputs_dir()?.join(format!("payload-{bytes}.bin"));
    make(&path, |out| write(bytes, out))?;
    Ok(path)
}

fn write(bytes: u64, out: &mut impl Write) -> io::Result<()> {
    let mut random = Random::new(0x57a7e);
    let text = random.text(TEXT);
    let mut noise = vec![0; RUN];
    let mut left = bytes;
    let mut is_text = true;
    while left > 0 {
        let len = left.min(RUN as u64) as usize;
        let at = random.below((TEXT - RUN) as u64) as usize;
        let run = if is_text {
            text.get(at..at + len)
        } else {
            random.fill(&mut noise);
            noise.get(..len)
        };
        out.write_all(run.unwrap_or_default())?;
        left -= len as u64;
        is_text = !is_text;
    }
    Ok(())
}
