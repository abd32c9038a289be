//! Times as a TOC writes them: RFC 3339, UTC; whole seconds in eStargz, up to nanoseconds in containers/storage.

use dunnage_tree::Mtime;

/// The `modtime` of a tar time: rounded half up to the second; empty if the header says second 0 or nothing.
///
/// Years beyond four digits are written as they are, as the reference does.
pub(crate) fn format_modtime(mtime: Option<Mtime>) -> String {
    let Some(mtime) = mtime.filter(|mtime| mtime.secs != 0) else { return String::new() };
    text(mtime.rounded(), "")
}

/// A time as exact as it is, without zeros at the end; `None` if its year has no four digits, and cannot be read back.
pub(crate) fn format_time(time: Mtime) -> Option<String> {
    if !(YEAR_0..YEAR_10000).contains(&time.secs) {
        return None;
    }
    let fraction = match time.nanos {
        0 => String::new(),
        nanos => format!(".{nanos:09}"),
    };
    Some(text(time.secs, fraction.trim_end_matches('0')))
}

/// When the years begin that RFC 3339 can say, and when they are over.
const YEAR_0: i64 = -62_167_219_200;
const YEAR_10000: i64 = 253_402_300_800;

fn text(secs: i64, fraction: &str) -> String {
    let (days, second) = (secs.div_euclid(86_400), secs.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let sign = if year < 0 { "-" } else { "" };
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{sign}{:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{fraction}Z", year.unsigned_abs())
}

/// Seconds since 1970 of an RFC 3339 time, rounded down; `None` for anything else.
pub(crate) fn parse_modtime(text: &str) -> Option<i64> {
    parse_time(text).map(|time| time.secs)
}

/// An RFC 3339 time; digits beyond nanoseconds are cut off. `None` for anything else.
pub(crate) fn parse_time(text: &str) -> Option<Mtime> {
    let (date, rest) = text.as_bytes().split_at_checked(19)?;
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', i1, i2, b':', s1, s2] = *date else {
        return None;
    };
    let (year, month) = (number(&[y1, y2, y3, y4])?, number(&[m1, m2])?);
    let (day, hour) = (number(&[d1, d2])?, number(&[h1, h2])?);
    let (minute, second) = (number(&[i1, i2])?, number(&[s1, s2])?);
    let mut nanos = 0;
    let rest = match rest.split_first() {
        Some((b'.', fraction)) => {
            let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
            let mut unit = 100_000_000;
            for digit in fraction.get(..digits.min(9))? {
                nanos = u32::from(digit & 0x0f).checked_mul(unit)?.checked_add(nanos)?;
                unit /= 10;
            }
            fraction.get(digits..).filter(|_| digits > 0)?
        }
        _ => rest,
    };
    let offset = match *rest {
        [b'Z'] => 0,
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (number(&[h1, h2])?, number(&[m1, m2])?);
            let offset = hours.checked_mul(3600)?.checked_add(minutes.checked_mul(60)?)?;
            let valid = hours < 24 && minutes < 60;
            if sign == b'+' { Some(offset) } else { offset.checked_neg() }.filter(|_| valid)?
        }
        _ => return None,
    };
    let days = days(year, month, day)?;
    if hour > 23 || minute > 59 || second > 59 || civil(days) != (year, month, day) {
        return None;
    }
    let clock = hour.checked_mul(3600)?.checked_add(minute.checked_mul(60)?)?.checked_add(second)?;
    let secs = days.checked_mul(86_400)?.checked_add(clock)?.checked_sub(offset)?;
    Some(Mtime { secs, nanos })
}

fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0_i64, |sum, digit| match digit {
        b'0'..=b'9' => sum.checked_mul(10)?.checked_add(i64::from(digit & 0x0f)),
        _ => None,
    })
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// Counts in eras of 400 years (146 097 days) that start on a 1 March, so that the leap day ends its year.
#[expect(clippy::arithmetic_side_effects, reason = "days of 64-bit seconds are below 2^48; nothing here can overflow")]
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Days since 1970-01-01 of a date of four digits; `None` for months that do not exist.
#[expect(clippy::arithmetic_side_effects, reason = "years have four digits, months and days two")]
fn days(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * from_march + 2) / 5 + day - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    Some(era * 146_097 + of_era - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_and_written_as_the_reference_does() {
        for (secs, nanos, wanted) in [
            (0, 0, ""),
            (0, 700_000_000, ""),
            (1, 500_000_000, "1970-01-01T00:00:02Z"),
            (1, 499_999_999, "1970-01-01T00:00:01Z"),
            (-1, 0, "1969-12-31T23:59:59Z"),
            (-1, 500_000_000, "1970-01-01T00:00:00Z"),
            (-2, 500_000_000, "1969-12-31T23:59:59Z"),
            (1_709_210_096, 0, "2024-02-29T12:34:56Z"),
            (253_402_300_800, 0, "10000-01-01T00:00:00Z"),
            (-62_167_219_200, 0, "0000-01-01T00:00:00Z"),
            (-62_167_219_201, 0, "-0001-12-31T23:59:59Z"),
        ] {
            assert_eq!(format_modtime(Some(Mtime { secs, nanos })), wanted);
        }
        assert_eq!(format_modtime(None), "");
        // Any number a header can hold.
        format_modtime(Some(Mtime { secs: i64::MAX, nanos: 999_999_999 }));
        format_modtime(Some(Mtime { secs: i64::MIN, nanos: 0 }));
    }

    #[test]
    fn only_rfc_3339_is_read() {
        for (text, wanted) in [
            ("1970-01-01T00:00:02Z", Some(2)),
            ("1969-12-31T23:59:59Z", Some(-1)),
            ("2024-02-29T12:34:56Z", Some(1_709_210_096)),
            ("2024-02-29T12:34:56.75Z", Some(1_709_210_096)),
            ("2024-02-29T12:34:56+01:30", Some(1_709_210_096 - 5400)),
            ("0000-01-01T00:00:00Z", Some(-62_167_219_200)),
            ("2023-02-29T12:34:56Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-00-01T00:00:00Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01T00:00:00.Z", None),
            ("2024-01-01 00:00:00Z", None),
            ("10000-01-01T00:00:00Z", None),
            ("2024-01-01T00:00:00+24:00", None),
            ("", None),
        ] {
            assert_eq!(parse_modtime(text), wanted, "{text}");
        }
        for secs in (-62_167_219_200_i64..253_402_300_800).step_by(86_400 * 97 + 12_345).filter(|&secs| secs != 0) {
            assert_eq!(parse_modtime(&format_modtime(Some(Mtime { secs, nanos: 0 }))), Some(secs));
        }
    }

    #[test]
    fn exact_times_are_written_as_the_other_reference_does() {
        for (secs, nanos, wanted) in [
            (0, 0, Some("1970-01-01T00:00:00Z")),
            (-1, 0, Some("1969-12-31T23:59:59Z")),
            (-1, 500_000_000, Some("1969-12-31T23:59:59.5Z")),
            (1_700_000_000, 123_456_789, Some("2023-11-14T22:13:20.123456789Z")),
            (1_700_000_000, 1, Some("2023-11-14T22:13:20.000000001Z")),
            (1_700_000_000, 120_000_000, Some("2023-11-14T22:13:20.12Z")),
            (-62_167_219_200, 0, Some("0000-01-01T00:00:00Z")),
            (253_402_300_799, 999_999_999, Some("9999-12-31T23:59:59.999999999Z")),
            (253_402_300_800, 0, None),
            (-62_167_219_201, 0, None),
            (i64::MIN, 0, None),
        ] {
            let time = Mtime { secs, nanos };
            let text = format_time(time);
            assert_eq!(text.as_deref(), wanted);
            if let Some(text) = text {
                assert_eq!(parse_time(&text), Some(time));
            }
        }
        assert_eq!(parse_time("1970-01-01T00:00:00.0000000019Z"), Some(Mtime { secs: 0, nanos: 1 }));
    }
}
