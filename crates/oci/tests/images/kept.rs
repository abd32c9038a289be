//! Layers that are what they should become, and layers that only claim it.

use std::fs;

use dunnage_estargz::compose::Missing;
use dunnage_oci::{ImageOptions, Outcome, Record};

use crate::{
    make::*,
    targets::{To, options},
};

#[test]
fn an_image_that_is_converted_again_stays_the_same() {
    let here = Here::new();
    three_layers(&here);
    let first = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let again = here.convert(("out", None), ("out", Some("again")), &ImageOptions::default()).unwrap();
    assert_eq!(first.digest, again.digest);
    assert_eq!(again.digest, again.source);
    assert!(again.manifests[0].layers.iter().all(|layer| layer.outcome == Outcome::Kept && layer.toc_digest.is_some()));
    let copied = here.convert(("out", Some("again")), ("copy", None), &ImageOptions::default()).unwrap();
    assert_eq!(copied.digest, first.digest);
    assert_eq!(crate::verify::verify(&here, "copy", None).unwrap().tocs, 3);
}

#[test]
fn who_wants_files_in_front_gets_a_new_layer() {
    let here = Here::new();
    three_layers(&here);
    here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let options =
        ImageOptions { prioritized: vec!["etc/motd".to_owned()], missing: Missing::Report, ..ImageOptions::default() };
    let done = here.convert(("out", None), ("first", None), &options).unwrap();
    assert!(done.manifests[0].layers.iter().all(|layer| layer.outcome == Outcome::Converted));
    // Only the layer that the record names.
    let manifest = entry(&here.path("out"), "latest")["digest"].as_str().unwrap().to_owned();
    let record = format!("{{\"path\":\"etc/motd\",\"manifestDigest\":\"{manifest}\",\"layerIndex\":1}}\n");
    let record = Record::read(record.as_bytes()).unwrap();
    let done =
        here.convert(("out", None), ("record", None), &ImageOptions { record, ..ImageOptions::default() }).unwrap();
    let outcomes: Vec<Outcome> = done.manifests[0].layers.iter().map(|layer| layer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Kept, Outcome::Converted, Outcome::Kept]);
}

#[test]
fn a_layer_without_annotations_is_converted_again() {
    let here = Here::new();
    three_layers(&here);
    let first = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let mut making = here.make("bare");
    let layers: Vec<MadeLayer> = first.manifests[0]
        .layers
        .iter()
        .map(|layer| {
            let blob = fs::read(blob_path(&here.path("out"), &layer.digest.to_string())).unwrap();
            MadeLayer { descriptor: making.put(GZIP, &blob), diff_id: layer.diff_id.to_string() }
        })
        .collect();
    let image = making.image("amd64", &layers);
    making.tag("latest", &image);
    let again = here.convert(("bare", None), ("again", None), &ImageOptions::default()).unwrap();
    // The same bytes come out, and are now named.
    for (first, again) in first.manifests[0].layers.iter().zip(&again.manifests[0].layers) {
        assert_eq!(
            (again.outcome, again.digest, again.toc_digest),
            (Outcome::Converted, first.digest, first.toc_digest)
        );
    }
    assert_eq!(first.digest.to_string(), entry(&here.path("again"), "latest")["digest"]);
}

#[test]
fn the_same_blob_can_be_named_in_one_manifest_and_not_in_another() {
    let here = Here::new();
    three_layers(&here);
    let first = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let layer = &first.manifests[0].layers[0];
    let mut making = here.make("mixed");
    let blob = fs::read(blob_path(&here.path("out"), &layer.digest.to_string())).unwrap();
    let bare = MadeLayer { descriptor: making.put(GZIP, &blob), diff_id: layer.diff_id.to_string() };
    let mut named = bare.clone();
    for (name, value) in &layer.annotations {
        named.descriptor = annotated(named.descriptor, name, value);
    }
    let images = [making.image("amd64", &[named]), making.image("arm64", &[bare])];
    let index = making.index(INDEX, &images);
    making.tag("latest", &index);
    let done = here.convert(("mixed", None), ("done", None), &ImageOptions::default()).unwrap();
    let outcomes: Vec<Outcome> = done.manifests.iter().map(|manifest| manifest.layers[0].outcome).collect();
    assert_eq!(outcomes, [Outcome::Kept, Outcome::Converted]);
    // Both name it now.
    assert_eq!(crate::verify::verify(&here, "done", None).unwrap().unnamed_tocs, 0);
}

/// A layout with one eStargz layer, whose descriptor was then changed.
fn claiming(here: &Here, name: &str, value: &str) -> (String, String) {
    let mut plain = here.make("plain");
    let layer = plain.layer(GZIP, &three_tars()[0]);
    let image = plain.image("amd64", &[layer]);
    plain.tag("latest", &image);
    let done = here.convert(("plain", None), ("plain", Some("esgz")), &ImageOptions::default()).unwrap();
    let layer = &done.manifests[0].layers[0];
    let mut making = here.make("in");
    let blob = fs::read(blob_path(&here.path("plain"), &layer.digest.to_string())).unwrap();
    let mut descriptor = making.put(GZIP, &blob);
    for (name, value) in &layer.annotations {
        descriptor = annotated(descriptor, name, value);
    }
    let layers = [MadeLayer { descriptor: annotated(descriptor, name, value), diff_id: layer.diff_id.to_string() }];
    let image = making.image("amd64", &layers);
    making.tag("latest", &image);
    (format!("layer 1 of 1 ({})", layer.digest), layer.toc_digest.unwrap().to_string())
}

#[test]
fn a_table_of_contents_that_is_not_the_one_named_is_refused() {
    let other = format!("sha256:{}", "0".repeat(64));
    let zstd = "io.containers.zstd-chunked.manifest-checksum";
    for (name, value, wanted) in [
        (
            "containerd.io/snapshot/stargz/toc.digest",
            other.as_str(),
            "LAYER: TOC: digest mismatch: expected OTHER, got TOC",
        ),
        (
            "containerd.io/snapshot/stargz/toc.digest",
            "x",
            "malformed LAYER: expected a digest as `containerd.io/snapshot/stargz/toc.digest` (expected `algorithm:hex`, got no colon), got `x`",
        ),
        (
            zstd,
            other.as_str(),
            "inconsistent LAYER: expected zstd:chunked, as its annotation `io.containers.zstd-chunked.manifest-checksum` says, got eStargz",
        ),
    ] {
        let here = Here::new();
        let (layer, toc) = claiming(&here, name, value);
        let wanted = wanted.replace("LAYER", &layer).replace("OTHER", &other).replace("TOC", &toc).replacen(
            &format!(": {toc}: digest"),
            ": TOC: digest",
            1,
        );
        for target in [To::EStargz, To::ZstdChunked, To::Tar] {
            let error = here.convert(("in", None), ("out", None), &options(target)).unwrap_err();
            assert_eq!(told(&error), wanted);
        }
        let layout = here.open("in");
        let image = &layout.contents(None, &[]).unwrap().images[0];
        assert_eq!(told(&layout.tree(image, &Default::default()).unwrap_err()), wanted);
        assert_eq!(told(&crate::verify::verify(&here, "in", None).unwrap_err()), wanted);
    }
}
