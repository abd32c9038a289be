//! `dunnage mount` and `dunnage umount`.

mod daemon;
mod guard;
mod metrics;
mod signals;

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use dunnage_tree::{
    OpaqueMark, Overlay, OverlayfsLayer, Tree,
    fuse::{self, Content, Devices, MountOptions, MountsInside, Passthrough, Report, SetId, Unmounted, Users},
    pieces::PieceCache,
};
use serde::Serialize;

use self::{guard::Guard, metrics::Listener, signals::Signals};
use crate::{
    args::{Mount, MountWhiteouts},
    context::Context,
    exit::Exit,
    failure::usage,
    print::{Out, schema},
    source::{self, About, Access, Source, name_of, title},
};

pub(super) fn run(context: &Context, args: &Mount) -> Result<Exit> {
    if args.daemon {
        return daemon::start();
    }
    needs_privilege(context)?;
    // Bound before anything is mounted, so that an address in use leaves nothing behind.
    let listener = args.metrics.map(Listener::bind).transpose()?;
    let mut for_mount = context.clone();
    if let Some(bytes) = args.cache {
        for_mount.cache = PieceCache::with_bytes(bytes);
    }
    let source = source::open(&for_mount, &args.source, Access::Random)?;
    let options = options(context, args, source.about());
    let tree = with_whiteouts(args, source.as_ref())?;
    // Signals that arrive from here on wait until there is a mount to take off.
    let signals = Signals::block()?;
    let failed = || format!("cannot mount {}", name_of(&args.source));
    // Let go after the mount, so that whichever way this ends, it has little left to do.
    let guard;
    let mount = Arc::new(fuse::Mount::new(tree, &args.dir, &options).with_context(failed)?);
    let started = Guard::start(&mount);
    if let Err(error) = &started {
        context.note(&format!("cannot start the process that takes the mount off if this one is killed: {error}"));
    }
    guard = started.ok();
    let forced = signals.take_off(context, &mount)?;
    let metrics = listener.map(|listener| listener.serve(mount.metrics())).transpose()?;
    let mut out = Out::stdout()?;
    let ready = Ready {
        schema: schema("mount"),
        source: title(&args.source),
        dir: mount.path().display().to_string(),
        metrics: metrics.map(|address| format!("http://{address}/metrics")),
        pid: std::process::id(),
    };
    told(out.either(context.json, &ready).and_then(|()| out.finish()))?;
    if args.is_daemon {
        daemon::let_go()?;
    }
    let ended = mount.wait();
    if forced.is_so() {
        return Ok(Exit::IO);
    }
    ended?;
    // Answers can also be ended from outside, which leaves the mount in place.
    mount.unmount()?;
    if let Some(guard) = guard {
        guard.dismiss();
    }
    Ok(Exit::DONE)
}

/// Refuses options that the kernel, or `fusermount3`, would ignore without privilege.
fn needs_privilege(context: &Context) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    match ["suid", "dev", "read-ahead"].iter().find(|option| !is_root && context.given.has(option)) {
        Some(option) => {
            let message = format!("--{option} needs privilege, and without it would have no effect");
            Err(usage(message, format!("leave --{option} out, or mount as root")))
        }
        None => Ok(()),
    }
}

/// Ignores that the reader of standard output is gone: the mount has other users.
fn told(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// The work of the guard of a mount.
pub(super) fn keep(dir: &Path, device: &str) -> Result<Exit> {
    guard::keep(dir, device)?;
    Ok(Exit::DONE)
}

pub(super) fn unmount(context: &Context, dir: &Path, recursive: bool, lazy: bool) -> Result<Exit> {
    let inside = match (recursive, lazy) {
        (true, _) => MountsInside::TakeOff,
        (_, true) => MountsInside::Detach,
        _ => MountsInside::Refuse,
    };
    match fuse::unmount_with(dir, inside)? {
        Unmounted::Gone => {}
        Unmounted::Detached => {
            context.note(&format!("`{}` may still be in use; it ends with its last user", dir.display()))
        }
        Unmounted::Already => {
            return Err(usage(
                format!("nothing is mounted at `{}`", dir.display()),
                "`dunnage mount` mounts something",
            ));
        }
    }
    Ok(Exit::DONE)
}

fn options(context: &Context, args: &Mount, about: About) -> MountOptions {
    let noted = context.clone();
    MountOptions {
        name: title(&args.source),
        threads: context.threads,
        users: if args.allow_other { Users::Everybody } else { Users::Mounter },
        set_id: if args.suid { SetId::Honour } else { SetId::Ignore },
        devices: if args.dev { Devices::Honour } else { Devices::Ignore },
        content: if about.is_live { Content::Live } else { Content::Fixed },
        lifetime: args.lifetime.map(Duration::from_secs),
        passthrough: if args.no_passthrough { Passthrough::Never } else { Passthrough::Live },
        deadline: args.deadline.map_or(MountOptions::default().deadline, Duration::from_secs),
        read_ahead: args.read_ahead.map_or(1 << 20, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX)),
        report: Report::new(move |text| noted.note(text)),
    }
}

fn with_whiteouts(args: &Mount, source: &dyn Source) -> Result<Arc<dyn Tree>> {
    let (about, name) = (source.about(), name_of(&args.source));
    let how = args.whiteouts.unwrap_or(if about.is_stacked { MountWhiteouts::Apply } else { MountWhiteouts::Keep });
    if about.is_stacked && how != MountWhiteouts::Apply {
        return Err(usage(
            format!("only --whiteouts apply is for images, whose layers are stacked, and {name} is: {}", about.format),
            "mount its layers one by one to see them",
        ));
    }
    if about.is_live && how == MountWhiteouts::Apply {
        return Err(usage(
            format!("--whiteouts apply is for sources that cannot change, and {name} is: {}", about.format),
            "make a tar or a layer of it first, with `dunnage convert`",
        ));
    }
    let failed = || format!("cannot read {}", name_of(&args.source));
    let tree = source.tree().with_context(failed)?;
    Ok(match how {
        MountWhiteouts::Apply if about.is_stacked => tree,
        MountWhiteouts::Keep => tree,
        MountWhiteouts::Apply => Arc::new(Overlay::new(vec![tree])),
        MountWhiteouts::Overlay => Arc::new(OverlayfsLayer::new(tree, OpaqueMark::Trusted)),
        MountWhiteouts::OverlayUser => Arc::new(OverlayfsLayer::new(tree, OpaqueMark::User)),
        MountWhiteouts::OverlayBoth => Arc::new(OverlayfsLayer::new(tree, OpaqueMark::Both)),
    })
}

/// The line that is printed once the mount answers.
#[derive(Serialize)]
struct Ready {
    schema: String,
    source: String,
    dir: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics: Option<String>,
    pid: u32,
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, dir, metrics, pid, .. } = self;
        write!(f, "mounted {source} at {dir} (process {pid})")?;
        if let Some(metrics) = metrics {
            write!(f, ", metrics at {metrics}")?;
        }
        writeln!(f)
    }
}
