//! Exit codes and messages: one line that says what, where, expected, got, and what to do.

use serde_json::Value;

use crate::run::Here;

#[test]
fn each_class_of_error_has_its_code() {
    let here = Here::with_all_forms();
    here.write("text", b"no archive\n");
    for (args, code, says) in [
        ("ls text", 1, &["`text`", "no tar archive"][..]),
        ("ls nowhere", 3, &["`nowhere`", "No such file or directory"]),
        ("ls tree.tar nowhere", 1, &["`nowhere`", "ls -R"]),
        ("convert tree.tar nowhere/x --to estargz", 3, &["`nowhere/x`", "No such file"]),
        ("verify tree.tar --deep", 2, &["--deep is for images and layers, and `tree.tar` is: tar", "leave --deep out"]),
        ("convert tree.tar x --to estargz --chunk-size 1G", 2, &["chunk size", "67108864"]),
        ("convert tree x --to estargz --duplicates keep --prioritize big", 2, &["leave --duplicates out"]),
        ("convert tree x --to estargz --prioritize-from nowhere", 3, &["the list `nowhere`"]),
        ("ls layer.esgz --max-entries 3", 6, &["over the limit of 3", "--max-entries"]),
        ("ls tree.tar --max-entries 3", 6, &["over the limit of 3", "--max-entries"]),
        ("ls layer.esgz --max-toc-bytes 100", 6, &["over the limit of 100", "--max-toc-bytes"]),
        ("cat tree.tar.gz big --max-unpacked 1K", 6, &["over the limit of 1024", "--max-unpacked"]),
        ("extract tree.tar.gz out --max-unpacked 1K", 6, &["over the limit of 1024", "--max-unpacked"]),
        ("convert tree x --to estargz --max-unpacked 1K", 6, &["over the limit of 1024", "--max-unpacked"]),
    ] {
        let ran = here.run(args);
        ran.failed(code, says);
        assert!(!ran.err.contains("os error"), "{}", ran.err);
        let ran = here.run(&format!("{args} --json"));
        let told: Value = serde_json::from_str(&ran.err).unwrap();
        assert_eq!((&told["schema"], &told["exit"]), (&"dunnage.error/1".into(), &code.into()), "{args}");
        assert!(told["message"].is_string(), "{args}");
        // A message about the call or about a limit says what to do.
        assert!(code != 6 || told["hint"].is_string(), "{args}");
    }
}

#[test]
fn wrong_calls_end_with_2() {
    let here = Here::new();
    for args in [
        "",
        "nonsense",
        "ls",
        "convert tree x",
        "convert tree x --to nonsense",
        "convert tree x --to estargz --level 13",
        "convert tree x --to estargz --chunk-size 4µ",
        "convert tree x --to estargz --lossless --prioritize big",
        "diff tree tree --max 0",
        "diff tree tree --exact-mtime --ignore-mtime",
        "verify tree --toc-digest md5:00",
        "ls tree --progress loudly",
        "ls tree --threads 99999999",
        "ls tree --as nothing",
        "ls oci:x --as tar",
        "umount tree --max-entries 3",
        "convert tree x --to estargz --allow-missing",
    ] {
        let ran = here.run(args);
        assert_eq!(ran.code, 2, "{args}");
        if args.is_empty() {
            continue;
        }
        assert!(ran.err.starts_with("dunnage: ") && ran.err.lines().count() == 1, "{args}: {}", ran.err);
        let told: Value = serde_json::from_str(&here.run(&format!("{args} --json")).err).unwrap();
        assert_eq!((&told["schema"], &told["exit"]), (&"dunnage.error/1".into(), &2.into()), "{args}");
    }
    assert_eq!(here.names(), ["tree"]);
}

#[test]
fn results_that_cannot_be_written_are_an_error() {
    let here = Here::new();
    for args in ["ls tree", "inspect tree", "cat tree big", "ls tree --json", "--help", "ls --help", "completions bash"]
    {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let ran = crate::run::Ran::from(here.command(args).stdout(full).output().unwrap());
        ran.failed(3, &["standard output", "No space left on device"]);
    }
}
