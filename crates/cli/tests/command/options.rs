//! Every option of every verb with every kind of source and every target: it is used, or refused by name.
//!
//! `tests/golden/options.txt` holds the matrix. After a change that is meant, `DUNNAGE_REMAKE_GOLDEN=1 cargo test -p dunnage
//! --test command options` writes it again.

use std::{env, fs, path::Path};

use crate::{
    image::with_images,
    run::{Here, Ran},
};

/// A source of each kind, and the kind's name for `--as`.
const SOURCES: &[(&str, &str)] = &[
    ("tree", "directory"),
    ("check", "checkpoint"),
    ("tree.tar", "tar"),
    ("tree.tar.gz", "tar"),
    ("layer.esgz", "layer"),
    ("outside.esgz", "layer"),
    ("oci:in:one", "image"),
    ("state.img", "state"),
];

/// A call of each option, in the words of the command line. `@` stands for the kind, `%` for a new file.
const SAMPLES: &[&str] = &[
    "--as @",
    "--platform linux/amd64",
    "--toc-digest sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824",
    "--toc outside.toc",
    "--unverified",
    "--max-toc-bytes 1M",
    "--max-entries 1000",
    "--max-unpacked 1G",
    "--digest",
    "--layout",
    "--report %.html",
    "--measure=1 --layout",
    "--long",
    "--recursive",
    "--owners",
    "--devices",
    "--set-id",
    "--privileged-xattrs",
    "--into-existing",
    "--whiteouts keep",
    "--whiteouts apply",
    "--ignore-mtime",
    "--exact-mtime",
    "--ignore-owner",
    "--max 3",
    "--deep",
    "--key-file key",
    "--key-fd 77",
    "--level 3",
    "--chunk-size 64K",
    "--stream-size 4K",
    "--min-chunk-size 1000",
    "--toc-out %.toc",
    "--external-toc",
    "--codec zlib",
    "--prioritize big",
    "--prioritize-from list",
    "--record record",
    "--allow-missing --prioritize big",
    "--lossless",
    "--sparse",
    "--duplicates keep",
    "--non-utf8 replace",
    "--annotations",
    "--no-clobber",
    "--allow-other",
    "--metrics 127.0.0.1:0",
    "--lifetime 5",
    "--cache 1M",
    "--deadline 5",
    "--no-passthrough",
];

/// Options that hold for every run, that have no value to try, or that need privilege, which has a test of its own.
const ELSEWHERE: &[&str] =
    &["json", "threads", "progress", "quiet", "help", "version", "to", "daemon", "suid", "dev", "read-ahead"];

fn sources() -> Here {
    let here = with_images();
    fs::create_dir(here.path("check")).unwrap();
    here.ok("state pack tree/big state.img --timestamp 0 -q");
    here.write("check/checkpoint.img", &here.read("state.img"));
    here.ok("convert tree.tar outside.esgz --to estargz --toc-out outside.toc -q");
    here.write("list", b"etc/motd\n");
    here.write("record", b"{\"path\":\"big\"}\n");
    here.write("key", b"a key of thirty-two bytes, as is");
    here
}

/// The long options that the help of a verb names.
fn options(here: &Here, verb: &str) -> Vec<String> {
    let help = here.ok(&format!("{verb} --help")).out;
    let names = help.lines().filter_map(|line| {
        let line = line.trim_start();
        let line = line.strip_prefix('-').filter(|rest| !rest.starts_with('-')).map_or(line, |rest| &rest[3..]);
        let name: String =
            line.strip_prefix("--")?.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        Some(name)
    });
    let mut names: Vec<String> = names.filter(|name| !ELSEWHERE.contains(&name.as_str())).collect();
    names.sort();
    names.dedup();
    names
}

/// Whether the options of a sample were taken (`+`), or one was refused by its name and the kind or target (`-`). Anything
/// else fails.
fn mark(ran: &Ran, args: &str, sample: &str) -> char {
    if ran.code != 2 {
        return '+';
    }
    let mut options = sample.split([' ', '=']).filter(|word| word.starts_with("--"));
    let names_option = options.any(|option| ran.err.contains(option));
    let says_why = [" is: ", "the target is ", "the destination is "].iter().any(|part| ran.err.contains(part));
    assert!(names_option && says_why, "{args}: {}", ran.err);
    '-'
}

#[test]
fn every_option_is_used_or_refused() {
    let here = sources();
    let mut number = 0;
    let mut run = |call: &str, kind: &str| {
        number += 1;
        let args = call.replace('@', kind).replace('%', &format!("new{number}"));
        (here.run(&args), args)
    };
    let mut matrix = String::new();
    let mut grid = |verb: &str, columns: &[(String, &str, String)]| {
        matrix.push_str(&format!("{verb}\n"));
        for (name, ..) in columns {
            matrix.push_str(&format!("  {name}\n"));
        }
        let first = verb.split(' ').next().unwrap();
        for option in options(&here, first) {
            let samples: Vec<&&str> = SAMPLES
                .iter()
                .filter(|sample| {
                    let name = sample.trim_start_matches('-').split([' ', '=']).next();
                    name == Some(option.as_str())
                })
                .collect();
            assert!(!samples.is_empty(), "`{verb}`: give a sample of --{option}");
            for sample in samples {
                let mut marks = String::new();
                for (_, kind, call) in columns {
                    let call = if option == "toc" { call.replace(" --toc outside.toc", "") } else { call.clone() };
                    let (ran, args) = run(&format!("{call} {sample}"), kind);
                    marks.push(mark(&ran, &args, sample));
                }
                matrix.push_str(&format!("{marks}  {}\n", sample.split(" sha256").next().unwrap()));
            }
        }
        matrix.push('\n');
    };
    let columns = |call: &dyn Fn(&str) -> String| -> Vec<(String, &'static str, String)> {
        SOURCES
            .iter()
            .map(|(source, kind)| {
                let toc = if *source == "outside.esgz" { " --toc outside.toc" } else { "" };
                ((*source).to_owned(), *kind, format!("{}{toc}", call(source)))
            })
            .collect()
    };
    grid("inspect", &columns(&|source| format!("inspect {source}")));
    grid("ls", &columns(&|source| format!("ls {source}")));
    grid("cat", &columns(&|source| format!("cat {source} big")));
    grid("extract", &columns(&|source| format!("extract {source} %.out")));
    grid("diff", &columns(&|source| format!("diff {source} {source}")));
    grid("verify", &columns(&|source| format!("verify {source}")));
    if cfg!(feature = "fuse") {
        grid("mount", &columns(&|source| format!("mount {source} nowhere")));
    }
    for target in ["estargz", "zstd-chunked", "zstd-chunked-storage", "tar"] {
        let mut all = columns(&|source| format!("convert {source} %.made --to {target}"));
        let call = format!("convert oci:in:one oci:% --to {target}");
        all.push(("oci:in:one into an image".to_owned(), "image", call));
        grid(&format!("convert --to {target}"), &all);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/options.txt");
    if env::var_os("DUNNAGE_REMAKE_GOLDEN").is_some() {
        fs::write(&path, &matrix).unwrap();
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    for (number, (got, wanted)) in (1..).zip(matrix.lines().zip(wanted.lines())) {
        assert_eq!(got, wanted, "line {number}");
    }
    assert_eq!(matrix.lines().count(), wanted.lines().count());
}

#[test]
fn a_source_is_taken_for_the_kind_that_is_named() {
    let here = sources();
    for (args, wanted) in [
        ("inspect layer.esgz --as tar", "layer.esgz: tar, gzip"),
        ("inspect check --as directory", "check: directory"),
        ("inspect check", "check: gVisor checkpoint"),
        ("inspect in --as directory", "in: directory"),
        ("verify tree.tar --as tar", "tree.tar: tar, sound"),
    ] {
        assert!(here.ok(args).out.starts_with(wanted), "{args}");
    }
    here.run("inspect tree.tar --as layer").failed(1, &["`tree.tar`", "--as layer: it is none"]);
    here.run("inspect tree --as tar").failed(1, &["`tree`", "--as tar: it is none"]);
    here.run("inspect tree --as nothing").failed(2, &["no such kind", "directory", "layer"]);
    assert!(here.piped("inspect - --as tar", &here.read("layer.esgz")).out.starts_with("standard input: tar, gzip"));
}

#[test]
fn all_verbs_agree_on_what_a_source_is() {
    let here = sources();
    here.ok("convert oci:in:one oci:single --to tar -q");
    for (source, format) in [("single", "OCI image"), ("check", "gVisor checkpoint"), ("tree", "directory")] {
        for verb in ["inspect", "verify"] {
            assert_eq!(here.json(&format!("{verb} {source}"))["format"], format, "{verb} {source}");
        }
    }
    // A layout without `oci:` holds the same files.
    assert_eq!(here.ok("ls -R single").out, here.ok("ls -R oci:single").out);
    assert_eq!(here.ok("ls -R check").out, "checkpoint.img\n");
    // A checkpoint stands for its state file; anything else is told by its kind.
    assert_eq!(here.json("state show check")["payload_bytes"], here.json("state show state.img")["payload_bytes"]);
    assert_eq!(here.ok("state cat check").bytes, here.read("tree/big"));
    assert_eq!(here.json("verify check")["sound"]["format"], "gVisor state file");
    for verb in ["show", "verify", "cat"] {
        for (source, format) in [("single", "OCI image"), ("tree", "directory"), ("layer.esgz", "eStargz layer")] {
            here.run(&format!("state {verb} {source}"))
                .failed(1, &[&format!("`{source}` is no gVisor state file, it is: {format}")]);
        }
    }
}
