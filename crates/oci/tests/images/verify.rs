//! Verification: sound images pass, and the message names the blob that is damaged.

use std::fs;

use dunnage_oci::{Depth, Error, Images, Verification, VerifiedImage, VerifyOptions};
use serde_json::json;

use crate::{
    make::*,
    targets::{TARGETS, To, options},
};

pub(crate) fn verify(here: &Here, layout: &str, tag: Option<&str>) -> Result<VerifiedImage, Error> {
    let layout = dunnage_oci::Layout::open(&here.path(layout), &Default::default())?;
    let options = VerifyOptions { depth: Depth::Audit, ..VerifyOptions::default() };
    let plan = Verification::plan(&layout, tag, options)?;
    let done = std::sync::Mutex::new(0);
    let verified = plan.run(dunnage_digest::Progress::to(&|now| *done.lock().unwrap() = now))?;
    assert_eq!(*done.lock().unwrap(), plan.total_bytes());
    Ok(verified)
}

#[test]
fn what_a_conversion_makes_is_sound() {
    let here = Here::new();
    three_layers(&here);
    let found = verify(&here, "in", None).unwrap();
    assert_eq!((found.images, found.blobs, found.layers, found.tocs, found.entries), (1, 5, 3, 0, 14));
    for (target, _, format) in TARGETS {
        here.convert(("in", None), (format, None), &options(target)).unwrap();
        let found = verify(&here, format, Some("latest")).unwrap();
        assert_eq!(found.layers, 3, "{format}");
        assert_eq!(found.tocs, if target == To::Tar { 0 } else { 3 }, "{format}");
        assert_eq!(found.chunks > 0, target != To::Tar, "{format}");
    }
}

#[test]
fn each_byte_of_each_blob_counts() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &tarball(&[("a", "content")]));
    let image = making.image("amd64", &[layer]);
    making.tag("latest", &image);
    for (target, _, format) in TARGETS {
        here.convert(("in", None), (format, None), &options(target)).unwrap();
        for blob in fs::read_dir(here.path(format).join("blobs/sha256")).unwrap() {
            let path = blob.unwrap().path();
            let (digest, sound) = (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap());
            let toc_image = manifest_of_tocs(&here, format);
            for at in [0, sound.len() / 2, sound.len() - 1] {
                let mut damaged = sound.clone();
                damaged[at] ^= 0x20;
                fs::write(&path, &damaged).unwrap();
                let result = verify(&here, format, Some("latest"));
                if toc_image.contains(&digest) {
                    // Only the tables of contents in it belong to this image.
                    continue;
                }
                let error = told(&result.expect_err(&digest));
                assert!(error.contains(&digest) && error.contains("digest mismatch"), "{format}: {error}");
            }
            fs::write(&path, &sound[..sound.len() - 1]).unwrap();
            if !toc_image.contains(&digest) {
                let error = told(&verify(&here, format, Some("latest")).unwrap_err());
                let wanted = format!(
                    "blob sha256:{digest}: size mismatch: expected {} bytes, got {}",
                    sound.len(),
                    sound.len() - 1
                );
                assert!(error.ends_with(&wanted), "{error}");
            }
            fs::write(&path, &sound).unwrap();
        }
        verify(&here, format, Some("latest")).unwrap();
    }
}

/// What of a layout belongs to its image of tables of contents alone.
fn manifest_of_tocs(here: &Here, layout: &str) -> Vec<String> {
    let layout = here.open(layout);
    let Ok(entry) = layout.resolve(Some("latest-esgztoc")) else { return Vec::new() };
    let manifest = read_json(&here.path("estargz-external-toc"), &entry.digest().to_string());
    vec![entry.digest().to_hex(), manifest["config"]["digest"].as_str().unwrap()[7..].to_owned()]
}

#[test]
fn annotations_are_compared_with_what_they_describe() {
    for (target, name) in [
        (To::EStargz, "io.containers.estargz.uncompressed-size"),
        (To::ZstdChunked, "io.containers.zstd-chunked.manifest-position"),
        (To::ZstdChunked, "io.containers.zstd-chunked.manifest-checksum"),
    ] {
        let here = Here::new();
        three_layers(&here);
        let done = here.convert(("in", None), ("out", None), &options(target)).unwrap();
        let layer = &done.manifests[0].layers[0];
        let mut making = here.make("lie");
        let mut descriptor =
            making.put(&layer.media_type, &fs::read(blob_path(&here.path("out"), &layer.digest.to_string())).unwrap());
        for (known, value) in &layer.annotations {
            descriptor = annotated(descriptor, known, if known == name { "7" } else { value });
        }
        let image = making.image("amd64", &[MadeLayer { descriptor, diff_id: layer.diff_id.to_string() }]);
        making.tag("latest", &image);
        let wanted = format!(
            "inconsistent layer 1 of 1 ({}): expected `7`, as its annotation `{name}` says, got `{}`",
            layer.digest, layer.annotations[name]
        );
        assert_eq!(told(&verify(&here, "lie", None).unwrap_err()), wanted);
    }
}

#[test]
fn a_table_of_contents_that_lies_about_the_tar_is_found() {
    let here = Here::new();
    let (one, other) = (tarball(&[("a", "content")]), tarball(&[("b", "content")]));
    for (name, tar) in [("one", &one), ("other", &other)] {
        let mut making = here.make(name);
        let layer = making.layer(GZIP, tar);
        let image = making.image("amd64", &[layer]);
        making.tag("latest", &image);
        here.convert((name, None), (name, None), &options(To::EStargzExternalToc)).unwrap();
    }
    // The layer of one, with the table of contents of the other, both named.
    let layer = |name: &str| manifest(&here.path(name), "latest")["layers"][0].clone();
    let mut lie = here.make("lie");
    let mut descriptor =
        lie.put(GZIP, &fs::read(blob_path(&here.path("one"), layer("one")["digest"].as_str().unwrap())).unwrap());
    descriptor["annotations"] = layer("other")["annotations"].clone();
    let diff_id = read_json(
        &here.path("one"),
        manifest(&here.path("one"), "latest")["config"]["digest"].as_str().unwrap(),
    )["rootfs"]["diff_ids"][0]
        .as_str()
        .unwrap()
        .to_owned();
    let image = lie.image("amd64", &[MadeLayer { descriptor: descriptor.clone(), diff_id }]);
    lie.tag("latest", &image);
    let toc = manifest(&here.path("other"), "latest-esgztoc")["layers"][0]["digest"].as_str().unwrap().to_owned();
    let mut toc = lie.put(GZIP, &fs::read(blob_path(&here.path("other"), &toc)).unwrap());
    toc["annotations"] = json!({"containerd.io/snapshot/stargz/layer.digest": descriptor["digest"]});
    let tocs = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": lie.put(CONFIG, b"{}"), "layers": [toc]});
    let tocs = lie.put_json(MANIFEST, &tocs);
    lie.tag("latest-esgztoc", &tocs);
    let wanted = format!(
        "layer 1 of 1 ({}): the TOC and the tar disagree in 1 place(s): entry 1 (`a`): name: the TOC says `b`, the tar `a`",
        descriptor["digest"].as_str().unwrap()
    );
    assert_eq!(told(&verify(&here, "lie", Some("latest")).unwrap_err()), wanted);
    for (target, _, format) in TARGETS {
        let to = format!("to-{format}");
        let error = here.convert(("lie", Some("latest")), (&to, None), &options(target)).unwrap_err();
        assert_eq!(told(&error), wanted);
        assert!(!here.path(&to).join("index.json").exists());
    }
}
