//! `inspect --layout` and `--report`: the text, the JSON and the page.
//!
//! `tests/golden` pins the looks of small layers. After a change that is meant, `DUNNAGE_REMAKE_GOLDEN=1 cargo
//! test -p dunnage --test command layout` writes these files again; look at the difference before you keep it.

use std::{env, fs, path::Path};

use serde_json::Value;

use crate::run::Here;

const STYLE: &str = include_str!("../../src/report/page.css");
const SCRIPT: &str = include_str!("../../src/report/page.js");

/// Copies a layer from the fixtures of the repository.
fn fixture(here: &Here, name: &str) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/estargz");
    here.write(name, &fs::read(fixtures.join(name)).unwrap());
}

/// Writes a report of `source` and returns it.
fn report(here: &Here, source: &str, flags: &str, form: &str) -> String {
    here.ok(&format!("inspect {source} --report report.{form} {flags}"));
    String::from_utf8(here.read(&format!("report.{form}"))).unwrap()
}

#[test]
fn small_layers_look_as_they_did() {
    let here = Here::new();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (source, flags, forms) in [
        ("empty-layer.esgz", "", ["html", "json"].as_slice()),
        ("two-chunks.esgz", "--digest --measure", &["html", "json", "txt"]),
        ("shared-stream.esgz", "--digest", &["html", "json", "txt"]),
        ("lossless.esgz", "--measure=9", &["json"]),
        ("two-chunks.zst", "--digest --measure", &["json", "txt"]),
    ] {
        fixture(&here, source);
        for form in forms {
            // Style and script are the same in all pages.
            let got = report(&here, source, flags, form).replace(STYLE, "STYLE\n").replace(SCRIPT, "SCRIPT\n");
            assert!(*form != "html" || got.contains("STYLE\n") && got.contains("SCRIPT\n"), "{source}");
            let path = golden.join(format!("{source}.{form}"));
            if env::var_os("DUNNAGE_REMAKE_GOLDEN").is_some() {
                fs::write(&path, &got).unwrap();
            }
            let wanted = fs::read_to_string(&path).unwrap_or_default();
            // Not assert_eq: nobody wants to read two pages in one line.
            let differs = got.lines().zip(wanted.lines()).position(|(got, wanted)| got != wanted);
            let line = differs.unwrap_or_else(|| got.lines().count().min(wanted.lines().count()));
            let (new, old) =
                (got.lines().nth(line).unwrap_or("nothing"), wanted.lines().nth(line).unwrap_or("nothing"));
            assert!(got == wanted, "`{}` line {}:\n  was {old}\n  is  {new}", path.display(), line + 1);
        }
    }
}

#[test]
fn what_is_printed_is_what_is_written() {
    let here = Here::with_all_forms();
    let flags = "--digest --measure";
    assert_eq!(here.ok(&format!("inspect layer.esgz --layout {flags}")).out, report(&here, "layer.esgz", flags, "txt"));
    let json = here.json(&format!("inspect layer.esgz --layout {flags} --threads 1"));
    assert_eq!(json, serde_json::from_str::<Value>(&report(&here, "layer.esgz", flags, "json")).unwrap());
    assert_eq!(json["schema"], "dunnage.layout/1");
    // A pipe holds the same layer; only what it is called is different.
    let piped = here.piped("inspect - --layout --json --digest --measure", &here.read("layer.esgz"));
    let mut piped: Value = serde_json::from_str(&piped.out).unwrap();
    assert_eq!(piped["source"], "standard input");
    piped["source"] = json["source"].clone();
    assert_eq!(piped, json);
    // With a report and no --layout, the usual page is printed, and says where the report is.
    let usual = here.ok("inspect layer.esgz --report report.html").out;
    assert!(usual.contains("chunks") && usual.ends_with("  report        report.html\n"), "{usual}");
    assert_eq!(here.json("inspect layer.esgz --report report.html")["report"], "report.html");
    assert_eq!(here.json("inspect layer.esgz")["report"], Value::Null);
}

#[test]
fn figures_agree_with_those_of_other_commands() {
    let here = Here::with_all_forms();
    let made = here.json("convert tree.tar again.esgz --to estargz --chunk-size 64K --prioritize etc/motd");
    let layout = here.json("inspect again.esgz --layout --digest --measure");
    assert_eq!(layout["size"], made["size"]);
    assert_eq!(layout["toc_digest"], made["toc_digest"]);
    assert_eq!(layout["annotations"], made["annotations"]);
    assert_eq!(layout["digests"]["diff_id"], made["diff_id"]);
    assert_eq!(layout["parts"]["payload"], made["payload_size"]);
    assert_eq!(layout["entries"]["toc"], made["entries"]);
    assert_eq!((layout["content"].as_u64(), layout["entries"]["files"].as_u64()), (Some(300_016), Some(3)));
    // `big` in chunks of 64 KiB, two small files, the landmark.
    assert_eq!(layout["chunks"], 5 + 2 + 1);
    assert_eq!(layout["prefetch"]["landmark"], ".prefetch.landmark");
    assert_eq!(layout["prefetch"]["files"], 1);
    assert_eq!(layout["biggest"][0]["path"], "big");
    let (size, plain) = (layout["size"].as_i64().unwrap(), layout["measured"]["plain"].as_i64().unwrap());
    assert_eq!(layout["measured"]["overhead"], size - plain);
    let segments = layout["segments"].as_array().unwrap();
    let sizes: u64 = segments.iter().map(|segment| segment["size"].as_u64().unwrap()).sum();
    assert_eq!(sizes, layout["size"].as_u64().unwrap());
}

#[test]
fn zstd_chunked_layers_are_told_in_frames() {
    let here = Here::with_all_forms();
    let made = here.json("convert tree.tar layer.zst --to zstd-chunked");
    let layout = here.json("inspect layer.zst --layout --digest --measure=5");
    assert_eq!(layout["annotations"], made["annotations"]);
    assert_eq!(layout["streams"]["kind"], "zstd");
    assert_eq!(
        (&layout["measured"]["plain_kind"], layout["measured"]["plain_level"].as_u64()),
        (&"zstd".into(), Some(5))
    );
    let text = here.ok("inspect layer.zst --layout --measure").out;
    assert!(text.contains("zstd frames with content") && text.contains("  plain zstd    "), "{text}");
}

#[test]
fn hostile_names_are_only_text() {
    let here = Here::new();
    let names: [&[u8]; 8] = [
        b"<script>alert(1)</script>",
        b"\" onmouseover=\"alert(2)",
        b"' onload='alert(3)",
        b"<img src=x onerror=alert(4)>",
        b"two\nlines",
        b"esc\x1b[31m",
        b"rtl\xe2\x80\xaegnp.exe",
        b"bytes\xff",
    ];
    let files: Vec<(&[u8], &str)> = names.iter().map(|name| (*name, "content of a file")).collect();
    here.tar("odd.tar", &files);
    here.ok("convert odd.tar <b>odd.esgz --to estargz --non-utf8 replace -q");
    let page = report(&here, "<b>odd.esgz", "", "html");
    for (what, wanted) in [("<script", 1), ("<img", 0), ("<b>", 0), ("\u{202e}", 0), ("\u{1b}", 0), ("<h1>", 1)] {
        assert_eq!(page.matches(what).count(), wanted, "{what}");
    }
    for text in [
        "<h1>&lt;b&gt;odd.esgz</h1>",
        "&lt;script&gt;alert(1)&lt;/",
        "&quot; onmouseover=&quot;alert(2)",
        "&#39; onload=&#39;alert(3)",
        "&lt;img src=x onerror=alert(4)&gt;",
        r"two\nlines",
        r"esc\x1b[31m",
        "bytes\u{fffd}",
    ] {
        assert!(page.contains(text), "{text}");
    }
    // The text is safe for terminals, and JSON keeps the names as they are.
    let text = report(&here, "<b>odd.esgz", "", "txt");
    assert!(text.contains(r"two\nlines") && !text.contains('\u{1b}'), "{text}");
    let json: Value = serde_json::from_str(&report(&here, "<b>odd.esgz", "", "json")).unwrap();
    let files = json["biggest"].as_array().unwrap();
    assert!(files.iter().any(|file| file["path"] == "two\nlines"), "{json}");
}

#[test]
fn a_page_needs_nothing_but_itself() {
    let here = Here::with_all_forms();
    let page = report(&here, "layer.esgz", "--digest --measure", "html");
    for elsewhere in ["http:", "https:", "src=", "href=", "url(", "@import", "<link", "<iframe"] {
        assert!(!page.contains(elsewhere), "{elsewhere}");
    }
    assert!(page.starts_with("<!DOCTYPE html>\n<html lang=\"en\">"));
    assert!(page.contains("default-src 'none'") || page.contains("default-src &#39;none&#39;"));
    for (opened, closed) in
        [("<svg", "</svg>"), ("<table", "</table>"), ("<tr>", "</tr>"), ("<td", "</td>"), ("<dl", "</dl>")]
    {
        assert_eq!(page.matches(opened).count(), page.matches(closed).count(), "{opened}");
    }
    // All pictures have a name and a description.
    assert_eq!(page.matches("role=\"img\"").count(), 3);
    assert_eq!(page.matches("<desc ").count(), 3);
}

#[test]
fn wrong_calls_write_nothing() {
    let here = Here::with_all_forms();
    let before = here.names();
    for (args, code, says) in [
        ("inspect tree.tar --layout", 2, "--layout is for images and layers, and `tree.tar` is: tar"),
        ("inspect tree --report r.html", 2, "--report is for images and layers, and `tree` is: directory"),
        ("inspect layer.esgz --report r.pdf", 2, "expected a name that ends with .html, .json or .txt"),
        ("inspect missing --report r.html", 3, "cannot open `missing`"),
        ("inspect layer.esgz --report no/r.html", 3, "cannot create `no/r.html`"),
        ("inspect layer.esgz --layout --measure=10", 2, "level 10"),
        ("inspect layer.esgz --report tree/r.html/", 2, "`tree/r.html/` ends with a slash"),
    ] {
        let ran = here.run(args);
        ran.failed(code, &[says]);
        assert_eq!(ran.out, "", "{args}");
        assert_eq!(here.names(), before, "{args}");
    }
    // The grammar itself refuses these.
    for args in ["inspect layer.esgz --measure", "inspect layer.esgz --layout --measure=23"] {
        assert_eq!(here.run(args).code, 2, "{args}");
    }
}

#[test]
fn a_report_that_fails_leaves_the_old_one() {
    let here = Here::with_all_forms();
    here.write("report.html", b"old");
    let mut blob = here.read("layer.esgz");
    let at = blob.len() / 3;
    blob[at] ^= 0xff;
    here.write("damaged.esgz", &blob);
    // The layout is that of the table of contents, which is sound.
    here.ok("inspect damaged.esgz --layout");
    here.run("inspect damaged.esgz --report report.html --measure")
        .failed(1, &["cannot read the payload at offset 0x"]);
    assert_eq!(here.read("report.html"), b"old");
    here.ok("inspect layer.esgz --report report.html");
    assert!(here.read("report.html").starts_with(b"<!DOCTYPE html>"));
}
