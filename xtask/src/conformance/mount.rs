//! Mounts of a Debian root, seen through the kernel: the same files as unpacked on disk, and hard to break.
//!
//! | what          | how                                                                              |
//! |---------------|----------------------------------------------------------------------------------|
//! | files         | `diff -r`, and a walk that compares all that `lstat` and the attributes say        |
//! | overlayfs     | the same for two layers with whiteouts, stacked by the kernel                      |
//! | programs      | `chroot` into both                                                               |
//! | rounds        | mounted and taken off 200 times                                                  |
//! | loss          | the server killed under 16 readers                                               |
//! | endurance     | a mix of everything for two minutes (`--sample`: twenty seconds), memory watched   |

mod entries;
mod served;
mod strain;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, bail};
use dunnage_conformance::tarball::{Entry, EntryKind, Format, tarball};

use self::{
    entries::compare,
    served::{Overlaid, Served, is_mounted},
};
use super::{Options, tally::Tally};
use crate::{
    inputs::debian_root,
    workspace::{build_dunnage, capture, is_root, scratch_dir},
};

/// Mounts, compares, and strains.
pub(super) fn run(options: &Options) -> Result<()> {
    let start = Instant::now();
    let reason = match () {
        () if !is_root() => Some("it takes root"),
        () if fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_err() => {
            Some("/dev/fuse cannot be opened")
        }
        () => None,
    };
    let debian = if reason.is_none() { debian_root()? } else { None };
    let Some(debian) = debian else {
        println!("SKIPPED mount {}", reason.unwrap_or("no Debian root"));
        return if options.no_skips {
            Err(anyhow::anyhow!("mount was skipped, and no skips are allowed"))
        } else {
            Ok(())
        };
    };
    let dunnage = build_dunnage()?;
    let dir = tempfile::tempdir_in(scratch_dir("mount")?).context("cannot create a scratch directory")?;
    let seconds = if options.sample || options.quick { 20 } else { 120 };
    let tally = Tally::run("mount debian".to_owned(), dir.path(), |tally, dir| {
        Mounts { dir, dunnage: &dunnage, debian: &debian, seconds }.check(tally)
    });
    let leaked = is_mounted(dir.path())?;
    let (made, mut failed) = (tally.made, tally.failures.len());
    if !leaked.is_empty() {
        failed += 1;
        println!("    FAILED still mounted: {}", leaked.join(", "));
    }
    let took = start.elapsed().as_secs_f64();
    println!("conformance mount: {made} comparisons, {failed} failures, {} leaked mounts, {took:.0} s", leaked.len());
    if failed > 0 {
        bail!("mount: {failed} failures");
    }
    Ok(())
}

struct Mounts<'d> {
    dir: &'d Path,
    dunnage: &'d Path,
    debian: &'d Path,
    /// How long the last part takes.
    seconds: u64,
}

impl Mounts<'_> {
    fn check(&self, tally: &mut Tally) -> Result<()> {
        let tree = self.unpack("tree")?;
        let layer = self.convert(self.debian, "layer")?;
        for (form, source) in [("eStargz", layer.as_path()), ("tar", self.debian), ("directory", tree.as_path())] {
            let served = Served::start(self.dunnage, source, &self.dir.join("at"), &["--dev", "--suid"])?;
            self.look(tally, form, &tree, &served.path, Links::All)?;
        }
        self.overlay(tally, &layer)?;
        strain::rounds(tally, self.dunnage, &layer, &self.dir.join("at"))?;
        strain::loss(tally, self.dunnage, &layer, &self.dir.join("at"))?;
        strain::endurance(tally, self.dunnage, &layer, &self.dir.join("at"), self.seconds)
    }

    /// Compares the mount at `at` with the tree on disk, and runs programs in it.
    fn look(&self, tally: &mut Tally, form: &str, tree: &Path, at: &Path, links: Links) -> Result<()> {
        let (entries, differences) = compare(tree, at, links == Links::All)?;
        println!("    {form}: {entries} entries compared, {} differences", differences.len());
        tally.made += entries;
        tally.failures.extend(differences.into_iter().take(10).map(|difference| format!("{form}: {difference}")));
        let diff = Command::new("diff").args(["-r", "--no-dereference"]).arg(tree).arg(at).output()?;
        let said = String::from_utf8_lossy(&diff.stdout);
        // Devices are alike for it only if their last changes of status are, which no archive keeps.
        let other: Vec<&str> = said.lines().filter(|line| !line.contains(" special file while ")).collect();
        tally.same(&format!("{form}: diff -r"), &(other, String::from_utf8_lossy(&diff.stderr)), &(vec![], "".into()));
        for program in [&["/bin/true"][..], &["/usr/bin/perl", "-e", "1"]] {
            let ran = capture(Command::new("chroot").arg(at).args(program));
            tally.works(&format!("{form}: chroot {}", program.join(" ")), ran);
        }
        Ok(())
    }

    /// Two layers under overlayfs, beside what unpacking both makes.
    fn overlay(&self, tally: &mut Tally, lower: &Path) -> Result<()> {
        let tar = self.dir.join("upper.tar");
        fs::write(&tar, upper()).context("cannot write a layer")?;
        let upper = self.convert(&tar, "upper")?;
        let wanted = self.unpack("wanted")?;
        let mut extract = Command::new(self.dunnage);
        extract.arg("extract").arg(&tar).arg(&wanted).args(["--into-existing", "--whiteouts", "apply"]);
        capture(extract.args(["--owners", "--devices", "--set-id", "--privileged-xattrs", "--quiet"]))?;
        let mount = |source: &Path, name: &str| {
            let args = ["--dev", "--suid", "--whiteouts", "overlay"];
            Served::start(self.dunnage, source, &self.dir.join(name), &args)
        };
        let (below, above) = (mount(lower, "below")?, mount(&upper, "above")?);
        let overlaid = Overlaid::new(&[&above.path, &below.path], &self.dir.join("overlaid"))?;
        // Directories of several layers have one link there.
        self.look(tally, "overlayfs", &wanted, &overlaid.path, Links::Files)
    }

    fn unpack(&self, name: &str) -> Result<PathBuf> {
        let tree = self.dir.join(name);
        fs::create_dir(&tree).with_context(|| format!("cannot create `{}`", tree.display()))?;
        let mut tar = Command::new("tar");
        tar.args(["--numeric-owner", "--xattrs", "--xattrs-include=*", "-xpf"]);
        capture(tar.arg(self.debian).arg("-C").arg(&tree))?;
        Ok(tree)
    }

    fn convert(&self, tar: &Path, name: &str) -> Result<PathBuf> {
        let out = self.dir.join(format!("{name}.esgz"));
        capture(
            Command::new(self.dunnage).arg("convert").arg(tar).arg(&out).args(["--to", "estargz", "--level", "1"]),
        )?;
        Ok(out)
    }
}

/// Which link counts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Links {
    All,
    Files,
}

/// A layer over Debian: directories taken away, emptied and merged, files replaced, removed and added.
fn upper() -> Vec<u8> {
    let dir = |name: &str| Entry { name: name.into(), kind: EntryKind::Dir, mode: 0o755, ..Entry::default() };
    let file = |name: &str, content: &[u8]| Entry {
        name: name.into(),
        kind: EntryKind::File,
        mode: 0o644,
        content: content.to_vec(),
        ..Entry::default()
    };
    let entries = [
        dir("./"),
        dir("etc/"),
        file("etc/.wh.passwd-", b""),
        file("etc/hostname", b"overlaid\n"),
        dir("etc/cron.d/"),
        file("etc/cron.d/.wh..wh..opq", b""),
        file("etc/cron.d/own", b"# own\n"),
        dir("usr/"),
        dir("usr/share/"),
        file("usr/share/.wh.doc", b""),
        file("usr/share/.wh.man", b""),
        dir("usr/share/man/"),
        file("usr/share/man/instead", b"a directory that replaces one\n"),
        dir("new/"),
        file("new/large", &vec![0x5a; 9 << 20]),
    ];
    tarball(Format::Pax, &entries)
}

/// Names, sorted.
fn sorted(dir: &Path) -> Result<BTreeSet<std::ffi::OsString>> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list `{}`", dir.display()))?;
    entries.map(|entry| Ok(entry?.file_name())).collect()
}
