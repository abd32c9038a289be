//! The answer of a source to a verb, ready to be printed.

use std::fmt::Display;

use anyhow::Result;
use serde::Serialize;

use crate::{
    context::Context,
    exit::{self, Exit},
    print::Out,
};

/// An answer: JSON for programs, text for people, and the code to end with.
pub(crate) struct Page {
    body: Box<dyn Body>,
    exit: Exit,
}

/// A value with both forms.
trait Body {
    fn print(&self, json: bool, out: &mut Out) -> std::io::Result<()>;
}

impl<T: Serialize + Display> Body for T {
    fn print(&self, json: bool, out: &mut Out) -> std::io::Result<()> {
        out.either(json, self)
    }
}

impl Page {
    /// An answer that found nothing wrong.
    pub(crate) fn new(body: impl Serialize + Display + 'static) -> Self {
        Self { body: Box::new(body), exit: Exit::DONE }
    }

    /// The same with damage or a difference in it if `is_so`.
    pub(crate) fn found_if(self, is_so: bool) -> Self {
        Self { exit: if is_so { Exit::FOUND } else { self.exit }, ..self }
    }

    /// Prints it to standard output. A finding stays one if the reader is gone.
    pub(crate) fn print(self, context: &Context) -> Result<Exit> {
        let mut out = Out::stdout()?;
        let printed = self.body.print(context.json, &mut out).and_then(|()| out.finish());
        end(self.exit, printed.map_err(Into::into))
    }
}

/// The code to end with once `printed` is over: damage or a difference that was found counts, even if its reader is gone.
pub(crate) fn end(found: Exit, printed: Result<()>) -> Result<Exit> {
    match printed {
        Err(error) if found != Exit::DONE && exit::is_only_closed(&error) => Ok(found),
        Err(error) => Err(error),
        Ok(()) => Ok(found),
    }
}
