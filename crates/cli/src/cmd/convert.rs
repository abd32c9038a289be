//! `dunnage convert`: anything into a layer or a tar, and images into images.

pub(super) mod image;
mod layer;
mod report;
mod tar;
mod uses;

use std::{io::Write, time::Instant};

use anyhow::{Context as _, Result};

use self::uses::check_target;
use crate::{
    args::{Convert, Target},
    context::Context,
    exit::Exit,
    print::Out,
    sink::{Clobber, Sink, is_stdout},
    source::{self, Access, name_of, named_image},
};

pub(super) fn run(context: &Context, args: &Convert) -> Result<Exit> {
    let image = named_image(&args.dest)?;
    check_target(&context.given, args.to, image.is_some())?;
    if let Some(to) = image {
        return image::run(context, args, &to);
    }
    let source = source::open(context, &args.source, Access::Once)?;
    let clobber = if args.no_clobber { Clobber::Refuse } else { Clobber::Replace };
    let sink = Sink::create(&args.dest, clobber)?;
    let toc_sink = args.toc_out.as_ref().map(|path| Sink::create(path, clobber)).transpose()?;
    let start = Instant::now();
    let mut input = source.input(context).with_context(|| format!("cannot convert {}", name_of(&args.source)))?;
    let (sink, made) = match args.to {
        Target::Estargz | Target::ZstdChunked | Target::ZstdChunkedStorage => {
            layer::make(context, args, &mut input, sink)?
        }
        Target::Tar => tar::make(context, args, &mut input, sink)?,
    };
    // The layer is of no use without its TOC, so that is there first.
    if let (Some(mut sink), Some(toc)) = (toc_sink, made.external_toc()) {
        let name = sink.name().to_owned();
        sink.write_all(toc).with_context(|| format!("cannot write {name}"))?;
        sink.commit()?;
    }
    sink.commit()?;
    for name in input.left_out() {
        context.note(&format!("{name}: socket left out, no tar can hold it"));
    }
    let report = made.into_report(context, args, source.about().format, start.elapsed().as_secs_f64());
    for name in &report.missed {
        context.note(&format!("{name}: not there, so not put first"));
    }
    // Annotations were asked for by name, so --quiet does not hide them.
    if !context.quiet || context.json || args.annotations {
        let mut out = Out::beside_data(is_stdout(&args.dest))?;
        if args.annotations {
            report.print_annotations(context, &mut out)?;
        } else {
            out.either(context.json, &report)?;
        }
        out.finish()?;
    }
    Ok(Exit::DONE)
}
