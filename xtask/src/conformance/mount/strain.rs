//! Many rounds, a server that is killed, and a long mix of everything.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use dunnage_conformance::random::Random;

use super::{
    served::{Served, is_mounted},
    sorted,
};
use crate::{conformance::tally::Tally, measure::median};

/// Mounts and takes off, again and again.
pub(super) fn rounds(tally: &mut Tally, dunnage: &Path, layer: &Path, at: &Path) -> Result<()> {
    const ROUNDS: u32 = 200;
    let start = Instant::now();
    for _ in 0..ROUNDS {
        let served = Served::start(dunnage, layer, at, &[])?;
        fs::read(served.path.join("etc/passwd")).context("a fresh mount cannot be read")?;
        served.stop(dunnage)?;
    }
    println!("    rounds: {ROUNDS} in {:.1} s", start.elapsed().as_secs_f64());
    tally.same("rounds: nothing is left mounted", &is_mounted(at)?, &Vec::new());
    Ok(())
}

/// Reads a file past the cache of the kernel.
fn read_through(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    io::copy(&mut file, &mut io::sink())
}

fn libraries(at: &Path) -> Result<Vec<PathBuf>> {
    let dir = at.join("usr/lib/x86_64-linux-gnu");
    let dir = if dir.is_dir() { dir } else { at.join("usr/bin") };
    let paths = sorted(&dir)?.into_iter().map(|name| dir.join(name));
    Ok(paths.filter(|path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file())).collect())
}

/// Kills the server under 16 readers.
pub(super) fn loss(tally: &mut Tally, dunnage: &Path, layer: &Path, at: &Path) -> Result<()> {
    let mut served = Served::start(dunnage, layer, at, &[])?;
    let files = libraries(at)?;
    let (ended, read) = (AtomicBool::new(false), AtomicU64::new(0));
    let (detached, all_ended, asleep) = thread::scope(|scope| -> Result<_> {
        let readers: Vec<_> = (0..16_usize)
            .map(|reader| {
                let (files, ended, read) = (&files, &ended, &read);
                scope.spawn(move || {
                    for path in files.iter().cycle().skip(reader * 7) {
                        if ended.load(Relaxed) {
                            break;
                        }
                        if read_through(path).is_ok() {
                            read.fetch_add(1, Relaxed);
                        }
                    }
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(500));
        let killed = Instant::now();
        served.server.kill()?;
        served.server.wait()?;
        // It comes off by itself.
        while !is_mounted(at)?.is_empty() && killed.elapsed() < Duration::from_secs(5) {
            thread::sleep(Duration::from_millis(1));
        }
        let detached = killed.elapsed();
        ended.store(true, Relaxed);
        for reader in readers {
            let _ = reader.join();
        }
        Ok((detached, killed.elapsed(), in_deep_sleep()?))
    })?;
    println!(
        "    loss: {} files read, detached {:.3} s after the server was killed, 16 readers ended after {:.3} s, {asleep} tasks in deep sleep",
        read.load(Relaxed),
        detached.as_secs_f64(),
        all_ended.as_secs_f64(),
    );
    tally.same("loss: detached within 2 s", &(detached < Duration::from_secs(2)), &true);
    tally.same("loss: readers ended within 5 s", &(all_ended < Duration::from_secs(5)), &true);
    tally.same("loss: tasks in deep sleep", &asleep, &0);
    tally.same("loss: nothing is left mounted", &is_mounted(at)?, &Vec::new());
    Ok(())
}

/// Threads of this process that nothing can wake. One that waits for a disk is among them for a moment.
fn in_deep_sleep() -> Result<usize> {
    let stat = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
    let start = Instant::now();
    loop {
        let threads = fs::read_dir("/proc/self/task").context("cannot list threads")?;
        let asleep = threads.flatten().map(stat).filter(|stat| stat.contains(") D ")).count();
        if asleep == 0 || start.elapsed() > Duration::from_secs(2) {
            return Ok(asleep);
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// What a server may take more at the end than early on: less than its largest buffer.
const MIB_OF_GROWTH: f64 = 4.0;

/// Lists, reads and looks up for a while; memory and descriptors of the server have to stay as they are.
pub(super) fn endurance(tally: &mut Tally, dunnage: &Path, layer: &Path, at: &Path, seconds: u64) -> Result<()> {
    let served = Served::start(dunnage, layer, at, &["--cache", "16M"])?;
    let files = libraries(at)?;
    let pid = served.server.id();
    let (ended, reads) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut samples: Vec<(f64, f64, usize)> = Vec::new();
    thread::scope(|scope| {
        for seed in 0..4 {
            let (files, ended, reads) = (&files, &ended, &reads);
            scope.spawn(move || mix(seed, at, files, ended, reads));
        }
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_millis(250));
            if let (Some(kib), Ok(open)) = (resident(pid), fs::read_dir(format!("/proc/{pid}/fd"))) {
                samples.push((start.elapsed().as_secs_f64(), kib, open.count()));
            }
        }
        ended.store(true, Relaxed);
    });
    // The first quarter fills the caches.
    let part =
        |from: usize, to: usize| samples.get(samples.len() * from / 4..samples.len() * to / 4).unwrap_or_default();
    let mib = |part: &[(f64, f64, usize)]| median(part.iter().map(|sample| sample.1)) / 1024.0;
    let (early, late) = (mib(part(1, 2)), mib(part(3, 4)));
    let open = |part: &[(f64, f64, usize)]| part.iter().map(|sample| sample.2).max().unwrap_or_default();
    let (before, after) = (open(part(1, 2)), open(part(3, 4)));
    println!(
        "    endurance: {} reads in {seconds} s, {early:.1} MiB resident in the second quarter, {late:.1} MiB in the last, {before} and {after} descriptors",
        reads.load(Relaxed),
    );
    tally.same("endurance: memory is flat", &(late - early < MIB_OF_GROWTH), &true);
    tally.same("endurance: descriptors are flat", &(after <= before + 2), &true);
    served.stop(dunnage)?;
    tally.same("endurance: nothing is left mounted", &is_mounted(at)?, &Vec::new());
    Ok(())
}

fn mix(seed: u64, at: &Path, files: &[PathBuf], ended: &AtomicBool, reads: &AtomicU64) {
    let mut random = Random::new(seed);
    let mut block = [0; 4096];
    while !ended.load(Relaxed) {
        let Some(path) = files.get(random.below(files.len() as u64) as usize) else { break };
        match random.below(20) {
            0 => drop(Command::new("find").arg(at.join("usr/share")).arg("-ls").stdout(Stdio::null()).status()),
            1..6 => drop(read_through(path)),
            6 => drop(fs::metadata(at.join(format!("none-{}", random.next())))),
            _ => {
                let _ = File::open(path).and_then(|file| {
                    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                    file.read_at(&mut block, random.below(1 << 20))
                });
            }
        }
        reads.fetch_add(1, Relaxed);
    }
}

/// Resident memory of a process, in KiB.
fn resident(pid: u32) -> Option<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
