//! `dunnage cat`: files to standard output.

use std::{io::Write, os::unix::ffi::OsStrExt};

use anyhow::{Context as _, Result};
use dunnage_digest::ErrorKind;
use dunnage_tree::{Follow, Kind, Tree, resolve};

use crate::{
    args::Cat,
    context::Context,
    exit::Exit,
    failure::Failure,
    print::{Product, printable},
    source::{self, Access, name_of},
};

pub(super) fn run(context: &Context, args: &Cat) -> Result<Exit> {
    let source = source::open(context, &args.source, Access::Random)?;
    let tree = source.tree().with_context(|| format!("cannot read {}", name_of(&args.source)))?;
    // Nothing is printed if one of the paths is not there.
    let nodes = args.paths.iter().map(|path| {
        let path = path.as_bytes();
        let failed = || format!("{}: cannot read `{}`", name_of(&args.source), printable(path));
        let node = resolve(tree.as_ref(), path, Follow::Always).with_context(failed)?;
        match tree.attr(node).with_context(failed)?.kind {
            Kind::File => Ok((path, node)),
            Kind::Directory => {
                Err(Failure::new(ErrorKind::Misuse, "expected a file, got a directory").hint("`dunnage ls` lists it"))
                    .with_context(failed)
            }
            got => Err(Failure::new(ErrorKind::Misuse, format!("expected a file, got a {got}"))).with_context(failed),
        }
    });
    let nodes: Vec<_> = nodes.collect::<Result<_>>()?;
    let mut out = Product::stdout()?;
    let mut block = vec![0; 1 << 20];
    for (path, node) in nodes {
        let failed = || format!("{}: cannot read `{}`", name_of(&args.source), printable(path));
        let mut at = 0_u64;
        loop {
            let len = tree.read_at(node, at, &mut block).with_context(failed)?;
            out.write_all(block.get(..len).unwrap_or_default())?;
            if len < block.len() {
                break;
            }
            at = at.saturating_add(len as u64);
        }
    }
    Ok(Exit::DONE)
}
