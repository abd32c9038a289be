//! Extended attributes of host files, in bytewise order of their names.

use std::{ops::ControlFlow, os::fd::AsFd};

use rustix::io::Errno;

use crate::{XattrVisitor, confine::retry};

/// Those of the node that `path` leads to. A path through `/proc` can name a descriptor opened with `O_PATH`, of a symlink
/// too.
pub(super) fn of_path(path: &[u8], visit: XattrVisitor<'_>) -> Result<(), Errno> {
    visit_all(
        &|list| retry(|| rustix::fs::listxattr(path, &mut *list)),
        &|name, value| match value {
            None => retry(|| rustix::fs::getxattr_query(path, name)),
            Some(value) => retry(|| rustix::fs::getxattr(path, name, &mut *value)),
        },
        visit,
    )
}

/// Those of an open file.
pub(super) fn of_fd(fd: impl AsFd, visit: XattrVisitor<'_>) -> Result<(), Errno> {
    visit_all(
        &|list| retry(|| rustix::fs::flistxattr(&fd, &mut *list)),
        &|name, value| match value {
            None => retry(|| rustix::fs::fgetxattr_query(&fd, name)),
            Some(value) => retry(|| rustix::fs::fgetxattr(&fd, name, &mut *value)),
        },
        visit,
    )
}

type List<'a> = &'a dyn Fn(&mut [u8]) -> Result<usize, Errno>;
type Get<'a> = &'a dyn Fn(&[u8], Option<&mut [u8]>) -> Result<usize, Errno>;

fn visit_all(list: List<'_>, get: Get<'_>, visit: XattrVisitor<'_>) -> Result<(), Errno> {
    // Nearly all files have few or none.
    let mut small = [0; 512];
    let mut large = Vec::new();
    let names = match list(&mut small) {
        Ok(len) => small.get(..len).unwrap_or_default(),
        Err(Errno::RANGE) => {
            // The most that the kernel allows.
            large.resize(64 << 10, 0);
            let len = list(&mut large)?;
            large.get(..len).unwrap_or_default()
        }
        Err(Errno::NOTSUP) => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut names: Vec<&[u8]> = names.split(|&byte| byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut value = Vec::new();
    for name in names {
        let len = loop {
            let len = match get(name, None) {
                Ok(len) => len,
                // Removed since it was listed.
                Err(Errno::NODATA) => break None,
                Err(error) => return Err(error),
            };
            value.resize(len, 0);
            match get(name, Some(&mut value)) {
                Ok(len) => break Some(len),
                Err(Errno::NODATA) => break None,
                // It grew meanwhile.
                Err(Errno::RANGE) => {}
                Err(error) => return Err(error),
            }
        };
        let Some(value) = len.and_then(|len| value.get(..len)) else { continue };
        if let ControlFlow::Break(()) = visit(name, value) {
            break;
        }
    }
    Ok(())
}
