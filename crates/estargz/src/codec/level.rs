//! Compression levels.

use crate::Error;

/// How hard to compress: 0 stores, 9 is what the reference uses, 12 the most that libdeflate offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(u8);

impl Level {
    /// 6: with libdeflate smaller than the reference at its highest level, at several times its speed.
    pub const DEFAULT: Self = Self(6);

    /// A level from 0 to 12; -1 stands for the default, -2 (Huffman coding only, in the reference) for 1.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for any other number.
    pub fn new(level: i32) -> Result<Self, Error> {
        match level {
            -2 => Ok(Self(1)),
            -1 => Ok(Self::DEFAULT),
            _ => match u8::try_from(level) {
                Ok(level @ 0..=12) => Ok(Self(level)),
                _ => Err(Error::Misuse(format!("compression level {level}: expected -2 to 12"))),
            },
        }
    }

    /// The level as a number, 0 to 12.
    #[must_use]
    pub const fn get(self) -> u8 {
        self.0
    }

    /// The level for codecs that stop at 9.
    pub(crate) const fn up_to_9(self) -> u8 {
        if self.0 > 9 { 9 } else { self.0 }
    }
}

impl Default for Level {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_outside_the_range_are_refused_at_once() {
        for (level, wanted) in [(-2, Ok(1)), (-1, Ok(6)), (0, Ok(0)), (12, Ok(12)), (13, Err(())), (-3, Err(()))] {
            assert_eq!(Level::new(level).map(Level::get).map_err(drop), wanted, "{level}");
        }
    }
}
