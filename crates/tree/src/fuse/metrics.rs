//! Counters, as text for Prometheus.

use std::{
    fmt::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Requests of the kernel, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Lookup,
    Forget,
    Getattr,
    Readlink,
    Open,
    Read,
    Release,
    Opendir,
    Readdir,
    Readdirplus,
    Releasedir,
    Getxattr,
    Listxattr,
    Statfs,
    Lseek,
    Access,
    /// Every request that would change something.
    Write,
}

const OPS: [(Op, &str); 17] = [
    (Op::Lookup, "lookup"),
    (Op::Forget, "forget"),
    (Op::Getattr, "getattr"),
    (Op::Readlink, "readlink"),
    (Op::Open, "open"),
    (Op::Read, "read"),
    (Op::Release, "release"),
    (Op::Opendir, "opendir"),
    (Op::Readdir, "readdir"),
    (Op::Readdirplus, "readdirplus"),
    (Op::Releasedir, "releasedir"),
    (Op::Getxattr, "getxattr"),
    (Op::Listxattr, "listxattr"),
    (Op::Statfs, "statfs"),
    (Op::Lseek, "lseek"),
    (Op::Access, "access"),
    (Op::Write, "write"),
];

/// Upper ends of the latency classes, in microseconds.
const CLASSES: [u64; 16] =
    [5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 200_000, 1_000_000, 5_000_000, 30_000_000];

/// Counters of a mount since its start. Displays as text for Prometheus; the methods give single numbers to a program.
#[derive(Default)]
pub struct Metrics {
    ops: [Counts; OPS.len()],
    bytes: AtomicU64,
    panics: AtomicU64,
    interrupted: AtomicU64,
    timed_out: AtomicU64,
    in_flight: AtomicU64,
    passed_through: AtomicU64,
    unpacked_ahead: AtomicU64,
}

#[derive(Default)]
struct Counts {
    /// One for each latency class, and one for slower requests.
    classes: [AtomicU64; CLASSES.len() + 1],
    nanos: AtomicU64,
    errors: AtomicU64,
}

impl Metrics {
    /// Requests answered.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.ops.iter().map(Counts::count).fold(0, u64::saturating_add)
    }

    /// Requests answered with an error, names that are not there and attributes that a file has not left out.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.ops.iter().map(|counts| counts.errors.load(Relaxed)).fold(0, u64::saturating_add)
    }

    /// Bytes of files handed to the kernel.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Panics that were turned into errors.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }

    /// Requests given up because the caller was interrupted.
    #[must_use]
    pub fn interrupted(&self) -> u64 {
        self.interrupted.load(Relaxed)
    }

    /// Requests given up because they took longer than the deadline.
    #[must_use]
    pub fn timed_out(&self) -> u64 {
        self.timed_out.load(Relaxed)
    }

    /// Files that the kernel was given to read itself.
    #[must_use]
    pub fn passed_through(&self) -> u64 {
        self.passed_through.load(Relaxed)
    }

    /// Pieces of files that were unpacked before a program asked for them.
    #[must_use]
    pub fn unpacked_ahead(&self) -> u64 {
        self.unpacked_ahead.load(Relaxed)
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self, op: Op, took: Duration, failed: bool) {
        self.in_flight.fetch_sub(1, Relaxed);
        self.count(op, took, failed);
    }

    /// Counts a request that was never in flight.
    pub(super) fn count(&self, op: Op, took: Duration, failed: bool) {
        let Some(counts) = self.ops.get(op as usize) else { return };
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let class = CLASSES.partition_point(|&end| end.saturating_mul(1000) < nanos);
        if let Some(class) = counts.classes.get(class) {
            class.fetch_add(1, Relaxed);
        }
        counts.nanos.fetch_add(nanos, Relaxed);
        if failed {
            counts.errors.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub(super) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    pub(super) fn interrupt(&self) {
        self.interrupted.fetch_add(1, Relaxed);
    }

    pub(super) fn time_out(&self) {
        self.timed_out.fetch_add(1, Relaxed);
    }

    pub(super) fn pass_through(&self) {
        self.passed_through.fetch_add(1, Relaxed);
    }

    pub(super) fn unpack_ahead(&self) {
        self.unpacked_ahead.fetch_add(1, Relaxed);
    }
}

impl Counts {
    fn count(&self) -> u64 {
        self.classes.iter().map(|class| class.load(Relaxed)).fold(0, u64::saturating_add)
    }
}

/// Text in the exposition format of Prometheus, version 0.0.4.
impl fmt::Display for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        head(f, "requests_total", "counter", "Requests answered, by kind")?;
        self.each(f, |f, name, counts| writeln!(f, "{NAME}_requests_total{{op=\"{name}\"}} {}", counts.count()))?;
        head(f, "errors_total", "counter", "Requests answered with an error, by kind")?;
        self.each(f, |f, name, counts| {
            writeln!(f, "{NAME}_errors_total{{op=\"{name}\"}} {}", counts.errors.load(Relaxed))
        })?;
        head(f, "request_seconds", "histogram", "Time from request to answer, by kind")?;
        self.each(f, histogram)?;
        for (name, kind, help, value) in [
            ("read_bytes_total", "counter", "Bytes of files handed to the kernel", &self.bytes),
            ("panics_total", "counter", "Panics turned into errors", &self.panics),
            ("interrupted_total", "counter", "Requests given up, their caller being interrupted", &self.interrupted),
            ("timed_out_total", "counter", "Requests given up after the deadline", &self.timed_out),
            ("passthrough_total", "counter", "Files given to the kernel to read itself", &self.passed_through),
            (
                "unpacked_ahead_total",
                "counter",
                "Pieces of files unpacked before they were asked for",
                &self.unpacked_ahead,
            ),
            ("in_flight", "gauge", "Requests being answered", &self.in_flight),
        ] {
            head(f, name, kind, help)?;
            writeln!(f, "{NAME}_{name} {}", value.load(Relaxed))?;
        }
        Ok(())
    }
}

impl Metrics {
    fn each(
        &self,
        f: &mut fmt::Formatter<'_>,
        line: impl Fn(&mut fmt::Formatter<'_>, &str, &Counts) -> fmt::Result,
    ) -> fmt::Result {
        OPS.iter().zip(&self.ops).try_for_each(|((_, name), counts)| line(f, name, counts))
    }
}

fn head(f: &mut fmt::Formatter<'_>, name: &str, kind: &str, help: &str) -> fmt::Result {
    writeln!(f, "# HELP {NAME}_{name} {help}\n# TYPE {NAME}_{name} {kind}")
}

fn histogram(f: &mut fmt::Formatter<'_>, name: &str, counts: &Counts) -> fmt::Result {
    let mut below = 0_u64;
    for (class, end) in counts.classes.iter().zip(CLASSES.map(Some).into_iter().chain([None])) {
        below = below.saturating_add(class.load(Relaxed));
        let le = end.map_or_else(|| "+Inf".to_owned(), |micros| seconds(micros.saturating_mul(1000)));
        writeln!(f, "{NAME}_request_seconds_bucket{{op=\"{name}\",le=\"{le}\"}} {below}")?;
    }
    let sum = seconds(counts.nanos.load(Relaxed));
    writeln!(f, "{NAME}_request_seconds_sum{{op=\"{name}\"}} {sum}")?;
    writeln!(f, "{NAME}_request_seconds_count{{op=\"{name}\"}} {below}")
}

/// Nanoseconds as seconds, without a detour over binary fractions.
fn seconds(nanos: u64) -> String {
    let mut text = String::new();
    let (whole, part) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    // Writing to a string does not fail.
    let _ = write!(text, "{whole}.{part:09}");
    let kept = text.trim_end_matches('0').trim_end_matches('.').len();
    text.truncate(kept);
    text
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").field("requests", &self.requests()).finish_non_exhaustive()
    }
}

const NAME: &str = "dunnage_fuse";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_come_out_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.begin();
        metrics.end(Op::Read, Duration::from_micros(7), false);
        metrics.begin();
        metrics.end(Op::Read, Duration::from_micros(700), true);
        metrics.begin();
        metrics.read(4096);
        let text = metrics.to_string();
        for line in [
            "dunnage_fuse_requests_total{op=\"read\"} 2",
            "dunnage_fuse_requests_total{op=\"lookup\"} 0",
            "dunnage_fuse_errors_total{op=\"read\"} 1",
            "dunnage_fuse_request_seconds_bucket{op=\"read\",le=\"0.000005\"} 0",
            "dunnage_fuse_request_seconds_bucket{op=\"read\",le=\"0.00001\"} 1",
            "dunnage_fuse_request_seconds_bucket{op=\"read\",le=\"0.001\"} 2",
            "dunnage_fuse_request_seconds_bucket{op=\"read\",le=\"+Inf\"} 2",
            "dunnage_fuse_request_seconds_sum{op=\"read\"} 0.000707",
            "dunnage_fuse_request_seconds_count{op=\"read\"} 2",
            "dunnage_fuse_read_bytes_total 4096",
            "dunnage_fuse_in_flight 1",
            "# TYPE dunnage_fuse_request_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn every_kind_has_its_place() {
        for (index, (op, name)) in OPS.iter().enumerate() {
            assert_eq!(*op as usize, index, "{name}");
        }
    }
}
