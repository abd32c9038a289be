//! Names by which a layer removes files of lower layers.
//!
//! | name           | meaning                                                                |
//! |----------------|------------------------------------------------------------------------|
//! | `.wh.NAME`     | `NAME` of lower layers is gone                                         |
//! | `.wh..wh..opq` | all that lower layers hold in this directory is gone                   |
//! | `.wh..wh.*`    | bookkeeping of the file system that invented these names; means nothing |
//!
//! Specification: OCI image layer, section "Whiteouts".

mod overlayfs;

pub use self::overlayfs::{OpaqueMark, OverlayfsLayer};
use crate::{Error, SafeName, name::display};

/// The meaning of a name of this sort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whiteout<'a> {
    /// This name is gone.
    Name(&'a [u8]),
    /// All names are gone.
    Opaque,
    /// Nothing.
    Bookkeeping,
}

/// The meaning of the last name of `path`; `None` for ordinary names.
pub(crate) fn parse_whiteout<'a>(name: &'a [u8], path: &[u8]) -> Result<Option<Whiteout<'a>>, Error> {
    let Some(hidden) = name.strip_prefix(b".wh.") else { return Ok(None) };
    if name == b".wh..wh..opq" {
        return Ok(Some(Whiteout::Opaque));
    }
    if hidden.starts_with(b".wh.") {
        return Ok(Some(Whiteout::Bookkeeping));
    }
    if let Err(error) = SafeName::new(hidden) {
        return Err(Error::Refused {
            path: display(path),
            reason: format!("whiteout of a name that is {}", error.reason),
        });
    }
    Ok(Some(Whiteout::Name(hidden)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_safe_names_can_be_whited_out() {
        let parse =
            |name: &'static str| parse_whiteout(name.as_bytes(), name.as_bytes()).map_err(|error| error.to_string());
        assert_eq!(parse("a"), Ok(None));
        assert_eq!(parse(".wh"), Ok(None));
        assert_eq!(parse(".wh.a"), Ok(Some(Whiteout::Name(b"a"))));
        assert_eq!(parse(".wh...."), Ok(Some(Whiteout::Name(b"..."))));
        assert_eq!(parse(".wh..wh..opq"), Ok(Some(Whiteout::Opaque)));
        assert_eq!(parse(".wh..wh.plnk"), Ok(Some(Whiteout::Bookkeeping)));
        assert_eq!(parse(".wh."), Err("refused `.wh.`: whiteout of a name that is empty".to_owned()));
        for name in [".wh..", ".wh..."] {
            assert_eq!(parse(name), Err(format!("refused `{name}`: whiteout of a name that is a relative component")));
        }
    }
}
