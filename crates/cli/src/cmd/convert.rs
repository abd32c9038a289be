//! `dunnage convert`: anything into a layer or a tar.

mod image;
mod layer;
mod report;
mod tar;

use std::{io::Write, time::Instant};

use anyhow::{Context as _, Result};

use crate::{
    args::{Convert, Target},
    context::{Context, usage},
    exit::Exit,
    print::Out,
    progress::Progress,
    sink::{Clobber, Sink, is_stdout},
    source::{self, Access, ImageRef, name_of},
};

pub(super) fn run(context: &Context, args: Convert) -> Result<Exit> {
    if let Some(to) = ImageRef::parse(&args.dest)? {
        return image::run(context, &args, &to);
    }
    if args.record.is_some() || args.external_toc {
        let message = "--record and --external-toc are for images";
        return Err(usage(message, "name the image as oci:DIR[:TAG], on both sides"));
    }
    let source = source::open(context, &args.source, Access::Once)?;
    let clobber = if args.no_clobber { Clobber::Refuse } else { Clobber::Replace };
    let sink = Sink::create(&args.dest, clobber)?;
    let toc_sink = args.toc_out.as_ref().map(|path| Sink::create(path, clobber)).transpose()?;
    let start = Instant::now();
    if let Some(layer) = source.layer() {
        let failed = || format!("cannot convert {}: it is not sound", name_of(&args.source));
        layer.audit(&Progress::start(context, "compare", None)).with_context(failed)?;
    }
    let (sink, made) = match args.to {
        Target::Estargz | Target::ZstdChunked | Target::ZstdChunkedStorage => {
            layer::make(context, &args, source.as_ref(), sink)?
        }
        Target::Tar => tar::make(context, &args, source.as_ref(), sink)?,
    };
    // The layer is of no use without its TOC, so that is there first.
    if let (Some(mut sink), Some(toc)) = (toc_sink, made.external_toc()) {
        let name = sink.name().to_owned();
        sink.write_all(toc).with_context(|| format!("cannot write {name}"))?;
        sink.commit()?;
    }
    sink.commit()?;
    for name in source.left_out() {
        context.note(&format!("{name}: socket left out, no tar can hold it"));
    }
    let report = made.into_report(context, &args, source.format(), start.elapsed().as_secs_f64());
    for name in &report.missed {
        context.note(&format!("{name}: not there, so not put in front"));
    }
    // What was asked for by name is shown even with --quiet.
    if !context.quiet || context.json || args.annotations {
        let mut out = Out::beside_data(is_stdout(&args.dest))?;
        if args.annotations {
            report.print_annotations(context, &mut out)?;
        } else {
            out.either(context, &report)?;
        }
        out.finish()?;
    }
    Ok(Exit::DONE)
}
