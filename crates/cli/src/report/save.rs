//! A report as a file, in the form that the file's name asks for.

use std::{io::Write, path::Path};

use anyhow::{Context as _, Result};

use super::{Document, page};
use crate::{
    failure::usage,
    sink::{Clobber, Sink},
};

/// The form in which a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Page,
    Json,
    Text,
}

impl Form {
    /// By the end of the name.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|end| end.to_str()).map(str::to_ascii_lowercase).as_deref() {
            Some("html" | "htm") => Ok(Self::Page),
            Some("json") => Ok(Self::Json),
            Some("txt") => Ok(Self::Text),
            _ => Err(usage(
                format!("--report `{}`: expected a name that ends with .html, .json or .txt", path.display()),
                "the end of the name chooses the form",
            )),
        }
    }
}

/// Writes a report to a file, which appears whole or not at all.
pub(crate) fn save(document: &Document, form: Form, path: &Path) -> Result<()> {
    let mut sink = Sink::create(path, Clobber::Replace)?;
    let bytes = match form {
        Form::Page => page::page(document).into_bytes(),
        Form::Json => {
            let mut json = serde_json::to_vec(document)?;
            json.push(b'\n');
            json
        }
        Form::Text => document.to_string().into_bytes(),
    };
    let failed = format!("cannot write {}", sink.name());
    sink.write_all(&bytes).context(failed)?;
    sink.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_follows_from_the_name() {
        for (name, wanted) in [
            ("a.html", Some(Form::Page)),
            ("a.b/c.HTM", Some(Form::Page)),
            ("a.json", Some(Form::Json)),
            ("a.txt", Some(Form::Text)),
            ("html", None),
            ("a.pdf", None),
            ("-", None),
        ] {
            assert_eq!(Form::of(Path::new(name)).ok(), wanted, "{name}");
        }
    }
}
