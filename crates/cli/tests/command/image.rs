//! Images in OCI layouts: every command on them, and conversion from one to the other.

use std::fs;

use dunnage_inputs::layout::{self, Layout, media};
use serde_json::{Value, json};

use crate::run::Here;

use media::{GZIP, TAR};

/// An image for `architecture`: `tree`, and over it a layer that removes `etc` and adds `new`.
fn image(here: &Here, layout: &Layout, architecture: &str) -> Value {
    here.tar("over.tar", &[(b".wh.etc", ""), (b"new", architecture)]);
    let layers = [(GZIP, "tree.tar"), (TAR, "over.tar")].map(|(kind, tar)| layout.layer(kind, &here.read(tar)));
    layout::platform(layout.image(architecture, &layers), &format!("linux/{architecture}"))
}

/// The layout `in`: `one` is an image for amd64, `many` one for amd64 and arm64.
pub(crate) fn with_images() -> Here {
    let here = Here::with_all_forms();
    let mut layout = Layout::create(&here.path("in"));
    let images = ["amd64", "arm64"].map(|architecture| image(&here, &layout, architecture));
    let many = layout.index(media::INDEX, &images);
    layout.tag("one", &images[0]);
    layout.tag("many", &many);
    here
}

#[test]
fn an_image_is_read_like_anything_else() {
    let here = with_images();
    assert_eq!(here.ok("ls oci:in:one").out, "big\nbin\nempty\nnew\nout\n");
    assert_eq!(here.ok("cat oci:in:one new").out, "amd64");
    assert_eq!(here.ok("cat oci:in:many new --platform linux/arm64").out, "arm64");
    here.run("ls oci:in:one etc").failed(1, &["no such file: `etc`"]);
    here.ok("extract oci:in:one out");
    assert_eq!(here.ok("diff oci:in:one out --ignore-mtime").out, "");
    assert_eq!(here.read("out/big"), here.read("tree/big"));
    let differs = here.run("diff oci:in:one tree");
    assert_eq!(
        (differs.code, differs.out.as_str()),
        (1, "etc: directory only in the second\nnew: file only in the first\n")
    );
    here.ok("convert oci:in:one flat.tar --to tar -q");
    assert_eq!(here.ok("diff flat.tar oci:in:one").out, "");
    here.ok("convert oci:in:one flat.esgz --to estargz -q");
    here.ok("verify flat.esgz --deep");
    assert_eq!(here.ok("diff flat.esgz oci:in:one").out, "");
}

#[test]
fn images_are_copied_between_layouts_and_archives() {
    let here = with_images();
    let wanted = here.json("inspect oci:in:one");
    here.ok("copy oci:in:one oci-archive:one.tar:one -q");
    here.ok("copy oci:in:one docker-archive:docker.tar:name:one -q");
    here.ok("copy oci-archive:one.tar oci:back:one -q");
    assert_eq!(here.json("inspect oci:back:one")["digest"], wanted["digest"]);
    let listed = here.ok("ls -R oci:in:one").out;
    // A plain path is recognised, and says the same with its prefix.
    for (plain, named, format) in [
        ("one.tar", "oci-archive:one.tar", "OCI image archive"),
        ("docker.tar", "docker-archive:docker.tar", "Docker image archive"),
        ("back", "oci:back", "OCI image"),
    ] {
        for source in [plain, named] {
            assert_eq!(here.json(&format!("inspect {source}"))["format"], format, "{source}");
            assert_eq!(here.ok(&format!("ls -R {source}")).out, listed, "{source}");
            assert_eq!(here.ok(&format!("diff {source} oci:in:one")).out, "", "{source}");
            here.ok(&format!("verify {source}"));
        }
    }
    // So does the archive in a pipe, also for verbs that read other tars from front to back; compressed or not.
    let packed = zstd::encode_all(here.read("docker.tar").as_slice(), 1).unwrap();
    for archive in [here.read("one.tar"), here.read("docker.tar"), packed] {
        assert_eq!(here.piped("ls -R -", &archive).out, listed);
        let _ = fs::remove_dir_all(here.path("unpacked"));
        assert_eq!(here.piped("extract - unpacked -q", &archive).code, 0);
        assert_eq!(here.piped("convert - piped.esgz --to estargz -q", &archive).code, 0);
        for made in ["unpacked", "piped.esgz"] {
            let differs = here.run(&format!("diff {made} oci:in:one"));
            assert!(differs.out.lines().all(|line| line.starts_with("/: ")), "{made}: {}", differs.out);
        }
        here.piped("convert - piped.tar --to tar --as tar -q", &archive);
        assert!(here.ok("ls piped.tar --as tar").out.contains(".json\n"));
    }
    let page = here.json("inspect docker.tar");
    for (at, layer) in page["images"][0]["layers"].as_array().unwrap().iter().enumerate() {
        assert_eq!(layer["diff_id"], wanted["images"][0]["layers"][at]["diff_id"]);
    }
    // As a tar it is the archive.
    assert!(here.ok("ls one.tar --as tar").out.contains("oci-layout\n"));
    // By digest, and by place.
    let digest = wanted["digest"].as_str().unwrap();
    for source in [format!("oci:in@{digest}"), "oci:in:@0".to_owned()] {
        assert_eq!(here.json(&format!("inspect {source}"))["digest"], wanted["digest"], "{source}");
    }
    here.ok("convert one.tar oci-archive:lazy.tar:lazy --to estargz -q");
    here.ok("verify lazy.tar --deep");
    for (args, says) in [
        ("copy tree.tar oci:x", "only images are copied"),
        ("copy oci:in:one plain", "`plain` says no form of image"),
        ("copy oci:in:many docker-archive:many.tar", "platform"),
    ] {
        here.run(args).failed(2, &[says]);
    }
    here.run("copy oci:in:one oci:back:one --no-clobber").failed(1, &["`one` exists"]);
}

#[test]
fn every_target_holds_the_same_files() {
    let here = with_images();
    for options in [
        "--to estargz",
        "--to estargz --level 1 --chunk-size 4K --codec zlib",
        "--to estargz --external-toc",
        "--to estargz --lossless",
        "--to estargz --stream-size 64K",
        "--to zstd-chunked --threads 1",
        "--to tar",
    ] {
        let _ = fs::remove_dir_all(here.path("to"));
        here.ok(&format!("convert oci:in:many oci:to:other {options} -q"));
        for platform in ["linux/amd64", "linux/arm64"] {
            let diff = here.ok(&format!("diff oci:in:many oci:to:other --platform {platform}"));
            assert_eq!(diff.out, "", "{options}");
        }
        let verified = here.json("verify oci:to:other --deep");
        assert_eq!((&verified["schema"], &verified["images"]), (&json!("dunnage.verify-image/1"), &json!(2)));
        assert_eq!(verified["tocs"], if options == "--to tar" { 0 } else { 3 }, "{options}");
    }
    // From each to the next, in place.
    for options in ["--to zstd-chunked", "--to estargz --external-toc", "--to estargz", "--to tar"] {
        here.ok(&format!("convert oci:to:other oci:to {options} -q"));
        assert_eq!(here.ok("diff oci:in:many oci:to:other --platform linux/arm64").out, "", "{options}");
    }
}

#[test]
fn the_report_tells_of_every_layer() {
    let here = with_images();
    let made = here.json("convert oci:in:many oci:to --to estargz --external-toc");
    assert_eq!((&made["schema"], &made["tag"]), (&json!("dunnage.convert-image/1"), &json!("many")));
    assert_eq!(made["toc_image"]["tag"], "many-esgztoc");
    let [amd, arm] = &made["manifests"].as_array().unwrap()[..] else { panic!() };
    assert_eq!((&amd["platform"], &arm["platform"]), (&json!("linux/amd64"), &json!("linux/arm64")));
    assert_eq!(amd["layers"][0], arm["layers"][0]);
    assert_eq!(amd["layers"][1]["source"]["media_type"], TAR);
    assert_eq!(amd["layers"][1]["media_type"], GZIP);
    let page = here.json("inspect oci:to:many");
    assert_eq!(page["schema"], "dunnage.inspect-image/1");
    assert_eq!(page["digest"], made["digest"]);
    for (image, manifest) in page["images"].as_array().unwrap().iter().zip([amd, arm]) {
        for (shown, layer) in image["layers"].as_array().unwrap().iter().zip(manifest["layers"].as_array().unwrap()) {
            for key in ["media_type", "digest", "size", "diff_id", "annotations"] {
                assert_eq!(shown[key], layer[key], "{key}");
            }
            assert_eq!((&shown["toc"]["digest"], &shown["toc"]["is_named"]), (&layer["toc_digest"], &json!(true)));
            assert_eq!(shown["format"], "estargz-external-toc");
        }
    }
    let text = here.ok("inspect oci:to:many").out;
    assert!(text.contains("linux/arm64: 2 layers") && text.contains("as the manifest says"), "{text}");
    let plain = here.json("inspect oci:in:one");
    assert_eq!(
        (&plain["images"][0]["layers"][0]["format"], &plain["images"][0]["layers"][0]["toc"]),
        (&json!("tar+gzip"), &Value::Null)
    );
    let text = here.ok("convert oci:to:many oci:to:again --to estargz --external-toc").out;
    assert!(text.contains("layers: 2 kept") && text.contains("`again-esgztoc`"), "{text}");
}

#[test]
fn platforms_records_and_tags() {
    let here = with_images();
    here.ok("convert oci:in:many oci:to:arm --to estargz --platform linux/arm64 -q");
    assert_eq!(here.json("inspect oci:to")["images"].as_array().unwrap().len(), 1);
    here.write("record", b"{\"path\":\"bin/tool\"}\n{\"path\":\"nowhere\"}\n");
    let ran = here.ok("convert oci:in:one oci:to:first --to estargz --record record");
    assert!(ran.err.contains("nowhere: not in any layer for linux/amd64"), "{}", ran.err);
    let made = here.json("convert oci:in:one oci:to:first --to estargz --record record -q");
    assert_eq!(made["manifests"][0]["missed"], json!(["nowhere"]));
    assert_eq!(made["manifests"][0]["layers"][0]["missed"], json!(["nowhere"]));
    here.ok("convert oci:in:one oci:to:second --to estargz --prioritize bin/tool -q");
    here.run("convert oci:in:one oci:to:second --to estargz --no-clobber")
        .failed(1, &["tag `second` exists", "--no-clobber"]);
    here.run("convert oci:in:one oci:to:x --to estargz --prioritize nowhere")
        .failed(1, &["`nowhere`", "--allow-missing"]);
    here.ok("convert oci:in:one oci:to:x --to estargz --prioritize nowhere --allow-missing -q");
    assert_eq!(here.ok("ls oci:to:x").out, here.ok("ls oci:in:one").out);
}

#[test]
fn wrong_calls_and_wrong_images_say_what_to_do() {
    let here = with_images();
    here.write("record", b"nonsense\n");
    for (args, code, says) in [
        ("ls oci:", 2, &["`oci:` names no path"][..]),
        ("ls oci:nowhere", 3, &["`nowhere`", "No such file"]),
        ("ls oci:tree", 1, &["no OCI image layout", "`index.json`"]),
        ("ls oci:in", 2, &["2 images", "`one`, `many`", "oci:DIR:TAG"]),
        ("ls oci:in:two", 1, &["no tag `two`", "`one`, `many`", "oci:DIR:TAG"]),
        ("ls oci:in:many", 2, &["linux/amd64, linux/arm64", "--platform"]),
        ("ls oci:in:many --platform linux/mips", 1, &["no image for linux/mips", "--platform"]),
        (
            "ls oci:in:one --toc-digest sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
            2,
            &["--toc-digest is for layers", "`oci:in:one` is: OCI image", "leave --toc-digest out"],
        ),
        ("inspect oci:in:one --digest", 2, &["leave --digest out"]),
        ("convert tree.tar oci:to --to estargz", 2, &["an image is made of an image", "oci:DIR"]),
        (
            "convert tree.tar x --to estargz --record record",
            2,
            &["--record is for images", "the destination is a file"],
        ),
        (
            "convert oci:in:one oci:to --to estargz --toc-out x",
            2,
            &["--toc-out is for files", "the destination is an image"],
        ),
        ("convert oci:in:one oci:to --to estargz --annotations", 2, &["--annotations"]),
        ("convert oci:in:one oci:to --to estargz --duplicates keep", 2, &["--duplicates"]),
        ("convert oci:in:one oci:to --to tar --external-toc", 2, &["leave --external-toc out"]),
        ("convert oci:in:one oci:to --to zstd-chunked --external-toc", 2, &["leave --external-toc out"]),
        ("convert oci:in:one oci:to --to tar --prioritize big", 2, &["--prioritize is for estargz and zstd-chunked"]),
        ("convert oci:in:one oci:to --to estargz --record record", 1, &["line 1 of the record"]),
        ("convert oci:in:one oci:to:a+ --to estargz", 2, &["a tag is made of"]),
        ("convert oci:in:one oci:tree --to estargz", 1, &["`tree` is no OCI image layout: it is not empty"]),
    ] {
        let ran = here.run(args);
        ran.failed(code, says);
        let told: Value = serde_json::from_str(&here.run(&format!("{args} --json")).err).unwrap();
        assert_eq!((&told["exit"], told["message"].is_string()), (&code.into(), true), "{args}");
    }
    assert!(here.run("ls oci:in:one --platform linux").code == 2);

    // A layer with one byte changed.
    let page = here.json("inspect oci:in:one");
    let digest = page["images"][0]["layers"][0]["digest"].as_str().unwrap().to_owned();
    let path = here.path("in/blobs").join(digest.replace(':', "/"));
    let mut blob = fs::read(&path).unwrap();
    *blob.last_mut().unwrap() ^= 1;
    fs::write(&path, blob).unwrap();
    for command in
        ["ls oci:in:one", "verify oci:in:one", "convert oci:in:one oci:to --to estargz", "extract oci:in:one out"]
    {
        let says = [format!("blob {digest}: digest mismatch"), "do not use it".to_owned()];
        here.run(command).failed(1, &[&says[0], &says[1]]);
    }
    assert!(!here.path("to/index.json").exists() && !here.path("out").exists());
}
