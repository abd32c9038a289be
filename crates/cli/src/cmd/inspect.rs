//! `dunnage inspect`: the kind of a source and its content; for layers, also which of their bytes hold what.

use anyhow::Result;

use crate::{
    args::Inspect,
    context::Context,
    exit::Exit,
    print::Out,
    report::{Form, save},
    source::{self, Access},
};

pub(super) fn run(context: &Context, args: &Inspect) -> Result<Exit> {
    let form = args.report.as_deref().map(Form::of).transpose()?;
    let source = source::open(context, &args.source, Access::Random)?;
    let wants_document = args.layout || form.is_some();
    let document = if wants_document { Some(source.document(context, args)?) } else { None };
    if let (Some(document), Some(form), Some(path)) = (&document, form, &args.report) {
        save(document, form, path)?;
    }
    if let (Some(document), true) = (&document, args.layout) {
        let mut out = Out::stdout()?;
        out.either(context.json, document)?;
        out.finish()?;
        return Ok(Exit::DONE);
    }
    source.inspect(context, args, document.as_ref())?.print(context)
}
