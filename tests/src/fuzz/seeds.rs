//! What each body starts from: the fixtures, taken apart where a body wants a part of them.

use std::{collections::BTreeSet, fs, io::Read};

use dunnage_estargz::read::find_footer;

use super::Target;
use crate::{
    case::{fixture, fixtures_in, root},
    layer,
    mutate::LONGEST,
    random::Random,
};

/// The seeds of a target, the finds in tests/fuzz/corpus among them.
#[must_use]
pub fn seeds(target: &Target) -> Vec<Vec<u8>> {
    let mut seeds: BTreeSet<Vec<u8>> = match target.name {
        "estargz_footer" => layers().into_iter().map(|blob| blob[blob.len().saturating_sub(72)..].to_vec()).collect(),
        "toc_json" => layers().iter().filter_map(document).collect(),
        "gzip_members" => layers().into_iter().chain(archives(".gz")).collect(),
        "zstd_frames" => {
            layers().into_iter().filter(|blob| blob.starts_with(b"\x28\xb5")).chain(archives(".zst")).collect()
        }
        "tar_stream" => archives(".tar").into_iter().chain(layers().iter().filter_map(tar)).collect(),
        _ => (0..40).map(script).collect(),
    };
    if let Ok(finds) = fs::read_dir(root().join("tests/fuzz/corpus").join(target.name)) {
        seeds.extend(finds.filter_map(|find| fs::read(find.ok()?.path()).ok()));
    }
    seeds.into_iter().filter(|seed| seed.len() <= LONGEST).collect()
}

/// All layers among the fixtures, those with something wrong among them.
fn layers() -> Vec<Vec<u8>> {
    ["estargz", "estargz/malformed", "estargz/odd"].iter().flat_map(|dir| files(dir, &[".esgz", ".zst"])).collect()
}

/// All archives among the fixtures whose names end so.
fn archives(end: &str) -> Vec<Vec<u8>> {
    ["estargz", "tar/hostile"].iter().flat_map(|dir| files(dir, &[end])).collect()
}

fn files(dir: &str, ends: &[&str]) -> Vec<Vec<u8>> {
    let names = fixtures_in(dir).into_iter().filter(|name| ends.iter().any(|end| name.ends_with(end)));
    names.map(|name| fixture(&format!("{dir}/{name}"))).filter(|bytes| bytes.len() <= LONGEST).collect()
}

/// The TOC document of a layer, if it can be had.
fn document(blob: &Vec<u8>) -> Option<Vec<u8>> {
    let footer = find_footer(blob).ok().filter(|footer| footer.toc_len() > 0)?;
    let toc = blob.get(footer.toc_at().get() as usize..)?;
    let mut plain = Vec::new();
    if toc.starts_with(b"\x1f\x8b") {
        flate2::bufread::GzDecoder::new(toc).take(LONGEST as u64).read_to_end(&mut plain).ok()?;
        let size = std::str::from_utf8(plain.get(124..135)?).ok()?;
        let size = usize::from_str_radix(size, 8).ok()?;
        return plain.get(512..512 + size).map(<[u8]>::to_vec);
    }
    zstd::Decoder::new(toc).ok()?.single_frame().take(LONGEST as u64).read_to_end(&mut plain).ok()?;
    Some(plain)
}

/// The tar in a layer, if it can be had.
fn tar(blob: &Vec<u8>) -> Option<Vec<u8>> {
    find_footer(blob).ok()?;
    layer::unpack(blob.as_slice()).ok()
}

/// Decisions for the bodies that take any.
fn script(seed: u64) -> Vec<u8> {
    let mut random = Random::new(seed);
    let mut bytes = vec![0; 8 + random.below(48) as usize];
    random.fill(&mut bytes);
    bytes
}
