//! The metadata key `_timestamp`: a time in UTC as Go prints one.
//!
//! `YYYY-MM-DD HH:MM:SS[.f] +0000 UTC`, where `f` is the fraction of the second without trailing zeros.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::Error;

/// A time to write into a file. The library has no clock: it is the caller who says what time it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970.
    secs: u64,
    /// Invariant: below 1 000 000 000.
    nanos: u32,
}

impl Timestamp {
    /// The start of 1970, for output that should not tell when it was made.
    pub const EPOCH: Self = Self { secs: 0, nanos: 0 };

    /// So many seconds and nanoseconds after the start of 1970.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for a second or more of nanoseconds, and for times after the year 292 billion.
    pub fn new(secs: u64, nanos: u32) -> Result<Self, Error> {
        if nanos >= 1_000_000_000 || i64::try_from(secs).is_err() {
            return Err(Error::Misuse(format!(
                "timestamp out of range: {secs} seconds and {nanos} nanoseconds after 1970"
            )));
        }
        Ok(Self { secs, nanos })
    }

    /// Year, month, day. Valid for every time that can be made.
    #[expect(clippy::arithmetic_side_effects, reason = "seconds fit 63 bits: nothing here comes near 2^127")]
    const fn date(self) -> (u128, u128, u128) {
        // Days since 1 March of year 0, in eras of 400 years that all have the same length.
        let days = (self.secs / 86_400) as u128 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        // March is month 0 here, so January and February belong to the year that follows.
        if month < 10 { (era * 400 + year, month + 3, date) } else { (era * 400 + year + 1, month - 9, date) }
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = Error;

    fn try_from(time: SystemTime) -> Result<Self, Error> {
        let since = time.duration_since(UNIX_EPOCH);
        let since = since.map_err(|_| {
            Error::Misuse("timestamp out of range: expected 1970 or later, got an earlier time".to_owned())
        })?;
        Self::new(since.as_secs(), since.subsec_nanos())
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.date();
        let (hour, minute, second) = (self.secs / 3600 % 24, self.secs / 60 % 60, self.secs % 60);
        write!(f, "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")?;
        if self.nanos > 0 {
            let fraction = format!("{:09}", self.nanos);
            write!(f, ".{}", fraction.trim_end_matches('0'))?;
        }
        f.write_str(" +0000 UTC")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_printed_as_go_prints_them() {
        for (secs, nanos, text) in [
            (1_718_738_832, 123_456_789, "2024-06-18 19:27:12.123456789 +0000 UTC"),
            (1_718_738_832, 100_000_000, "2024-06-18 19:27:12.1 +0000 UTC"),
            (1_718_738_832, 0, "2024-06-18 19:27:12 +0000 UTC"),
            (1_717_837_622, 10, "2024-06-08 09:07:02.00000001 +0000 UTC"),
            (0, 0, "1970-01-01 00:00:00 +0000 UTC"),
            (951_782_400, 0, "2000-02-29 00:00:00 +0000 UTC"),
            (4_107_542_400, 1, "2100-03-01 00:00:00.000000001 +0000 UTC"),
            (253_402_300_799, 0, "9999-12-31 23:59:59 +0000 UTC"),
            (253_402_300_800, 0, "10000-01-01 00:00:00 +0000 UTC"),
            (i64::MAX as u64, 0, "292277026596-12-04 15:30:07 +0000 UTC"),
        ] {
            assert_eq!(Timestamp::new(secs, nanos).unwrap().to_string(), text);
        }
        assert!(Timestamp::new(0, 1_000_000_000).is_err());
        assert!(Timestamp::new(u64::MAX, 0).is_err());
    }
}
