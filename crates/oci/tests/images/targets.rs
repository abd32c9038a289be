//! All targets, from one to the other and back; lossless conversion; tables of contents in an image of their own.

use std::{fs, io::Write, sync::Arc};

use dunnage_estargz::{
    WriteOptions,
    codec::{Compressor, Encoder, End, ExternalTocCompressor, GzipCompressor, TocWritten, ZstdCompressor},
    footer::Format,
};
use dunnage_oci::{ImageOptions, Outcome, TarBytes, Target};
use serde_json::{Value, json};

use crate::make::*;

/// What an image is converted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum To {
    EStargz,
    EStargzExternalToc,
    ZstdChunked,
    Tar,
}

pub(crate) fn options(to: To) -> ImageOptions {
    let mut write = WriteOptions::default();
    match to {
        To::ZstdChunked => write.compressor = Arc::new(ZstdCompressor::default()),
        To::EStargzExternalToc => {
            write.compressor = Arc::new(ExternalTocCompressor::new(GzipCompressor::default()));
        }
        To::EStargz | To::Tar => {}
    }
    let target = if to == To::Tar { Target::Tar } else { Target::Toc };
    ImageOptions { target, write, ..ImageOptions::default() }
}

pub(crate) const TARGETS: [(To, &str, &str); 4] = [
    (To::EStargz, GZIP, "estargz"),
    (To::EStargzExternalToc, GZIP, "estargz-external-toc"),
    (To::ZstdChunked, ZSTD, "zstd-chunked"),
    (To::Tar, TAR, "tar"),
];

#[test]
fn every_target_is_reached_from_every_other() {
    let here = Here::new();
    three_layers(&here);
    let source = here.open("in");
    let image = &source.contents(None, &[]).unwrap().images[0];
    for (target, kind, format) in TARGETS {
        let first = here.convert(("in", None), (format, None), &options(target)).unwrap();
        for (again, kind_again, format_again) in TARGETS {
            let to = format!("{format}-{format_again}");
            let second = here.convert((format, Some("latest")), (&to, None), &options(again)).unwrap();
            let out = here.open(&to);
            let contents = out.contents(Some("latest"), &[]).unwrap();
            assert_same_files((&source, image), (&out, &contents.images[0]));
            for (number, layer) in contents.images[0].layers.iter().enumerate() {
                assert_eq!(layer.descriptor.media_type(), kind_again, "{to}");
                let (found, toc) = out.open_layer(layer, &Default::default()).unwrap();
                assert_eq!((found.name(), toc.is_some()), (format_again, again != To::Tar), "{to}");
                let wanted = if target == again { Outcome::Kept } else { Outcome::Converted };
                assert_eq!(second.manifests[0].layers[number].outcome, wanted, "{to}");
            }
            if target == again {
                assert_eq!(first.digest, second.digest, "{to}");
                assert_eq!(first.toc_image, second.toc_image, "{to}");
            }
        }
        let (contents, out) = (here.open(format).contents(Some("latest"), &[]).unwrap(), here.open(format));
        assert!(contents.images[0].layers.iter().all(|layer| layer.descriptor.media_type() == kind));
        assert_same_files((&source, image), (&out, &contents.images[0]));
    }
}

#[test]
fn a_lossless_conversion_keeps_diff_ids_where_the_format_can() {
    let here = Here::new();
    let making = three_layers(&here);
    let config = |layout: &str| manifest(&here.path(layout), "latest")["config"]["digest"].clone();
    for (target, _, format) in TARGETS {
        let done = here
            .convert(("in", None), (format, None), &ImageOptions { tar: TarBytes::Lossless, ..options(target) })
            .unwrap();
        let kept = done.manifests[0].layers.iter().all(|layer| layer.diff_id == layer.source_diff_id);
        assert_eq!(kept, target != To::EStargz, "{format}");
        assert_eq!(config(format) == config("in"), kept, "{format}");
        // And back, to what it was.
        let back = ImageOptions { tar: TarBytes::Lossless, ..options(To::Tar) };
        let name = format!("{format}-back");
        let done = here.convert((format, Some("latest")), (&name, None), &back).unwrap();
        let diff_ids: Vec<String> = done.manifests[0].layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let config = read_json(making.path(), config("in").as_str().unwrap());
        assert_eq!(json!(diff_ids), config["rootfs"]["diff_ids"], "{format}");
    }
    let both = ImageOptions { tar: TarBytes::Lossless, prioritized: vec!["a".to_owned()], ..options(To::EStargz) };
    let error = here.convert(("in", None), ("no", None), &both).unwrap_err();
    assert_eq!(told(&error), "a tar that is kept bit for bit cannot have files put in front");
}

#[test]
fn tables_of_contents_can_be_an_image_of_their_own() {
    let here = Here::new();
    let mut making = here.make("in");
    let tars = three_tars();
    let [a, b, c] = [GZIP, TAR, ZSTD]
        .map(|kind| kind)
        .into_iter()
        .zip(&tars)
        .map(|(kind, tar)| making.layer(kind, tar))
        .collect::<Vec<_>>()
        .try_into()
        .ok()
        .unwrap();
    // Enough of them that they are in order by no accident.
    let more = (0..5).map(|number| making.layer(TAR, &tarball(&[(&format!("file{number}"), "x")])));
    let more: Vec<MadeLayer> = [a.clone(), b].into_iter().chain(more).collect();
    let amd = platform(making.image("amd64", &more), "linux/amd64");
    let arm = platform(making.image("arm64", &[a, c]), "linux/arm64");
    let index = making.index(INDEX, &[amd, arm]);
    making.tag("v1", &index);
    let done = here.convert(("in", None), ("out", None), &options(To::EStargzExternalToc)).unwrap();
    let out = here.path("out");
    let entry = entry(&out, "v1-esgztoc");
    assert_eq!(done.toc_image, Some(("v1-esgztoc".to_owned(), entry["digest"].as_str().unwrap().parse().unwrap())));
    assert_eq!(entry["mediaType"], MANIFEST);
    let toc_image = manifest(&out, "v1-esgztoc");
    assert_eq!((&toc_image["schemaVersion"], &toc_image["mediaType"]), (&json!(2), &json!(MANIFEST)));
    assert_eq!(toc_image["config"]["mediaType"], CONFIG);
    assert_eq!(fs::read(blob_path(&out, toc_image["config"]["digest"].as_str().unwrap())).unwrap(), b"{}");
    let layers = toc_image["layers"].as_array().unwrap();
    let digests: Vec<&str> = layers.iter().map(|layer| layer["digest"].as_str().unwrap()).collect();
    assert!(digests.is_sorted());
    // The layers of both platforms, each once.
    let mut of: Vec<&str> = layers
        .iter()
        .map(|layer| layer["annotations"]["containerd.io/snapshot/stargz/layer.digest"].as_str().unwrap())
        .collect();
    of.sort_unstable();
    let mut wanted: Vec<String> =
        done.manifests.iter().flat_map(|manifest| &manifest.layers).map(|layer| layer.digest.to_string()).collect();
    wanted.sort();
    wanted.dedup();
    assert_eq!(of, wanted);
    for layer in layers {
        assert_eq!(layer["mediaType"], GZIP);
        let toc = unpacked(&fs::read(blob_path(&out, layer["digest"].as_str().unwrap())).unwrap());
        assert_eq!(crate::convert::tar_names(&toc), ["stargz.index.json"]);
    }
    // The layers have nothing of their own in them.
    let blob = fs::read(blob_path(&out, wanted[0].as_str())).unwrap();
    assert!(!crate::convert::tar_names(&unpacked(&blob)).contains(&"stargz.index.json".to_owned()));

    // Such an image is copied like a signature, and not taken for one to run.
    let done = here.convert(("out", Some("v1-esgztoc")), ("copy", None), &options(To::EStargz)).unwrap();
    assert!(!done.manifests[0].is_image);
    assert_eq!(done.digest, done.source);
    let mut untagged = here.make("untagged");
    let image = untagged.image("amd64", &[]);
    untagged.tag("", &image);
    let error = here.convert(("untagged", None), ("no", None), &options(To::EStargzExternalToc)).unwrap_err();
    assert_eq!(told(&error), "tables of contents are found by the tag of their image, and this one has none");
}

#[test]
fn a_compressor_whose_layers_no_image_can_have_is_refused() {
    let here = Here::new();
    three_layers(&here);
    let mut wrong = options(To::EStargz);
    wrong.write.compressor = Arc::new(Foreign(GzipCompressor::default()));
    let error = told(&here.convert(("in", None), ("out", None), &wrong).unwrap_err());
    assert_eq!(error, "images cannot have layers of the format foreign");
}

/// Writes as gzip does, under another name.
#[derive(Debug)]
struct Foreign(GzipCompressor);

impl Compressor for Foreign {
    fn format(&self) -> Format {
        Format::Other("foreign")
    }

    fn encoder(&self) -> Result<Box<dyn Encoder>, dunnage_estargz::Error> {
        self.0.encoder()
    }

    fn write_toc_and_footer(
        &self,
        end: &End<'_>,
        diff: &mut dyn FnMut(&[u8]),
        out: &mut dyn Write,
    ) -> Result<TocWritten, dunnage_estargz::Error> {
        self.0.write_toc_and_footer(end, diff, out)
    }
}

#[test]
fn tars_are_unpacked_as_they_are_and_then_kept() {
    let here = Here::new();
    let making = three_layers(&here);
    let done = here.convert(("in", None), ("out", None), &options(To::Tar)).unwrap();
    let outcomes: Vec<Outcome> = done.manifests[0].layers.iter().map(|layer| layer.outcome).collect();
    assert_eq!(outcomes, [Outcome::Converted, Outcome::Kept, Outcome::Converted]);
    let new = manifest(&here.path("out"), "latest");
    for (layer, tar) in new["layers"].as_array().unwrap().iter().zip(three_tars()) {
        assert_eq!(fs::read(blob_path(&here.path("out"), layer["digest"].as_str().unwrap())).unwrap(), tar);
    }
    assert_eq!(new["config"], manifest(making.path(), "latest")["config"]);
}

#[test]
fn layers_that_may_not_be_passed_on_may_be_missing() {
    let here = Here::new();
    let mut making = here.make("in");
    let tars = three_tars();
    let foreign = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let mut base = making.layer(foreign, &tars[0]);
    base.descriptor["urls"] = json!(["https://example.org/base"]);
    let (there, gone) = (making.layer(foreign, &tars[1]), base.descriptor["digest"].as_str().unwrap().to_owned());
    fs::remove_file(blob_path(making.path(), &gone)).unwrap();
    let image = making.image("amd64", &[base.clone(), there]);
    making.tag("latest", &image);
    let done = here.convert(("in", None), ("out", None), &options(To::ZstdChunked)).unwrap();
    let layers = &done.manifests[0].layers;
    assert_eq!((layers[0].outcome, layers[1].outcome), (Outcome::Absent, Outcome::Converted));
    let new = manifest(&here.path("out"), "latest");
    assert_eq!(new["layers"][0], base.descriptor);
    assert_eq!(new["layers"][1]["mediaType"], foreign.replace("gzip", "zstd"));
    let verified = crate::verify::verify(&here, "out", None).unwrap();
    assert_eq!((verified.absent, verified.layers, verified.blobs), (1, 1, 3));
}

#[test]
fn artifacts_are_copied_bit_for_bit() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let image = entry(making.path(), "latest");
    let [config, content] = [making.put("application/vnd.example.config", b"{}"), making.put("text/plain", b"signed")];
    let signature = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example", "config": config,
        "layers": [content], "subject": {"mediaType": MANIFEST, "digest": image["digest"], "size": image["size"]}});
    let signature = making.put_json(MANIFEST, &signature);
    let unknown = making.put("application/vnd.unknown+json", b"whatever it is");
    let index = making.index(INDEX, &[image, signature.clone(), unknown.clone()]);
    making.tag("all", &index);
    let done = here.convert(("in", Some("all")), ("out", None), &options(To::EStargz)).unwrap();
    let kinds: Vec<bool> = done.manifests.iter().map(|manifest| manifest.is_image).collect();
    assert_eq!(kinds, [true, false, false]);
    let new = manifest(&here.path("out"), "all");
    assert_eq!((&new["manifests"][1], &new["manifests"][2]), (&signature, &unknown));
    assert_ne!(new["manifests"][0]["digest"], index["digest"]);
    for descriptor in [&config, &content, &signature, &unknown] {
        let digest = descriptor["digest"].as_str().unwrap();
        assert_eq!(
            fs::read(blob_path(&here.path("out"), digest)).unwrap(),
            fs::read(blob_path(making.path(), digest)).unwrap()
        );
    }
    assert_eq!(Value::from(done.manifests[1].digest.to_string()), signature["digest"]);
    let verified = crate::verify::verify(&here, "out", None).unwrap();
    // Index, manifest, configuration and three layers; the signature of three blobs, and what nobody knows.
    assert_eq!((verified.images, verified.blobs), (1, 10));
}
