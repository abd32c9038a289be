//! From errors to exit codes, and to one line that says what, where, expected and got.
//!
//! | code | meaning                                                                          |
//! |------|----------------------------------------------------------------------------------|
//! | 0    | done                                                                             |
//! | 1    | damage or a difference was found, or a path is not in the source                 |
//! | 2    | the call is wrong                                                                |
//! | 3    | reading or writing failed                                                        |
//! | 4    | a remote party failed                                                            |
//! | 5    | a key is missing, or a remote party refused our credentials                      |
//! | 6    | a limit was exceeded                                                             |
//!
//! [`CODES`] is the table of kinds, [`TYPES`] the table of error types: a crate with errors of its own has a row there.

mod remedy;

use std::{
    error::Error as StdError,
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
};

use dunnage_digest::{Cancelled, ErrorKind, Mismatch, SourceError, kind_of};
use dunnage_estargz::codec::CorruptStream;
use serde::Serialize;

use crate::{
    failure::Failure,
    print::{OutputError, schema},
};

/// Exit code of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    pub(crate) const FOUND: Self = Self(1);
    pub(crate) const USAGE: Self = Self(2);
    pub(crate) const IO: Self = Self(3);
    const REMOTE: Self = Self(4);
    const AUTH: Self = Self(5);
    const LIMIT: Self = Self(6);

    /// The code of a process that did our work. A process that was killed counts as an I/O failure.
    #[cfg(feature = "fuse")]
    pub(crate) fn of_process(code: Option<i32>) -> Self {
        code.and_then(|code| u8::try_from(code).ok()).map_or(Self::IO, Self)
    }

    fn of(kind: ErrorKind) -> Self {
        CODES.iter().find(|(known, _)| *known == kind).map_or(Self::FOUND, |(_, exit)| *exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// The exit code of each kind of error.
const CODES: &[(ErrorKind, Exit)] = &[
    (ErrorKind::Malformed, Exit::FOUND),
    (ErrorKind::Unsupported, Exit::FOUND),
    (ErrorKind::Integrity, Exit::FOUND),
    (ErrorKind::Inconsistent, Exit::FOUND),
    (ErrorKind::Unauthenticated, Exit::FOUND),
    (ErrorKind::NotFound, Exit::FOUND),
    (ErrorKind::Conflict, Exit::FOUND),
    (ErrorKind::Misuse, Exit::USAGE),
    (ErrorKind::Io, Exit::IO),
    (ErrorKind::Cancelled, Exit::IO),
    (ErrorKind::Remote, Exit::REMOTE),
    (ErrorKind::Timeout, Exit::REMOTE),
    (ErrorKind::Auth, Exit::AUTH),
    (ErrorKind::LimitExceeded, Exit::LIMIT),
];

type Cause<'e> = &'e (dyn StdError + 'static);

/// An error type that the command knows: its kind, and what to do about an error of it.
struct Type {
    kind: fn(Cause<'_>) -> Option<ErrorKind>,
    remedy: fn(Cause<'_>) -> Option<String>,
}

/// The error types that have a kind.
const TYPES: &[Type] = &[
    Type {
        kind: |error| error.downcast_ref::<Failure>().map(|error| error.kind),
        remedy: |error| error.downcast_ref::<Failure>()?.hint.clone(),
    },
    Type {
        kind: |error| error.downcast_ref().map(dunnage_tree::Error::kind),
        remedy: |error| error.downcast_ref().and_then(remedy::of_tree).map(str::to_owned),
    },
    Type {
        kind: |error| error.downcast_ref().map(dunnage_estargz::Error::kind),
        remedy: |error| error.downcast_ref().and_then(remedy::of_layer).map(str::to_owned),
    },
    Type {
        kind: |error| error.downcast_ref().map(dunnage_oci::Error::kind),
        remedy: |error| error.downcast_ref().and_then(remedy::of_image).map(str::to_owned),
    },
    Type {
        kind: |error| error.downcast_ref().map(dunnage_statefile::Error::kind),
        remedy: |error| error.downcast_ref().and_then(remedy::of_state).map(str::to_owned),
    },
    Type { kind: |error| error.downcast_ref().map(SourceError::kind), remedy: |_| None },
    Type { kind: |error| error.is::<Mismatch>().then_some(ErrorKind::Integrity), remedy: |_| None },
    Type { kind: |error| error.is::<CorruptStream>().then_some(ErrorKind::Malformed), remedy: |_| None },
    Type { kind: |error| error.is::<Cancelled>().then_some(ErrorKind::Cancelled), remedy: |_| None },
    // The system refused the written bytes, so this is an I/O failure, whatever kind the errors around it have.
    Type { kind: |error| error.is::<OutputError>().then_some(ErrorKind::Io), remedy: |_| None },
];

/// Tells on standard error why the run failed, and returns the code to end with.
///
/// A reader of standard output that is gone is no failure if the output was only for looking at.
pub(crate) fn report(json: bool, error: &anyhow::Error) -> Exit {
    let chain = chain(error.as_ref());
    if closed_while_looking(&chain) {
        return Exit::DONE;
    }
    let kind = kind(&chain);
    let (exit, message, hint) = (Exit::of(kind), message(&chain), remedy(&chain, kind));
    let mut stderr = io::stderr().lock();
    // An error that standard error cannot take is lost: there is no other place for it.
    let _ = if json {
        let kind = kind.to_string();
        let told = ErrorObject {
            schema: schema("error"),
            exit: exit.0,
            kind: &kind,
            message: &message,
            hint: hint.as_deref(),
        };
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
struct ErrorObject<'a> {
    schema: String,
    exit: u8,
    kind: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

/// Whether the run failed only because the reader of an output for looking at is gone.
pub(crate) fn is_only_closed(error: &anyhow::Error) -> bool {
    closed_while_looking(&chain(error.as_ref()))
}

fn closed_while_looking(chain: &[Cause<'_>]) -> bool {
    chain.iter().filter_map(|error| error.downcast_ref::<OutputError>()).any(OutputError::is_closed_while_looking)
}

/// The error and all its causes, outermost first. An error that an [`io::Error`] carries is a cause as well.
fn chain<'e>(error: Cause<'e>) -> Vec<Cause<'e>> {
    let mut chain = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        chain.push(error);
        let io =
            error.downcast_ref::<io::Error>().or_else(|| error.downcast_ref::<Arc<io::Error>>().map(AsRef::as_ref));
        let carried = io.and_then(io::Error::get_ref).map(|carried| carried as Cause<'e>);
        let wrapped = || error.downcast_ref::<SourceError>().map(SourceError::inner);
        next = carried.or_else(wrapped).or_else(|| error.source());
    }
    chain
}

/// The kind of the innermost error that has one, since those around it know less.
fn kind(chain: &[Cause<'_>]) -> ErrorKind {
    let typed = chain.iter().rev().find_map(|error| TYPES.iter().find_map(|known| (known.kind)(*error)));
    let io = || chain.iter().rev().find_map(|error| error.downcast_ref::<io::Error>());
    typed.or_else(|| io().map(kind_of)).unwrap_or(ErrorKind::Io)
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

/// What to do about it, where that is known to be true.
fn remedy(chain: &[Cause<'_>], kind: ErrorKind) -> Option<String> {
    let own = chain.iter().find_map(|error| TYPES.iter().find_map(|known| (known.remedy)(*error)));
    own.or_else(|| remedy::of_kind(kind).map(str::to_owned))
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
        let line = match remedy(&chain, kind) {
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
        let line = "malformed tar header size at offset 0x200: expected 7, got 8";
        check(malformed(), Exit::FOUND, line);
        check(dunnage_estargz::Error::Tar(malformed()), Exit::FOUND, line);
        check(
            Err::<(), _>(malformed()).context("cannot open `a`").unwrap_err(),
            Exit::FOUND,
            &format!("cannot open `a`: {line}"),
        );
        check(io::Error::from_raw_os_error(2), Exit::IO, "No such file or directory");
        check(
            dunnage_tree::Error::NotFound { path: "x".to_owned() },
            Exit::FOUND,
            "no such file: `x`; `dunnage ls -R SOURCE` lists all paths",
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
            "cannot read the input: directory depth: 257 is over the limit of 256; this limit is fixed",
        );
    }

    #[test]
    fn every_kind_has_a_code_whatever_wraps_it() {
        for &kind in ErrorKind::ALL {
            assert_eq!(CODES.iter().filter(|(known, _)| *known == kind).count(), 1, "{kind}");
            let source = || io::Error::from(SourceError::new(kind, "the source failed"));
            for error in [
                anyhow::Error::from(source()),
                dunnage_estargz::Error::Input { source: source() }.into(),
                dunnage_oci::Error::Io { action: "read", path: "x".to_owned(), source: source() }.into(),
                dunnage_tree::Error::Read { what: "the input", at: Offset::new(0), source: source() }.into(),
                Err::<(), _>(source()).context("cannot read `x`").unwrap_err(),
            ] {
                let chain = chain(error.as_ref());
                assert_eq!(super::kind(&chain), kind, "{error:#}");
                assert!(message(&chain).ends_with("the source failed"), "{error:#}");
            }
        }
    }

    #[test]
    fn only_our_own_output_that_is_closed_while_somebody_looks_ends_well() {
        let pipe = || io::Error::from(io::ErrorKind::BrokenPipe);
        let own = |is_product| io::Error::from(OutputError::new("standard output", is_product, pipe()));
        for (error, wanted) in [
            (anyhow::Error::from(own(false)), true),
            (dunnage_estargz::Error::Write { source: own(false) }.into(), true),
            (own(true).into(), false),
            (dunnage_estargz::Error::Write { source: pipe() }.into(), false),
            (
                io::Error::from(OutputError::new("standard output", false, io::ErrorKind::StorageFull.into())).into(),
                false,
            ),
        ] {
            assert_eq!(is_only_closed(&error), wanted, "{error:#}");
        }
    }
}
