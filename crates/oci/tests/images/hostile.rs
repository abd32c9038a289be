//! Images that are wrong in one place, and the message about each.

use std::{fs, os::unix::fs::symlink};

use dunnage_oci::{Error, ImageOptions, Layout, Limits};
use serde_json::{Value, json};

use crate::make::*;

/// What converting and what checking says; both have to say the same.
fn refused(here: &Here, tag: Option<&str>) -> String {
    let converted = here.convert(("in", tag), ("out", None), &ImageOptions::default()).unwrap_err();
    assert!(!here.path("out/index.json").exists());
    let verified = crate::verify::verify(here, "in", tag).unwrap_err();
    assert_eq!(told(&converted), told(&verified));
    told(&converted)
}

/// A layout of one image, the manifest of which went through `change`.
fn with_manifest(change: impl FnOnce(&mut Value, &Making)) -> (Here, String) {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &three_tars()[0]);
    let config = making.put_json(CONFIG, &config("amd64", std::slice::from_ref(&layer)));
    let mut manifest =
        json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer.descriptor]});
    change(&mut manifest, &making);
    let image = making.put_json(MANIFEST, &manifest);
    making.tag("latest", &image);
    let digest = image["digest"].as_str().unwrap().to_owned();
    (here, digest)
}

#[test]
fn manifests_that_are_wrong_in_one_place() {
    const NONE: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    type Change = fn(&mut Value, &Making);
    let cases: &[(Change, &str)] = &[
        (
            |manifest, _| manifest["manifests"] = json!([]),
            "malformed MANIFEST: expected a manifest, got a document with `manifests`",
        ),
        (
            |manifest, _| manifest["fsLayers"] = json!([]),
            "malformed MANIFEST: expected a manifest, got a document with `fsLayers`",
        ),
        (
            |manifest, _| manifest["mediaType"] = INDEX.into(),
            "malformed MANIFEST: expected media type `application/vnd.oci.image.manifest.v1+json`, as its descriptor says, got `application/vnd.oci.image.index.v1+json`",
        ),
        (|manifest, _| manifest["schemaVersion"] = 1.into(), "malformed MANIFEST: expected schema version 2, got 1"),
        (
            |manifest, _| drop(manifest.as_object_mut().unwrap().remove("layers")),
            "malformed MANIFEST: expected a list of descriptors as `layers`, got nothing",
        ),
        (
            |manifest, _| drop(manifest.as_object_mut().unwrap().remove("config")),
            "malformed MANIFEST: expected a descriptor as `config`, got nothing",
        ),
        (|manifest, _| manifest["Layers"] = json!([]), "malformed MANIFEST: expected a key `layers`, got `Layers`"),
        (
            |manifest, _| manifest["layers"][0]["digest"] = "sha256:../../../../etc/passwd".into(),
            "malformed MANIFEST: expected a digest (expected 32 bytes of sha256, got 11), got `sha256:../../../../etc/passwd`",
        ),
        (
            |manifest, _| manifest["layers"][0]["digest"] = "../../x:00".into(),
            "malformed MANIFEST: expected a digest (unknown digest algorithm `../../x`), got `../../x:00`",
        ),
        (
            |manifest, _| manifest["layers"][0]["digest"] = "md5:d41d8cd98f00b204e9800998ecf8427e".into(),
            "malformed MANIFEST: expected a digest (unknown digest algorithm `md5`), got `md5:d41d8cd98f00b204e9800998ecf8427e`",
        ),
        (
            |manifest, _| manifest["layers"][0]["digest"] = NONE.into(),
            "no blob sha256:0000000000000000000000000000000000000000000000000000000000000000 in `LAYOUT`",
        ),
        (
            |manifest, _| manifest["config"]["digest"] = NONE.into(),
            "no blob sha256:0000000000000000000000000000000000000000000000000000000000000000 in `LAYOUT`",
        ),
        (
            |manifest, _| manifest["layers"][0]["size"] = 7.into(),
            "blob BLOB: size mismatch: expected 7 bytes, got SIZE",
        ),
        (
            |manifest, _| manifest["config"]["size"] = 5_000_000.into(),
            "bytes of a document: 5000000 is over the limit of 4194304",
        ),
        (
            |manifest, _| {
                manifest["layers"][0]["mediaType"] = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted".into()
            },
            "unsupported media type of a layer in MANIFEST: `application/vnd.oci.image.layer.v1.tar+gzip+encrypted`",
        ),
        (
            |manifest, making| {
                let other = making.layer("application/vnd.oci.image.layer.v1.tar+lzma", b"x").descriptor;
                manifest["layers"].as_array_mut().unwrap().push(other);
            },
            "unsupported media type of a layer in MANIFEST: `application/vnd.oci.image.layer.v1.tar+lzma`",
        ),
        (
            |manifest, _| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"] = vec![layer; 1025].into();
            },
            "layers of one manifest: 1025 is over the limit of 1024",
        ),
        (
            |manifest, _| {
                let layer = manifest["layers"][0].clone();
                manifest["layers"].as_array_mut().unwrap().push(layer);
            },
            "inconsistent configuration CONFIG: expected 2 diff IDs, as layers in manifest MANIFEST, got 1",
        ),
        (
            |manifest, _| manifest["layers"] = json!([]),
            "inconsistent configuration CONFIG: expected 0 diff IDs, as layers in manifest MANIFEST, got 1",
        ),
    ];
    for (change, wanted) in cases {
        let (here, manifest) = with_manifest(change);
        let document = read_json(&here.path("in"), &manifest);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let blob = text(&document["layers"][0]["digest"]);
        let size = fs::metadata(blob_path(&here.path("in"), &blob)).map_or(0, |meta| meta.len());
        let wanted = wanted
            .replace("MANIFEST", &manifest)
            .replace("CONFIG", &text(&document["config"]["digest"]))
            .replace("LAYOUT", &here.path("in").display().to_string())
            .replace("BLOB", &blob)
            .replace("SIZE", &size.to_string());
        assert_eq!(refused(&here, None), wanted);
    }
}

/// A layout of one image, the configuration of which went through `change`.
fn with_config(change: fn(&mut Value)) -> (Here, String, String) {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &three_tars()[0]);
    let mut config = config("amd64", std::slice::from_ref(&layer));
    change(&mut config);
    let digest = making.put_json(CONFIG, &config)["digest"].as_str().unwrap().to_owned();
    let blob = layer.descriptor["digest"].as_str().unwrap().to_owned();
    let image = making.image_of(&config, (MANIFEST, CONFIG), &[layer]);
    making.tag("latest", &image);
    (here, digest, blob)
}

#[test]
fn configurations_that_are_wrong_in_one_place() {
    let right = dunnage_digest::Digest::of(dunnage_digest::Algorithm::Sha256, &three_tars()[0]);
    type Change = fn(&mut Value);
    let cases: &[(Change, &str)] = &[
        (
            |config| config["rootfs"]["diff_ids"][0] = format!("sha256:{}", "0".repeat(64)).into(),
            "layer 1 of 1 (BLOB): diff ID: digest mismatch: expected sha256:0000000000000000000000000000000000000000000000000000000000000000, got RIGHT",
        ),
        (
            |config| config["rootfs"]["diff_ids"][0] = "x".into(),
            "malformed configuration CONFIG: expected a diff ID (expected `algorithm:hex`, got no colon), got `x`",
        ),
        (
            |config| config["rootfs"]["diff_ids"] = Value::Null,
            "inconsistent configuration CONFIG: expected 1 diff IDs, as layers in manifest MANIFEST, got 0",
        ),
        (
            |config| config["rootfs"]["type"] = "windows".into(),
            "unsupported type of root file system in configuration CONFIG: `windows`",
        ),
        (
            |config| drop(config.as_object_mut().unwrap().remove("rootfs")),
            "malformed configuration CONFIG: expected an object as `rootfs`, got nothing",
        ),
        (
            |config| config["rootfs"]["Diff_IDs"] = json!([]),
            "malformed configuration CONFIG: expected a key `diff_ids`, got `Diff_IDs`",
        ),
        (
            |config| config["history"] = json!([{"created_by": "a"}, {"empty_layer": true}, {"empty_layer": false}]),
            "inconsistent configuration CONFIG: expected 1 entries of its history that are layers, as layers in manifest MANIFEST, got 2",
        ),
        (
            |config| config["history"] = json!("x"),
            "malformed configuration CONFIG: expected a list of steps as `history`, got JSON with an error: invalid type: string \"x\", expected a sequence at line 1 column 3",
        ),
    ];
    for (change, wanted) in cases {
        let (here, config, blob) = with_config(*change);
        let manifest = entry(&here.path("in"), "latest")["digest"].as_str().unwrap().to_owned();
        let wanted = wanted
            .replace("BLOB", &blob)
            .replace("RIGHT", &right.to_string())
            .replace("CONFIG", &config)
            .replace("MANIFEST", &manifest);
        assert_eq!(refused(&here, None), wanted);
    }
}

#[test]
fn indexes_that_are_wrong_in_one_place() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let image = entry(making.path(), "latest");
    let mut tag = |name: &str, document: &Value| {
        let index = making.put_json(INDEX, document);
        making.tag(name, &index);
        index["digest"].as_str().unwrap().to_owned()
    };
    let head = |more: Value| {
        let mut document = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [image]});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        document
    };
    let both = tag("both", &head(json!({"layers": []})));
    let config = tag("config", &head(json!({"config": image})));
    let kind = tag("kind", &head(json!({"mediaType": MANIFEST})));
    let old = tag(
        "old",
        &head(
            json!({"manifests": [{"mediaType": "application/vnd.docker.distribution.manifest.v1+prettyjws", "digest": image["digest"], "size": image["size"]}]}),
        ),
    );
    let mut as_index = image.clone();
    as_index["mediaType"] = INDEX.into();
    tag("as-index", &head(json!({"manifests": [as_index]})));
    let many = vec![image.clone(); 4096];
    tag("many", &head(json!({"manifests": many})));
    let mut nested = image.clone();
    for _ in 0..9 {
        nested = making.index(INDEX, &[nested]);
    }
    making.tag("deep", &nested);
    let manifest = image["digest"].as_str().unwrap();
    for (tag, wanted) in [
        ("both", format!("malformed {both}: expected an index, got a document with `layers`")),
        ("config", format!("malformed {config}: expected an index, got a document with `config`")),
        ("kind", format!("malformed {kind}: expected media type `{INDEX}`, as its descriptor says, got `{MANIFEST}`")),
        (
            "old",
            format!(
                "unsupported media type in {manifest}: `application/vnd.docker.distribution.manifest.v1+prettyjws`"
            ),
        ),
        (
            "as-index",
            format!("malformed {manifest}: expected media type `{INDEX}`, as its descriptor says, got `{MANIFEST}`"),
        ),
        ("many", "manifests of one image: 4097 is over the limit of 4096".to_owned()),
        ("deep", "indexes inside each other: 9 is over the limit of 8".to_owned()),
    ] {
        assert_eq!(refused(&here, Some(tag)), wanted);
    }
    let _ = old;
}

#[test]
fn an_index_that_lists_itself_is_not_what_its_digest_says() {
    let here = Here::new();
    let mut making = here.make("in");
    // Nobody can make such a digest, so it is claimed.
    let name = format!("sha256:{}", "ab".repeat(32));
    let this = json!({"mediaType": INDEX, "digest": name, "size": 299});
    let text = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [this]}).to_string();
    let this = json!({"mediaType": INDEX, "digest": name, "size": text.len()});
    fs::write(blob_path(making.path(), &name), &text).unwrap();
    making.tag("loop", &this);
    let got = dunnage_digest::Digest::of(dunnage_digest::Algorithm::Sha256, text.as_bytes());
    assert_eq!(refused(&here, None), format!("blob {name}: digest mismatch: expected {name}, got {got}"));
}

#[test]
fn a_manifest_of_more_than_4_mib_is_not_read() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let mut big = manifest(making.path(), "latest");
    big["annotations"] = json!({"pad": "x".repeat(4 << 20)});
    let big = making.put_json(MANIFEST, &big);
    making.tag("big", &big);
    let wanted = format!("bytes of a document: {} is over the limit of 4194304", big["size"]);
    assert_eq!(refused(&here, Some("big")), wanted);
    // Several that fit by themselves.
    let mut children = Vec::new();
    for number in 0..3 {
        let mut one = manifest(making.path(), "latest");
        one["annotations"] = json!({"pad": format!("{number}{}", "x".repeat(1000))});
        children.push(making.put_json(MANIFEST, &one));
    }
    let index = making.index(INDEX, &children);
    making.tag("sum", &index);
    let limits = Limits { documents: 4000, ..Limits::default() };
    let layout = Layout::open(making.path(), &limits).unwrap();
    let error = layout.contents(Some("sum"), &[]).unwrap_err();
    assert!(told(&error).starts_with("bytes of all documents of one image: "), "{}", told(&error));
}

#[test]
fn layouts_that_are_wrong_in_one_place() {
    let here = Here::new();
    let path = |file: &str| here.path("in").join(file);
    let layout = here.path("in").display().to_string();
    type Change = fn(&std::path::Path);
    let cases: &[(&str, Change, &str)] = &[
        (
            "oci-layout",
            |file| fs::remove_file(file).unwrap(),
            "`LAYOUT` is no OCI image layout: it has no file `oci-layout`",
        ),
        (
            "oci-layout",
            |file| fs::write(file, r#"{"imageLayoutVersion":"2.0.0"}"#).unwrap(),
            "unsupported version in oci-layout: `2.0.0`",
        ),
        (
            "oci-layout",
            |file| fs::write(file, "{}").unwrap(),
            "malformed oci-layout: expected a version as `imageLayoutVersion`, got nothing",
        ),
        (
            "index.json",
            |file| fs::remove_file(file).unwrap(),
            "`LAYOUT` is no OCI image layout: it has no file `index.json`",
        ),
        (
            "index.json",
            |file| fs::write(file, r#"{"schemaVersion":2,"manifests":[]}"#).unwrap(),
            "`LAYOUT` holds no image",
        ),
        (
            "index.json",
            |file| fs::write(file, r#"{"schemaVersion":2,"manifests":null}"#).unwrap(),
            "`LAYOUT` holds no image",
        ),
        (
            "index.json",
            |file| fs::write(file, r#"{"schemaVersion":2,"manifests":[],"layers":[]}"#).unwrap(),
            "malformed index.json: expected an index, got a document with `layers`",
        ),
        (
            "index.json",
            |file| fs::write(file, r#"{"schemaVersion":2,"manifests":[],"manifests":[]}"#).unwrap(),
            "malformed index.json: expected a JSON object, got JSON with an error: key `manifests` appears twice at line 1 column 49",
        ),
        (
            "index.json",
            |file| fs::write(file, vec![b' '; (4 << 20) + 1]).unwrap(),
            "bytes of a document: 4194305 is over the limit of 4194304",
        ),
        (
            "index.json",
            |file| {
                let target = file.with_file_name("other.json");
                fs::rename(file, &target).unwrap();
                symlink("other.json", file).unwrap();
            },
            "cannot open `LAYOUT/index.json`: Too many levels of symbolic links (os error 40)",
        ),
    ];
    for (file, change, wanted) in cases {
        let _ = fs::remove_dir_all(here.path("in"));
        three_layers(&here);
        change(&path(file));
        assert_eq!(refused(&here, None), wanted.replace("LAYOUT", &layout), "{file}");
    }
}

#[test]
fn blobs_that_are_no_files_are_not_opened() {
    let here = Here::new();
    three_layers(&here);
    let digest = manifest(&here.path("in"), "latest")["layers"][0]["digest"].as_str().unwrap().to_owned();
    let path = blob_path(&here.path("in"), &digest);
    let name = path.display().to_string();
    let sound = here.path("sound");
    fs::rename(&path, &sound).unwrap();
    symlink(&sound, &path).unwrap();
    assert_eq!(refused(&here, None), format!("cannot open `{name}`: Too many levels of symbolic links (os error 40)"));
    fs::remove_file(&path).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
    assert!(made.success());
    assert_eq!(refused(&here, None), format!("cannot open `{name}`: not a regular file"));
    // The directory of blobs itself.
    fs::remove_file(&path).unwrap();
    fs::rename(&sound, &path).unwrap();
    fs::rename(here.path("in/blobs"), here.path("blobs")).unwrap();
    symlink("../blobs", here.path("in/blobs")).unwrap();
    assert!(refused(&here, None).ends_with("(os error 40)"));
}

#[test]
fn it_has_to_be_clear_which_image_is_meant() {
    let here = Here::new();
    let mut making = three_layers(&here);
    let layout = here.path("in").display().to_string();
    let other = making.image("arm64", &[]);
    making.tag("", &other);
    making.tag("two\nlines", &other);
    let other = other["digest"].as_str().unwrap().to_owned();
    let there = format!("there is `latest`, `@{other}`, `two\\nlines`");
    assert_eq!(refused(&here, None), format!("`{layout}` holds 3 images and no tag says which: {there}"));
    assert_eq!(refused(&here, Some("nope")), format!("no tag `nope` in `{layout}`: {there}"));
    let error = Layout::open(&here.path("nowhere"), &Limits::default()).unwrap_err();
    assert!(matches!(error, Error::Io { action: "open", .. }));
}

#[test]
fn a_layer_that_unpacks_to_too_much_is_left_alone() {
    let here = Here::new();
    let mut making = here.make("in");
    let mut tar = tarball(&[("zeros", &"\0".repeat(1 << 20))]);
    tar.resize(tar.len() + (1 << 20), 0);
    let layer = making.layer(GZIP, &tar);
    let image = making.image("amd64", &[layer]);
    making.tag("latest", &image);
    let mut options = ImageOptions { target: dunnage_oci::Target::Tar, ..ImageOptions::default() };
    options.write.limits.tar.unpacked = 1 << 20;
    let error = here.convert(("in", None), ("out", None), &options).unwrap_err();
    assert_eq!(error.kind(), dunnage_digest::ErrorKind::LimitExceeded);
    assert!(told(&error).starts_with("unpacked bytes of a layer: "), "{}", told(&error));
}

#[test]
fn a_layer_that_is_no_tar_says_so() {
    let here = Here::new();
    let mut making = here.make("in");
    let layer = making.layer(GZIP, &[7; 2000]);
    let digest = layer.descriptor["digest"].as_str().unwrap().to_owned();
    let image = making.image("amd64", &[layer]);
    making.tag("latest", &image);
    let error = refused(&here, None);
    assert!(
        error.starts_with(&format!(
            "layer 1 of 1 ({digest}): malformed tar header checksum at offset 0x0: expected 3784"
        )),
        "{error}"
    );
}
