//! The words that all forms of a report use.

use dunnage_estargz::{
    compose::{NO_PREFETCH_LANDMARK, PREFETCH_LANDMARK},
    report::{Group, LandmarkKind, Plain},
};

use crate::print::printable;

/// The stream that a layer was compared with: its kind and its level.
pub(super) fn plain(plain: Plain) -> (&'static str, i32) {
    match plain {
        Plain::Zstd(level) => ("zstd", level.get()),
        Plain::Gzip(level) => ("gzip", i32::from(level.get())),
        _ => ("stream", 0),
    }
}

/// The name of a landmark's file.
pub(super) const fn landmark_name(kind: LandmarkKind) -> &'static str {
    match kind {
        LandmarkKind::Prefetch => PREFETCH_LANDMARK,
        LandmarkKind::NoPrefetch => NO_PREFETCH_LANDMARK,
    }
}

/// A name for people: unprintable characters escaped, and the middle left out of one that is very long.
pub(super) fn shown(path: &[u8]) -> String {
    const MOST: usize = 160;
    let path = printable(path);
    let length = path.chars().count();
    if length <= MOST {
        return path.into_owned();
    }
    let (front, back) = (MOST / 3, MOST.saturating_sub(MOST / 3));
    let head: String = path.chars().take(front).collect();
    let tail: String = path.chars().skip(length.saturating_sub(back)).collect();
    format!("{head}…{tail}")
}

/// A group of files for people.
pub(super) fn group_name(group: &Group) -> String {
    match group {
        Group::Directory(path) => format!("{}/", shown(path)),
        Group::RestOf(path) => format!("{}/, the rest", shown(path)),
        Group::RootFiles => "files in the root".to_owned(),
        _ => "everything else".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn very_long_names_lose_their_middle() {
        assert_eq!(shown(b"a/b"), "a/b");
        assert_eq!(shown(b"a\xff\n"), r"a\xff\n");
        let long = format!("{}/middle/{}", "é".repeat(400), "b".repeat(400));
        let short = shown(long.as_bytes());
        assert_eq!(short.chars().count(), 161);
        assert!(short.starts_with("éé") && short.contains("é…b") && short.ends_with("bb"), "{short}");
    }
}
