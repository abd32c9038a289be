//! `convert`: the same bytes from everywhere, a destination that is whole or not there, options.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
};

use serde_json::{Value, json};

use crate::run::Here;

#[test]
fn every_form_and_every_way_in_gives_the_same_bytes() {
    let here = Here::with_all_forms();
    let wanted = here.read("layer.esgz");
    for source in ["tree", "tree.tar", "tree.tar.gz", "tree.tar.zst", "layer.esgz"] {
        let args = format!("--to estargz --chunk-size 64K {source}");
        for threads in [1, 2, 8] {
            here.ok(&format!("convert {args} to.esgz --threads {threads} -q"));
            assert_eq!(here.read("to.esgz"), wanted, "{source}, {threads} threads");
        }
        let ran = here.ok(&format!("convert {args} -"));
        assert_eq!(ran.bytes, wanted, "{source} to standard output");
        assert!(ran.err.starts_with("standard output: eStargz layer"), "{}", ran.err);
        if source != "tree" {
            let ran = here.piped("convert - - --to estargz --chunk-size 64K -q", &here.read(source));
            assert_eq!((ran.bytes, ran.err.as_str()), (wanted.clone(), ""), "{source} from a pipe");
        }
    }
    assert_eq!(here.ok("diff tree to.esgz").out, "");
}

#[test]
fn the_report_has_what_a_descriptor_needs() {
    let here = Here::with_all_forms();
    let made = here.json("convert tree.tar a.esgz --to estargz");
    assert_eq!(made["schema"], "dunnage.convert/1");
    assert_eq!(made["size"], here.read("a.esgz").len());
    let annotations = json!({
        "containerd.io/snapshot/stargz/toc.digest": made["toc_digest"],
        "io.containers.estargz.uncompressed-size": made["uncompressed_size"].to_string(),
    });
    assert_eq!(made["annotations"], annotations);
    let text = here.ok("convert tree.tar a.esgz --to estargz").out;
    for key in ["blob", "diff_id", "toc_digest"] {
        assert!(text.contains(made[key].as_str().unwrap()), "{key}: {text}");
    }
    let only = here.ok("convert tree.tar a.esgz --to estargz --annotations -q").out;
    let toc_digest = made["toc_digest"].as_str().unwrap();
    assert!(only.starts_with(&format!("containerd.io/snapshot/stargz/toc.digest={toc_digest}\n")), "{only}");
    assert_eq!(here.json("convert tree.tar a.esgz --to estargz --annotations")["annotations"], annotations);
    assert_eq!(here.ok("convert tree.tar a.esgz --to estargz -q").out, "");
    here.ok(&format!("verify a.esgz --toc-digest {toc_digest}"));
}

#[test]
fn levels_and_codecs_change_the_bytes_and_not_the_files() {
    let here = Here::with_all_forms();
    let mut seen = Vec::new();
    for options in ["--level 0", "--level 1", "--level 12", "--codec zlib", "--codec zlib --level 1", "--chunk-size 4K"]
    {
        here.ok(&format!("convert tree.tar x.esgz --to estargz -q {options}"));
        here.ok("verify x.esgz --deep -q");
        assert_eq!(here.ok("diff tree x.esgz").out, "", "{options}");
        let bytes = here.read("x.esgz");
        assert!(!seen.contains(&bytes), "{options}");
        seen.push(bytes);
    }
}

#[test]
fn a_lossless_layer_gives_the_tar_back_bit_for_bit() {
    let here = Here::with_all_forms();
    let mut tar = here.read("tree.tar");
    // Something behind the end that a rewrite would lose.
    tar.extend_from_slice(b"and then some");
    here.write("long.tar", &tar);
    here.ok("convert long.tar keep.esgz --to estargz --lossless -q");
    assert_eq!(here.json("inspect keep.esgz")["layer"]["landmark"], Value::Null);
    here.ok("convert keep.esgz exact.tar --to tar --lossless -q");
    assert_eq!(here.read("exact.tar"), tar);
    here.ok("convert keep.esgz plain.tar --to tar -q");
    assert_eq!(here.read("plain.tar"), tar);
}

#[test]
fn a_tar_out_of_a_layer_is_complete_and_has_nothing_of_the_layer() {
    let here = Here::with_all_forms();
    here.ok("convert layer.esgz back.tar --to tar -q");
    assert_eq!(here.ok("diff back.tar tree").out, "");
    assert_eq!(here.ok("ls back.tar").out, "big\nbin\nempty\netc\nout\n");
    assert_eq!(here.read("back.tar").len() % 512, 0);
    assert!(here.read("back.tar").ends_with(&[0; 1024]));
    here.ok("verify back.tar");
    // Exactly what it unpacks to has the landmark, and no end marker.
    here.ok("convert layer.esgz raw.tar --to tar --lossless -q");
    assert!(here.ok("ls raw.tar").out.starts_with(".no.prefetch.landmark\n"));
    // The landmark in the middle goes as well.
    here.ok("convert tree.tar first.esgz --to estargz --prioritize etc/motd -q");
    here.ok("convert first.esgz first.tar --to tar -q");
    assert_eq!(here.ok("diff first.tar tree").out, "");
    for source in ["tree.tar", "tree.tar.gz", "tree.tar.zst"] {
        let made = here.json(&format!("convert {source} same.tar --to tar"));
        assert_eq!(here.read("same.tar"), here.read("tree.tar"), "{source}");
        assert_eq!(made["toc_digest"], Value::Null);
    }
}

#[test]
fn files_are_put_in_front_from_options_and_lists() {
    let here = Here::with_all_forms();
    here.write("list", b"bin/tool\n\n");
    let args = "convert --to estargz --prioritize /etc/motd --prioritize-from list -q";
    here.ok(&format!("{args} tree a.esgz"));
    here.ok(&format!("{args} tree.tar b.esgz"));
    here.ok(&format!("{args} tree.tar.zst c.esgz"));
    let from_pipe = here.piped(&format!("{args} - -"), &here.read("tree.tar.gz")).bytes;
    let wanted = here.read("a.esgz");
    assert!(here.read("b.esgz") == wanted && here.read("c.esgz") == wanted && from_pipe == wanted);
    here.ok("convert a.esgz a.tar --to tar --lossless -q");
    let names = here.ok("ls -R a.tar").out;
    assert!(names.starts_with(".prefetch.landmark\n"), "{names}");

    let missing = "convert tree d.esgz --to estargz --prioritize nowhere --prioritize etc/motd";
    here.run(missing).failed(1, &["`nowhere`", "--allow-missing"]);
    assert!(!here.path("d.esgz").exists());
    let ran = here.ok(&format!("{missing} --allow-missing"));
    assert!(ran.err.contains("nowhere: not there"), "{}", ran.err);
    assert_eq!(here.json(&format!("{missing} --allow-missing -q"))["missed"], json!(["nowhere"]));
}

#[test]
fn repeated_names_are_replaced_kept_or_refused() {
    let here = Here::new();
    here.tar("twice.tar", &[(b"a", "first"), (b"b", "b"), (b"./a", "second")]);
    let twice = here.read("twice.tar");
    here.write("twice.tar.zst", &zstd::encode_all(twice.as_slice(), 1).unwrap());
    here.ok("convert twice.tar plain.esgz --to estargz -q");
    assert_eq!(here.ok("cat plain.esgz a").out, "second");
    assert_eq!(here.json("inspect plain.esgz")["layer"]["toc_entries"], 3);
    // The second look at a compressed input takes back what was written.
    here.ok("convert twice.tar.zst packed.esgz --to estargz -q");
    assert_eq!(here.read("packed.esgz"), here.read("plain.esgz"));
    assert_eq!(here.ok("convert twice.tar.zst - --to estargz -q").bytes, here.read("plain.esgz"));

    let ran = here.piped("convert - piped.esgz --to estargz", &twice);
    ran.failed(1, &["`./a` appears twice", "save the input to a file", "--duplicates keep"]);
    assert!(!here.path("piped.esgz").exists());
    here.run("convert twice.tar r.esgz --to estargz --duplicates refuse").failed(1, &["--duplicates replace"]);

    here.ok("convert twice.tar kept.esgz --to estargz --duplicates keep -q");
    let from_pipe = here.piped("convert - - --to estargz --duplicates keep -q", &twice);
    assert_eq!(from_pipe.bytes, here.read("kept.esgz"));
    assert_eq!(here.ok("cat kept.esgz a").out, "second");
    assert_eq!(here.json("inspect kept.esgz")["layer"]["toc_entries"], 3);
}

#[test]
fn names_that_are_no_text_are_refused_or_replaced() {
    let here = Here::new();
    here.tar("odd.tar", &[(b"bad\xff", "x")]);
    here.run("convert odd.tar odd.esgz --to estargz").failed(1, &[r"`bad\xff`", "--non-utf8 replace"]);
    here.ok("convert odd.tar odd.esgz --to estargz --non-utf8 replace -q");
    assert_eq!(here.ok("ls odd.esgz").out, "bad\u{fffd}\n");
}

#[test]
fn a_destination_is_whole_or_not_there() {
    let here = Here::with_all_forms();
    let before = here.names();
    let tar = here.read("tree.tar");
    here.write("short.tar", &tar[..tar.len() - 5000]);
    for (args, code) in [
        ("convert short.tar x --to estargz", 1),
        ("convert layer.esgz x --to estargz --max-unpacked 1000", 6),
        ("convert nowhere x --to estargz", 3),
    ] {
        let ran = here.run(args);
        assert_eq!(ran.code, code, "{args}: {}", ran.err);
    }
    // The old file stays unchanged if the new one fails.
    here.write("x", b"old");
    here.run("convert short.tar x --to estargz").failed(1, &["short.tar", "unexpected end of file"]);
    assert_eq!(here.read("x"), b"old");
    here.run("convert tree.tar x --to estargz --no-clobber").failed(1, &["`x` exists", "--no-clobber"]);
    assert_eq!(here.read("x"), b"old");
    fs::remove_file(here.path("x")).unwrap();
    fs::remove_file(here.path("short.tar")).unwrap();
    assert_eq!(here.names(), before);

    // A run that is killed in the middle leaves nothing.
    let mut child = here.command("convert - x --to estargz").stdin(std::process::Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, &tar[..tar.len() / 2]).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(here.names(), before);

    here.ok("convert tree.tar layer.esgz --to estargz --chunk-size 64K -q");
    assert_eq!(here.names(), before);
}

#[test]
fn links_and_devices_are_written_through() {
    let here = Here::with_all_forms();
    symlink("real", here.path("link")).unwrap();
    here.write("real", b"old");
    here.ok("convert tree.tar link --to tar -q");
    assert!(here.path("link").is_symlink());
    assert_eq!(here.read("real"), here.read("tree.tar"));
    here.ok("convert tree.tar /dev/null --to estargz");
    here.run("convert tree.tar /dev/full --to estargz").failed(3, &["`/dev/full`", "No space left"]);
    here.run("convert tree.tar tree --to estargz").failed(2, &["`tree` is a directory"]);
}

#[test]
fn progress_is_plain_where_asked_for_and_never_in_the_output() {
    let here = Here::with_all_forms();
    for progress in ["auto", "plain", "none"] {
        let ran = here.ok(&format!("convert tree.tar - --to tar -q --progress {progress}"));
        assert_eq!((ran.bytes, ran.err.as_str()), (here.read("tree.tar"), ""), "{progress}");
    }
}

#[test]
fn every_kind_of_layer_is_made_read_and_turned_back() {
    let here = Here::with_all_forms();
    let kinds = [
        ("--to zstd-chunked", "zstd:chunked layer"),
        ("--to zstd-chunked --level 1 --stream-size 4K", "zstd:chunked layer"),
        ("--to zstd-chunked-storage", "zstd:chunked layer in the form of containers/storage"),
        ("--to estargz --stream-size 1M", "eStargz layer"),
        ("--to estargz --min-chunk-size 1000", "eStargz layer"),
        ("--to estargz --toc-out made.toc", "eStargz layer with an external table of contents"),
    ];
    for (options, format) in kinds {
        let made = here.json(&format!("convert tree.tar made {options} --lossless"));
        let toc = if options.contains("toc-out") { "--toc made.toc" } else { "" };
        let page = here.json(&format!("inspect made --digest {toc}"));
        assert_eq!((&page["format"], &page["digests"]["blob"]), (&json!(format), &made["blob"]), "{options}");
        assert_eq!(page["digests"]["diff_id"], made["diff_id"], "{options}");
        let annotations = made["annotations"].as_object().unwrap();
        // Readers of one family refuse the annotations of both.
        let [reference, storage] = [
            ["containerd.io/snapshot/stargz/toc.digest", "io.containers.zstd-chunked.manifest-position"],
            [
                "io.github.containers.zstd-chunked.manifest-checksum",
                "io.github.containers.zstd-chunked.manifest-position",
            ],
        ];
        let is_storage = options.contains("storage");
        let [own, other] = if is_storage { [storage, reference] } else { [reference, storage] };
        assert_eq!(annotations[own[0]], page["layer"]["toc_digest"], "{options}");
        assert_eq!(annotations.contains_key(own[1]), options.contains("zstd"), "{options}");
        assert!(!other.iter().any(|name| annotations.contains_key(*name)), "{options}");
        here.ok(&format!("verify made --deep {toc}"));
        here.ok(&format!("convert made back.tar --to tar --lossless {toc}"));
        assert_eq!(here.read("back.tar"), here.read("tree.tar"), "{options}");
        assert!(here.ok(&format!("diff made tree.tar {toc}")).out.is_empty(), "{options}");
    }
    here.run("inspect made").failed(1, &["the TOC is stored outside of the blob", "--toc FILE gives it"]);
    here.run("convert tree.tar x --to zstd-chunked --toc-out y")
        .failed(2, &["--toc-out is for estargz, and the target is zstd-chunked"]);
    here.run("convert tree.tar x --to estargz --level 13").failed(2, &["compression level 13"]);
    here.run("convert tree.tar x --to estargz --stream-size 65M").failed(2, &["stream size"]);
}

#[test]
fn a_layer_that_says_two_things_is_not_converted() {
    let here = Here::with_all_forms();
    // Stored, so that all is in the same place in both.
    here.ok("convert tree one --to estargz --level 0 --toc-out one.toc");
    fs::set_permissions(here.path("tree/etc/motd"), fs::Permissions::from_mode(0o4755)).unwrap();
    here.ok("convert tree other --to estargz --level 0 --toc-out other.toc");
    here.ok("verify one --deep --toc one.toc");
    // The TOC of one, and the tar of the other.
    for command in
        ["verify one --deep", "convert one x --to tar", "convert one x --to estargz", "convert one x --to zstd-chunked"]
    {
        here.run(&format!("{command} --toc other.toc"))
            .failed(1, &["`one`", "`etc/hard`", "the TOC says 0o4755, the tar 0o644"]);
        assert!(!here.path("x").exists());
    }
}

#[test]
fn holes_are_left_out_of_a_tar_that_is_to_be_sparse() {
    let here = Here::new();
    fs::create_dir(here.path("holes")).unwrap();
    let file = fs::File::create(here.path("holes/disk")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"in the middle", 32 << 20).unwrap();
    file.set_len(64 << 20).unwrap();
    here.ok("convert holes layer --to zstd-chunked-storage -q");
    here.ok("convert layer whole.tar --to tar -q");
    assert!(here.read("whole.tar").len() > 64 << 20);
    for source in ["holes", "layer"] {
        here.ok(&format!("convert {source} sparse.tar --to tar --sparse -q"));
        assert!(here.read("sparse.tar").len() < 64 << 10, "{source}");
        assert_eq!(here.ok(&format!("diff sparse.tar {source}")).out, "");
        let unpacked = here.path("unpacked");
        let _ = fs::remove_dir_all(&unpacked);
        fs::create_dir(&unpacked).unwrap();
        let mut tar = std::process::Command::new("tar");
        assert!(
            tar.args(["xf", "sparse.tar", "-C", "unpacked"]).current_dir(here.path("")).status().unwrap().success()
        );
        assert_eq!(here.read("unpacked/disk"), here.read("holes/disk"), "{source}");
    }
    let refusal = "--sparse is for images, directories and layers, and `whole.tar` is: tar";
    here.run("convert whole.tar x --to tar --sparse").failed(2, &[refusal]);
    here.run("convert holes x --to estargz --sparse").failed(2, &["--sparse is for tar"]);
    here.run("convert layer x --to tar --sparse --lossless").failed(2, &["cannot be used with"]);
}

#[test]
fn a_hard_link_keeps_the_content_that_it_was_made_for() {
    let here = Here::new();
    fs::create_dir(here.path("s")).unwrap();
    here.write("s/a", b"old\n");
    fs::hard_link(here.path("s/a"), here.path("s/q")).unwrap();
    let tar = |args: &[&str]| {
        let ran = std::process::Command::new("tar").args(args).current_dir(here.path("")).status().unwrap();
        assert!(ran.success());
    };
    tar(&["cf", "r.tar", "-C", "s", "a", "q"]);
    fs::remove_file(here.path("s/a")).unwrap();
    here.write("s/a", b"new\n");
    tar(&["rf", "r.tar", "-C", "s", "a"]);
    assert_eq!(here.ok("cat r.tar q a").out, "old\nnew\n");
    for to in ["estargz", "zstd-chunked", "estargz --prioritize q"] {
        here.ok(&format!("convert r.tar layer --to {to} -q"));
        assert_eq!(here.ok("cat layer q a").out, "old\nnew\n", "{to}");
        assert_eq!(here.ok("diff r.tar layer").out, "", "{to}");
        here.ok("verify layer --deep");
    }
    // A form that keeps both entries of the name cannot say it.
    for how in ["--lossless", "--duplicates keep"] {
        let refused = here.run(&format!("convert r.tar x --to estargz {how}"));
        refused.failed(1, &["`q`", "hard link to what `a` was at this point of the archive"]);
    }
    here.run("convert r.tar x --to zstd-chunked-storage").failed(1, &["`a` appears twice"]);
}

#[test]
fn every_node_but_a_directory_can_have_two_names() {
    let here = Here::new();
    fs::create_dir(here.path("s")).unwrap();
    symlink("x", here.path("s/l")).unwrap();
    fs::hard_link(here.path("s/l"), here.path("s/m")).unwrap();
    let fifo = rustix::fs::FileType::Fifo;
    rustix::fs::mknodat(rustix::fs::CWD, here.path("s/p"), fifo, rustix::fs::Mode::from(0o644), 0).unwrap();
    fs::hard_link(here.path("s/p"), here.path("s/q")).unwrap();
    here.ok("convert s t.tar --to tar -q");
    here.ok("convert t.tar layer --to estargz -q");
    here.ok("convert layer again.tar --to tar -q");
    for source in ["t.tar", "layer", "again.tar"] {
        let out = format!("{source}.out");
        here.ok(&format!("extract {source} {out} -q"));
        here.ok(&format!("convert {out} {source}.tree --to estargz -q"));
        for (one, other) in [("l", "m"), ("p", "q")] {
            let inode = |name: &str| {
                use std::os::unix::fs::MetadataExt;
                fs::symlink_metadata(here.path(&format!("{out}/{name}"))).unwrap().ino()
            };
            assert_eq!(inode(one), inode(other), "{source}");
        }
        assert!(here.run(&format!("diff t.tar {source}.tree")).out.lines().all(|line| line.starts_with("/: ")));
    }
}

#[test]
fn times_of_second_0_and_parts_of_seconds_stay() {
    use std::os::unix::fs::MetadataExt;
    let here = Here::new();
    fs::create_dir(here.path("s")).unwrap();
    for (name, secs, nanos) in
        [("epoch", 0, 0), ("late", 1_700_000_000, 700_000_000), ("early", 1_700_000_000, 200_000_000)]
    {
        here.write(&format!("s/{name}"), b"x");
        let time = std::time::UNIX_EPOCH + std::time::Duration::new(secs, nanos);
        fs::File::options().write(true).open(here.path(&format!("s/{name}"))).unwrap().set_modified(time).unwrap();
    }
    let tar = ["--format=pax", "-cf", "t.tar", "-C", "s", "epoch", "late", "early"];
    assert!(std::process::Command::new("tar").args(tar).current_dir(here.path("")).status().unwrap().success());
    for to in ["estargz", "zstd-chunked", "zstd-chunked-storage"] {
        here.ok(&format!("convert t.tar layer --to {to} -q"));
        assert_eq!(here.ok("diff t.tar layer").out, "", "{to}");
        assert!(here.ok("ls -l layer epoch").out.contains("1970-01-01T00:00:00Z"), "{to}");
        let _ = fs::remove_dir_all(here.path("out"));
        here.ok("extract layer out -q");
        let seen = |name: &str| fs::metadata(here.path(&format!("out/{name}"))).unwrap().mtime();
        let late = if to == "zstd-chunked-storage" { 1_700_000_000 } else { 1_700_000_001 };
        assert_eq!([seen("epoch"), seen("late"), seen("early")], [0, late, 1_700_000_000], "{to}");
    }
}
