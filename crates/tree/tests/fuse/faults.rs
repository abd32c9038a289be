//! A fault in one read, reader or mount does not touch the others.

use std::{
    fs::{self, File},
    io::Read,
    process::{Child, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use dunnage_tree::fuse::{Content, Mount, MountOptions, Unmounted};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use crate::{
    made::{Gate, Held, Made, Reads},
    support::{Archive, can_mount, mount},
};

#[test]
fn a_panic_is_an_error_for_its_caller() {
    let tree = Arc::new(Made { files: 10, size: 100, reads: Reads::Panic });
    let Some(mounted) = mount("a_panic_is_an_error_for_its_caller", tree, &MountOptions::default()) else {
        return;
    };
    for number in 0..10 {
        let error = fs::read(mounted.path(&format!("{number:06}"))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(Errno::IO.raw_os_error()));
    }
    assert!(mounted.mount.metrics().panics() >= 10);
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 10);
}

/// A `cat` of a file whose reads are blocked.
fn reader(path: &std::path::Path) -> Child {
    Command::new("cat").arg(path).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn state(child: &Child) -> String {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    status.lines().find(|line| line.starts_with("State:")).unwrap_or("State: gone").to_owned()
}

fn ends_within(child: &mut Child, limit: Duration) -> Duration {
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        assert!(start.elapsed() < limit, "still there after {limit:?}: {}", state(child));
        thread::sleep(Duration::from_millis(5));
    }
    start.elapsed()
}

#[test]
fn a_blocked_reader_can_be_interrupted() {
    let tree = Arc::new(Made { files: 8, size: 1 << 20, reads: Reads::Blocked(Gate::default()) });
    let Reads::Blocked(gate) = &tree.reads else { panic!("it is not blocked") };
    let options = MountOptions { threads: 4, ..MountOptions::default() };
    let Some(mounted) = mount("a_blocked_reader_can_be_interrupted", Arc::clone(&tree) as _, &options) else { return };
    // More readers than threads: some requests are being worked on, some wait to be taken.
    for signal in [Signal::INT, Signal::TERM, Signal::KILL] {
        let mut readers: Vec<Child> = (0..8).map(|number| reader(&mounted.path(&format!("{number:06}")))).collect();
        gate.wait_for_readers();
        thread::sleep(Duration::from_millis(100));
        for child in &readers {
            kill_process(Pid::from_child(child), signal).unwrap();
        }
        for child in &mut readers {
            let took = ends_within(child, Duration::from_secs(1));
            println!("reader ended {took:?} after {signal:?}");
        }
    }
    gate.open();
    assert_eq!(fs::read(mounted.path("000007")).unwrap().len(), 1 << 20);
}

#[test]
fn whatever_is_blocked_others_are_answered_and_signals_end_it() {
    let made = Made { files: 10, size: 100, reads: Reads::Zeros };
    let tree = Arc::new(Held { made, gate: Gate::default() });
    let options = MountOptions { threads: 3, content: Content::Live, ..MountOptions::default() };
    let name = "whatever_is_blocked_others_are_answered_and_signals_end_it";
    let Some(mounted) = mount(name, Arc::clone(&tree) as _, &options) else { return };
    let run = |program: &str, name: &str| {
        Command::new(program).arg(mounted.path(name)).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    };
    // More of each than there are threads.
    let mut blocked: Vec<Child> = Vec::new();
    for _ in 0..4 {
        blocked.extend([run("ls", ""), run("stat", "000003"), run("cat", "000004")]);
    }
    tree.gate.wait_for_readers();
    thread::sleep(Duration::from_millis(200));
    for number in [5, 6, 7] {
        let mut other = run("cat", &format!("00000{number}"));
        ends_within(&mut other, Duration::from_secs(1));
        assert!(other.wait().unwrap().success());
    }
    for child in &mut blocked {
        assert!(child.try_wait().unwrap().is_none(), "it was not blocked");
        kill_process(Pid::from_child(child), Signal::KILL).unwrap();
    }
    for child in &mut blocked {
        ends_within(child, Duration::from_secs(1));
    }
    tree.gate.open();
    assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 10);
    assert_eq!(fs::read(mounted.path("000004")).unwrap(), [0; 100]);
}

#[test]
fn nothing_takes_longer_than_it_may() {
    let tree = Arc::new(Made { files: 4, size: 100, reads: Reads::Blocked(Gate::default()) });
    let Reads::Blocked(gate) = &tree.reads else { panic!("it is not blocked") };
    let options = MountOptions { deadline: Duration::from_millis(300), ..MountOptions::default() };
    let Some(mounted) = mount("nothing_takes_longer_than_it_may", Arc::clone(&tree) as _, &options) else { return };
    let start = Instant::now();
    let error = fs::read(mounted.path("000000")).unwrap_err();
    let took = start.elapsed();
    assert_eq!(error.raw_os_error(), Some(Errno::TIMEDOUT.raw_os_error()));
    assert!(took > Duration::from_millis(300) && took < Duration::from_secs(2), "{took:?}");
    assert!(mounted.mount.metrics().timed_out() > 0);
    gate.open();
    assert_eq!(fs::read(mounted.path("000001")).unwrap(), [0; 100]);
}

#[test]
fn a_reader_that_is_stopped_for_a_while_reads_on() {
    let tree = Arc::new(Made { files: 2, size: 100, reads: Reads::Blocked(Gate::default()) });
    let Reads::Blocked(gate) = &tree.reads else { panic!("it is not blocked") };
    let name = "a_reader_that_is_stopped_for_a_while_reads_on";
    let Some(mounted) = mount(name, Arc::clone(&tree) as _, &MountOptions::default()) else { return };
    let mut child = reader(&mounted.path("000001"));
    gate.wait_for_readers();
    for signal in [Signal::STOP, Signal::CONT, Signal::WINCH] {
        kill_process(Pid::from_child(&child), signal).unwrap();
        thread::sleep(Duration::from_millis(300));
    }
    assert_eq!(mounted.mount.metrics().interrupted(), 0);
    gate.open();
    ends_within(&mut child, Duration::from_secs(2));
    assert!(child.wait().unwrap().success());
}

/// Takes off a mount that only this test uses. Programs that other tests start at this moment have its files open too, from
/// their fork to their exec, so it may count as busy.
fn taken_off(mount: &Mount) {
    assert_ne!(mount.unmount().unwrap(), Unmounted::Already);
}

#[test]
fn a_mount_that_has_ended_leaves_others_alone() {
    if !can_mount("a_mount_that_has_ended_leaves_others_alone") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree: Arc<dyn dunnage_tree::Tree> = Arc::new(Archive::default().file("file", b"content").tree());
    let first = Mount::new(Arc::clone(&tree), dir.path(), &MountOptions::default()).unwrap();
    taken_off(&first);
    first.wait().unwrap();
    // The kernel gives its number to the next one.
    let second = Mount::new(tree, dir.path(), &MountOptions::default()).unwrap();
    assert!(!first.abort());
    assert_eq!(first.unmount().unwrap(), Unmounted::Already);
    first.wait().unwrap();
    drop(first);
    assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
    taken_off(&second);
    second.wait().unwrap();
}

#[test]
fn two_hundred_rounds_leave_nothing_behind() {
    if !can_mount("two_hundred_rounds_leave_nothing_behind") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let tree: Arc<dyn dunnage_tree::Tree> = Arc::new(Archive::default().file("file", b"content").tree());
    let round = || {
        let mount = Mount::new(Arc::clone(&tree), dir.path(), &MountOptions::default()).unwrap();
        assert_eq!(fs::read(dir.path().join("file")).unwrap(), b"content");
        taken_off(&mount);
        mount.wait().unwrap();
        assert_eq!(mount.unmount().unwrap(), Unmounted::Already);
    };
    round();
    let before = (count("/proc/self/fd"), count("/proc/self/task"));
    for _ in 0..200 {
        round();
    }
    let after = (count("/proc/self/fd"), count("/proc/self/task"));
    // Other tests run in this process too, so only what could pile up over the rounds would show.
    assert!(after.0 < before.0 + 100 && after.1 < before.1 + 100, "{before:?} became {after:?}");
    let table = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!table.contains(dir.path().to_str().unwrap()), "{table}");
    assert!(fs::read_dir(dir.path()).unwrap().next().is_none());
}

fn count(dir: &str) -> usize {
    fs::read_dir(dir).unwrap().count()
}

#[test]
fn a_busy_mount_goes_out_of_sight_and_serves_to_the_end() {
    let tree = Arc::new(Archive::default().file("file", &[7; 3 << 20]).tree());
    let Some(mounted) = mount("a_busy_mount_goes_out_of_sight_and_serves_to_the_end", tree, &MountOptions::default())
    else {
        return;
    };
    let mut file = File::open(mounted.path("file")).unwrap();
    assert_eq!(mounted.mount.unmount().unwrap(), Unmounted::Detached);
    assert!(!mounted.path("file").exists());
    let mut content = Vec::new();
    file.read_to_end(&mut content).unwrap();
    assert_eq!(content, [7; 3 << 20]);
    // A mount that another process makes there meanwhile stays.
    let other = Archive::default().file("other", b"x").tree();
    let second = Mount::new(Arc::new(other), mounted.root(), &MountOptions::default()).unwrap();
    assert_eq!(mounted.mount.unmount().unwrap(), Unmounted::Already);
    assert!(mounted.path("other").exists());
    taken_off(&second);
    drop(file);
    mounted.mount.wait().unwrap();
}

#[test]
fn an_aborted_mount_gives_no_answers() {
    let tree = Arc::new(Made { files: 4, size: 1 << 20, reads: Reads::Blocked(Gate::default()) });
    let Reads::Blocked(gate) = &tree.reads else { panic!("it is not blocked") };
    let Some(mounted) = mount("an_aborted_mount_gives_no_answers", Arc::clone(&tree) as _, &MountOptions::default())
    else {
        return;
    };
    let mut readers: Vec<Child> = (0..4).map(|number| reader(&mounted.path(&format!("{number:06}")))).collect();
    gate.wait_for_readers();
    if mounted.mount.abort() {
        for child in &mut readers {
            ends_within(child, Duration::from_secs(1));
        }
        assert!(fs::read_dir(mounted.root()).is_err());
        // It gives no answers, but it is still in the table.
        gate.open();
        mounted.mount.wait().unwrap();
        assert_ne!(mounted.mount.unmount().unwrap(), Unmounted::Already);
        assert_eq!(fs::read_dir(mounted.root()).unwrap().count(), 0);
    } else {
        crate::support::skip("an_aborted_mount_gives_no_answers", "no way to the connections of the kernel");
    }
    gate.open();
    for child in &mut readers {
        ends_within(child, Duration::from_secs(5));
    }
}
