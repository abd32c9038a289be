//! `dunnage ls`: names, or as `ls -l` lays them out.

use std::{
    io::{self, Write},
    os::unix::ffi::OsStrExt,
};

use anyhow::{Context as _, Result};
use dunnage_digest::ErrorKind;
use dunnage_tree::{Attr, Follow, Kind, NodeId, Tree, Walk, resolve};
use serde::Serialize;

use crate::{
    args::Ls,
    context::Context,
    exit::Exit,
    print::{JsonName, Out, mode, printable, schema, utc},
    source::{self, Access, name_of},
};

pub(super) fn run(context: &Context, args: &Ls) -> Result<Exit> {
    let source = source::open(context, &args.source, Access::Random)?;
    let failed = || format!("cannot list {}", name_of(&args.source));
    let tree = source.tree().with_context(failed)?;
    let path = args.path.as_bytes();
    let start = start(tree.as_ref(), path, args).with_context(failed)?;
    let mut out = Out::stdout()?;
    let style = match (context.json, args.long) {
        (true, _) => Style::Json,
        (false, true) => Style::Long,
        (false, false) => Style::Short,
    };
    let mut list = List { out: &mut out, style, rows: Vec::new(), widths: Widths::default() };
    let attr = tree.attr(start).with_context(failed)?;
    if attr.kind == Kind::Directory {
        let mut walk = Walk::from(tree.as_ref(), start).limits(context.tree_limits().clone());
        while let Some(visit) = walk.advance().with_context(failed)? {
            if visit.path.is_empty() {
                continue;
            }
            let row = Row::new(tree.as_ref(), visit.path, visit.node, visit.attr, style).with_context(failed)?;
            if !args.recursive {
                walk.skip_children();
            }
            list.add(row)?;
        }
    } else {
        let row = Row::new(tree.as_ref(), path, start, attr, style).with_context(failed)?;
        list.add(row)?;
    }
    list.write()?;
    out.finish()?;
    Ok(Exit::DONE)
}

/// Like `ls`: a symlink is followed unless it is looked at closely, or leads nowhere.
fn start(tree: &dyn Tree, path: &[u8], args: &Ls) -> Result<NodeId, dunnage_tree::Error> {
    if !args.long {
        match resolve(tree, path, Follow::Always) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
    }
    let follow = if path.ends_with(b"/") { Follow::Always } else { Follow::Parents };
    resolve(tree, path, follow)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Short,
    Long,
    Json,
}

/// The parts of an entry that are shown.
struct Row {
    name: Vec<u8>,
    node: NodeId,
    attr: Attr,
    owner: String,
    group: String,
    target: Option<Vec<u8>>,
}

impl Row {
    fn new(tree: &dyn Tree, name: &[u8], node: NodeId, attr: Attr, style: Style) -> Result<Self, dunnage_tree::Error> {
        let mut row =
            Self { name: name.to_vec(), node, attr, owner: String::new(), group: String::new(), target: None };
        if style == Style::Short {
            return Ok(row);
        }
        let owner = tree.owner(node)?;
        let named = |name: &[u8], number: i64| match style {
            Style::Long if name.is_empty() => number.to_string(),
            _ => printable(name).into_owned(),
        };
        (row.owner, row.group) = (named(&owner.user, attr.uid), named(&owner.group, attr.gid));
        if attr.kind == Kind::Symlink {
            row.target = Some(tree.read_link(node)?.into_owned());
        }
        Ok(row)
    }

    /// Bytes, or the numbers of a device.
    fn size(&self) -> String {
        match self.attr.kind {
            Kind::CharDevice | Kind::BlockDevice => format!("{}, {}", self.attr.device.0, self.attr.device.1),
            _ => self.attr.size.to_string(),
        }
    }

    fn links(&self) -> String {
        self.attr.links.to_string()
    }
}

/// Columns as wide as the widest entry so far.
#[derive(Default)]
struct Widths {
    links: usize,
    owner: usize,
    group: usize,
    size: usize,
}

/// Prints rows, some at a time, so that memory does not grow with the tree.
struct List<'o> {
    out: &'o mut Out,
    style: Style,
    rows: Vec<Row>,
    widths: Widths,
}

impl List<'_> {
    fn add(&mut self, row: Row) -> io::Result<()> {
        self.rows.push(row);
        if self.rows.len() >= 1024 { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> io::Result<()> {
        let Self { out, style, rows, widths } = self;
        if *style == Style::Long {
            for row in &*rows {
                widths.links = widths.links.max(row.links().len());
                widths.owner = widths.owner.max(row.owner.chars().count());
                widths.group = widths.group.max(row.group.chars().count());
                widths.size = widths.size.max(row.size().len());
            }
        }
        for row in rows.drain(..) {
            match style {
                Style::Short => name(out, &row.name)?,
                Style::Long => long(out, widths, &row)?,
                Style::Json => {
                    out.json(&Entry::new(row))?;
                    continue;
                }
            }
            out.write_all(b"\n")?;
        }
        Ok(())
    }
}

/// A terminal gets what it can show, a pipe gets the bytes.
fn name(out: &mut Out, name: &[u8]) -> io::Result<()> {
    if out.is_terminal { out.write_all(printable(name).as_bytes()) } else { out.write_all(name) }
}

fn long(out: &mut Out, widths: &Widths, row: &Row) -> io::Result<()> {
    let Widths { links, owner, group, size } = *widths;
    let time = row.attr.mtime.map_or_else(|| "-".to_owned(), |mtime| utc(mtime.secs));
    write!(
        out,
        "{} {:>links$} {:<owner$} {:<group$} {:>size$} {time:<20} ",
        mode(row.attr.kind, row.attr.mode),
        row.links(),
        row.owner,
        row.group,
        row.size(),
    )?;
    name(out, &row.name)?;
    if let Some(target) = &row.target {
        out.write_all(b" -> ")?;
        name(out, target)?;
    }
    Ok(())
}

/// An entry as JSON.
#[derive(Serialize)]
struct Entry {
    schema: String,
    #[serde(flatten)]
    path: JsonName,
    kind: String,
    /// Names of one file share it.
    node: u64,
    mode: u16,
    links: u32,
    uid: i64,
    gid: i64,
    #[serde(skip_serializing_if = "String::is_empty")]
    user: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    group: String,
    size: u64,
    mtime: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mtime_nanos: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<(u32, u32)>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    target: Option<JsonName>,
}

impl Entry {
    fn new(row: Row) -> Self {
        let attr = row.attr;
        Self {
            schema: schema("ls"),
            path: JsonName { key: "path", name: row.name },
            kind: attr.kind.to_string(),
            node: row.node.get(),
            mode: attr.mode,
            links: attr.links,
            uid: attr.uid,
            gid: attr.gid,
            user: row.owner,
            group: row.group,
            size: attr.size,
            mtime: attr.mtime.map(|mtime| utc(mtime.secs)),
            mtime_nanos: attr.mtime.map(|mtime| mtime.nanos).filter(|&nanos| nanos > 0),
            device: matches!(attr.kind, Kind::CharDevice | Kind::BlockDevice).then_some(attr.device),
            target: row.target.map(|name| JsonName { key: "target", name }),
        }
    }
}
