//! Times of the steps of opening a layer, for a caller that measures them.

use std::{fmt, sync::Arc, time::Instant};

/// A function that is called when a step is done, with the time of its start.
pub type Hook = Arc<dyn Fn(Instant) + Send + Sync>;

/// Functions that [`Reader::open`](crate::Reader::open) calls after each step. Use it for metrics; the default calls nothing.
#[derive(Clone, Default)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Telemetry {
    /// The footer was read.
    pub footer: Option<Hook>,
    /// The TOC was read; not called if it came with the footer. Reading and indexing run side by side, so this includes
    /// waiting for the index.
    pub toc: Option<Hook>,
    /// The TOC was parsed and indexed; begins with the reading of the TOC.
    pub deserialize: Option<Hook>,
}

impl Telemetry {
    pub(super) fn footer_read(&self, start: Instant) {
        call(self.footer.as_ref(), start);
    }

    pub(super) fn toc_read(&self, start: Instant) {
        call(self.toc.as_ref(), start);
    }

    pub(super) fn toc_deserialized(&self, start: Instant) {
        call(self.deserialize.as_ref(), start);
    }
}

fn call(hook: Option<&Hook>, start: Instant) {
    if let Some(hook) = hook {
        hook(start);
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Telemetry");
        out.field("footer", &self.footer.is_some()).field("toc", &self.toc.is_some());
        out.field("deserialize", &self.deserialize.is_some()).finish()
    }
}
