//! Layers in the form of containers/storage, made by hand: when they are refused, and in which words
//! (tests/cases/estargz/storage.toml).

#![allow(
    clippy::tests_outside_test_module,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::collections::BTreeMap;

use dunnage_conformance::{case::cases, layer, stored};
use dunnage_digest::{Algorithm, Cancel, Digest, Progress};
use dunnage_estargz::{
    Reader,
    annotations::{STORAGE_CHECKSUM_ANNOTATION, STORAGE_POSITION_ANNOTATION, STORAGE_TAR_SPLIT_ANNOTATION},
    trust::AnnotatedToc,
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    content: Vec<Frame>,
    /// The entries of the TOC, with places.
    toc: String,
    /// The other members of the TOC, with places.
    #[serde(default = "named_split")]
    members: String,
    #[serde(default)]
    lines: Vec<String>,
    /// The change to the frame of the lines.
    #[serde(default)]
    split: Split,
    /// Length of the lines, as the footer has it.
    said: Option<u64>,
    /// Annotations that differ; an empty one is not there.
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    at: String,
    #[serde(default)]
    error: String,
}

fn named_split() -> String {
    r##","tarSplitDigest":"#split""##.to_owned()
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Frame {
    Text(String),
    Zeros(usize),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Split {
    #[default]
    Whole,
    Cut,
    More,
}

fn sha256(bytes: &[u8]) -> String {
    Digest::of(Algorithm::Sha256, bytes).to_string()
}

/// The blob of a case, and its annotations.
fn blob(case: &Case) -> (Vec<u8>, BTreeMap<String, String>) {
    let contents: Vec<Vec<u8>> = case
        .content
        .iter()
        .map(|frame| match frame {
            Frame::Text(text) => text.clone().into_bytes(),
            Frame::Zeros(len) => vec![0; *len],
        })
        .collect();
    let lines: String = case.lines.iter().map(|line| format!("{line}\n")).collect();
    let mut split = stored::frame(lines.as_bytes());
    match case.split {
        Split::Whole => {}
        Split::Cut => drop(split.split_off(split.len() - 3)),
        Split::More => split.push(0),
    }
    let mut places =
        BTreeMap::from([("#all".to_owned(), sha256(&contents.concat())), ("#split".to_owned(), sha256(&split))]);
    let mut payload = stored::frame(b"headers");
    for (number, content) in contents.iter().enumerate() {
        places.insert(format!("@{number}"), payload.len().to_string());
        places.insert(format!("#{number}"), sha256(content));
        payload.extend(stored::frame(content));
    }
    places.insert("@end".to_owned(), payload.len().to_string());
    payload.extend(stored::frame(b"more headers"));
    let mut json = format!(r#"{{"version":1,"entries":[{}]{}}}"#, case.toc, case.members);
    for (place, text) in &places {
        json = json.replace(place, text);
    }
    let said = case.said.unwrap_or(lines.len() as u64);
    let toc = stored::frame(json.as_bytes());
    let toc_at = payload.len() + 8;
    let split_at = toc_at + toc.len() + 8;
    let mut annotations = BTreeMap::from([
        (STORAGE_CHECKSUM_ANNOTATION.to_owned(), sha256(&toc)),
        (STORAGE_POSITION_ANNOTATION.to_owned(), format!("{toc_at}:{}:{}:1", toc.len(), json.len())),
        (STORAGE_TAR_SPLIT_ANNOTATION.to_owned(), format!("{split_at}:{}:{said}", split.len())),
    ]);
    annotations.extend(case.annotations.clone());
    annotations.retain(|_, text| !text.is_empty());
    (stored::storage_blob(&payload, json.as_bytes(), &split, said), annotations)
}

/// The first step that refuses a layer, and its words.
fn refusal(blob: &[u8], annotations: &BTreeMap<String, String>) -> (&'static str, String) {
    let reader: Reader<_> = match layer::open(blob) {
        Ok(reader) => reader,
        Err(error) => return ("open", words(&error)),
    };
    let annotated = AnnotatedToc::from_annotations(|name| annotations.get(name).map(String::as_str));
    if let Err(error) = annotated.and_then(|toc| reader.verify_annotated(&toc.unwrap()).map(drop)) {
        return ("annotations", words(&error));
    }
    if let Err(error) = reader.verify(1, Progress::none()) {
        return ("verify", words(&error));
    }
    if let Err(error) = reader.tar_split(&mut |_| Ok(())) {
        return ("tar_split", words(&error));
    }
    match reader.reassemble(std::io::sink(), &Cancel::new()) {
        Err(error) => ("reassemble", words(&error)),
        Ok(_) => ("never", String::new()),
    }
}

#[test]
fn what_is_wrong_with_a_layer_is_told_in_these_words() {
    let cases: Cases = cases("estargz/storage.toml");
    let mut wrong = Vec::new();
    for case in &cases.case {
        let (blob, annotations) = blob(case);
        let (at, error) = refusal(&blob, &annotations);
        if (at, error.as_str()) != (case.at.as_str(), case.error.as_str()) {
            let error = toml::Value::String(error);
            wrong.push(format!("name    = \"{}\"\nat      = \"{at}\"\nerror   = {error}\n", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} cases are answered otherwise:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_cut_and_no_changed_byte_of_an_index_is_passed_over() {
    let cases: Cases = cases("estargz/storage.toml");
    for case in cases.case.iter().filter(|case| case.at == "never") {
        let (blob, annotations) = blob(case);
        let place =
            |name: &str| -> Vec<usize> { annotations[name].split(':').map(|number| number.parse().unwrap()).collect() };
        let (toc, split) = (place(STORAGE_POSITION_ANNOTATION), place(STORAGE_TAR_SPLIT_ANNOTATION));
        let indexes = [toc[0]..toc[0] + toc[1], split[0]..split[0] + split[1], blob.len() - 72..blob.len()];
        for at in 0..blob.len() {
            assert_ne!(refusal(&blob[..at], &annotations).0, "never", "{}: cut at {at}", case.name);
        }
        for at in indexes.into_iter().flatten() {
            for mask in [0x01, 0x10, 0x80, 0xff] {
                let mut changed = blob.clone();
                changed[at] ^= mask;
                assert_ne!(refusal(&changed, &annotations).0, "never", "{}: byte {at} mask {mask:#x}", case.name);
            }
        }
    }
}

fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
