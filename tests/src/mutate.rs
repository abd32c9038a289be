//! A seeded mutator: changes bytes as fuzzers do, the same in every run of one seed.

use crate::random::Random;

/// Inputs longer than this are cut: longer ones only take longer.
pub const LONGEST: usize = 64 << 10;

/// What tokens and neighbours there are to mutate with.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "a plain parcel of what a call needs")]
pub struct Material<'a> {
    /// Other inputs, to splice with.
    pub seeds: &'a [Vec<u8>],
    /// Magic numbers, keys and values that the target looks for.
    pub dictionary: &'a [&'a [u8]],
}

/// Changes `input` in one to six places.
#[must_use]
pub fn mutate(random: &mut Random, input: &[u8], material: Material<'_>) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(6) {
        step(random, &mut bytes, material);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn step(random: &mut Random, bytes: &mut Vec<u8>, material: Material<'_>) {
    if bytes.is_empty() {
        bytes.extend_from_slice(&random.next().to_le_bytes());
        return;
    }
    let len = bytes.len();
    let at = random.below(len as u64) as usize;
    match random.below(13) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 => bytes[at] = *random.pick(&[0, 1, 0x7f, 0x80, 0xfe, 0xff, b'0', b'/', b' ', b'"']),
        3 | 4 => boundary(random, bytes, at),
        5 => swap(random, bytes),
        6 => bytes.truncate(at),
        7 => {
            // The front of this one and the back of another.
            if !material.seeds.is_empty() {
                let other = random.pick(material.seeds);
                let from = random.below(other.len() as u64 + 1) as usize;
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
        8 | 9 => {
            if !material.dictionary.is_empty() {
                let token = *random.pick(material.dictionary);
                let end = if random.below(2) == 0 { at } else { len.min(at + token.len()) };
                bytes.splice(at..end, token.iter().copied());
            }
        }
        10 => {
            let end = at + random.below((len - at) as u64 + 1).min(4096) as usize;
            let piece = bytes[at..end].to_vec();
            let to = random.below(bytes.len() as u64 + 1) as usize;
            bytes.splice(to..to, piece);
        }
        11 => drop(bytes.drain(at..at + random.below((len - at) as u64 + 1).min(1024) as usize)),
        _ => number(random, bytes, at),
    }
}

/// Sets 2, 4 or 8 bytes to a value at the edge of what fits.
fn boundary(random: &mut Random, bytes: &mut [u8], at: usize) {
    let width = *random.pick(&[2_usize, 4, 8]);
    let max = if width == 8 { u64::MAX } else { (1 << (8 * width)) - 1 };
    let len = bytes.len() as u64;
    let value = *random.pick(&[0, 1, max / 2, max / 2 + 1, max - 1, max, len & max, len.wrapping_sub(51) & max]);
    let end = bytes.len().min(at + width);
    let all = if random.below(2) == 0 { value.to_le_bytes() } else { (value << (64 - 8 * width)).to_be_bytes() };
    let room = end - at;
    bytes[at..end].copy_from_slice(&all[..room]);
}

/// Exchanges two ranges of one length.
fn swap(random: &mut Random, bytes: &mut [u8]) {
    let half = bytes.len() as u64 / 2;
    let len = (random.below(half + 1)).min(2048) as usize;
    let first = random.below((half as usize - len) as u64 + 1) as usize;
    let second = half as usize + random.below((bytes.len() - half as usize - len) as u64 + 1) as usize;
    for at in 0..len {
        bytes.swap(first + at, second + at);
    }
}

/// Puts another number in the place of the decimal digits around `at`, if there are any.
fn number(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let Some(start) = (at..bytes.len()).find(|&at| bytes[at].is_ascii_digit()) else { return };
    let end = (start..bytes.len()).find(|&at| !bytes[at].is_ascii_digit()).unwrap_or(bytes.len());
    let edges = [
        "0",
        "1",
        "-1",
        "511",
        "513",
        "65535",
        "4294967296",
        "9223372036854775807",
        "9223372036854775808",
        "18446744073709551615",
        "1e9",
        "00",
    ];
    let small = random.below(2000).to_string();
    let text = if random.below(2) == 0 { small.as_str() } else { *random.pick(&edges) };
    bytes.splice(start..end, text.bytes());
}
