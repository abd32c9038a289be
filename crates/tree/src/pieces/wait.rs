//! Waiting that ends with the request.

use std::{
    io,
    sync::{Condvar, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use dunnage_digest::ReadRequest;

/// How often a waiting thread looks at the flag of its request: nothing wakes it when the flag is raised.
const POLL: Duration = Duration::from_millis(40);

/// Waits on `changed` until `take` returns a value, or until the request ends.
///
/// Use it where a read waits for another thread. A request without a flag and a deadline waits without waking up in
/// between. `take` runs under the lock, and is asked once more before the request is: a value that is there is never lost.
///
/// # Errors
///
/// Those of [`ReadRequest::check`].
pub fn wait_for<'g, S, T>(
    changed: &Condvar,
    guard: MutexGuard<'g, S>,
    request: &ReadRequest<'_>,
    mut take: impl FnMut(&mut S) -> Option<T>,
) -> io::Result<(MutexGuard<'g, S>, T)> {
    let mut guard = guard;
    loop {
        if let Some(value) = take(&mut guard) {
            return Ok((guard, value));
        }
        request.check()?;
        guard = match patience(request) {
            None => changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            Some(patience) => changed.wait_timeout(guard, patience).unwrap_or_else(PoisonError::into_inner).0,
        };
    }
}

/// How long to wait before the request is checked again; `None` if it never ends.
fn patience(request: &ReadRequest<'_>) -> Option<Duration> {
    let left = request.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
    match (request.cancel, left) {
        (None, left) => left,
        (Some(_), left) => Some(left.unwrap_or(POLL).min(POLL)),
    }
}
