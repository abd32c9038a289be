//! `dunnage convert`: anything into a layer or a tar.

mod estargz;
mod report;
mod tar;

use std::time::Instant;

use anyhow::Result;

use crate::{
    args::{Convert, Target},
    context::Context,
    exit::Exit,
    print::Out,
    sink::{Clobber, Sink, is_stdout},
    source::{self, Access},
};

pub(super) fn run(context: &Context, args: Convert) -> Result<Exit> {
    let source = source::open(context, &args.source, Access::Once)?;
    let clobber = if args.no_clobber { Clobber::Refuse } else { Clobber::Replace };
    let sink = Sink::create(&args.dest, clobber)?;
    let start = Instant::now();
    let (sink, made) = match args.to {
        Target::Estargz => estargz::make(context, &args, source.as_ref(), sink)?,
        Target::Tar => tar::make(context, &args, source.as_ref(), sink)?,
    };
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
