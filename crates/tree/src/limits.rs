//! Ceilings for untrusted archives and trees. No size that the input claims is allocated unchecked.

/// Ceilings on the sizes and counts of an archive or a tree.
#[derive(Clone, Debug)]
#[expect(clippy::exhaustive_structs, reason = "callers set single fields over the default")]
pub struct Limits {
    /// Entries in one archive or tree. Default 1 048 576.
    pub entries: u64,
    /// Bytes of one path. Default 4096.
    pub path: u64,
    /// Bytes of one name in a path. Default 255.
    pub component: u64,
    /// Directories inside each other. Default 256.
    pub depth: u64,
    /// Bytes of a symlink target. Default 4095.
    pub symlink_target: u64,
    /// Bytes of one extended attribute's name. Default 255.
    pub xattr_name: u64,
    /// Bytes of one extended attribute's value. Default 64 KiB.
    pub xattr_value: u64,
    /// Bytes of all extended attributes of one entry. Default 1 MiB.
    pub xattrs_per_entry: u64,
    /// Bytes of one PAX or GNU extension record. Default 1 MiB.
    pub tar_extension: u64,
    /// Regions of one sparse file. Default 65 536.
    pub sparse_regions: u64,
    /// Bytes of all files of one archive. Default 64 GiB.
    pub unpacked: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: 1 << 20,
            path: 4096,
            component: 255,
            depth: 256,
            symlink_target: 4095,
            xattr_name: 255,
            xattr_value: 64 << 10,
            xattrs_per_entry: 1 << 20,
            tar_extension: 1 << 20,
            sparse_regions: 1 << 16,
            unpacked: 64 << 30,
        }
    }
}

impl Limits {
    /// Sizes divided by eight, entries by sixteen, for small nodes. Ceilings that kernels set stay as they are.
    #[must_use]
    pub fn small() -> Self {
        let default = Self::default();
        Self {
            entries: default.entries / 16,
            xattrs_per_entry: default.xattrs_per_entry / 8,
            tar_extension: default.tar_extension / 8,
            sparse_regions: default.sparse_regions / 8,
            unpacked: default.unpacked / 8,
            ..default
        }
    }

    /// Only the ceilings that formats imply, for archives of one's own making.
    #[must_use]
    pub fn trusted() -> Self {
        Self {
            entries: u64::from(u32::MAX),
            path: 64 << 10,
            component: 64 << 10,
            depth: 4096,
            symlink_target: 64 << 10,
            xattr_name: 64 << 10,
            xattr_value: 1 << 20,
            xattrs_per_entry: 16 << 20,
            tar_extension: 16 << 20,
            sparse_regions: 1 << 24,
            unpacked: u64::MAX,
        }
    }
}
