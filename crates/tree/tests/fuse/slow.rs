//! Sources that never answer or fail, and holes, as programs see them.

use std::{
    fs::{self, File},
    io::Read,
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use dunnage_digest::ErrorKind;
use dunnage_tree::fuse::{MountOptions, errno_of};
use rustix::{
    fs::{SeekFrom, seek},
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use crate::{
    made::{Made, Reads, Sparse},
    support::mount,
};

const READERS: u64 = 1000;

/// Where the process of readers finds the mount.
const DIR: &str = "DUNNAGE_TEST_READERS_OF";

/// Not a test of its own: in a process that another test starts, a thread reads each file of a directory.
#[test]
fn process_of_readers() {
    let Some(dir) = std::env::var_os(DIR) else { return };
    let readers = (0..READERS).map(|number| {
        let path = Path::new(&dir).join(format!("{number:06}"));
        let read = move || drop(File::open(path).unwrap().read(&mut [0]));
        thread::Builder::new().stack_size(64 << 10).spawn(read).unwrap()
    });
    let readers: Vec<_> = readers.collect();
    println!("started");
    readers.into_iter().for_each(|reader| reader.join().unwrap());
}

fn until(what: &str, limit: Duration, is_so: impl Fn() -> bool) -> Duration {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < limit, "{what} takes longer than {limit:?}");
        thread::sleep(Duration::from_millis(2));
    }
    start.elapsed()
}

/// Threads of this process that serve mounts.
fn serving() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap().filter_map(Result::ok);
    let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.starts_with("fuse")).count()
}

#[test]
fn a_thousand_interrupted_reads_of_a_source_that_never_answers() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let tree = Arc::new(Made { files: READERS, size: 4096, reads: Reads::Never(Arc::clone(&waiting)) });
    let name = "a_thousand_interrupted_reads_of_a_source_that_never_answers";
    let Some(mounted) = mount(name, tree, &MountOptions::default()) else { return };
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "slow::process_of_readers", "--nocapture"])
        .env(DIR, mounted.root())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let tasks = format!("/proc/{}/task", child.id());
    let threads = || fs::read_dir(&tasks).map_or(0, Iterator::count);
    until("starting", Duration::from_secs(60), || threads() as u64 > READERS && waiting.load(SeqCst) > 16);
    thread::sleep(Duration::from_millis(200));
    let (in_source, at_most) = (waiting.load(SeqCst), serving());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < Duration::from_secs(10), "{} readers are left", threads());
        thread::sleep(Duration::from_millis(2));
    }
    let readers_back = start.elapsed();
    // Requests of readers that are gone do not hold a thread either.
    until("leaving the source", Duration::from_secs(10), || waiting.load(SeqCst) == 0);
    println!(
        "{READERS} readers, {in_source} requests in the source, {at_most} serving threads: readers back after \
         {readers_back:?}, source left after {:?}, then {} serving threads",
        start.elapsed(),
        serving()
    );
    // Reads that no signal interrupts end with the mount.
    let blocked: Vec<_> = (0..4)
        .map(|number| {
            let path = mounted.path(&format!("{number:06}"));
            thread::spawn(move || File::open(path).unwrap().read(&mut [0]).unwrap_err())
        })
        .collect();
    until("reading", Duration::from_secs(10), || waiting.load(SeqCst) > 0);
    if !mounted.mount.abort() {
        crate::support::skip(name, "no way to the connections of the kernel");
        return;
    }
    until("ending", Duration::from_secs(5), || waiting.load(SeqCst) == 0);
    blocked.into_iter().for_each(|reader| drop(reader.join().unwrap()));
    mounted.mount.wait().unwrap();
}

#[test]
fn a_read_that_takes_too_long_times_out_and_its_source_stops() {
    let waiting = Arc::new(AtomicUsize::new(0));
    let tree = Arc::new(Made { files: 4, size: 4096, reads: Reads::Never(Arc::clone(&waiting)) });
    let options = MountOptions { deadline: Duration::from_millis(300), ..MountOptions::default() };
    let Some(mounted) = mount("a_read_that_takes_too_long_times_out_and_its_source_stops", tree, &options) else {
        return;
    };
    let start = Instant::now();
    let error = fs::read(mounted.path("000000")).unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.raw_os_error(), Some(Errno::TIMEDOUT.raw_os_error()));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(5), "{took:?}");
    assert!(mounted.mount.metrics().timed_out() > 0);
    until("leaving the source", Duration::from_secs(5), || waiting.load(SeqCst) == 0);
}

#[test]
fn every_kind_of_error_has_its_errno() {
    let kinds = ErrorKind::ALL;
    let tree = Arc::new(Made { files: kinds.len() as u64, size: 4096, reads: Reads::Failing });
    let Some(mounted) = mount("every_kind_of_error_has_its_errno", tree, &MountOptions::default()) else { return };
    for (number, &kind) in kinds.iter().enumerate() {
        let wanted = match kind {
            ErrorKind::Timeout => Errno::TIMEDOUT,
            ErrorKind::Cancelled => Errno::INTR,
            _ => Errno::IO,
        };
        assert_eq!(errno_of(kind), wanted.raw_os_error(), "{kind}");
        let file = File::open(mounted.path(&format!("{number:06}"))).unwrap();
        // Through `libc` a program sees EINTR; the standard library would read again for some calls.
        let error = file.read_at(&mut [0; 10], 0).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(wanted.raw_os_error()), "{kind}");
    }
}

#[test]
fn holes_are_seen_through_a_mount() {
    let made = Made { files: 2, size: 1 << 20, reads: Reads::Zeros };
    let data = vec![4096..8192, 8192..12_288, 100_000..100_001];
    let Some(mounted) =
        mount("holes_are_seen_through_a_mount", Arc::new(Sparse { made, data }), &MountOptions::default())
    else {
        return;
    };
    let file = File::open(mounted.path("000001")).unwrap();
    for (from, wanted) in [
        (SeekFrom::Data(0), Ok(4096)),
        (SeekFrom::Data(4096), Ok(4096)),
        (SeekFrom::Data(5000), Ok(5000)),
        (SeekFrom::Data(12_288), Ok(100_000)),
        (SeekFrom::Data(100_001), Err(Errno::NXIO)),
        (SeekFrom::Data(1 << 20), Err(Errno::NXIO)),
        (SeekFrom::Hole(0), Ok(0)),
        (SeekFrom::Hole(4096), Ok(12_288)),
        (SeekFrom::Hole(12_287), Ok(12_288)),
        (SeekFrom::Hole(100_000), Ok(100_001)),
        (SeekFrom::Hole((1 << 20) - 1), Ok((1 << 20) - 1)),
        (SeekFrom::Hole(1 << 20), Err(Errno::NXIO)),
    ] {
        assert_eq!(seek(&file, from), wanted, "{from:?}");
    }
    // Data up to the end: the end counts as a hole.
    let dense = Made { files: 1, size: 5000, reads: Reads::Zeros };
    let Some(mounted) = mount("holes_are_seen_through_a_mount", Arc::new(dense), &MountOptions::default()) else {
        return;
    };
    let file = File::open(mounted.path("000000")).unwrap();
    assert_eq!((seek(&file, SeekFrom::Data(7)), seek(&file, SeekFrom::Hole(7))), (Ok(7), Ok(5000)));
}
