//! `verify`, `extract` and `diff`.

use std::fs;

use serde_json::{Value, json};

use crate::run::Here;

#[test]
fn a_sound_source_is_counted() {
    let here = Here::with_all_forms();
    let layer = here.json("verify layer.esgz --deep");
    assert_eq!(layer["schema"], "dunnage.verify/1");
    // Two small files, the landmark, and 300 000 bytes in chunks of 64 KiB.
    assert_eq!((&layer["files"], &layer["chunks"], &layer["bytes"]), (&json!(4), &json!(8), &json!(300_017)));
    assert_eq!((&layer["toc_digest_compared"], &layer["deep"]), (&json!(false), &json!(true)));
    let text = here.ok("verify layer.esgz").out;
    assert!(text.contains("not compared with a manifest"), "{text}");
    let digest = layer["toc_digest"].as_str().unwrap();
    let text = here.ok(&format!("verify layer.esgz --toc-digest {digest} --threads 1")).out;
    assert!(text.contains(&format!("{digest}, as given")), "{text}");
    for source in ["tree", "tree.tar", "tree.tar.gz", "tree.tar.zst"] {
        let report = here.json(&format!("verify {source}"));
        assert_eq!((&report["files"], &report["bytes"], &report["chunks"]), (&json!(3), &json!(300_016), &Value::Null));
        assert!(here.ok(&format!("verify {source}")).out.contains("it carries no digests"));
    }
    assert!(here.piped("verify -", &here.read("layer.esgz")).out.starts_with("standard input: eStargz layer, sound"));
}

#[test]
fn damage_anywhere_in_a_layer_is_found() {
    let here = Here::with_all_forms();
    let layer = here.read("layer.esgz");
    let page = here.json("inspect layer.esgz --digest");
    let diff_id = &page["digests"]["diff_id"];
    let payload = page["layer"]["payload_size"].as_u64().unwrap() as usize;
    let mut reports = Vec::new();
    for at in (100..layer.len()).step_by(layer.len() / 60) {
        let mut damaged = layer.clone();
        damaged[at] ^= 0x10;
        here.write("damaged.esgz", &damaged);
        // Headers of the tar are covered by what the TOC says of them.
        let ran = here.run("verify damaged.esgz --deep");
        if ran.code == 0 {
            // A bit that no decoder looks at, such as those behind the last symbol of a stream.
            assert_eq!(here.json("inspect damaged.esgz --digest")["digests"]["diff_id"], *diff_id, "byte {at:#x}");
            continue;
        }
        ran.failed(1, &["damaged.esgz"]);
        reports.push((at, ran.err));
    }
    let of_a_file = |err: &str| err.contains("`big`") && err.contains("expected sha256:");
    assert!(reports.iter().any(|(_, err)| of_a_file(err)), "{reports:?}");
    assert!(reports.iter().any(|(at, _)| *at >= payload), "the TOC was not damaged");
    // Cut off exactly between payload and TOC, the rest is a sound tar, and no layer any more.
    for len in [0, 1, 50, 51, payload - 1, payload + 1, layer.len() - 52, layer.len() - 1] {
        here.write("damaged.esgz", &layer[..len]);
        let ran = here.run("verify damaged.esgz");
        // Nothing at all is an empty tar.
        assert_eq!(ran.code, i32::from(len > 0), "{len}: {} {}", ran.out, ran.err);
    }
}

#[test]
fn damage_to_a_compressed_archive_is_found() {
    let here = Here::with_all_forms();
    for source in ["tree.tar.gz", "tree.tar.zst"] {
        let whole = here.read(source);
        for at in [whole.len() / 3, whole.len() / 2, whole.len() - 2] {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x10;
            here.write("damaged", &damaged);
            for command in ["verify damaged", "extract damaged out --into-existing", "convert damaged x --to estargz"] {
                here.run(command).failed(1, &["`damaged`"]);
            }
            here.write("damaged", &whole[..at]);
            here.run("verify damaged").failed(1, &["`damaged`"]);
        }
    }
}

#[test]
fn another_toc_than_the_manifest_says_is_refused_by_every_command() {
    let here = Here::with_all_forms();
    let other = format!("--toc-digest sha256:{}", "0".repeat(64));
    for command in
        ["verify layer.esgz", "inspect layer.esgz", "ls layer.esgz", "cat layer.esgz big", "extract layer.esgz o"]
    {
        here.run(&format!("{command} {other}")).failed(1, &["layer.esgz", "expected sha256:0000", "got sha256:"]);
    }
    here.run(&format!("verify tree.tar {other}")).failed(2, &["--toc-digest is for layers, and `tree.tar` is: tar"]);
    assert!(!here.path("o").exists());
}

#[test]
fn what_is_extracted_is_what_was_there() {
    let here = Here::with_all_forms();
    for (at, source) in ["tree", "tree.tar", "tree.tar.gz", "tree.tar.zst", "layer.esgz"].into_iter().enumerate() {
        let report = here.json(&format!("extract {source} out{at}"));
        assert_eq!(report["schema"], "dunnage.extract/1");
        assert_eq!(
            (&report["files"], &report["hard_links"], &report["bytes"]),
            (&json!(3), &json!(1), &json!(300_016))
        );
        here.date_root(&format!("out{at}"));
        assert_eq!(here.ok(&format!("diff tree out{at} --ignore-owner")).out, "", "{source}");
        if source != "tree" {
            let ran = here.piped(&format!("extract - piped{at}"), &here.read(source));
            assert!(ran.out.starts_with(&format!("piped{at}: 3 files")), "{}{}", ran.out, ran.err);
            here.date_root(&format!("piped{at}"));
            assert_eq!(here.ok(&format!("diff tree piped{at} --ignore-owner")).out, "", "{source} from a pipe");
        }
    }
    here.run("extract layer.esgz out0").failed(2, &["`out0` is not empty", "--into-existing"]);
    here.write("out0/etc/motd", b"changed");
    here.ok("extract layer.esgz out0 --into-existing");
    assert_eq!(here.read("out0/etc/motd"), b"hello\n");
}

#[test]
fn what_would_give_rights_is_left_out_and_told() {
    let here = Here::new();
    fs::set_permissions(here.path("tree/bin/tool"), std::os::unix::fs::PermissionsExt::from_mode(0o4755)).unwrap();
    here.ok("convert tree tree.tar --to tar -q");
    let ran = here.ok("extract tree.tar out");
    assert!(ran.err.contains("bin/tool: set-id bits left out"), "{}", ran.err);
    assert_eq!(here.json("extract tree.tar out2 -q")["dropped_total"], 1);
    here.ok("extract tree.tar out3 --set-id -q");
    assert!(here.ok("ls -l out3/bin").out.starts_with("-rwsr-xr-x"));
}

#[test]
fn nothing_is_written_outside_of_the_destination() {
    let here = Here::new();
    for name in [b"../escaped".as_slice(), b"a/../../escaped"] {
        here.tar("bad.tar", &[(name, "x")]);
        here.run("extract bad.tar out").failed(1, &["bad.tar", "escaped"]);
        assert!(!here.path("escaped").exists());
        let _ = fs::remove_dir_all(here.path("out"));
    }
}

#[test]
fn whiteouts_are_names_unless_asked_for() {
    let here = Here::new();
    here.tar("upper.tar", &[(b"etc/.wh.motd", "")]);
    here.ok("extract tree out");
    here.ok("extract upper.tar out --into-existing --whiteouts apply");
    assert_eq!(here.ok("ls out etc").out, "hard\nmotd.link\n");
    here.ok("extract upper.tar out --into-existing");
    assert_eq!(here.ok("ls out etc").out, ".wh.motd\nhard\nmotd.link\n");
}

#[test]
fn differences_are_told_one_a_line() {
    let here = Here::with_all_forms();
    here.ok("extract tree other");
    here.write("other/etc/new", b"");
    here.write("other/bin/tool", b"#!/bin/sx\n");
    fs::remove_dir(here.path("other/empty")).unwrap();
    let ran = here.run("diff layer.esgz other --ignore-mtime --ignore-owner");
    assert_eq!(ran.code, 1);
    let wanted = "bin/tool: content from offset 0x8\nempty: directory only in the first\n\
                  etc/new: file only in the second\n";
    assert_eq!((ran.out.as_str(), ran.err.as_str()), (wanted, ""));
    let ran = here.run("diff layer.esgz other --ignore-mtime --ignore-owner --max 1 --json");
    let line: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((ran.code, &line["schema"], &line["what"]), (1, &json!("dunnage.diff/1"), &json!("content")));
    assert_eq!(line["path"], "bin/tool");
    let ran = here.piped("diff tree -", &here.read("tree.tar.gz"));
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    here.run("diff - -").failed(2, &["standard input cannot be both"]);
    // Directories keep parts of a second, a layer does not.
    assert_eq!(here.run("diff tree layer.esgz --exact-mtime").code, 1);
}
