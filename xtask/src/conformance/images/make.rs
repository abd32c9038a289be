//! The images that are converted.

use std::path::Path;

use anyhow::{Result, bail};
use dunnage_inputs::{
    layout::{self, Layer, Layout, media},
    random::Random,
    tarball::{Entry, EntryKind, Format, tarball},
};

/// A layout with three images: `five` has five layers, `many` is for three platforms that share layers, and so is `nested`,
/// in an index in an index.
pub(in super::super) fn make(layout: &Path) -> Result<()> {
    let mut made = Layout::create(layout);
    let kind = |number: u32| if number.is_multiple_of(2) { media::GZIP } else { media::TAR };
    let layers: Vec<Layer> = (0..5).map(|number| made.layer(kind(number), &tar(number))).collect();
    let [a, b, c, d, e] = &layers[..] else { bail!("five layers were to be made") };
    let image = |made: &Layout, architecture: &str, layers: &[&Layer]| {
        let layers: Vec<Layer> = layers.iter().map(|layer| (*layer).clone()).collect();
        layout::platform(made.image(architecture, &layers), &format!("linux/{architecture}"))
    };
    let five = image(&made, "amd64", &[a, b, c, d, e]);
    let arm = image(&made, "arm64", &[a, b, e]);
    let s390 = image(&made, "s390x", &[c, d]);
    let many = made.index(media::INDEX, &[five.clone(), arm.clone(), s390.clone()]);
    let inner = made.index(media::INDEX, &[arm, s390]);
    let nested = made.index(media::INDEX, &[five.clone(), inner]);
    for (tag, descriptor) in [("five", five), ("many", many), ("nested", nested)] {
        made.tag(tag, &descriptor);
    }
    Ok(())
}

/// The tar of a layer. Each changes, hides or replaces something of those below.
fn tar(number: u32) -> Vec<u8> {
    let mut random = Random::new(0x1a7e + u64::from(number));
    let times = 1_700_000_000 + 1000 * i64::from(number)..;
    let mut entries = match number {
        0 => {
            let mut all = vec![Entry::dir("etc/"), Entry::dir("usr/"), Entry::dir("usr/bin/"), Entry::dir("var/")];
            all.push(Entry::dir("var/old/"));
            all.extend(
                (0..400).map(|at| Entry::file(&format!("usr/bin/tool{at}"), random.text(200 + at * 7)).mode(0o755)),
            );
            all.push(Entry::hardlink("usr/bin/same", "usr/bin/tool7"));
            all.push(Entry::file("usr/bin/su", "set-user-id").mode(0o4755));
            all.push(Entry::symlink("bin", "usr/bin"));
            all.push(Entry::file("var/old/gone", "x"));
            all.push(Entry::file("etc/passwd", "root:x:0:0\n"));
            all.push(Entry::file("etc/hidden", "x"));
            all
        }
        1 => {
            // More than one chunk, and nothing that compresses.
            let mut noise = vec![0; 5 << 20];
            random.fill(&mut noise);
            vec![Entry::dir("opt/"), Entry::file("opt/noise", noise), Entry::file("opt/text", random.text(1 << 20))]
        }
        2 => vec![
            Entry::dir("etc/"),
            Entry::file("etc/passwd", "root:x:0:0\nuser:x:1000:1000\n"),
            Entry::file("etc/.wh.hidden", ""),
            Entry::file("etc/empty", ""),
            Entry::file("etc/name with space and ünïcode", "x"),
        ],
        3 => vec![
            Entry::dir("var/"),
            Entry::dir("var/old/"),
            Entry::file("var/old/.wh..wh..opq", ""),
            Entry::file("var/old/new", "y"),
            Entry::file("opt/text", "a file in place of a larger one"),
        ],
        _ => vec![
            Entry::dir("dev/"),
            Entry::special(EntryKind::Char, "dev/null", 1, 3).mode(0o666),
            Entry::special(EntryKind::Fifo, "dev/fifo", 0, 0),
            Entry::dir("home/").mode(0o700),
            Entry::file("home/mine", random.text(70_000)).mode(0o600).owner(1000, 1000, "user", "user"),
            Entry::symlink("home/etc", "../etc"),
        ],
    };
    for (entry, time) in entries.iter_mut().zip(times) {
        entry.mtime = time;
    }
    tarball(Format::Pax, &entries)
}
