//! `dunnage diff`: two sources, file by file.

use std::{io::Write, ops::ControlFlow};

use anyhow::{Context as _, Result};
use dunnage_digest::Progress;
use dunnage_tree::{CompareMtime, CompareOptions, CompareOwners, Difference, DifferenceKind, Tree, compare_with};
use serde::Serialize;

use crate::{
    args::Diff,
    context::Context,
    exit::Exit,
    failure::usage,
    page,
    print::{JsonName, Out, schema},
    source::{self, Access, is_stdin, name_of},
};

pub(super) fn run(context: &Context, args: &Diff) -> Result<Exit> {
    if is_stdin(&args.a) && is_stdin(&args.b) {
        return Err(usage("standard input cannot be both sources", "name a file for one of them"));
    }
    let source_a = source::open_unchecked(context, &args.a, Access::Random)?;
    let source_b = source::open_unchecked(context, &args.b, Access::Random)?;
    source::check_options(context, &[(&args.a, source_a.as_ref()), (&args.b, source_b.as_ref())])?;
    let a = source_a.tree().with_context(|| format!("cannot read {}", name_of(&args.a)))?;
    let b = source_b.tree().with_context(|| format!("cannot read {}", name_of(&args.b)))?;
    let root_counts = describes_root(a.as_ref())? && describes_root(b.as_ref())?;
    let options = CompareOptions {
        mtime: match (args.ignore_mtime, args.exact_mtime) {
            (true, _) => CompareMtime::Ignore,
            (false, true) => CompareMtime::Exact,
            (false, false) => CompareMtime::Seconds,
        },
        owners: if args.ignore_owner { CompareOwners::Ignore } else { CompareOwners::Count },
        limits: context.tree_limits().clone(),
        ..CompareOptions::default()
    };
    let mut out = Out::stdout()?;
    let (mut found, mut failed) = (0_u64, None);
    let most = args.max.unwrap_or(u64::MAX);
    let compared = compare_with(a.as_ref(), b.as_ref(), &options, Progress::none(), &mut |difference| {
        if difference.path.is_empty() && !root_counts {
            return ControlFlow::Continue(());
        }
        found = found.saturating_add(1);
        let written = if context.json { out.json(&Line::new(&difference)) } else { writeln!(out, "{difference}") };
        if let Err(error) = written {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        if found < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    // Differences that were found before a failure are printed all the same.
    let printed = failed.map_or(Ok(()), Err).and_then(|()| out.finish()).map_err(anyhow::Error::from);
    compared.with_context(|| format!("cannot compare {} and {}", name_of(&args.a), name_of(&args.b)))?;
    page::end(if found == 0 { Exit::DONE } else { Exit::FOUND }, printed)
}

/// Archives and layers need no entry for their root. Without one, its attributes are made up.
fn describes_root(tree: &dyn Tree) -> Result<bool> {
    Ok(tree.attr(tree.root())?.mtime.is_some())
}

/// A difference as JSON.
#[derive(Serialize)]
struct Line {
    schema: String,
    #[serde(flatten)]
    path: JsonName,
    what: &'static str,
    text: String,
}

impl Line {
    fn new(difference: &Difference) -> Self {
        Self {
            schema: schema("diff"),
            path: JsonName { key: "path", name: difference.path.clone() },
            what: match difference.what {
                DifferenceKind::OnlyInA { .. } => "only-in-a",
                DifferenceKind::OnlyInB { .. } => "only-in-b",
                DifferenceKind::Kind { .. } => "kind",
                DifferenceKind::Mode { .. } => "mode",
                DifferenceKind::Owner { .. } => "owner",
                DifferenceKind::Mtime { .. } => "mtime",
                DifferenceKind::Size { .. } => "size",
                DifferenceKind::Content { .. } => "content",
                DifferenceKind::Target { .. } => "target",
                DifferenceKind::Device { .. } => "device",
                DifferenceKind::Xattr { .. } => "xattr",
                DifferenceKind::HardLink { .. } => "hard-link",
                _ => "other",
            },
            text: difference.to_string(),
        }
    }
}
