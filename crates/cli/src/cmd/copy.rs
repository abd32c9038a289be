//! `dunnage copy`: an image from one place to another, unchanged.

use std::time::Instant;

use anyhow::{Context as _, Result};
use dunnage_digest::Progress as Run;
use dunnage_oci::{Copied, CopyOptions, Copying, Limits, Reference, SameTag};

use super::convert::image::Report;
use crate::{
    args::Copy,
    context::Context,
    exit::Exit,
    failure::usage,
    print::Out,
    progress::Progress,
    source::{image_at, name_of, named_image},
};

pub(super) fn run(context: &Context, args: &Copy) -> Result<Exit> {
    let Some(from) = image_at(&args.source)? else {
        let message = format!("only images are copied, and {} is none", name_of(&args.source));
        return Err(usage(message, "name an image, such as oci:DIR[:TAG] or an archive"));
    };
    let Some(to) = named_image(&args.dest)? else {
        let message = format!("{} says no form of image", name_of(&args.dest));
        let hint = "name it as oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME]";
        return Err(usage(message, hint));
    };
    let start = Instant::now();
    let failed = || format!("cannot copy {} into {}", name_of(&args.source), name_of(&args.dest));
    let copied = copy(context, args, &from, &to).with_context(failed)?;
    if copied.blobs_changed {
        context.note("the archive holds plain layers and no manifest, so digests of blobs changed; diff IDs did not");
    }
    if !context.quiet || context.json {
        let mut out = Out::stdout()?;
        let places = (args.source.as_path(), args.dest.as_path());
        out.either(context.json, &Report::new("copy", places, &copied.image, start.elapsed().as_secs_f64()))?;
        out.finish()?;
    }
    Ok(Exit::DONE)
}

fn copy(context: &Context, args: &Copy, from: &Reference, to: &Reference) -> Result<Copied, dunnage_oci::Error> {
    let options = CopyOptions {
        threads: context.threads,
        platforms: args.platform.clone(),
        same_tag: if args.no_clobber { SameTag::Refuse } else { SameTag::Replace },
        ..CopyOptions::default()
    };
    let source = from.open(&Limits::default())?;
    let plan = Copying::plan(source.as_ref(), from.name.as_deref(), options)?;
    let destination = to.create(&Limits::default())?;
    let progress = Progress::start(context, "copy", Some(plan.total_bytes()));
    let report = |done| progress.set(done);
    plan.run(destination.as_ref(), to.name.as_deref(), Run::to(&report))
}
