//! Modes as `ls -l` writes them.

use dunnage_tree::Kind;

/// `drwxr-xr-x` and the like.
pub(crate) fn mode(kind: Kind, mode: u16) -> String {
    let mut text = String::with_capacity(10);
    text.push(match kind {
        Kind::File => '-',
        Kind::Directory => 'd',
        Kind::Symlink => 'l',
        Kind::CharDevice => 'c',
        Kind::BlockDevice => 'b',
        Kind::Fifo => 'p',
        Kind::Socket => 's',
    });
    for (read, special, letter) in [(0o400, 0o4000, 's'), (0o040, 0o2000, 's'), (0o004, 0o1000, 't')] {
        let has = |bit: u16| mode & bit != 0;
        text.push(if has(read) { 'r' } else { '-' });
        text.push(if has(read >> 1) { 'w' } else { '-' });
        text.push(match (has(read >> 2), has(special)) {
            (true, true) => letter,
            (false, true) => letter.to_ascii_uppercase(),
            (true, false) => 'x',
            (false, false) => '-',
        });
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_look_as_ls_writes_them() {
        for (kind, bits, wanted) in [
            (Kind::File, 0o644, "-rw-r--r--"),
            (Kind::Directory, 0o1777, "drwxrwxrwt"),
            (Kind::Directory, 0o1776, "drwxrwxrwT"),
            (Kind::File, 0o4755, "-rwsr-xr-x"),
            (Kind::File, 0o6644, "-rwSr-Sr--"),
            (Kind::Symlink, 0o777, "lrwxrwxrwx"),
            (Kind::CharDevice, 0, "c---------"),
        ] {
            assert_eq!(mode(kind, bits), wanted);
        }
    }
}
