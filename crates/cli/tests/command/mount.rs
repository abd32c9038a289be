//! `dunnage mount` and `dunnage umount`, for real.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    image::with_images,
    run::{Here, Ran, names},
};

/// Whether something can be mounted; if not, says so, and with `CI=true` fails.
fn can_mount(test: &str) -> bool {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let device = fs::OpenOptions::new().read(true).write(true).open("/dev/fuse").is_ok();
    if is_root && device {
        return true;
    }
    println!("SKIPPED {test} {}", if device { "it takes root" } else { "/dev/fuse cannot be opened" });
    assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{test} was skipped");
    false
}

/// A mount in the foreground. Its remains are taken off in the end.
struct Mounted {
    child: Child,
    line: String,
    at: PathBuf,
}

impl Mounted {
    fn new(here: &Here, args: &str) -> Self {
        let at = here.path("at");
        fs::create_dir_all(&at).unwrap();
        Self::by(here.command(args), at)
    }

    fn by(mut command: Command, at: PathBuf) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, line, at }
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn ends_within(&mut self, limit: Duration) -> Option<i32> {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(start.elapsed() < limit, "still running after {limit:?}: {}", doing(self.child.id()));
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        detach(&self.at);
    }
}

/// What each thread of a process does, and how busy the machine is: a limit of time that was missed says little alone.
fn doing(pid: u32) -> String {
    let mut lines = Vec::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let of = |name: &str| fs::read_to_string(task.path().join(name)).unwrap_or_default();
        let state = of("stat").rsplit_once(") ").map(|(_, rest)| rest.get(..1).unwrap_or_default().to_owned());
        lines.push(format!("{} {}: {}", of("comm").trim(), state.unwrap_or_default(), of("stack").replace('\n', " ")));
    }
    for busy in ["/proc/loadavg", "/proc/pressure/cpu", "/proc/pressure/io"] {
        lines.push(format!("{busy}: {}", fs::read_to_string(busy).unwrap_or_default().replace('\n', " ")));
    }
    lines.join("\n")
}

/// Takes off in the end what may have been left at a place.
struct Cleared(PathBuf);

impl Drop for Cleared {
    fn drop(&mut self) {
        detach(&self.0);
    }
}

fn detach(at: &Path) {
    if is_mounted(at) {
        // The guard of a server that was killed may be faster.
        let _ = Command::new("umount").arg("-l").arg(at).stderr(Stdio::null()).status();
    }
}

fn is_mounted(at: &Path) -> bool {
    fs::read_to_string("/proc/mounts").unwrap().contains(&format!(" {} ", at.display()))
}

/// Whether it comes true within two seconds.
fn soon(is_so: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while !is_so() {
        if start.elapsed() > Duration::from_secs(2) {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// Processes of the command that have to do with `path`.
fn processes_about(path: &Path) -> Vec<u32> {
    let about = |dir: fs::DirEntry| {
        let pid = dir.file_name().to_str()?.parse().ok()?;
        // What was a process a moment ago may be none.
        let line = fs::read(dir.path().join("cmdline")).ok()?;
        let is_about = line.split(|&byte| byte == 0).any(|arg| arg == path.as_os_str().as_encoded_bytes());
        is_about.then_some(pid)
    };
    fs::read_dir("/proc").unwrap().flatten().filter_map(about).collect()
}

/// A field of `/proc/PID/stat`, counted from the state of the process.
fn stat(pid: u32, field: usize) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.split(' ').nth(field).unwrap().to_owned()
}

#[test]
fn every_source_mounts_and_signals_take_it_off() {
    if !can_mount("every_source_mounts_and_signals_take_it_off") {
        return;
    }
    let here = Here::with_all_forms();
    here.ok("convert tree.tar layer.zst --to zstd-chunked");
    for (source, signal) in [
        ("tree", "-INT"),
        ("tree.tar", "-TERM"),
        ("tree.tar.gz", "-HUP"),
        ("tree.tar.zst", "-INT"),
        ("layer.esgz", "-TERM"),
        ("layer.zst", "-INT"),
    ] {
        let mut mounted = Mounted::new(&here, &format!("mount {source} at"));
        assert!(
            mounted.line.starts_with(&format!("mounted {source} at {}", here.path("at").display())),
            "{}",
            mounted.line
        );
        assert_eq!(fs::read(here.path("at/big")).unwrap(), here.read("tree/big"), "{source}");
        assert_eq!(names(&here.path("at")), names(&here.path("tree")), "{source}");
        // Nothing says when the root of an archive was changed.
        let ran = here.run("diff tree at");
        assert!(ran.out.lines().all(|line| line.starts_with("/: ")), "{source}: {}", ran.out);
        mounted.signal(signal);
        assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0), "{source}");
        assert!(!is_mounted(&mounted.at));
        assert!(names(&here.path("at")).is_empty());
    }
}

#[test]
fn an_image_is_mounted_as_its_layers_stacked() {
    if !can_mount("an_image_is_mounted_as_its_layers_stacked") {
        return;
    }
    let here = with_images();
    let _mounted = Mounted::new(&here, "mount oci:in:many at --platform linux/arm64");
    assert_eq!(names(&here.path("at")), ["big", "bin", "empty", "new", "out"]);
    assert_eq!(here.read("at/new"), b"arm64");
    assert_eq!(here.read("at/big"), here.read("tree/big"));
    here.ok("extract oci:in:many out --platform linux/arm64");
    let differs = here.run("diff out at");
    assert!(differs.out.lines().all(|line| line.starts_with("/: ")), "{}", differs.out);
    here.run("mount oci:in:one elsewhere --whiteouts keep").failed(2, &["whose layers are stacked"]);
}

/// The calls of a user without privilege, with a device that everybody may open, as is usual. No other test sees that one, and
/// the mounts of other tests, which would live on here, are left to those.
const AS_NOBODY: &str = r#"
grep fuse.dunnage /proc/self/mounts | cut -d " " -f 2 | xargs -r umount -l
mount --bind "$PWD/device" /dev/fuse
exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec '
    for option in --suid --dev "--read-ahead 4M"; do
        code=0
        refusal=$(./dunnage mount layer,1.esgz at --daemon $option 2>&1) || code=$?
        [ $code = 2 ]
        echo "$refusal" | grep -q "needs privilege"
    done
    ./dunnage mount layer,1.esgz at --daemon
    grep fuse.dunnage /proc/self/mounts
    cmp at/big tree/big
    ./dunnage umount at
    if grep fuse.dunnage /proc/self/mounts; then exit 9; fi
    pid=$(./dunnage mount layer,1.esgz at --daemon | sed "s/.*(process \([0-9]*\)).*/\1/")
    kill -9 $pid
    tries=0
    while grep fuse.dunnage /proc/self/mounts; do
        tries=$((tries + 1))
        if [ $tries -gt 40 ]; then kill $$; fi
        sleep 0.05
    done
    ! ./dunnage mount layer,1.esgz at --allow-other
'"#;

#[test]
fn without_root_the_helper_mounts() {
    const NAME: &str = "without_root_the_helper_mounts";
    if !can_mount(NAME) {
        return;
    }
    if Command::new("fusermount3").arg("-V").output().is_err() {
        println!("SKIPPED {NAME} fusermount3 is not installed");
        assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "{NAME} was skipped");
        return;
    }
    let here = Here::with_all_forms();
    fs::rename(here.path("layer.esgz"), here.path("layer,1.esgz")).unwrap();
    // They may reach neither the directory of the tests nor the command.
    fs::set_permissions(here.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::copy(env!("CARGO_BIN_EXE_dunnage"), here.path("dunnage")).unwrap();
    fs::create_dir(here.path("at")).unwrap();
    chown(here.path("at"), Some(65534), Some(65534)).unwrap();
    let device = fs::metadata("/dev/fuse").unwrap().rdev();
    let mode = rustix::fs::Mode::from(0o666);
    rustix::fs::mknodat(rustix::fs::CWD, here.path("device"), rustix::fs::FileType::CharacterDevice, mode, device)
        .unwrap();
    fs::set_permissions(here.path("device"), fs::Permissions::from_mode(0o666)).unwrap();
    let ran = Command::new("unshare").args(["--mount", "sh", "-ec", AS_NOBODY]).current_dir(here.path("")).output();
    let ran = Ran::from(ran.unwrap());
    assert_eq!(ran.code, 0, "{}{}", ran.out, ran.err);
    let at = here.path("at").display().to_string();
    let line = ran.out.lines().find(|line| line.starts_with("layer,1.esgz")).unwrap_or_default();
    assert!(line.starts_with(&format!("layer,1.esgz {at} fuse.dunnage ro,nosuid,nodev,")), "{}", ran.out);
    assert!(line.contains("user_id=65534,group_id=65534"), "{line}");
    // Root has not said that others may be let in.
    assert!(ran.err.contains("user_allow_other"), "{}", ran.err);
}

#[test]
fn a_daemon_lets_go_when_the_mount_answers() {
    if !can_mount("a_daemon_lets_go_when_the_mount_answers") {
        return;
    }
    let here = Here::with_all_forms();
    fs::create_dir(here.path("at")).unwrap();
    let told = here.json("mount layer.esgz at --daemon");
    assert_eq!(told["schema"], "dunnage.mount/1");
    assert_eq!(fs::read(here.path("at/etc/motd")).unwrap(), b"hello\n");
    let pid = told["pid"].as_u64().unwrap();
    assert_eq!(fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), Path::new("/"));
    here.ok("umount at");
    assert!(!is_mounted(&here.path("at")));
    let start = Instant::now();
    while Path::new(&format!("/proc/{pid}/exe")).exists() {
        assert!(start.elapsed() < Duration::from_secs(2), "the server is still there");
        thread::sleep(Duration::from_millis(5));
    }
    // What goes wrong before that is told as if there were no daemon.
    here.run("mount nowhere at --daemon").failed(3, &["`nowhere`", "No such file or directory"]);
    here.run("mount layer.esgz nowhere --daemon").failed(3, &["`nowhere`", "No such file or directory"]);
    here.run("umount at").failed(2, &["nothing is mounted at `at`"]);
}

#[test]
fn a_busy_mount_is_detached_and_a_second_signal_ends_it() {
    if !can_mount("a_busy_mount_is_detached_and_a_second_signal_ends_it") {
        return;
    }
    let here = Here::with_all_forms();
    let mut mounted = Mounted::new(&here, "mount layer.esgz at --quiet");
    let mut file = File::open(here.path("at/big")).unwrap();
    mounted.signal("-INT");
    let start = Instant::now();
    while is_mounted(&mounted.at) {
        assert!(start.elapsed() < Duration::from_secs(2), "still mounted: {}", doing(mounted.child.id()));
        thread::sleep(Duration::from_millis(5));
    }
    let mut start_of_file = [0; 1000];
    file.read_exact(&mut start_of_file).unwrap();
    assert_eq!(start_of_file, here.read("tree/big")[..1000]);
    assert!(mounted.child.try_wait().unwrap().is_none());
    mounted.signal("-INT");
    assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(3));
}

#[test]
fn what_was_counted_can_be_fetched() {
    if !can_mount("what_was_counted_can_be_fetched") {
        return;
    }
    let here = Here::with_all_forms();
    let mounted = Mounted::new(&here, "mount layer.esgz at --metrics 127.0.0.1:0");
    let address = mounted.line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    fs::read(here.path("at/big")).unwrap();
    let mut connection = TcpStream::connect(address).unwrap();
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut page = String::new();
    connection.read_to_string(&mut page).unwrap();
    for part in [
        "HTTP/1.1 200 OK",
        "version=0.0.4",
        "\ndunnage_fuse_read_bytes_total 300000\n",
        "\ndunnage_fuse_panics_total 0\n",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[test]
fn whiteouts_are_shown_as_asked() {
    if !can_mount("whiteouts_are_shown_as_asked") {
        return;
    }
    let here = Here::new();
    here.tar("layer.tar", &[(b"dir/.wh.gone", ""), (b"dir/kept", "x"), (b"dir/.wh..wh..opq", "")]);
    for (how, seen) in [
        ("keep", &[".wh..wh..opq", ".wh.gone", "kept"][..]),
        ("apply", &["kept"]),
        ("overlay", &["gone", "kept"]),
        ("overlay-user", &["gone", "kept"]),
    ] {
        let _mounted = Mounted::new(&here, &format!("mount layer.tar at --whiteouts {how}"));
        assert_eq!(names(&here.path("at/dir")), seen, "{how}");
    }
    let _cleared = Cleared(here.path("at"));
    // They would be those of the first look, with attributes of the last.
    here.run("mount tree at --whiteouts apply --daemon")
        .failed(2, &["for sources that cannot change", "`dunnage convert`"]);
}

/// Threads of this process that stay in a sleep which nothing ends. One that waits for a disk is there for a moment.
fn in_deep_sleep() -> usize {
    let stat = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
    let start = Instant::now();
    loop {
        let threads = fs::read_dir("/proc/self/task").unwrap();
        let asleep = threads.flatten().map(stat).filter(|stat| stat.contains(") D ")).count();
        if asleep == 0 || start.elapsed() > Duration::from_secs(2) {
            return asleep;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_server_that_is_killed_takes_nobody_with_it() {
    if !can_mount("a_server_that_is_killed_takes_nobody_with_it") {
        return;
    }
    let here = Here::with_all_forms();
    let mut mounted = Mounted::new(&here, "mount layer.esgz at");
    let ended = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..16)
        .map(|_| {
            let (path, ended) = (here.path("at/big"), Arc::clone(&ended));
            thread::spawn(move || {
                let mut errors = 0;
                while !ended.load(Ordering::Relaxed) {
                    // Past the cache of the kernel, so that the server is asked each time.
                    let dropped = File::open(&path).and_then(|file| {
                        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
                        std::io::copy(&mut &file, &mut std::io::sink())
                    });
                    errors += u64::from(dropped.is_err());
                }
                errors
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(300));
    let killed = Instant::now();
    mounted.child.kill().unwrap();
    mounted.child.wait().unwrap();
    assert!(soon(|| !is_mounted(&mounted.at)), "still mounted");
    assert!(killed.elapsed() < Duration::from_secs(2), "detached after {:?}", killed.elapsed());
    ended.store(true, Ordering::Relaxed);
    let errors: Vec<u64> = readers.into_iter().map(|reader| reader.join().unwrap()).collect();
    assert!(killed.elapsed() < Duration::from_secs(5), "readers ended after {:?}", killed.elapsed());
    assert!(errors.iter().all(|&errors| errors > 0), "{errors:?}");
    assert_eq!(in_deep_sleep(), 0);
}

#[test]
fn a_guard_outlives_the_group_of_its_server_and_nothing_else() {
    if !can_mount("a_guard_outlives_the_group_of_its_server_and_nothing_else") {
        return;
    }
    let here = Here::with_all_forms();
    let at = here.path("at");
    let start = || {
        fs::create_dir_all(&at).unwrap();
        let mut command = here.command("mount layer.esgz");
        command.arg(&at).process_group(0);
        let mounted = Mounted::by(command, at.clone());
        let server = mounted.child.id();
        let of_its_own = |pid: u32| pid != server && stat(pid, 3) == pid.to_string();
        let guard = || processes_about(&at).into_iter().find(|&pid| of_its_own(pid));
        assert!(soon(|| guard().is_some()), "there is no guard");
        (guard().unwrap(), mounted)
    };
    let exists = |pid: u32| Path::new(&format!("/proc/{pid}")).exists();
    let kill = |args: &[&str]| assert!(Command::new("kill").args(args).status().unwrap().success());

    let (guard, mut mounted) = start();
    for (file, target) in [("cwd", "/"), ("fd/1", "/dev/null"), ("fd/2", "/dev/null")] {
        assert_eq!(fs::read_link(format!("/proc/{guard}/{file}")).unwrap(), Path::new(target), "{file}");
    }
    for signal in ["-INT", "-TERM", "-HUP"] {
        kill(&[signal, &guard.to_string()]);
    }
    kill(&["-9", "--", &format!("-{}", mounted.child.id())]);
    mounted.child.wait().unwrap();
    assert!(soon(|| !is_mounted(&at)), "still mounted");
    assert!(soon(|| has_ended(guard)), "the guard is still there");

    // A server that ends well has nobody behind it.
    let (guard, mut mounted) = start();
    mounted.signal("-TERM");
    assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0));
    assert!(!exists(guard));

    // A guard that is killed is nobody's burden.
    let (guard, mut mounted) = start();
    kill(&["-9", &guard.to_string()]);
    assert!(soon(|| !exists(guard)), "the guard is a zombie");
    assert_eq!(fs::read(at.join("etc/motd")).unwrap(), b"hello\n");
    mounted.signal("-TERM");
    assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0));
}

/// Whether a process has ended; the process that inherited it may be slow to notice.
fn has_ended(pid: u32) -> bool {
    !Path::new(&format!("/proc/{pid}/exe")).exists()
}

#[test]
fn another_mount_at_the_same_place_is_left_alone() {
    if !can_mount("another_mount_at_the_same_place_is_left_alone") {
        return;
    }
    let here = Here::with_all_forms();
    let mut mounted = Mounted::new(&here, "mount layer.esgz at");
    let _above = Mounted::new(&here, "mount tree.tar at");
    mounted.child.kill().unwrap();
    mounted.child.wait().unwrap();
    thread::sleep(Duration::from_millis(300));
    assert_eq!(here.read("at/etc/motd"), b"hello\n");
    // Numbers are given out again, so the one that is meant may be that of a mount which somebody answers for.
    let device = fs::metadata(here.path("at")).unwrap().dev();
    let device = format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
    here.ok(&format!("umount --once-closed {device} {}", here.path("at").display()));
    assert_eq!(here.read("at/etc/motd"), b"hello\n");
}

#[test]
fn connections_that_are_ended_from_outside_leave_no_mount() {
    if !can_mount("connections_that_are_ended_from_outside_leave_no_mount") {
        return;
    }
    let here = Here::with_all_forms();
    let mut mounted = Mounted::new(&here, "mount layer.esgz at");
    let minor = rustix::fs::minor(fs::metadata(here.path("at")).unwrap().dev());
    let connections = here.path("connections");
    fs::create_dir(&connections).unwrap();
    let _cleared = Cleared(connections.clone());
    assert!(Command::new("mount").args(["-t", "fusectl", "none"]).arg(&connections).status().unwrap().success());
    fs::write(connections.join(format!("{minor}/abort")), "1").unwrap();
    assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0));
    assert!(!is_mounted(&mounted.at));
}

#[test]
fn a_mount_that_cannot_be_told_of_does_not_stay() {
    if !can_mount("a_mount_that_cannot_be_told_of_does_not_stay") {
        return;
    }
    let here = Here::with_all_forms();
    let at = here.path("at");
    fs::create_dir(&at).unwrap();
    let _cleared = Cleared(at.clone());
    for daemon in [false, true] {
        let mut command = here.command("mount layer.esgz");
        command.arg(&at).args(daemon.then_some("--daemon"));
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let ran = Ran::from(command.stdout(full).stderr(Stdio::piped()).output().unwrap());
        ran.failed(3, &["cannot write to standard output", "No space left on device"]);
        assert!(!is_mounted(&at), "daemon: {daemon}");
        assert!(soon(|| processes_about(&at).is_empty()), "daemon: {daemon}");
    }
    // That nobody listens is another matter.
    let (closed, stdout) = std::io::pipe().unwrap();
    drop(closed);
    let ran = here.command("mount layer.esgz at --daemon").stdout(stdout).status().unwrap();
    assert!(ran.success());
    assert_eq!(here.read("at/etc/motd"), b"hello\n");
    here.ok("umount at");
}

#[test]
fn behind_two_dashes_a_daemon_takes_anything_for_a_path() {
    if !can_mount("behind_two_dashes_a_daemon_takes_anything_for_a_path") {
        return;
    }
    let here = Here::with_all_forms();
    for at in ["at", "--daemon"] {
        fs::create_dir(here.path(at)).unwrap();
        let _cleared = Cleared(here.path(at));
        here.ok(&format!("mount --daemon -- layer.esgz {at}"));
        assert_eq!(here.read(&format!("{at}/etc/motd")), b"hello\n");
        here.ok(&format!("umount -- {at}"));
    }
}

#[test]
fn a_signal_that_was_to_be_ignored_is() {
    if !can_mount("a_signal_that_was_to_be_ignored_is") {
        return;
    }
    let here = Here::with_all_forms();
    fs::create_dir(here.path("at")).unwrap();
    let mut command = Command::new("nohup");
    command.arg(env!("CARGO_BIN_EXE_dunnage")).args(["mount", "layer.esgz", "at"]).current_dir(here.path(""));
    let mut mounted = Mounted::by(command, here.path("at"));
    mounted.signal("-HUP");
    thread::sleep(Duration::from_millis(300));
    assert!(mounted.child.try_wait().unwrap().is_none());
    assert_eq!(here.read("at/etc/motd"), b"hello\n");
    mounted.signal("-TERM");
    assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0));
}

#[test]
fn who_still_uses_a_mount_after_a_second_is_told_of() {
    if !can_mount("who_still_uses_a_mount_after_a_second_is_told_of") {
        return;
    }
    let here = Here::with_all_forms();
    let other = here.path("other");
    fs::create_dir_all(&other).unwrap();
    fs::create_dir_all(here.path("at")).unwrap();
    let start = || {
        let mut command = here.command("mount layer.esgz at");
        command.stderr(Stdio::piped());
        Mounted::by(command, here.path("at"))
    };
    let said = |mut mounted: Mounted| {
        assert_eq!(mounted.ends_within(Duration::from_secs(2)), Some(0));
        let mut said = String::new();
        mounted.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        said
    };
    let note = "dunnage: still in use; ends with its last user, or with another signal\n";

    // Mounted elsewhere too, so that here it is simply gone.
    let mounted = start();
    let cleared = Cleared(other.clone());
    assert!(Command::new("mount").arg("--bind").args([&mounted.at, &other]).status().unwrap().success());
    mounted.signal("-TERM");
    thread::sleep(Duration::from_millis(1500));
    assert!(!is_mounted(&mounted.at));
    drop(cleared);
    assert_eq!(said(mounted), note);

    for (use_for, wanted) in [(1500, note), (200, "")] {
        let mounted = start();
        let file = File::open(here.path("at/big")).unwrap();
        mounted.signal("-TERM");
        thread::sleep(Duration::from_millis(use_for));
        drop(file);
        assert_eq!(said(mounted), wanted, "in use for {use_for} ms");
    }
}

fn fetch(address: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(Duration::from_secs(5)))?;
    connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut page = String::new();
    connection.read_to_string(&mut page)?;
    Ok(page)
}

#[test]
fn a_slow_reader_of_metrics_holds_nobody_up_for_long() {
    if !can_mount("a_slow_reader_of_metrics_holds_nobody_up_for_long") {
        return;
    }
    let here = Here::with_all_forms();
    let mounted = Mounted::new(&here, "mount layer.esgz at --metrics 127.0.0.1:0");
    let address = mounted.line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let mut slow = TcpStream::connect(&address).unwrap();
    // A byte now and then, for as long as anybody takes them.
    let slow = thread::spawn(move || {
        for _ in 0..40 {
            if slow.write_all(b"x").is_err() {
                return;
            }
            thread::sleep(Duration::from_millis(200));
        }
    });
    thread::sleep(Duration::from_millis(100));
    assert!(fetch(&address).unwrap().contains("dunnage_fuse_panics_total"));
    slow.join().unwrap();
}

#[test]
fn metrics_without_a_descriptor_left_cost_no_time() {
    if !can_mount("metrics_without_a_descriptor_left_cost_no_time") {
        return;
    }
    let here = Here::with_all_forms();
    let mounted = Mounted::new(&here, "mount layer.esgz at --metrics 127.0.0.1:0");
    let address = mounted.line.split("http://").nth(1).unwrap().split('/').next().unwrap().to_owned();
    let pid = mounted.child.id();
    let limit = |soft: &str| {
        let status = Command::new("prlimit").args(["--pid", &pid.to_string(), &format!("--nofile={soft}:")]).status();
        assert!(status.unwrap().success());
    };
    // Clock ticks, of which there are a hundred a second.
    let used = || stat(pid, 11).parse::<u64>().unwrap() + stat(pid, 12).parse::<u64>().unwrap();
    limit("3");
    // The first one may have its descriptor already.
    let waiting = [(); 2].map(|()| {
        let address = address.clone();
        thread::spawn(move || fetch(&address))
    });
    thread::sleep(Duration::from_millis(100));
    let before = used();
    thread::sleep(Duration::from_secs(1));
    let ticks = used() - before;
    limit("512");
    assert!(ticks < 10, "{ticks} ticks in a second");
    for page in waiting {
        assert!(page.join().unwrap().unwrap().contains("dunnage_fuse_panics_total"));
    }
}

#[test]
fn mounts_of_others_inside_are_left_alone() {
    if !can_mount("mounts_of_others_inside_are_left_alone") {
        return;
    }
    let here = Here::with_all_forms();
    let mut mounted = Mounted::new(&here, "mount layer.esgz at");
    let inner = here.path("at/etc");
    let _cleared = Cleared(inner.clone());
    let put = || {
        let done = Command::new("mount").args(["-t", "tmpfs", "tmpfs"]).arg(&inner).status().unwrap();
        assert!(done.success());
        fs::write(inner.join("data"), b"of somebody else").unwrap();
    };
    put();
    let named = format!("there are other mounts inside: `{}`", inner.display());
    here.run("umount at").failed(3, &[&named]);
    mounted.signal("-INT");
    thread::sleep(Duration::from_millis(300));
    assert_eq!(fs::read(inner.join("data")).unwrap(), b"of somebody else");
    assert_eq!(here.read("at/big"), here.read("tree/big"));
    // What ends the server leaves its mount, dead, and the other one.
    mounted.child.kill().unwrap();
    mounted.child.wait().unwrap();
    thread::sleep(Duration::from_millis(500));
    assert!(is_mounted(&mounted.at) && is_mounted(&inner));
    here.ok("umount at --recursive");
    assert!(!is_mounted(&mounted.at) && !is_mounted(&inner));
    drop(mounted);

    let _mounted = Mounted::new(&here, "mount layer.esgz at");
    put();
    here.ok("umount at --lazy");
    assert!(!is_mounted(&here.path("at")) && !is_mounted(&inner));
}
