//! Cases as data: the TOML files under tests/cases, the files under fixtures/ that they name, and the pinned values under
//! tests/golden.

use std::{
    collections::BTreeSet,
    fs,
    io::Read as _,
    path::{Path, PathBuf},
};

use serde::de::DeserializeOwned;

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Reads a case file, by its path below tests/cases. Panics if it is not what the test expects.
#[must_use]
pub fn cases<T: DeserializeOwned>(path: &str) -> T {
    toml_file(&root().join("tests/cases").join(path))
}

/// Reads a pinned value by its path below tests/golden; returns its full path too, for messages.
#[must_use]
pub fn golden<T: DeserializeOwned>(path: &str) -> (T, PathBuf) {
    let path = root().join("tests/golden").join(path);
    (toml_file(&path), path)
}

/// Reads a fixture, by its path below fixtures/. One that is kept compressed, under this path and `.z`, is unpacked.
#[must_use]
pub fn fixture(path: &str) -> Vec<u8> {
    let path = root().join("fixtures").join(path);
    let unpacked = fs::read(&path).or_else(|missing| {
        let kept = fs::read(path.with_added_extension("z")).map_err(|_| missing)?;
        let mut bytes = Vec::new();
        flate2::bufread::MultiGzDecoder::new(kept.as_slice()).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    unpacked.unwrap_or_else(|error: std::io::Error| panic!("`{}`: {error}", path.display()))
}

/// Reads an eStargz blob, by its path below fixtures/estargz without `.esgz`.
#[must_use]
pub fn blob(name: &str) -> Vec<u8> {
    fixture(&format!("estargz/{name}.esgz"))
}

/// Names of the fixtures in a directory below fixtures/, as [`fixture`] takes them.
#[must_use]
pub fn fixtures_in(dir: &str) -> BTreeSet<String> {
    let dir = root().join("fixtures").join(dir);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("`{}`: {error}", dir.display()));
    let names = entries.map(|entry| entry.expect("a readable directory").file_name().into_string().expect("UTF-8"));
    names.map(|name| name.strip_suffix(".z").map(str::to_owned).unwrap_or(name)).collect()
}

/// The text of every integration test of the workspace.
#[must_use]
pub fn sources() -> Vec<String> {
    let dirs = ["tests/tests", "crates/estargz/tests", "crates/tree/tests", "crates/cli/tests/command"];
    let files = dirs.iter().flat_map(|dir| fs::read_dir(root().join(dir)).expect("a directory of tests"));
    let files = files.map(|file| file.expect("a readable directory").path()).filter(|path| path.is_file());
    files
        .map(|path| fs::read_to_string(&path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display())))
        .collect()
}

fn toml_file<T: DeserializeOwned>(path: &Path) -> T {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()));
    toml::from_str(&text).unwrap_or_else(|error| panic!("`{}`: {error}", path.display()))
}

/// The four prefixes that upstream's suite gives names.
pub const PREFIXES: [&str; 4] = ["", "./", "/", "../"];

/// How the input of a build is compressed.
pub const PACKINGS: [&str; 3] = ["none", "gzip", "zstd"];

/// Compresses an input. Panics on a packing that is none of [`PACKINGS`].
#[must_use]
pub fn pack(packing: &str, bytes: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    match packing {
        "none" => bytes.to_vec(),
        "gzip" => {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            gzip.write_all(bytes).and_then(|()| gzip.finish()).expect("gzip into memory")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("zstd into memory"),
        other => panic!("no packing is called `{other}`"),
    }
}
