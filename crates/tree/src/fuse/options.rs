//! Options of a mount.

use std::{fmt, sync::Arc, time::Duration};

/// How a tree is mounted. The default suits an immutable tree that only its mounter looks at.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct MountOptions {
    /// The text in the first column of the mount table. Default `dunnage`.
    pub name: String,
    /// Threads that answer requests; 0, the default, for four times as many as the machine has cores, from 8 to 32.
    pub threads: usize,
    /// The users that may look. Default: the mounting user alone.
    pub users: Users,
    /// Whether set-user-id and set-group-id bits count. Default: no.
    pub set_id: SetId,
    /// Whether device nodes can be opened. Default: no.
    pub devices: Devices,
    /// Whether the tree can change under the mount. Default: it cannot.
    pub content: Content,
    /// How long the kernel may believe names and attributes, names that are not there included. Default: an hour if the
    /// content is fixed, else a second.
    pub lifetime: Option<Duration>,
    /// Whether the kernel may read host files itself where the tree has them. Default: if the tree can change.
    pub passthrough: Passthrough,
    /// How far the kernel reads ahead, in bytes, where we may tell it. Default 1 MiB.
    pub read_ahead: u32,
    /// How long a request may take. After that its caller gets `ETIMEDOUT`, and the tree is asked to stop: the deadline and the
    /// flag of the [`ReadRequest`](dunnage_digest::ReadRequest) say so. Default 120 s.
    pub deadline: Duration,
    /// Where failures are reported whose caller gets no more than `EIO`. Default: nowhere.
    pub report: Report,
}

impl Default for MountOptions {
    fn default() -> Self {
        Self {
            name: "dunnage".to_owned(),
            threads: 0,
            users: Users::default(),
            set_id: SetId::default(),
            devices: Devices::default(),
            content: Content::default(),
            lifetime: None,
            passthrough: Passthrough::default(),
            read_ahead: 1 << 20,
            deadline: Duration::from_secs(120),
            report: Report::default(),
        }
    }
}

impl MountOptions {
    pub(super) fn lifetime(&self) -> Duration {
        self.lifetime.unwrap_or(match self.content {
            Content::Fixed => Duration::from_secs(3600),
            Content::Live => Duration::from_secs(1),
        })
    }

    pub(super) fn threads(&self) -> usize {
        match self.threads {
            0 => std::thread::available_parallelism().map_or(8, |cores| cores.get().saturating_mul(4)).clamp(8, 32),
            threads => threads.min(256),
        }
    }
}

/// The users that may look into a mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Users {
    /// The mounting user alone, without root.
    #[default]
    Mounter,
    /// Everybody, as far as the permissions in the tree allow.
    Everybody,
}

/// Whether set-user-id and set-group-id bits count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum SetId {
    /// The bits have no effect.
    #[default]
    Ignore,
    /// The bits have their effect. Only root may ask for it.
    Honour,
}

/// Whether device nodes can be opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Devices {
    /// They are listed and cannot be opened.
    #[default]
    Ignore,
    /// They open the devices of this machine. Only root may ask for it.
    Honour,
}

/// Whether a tree can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: a yes or no")]
pub enum Content {
    /// It never changes: the kernel keeps content that was read once.
    #[default]
    Fixed,
    /// It may change: the kernel asks again when a file is opened.
    Live,
}

/// Whether the kernel may read host files itself, without asking us, where the tree has them and the kernel can.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::exhaustive_enums, reason = "closed: these are the cases")]
pub enum Passthrough {
    /// Those of trees that can change. The kernel keeps the content of fixed trees, so that opening a file needs no request.
    #[default]
    Live,
    /// Those of all trees.
    Always,
    /// None.
    Never,
}

/// Receives a line of text for each failure whose caller gets no more than `EIO`. Use it for a log: the caller of a read learns
/// neither the cause nor the place.
#[derive(Clone, Default)]
pub struct Report(Option<Told>);

type Told = Arc<dyn Fn(&str) + Send + Sync>;

impl Report {
    /// Calls `to` in the thread that meets the failure.
    pub fn new(to: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(to)))
    }

    pub(super) fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(to) = &self.0 {
            to(&text());
        }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Report" } else { "Report(none)" })
    }
}
