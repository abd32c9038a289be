//! `state`, and what `inspect` and `verify` make of state files and checkpoints.

use std::{
    fs::{self, File},
    process::Stdio,
};

use serde_json::{Value, json};

use crate::run::{Here, Ran};

const KEY: &[u8] = b"a key of thirty-two bytes, as is";

/// A payload of a bit more than two chunks, half of it easy to compress.
fn payload() -> Vec<u8> {
    let noise = |at: u32| (at.wrapping_mul(2_654_435_761) >> 13) as u8;
    (0..2_500_000_u32).map(|at| if at % 8192 < 4096 { noise(at) } else { b'x' }).collect()
}

/// `payload`, `key`, `other`, and of the payload `plain` (D, no key), `keyed` (D, deflate), `old` (A, deflate, no key).
fn here() -> Here {
    let here = Here::new();
    here.write("payload", &payload());
    here.write("key", KEY);
    here.write("other", b"another key");
    here.ok("state pack payload plain --timestamp 0 -q");
    here.ok("state pack payload keyed --key-file key --compression flate-best-speed --timestamp 0 -q");
    here.ok("state pack payload old --dialect a --metadata container_count=1 --timestamp 0 -q");
    here
}

#[test]
fn what_was_packed_comes_out_again() {
    let here = here();
    let payload = payload();
    for (file, key) in [("plain", ""), ("keyed", "--key-file key"), ("old", "")] {
        for run in
            [here.ok(&format!("state cat {file} {key}")), here.piped(&format!("state cat - {key}"), &here.read(file))]
        {
            assert!(run.bytes == payload, "{file}: {}", run.err);
        }
        let bytes = here.piped(&format!("state pack - - {key} --timestamp 0"), &payload);
        assert_eq!(here.piped(&format!("state cat - {key}"), &bytes.bytes).bytes.len(), payload.len());
    }
    let report = here.json("state pack payload again --compression none --metadata a=b=c --with-length --timestamp 0");
    assert_eq!(report["schema"], "dunnage.state-pack/1");
    assert_eq!(report["payload_bytes"], json!(payload.len()));
    let page = here.json("state show again");
    assert_eq!((&page["metadata"]["a"], &page["metadata"]["dunnage.length"]), (&json!("b=c"), &json!("2500000")));
    assert_eq!(page["metadata"]["_timestamp"], "1970-01-01 00:00:00 +0000 UTC");
    here.write("cut", &here.read("again")[..1_000_000]);
    here.run("state cat cut").failed(1, &["`cut`", "expected 2500000"]);
}

#[test]
fn what_a_file_is_can_be_seen() {
    let here = here();
    for (file, dialects, compression, key) in [
        ("plain", json!(["D"]), "none", "none"),
        ("old", json!(["A", "B", "C"]), "flate-best-speed", "checksum"),
        ("keyed", json!([]), "flate-best-speed", "needed"),
    ] {
        let page = here.json(&format!("inspect {file}"));
        assert_eq!((&page["schema"], &page["format"]), (&json!("dunnage.state/1"), &json!("gVisor state file")));
        assert_eq!(
            (&page["dialects"], &page["compression"], &page["key"]),
            (&dialects, &json!(compression), &json!(key))
        );
        assert_eq!(page, here.json(&format!("state show {file}")));
    }
    let page = here.json("state show keyed --key-file key");
    assert_eq!((&page["key"], &page["authenticated"], &page["units"]), (&json!("given"), &json!(true), &json!(3)));
    let text = here.ok("state show keyed").out;
    assert!(text.contains("nothing that is said here was checked") && text.contains("--key-file FILE"), "{text}");
    here.run("inspect plain --digest").failed(2, &["--digest is for layers and tars", "is: gVisor state file"]);
    for command in ["ls plain", "extract plain out", "convert plain x --to tar"] {
        here.run(command).failed(1, &["a payload, and no files", "dunnage state"]);
    }
}

#[test]
fn damage_is_found_and_told() {
    let here = here();
    let report = here.json("state verify keyed --key-file key --expect-bytes 2500000");
    assert_eq!(report["schema"], "dunnage.state-verify/1");
    assert_eq!(
        (&report["units"], &report["authenticated"], &report["tail"], &report["length_compared"]),
        (&json!(3), &json!(true), &json!("complete"), &json!(true))
    );
    assert_eq!(here.json("verify keyed --key-file key")["authenticated"], true);
    assert_eq!(here.json("verify plain")["tail"], "unknown");
    let whole = here.read("keyed");
    for at in [20, 90, 200, whole.len() / 2, whole.len() - 1] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x10;
        here.write("damaged", &damaged);
        here.run("state verify damaged --key-file key").failed(1, &["`damaged` is not sound", "offset 0x"]);
        let cat = here.run("state cat damaged --key-file key");
        assert_eq!(cat.code, 1);
        assert!(payload().starts_with(&cat.bytes), "byte {at:#x}");
    }
    here.run("state verify keyed --key-file key --expect-bytes 1M")
        .failed(1, &["payload of 2500000 bytes, expected 1048576"]);
    here.run("state verify keyed --key-file other")
        .failed(1, &["MAC mismatch of header MAC", "its key is another one"]);
    here.run("state verify plain --key-file key").failed(1, &["mismatch"]);
    here.run("state verify old --key-file key").failed(1, &["written without a key", "leave the key out"]);
    for command in ["state verify keyed", "state cat keyed", "verify keyed", "state convert keyed x"] {
        here.run(command).failed(5, &["a key is needed", "--key-file FILE or --key-fd N"]);
    }
    assert!(!here.path("x").exists());
}

#[test]
fn files_are_written_again_in_other_ways() {
    let here = here();
    here.ok("state convert keyed none --key-file key --compression none");
    here.ok("state convert none keyed2 --key-file key --compression flate-best-speed");
    assert!(here.read("keyed2") == here.read("keyed"));
    here.ok("state convert old new");
    let (old, new) = (here.json("state show old"), here.json("state show new"));
    assert_eq!((&new["dialects"], &new["metadata"]), (&json!(["D"]), &old["metadata"]));
    here.ok("state convert new old2 --dialect a");
    assert!(here.read("old2") == here.read("old"));
    here.ok("state rekey keyed other-keyed --key-file key --new-key-file other");
    here.run("state verify other-keyed --key-file key").failed(1, &["mismatch"]);
    here.ok("state verify other-keyed --key-file other");
    here.ok("state rekey other-keyed keyed3 --key-file other --new-key-file key");
    assert!(here.read("keyed3") == here.read("keyed"));
    let report = here.json("state rekey keyed open --key-file key --no-key");
    assert_eq!((&report["schema"], &report["dest"]), (&json!("dunnage.state-rekey/1"), &json!("open")));
    assert!(here.ok("state cat open").bytes == payload());
    here.run("state rekey keyed open --key-file key --no-key --no-clobber").failed(1, &["`open` exists"]);
    // Nothing appears of what cannot be finished.
    here.write("cut", &here.read("keyed")[..here.read("keyed").len() - 7]);
    here.run("state rekey cut gone --key-file key --no-key").failed(1, &["`cut`", "truncated"]);
    assert!(!here.path("gone").exists());
}

#[test]
fn keys_come_from_files_and_descriptors_only() {
    let here = here();
    let verify = |args: &str, input: &str| {
        let stdin = Stdio::from(File::open(here.path(input)).unwrap());
        Ran::from(here.command(args).stdin(stdin).output().unwrap())
    };
    assert_eq!(verify("state verify keyed --key-fd 0", "key").code, 0);
    verify("state verify keyed --key-fd 0", "other").failed(1, &["mismatch"]);
    assert_eq!(here.piped("state verify keyed --key-fd 0", KEY).code, 0);
    here.write("broken", b"a key\n");
    let ran = here.ok("state pack payload x --key-file broken");
    assert!(ran.err.contains("the line break at the end of `broken` is part of the key"), "{}", ran.err);
    here.write("empty", b"");
    here.write("zeros", &[0; 32]);
    for (args, code, says) in [
        ("state pack payload x --key-file empty", 2, "at least one byte"),
        ("state pack payload x --key-file zeros", 2, "zero bytes only"),
        ("state pack payload x --key-file payload", 2, "is no key"),
        ("state pack payload x --key-file nowhere", 3, "`nowhere`"),
        ("state verify keyed --key-fd 77", 3, "descriptor 77"),
        ("verify tree --key-file key", 2, "--key-file is for checkpoints and state files"),
    ] {
        here.run(args).failed(code, &[says]);
    }
    for args in [
        "state rekey keyed x --key-file key",
        "state rekey keyed x --no-key --new-key-file key",
        "state pack payload x --metadata novalue",
        "state verify keyed --key-file key --key-fd 3",
        "state show keyed --key secret",
    ] {
        assert_eq!(here.run(args).code, 2, "{args}");
    }
    here.run("state pack payload x --metadata _timestamp=now").failed(2, &["`_timestamp` is reserved"]);
    here.run("state pack payload x --dialect l").failed(2, &["dialect L is not written"]);
}

#[test]
fn a_checkpoint_is_listed_file_by_file() {
    let here = here();
    std::fs::create_dir(here.path("image")).unwrap();
    here.write("image/checkpoint.img", &here.read("plain"));
    here.write("image/pages.img", &[0; 3 * 4096 + 5]);
    here.write("image/pages_meta.img", &[&12_u64.to_le_bytes()[..], &[1; 20]].concat());
    here.write("image/notes\n", b"");
    let page = here.json("inspect image");
    assert_eq!(
        (&page["schema"], &page["format"]),
        (&json!("dunnage.inspect-checkpoint/1"), &json!("gVisor checkpoint"))
    );
    let files = page["files"].as_array().unwrap();
    let of = |name: &str| files.iter().find(|file| file["name"] == name).cloned().unwrap_or(Value::Null);
    assert_eq!(files.len(), 4);
    assert_eq!(of("checkpoint.img")["state"]["dialects"], json!(["D"]));
    assert_eq!(of("pages.img")["pages"], 3);
    assert!(of("pages.img")["wrong"].as_str().unwrap().contains("cut off"));
    assert!(of("pages_meta.img")["what"].as_str().unwrap().contains("protobuf"));
    let text = here.ok("inspect image").out;
    assert!(text.contains("notes\\n: not part of a checkpoint") && text.contains("3 pages"), "{text}");
    // It stays a directory for everything else.
    assert!(here.ok("ls image").out.contains("pages.img"));
    here.run("inspect image --layout").failed(2, &["--layout is for images and layers", "is: gVisor checkpoint"]);
}

#[test]
fn what_strangers_wrote_cannot_act_on_a_terminal() {
    let here = here();
    let mut command = here.command("state pack payload odd --timestamp 0 -q --metadata");
    assert!(command.arg("a\u{1b}[2J=\u{202e}x\ny").status().unwrap().success());
    let text = here.ok("state show odd").out;
    assert!(!text.contains('\u{1b}') && !text.contains('\u{202e}'), "{text}");
    assert!(text.contains(r"a\x1b[2J=\xe2\x80\xaex\ny"), "{text}");
    assert_eq!(here.json("state show odd")["metadata"]["a\u{1b}[2J"], "\u{202e}x\ny");
}

#[test]
fn what_is_rewritten_is_readable_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt;
    let here = Here::new();
    here.write("payload", &[7; 5000]);
    let mode = |name: &str| fs::metadata(here.path(name)).unwrap().permissions().mode() & 0o7777;
    let set = |name: &str, mode: u32| fs::set_permissions(here.path(name), fs::Permissions::from_mode(mode)).unwrap();
    here.ok("state pack payload state.img --timestamp 0 -q");
    assert_eq!(mode("state.img"), 0o600);
    for bits in [0o600, 0o640] {
        set("state.img", bits);
        let _ = fs::remove_file(here.path("new.img"));
        here.ok("state convert state.img new.img --compression none -q");
        assert_eq!(mode("new.img"), bits);
        // A file that is replaced keeps its own.
        set("new.img", 0o604);
        here.ok("state convert state.img new.img -q");
        assert_eq!(mode("new.img"), 0o604);
    }
    here.write("payload.tar", &[0; 1024]);
    here.write("layer.esgz", b"old");
    set("layer.esgz", 0o600);
    here.ok("convert payload.tar layer.esgz --to estargz -q");
    assert_eq!(mode("layer.esgz"), 0o600);
}
