//! The picture of a layer that README shows: `cargo xtask picture` writes docs/layer.svg.
//!
//! A small tree is made from a seed and converted, `inspect --report` writes its page, and the picture is cut out of the
//! page: the band, the rows of the table that names its colours, and the colours. So it shows what the page shows.

use std::{fs, process::Command};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::{
    random::Random,
    tarball::{Entry, Format, tarball},
};

use crate::workspace::{build_dunnage, capture, root};

/// What `picture` takes.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Change nothing; fail if the committed picture is not the one that the page shows.
    #[arg(long)]
    check: bool,
}

/// Where the picture is, below the root of the repository.
const PATH: &str = "docs/layer.svg";
/// The most bytes that a committed picture may have.
const MOST: usize = 60 << 10;

/// `cargo xtask picture`.
pub(crate) fn run(options: &Options) -> Result<()> {
    let picture = draw(&page()?)?;
    if picture.len() > MOST {
        bail!("the picture has {} bytes, over the limit of {MOST}", picture.len());
    }
    let path = root().join(PATH);
    if !options.check {
        fs::write(&path, &picture).with_context(|| format!("cannot write `{}`", path.display()))?;
        println!("picture: {PATH}, {} bytes", picture.len());
        return Ok(());
    }
    let committed = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
    if committed != picture {
        bail!("`{PATH}` is not what the report page shows; `cargo xtask picture` draws it again");
    }
    println!("picture: {PATH} is what the report page shows");
    Ok(())
}

/// The report page of a layer with the files of [`files`].
fn page() -> Result<String> {
    let dunnage = build_dunnage()?;
    let dir = tempfile::tempdir().context("cannot create a temporary directory")?;
    let at = |name: &str| dir.path().join(name);
    fs::write(at("app.tar"), tarball(Format::Pax, &files())).context("cannot write the tar of the picture")?;
    let command = || {
        let mut command = Command::new(&dunnage);
        command.current_dir(dir.path());
        command
    };
    let first = PRIORITIZED.iter().flat_map(|name| ["--prioritize", name]);
    capture(command().args(["convert", "app.tar", "app.esgz", "--to", "estargz"]).args(first))?;
    capture(command().args(["inspect", "app.esgz", "--report", "page.html"]))?;
    fs::read_to_string(at("page.html")).context("`inspect` wrote no page")
}

/// Files that the program of the picture opens first.
const PRIORITIZED: &[&str] = &["usr/bin/app", "usr/lib/libapp.so.1", "etc/app/settings.toml"];

/// Directories, each with so many files of up to so many KiB; text in `text`, noise elsewhere.
const DIRECTORIES: &[(&str, u64, u64, bool)] = &[
    ("etc/app/", 12, 12, true),
    ("opt/models/", 3, 420, false),
    ("usr/bin/", 6, 160, false),
    ("usr/lib/", 14, 150, false),
    ("usr/share/", 24, 60, true),
    ("var/lib/", 5, 200, true),
];

/// A small program's tree, the same every time.
fn files() -> Vec<Entry> {
    let mut random = Random::new(0x91c7);
    let mut entries = Vec::new();
    for &(dir, count, most_kib, is_text) in DIRECTORIES {
        entries.push(Entry::dir(dir));
        for number in 0..count {
            let len = ((1 + random.below(most_kib)) << 10) as usize;
            let content = if is_text { random.text(len) } else { random.mixed(len) };
            entries.push(Entry::file(&format!("{dir}file{number:02}"), content));
        }
    }
    let first = PRIORITIZED.iter().map(|name| Entry::file(name, random.mixed(90 << 10)));
    entries.extend(first);
    entries.into_iter().map(|entry| entry.mtime(1_700_000_000)).collect()
}

/// A row of the page's table that names the colours.
#[derive(Debug, PartialEq, Eq)]
struct Row<'p> {
    class: &'p str,
    name: String,
    /// Bytes in the blob, and their share of it.
    stored: &'p str,
    share: &'p str,
}

const WIDTH: usize = 880;
/// Heights of the headline, the band and a row of the legend.
const HEAD: usize = 58;
const BAND: usize = 122;
const ROW: usize = 24;

/// The picture, from the page.
fn draw(page: &str) -> Result<String> {
    let style = between(page, "<style>", "</style>").context("the page has no style")?;
    let title = between(page, "<h1>", "</h1>").context("the page has no headline")?;
    let kind = between(page, "<p class=\"kind\">", "</p>").context("the page names no format")?;
    let band = between(page, "<svg class=\"band\"", "</g>").context("the page has no band")?;
    // The mark of a landmark is an <svg> inside of the band, so the first end tag may not be the band's.
    let rest = page.split_once(band).map_or("", |(_, rest)| rest);
    let marks = rest.split_once("</svg>\n").map(|(marks, _)| marks).context("the band of the page has no end")?;
    let rows = rows(page)?;
    let lines = rows.len().div_ceil(2);
    let height = HEAD + BAND + lines * ROW + 12;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\">\n\
         <style>\n{}text {{ font-family: system-ui, \"Segoe UI\", \"Noto Sans\", sans-serif; }}\n</style>\n\
         <rect class=\"paper\" width=\"100%\" height=\"100%\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">{title}</text><text x=\"20\" y=\"48\">{kind}: from the first byte to the last</text>\n\
         <svg x=\"20\" y=\"{HEAD}\" width=\"{}\" height=\"104\" class=\"band\"{band}{marks}</svg>\n",
        colours(style)?,
        WIDTH - 40,
    );
    for (at, row) in rows.iter().enumerate() {
        let (x, y) = (20 + (at / lines) * (WIDTH / 2), HEAD + BAND + (at % lines) * ROW);
        let (end, base) = (x + WIDTH / 2 - 40, y + 11);
        svg.push_str(&format!(
            "<rect class=\"{}\" x=\"{x}\" y=\"{y}\" width=\"13\" height=\"13\" rx=\"2\"/>\
             <text class=\"name\" x=\"{}\" y=\"{base}\">{}</text>\
             <text x=\"{end}\" y=\"{base}\" text-anchor=\"end\">{} · {}</text>\n",
            row.class,
            x + 22,
            row.name,
            row.stored,
            row.share
        ));
    }
    svg.push_str("</svg>\n");
    Ok(svg)
}

/// The rules of the page's style that the picture needs: colours, and the rules for parts of the band.
fn colours(style: &str) -> Result<String> {
    let end = style.find("* { box-sizing").context("the page's style has no place where its colours end")?;
    let mut kept = style.get(..end).unwrap_or_default().trim_start().to_owned();
    let wanted = ["svg text", ".segments rect {", ".hair", ".tick", ".prefetch", ".shared", ".a", ".rest", ".headers"];
    let wanted = wanted.into_iter().chain([".landmark", ".replaced", ".toc", ".split", ".footer"]);
    let wanted: Vec<&str> = wanted.collect();
    let rules = style.get(end..).unwrap_or_default().lines();
    for rule in rules.filter(|rule| rule.ends_with('}') && wanted.iter().any(|start| rule.starts_with(start))) {
        kept.push_str(rule);
        kept.push('\n');
    }
    kept.push_str(
        ".paper { fill: var(--paper); } text.title { fill: var(--ink); font-size: 19px; font-weight: 600; }\n",
    );
    kept.push_str("text.name { fill: var(--ink); }\n");
    Ok(kept)
}

/// The rows of the table of parts.
fn rows(page: &str) -> Result<Vec<Row<'_>>> {
    let table = between(page, "<table class=\"parts\">", "</tbody>").context("the page has no table of parts")?;
    let mut rows = Vec::new();
    for row in table.split("<tr>").skip(2) {
        let cells = || -> Option<Row<'_>> {
            let name = between(row, "</span>", "</th>")?.replace("<wbr>", "");
            let mut numbers = row.split("<td class=\"n\">").skip(1).filter_map(|cell| cell.split_once("</td>"));
            let (stored, share) = (numbers.next()?.0, numbers.next()?.0);
            Some(Row { class: between(row, "class=\"swatch ", "\"")?, name, stored, share })
        };
        rows.push(cells().with_context(|| format!("cannot read the row `{row}` of the page's table of parts"))?);
    }
    if rows.is_empty() {
        bail!("the page's table of parts has no rows");
    }
    Ok(rows)
}

fn between<'t>(text: &'t str, start: &str, end: &str) -> Option<&'t str> {
    let (_, rest) = text.split_once(start)?;
    rest.split_once(end).map(|(part, _)| part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "<style>\n:root { --a0: #123; }\n* { box-sizing: border-box; }\nbody { margin: 0; }\n.a0 { fill: var(--a0); }\n</style>\
        <p class=\"kind\">eStargz</p><h1>a.esgz</h1>\
        <svg class=\"band\" role=\"img\"><g class=\"segments\"><rect class=\"a0\"></rect></g><svg class=\"mark\"><path/></svg></svg>\n\
        <table class=\"parts\">\n<thead><tr><th>Part</th></tr></thead><tbody>\
        <tr><th scope=\"row\"><span class=\"swatch a0\"></span>usr/<wbr>lib</th><td class=\"n\">1 kB</td><td class=\"n\">50 %</td></tr>\n\
        </tbody>";

    #[test]
    fn the_picture_is_cut_out_of_the_page() {
        let picture = draw(PAGE).unwrap();
        for part in [
            "role=\"img\"><g class=\"segments\"><rect class=\"a0\"></rect>",
            "<svg class=\"mark\"><path/></svg></svg>",
            ":root { --a0: #123; }",
            ".a0 { fill: var(--a0); }",
            ">usr/lib</text>",
            "1 kB · 50 %",
        ] {
            assert!(picture.contains(part), "{part} is not in {picture}");
        }
        assert!(!picture.contains("margin: 0"), "rules for the page are no rules for the picture");
        assert_eq!(picture.matches("<svg").count(), picture.matches("</svg>").count());
    }

    #[test]
    fn a_page_of_another_form_is_refused_by_the_part_that_is_missing() {
        for (gone, message) in [
            ("<h1>", "the page has no headline"),
            ("class=\"band\"", "the page has no band"),
            ("class=\"parts\"", "the page has no table of parts"),
            ("* { box-sizing", "the page's style has no place where its colours end"),
        ] {
            assert_eq!(draw(&PAGE.replace(gone, "")).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn the_tree_is_the_same_every_time() {
        assert_eq!(files(), files());
    }
}
