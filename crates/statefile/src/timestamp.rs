//! The value of the metadata key `_timestamp`: a time in UTC, as Go prints it.
//!
//! `YYYY-MM-DD HH:MM:SS[.f] +0000 UTC`, where `f` is the fraction of the second without trailing zeros.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::Error;

/// The time that a [`Writer`](crate::Writer) puts into a file.
///
/// The crate reads no clock, so the same input gives the same bytes: make one from [`SystemTime::now`], or use
/// [`EPOCH`](Self::EPOCH). Its text has UTC and up to nine digits of a second. It is for writing only; readers return
/// the text of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    /// Seconds since 1970.
    secs: u64,
    /// Invariant: below 1 000 000 000.
    nanos: u32,
}

impl Timestamp {
    /// The start of 1970, for output that should not depend on the time.
    pub const EPOCH: Self = Self { secs: 0, nanos: 0 };

    /// The time `secs` seconds and `nanos` nanoseconds after the start of 1970.
    ///
    /// # Errors
    ///
    /// [`Error::Misuse`] for 10^9 nanoseconds or more, and for times after the year 292 billion.
    pub fn new(secs: u64, nanos: u32) -> Result<Self, Error> {
        if nanos >= 1_000_000_000 || i64::try_from(secs).is_err() {
            return Err(Error::Misuse(format!(
                "timestamp out of range: {secs} seconds and {nanos} nanoseconds after 1970"
            )));
        }
        Ok(Self { secs, nanos })
    }

    /// Year, month and day. Right for every time that [`new`](Self::new) accepts.
    #[expect(clippy::arithmetic_side_effects, reason = "seconds fit 63 bits: nothing here comes near 2^127")]
    const fn date(self) -> (u128, u128, u128) {
        // Days since 1 March of year 0, in eras of 400 years, which all have the same number of days.
        let days = (self.secs / 86_400) as u128 + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let date = day - (153 * month + 2) / 5 + 1;
        // Month 0 is March here, so January and February belong to the next year.
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
    }

    #[test]
    fn times_that_cannot_be_written_are_refused() {
        let check = |time: Result<Timestamp, Error>, wanted: &str| {
            assert_eq!(time.unwrap_err().to_string(), format!("timestamp out of range: {wanted}"));
        };
        check(Timestamp::new(0, 1_000_000_000), "0 seconds and 1000000000 nanoseconds after 1970");
        check(Timestamp::new(u64::MAX, 0), "18446744073709551615 seconds and 0 nanoseconds after 1970");
        let early = UNIX_EPOCH - std::time::Duration::from_secs(1);
        check(early.try_into(), "expected 1970 or later, got an earlier time");
    }
}
