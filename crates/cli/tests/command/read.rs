//! `inspect`, `ls`, `cat`, and the pages made from the grammar.

use std::process::Stdio;

use serde_json::{Value, json};

use crate::run::{Here, Ran, names};

const FORMS: [(&str, &str); 5] = [
    ("tree", "directory"),
    ("tree.tar", "tar"),
    ("tree.tar.gz", "tar, gzip"),
    ("tree.tar.zst", "tar, zstd"),
    ("layer.esgz", "eStargz layer"),
];

#[test]
fn each_form_is_recognised_by_its_content_and_shows_the_same_files() {
    let here = Here::with_all_forms();
    let wanted = "big\nbin\nbin/tool\nempty\netc\netc/hard\netc/motd\netc/motd.link\nout\n";
    for (source, format) in FORMS {
        let page = here.ok(&format!("inspect {source}"));
        assert!(page.out.starts_with(&format!("{source}: {format}\n")), "{}", page.out);
        let page = here.json(&format!("inspect {source}"));
        assert_eq!(page["schema"], "dunnage.inspect/1");
        assert_eq!(page["format"], format);
        let kinds = json!({"directories": 3, "files": 3, "hard_links": 1, "symlinks": 2});
        assert_eq!(page["content"]["kinds"], kinds, "{source}");
        assert_eq!(page["content"]["bytes"], 300_016, "{source}");
        assert_eq!(here.ok(&format!("ls -R {source}")).out, wanted, "{source}");
        assert_eq!(here.ok(&format!("cat {source} etc/motd.link bin/tool")).out, "hello\n#!/bin/sh\n", "{source}");
        if source == "tree" {
            continue;
        }
        // A pipe and a redirection give the same as the file.
        let bytes = here.read(source);
        assert_eq!(here.piped("ls -R -", &bytes).out, wanted, "{source}");
        let redirected = here.command("ls -R -").stdin(std::fs::File::open(here.path(source)).unwrap()).output();
        assert_eq!(Ran::from(redirected.unwrap()).out, wanted, "{source}");
    }
}

#[test]
fn a_layer_tells_its_digests_and_parts() {
    let here = Here::with_all_forms();
    let made = here.json("convert tree.tar again.esgz --to estargz --chunk-size 64K --prioritize etc/motd");
    let page = here.json("inspect again.esgz --digest");
    assert_eq!(page["digests"]["blob"], made["blob"]);
    assert_eq!(page["digests"]["diff_id"], made["diff_id"]);
    assert_eq!(page["digests"]["unpacked"], made["uncompressed_size"]);
    assert_eq!(page["layer"]["toc_digest"], made["toc_digest"]);
    assert_eq!(page["layer"]["landmark"], ".prefetch.landmark");
    assert_eq!(page["layer"]["footer_size"], 51);
    // 300 000 bytes in chunks of 64 KiB, two small files and the landmark.
    assert_eq!(page["layer"]["chunks"], 5 + 2 + 1);
    let text = here.ok("inspect again.esgz").out;
    assert!(text.contains("toc digest    sha256:") && text.contains("(.prefetch.landmark)"), "{text}");
    here.run("inspect tree --digest").failed(2, &["--digest is for layers and tars, and `tree` is: directory"]);
}

#[test]
fn long_listings_are_laid_out_as_ls_does() {
    let here = Here::with_all_forms();
    let out = here.ok("ls -l layer.esgz etc").out;
    let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!((lines[0][0], lines[0][1], lines[0][4], lines[0][6]), ("-rw-r--r--", "2", "6", "hard"));
    assert_eq!(&lines[2][6..], ["motd.link", "->", "motd"]);
    assert!(lines[2][0].starts_with('l') && lines[0][5].ends_with('Z'));
    // A symlink is listed itself if looked at closely, and followed otherwise.
    assert_eq!(here.ok("ls -l layer.esgz etc/motd.link").out.split_whitespace().nth(6), Some("etc/motd.link"));
    assert_eq!(here.ok("ls layer.esgz etc/motd.link").out, "etc/motd.link\n");
    assert_eq!(here.ok("ls layer.esgz /bin/").out, "tool\n");
}

#[test]
fn json_listings_have_one_object_a_line_and_keep_names_that_are_no_text() {
    let here = Here::new();
    here.tar("odd.tar", &[(b"bad\xff", "x"), (b"two\nlines", "yy")]);
    let out = here.ok("ls odd.tar --json").out;
    let rows: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows[0]["schema"], "dunnage.ls/1");
    assert_eq!(rows[0]["path_base64"], "YmFk/w==");
    assert_eq!((&rows[1]["path"], &rows[1]["path_base64"]), (&json!("two\nlines"), &Value::Null));
    assert_eq!((&rows[1]["size"], &rows[1]["mode"], &rows[1]["kind"]), (&json!(2), &json!(0o644), &json!("file")));
    // A pipe gets the bytes as they are.
    assert_eq!(here.ok("ls odd.tar").bytes, b"bad\xff\ntwo\nlines\n");
}

#[test]
fn cat_stays_inside_and_prints_nothing_if_a_path_is_missing() {
    let here = Here::with_all_forms();
    for (source, _) in FORMS {
        here.run(&format!("cat {source} out")).failed(1, &["no such file: `out`", "`dunnage ls -R SOURCE`"]);
        let ran = here.run(&format!("cat {source} etc/motd nowhere"));
        ran.failed(1, &[source, "`nowhere`"]);
        assert_eq!(ran.out, "");
        here.run(&format!("cat {source} etc")).failed(2, &["expected a file, got a directory"]);
        assert_eq!(here.ok(&format!("cat {source} big")).bytes, here.read("tree/big"));
    }
}

/// Runs a command whose reader of standard output is gone.
fn unread(here: &Here, args: &str) -> Ran {
    // Gone before the command begins: a quick one would otherwise have written all before that.
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    Ran::from(here.command(args).stdout(writer).stdin(Stdio::null()).output().unwrap())
}

#[test]
fn a_reader_that_goes_away_matters_where_the_output_is_the_product() {
    let here = Here::with_all_forms();
    here.ok("state pack big.img state.img --timestamp 0 -q".replace("big.img", "tree/big").as_str());
    for args in [
        "ls -R -l layer.esgz",
        "ls layer.esgz --json",
        "inspect layer.esgz",
        "inspect layer.esgz --layout",
        "verify layer.esgz",
        "state show state.img",
        "diff tree tree",
        "convert tree.tar x.esgz --to estargz",
        "--help",
        "ls --help",
        "--version",
    ] {
        let ran = unread(&here, args);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{args}");
    }
    for args in [
        "cat layer.esgz big",
        "convert tree - --to tar -q",
        "convert tree.tar - --to estargz -q",
        "convert layer.esgz - --to zstd-chunked -q",
        "state cat state.img",
        "state pack tree/big - -q",
        "state convert state.img - --compression flate-best-speed -q",
        "state rekey state.img - --no-key -q",
        "completions bash",
    ] {
        unread(&here, args).failed(3, &["standard output", "Broken pipe"]);
    }
    // Damage and differences stay.
    here.ok("extract tree other");
    here.write("other/etc/new", b"");
    assert_eq!(unread(&here, "diff tree other --ignore-owner").code, 1);
    let tar = here.read("tree.tar");
    here.write("short.tar", &tar[..tar.len() - 5000]);
    for args in ["ls -R short.tar", "verify short.tar", "diff tree short.tar"] {
        assert_eq!(unread(&here, args).code, 1, "{args}");
    }
    // A pipe that is a named destination is no standard output.
    let fifo = here.path("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let child = here.command("convert tree.tar fifo --to tar -q").stderr(Stdio::piped()).spawn().unwrap();
    drop(std::fs::File::open(&fifo).unwrap());
    Ran::from(child.wait_with_output().unwrap()).failed(3, &["`fifo`", "Broken pipe"]);
}

#[test]
fn completions_and_man_pages_are_made_for_every_command() {
    let here = Here::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(here.ok(&format!("completions {shell}")).out.contains("convert"), "{shell}");
    }
    let bash = here.ok("completions bash").out;
    let words: Vec<&str> = bash.lines().filter_map(|line| line.trim().strip_prefix("opts=\"")).collect();
    assert!(words.iter().any(|words| words.starts_with("inspect ls cat")), "{words:?}");
    here.ok("man pages/of/it");
    let pages = names(&here.path("pages/of/it"));
    for command in ["", "-inspect", "-ls", "-cat", "-extract", "-diff", "-verify", "-convert", "-completions", "-man"] {
        assert!(pages.contains(&format!("dunnage{command}.1")), "{pages:?}");
    }
    let dir = here.path("pages/of/it");
    for page in pages {
        let page = std::fs::read_to_string(dir.join(page)).unwrap();
        for part in [".SH EXAMPLES\n", ".SH \"EXIT STATUS\"\n", ".SH SYNOPSIS\n"] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let synopsis = page.split(".SH SYNOPSIS\n").nth(1).unwrap();
        assert!(synopsis.split("\n.").next().unwrap().trim().lines().count() == 1, "{page}");
    }
    assert!(here.ok("--help").out.contains("Exit codes:") && here.ok("ls --help").out.contains("Examples:"));
    assert!(here.ok("--version").out.starts_with("dunnage "));
}

#[test]
fn what_is_no_tar_is_told_apart_from_a_damaged_one() {
    let here = Here::with_all_forms();
    // A header with a right checksum begins a tar, whatever is wrong later.
    let tar = here.read("tree.tar");
    here.write("cut.tar", &tar[..700]);
    let ran = here.run("ls cut.tar");
    ran.failed(1, &["`cut.tar`"]);
    assert!(!ran.err.contains("no tar archive"), "{}", ran.err);
    here.write("disk.img", &[vec![0; 4096], b"superblock".repeat(100)].concat());
    here.write("file.xz", b"\xfd7zXZ\0\0\x04and so on");
    here.write("file.bz2", b"BZh91AY&SY and so on");
    for (name, says) in [
        ("disk.img", "begins with zeros, as an empty tar does, but there is data at offset 0x1000"),
        ("file.xz", "compressed with xz, which is not read here; unpack it with `xz -dc`"),
        ("file.bz2", "compressed with bzip2, which is not read here; unpack it with `bzip2 -dc`"),
    ] {
        for verb in ["ls @", "verify @", "extract @ out", "convert @ x --to estargz", "cat @ f"] {
            let ran = here.run(&verb.replace('@', name));
            assert!(ran.code == 1 || ran.code == 5, "{verb} {name}: {}", ran.code);
            assert!(ran.err.contains(says), "{verb} {name}: {}", ran.err);
            let piped = here.piped(&verb.replace('@', "-"), &here.read(name));
            assert_eq!((piped.code, piped.err.contains(says)), (ran.code, true), "{verb} - {name}: {}", piped.err);
        }
    }
    here.write("empty.tar", &[0; 10240]);
    assert_eq!(here.ok("ls empty.tar").out, "");
}

#[test]
fn zeros_after_the_last_gzip_member_are_padding() {
    let here = Here::with_all_forms();
    let gzip = here.read("tree.tar.gz");
    let padded = [gzip.as_slice(), &[0; 10240]].concat();
    here.write("padded.tar.gz", &padded);
    let wanted = here.ok("ls -lR tree.tar.gz").out;
    assert_eq!(here.ok("ls -lR padded.tar.gz").out, wanted);
    assert_eq!(here.piped("convert - piped.esgz --to estargz -q", &padded).code, 0);
    here.ok("convert padded.tar.gz file.esgz --to estargz -q");
    here.ok("convert tree.tar.gz wanted.esgz --to estargz -q");
    for made in ["piped.esgz", "file.esgz"] {
        assert_eq!(here.read(made), here.read("wanted.esgz"), "{made}");
    }
    here.ok("verify padded.tar.gz");
    here.ok("extract padded.tar.gz out -q");
    here.write("more.tar.gz", &[gzip.as_slice(), b"more"].concat());
    here.run("verify more.tar.gz").failed(1, &["4 bytes that are no gzip member follow"]);
}
