//! Keys of state files: out of a file or an open descriptor, wiped from memory when done with.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context as _, Result};
use dunnage_statefile::Key;

use crate::{args::KeyFrom, context::Context, failure::usage};

/// More than anybody's key has: a larger file is the wrong file.
const LONGEST: u64 = 64 << 10;

impl KeyFrom {
    /// The key, if one was named.
    pub(crate) fn read(&self, context: &Context) -> Result<Option<Key>> {
        match (&self.key_file, self.key_fd) {
            (Some(path), _) => {
                let name = format!("`{}`", path.display());
                let key = read(path).with_context(|| format!("cannot read the key {name}"))?;
                of(context, &name, key).map(Some)
            }
            (None, Some(number)) => {
                let name = format!("descriptor {number}");
                // The descriptor stays open: it is not ours to close.
                let path = format!("/proc/self/fd/{number}");
                let key = read(Path::new(&path)).with_context(|| format!("cannot read the key from {name}"))?;
                of(context, &name, key).map(Some)
            }
            (None, None) => Ok(None),
        }
    }
}

/// At most one byte more than a key may have, in a buffer that never moves, so that no copy stays behind.
fn read(path: &Path) -> Result<Vec<u8>> {
    let longest = usize::try_from(LONGEST)?;
    let mut key = Vec::with_capacity(longest.saturating_add(2));
    File::open(path)?.take(LONGEST.saturating_add(1)).read_to_end(&mut key)?;
    Ok(key)
}

fn of(context: &Context, name: &str, bytes: Vec<u8>) -> Result<Key> {
    if bytes.len() as u64 > LONGEST {
        return Err(usage(format!("{name} is no key: it has more than {LONGEST} bytes"), "name the file with the key"));
    }
    let ends_with_break = bytes.ends_with(b"\n");
    let key = Key::new(bytes).with_context(|| format!("{name} is no key"))?;
    if ends_with_break {
        context.note(&format!("the line break at the end of {name} is part of the key"));
    }
    Ok(key)
}
