//! The 512-byte block that describes an entry, field by field.
//!
//! | at  | bytes | field                          | in                                     |
//! |-----|-------|--------------------------------|----------------------------------------|
//! | 0   | 100   | name                           | all                                    |
//! | 100 | 8     | mode                           | all                                    |
//! | 108 | 8     | uid                            | all                                    |
//! | 116 | 8     | gid                            | all                                    |
//! | 124 | 12    | size                           | all                                    |
//! | 136 | 12    | mtime                          | all                                    |
//! | 148 | 8     | checksum                       | all                                    |
//! | 156 | 1     | type flag                      | all                                    |
//! | 157 | 100   | link name                      | all                                    |
//! | 257 | 6     | magic: `ustar\0` or `ustar `   | all but V7                             |
//! | 263 | 2     | version: `00` or ` \0`         | all but V7                             |
//! | 265 | 32    | user name                      | all but V7                             |
//! | 297 | 32    | group name                     | all but V7                             |
//! | 329 | 8     | device major                   | all but V7                             |
//! | 337 | 8     | device minor                   | all but V7                             |
//! | 345 | 155   | prefix of the name             | USTAR, PAX                             |
//! | 345 | 12    | atime                          | GNU                                    |
//! | 357 | 12    | ctime                          | GNU                                    |
//! | 386 | 96    | four regions of a sparse file  | GNU                                    |
//! | 482 | 1     | more regions follow            | GNU                                    |
//! | 483 | 12    | size with holes                | GNU                                    |
//! | 345 | 131   | prefix of the name             | star                                   |
//! | 476 | 12    | atime                          | star                                   |
//! | 488 | 12    | ctime                          | star                                   |
//! | 508 | 4     | trailer `tar\0`                | star                                   |
//!
//! Text ends at the first NUL or fills its field. The checksum is the sum of all bytes, its own field counted as spaces.
//!
//! Specification: POSIX.1-2001, `pax`, section "ustar Interchange Format"; GNU tar manual, "Basic Tar Format".

use super::number;

/// Bytes of a block; headers, payloads and extensions start at multiples of it.
pub(super) const BLOCK: usize = 512;

pub(super) type Block = [u8; BLOCK];

pub(super) const NAME: Field<100> = Field(0);
pub(super) const MODE: Field<8> = Field(100);
pub(super) const UID: Field<8> = Field(108);
pub(super) const GID: Field<8> = Field(116);
pub(super) const SIZE: Field<12> = Field(124);
pub(super) const MTIME: Field<12> = Field(136);
pub(super) const CHECKSUM: Field<8> = Field(148);
pub(super) const FLAG: Field<1> = Field(156);
pub(super) const LINK: Field<100> = Field(157);
/// Magic and version.
pub(super) const MAGIC: Field<8> = Field(257);
pub(super) const USER: Field<32> = Field(265);
pub(super) const GROUP: Field<32> = Field(297);
pub(super) const MAJOR: Field<8> = Field(329);
pub(super) const MINOR: Field<8> = Field(337);
pub(super) const PREFIX: Field<155> = Field(345);
pub(super) const GNU_ATIME: Field<12> = Field(345);
pub(super) const GNU_CTIME: Field<12> = Field(357);
pub(super) const GNU_REGIONS: Field<96> = Field(386);
pub(super) const GNU_MORE: Field<1> = Field(482);
pub(super) const GNU_SIZE: Field<12> = Field(483);
pub(super) const STAR_PREFIX: Field<131> = Field(345);
pub(super) const STAR_ATIME: Field<12> = Field(476);
pub(super) const STAR_CTIME: Field<12> = Field(488);
const STAR_TRAILER: Field<4> = Field(508);
/// A block that goes on with the regions of a GNU sparse file: 21 of them, then whether there are more.
pub(super) const MORE_REGIONS: Field<504> = Field(0);
pub(super) const MORE_MORE: Field<1> = Field(504);

pub(super) const USTAR_MAGIC: &[u8; 8] = b"ustar\x0000";
pub(super) const GNU_MAGIC: &[u8; 8] = b"ustar  \0";

/// `N` bytes of a block, by where they start. Invariant: they end inside the block.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<const N: usize>(usize);

impl<const N: usize> Field<N> {
    /// How many bytes the field has.
    pub(super) const LEN: usize = N;

    pub(super) fn of(self, block: &Block) -> &[u8; N] {
        // All fields lie inside the block, so the zeros are never handed out.
        block.get(self.0..).and_then(|rest| rest.first_chunk()).unwrap_or(&[0; N])
    }

    /// The field up to its first NUL.
    pub(super) fn text(self, block: &Block) -> &[u8] {
        until_nul(self.of(block))
    }

    /// The field as a number; `None` if it is none.
    pub(super) fn number(self, block: &Block) -> Option<i64> {
        number::parse(self.of(block))
    }

    pub(super) fn set(self, block: &mut Block, write: impl FnOnce(&mut [u8])) {
        if let Some(field) = block.get_mut(self.0..).and_then(|rest| rest.first_chunk_mut::<N>()) {
            write(field);
        }
    }
}

/// The bytes before the first NUL, all of them if there is none.
pub(super) fn until_nul(bytes: &[u8]) -> &[u8] {
    memchr::memchr(0, bytes).and_then(|end| bytes.get(..end)).unwrap_or(bytes)
}

/// The variant of tar that the magic number of a block stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Magic {
    V7,
    /// USTAR and PAX, which differ in the headers before the block.
    Ustar,
    Star,
    Gnu,
}

impl Magic {
    pub(super) fn of(block: &Block) -> Self {
        let magic = MAGIC.of(block);
        if magic == GNU_MAGIC {
            Self::Gnu
        } else if !magic.starts_with(b"ustar\0") {
            Self::V7
        } else if STAR_TRAILER.of(block) == b"tar\0" {
            Self::Star
        } else {
            Self::Ustar
        }
    }
}

/// Whether the block is strict USTAR: ASCII, and numbers that end in NUL.
pub(super) fn is_strict_ustar(block: &Block) -> bool {
    fn ends<const N: usize>(field: Field<N>, block: &Block) -> bool {
        field.of(block).last() == Some(&0)
    }
    let numbers = ends(MODE, block) && ends(UID, block) && ends(GID, block) && ends(MAJOR, block) && ends(MINOR, block);
    numbers && ends(SIZE, block) && ends(MTIME, block) && block.is_ascii()
}

/// Sums of all bytes, taken without and with sign; POSIX wants the first, old writers computed the second.
pub(super) fn checksums(block: &Block) -> (u32, i32) {
    let (mut unsigned, mut signed) = (0_u32, 0_i32);
    // At most 512 * 255, and 512 * 128 either way.
    for &byte in block {
        unsigned = unsigned.wrapping_add(u32::from(byte));
        signed = signed.wrapping_add(i32::from(byte.cast_signed()));
    }
    for &byte in CHECKSUM.of(block) {
        unsigned = unsigned.wrapping_sub(u32::from(byte)).wrapping_add(u32::from(b' '));
        signed = signed.wrapping_sub(i32::from(byte.cast_signed())).wrapping_add(i32::from(b' '));
    }
    (unsigned, signed)
}

/// Fills in the checksum: six digits, NUL, space.
pub(super) fn seal(block: &mut Block) {
    let (sum, _) = checksums(block);
    CHECKSUM.set(block, |field| {
        if let Some((last, digits)) = field.split_last_mut() {
            number::put_octal(digits, i64::from(sum));
            *last = b' ';
        }
    });
}
