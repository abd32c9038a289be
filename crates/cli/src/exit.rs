//! From errors to exit codes, and to one line that says what, where, expected, got, and what to do.
//!
//! | code | meaning                                                                          |
//! |------|----------------------------------------------------------------------------------|
//! | 0    | done                                                                             |
//! | 1    | damage or a difference was found, or a path is not in the source                 |
//! | 2    | the call is wrong                                                                |
//! | 3    | reading or writing failed                                                        |
//! | 4    | a remote party failed                                                            |
//! | 5    | a key is missing, or a remote party refused who we are                           |
//! | 6    | a limit was exceeded                                                             |
//!
//! A reader of our output that went away is not an error: nobody is there to be told.

use std::{
    error::Error as StdError,
    fmt,
    io::{self, Write},
    process::ExitCode,
};

use dunnage_digest::{ErrorKind, Mismatch, SourceError};
use dunnage_estargz::CorruptStream;
use serde::Serialize;

use crate::{context::Context, print::schema};

/// Exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const FOUND: Self = Self(1);
    const USAGE: Self = Self(2);
    pub(crate) const IO: Self = Self(3);
    const REMOTE: Self = Self(4);
    const AUTH: Self = Self(5);
    const LIMIT: Self = Self(6);

    /// That of a process which did our work; of one that was killed, that something failed.
    #[cfg(feature = "fuse")]
    pub(crate) fn of_process(code: Option<i32>) -> Self {
        code.and_then(|code| u8::try_from(code).ok()).map_or(Self::IO, Self)
    }

    const fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Misuse => Self::USAGE,
            ErrorKind::Io | ErrorKind::Cancelled => Self::IO,
            ErrorKind::Remote | ErrorKind::Timeout => Self::REMOTE,
            ErrorKind::Auth => Self::AUTH,
            ErrorKind::LimitExceeded => Self::LIMIT,
            // Malformed, Unsupported, Integrity, Inconsistent, Unauthenticated, NotFound, Conflict: the source is not
            // what it should be, or not what it was taken for.
            _ => Self::FOUND,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// An error of the command itself, with what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: ErrorKind,
    message: String,
    hint: Option<String>,
    source: Option<anyhow::Error>,
}

impl Failure {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hint: None, source: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn caused_by(self, source: impl Into<anyhow::Error>) -> Self {
        Self { source: Some(source.into()), ..self }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// Tells why the run failed, and returns the code to end with.
pub(crate) fn report(context: &Context, error: &anyhow::Error) -> Exit {
    let chain = chain(error.as_ref());
    if is_broken_pipe(&chain) {
        return Exit::DONE;
    }
    let kind = kind(&chain);
    let (exit, message, hint) = (Exit::of(kind), message(&chain), hint(&chain, kind));
    let mut stderr = io::stderr().lock();
    // There is nobody left to tell if this fails.
    let _ = if context.json {
        let kind = kind.to_string();
        let told =
            Told { schema: schema("error"), exit: exit.0, kind: &kind, message: &message, hint: hint.as_deref() };
        serde_json::to_writer(&mut stderr, &told).map_err(io::Error::from).and_then(|()| writeln!(stderr))
    } else {
        match hint {
            Some(hint) => writeln!(stderr, "dunnage: {message}; {hint}"),
            None => writeln!(stderr, "dunnage: {message}"),
        }
    };
    exit
}

#[derive(Serialize)]
struct Told<'a> {
    schema: String,
    exit: u8,
    kind: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

type Cause<'e> = &'e (dyn StdError + 'static);

/// The error and all its causes, outermost first. What an [`io::Error`] carries is a cause as well.
fn chain<'e>(error: Cause<'e>) -> Vec<Cause<'e>> {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        chain.push(error);
        let carried =
            error.downcast_ref::<io::Error>().and_then(io::Error::get_ref).map(|carried| carried as Cause<'e>);
        let wrapped = || error.downcast_ref::<SourceError>().map(SourceError::inner);
        next = carried.or_else(wrapped).or_else(|| error.source());
    }
    chain
}

fn io_kinds<'c>(chain: &'c [Cause<'_>]) -> impl Iterator<Item = io::ErrorKind> + 'c {
    chain.iter().filter_map(|error| error.downcast_ref::<io::Error>()).map(io::Error::kind)
}

fn is_broken_pipe(chain: &[Cause<'_>]) -> bool {
    io_kinds(chain).any(|kind| kind == io::ErrorKind::BrokenPipe)
}

/// What the innermost error that has a kind says, since those around it know less.
fn kind(chain: &[Cause<'_>]) -> ErrorKind {
    let known = chain.iter().rev().find_map(|error| {
        let error: Cause<'_> = *error;
        let failure = error.downcast_ref::<Failure>().map(|error| error.kind);
        let layer = || error.downcast_ref::<dunnage_estargz::Error>().map(dunnage_estargz::Error::kind);
        let tree = || error.downcast_ref::<dunnage_tree::Error>().map(dunnage_tree::Error::kind);
        let image = || error.downcast_ref::<dunnage_oci::Error>().map(dunnage_oci::Error::kind);
        let state = || error.downcast_ref::<dunnage_statefile::Error>().map(dunnage_statefile::Error::kind);
        let source = || error.downcast_ref::<SourceError>().map(SourceError::kind);
        let mismatch = || error.downcast_ref::<Mismatch>().map(|_| ErrorKind::Integrity);
        let stream = || error.downcast_ref::<CorruptStream>().map(|_| ErrorKind::Malformed);
        failure
            .or_else(layer)
            .or_else(image)
            .or_else(tree)
            .or_else(state)
            .or_else(source)
            .or_else(mismatch)
            .or_else(stream)
    });
    known.unwrap_or(ErrorKind::Io)
}

/// All that the errors say, in one line, nothing twice.
fn message(chain: &[Cause<'_>]) -> String {
    let mut message = String::new();
    for error in chain {
        let text = error.to_string();
        let text = match text.rsplit_once(" (os error ") {
            Some((text, number)) if number.ends_with(')') => text,
            _ => text.as_str(),
        };
        if text.is_empty() || message.ends_with(text) {
            continue;
        }
        if !message.is_empty() {
            message.push_str(": ");
        }
        message.extend(text.chars().map(|c| if c.is_control() { ' ' } else { c }));
    }
    message
}

/// What to do about it.
fn hint(chain: &[Cause<'_>], kind: ErrorKind) -> Option<String> {
    if let Some(hint) = chain.iter().find_map(|error| error.downcast_ref::<Failure>()?.hint.clone()) {
        return Some(hint);
    }
    if let Some(hint) = chain.iter().find_map(|error| hint_of_layer(error.downcast_ref()?)) {
        return Some(hint.to_owned());
    }
    if let Some(hint) = chain.iter().find_map(|error| hint_of_image(error.downcast_ref()?)) {
        return Some(hint.to_owned());
    }
    if let Some(hint) = chain.iter().find_map(|error| hint_of_state(error.downcast_ref()?)) {
        return Some(hint.to_owned());
    }
    let hint = match kind {
        ErrorKind::Malformed => "it is damaged or was cut off: make or fetch it again",
        ErrorKind::Integrity => "it is not what its digests say: do not use it, fetch it again",
        ErrorKind::Inconsistent => "it describes itself in two ways: do not use it, make it anew",
        ErrorKind::Unauthenticated => "--unverified hands out what no digest covers",
        ErrorKind::NotFound => "`dunnage ls -R SOURCE` shows what is there",
        ErrorKind::Misuse => "see `dunnage help`",
        ErrorKind::LimitExceeded => limit_hint(chain),
        ErrorKind::Io => io_kinds(chain).last().and_then(io_hint)?,
        _ => return None,
    };
    Some(hint.to_owned())
}

fn hint_of_layer(error: &dunnage_estargz::Error) -> Option<&'static str> {
    use dunnage_estargz::Error;
    match error {
        Error::Unsupported { reason, .. } if reason.contains("UTF-8") => {
            Some("--non-utf8 replace writes a replacement character for each such byte")
        }
        Error::Duplicate { .. } => {
            Some("save the input to a file and convert that, or let --duplicates keep leave both entries in")
        }
        Error::ExternalToc => Some("--toc FILE gives it"),
        Error::NotFound { .. } => Some("--allow-missing goes on without it"),
        _ => None,
    }
}

const fn hint_of_image(error: &dunnage_oci::Error) -> Option<&'static str> {
    use dunnage_oci::Error;
    match error {
        Error::NoPlatform { .. } => Some("--platform takes one of these"),
        Error::NoTag { .. } | Error::ManyTags { .. } => Some("name one of these as oci:DIR:TAG"),
        Error::Empty { .. } => Some("name another directory"),
        Error::NoBlob { .. } => Some("fetch the image again, whole; or let --platform pick what is there"),
        Error::NotLayout { .. } => {
            Some("name a directory with the files `oci-layout` and `index.json`, or a new one to write to")
        }
        Error::TagExists { .. } => Some("leave --no-clobber out to replace it"),
        Error::NotFound { .. } => Some("--allow-missing goes on without it"),
        Error::Record { .. } => Some("a line is an object such as {\"path\":\"etc/passwd\"}"),
        _ => None,
    }
}

const fn hint_of_state(error: &dunnage_statefile::Error) -> Option<&'static str> {
    use dunnage_statefile::{Error, Hint, Part};
    match error {
        Error::KeyRequired { .. } => Some("--key-file FILE or --key-fd N gives it"),
        Error::HashMismatch { hint: Hint::WrittenWithoutKey, .. } => Some("leave the key out"),
        Error::HashMismatch { .. } => Some("it was changed, or its key is another one: do not use it"),
        Error::Ambiguous { .. } => Some("--from names the dialect"),
        Error::Length { .. } => Some("it was cut off, or is another one: do not use it"),
        Error::EmptyKey | Error::WeakKey => Some("take 32 random bytes"),
        Error::MetadataInvalid { .. } => Some("keys that begin with `_` belong to the format"),
        Error::Limit { part: Part::Frame(_) | Part::LookAhead, .. } => {
            Some("save it to a file first: that can be read twice")
        }
        _ => None,
    }
}

/// The flag that raises the limit.
fn limit_hint(chain: &[Cause<'_>]) -> &'static str {
    let what = chain.iter().rev().find_map(|error| {
        let layer = match error.downcast_ref::<dunnage_estargz::Error>() {
            Some(dunnage_estargz::Error::Limit { what, .. }) => Some(*what),
            Some(dunnage_estargz::Error::Tar(dunnage_tree::Error::Limit { what, .. })) => Some(*what),
            _ => None,
        };
        let image = || match error.downcast_ref::<dunnage_oci::Error>() {
            Some(dunnage_oci::Error::Limit { what, .. }) => Some(*what),
            _ => None,
        };
        let tree = || match error.downcast_ref::<dunnage_tree::Error>() {
            Some(dunnage_tree::Error::Limit { what, .. }) => Some(*what),
            _ => None,
        };
        layer.or_else(image).or_else(tree)
    });
    let what = what.unwrap_or_default();
    match what {
        "TOC document" | "compressed TOC" => "--max-toc-bytes raises it, if you trust the source",
        _ if what.ends_with("entries") => "--max-entries raises it, if you trust the source",
        _ if what.starts_with("unpacked bytes") || what.starts_with("bytes of all files") => {
            "--max-unpacked raises it, if you trust the source"
        }
        _ => "no honest source needs as much, so no flag raises it",
    }
}

const fn io_hint(kind: io::ErrorKind) -> Option<&'static str> {
    Some(match kind {
        io::ErrorKind::NotFound => "check the path",
        io::ErrorKind::PermissionDenied => "run it as somebody who may, or ask for less",
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room and run it again",
        io::ErrorKind::AlreadyExists => "leave --no-clobber out to replace it",
        io::ErrorKind::ReadOnlyFilesystem => "choose a place that can be written to",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;
    use dunnage_digest::Offset;

    use super::*;

    fn check(error: impl Into<anyhow::Error>, exit: Exit, wanted: &str) {
        let error = error.into();
        let chain = chain(error.as_ref());
        let kind = kind(&chain);
        let line = match hint(&chain, kind) {
            Some(hint) => format!("{}; {hint}", message(&chain)),
            None => message(&chain),
        };
        assert_eq!((Exit::of(kind), line.as_str()), (exit, wanted));
    }

    #[test]
    fn each_sort_of_error_has_its_code_and_says_what_to_do() {
        let malformed = || dunnage_tree::Error::Malformed {
            part: "tar header size",
            at: Offset::new(0x200),
            expected: "7".to_owned(),
            got: "8".to_owned(),
        };
        let line = "malformed tar header size at offset 0x200: expected 7, got 8; \
                    it is damaged or was cut off: make or fetch it again";
        check(malformed(), Exit::FOUND, line);
        check(dunnage_estargz::Error::Tar(malformed()), Exit::FOUND, line);
        check(
            Err::<(), _>(malformed()).context("cannot open `a`").unwrap_err(),
            Exit::FOUND,
            &format!("cannot open `a`: {line}"),
        );
        check(io::Error::from_raw_os_error(2), Exit::IO, "No such file or directory; check the path");
        check(
            dunnage_tree::Error::NotFound { path: "x".to_owned() },
            Exit::FOUND,
            "no such file: `x`; `dunnage ls -R SOURCE` shows what is there",
        );
        check(Failure::new(ErrorKind::Misuse, "no").hint("say yes"), Exit::USAGE, "no; say yes");
        check(Failure::new(ErrorKind::Auth, "no"), Exit::AUTH, "no");
        check(Failure::new(ErrorKind::Timeout, "no"), Exit::REMOTE, "no");
        let limit = |what| dunnage_tree::Error::Limit { what, limit: 1, asked: 2 };
        check(
            limit("tar entries"),
            Exit::LIMIT,
            "tar entries: 2 is over the limit of 1; --max-entries raises it, if you trust the source",
        );
        check(
            dunnage_estargz::Error::Tar(limit("unpacked bytes")),
            Exit::LIMIT,
            "unpacked bytes: 2 is over the limit of 1; --max-unpacked raises it, if you trust the source",
        );
    }

    #[test]
    fn what_an_io_error_carries_is_found() {
        let carried = dunnage_tree::Error::Limit { what: "directory depth", limit: 256, asked: 257 };
        let error = dunnage_estargz::Error::Input { source: io::Error::new(io::ErrorKind::InvalidData, carried) };
        check(
            error,
            Exit::LIMIT,
            "cannot read the input: directory depth: 257 is over the limit of 256; no honest source needs as much, so no \
             flag raises it",
        );
        let error = dunnage_estargz::Error::Write { source: io::ErrorKind::BrokenPipe.into() };
        let error = anyhow::Error::from(error).context("cannot write");
        assert!(is_broken_pipe(&chain(error.as_ref())));
    }
}
