//! The requests of the kernel, one method each.

use std::{
    ffi::OsStr,
    io,
    ops::{ControlFlow, Deref},
    os::unix::ffi::OsStrExt,
    path::Path,
    sync::Arc,
    time::SystemTime,
};

use dunnage_digest::{Cancel, Purpose, ReadRequest};
use fuser::{
    AccessFlags, BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo,
    InitFlags, KernelConfig, LockOwner, OpenAccMode, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::{
    convert::{file_type, nameless},
    metrics::Op,
    options::{Content, Passthrough},
    pending::Slot,
    server::{Seek, Server},
};
use crate::Kind;

/// Requests that would change something. All get the same answer.
macro_rules! refused {
    ($($name:ident($($argument:ident: $type:ty),*) -> $reply:ty;)*) => {
        $(fn $name(&self, _: &Request, $($argument: $type,)* reply: $reply) {
            $(let _ = $argument;)*
            self.metrics.count(Op::Write, std::time::Duration::ZERO, true);
            reply.error(Errno::EROFS);
        })*
    };
}

/// The server, in the shape that the library asks for.
#[derive(Debug)]
pub(super) struct Requests(pub(super) Arc<Server>);

impl Deref for Requests {
    type Target = Arc<Server>;

    fn deref(&self) -> &Arc<Server> {
        &self.0
    }
}

impl Filesystem for Requests {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let server = Arc::get_mut(&mut self.0);
        server.map_or_else(|| Err(io::Error::other("the server has begun already")), |server| server.negotiate(config))
    }

    fn lookup(&self, request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        let work = move |server: &Server, _: &Slot| server.find(parent, &name);
        self.serve(Op::Lookup, request, reply, work, |server, reply: ReplyEntry, found| match found {
            Some(attr) => reply.entry(&server.lifetime, &attr, Generation(0)),
            // Inode 0 stands for a name that is not there, and that is remembered too.
            None if !server.is_live() => {
                reply.entry(&server.lifetime, &nameless(INodeNo(0), Kind::File), Generation(0));
            }
            None => reply.error(Errno::ENOENT),
        });
    }

    fn forget(&self, _: &Request, _: INodeNo, _: u64) {
        // Nodes belong to the tree, which keeps them all the time.
        self.metrics.count(Op::Forget, std::time::Duration::ZERO, false);
    }

    fn getattr(&self, request: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        let work = move |server: &Server, _: &Slot| server.attributes(ino);
        self.serve(Op::Getattr, request, reply, work, |server, reply: ReplyAttr, attr| {
            reply.attr(&server.lifetime, &attr);
        });
    }

    fn readlink(&self, request: &Request, ino: INodeNo, reply: ReplyData) {
        let work = move |server: &Server, _: &Slot| server.read_link(ino);
        self.serve(Op::Readlink, request, reply, work, |_, reply: ReplyData, target| reply.data(&target));
    }

    fn open(&self, request: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        if self.skips_open {
            self.metrics.count(Op::Open, std::time::Duration::ZERO, false);
            return reply.error(Errno::ENOSYS);
        }
        let work = move |server: &Server, _: &Slot| {
            if flags.acc_mode() != OpenAccMode::O_RDONLY {
                return Err(Errno::EROFS);
            }
            Ok(server.files.of_host(&*server.tree, server.numbers.node(ino)))
        };
        self.serve(Op::Open, request, reply, work, move |server, reply: ReplyOpen, file| {
            let keep = if server.is_live() { FopenFlags::empty() } else { FopenFlags::FOPEN_KEEP_CACHE };
            if server.files.answer(server.numbers.node(ino), file, keep | FopenFlags::FOPEN_NOFLUSH, reply) {
                server.metrics.pass_through();
            }
        });
    }

    fn read(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.unpack_ahead(ino, offset, size);
        let (cancel, deadline) = (Cancel::new(), self.deadline());
        let raised = cancel.clone();
        let work = move |server: &Server, _: &Slot| {
            let mut buffer = server.buffers.take();
            let request = ReadRequest { purpose: Purpose::Demand, deadline, cancel: Some(&raised) };
            match server.read(ino, offset, size, &mut buffer, &request) {
                Ok(read) => Ok((buffer, read)),
                Err(errno) => {
                    server.buffers.give_back(buffer);
                    Err(errno)
                }
            }
        };
        self.serve_until(Op::Read, request, Some(cancel), reply, work, |server, reply: ReplyData, (buffer, read)| {
            reply.data(buffer.get(..read).unwrap_or_default());
            server.buffers.give_back(buffer);
        });
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        // Not asked again.
        reply.error(Errno::ENOSYS);
    }

    fn release(
        &self,
        request: &Request,
        ino: INodeNo,
        _: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        let work = move |server: &Server, _: &Slot| {
            server.files.release(server.numbers.node(ino));
            Ok(())
        };
        self.serve(Op::Release, request, reply, work, |_, reply: ReplyEmpty, ()| reply.ok());
    }

    fn opendir(&self, request: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        if self.skips_opendir {
            self.metrics.count(Op::Opendir, std::time::Duration::ZERO, false);
            return reply.error(Errno::ENOSYS);
        }
        let flags = match self.options.content {
            Content::Fixed => FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
            Content::Live => FopenFlags::empty(),
        };
        self.serve(Op::Opendir, request, reply, nothing, move |_, reply: ReplyOpen, ()| {
            reply.opened(FileHandle(0), flags)
        });
    }

    fn readdir(&self, request: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectory) {
        let work = move |server: &Server, slot: &Slot| {
            server.list(ino, offset, &mut |entry| {
                let (kind, name) = (file_type(entry.kind), OsStr::from_bytes(entry.name));
                go_on(slot.with(|reply: &mut ReplyDirectory| reply.add(entry.ino, entry.next, kind, name)))
            })
        };
        self.serve(Op::Readdir, request, reply, work, |_, reply: ReplyDirectory, ()| reply.ok());
    }

    fn readdirplus(&self, request: &Request, ino: INodeNo, _: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        let work = move |server: &Server, slot: &Slot| {
            server.list(ino, offset, &mut |entry| {
                let ((attr, lifetime), name) = (server.listed(&entry), OsStr::from_bytes(entry.name));
                go_on(slot.with(|reply: &mut ReplyDirectoryPlus| {
                    reply.add(entry.ino, entry.next, name, &lifetime, &attr, Generation(0))
                }))
            })
        };
        self.serve(Op::Readdirplus, request, reply, work, |_, reply: ReplyDirectoryPlus, ()| reply.ok());
    }

    fn releasedir(&self, request: &Request, _: INodeNo, _: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.serve(Op::Releasedir, request, reply, nothing, |_, reply: ReplyEmpty, ()| reply.ok());
    }

    fn statfs(&self, request: &Request, _: INodeNo, reply: ReplyStatfs) {
        let work = |server: &Server, _: &Slot| Ok(server.usage());
        self.serve(Op::Statfs, request, reply, work, |_, reply: ReplyStatfs, usage| {
            // Nothing is free: the tree is read-only.
            reply.statfs(usage.bytes.div_ceil(4096), 0, 0, usage.nodes, 0, 4096, 255, 4096);
        });
    }

    fn lseek(&self, request: &Request, ino: INodeNo, _: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let work = move |server: &Server, _: &Slot| {
            let seek = match whence {
                SEEK_DATA => Seek::Data,
                SEEK_HOLE => Seek::Hole,
                _ => return Err(Errno::EINVAL),
            };
            let at = u64::try_from(offset).map_err(|_| Errno::ENXIO)?;
            i64::try_from(server.seek(ino, at, seek)?).map_err(|_| Errno::EOVERFLOW)
        };
        self.serve(Op::Lseek, request, reply, work, |_, reply: ReplyLseek, at| reply.offset(at));
    }

    fn getxattr(&self, request: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        let work = move |server: &Server, _: &Slot| server.xattr(ino, &name);
        self.serve(Op::Getxattr, request, reply, work, move |_, reply: ReplyXattr, value| match value {
            Some(value) => send(reply, &value, size),
            None => reply.error(Errno::ENODATA),
        });
    }

    fn listxattr(&self, request: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let work = move |server: &Server, _: &Slot| server.xattr_names(ino);
        self.serve(Op::Listxattr, request, reply, work, move |_, reply, names| send(reply, &names, size));
    }

    fn access(&self, request: &Request, ino: INodeNo, mask: AccessFlags, reply: ReplyEmpty) {
        let work = move |server: &Server, _: &Slot| server.permit(ino, mask);
        self.serve(Op::Access, request, reply, work, |_, reply: ReplyEmpty, ()| reply.ok());
    }

    refused! {
        mknod(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32) -> ReplyEntry;
        mkdir(parent: INodeNo, name: &OsStr, mode: u32, umask: u32) -> ReplyEntry;
        unlink(parent: INodeNo, name: &OsStr) -> ReplyEmpty;
        rmdir(parent: INodeNo, name: &OsStr) -> ReplyEmpty;
        symlink(parent: INodeNo, name: &OsStr, target: &Path) -> ReplyEntry;
        rename(parent: INodeNo, name: &OsStr, newparent: INodeNo, newname: &OsStr, flags: RenameFlags) -> ReplyEmpty;
        link(ino: INodeNo, newparent: INodeNo, newname: &OsStr) -> ReplyEntry;
        create(parent: INodeNo, name: &OsStr, mode: u32, umask: u32, flags: i32) -> ReplyCreate;
        setxattr(ino: INodeNo, name: &OsStr, value: &[u8], flags: i32, position: u32) -> ReplyEmpty;
        removexattr(ino: INodeNo, name: &OsStr) -> ReplyEmpty;
        fallocate(ino: INodeNo, fh: FileHandle, offset: u64, length: u64, mode: i32) -> ReplyEmpty;
        setattr(ino: INodeNo, mode: Option<u32>, uid: Option<u32>, gid: Option<u32>, size: Option<u64>, atime: Option<TimeOrNow>, mtime: Option<TimeOrNow>, ctime: Option<SystemTime>, fh: Option<FileHandle>, crtime: Option<SystemTime>, chgtime: Option<SystemTime>, bkuptime: Option<SystemTime>, flags: Option<BsdFileFlags>) -> ReplyAttr;
        write(ino: INodeNo, fh: FileHandle, offset: u64, data: &[u8], write_flags: WriteFlags, flags: OpenFlags, lock_owner: Option<LockOwner>) -> ReplyWrite;
        copy_file_range(ino_in: INodeNo, fh_in: FileHandle, offset_in: u64, ino_out: INodeNo, fh_out: FileHandle, offset_out: u64, len: u64, flags: CopyFileRangeFlags) -> ReplyWrite;
    }
}

impl Server {
    /// Agrees with the kernel on the capabilities of both.
    fn negotiate(&mut self, config: &mut KernelConfig) -> io::Result<()> {
        // Capabilities that this kernel does not know are left out.
        let mut want = |flags| config.add_capabilities(flags).is_ok();
        for flag in [
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_NO_EXPORT_SUPPORT,
        ] {
            want(flag);
        }
        let passes = match self.options.passthrough {
            Passthrough::Always => true,
            Passthrough::Live => self.is_live(),
            Passthrough::Never => false,
        };
        let passes = passes && want(InitFlags::FUSE_PASSTHROUGH);
        if self.is_live() {
            // Attributes cost a call each here, and are sent with each listing all the same: a request for each costs ten
            // times that, and the kernel's own guess (`FUSE_READDIRPLUS_AUTO`) is wrong for a program that lists first and
            // looks then.
            want(InitFlags::FUSE_AUTO_INVAL_DATA);
        } else {
            want(InitFlags::FUSE_CACHE_SYMLINKS);
            self.skips_opendir = want(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
            self.skips_open = !passes && want(InitFlags::FUSE_NO_OPEN_SUPPORT);
        }
        if passes && config.set_max_stack_depth(1).is_ok() {
            self.files.use_passthrough();
        }
        // The size of the largest read follows from that of the largest write.
        let _ = config.set_max_write(REQUEST_MAX);
        if let Err(most) = config.set_max_readahead(self.options.read_ahead) {
            let _ = config.set_max_readahead(most);
        }
        let _ = config.set_max_background(64);
        Ok(())
    }
}

/// For requests whose answer takes no work.
const fn nothing(_: &Server, _: &Slot) -> Result<(), Errno> {
    Ok(())
}

/// Whether a listing goes on after an entry: not if the reply was full, or its caller has given up.
fn go_on(is_full: Option<bool>) -> ControlFlow<()> {
    if is_full == Some(false) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
}

/// Answers with the value of an attribute, with its length if the caller asks for that, or with `ERANGE` if it does not fit.
fn send(reply: ReplyXattr, value: &[u8], room: u32) {
    let len = u32::try_from(value.len()).unwrap_or(u32::MAX);
    match room {
        0 => reply.size(len),
        room if room < len => reply.error(Errno::ERANGE),
        _ => reply.data(value),
    }
}

/// Numbers of `lseek`. The kernel answers the other ones itself.
const SEEK_DATA: i32 = 3;
const SEEK_HOLE: i32 = 4;

/// Bytes of the largest request.
const REQUEST_MAX: u32 = 1 << 20;
