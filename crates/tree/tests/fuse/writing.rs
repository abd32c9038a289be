//! Nothing can be changed.

use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::{PermissionsExt, chown, symlink},
    sync::Arc,
    time::SystemTime,
};

use dunnage_tree::fuse::MountOptions;
use rustix::{
    fs::{FileType, Mode, XattrFlags},
    io::Errno,
};

use crate::support::{Archive, mount};

#[test]
fn every_change_is_refused_as_on_a_read_only_file_system() {
    let tree = Archive::default().dir("dir/").file("file", b"content").file("dir/other", b"x").tree();
    let test = "every_change_is_refused_as_on_a_read_only_file_system";
    let Some(mounted) = mount(test, Arc::new(tree), &MountOptions::default()) else { return };
    let (file, dir, new) = (mounted.path("file"), mounted.path("dir"), mounted.path("new"));
    let at = |error: Errno| io::Error::from_raw_os_error(error.raw_os_error());
    let node = |kind| rustix::fs::mknodat(rustix::fs::CWD, &new, kind, Mode::RUSR, 0).map_err(at);
    let attempts: Vec<(&str, io::Result<()>)> = vec![
        ("create", File::create(&new).map(drop)),
        ("truncate", OpenOptions::new().write(true).truncate(true).open(&file).map(drop)),
        ("append", OpenOptions::new().append(true).open(&file).map(drop)),
        ("write", OpenOptions::new().read(true).write(true).open(&file).map(drop)),
        ("mkdir", fs::create_dir(&new)),
        ("unlink", fs::remove_file(&file)),
        ("rmdir", fs::remove_dir(&dir)),
        ("rename", fs::rename(&file, &new)),
        ("rename onto", fs::rename(&file, mounted.path("dir/other"))),
        ("link", fs::hard_link(&file, &new)),
        ("symlink", symlink("target", &new)),
        ("chmod", fs::set_permissions(&file, fs::Permissions::from_mode(0o777))),
        ("chown", chown(&file, Some(0), Some(0))),
        ("utimes", File::open(&file).unwrap().set_modified(SystemTime::now())),
        ("setxattr", rustix::fs::setxattr(&file, "user.x", b"y", XattrFlags::empty()).map_err(at)),
        ("removexattr", rustix::fs::removexattr(&file, "user.x").map_err(at)),
        ("fifo", node(FileType::Fifo)),
        ("socket", node(FileType::Socket)),
    ];
    for (what, outcome) in attempts {
        let error = outcome.expect_err(what);
        assert_eq!(error.raw_os_error(), Some(Errno::ROFS.raw_os_error()), "{what}: {error}");
    }
    assert_eq!(fs::read(&file).unwrap(), b"content");
}
