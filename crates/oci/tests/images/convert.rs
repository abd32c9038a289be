//! The results of a conversion: layers, descriptors, documents, entries.

use std::{collections::BTreeMap, fs};

use dunnage_digest::{Cancel, Progress};
use dunnage_estargz::{
    annotations::{TOC_DIGEST_ANNOTATION, UNCOMPRESSED_SIZE_ANNOTATION},
    compose::Missing,
};
use dunnage_oci::{Conversion, ImageOptions, Images, Layout, Limits, Outcome, Record, SameTag, Target};
use serde_json::{Value, json};

use crate::make::*;

#[test]
fn layers_of_every_compression_become_estargz() {
    let here = Here::new();
    let making = three_layers(&here);
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    assert_eq!((done.tag.as_deref(), done.manifests.len()), (Some("latest"), 1));
    let (source, out) = (here.open("in"), here.open("out"));
    let (before, after) = (source.contents(None, &[]).unwrap(), out.contents(Some("latest"), &[]).unwrap());
    assert_same_files((&source, &before.images[0]), (&out, &after.images[0]));

    let (old, new) = (manifest(making.path(), "latest"), manifest(&here.path("out"), "latest"));
    let config = read_json(&here.path("out"), new["config"]["digest"].as_str().unwrap());
    for (number, layer) in done.manifests[0].layers.iter().enumerate() {
        assert_eq!(layer.outcome, Outcome::Converted);
        let descriptor = &new["layers"][number];
        let blob = fs::read(blob_path(&here.path("out"), descriptor["digest"].as_str().unwrap())).unwrap();
        let plain = unpacked(&blob);
        let diff_id = dunnage_digest::Digest::of(dunnage_digest::Algorithm::Sha256, &plain);
        assert_eq!(descriptor["mediaType"], GZIP);
        assert_eq!(descriptor["size"], blob.len());
        assert_eq!(config["rootfs"]["diff_ids"][number], diff_id.to_string());
        let annotations = json!({
            TOC_DIGEST_ANNOTATION: layer.toc_digest.unwrap().to_string(),
            UNCOMPRESSED_SIZE_ANNOTATION: plain.len().to_string(),
        });
        assert_eq!(descriptor["annotations"], annotations);
        assert_eq!(
            (layer.digest.to_string(), layer.diff_id.to_string()),
            (descriptor["digest"].as_str().unwrap().into(), diff_id.to_string())
        );
        assert_eq!(layer.source.to_string(), old["layers"][number]["digest"].as_str().unwrap());
        assert_eq!(layer.source_media_type, old["layers"][number]["mediaType"].as_str().unwrap());
    }
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let here = Here::new();
    three_layers(&here);
    let mut seen = Vec::new();
    for threads in [1, 2, 7] {
        let options = ImageOptions { threads, ..ImageOptions::default() };
        let name = format!("out{threads}");
        seen.push(here.convert(("in", None), (&name, None), &options).unwrap());
        assert_eq!(seen[0], *seen.last().unwrap());
        assert_eq!(
            fs::read(here.path("out1/index.json")).unwrap(),
            fs::read(here.path(&name).join("index.json")).unwrap()
        );
    }
}

#[test]
fn only_what_has_to_change_in_a_configuration_does() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &three_tars()[0]);
    // Spaces, unknown fields, odd numbers, and an order that nobody would write.
    let text = |diff_id: &str, space: &str| {
        format!(
            r#"{{"zzz":{{ "nested" : [1.50, 123456789012345678901234567890] }},"rootfs":{{"new":1e3,{space}"diff_ids":["{diff_id}"],"type":"layers"}},"os":"linux","architecture":"amd64","history":[{{"created_by":"a","empty_layer":true}},{{"created_by":"b é"}}],"x":null}}"#
        )
    };
    let config = making.put(CONFIG, text(&layer.diff_id, "").as_bytes());
    let manifest_text = json!({"schemaVersion": 2, "config": config, "layers": [layer.descriptor], "annotations": {"a": "b"},
        "subject": {"mediaType": MANIFEST, "digest": format!("sha256:{}", "0".repeat(64)), "size": 7}, "new": [1]});
    let image = making.put_json(MANIFEST, &manifest_text);
    making.tag("latest", &annotated(image, "kept", "yes"));
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let new = manifest(&here.path("out"), "latest");
    let written = fs::read(blob_path(&here.path("out"), new["config"]["digest"].as_str().unwrap())).unwrap();
    let diff_id = done.manifests[0].layers[0].diff_id.to_string();
    assert_eq!(String::from_utf8(written).unwrap(), text(&diff_id, ""));
    for key in ["subject", "annotations", "new", "schemaVersion"] {
        assert_eq!(new[key], manifest_text[key], "{key}");
    }
    assert_eq!(new["mediaType"], Value::Null);
    assert_eq!(entry(&here.path("out"), "latest")["annotations"]["kept"], "yes");
}

#[test]
fn a_layer_that_comes_up_again_is_converted_once() {
    let here = Here::new();
    let mut making = here.make("in");
    let tars = three_tars();
    let (shared, one, two) = (making.layer(GZIP, &tars[0]), making.layer(GZIP, &tars[1]), making.layer(TAR, &tars[2]));
    let amd = platform(making.image("amd64", &[shared.clone(), one, shared.clone()]), "linux/amd64");
    let arm = platform(making.image("arm64", &[shared.clone(), two]), "linux/arm64/v8");
    let index = making.index(INDEX, &[amd, arm]);
    making.tag("both", &index);
    let source = here.open("in");
    let sizes =
        |layers: &[&MadeLayer]| layers.iter().map(|layer| layer.descriptor["size"].as_u64().unwrap()).sum::<u64>();
    let plan = Conversion::plan(&source, None, ImageOptions::default()).unwrap();
    let all = [making.layer(GZIP, &tars[0]), making.layer(GZIP, &tars[1]), making.layer(TAR, &tars[2])];
    assert_eq!(plan.total_bytes(), sizes(&all.iter().collect::<Vec<_>>()));
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let [amd, arm] = &done.manifests[..] else { panic!() };
    assert_eq!((amd.layers.len(), arm.layers.len()), (3, 2));
    assert_eq!(amd.layers[0], amd.layers[2]);
    assert_eq!(amd.layers[0], arm.layers[0]);
    assert_eq!(arm.platform.as_ref().unwrap().to_string(), "linux/arm64/v8");
    let index = manifest(&here.path("out"), "both");
    assert_eq!(index["manifests"][1]["platform"], json!({"os": "linux", "architecture": "arm64", "variant": "v8"}));
    assert_eq!(index["manifests"][1]["digest"], arm.digest.to_string());
    // Three layers, two configurations, two manifests, one index.
    assert_eq!(fs::read_dir(here.path("out/blobs/sha256")).unwrap().count(), 8);
}

#[test]
fn platforms_are_picked_from_indexes_in_indexes() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &three_tars()[0]);
    let [amd, v6, v7, s390] =
        [("amd64", "linux/amd64"), ("arm", "linux/arm/v6"), ("arm", "linux/arm/v7"), ("s390x", "linux/s390x")].map(
            |(arch, text)| {
                let mut config = config(arch, std::slice::from_ref(&layer));
                config["for"] = text.into();
                (platform(making.image_of(&config, (MANIFEST, CONFIG), std::slice::from_ref(&layer)), text), text)
            },
        );
    let inner = making.index(INDEX, &[v6.0, v7.0]);
    let without_platform = making.image_of(
        &config("s390x", std::slice::from_ref(&layer)),
        (MANIFEST, CONFIG),
        std::slice::from_ref(&layer),
    );
    let attestation = |of: &Value| {
        let statement = making.put("application/vnd.in-toto+json", of["digest"].as_str().unwrap().as_bytes());
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": making.put_json(CONFIG, &json!({})), "layers": [statement]});
        let manifest =
            annotated(making.put_json(MANIFEST, &manifest), "vnd.docker.reference.type", "attestation-manifest");
        platform(annotated(manifest, "vnd.docker.reference.digest", of["digest"].as_str().unwrap()), "unknown/unknown")
    };
    let about = [attestation(&amd.0), attestation(&without_platform)];
    let index = making.index(INDEX, &[amd.0.clone(), about[0].clone(), inner, without_platform, about[1].clone()]);
    making.tag("many", &index);
    let _ = s390;
    for (platforms, images, others) in [
        (vec![], vec!["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/s390x"], 2),
        (vec!["linux/arm"], vec!["linux/arm/v6", "linux/arm/v7"], 0),
        (vec!["linux/arm/v7"], vec!["linux/arm/v7"], 0),
        (vec!["linux/s390x", "linux/amd64"], vec!["linux/amd64", "linux/s390x"], 2),
    ] {
        let platforms: Vec<_> = platforms.iter().map(|text| text.parse().unwrap()).collect();
        let options = ImageOptions { platforms: platforms.clone(), ..ImageOptions::default() };
        let name = format!("out{}{}", images.len(), images[0].len());
        let done = here.convert(("in", None), (&name, None), &options).unwrap();
        let found: Vec<String> = done
            .manifests
            .iter()
            .filter(|manifest| manifest.is_image)
            .map(|manifest| manifest.platform.as_ref().unwrap().to_string())
            .collect();
        assert_eq!(found, images);
        assert_eq!(done.manifests.len() - found.len(), others, "{images:?}");
        let out = here.open(&name).contents(None, &[]).unwrap();
        assert_eq!((out.images.len(), out.others.len()), (images.len(), others));
        if others == 2 {
            // Attestations are copied bit for bit, and stay where they were: behind the image they are about.
            let index = manifest(&here.path(&name), "many");
            assert_eq!(index["manifests"][1]["digest"], about[0]["digest"]);
            assert_eq!(index["manifests"].as_array().unwrap().last().unwrap()["digest"], about[1]["digest"]);
        }
    }
    let options = ImageOptions { platforms: vec!["linux/mips".parse().unwrap()], ..ImageOptions::default() };
    let error = here.convert(("in", None), ("no", None), &options).unwrap_err();
    let wanted = "no image for linux/mips: there is linux/amd64, linux/arm/v6, linux/arm/v7, linux/s390x";
    assert_eq!(told(&error), wanted);
    assert!(!here.path("no").exists());
}

#[test]
fn a_manifest_that_stands_alone_has_the_platform_of_its_configuration() {
    let here = Here::new();
    three_layers(&here);
    let options = |text: &str| ImageOptions { platforms: vec![text.parse().unwrap()], ..ImageOptions::default() };
    here.convert(("in", None), ("out", None), &options("linux/amd64")).unwrap();
    let error = here.convert(("in", None), ("no", None), &options("linux/arm64")).unwrap_err();
    assert_eq!(told(&error), "no image for linux/arm64: there is linux/amd64");
}

#[test]
fn what_nobody_asked_for_need_not_be_there() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &three_tars()[0]);
    let [amd, arm] = ["amd64", "arm64"].map(|architecture| {
        platform(making.image(architecture, std::slice::from_ref(&layer)), &format!("linux/{architecture}"))
    });
    let gone = arm["digest"].as_str().unwrap().to_owned();
    fs::remove_file(blob_path(making.path(), &gone)).unwrap();
    let index = making.index(INDEX, &[amd, arm]);
    making.tag("sparse", &index);
    let options = ImageOptions { platforms: vec!["linux/amd64".parse().unwrap()], ..ImageOptions::default() };
    here.convert(("in", None), ("out", None), &options).unwrap();
    let error = here.convert(("in", None), ("no", None), &ImageOptions::default()).unwrap_err();
    assert_eq!(told(&error), format!("no blob {gone} in `{}`", here.path("in").display()));
}

#[test]
fn of_many_who_add_images_at_once_none_loses_those_of_the_others() {
    let here = Here::new();
    three_layers(&here);
    std::thread::scope(|scope| {
        for number in 0..8 {
            let here = &here;
            let tag = format!("tag{number}");
            scope.spawn(move || here.convert(("in", None), ("out", Some(&tag)), &ImageOptions::default()).unwrap());
        }
    });
    let mut tags: Vec<String> =
        here.open("out").entries().unwrap().iter().map(|entry| entry.tag().unwrap().to_owned()).collect();
    tags.sort();
    assert_eq!(tags, (0..8).map(|number| format!("tag{number}")).collect::<Vec<_>>());
}

#[test]
fn docker_images_become_oci_images() {
    let here = Here::new();
    let mut making = here.make("in");
    const DOCKER: [&str; 4] = [
        "application/vnd.docker.distribution.manifest.list.v2+json",
        "application/vnd.docker.distribution.manifest.v2+json",
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ];
    let tars = three_tars();
    let layers = [
        making.layer(DOCKER[3], &tars[0]),
        making.layer("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", &tars[1]),
        making.layer("application/vnd.docker.image.rootfs.diff.tar.zstd", &tars[2]),
    ];
    let image = making.image_of(&config("amd64", &layers), (DOCKER[1], DOCKER[2]), &layers);
    let index = making.index(DOCKER[0], &[platform(image, "linux/amd64")]);
    making.tag("docker", &index);
    for (target, suffix) in [(Target::Toc, "+gzip"), (Target::Tar, "")] {
        let name = format!("out{suffix}");
        here.convert(("in", None), (&name, None), &ImageOptions { target, ..ImageOptions::default() }).unwrap();
        let out = here.path(&name);
        let index = manifest(&out, "docker");
        let manifest = read_json(&out, index["manifests"][0]["digest"].as_str().unwrap());
        assert_eq!(entry(&out, "docker")["mediaType"], INDEX);
        assert_eq!((&index["mediaType"], &index["manifests"][0]["mediaType"]), (&INDEX.into(), &MANIFEST.into()));
        assert_eq!((&manifest["mediaType"], &manifest["config"]["mediaType"]), (&MANIFEST.into(), &CONFIG.into()));
        let kinds: Vec<&str> =
            manifest["layers"].as_array().unwrap().iter().map(|layer| layer["mediaType"].as_str().unwrap()).collect();
        let foreign = format!("application/vnd.oci.image.layer.nondistributable.v1.tar{suffix}");
        assert_eq!(kinds, [format!("{TAR}{suffix}"), foreign, format!("{TAR}{suffix}")]);
        let (from, to) = (here.open("in"), here.open(&name));
        let (a, b) = (from.contents(None, &[]).unwrap(), to.contents(None, &[]).unwrap());
        assert_same_files((&from, &a.images[0]), (&to, &b.images[0]));
    }
}

#[test]
fn what_a_descriptor_says_about_the_old_blob_alone_goes() {
    let here = Here::new();
    let mut making = here.make("in");
    let mut layer = making.layer(GZIP, &three_tars()[0]);
    for (name, value) in [
        ("kept", "1"),
        ("containerd.io/snapshot/stargz/toc.digest", "sha256:old"),
        ("io.github.containers.zstd-chunked.manifest-position", "1:2:3:1"),
        ("io.containers.zstd-chunked.manifest-checksum", "x"),
        ("buildkit.io/compression/estargz", "x"),
        ("containerd.io/uncompressed", "sha256:old"),
    ] {
        layer.descriptor["annotations"][name] = value.into();
    }
    layer.descriptor["urls"] = json!(["https://example.org"]);
    layer.descriptor["data"] = "aGVsbG8=".into();
    layer.descriptor["x-unknown"] = json!({"a": 1});
    let image = making.image("amd64", &[layer]);
    making.tag("latest", &image);
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let descriptor = manifest(&here.path("out"), "latest")["layers"][0].clone();
    let layer = &done.manifests[0].layers[0];
    let mut wanted: BTreeMap<&str, String> =
        layer.annotations.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    wanted.insert("kept", "1".to_owned());
    wanted.insert("containerd.io/uncompressed", layer.diff_id.to_string());
    assert_eq!(descriptor["annotations"], json!(wanted));
    assert_eq!((&descriptor["urls"], &descriptor["data"]), (&Value::Null, &Value::Null));
    assert_eq!(descriptor["x-unknown"], json!({"a": 1}));

    here.convert(("in", None), ("tar", None), &ImageOptions { target: Target::Tar, ..ImageOptions::default() })
        .unwrap();
    let descriptor = manifest(&here.path("tar"), "latest")["layers"][0].clone();
    assert_eq!(descriptor["annotations"].as_object().unwrap().len(), 2);
}

#[test]
fn other_images_of_the_destination_stay() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let other = making.image("arm64", &[]);
    making.tag("other", &other);
    making.tag("", &other);
    let index = |name: &str| -> Value {
        serde_json::from_slice(&fs::read(here.path(name).join("index.json")).unwrap()).unwrap()
    };
    let tags = |name: &str| -> Vec<Value> {
        index(name)["manifests"].as_array().unwrap().iter().map(|entry| entry["annotations"][REF].clone()).collect()
    };
    let before = index("in");
    // Into the same layout, under another tag and under its own.
    here.convert(("in", Some("latest")), ("in", Some("latest-esgz")), &ImageOptions::default()).unwrap();
    assert_eq!(tags("in"), ["latest".into(), "other".into(), Value::Null, "latest-esgz".into()]);
    let done = here.convert(("in", Some("latest")), ("in", None), &ImageOptions::default()).unwrap();
    assert_eq!(tags("in"), ["latest".into(), "other".into(), Value::Null, "latest-esgz".into()]);
    let after = index("in");
    assert_eq!(after["manifests"][0]["digest"], done.digest.to_string());
    assert_eq!(after["manifests"][1], before["manifests"][1]);
    // Into another one, in place of the image there.
    here.convert(("in", Some("other")), ("out", Some("a")), &ImageOptions::default()).unwrap();
    here.convert(("in", Some("latest")), ("out", Some("b")), &ImageOptions::default()).unwrap();
    here.convert(("in", Some("latest")), ("out", Some("a")), &ImageOptions::default()).unwrap();
    assert_eq!(tags("out"), ["a", "b"]);
    assert_eq!(index("out")["manifests"][0]["digest"], index("out")["manifests"][1]["digest"]);
    let options = ImageOptions { same_tag: SameTag::Refuse, ..ImageOptions::default() };
    let error = here.convert(("in", Some("latest")), ("out", Some("a")), &options).unwrap_err();
    assert_eq!(told(&error), format!("tag `a` exists in `{}`", here.path("out").display()));
    for bad in ["", "a b", "-a", "a/", "a//b", "ä", &"x".repeat(256)] {
        let error = here.convert(("in", Some("latest")), ("out", Some(bad)), &ImageOptions::default()).unwrap_err();
        let wanted =
            format!("a tag is made of letters and digits, joined by `-._:@+/`, at most 255 characters, got `{bad}`");
        assert_eq!(told(&error), wanted);
    }
    here.convert(("in", Some("latest")), ("out", Some("registry.example/a/b:1.0-x_y")), &ImageOptions::default())
        .unwrap();
}

#[test]
fn files_come_first_where_they_are() {
    let here = Here::new();
    three_layers(&here);
    let options = |prioritized: &[&str], missing| ImageOptions {
        prioritized: prioritized.iter().map(|&file| file.to_owned()).collect(),
        missing,
        ..ImageOptions::default()
    };
    let done = here.convert(("in", None), ("out", None), &options(&["bin/tool", "etc/motd"], Missing::Refuse)).unwrap();
    let missed: Vec<&[String]> = done.manifests[0].layers.iter().map(|layer| &layer.missed[..]).collect();
    assert_eq!(missed, [&["bin/tool".to_owned()][..], &[], &["bin/tool".to_owned(), "etc/motd".to_owned()]]);
    assert!(done.manifests[0].missed.is_empty());
    let second = done.manifests[0].layers[1].digest.to_string();
    let names = tar_names(&unpacked(&fs::read(blob_path(&here.path("out"), &second)).unwrap()));
    assert_eq!(names[..5], ["bin/", "bin/tool", "etc/", "etc/motd", ".prefetch.landmark"]);

    let error =
        here.convert(("in", None), ("no", None), &options(&["etc/motd", "nowhere"], Missing::Refuse)).unwrap_err();
    let manifest = entry(&here.path("in"), "latest")["digest"].as_str().unwrap().to_owned();
    assert_eq!(told(&error), format!("no such file in any layer of manifest {manifest}: `nowhere`"));
    assert!(here.open("out").resolve(None).is_ok() && !here.path("no/index.json").exists());
    let done = here.convert(("in", None), ("more", None), &options(&["etc/motd", "nowhere"], Missing::Report)).unwrap();
    assert_eq!(done.manifests[0].missed, ["nowhere"]);

    // A line that names the manifest and a layer is for that layer alone.
    let record = format!(
        "{{\"path\":\"etc/motd\",\"manifestDigest\":\"{manifest}\",\"layerIndex\":1}}\n{{\"path\":\"gone\"}}\n"
    );
    let record = Record::read(record.as_bytes()).unwrap();
    let done =
        here.convert(("in", None), ("record", None), &ImageOptions { record, ..ImageOptions::default() }).unwrap();
    let first = |number: usize| {
        let digest = done.manifests[0].layers[number].digest.to_string();
        tar_names(&unpacked(&fs::read(blob_path(&here.path("record"), &digest)).unwrap()))[0].clone()
    };
    assert_eq!([first(0), first(1)], [".prefetch.landmark", "etc/"]);
    assert_eq!(done.manifests[0].missed, ["gone"]);

    let tar = ImageOptions { target: Target::Tar, ..options(&["a"], Missing::Report) };
    let error = here.convert(("in", None), ("no", None), &tar).unwrap_err();
    assert_eq!(told(&error), "files can be put in front in layers that are pulled lazily, not in tars");
}

#[test]
fn a_name_that_comes_up_twice_takes_a_second_look() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &tarball(&[("a", "first"), ("b", "b"), ("a", "second")]));
    let image = making.image("amd64", &[layer]);
    making.tag("latest", &image);
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let digest = done.manifests[0].layers[0].digest.to_string();
    let names = tar_names(&unpacked(&fs::read(blob_path(&here.path("out"), &digest)).unwrap()));
    assert_eq!(names, [".no.prefetch.landmark", "b", "a", "stargz.index.json"]);
}

#[test]
fn a_cancelled_run_leaves_no_image() {
    let here = Here::new();
    three_layers(&here);
    let source = Layout::open(&here.path("in"), &Limits::default()).unwrap();
    let to = Layout::create(&here.path("out"), &Limits::default()).unwrap();
    let cancel = Cancel::new();
    cancel.cancel();
    let conversion = Conversion::plan(&source, None, ImageOptions::default()).unwrap();
    let error = conversion.run(&to, None, Progress::none().cancelled_by(&cancel)).unwrap_err();
    assert_eq!(told(&error), "cancelled by the caller");
    assert!(!here.path("out/index.json").exists());
    // A layout without an index can be continued.
    here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
}

#[test]
fn damaged_blobs_of_the_destination_are_replaced() {
    let here = Here::new();
    three_layers(&here);
    let done = here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
    let digest = done.manifests[0].layers[0].digest.to_string();
    let path = blob_path(&here.path("out"), &digest);
    let sound = fs::read(&path).unwrap();
    for damaged in [&b""[..], &vec![7; sound.len()]] {
        fs::write(&path, damaged).unwrap();
        here.convert(("in", None), ("out", None), &ImageOptions::default()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), sound);
    }
    let names: Vec<_> =
        fs::read_dir(here.path("out/blobs/sha256")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().all(|name| name.len() == 64), "{names:?}");
}

#[test]
fn a_directory_with_something_else_in_it_is_no_destination() {
    let here = Here::new();
    three_layers(&here);
    fs::create_dir(here.path("full")).unwrap();
    fs::write(here.path("full/file"), "x").unwrap();
    let error = here.convert(("in", None), ("full", None), &ImageOptions::default()).unwrap_err();
    let wanted = format!(
        "`{}` is no OCI image layout: it is not empty, and has no file `oci-layout`",
        here.path("full").display()
    );
    assert_eq!(told(&error), wanted);
    Layout::create(&here.path("a/b/c"), &Limits::default()).unwrap();
    let error = Layout::open(&here.path("a/b"), &Limits::default()).unwrap_err();
    assert!(told(&error).ends_with("is no OCI image layout: it has no file `oci-layout`"), "{}", told(&error));
}

pub(crate) fn tar_names(tar: &[u8]) -> Vec<String> {
    let mut entries = dunnage_tree::tar::Reader::new(tar, Default::default());
    let mut header = dunnage_tree::tar::Header::default();
    let mut names = Vec::new();
    while entries.next_header(&mut header).unwrap() {
        names.push(String::from_utf8(header.name.clone()).unwrap());
    }
    names
}
