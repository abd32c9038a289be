//! The device and the mount table: mounting, detaching, and asking `fusermount3` to do it where this process may not.
//!
//! A mount is identified by its device number in the mount table. Looking a mount point up would ask its server, and would wait for
//! ever if the server hangs; and a path alone may by now belong to another mount.

use std::{
    ffi::{CString, OsStr, OsString},
    fs::{self, File, OpenOptions},
    io::{self, IoSliceMut},
    mem::MaybeUninit,
    os::{
        fd::{AsRawFd, OwnedFd},
        unix::{
            ffi::{OsStrExt, OsStringExt},
            net::UnixStream,
        },
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
    mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create, fsmount, fsopen},
    net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags},
};

use super::options::{Devices, MountOptions, SetId, Users};
use crate::Error;

/// How an unmount went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the cases")]
pub enum Unmounted {
    /// Nothing is mounted there any more.
    Gone,
    /// It is out of sight; programs with open files can go on until they close them.
    Detached,
    /// There was nothing to do.
    Already,
}

/// The fate of mounts that lie inside of one that is taken off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the cases")]
pub enum MountsInside {
    /// Nothing is taken off, and the error names them.
    #[default]
    Refuse,
    /// They go out of sight with it, and their data with them as soon as nobody uses them.
    Detach,
    /// They are taken off first.
    TakeOff,
}

/// Takes the mount at `path` off, lazily if a program uses it. It works even if the server of the mount is gone.
///
/// Use it for a mount of another process; a [`Mount`](super::Mount) of this process has a method for it.
///
/// # Errors
///
/// [`Error::Io`] for a mount of another type, for one with [other mounts inside](MountsInside::Refuse), and without the right
/// to take it off.
pub fn unmount(path: &Path) -> Result<Unmounted, Error> {
    unmount_with(path, MountsInside::Refuse)
}

/// As [`unmount`], with a word about mounts inside of it.
///
/// # Errors
///
/// As [`unmount`]; [`Error::Io`] for a mount inside that cannot be taken off.
pub fn unmount_with(path: &Path, inside: MountsInside) -> Result<Unmounted, Error> {
    let path = absolute(path).map_err(|source| failed("find", path, source))?;
    let Some(found) = at(&path) else { return Ok(Unmounted::Already) };
    if found.kind != KIND.to_bytes() {
        let kind = String::from_utf8_lossy(&found.kind).into_owned();
        let source = io::Error::new(io::ErrorKind::InvalidInput, format!("it is a mount of type {kind}, not of ours"));
        return Err(failed("unmount", &path, source));
    }
    if inside == MountsInside::TakeOff {
        for point in mounts_inside(&found).into_iter().rev() {
            rustix::mount::unmount(&point, UnmountFlags::NOFOLLOW)
                .map_err(|error| failed("unmount", &point, error.into()))?;
        }
    }
    take_off(&path, &found, inside)
}

/// Takes off the mount with this device number, if it is still the one at `path`.
pub(super) fn unmount_device(path: &Path, device: Device) -> Result<Unmounted, Error> {
    match at(path) {
        Some(found) if found.device == device => take_off(path, &found, MountsInside::Refuse),
        _ => Ok(Unmounted::Already),
    }
}

/// Whether the mount with this device number is still at `path`, after our end of it was closed. The number alone may have been
/// given to another mount by now, but the server of that one answers.
pub(super) fn is_left(path: &Path, device: Device) -> bool {
    let is_dead = || matches!(rustix::fs::statfs(path), Err(Errno::NOTCONN | Errno::CONNABORTED));
    at(path).is_some_and(|found| found.device == device) && is_dead()
}

/// Points of the mounts that lie inside of `mount`, outer ones first.
fn mounts_inside(mount: &Mounted) -> Vec<PathBuf> {
    let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
    inside(&table, mount.id).into_iter().map(|point| PathBuf::from(OsString::from_vec(point))).collect()
}

fn inside(table: &[u8], id: u64) -> Vec<Vec<u8>> {
    let mut parents = vec![id];
    let mut points = Vec::new();
    // Mounts are listed after those that they lie in.
    for (point, mounted) in table.split(|&byte| byte == b'\n').filter_map(parse) {
        if mounted.id != id && parents.contains(&mounted.parent) {
            parents.push(mounted.id);
            points.push(point);
        }
    }
    points
}

/// Refuses while other mounts lie inside: detaching a mount detaches those too.
fn refuse_mounts_inside(path: &Path, mount: &Mounted) -> Result<(), Error> {
    let points: Vec<String> = mounts_inside(mount).iter().map(|point| format!("`{}`", point.display())).collect();
    if points.is_empty() {
        return Ok(());
    }
    let message = format!("there are other mounts inside: {}", points.join(", "));
    Err(failed("unmount", path, io::Error::new(io::ErrorKind::ResourceBusy, message)))
}

fn take_off(path: &Path, mount: &Mounted, inside: MountsInside) -> Result<Unmounted, Error> {
    match rustix::mount::unmount(path, UnmountFlags::NOFOLLOW) {
        Ok(()) => return Ok(Unmounted::Gone),
        Err(Errno::BUSY) if inside == MountsInside::Detach => {}
        Err(Errno::BUSY) => refuse_mounts_inside(path, mount)?,
        // Another process was faster.
        Err(Errno::INVAL) if at(path).is_none() => return Ok(Unmounted::Already),
        Err(Errno::PERM) => {
            if inside != MountsInside::Detach {
                refuse_mounts_inside(path, mount)?;
            }
            // Out of sight at once, whether or not a program uses it.
            run(Command::new(FUSERMOUNT).args(["-u", "-z", "-q", "--"]).arg(path))
                .map_err(|source| failed("unmount", path, source))?;
            return Ok(Unmounted::Detached);
        }
        Err(error) => return Err(failed("unmount", path, error.into())),
    }
    rustix::mount::unmount(path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH)
        .map_err(|error| failed("unmount", path, error.into()))?;
    Ok(Unmounted::Detached)
}

/// Ends a connection from outside: every program that waits for an answer gets an error. Returns whether the kernel did it.
pub(super) fn abort(device: Device) -> bool {
    let name = format!("{}/abort", device.1);
    fs::write(format!("/sys/fs/fuse/connections/{name}"), "1").is_ok() || abort_unseen(&name).is_ok()
}

/// The same where the file system that shows the connections is not mounted: root can mount one that no path leads to.
fn abort_unseen(name: &str) -> Result<(), Errno> {
    let context = fsopen("fusectl", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let root = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let file = rustix::fs::openat(&root, name, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, b"1").map(drop)
}

/// Tells the kernel how far to read ahead. Only root may, so errors are ignored.
pub(super) fn read_ahead(device: Device, bytes: u32) {
    let (major, minor) = device;
    let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"), (bytes / 1024).to_string());
}

/// Mounts at `path` and returns the descriptor over which the requests come.
pub(super) fn mount(path: &Path, options: &MountOptions) -> Result<OwnedFd, Error> {
    let mode = fs::metadata(path).map_err(|source| failed("mount on", path, source))?;
    if !mode.is_dir() {
        return Err(failed("mount on", path, Errno::NOTDIR.into()));
    }
    // Where only root may open the device, the helper still can.
    let helped = || mount_with_helper(path, options).map_err(|source| failed("mount on", path, source));
    let device = match open_device() {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return helped(),
        Err(source) => return Err(failed("open", Path::new(DEVICE), source)),
    };
    match mount_directly(&device, path, options) {
        Ok(()) => Ok(device.into()),
        Err(Errno::PERM) => {
            drop(device);
            helped()
        }
        Err(error) => Err(failed("mount on", path, error.into())),
    }
}

fn open_device() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(DEVICE)
}

/// Whether each thread can have a descriptor of its own.
pub(super) fn can_have_more_descriptors() -> bool {
    open_device().is_ok()
}

fn mount_directly(device: &File, path: &Path, options: &MountOptions) -> Result<(), Errno> {
    let mut flags = MountFlags::RDONLY;
    if options.set_id == SetId::Ignore {
        flags |= MountFlags::NOSUID;
    }
    if options.devices == Devices::Ignore {
        flags |= MountFlags::NODEV;
    }
    let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
    let mut data =
        format!("fd={},rootmode=40000,user_id={},group_id={}", device.as_raw_fd(), uid.as_raw(), gid.as_raw());
    for option in checks(options) {
        data.push(',');
        data.push_str(option);
    }
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(options.name.as_str(), path, KIND, flags, &*data)
}

/// Permissions are for the kernel to check, unless the mounter alone may look and is not root: then everything in the tree
/// is for them to see, as in an archive that they have.
fn checks(options: &MountOptions) -> Vec<&'static str> {
    let mut checks = Vec::new();
    if options.users == Users::Everybody {
        checks.push("allow_other");
    }
    if options.users == Users::Everybody || rustix::process::getuid().is_root() {
        checks.push("default_permissions");
    }
    checks
}

/// Has `fusermount3` mount, which root has allowed to, and which sends the descriptor over a socket.
fn mount_with_helper(path: &Path, options: &MountOptions) -> io::Result<OwnedFd> {
    let mut list = vec!["ro"];
    list.push(if options.set_id == SetId::Honour { "suid" } else { "nosuid" });
    list.push(if options.devices == Devices::Honour { "dev" } else { "nodev" });
    list.extend(checks(options));
    // The helper ends an option at a comma unless there is a backslash before it.
    let name = options.name.replace('\\', "\\\\").replace(',', "\\,");
    let list = format!("{},subtype=dunnage,fsname={name}", list.join(","));
    let (ours, theirs) = UnixStream::pair()?;
    // The helper gets the socket as its standard input, so no other descriptor has to be passed on.
    let mut helper = Command::new(FUSERMOUNT);
    helper.args(["-o", &list, "--"]).arg(path).env("_FUSE_COMMFD", "0").stdin(OwnedFd::from(theirs));
    run(&mut helper)?;
    // The descriptor waits in the socket. The command holds the other end.
    drop(helper);
    receive(&ours)
}

/// Runs a helper to its end. If it fails, its output is the error.
fn run(command: &mut Command) -> io::Result<()> {
    let name = command.get_program().to_owned();
    let output = command.stdout(Stdio::null()).stderr(Stdio::piped()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("it takes root, or `{}`, which is not installed", name.display()),
        ),
        _ => error,
    })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::new(io::ErrorKind::PermissionDenied, if said.is_empty() { output.status.to_string() } else { said }))
}

fn receive(socket: &UnixStream) -> io::Result<OwnedFd> {
    let mut byte = [0];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    rustix::net::recvmsg(socket, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let received = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, format!("{FUSERMOUNT} sent no descriptor")))
}

/// Major and minor number of a mounted file system.
pub(super) type Device = (u32, u32);

/// A line of the mount table.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mounted {
    id: u64,
    parent: u64,
    device: Device,
    kind: Vec<u8>,
}

/// The mount at `path`, the last one of several.
fn at(path: &Path) -> Option<Mounted> {
    let table = fs::read("/proc/self/mountinfo").ok()?;
    last_at(&table, path.as_os_str().as_bytes())
}

fn last_at(table: &[u8], path: &[u8]) -> Option<Mounted> {
    let lines = table.split(|&byte| byte == b'\n').rev();
    lines.filter_map(parse).find_map(|(point, mounted)| (point == path).then_some(mounted))
}

/// `ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [TAGS...] - TYPE SOURCE OPTIONS`, odd bytes as `\ooo`.
fn parse(line: &[u8]) -> Option<(Vec<u8>, Mounted)> {
    let mut fields = line.split(|&byte| byte == b' ');
    let mut number = || std::str::from_utf8(fields.next()?).ok()?.parse().ok();
    let (id, parent) = (number()?, number()?);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let (major, minor) = device.split_once(':')?;
    let point = unescape(fields.nth(1)?);
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    let device = (major.parse().ok()?, minor.parse().ok()?);
    Some((point, Mounted { id, parent, device, kind: unescape(kind) }))
}

fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let octal = if byte == b'\\' { after.get(..3) } else { None };
        let code = octal.and_then(|digits| std::str::from_utf8(digits).ok());
        match code.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(code) => {
                plain.push(code);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    plain
}

/// `path` from the root, symlinks resolved but for the last name, which may be a mount whose server is gone.
pub(super) fn absolute(path: &Path) -> io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) if name != OsStr::new("..") => {
            let mut whole = parent.canonicalize()?.into_os_string().into_vec();
            if whole != b"/" {
                whole.push(b'/');
            }
            whole.extend_from_slice(name.as_bytes());
            let whole = PathBuf::from(OsString::from_vec(whole));
            // A symlink is not a mount point, but may lead to one.
            match fs::read_link(&whole) {
                Ok(_) => whole.canonicalize(),
                Err(_) => Ok(whole),
            }
        }
        _ => path.canonicalize(),
    }
}

pub(super) fn failed(action: &'static str, path: &Path, source: io::Error) -> Error {
    Error::Io { action, path: path.display().to_string(), source }
}

const DEVICE: &str = "/dev/fuse";
const FUSERMOUNT: &str = "fusermount3";
/// The type in the mount table, by which our mounts are known.
const KIND: &std::ffi::CStr = c"fuse.dunnage";

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 253:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n\
        40 22 0:33 / /mnt/a\\040b ro,nosuid,nodev shared:7 master:2 - fuse.dunnage a\\011b ro,user_id=0\n\
        41 22 0:34 / /mnt/a\\040b ro - fuse.other x ro\n\
        42 22 0:35 / /mnt/c ro - fuse.dunnage x ro\n\
        43 41 0:36 / /mnt/a\\040b/d rw - tmpfs tmpfs rw\n\
        44 43 0:37 / /mnt/a\\040b/d/e rw - tmpfs tmpfs rw\n";

    #[test]
    fn the_mount_table_is_read_with_its_escapes() {
        let found = last_at(TABLE, b"/mnt/a b");
        assert_eq!(found, Some(Mounted { id: 41, parent: 22, device: (0, 34), kind: b"fuse.other".to_vec() }));
        assert_eq!(last_at(TABLE, b"/mnt/c").map(|found| found.device), Some((0, 35)));
        assert_eq!(last_at(TABLE, b"/mnt"), None);
        assert_eq!(unescape(b"a\\134\\12"), b"a\\\\12");
        assert_eq!(inside(TABLE, 41), [b"/mnt/a b/d".to_vec(), b"/mnt/a b/d/e".to_vec()]);
        assert_eq!(inside(TABLE, 40), [b""; 0]);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let error = unmount(Path::new("/proc")).unwrap_err();
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "it is a mount of type proc, not of ours");
        assert_eq!(unmount(&std::env::temp_dir().join("not-there")).unwrap(), Unmounted::Already);
    }
}
