//! `dunnage verify`: every digest that a source carries, or at least every byte.

use anyhow::Result;

use crate::{
    args::Verify,
    context::Context,
    exit::Exit,
    source::{self, Access},
};

pub(super) fn run(context: &Context, args: &Verify) -> Result<Exit> {
    source::open(context, &args.source, Access::Random)?.verify(context, args)?.print(context)
}
