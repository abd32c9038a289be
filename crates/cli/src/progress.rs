//! How far a long run has come: a bar on a terminal, lines where asked for, nothing elsewhere.

use std::{
    fmt,
    io::{self, IsTerminal, Read, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use dunnage_digest::{Offset, ReadAt};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::{
    args::ProgressMode,
    context::Context,
    print::{bytes, rate},
};

/// Counts bytes and shows the count. Gone from the screen when dropped.
pub(crate) struct Progress(Shown);

enum Shown {
    Nothing,
    Bar(ProgressBar),
    Lines(Lines),
}

/// A line every two seconds.
struct Lines {
    what: &'static str,
    total: Option<u64>,
    done: AtomicU64,
    start: Instant,
    last: Mutex<Instant>,
}

impl Progress {
    /// Shows that `what` goes on, over `total` bytes if that is known.
    pub(crate) fn start(context: &Context, what: &'static str, total: Option<u64>) -> Self {
        let total = total.filter(|&total| total > 0);
        Self(match context.progress {
            ProgressMode::Auto if io::stderr().is_terminal() => Shown::Bar(bar(what, total)),
            ProgressMode::Plain => {
                let now = Instant::now();
                Shown::Lines(Lines { what, total, done: AtomicU64::new(0), start: now, last: Mutex::new(now) })
            }
            ProgressMode::Auto | ProgressMode::None => Shown::Nothing,
        })
    }

    /// Whether anything would be shown. Callers ask before they compute a total that costs work.
    pub(crate) fn is_wanted(context: &Context) -> bool {
        match context.progress {
            ProgressMode::Auto => io::stderr().is_terminal(),
            ProgressMode::Plain => true,
            ProgressMode::None => false,
        }
    }

    /// Shows nothing.
    pub(crate) const fn none() -> Self {
        Self(Shown::Nothing)
    }

    /// So many more bytes are done.
    pub(crate) fn add(&self, more: u64) {
        match &self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.inc(more),
            Shown::Lines(lines) => lines.reached(lines.done.fetch_add(more, Ordering::Relaxed).saturating_add(more)),
        }
    }

    /// So many bytes are done altogether.
    pub(crate) fn set(&self, done: u64) {
        match &self.0 {
            Shown::Nothing => {}
            Shown::Bar(bar) => bar.set_position(done),
            Shown::Lines(lines) => {
                lines.done.store(done, Ordering::Relaxed);
                lines.reached(done);
            }
        }
    }

    /// Wraps a reader, and counts the bytes that it reads.
    pub(crate) const fn watch<R>(&self, inner: R) -> Watched<'_, R> {
        Watched { inner, progress: self }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Shown::Bar(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Progress")
    }
}

impl Lines {
    fn reached(&self, done: u64) {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < EVERY {
            return;
        }
        *last = Instant::now();
        let rate = bytes(rate(done, self.start.elapsed().as_secs_f64()));
        let of = self.total.map_or_else(String::new, |total| format!(" of {}", bytes(total)));
        // Progress that standard error cannot take is lost.
        let _ = writeln!(io::stderr().lock(), "{}: {}{of}, {rate}/s", self.what, bytes(done));
    }
}

const EVERY: Duration = Duration::from_secs(2);

fn bar(what: &'static str, total: Option<u64>) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => (
            ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr()),
            "{msg} {wide_bar} {decimal_bytes} of {decimal_total_bytes}, {decimal_bytes_per_sec}, {eta} left",
        ),
        None => (
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()),
            "{msg} {spinner} {decimal_bytes}, {decimal_bytes_per_sec}",
        ),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.with_message(what)
}

/// A source whose reads are counted.
#[derive(Debug)]
pub(crate) struct Watched<'p, R> {
    inner: R,
    progress: &'p Progress,
}

impl<R: Read> Read for Watched<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let len = self.inner.read(buf)?;
        self.progress.add(len as u64);
        Ok(len)
    }
}

impl<R: ReadAt> ReadAt for Watched<'_, R> {
    fn size(&self) -> io::Result<u64> {
        self.inner.size()
    }

    fn read_exact_at(&self, at: Offset, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_exact_at(at, buf)?;
        self.progress.add(buf.len() as u64);
        Ok(())
    }
}
