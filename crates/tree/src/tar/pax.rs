//! The records of a PAX extended header (`x`, `g`).
//!
//! | bytes       | meaning                                                  |
//! |-------------|----------------------------------------------------------|
//! | decimal     | length of the record, these digits and the newline included |
//! | 1           | space                                                    |
//! | up to `=`   | key, for instance `path` or `SCHILY.xattr.user.mime`     |
//! | 1           | `=`                                                      |
//! | to the end  | value                                                    |
//! | 1           | newline                                                  |
//!
//! Times are decimal seconds with an optional fraction; `-0.5` is half a second before 1970.
//!
//! Specification: POSIX.1-2001, `pax`, section "pax Extended Header". Sparse records: GNU tar manual, "Sparse Formats".

use std::collections::BTreeMap;

use dunnage_digest::Offset;

use super::{Header, malformed};
use crate::{Error, Limits, Mtime};

pub(super) const SPARSE: &[u8] = b"GNU.sparse.";
pub(super) const SPARSE_MAP: &[u8] = b"GNU.sparse.map";
pub(super) const SPARSE_NAME: &[u8] = b"GNU.sparse.name";
const SPARSE_OFFSET: &[u8] = b"GNU.sparse.offset";
const SPARSE_NUMBYTES: &[u8] = b"GNU.sparse.numbytes";

/// Splits the body of an extended header, which starts at `at`, into `records`; a later record replaces an earlier one.
///
/// The offsets and lengths of sparse format 0.0, which come as many records of the same keys, are joined into the one
/// record that format 0.1 has.
pub(super) fn parse_records(body: &[u8], at: Offset, records: &mut BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Error> {
    let mut regions: Vec<u8> = Vec::new();
    let mut wants_offset = true;
    let mut rest = body;
    while !rest.is_empty() {
        let consumed = body.len().saturating_sub(rest.len());
        let at = at.saturating_add(consumed as u64);
        let record = parse_record(rest).ok_or_else(|| {
            let expected = "`<length> <key>=<value>` and a newline";
            malformed("PAX record", at, expected, quote(rest))
        })?;
        rest = record.rest;
        if !is_valid(record.key, record.value) {
            return Err(malformed("PAX record", at, "a key, and text without NUL", quote(record.key)));
        }
        if record.key == SPARSE_OFFSET || record.key == SPARSE_NUMBYTES {
            let is_number = record.value.iter().all(u8::is_ascii_digit) && !record.value.is_empty();
            if wants_offset != (record.key == SPARSE_OFFSET) || !is_number {
                let expected = "offsets and lengths in turn";
                return Err(malformed("PAX sparse record", at, expected, quote(record.key)));
            }
            wants_offset = !wants_offset;
            if !regions.is_empty() {
                regions.push(b',');
            }
            regions.extend_from_slice(record.value);
        } else {
            records.insert(record.key.to_vec(), record.value.to_vec());
        }
    }
    if !regions.is_empty() {
        records.insert(SPARSE_MAP.to_vec(), regions);
    }
    Ok(())
}

struct Record<'a> {
    key: &'a [u8],
    value: &'a [u8],
    rest: &'a [u8],
}

fn parse_record(bytes: &[u8]) -> Option<Record<'_>> {
    let space = memchr::memchr(b' ', bytes)?;
    let digits = bytes.get(..space)?;
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let len = usize::try_from(parse_int(digits)?).ok()?;
    let (record, rest) = bytes.split_at_checked(len)?;
    let (_, record) = record.split_at_checked(space.checked_add(1)?)?;
    let (newline, record) = record.split_last()?;
    let equals = memchr::memchr(b'=', record)?;
    let (key, value) = record.split_at_checked(equals)?;
    let value = value.get(1..)?;
    (*newline == b'\n').then_some(Record { key, value, rest })
}

/// Whether a record can be in an extended header: values may hold anything, where they are not names.
pub(super) fn is_valid(key: &[u8], value: &[u8]) -> bool {
    let is_text = matches!(key, b"path" | b"linkpath" | b"uname" | b"gname") || key == SPARSE_NAME;
    let is_key = !key.is_empty() && !key.contains(&b'=') && !key.contains(&0);
    is_key && !(is_text && value.contains(&0))
}

/// Lets the records of `header`, which started at `at`, replace values of the main block; empty records replace nothing.
///
/// The size is returned as it is written: it may be negative.
pub(super) fn apply(header: &mut Header, size: &mut i64, at: Offset) -> Result<(), Error> {
    for (key, value) in header.pax.iter().filter(|(_, value)| !value.is_empty()) {
        let number = |part| parse_int(value).ok_or_else(|| malformed(part, at, "a decimal number", quote(value)));
        let time = |part| parse_time(value).ok_or_else(|| malformed(part, at, "decimal seconds", quote(value)));
        match key.as_slice() {
            b"path" => header.name.clone_from(value),
            b"linkpath" => header.link.clone_from(value),
            b"uname" => header.user.clone_from(value),
            b"gname" => header.group.clone_from(value),
            b"uid" => header.uid = number("PAX record `uid`")?,
            b"gid" => header.gid = number("PAX record `gid`")?,
            b"size" => *size = number("PAX record `size`")?,
            b"mtime" => header.mtime = Some(time("PAX record `mtime`")?),
            b"atime" => header.atime = Some(time("PAX record `atime`")?),
            b"ctime" => header.ctime = Some(time("PAX record `ctime`")?),
            _ => {}
        }
    }
    Ok(())
}

/// Compares the extended attributes of `header` with the limits.
pub(super) fn check_xattrs(header: &Header, limits: &Limits) -> Result<(), Error> {
    let within = |what, asked, limit| if asked > limit { Err(Error::Limit { what, limit, asked }) } else { Ok(()) };
    let mut total = 0_u64;
    for (name, value) in header.xattrs() {
        within("bytes of an extended attribute's name", name.len() as u64, limits.xattr_name)?;
        within("bytes of an extended attribute's value", value.len() as u64, limits.xattr_value)?;
        total = total.saturating_add(name.len() as u64).saturating_add(value.len() as u64);
        within("bytes of the extended attributes of an entry", total, limits.xattrs_per_entry)?;
    }
    Ok(())
}

/// Appends one record.
pub(super) fn put_record(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let rest = key.len().saturating_add(value.len()).saturating_add(3);
    // The length counts its own digits, which can make it one digit longer.
    let with_digits =
        |number: usize| rest.saturating_add(1).saturating_add(number.checked_ilog10().unwrap_or(0) as usize);
    let len = with_digits(with_digits(rest));
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// A decimal number with an optional sign.
pub(super) fn parse_int(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Seconds with an optional fraction; digits beyond nanoseconds are cut off.
fn parse_time(text: &[u8]) -> Option<Mtime> {
    let (whole, fraction) = match memchr::memchr(b'.', text) {
        Some(dot) => (text.get(..dot)?, text.get(dot.checked_add(1)?..)?),
        None => (text, &[][..]),
    };
    let secs = parse_int(whole)?;
    let digits = fraction.iter().map(|byte| byte.is_ascii_digit().then(|| u32::from(byte & 0xf)));
    let mut nanos = 0_u32;
    let mut unit = 100_000_000_u32;
    for digit in digits {
        nanos = nanos.saturating_add(digit?.saturating_mul(unit));
        unit /= 10;
    }
    if whole.starts_with(b"-") && nanos > 0 {
        return Some(Mtime { secs: secs.checked_sub(1)?, nanos: 1_000_000_000_u32.checked_sub(nanos)? });
    }
    Some(Mtime { secs, nanos })
}

/// The shortest text that [`parse_time`] reads back.
pub(super) fn format_time(time: Mtime) -> String {
    if time.nanos == 0 {
        return time.secs.to_string();
    }
    let text = if time.secs < 0 {
        // The fraction counts upwards from the second before, but is written downwards from the second after.
        format!("-{}.{:09}", !time.secs, 1_000_000_000_u32.saturating_sub(time.nanos))
    } else {
        format!("{}.{:09}", time.secs, time.nanos)
    };
    text.trim_end_matches('0').to_string()
}

/// The start of `bytes` for a message.
pub(super) fn quote(bytes: &[u8]) -> String {
    match bytes.get(..48) {
        Some(start) if bytes.len() > 48 => format!("`{}`…", start.escape_ascii()),
        _ => format!("`{}`", bytes.escape_ascii()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &[u8], expected: Result<&[(&str, &str)], &str>) {
        let mut records = BTreeMap::new();
        let got = parse_records(body, Offset::new(0x200), &mut records).map_err(|error| error.to_string());
        let records: Vec<_> = records.iter().map(|(key, value)| (key.escape_ascii(), value.escape_ascii())).collect();
        let records: Vec<_> = records.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        match expected {
            Ok(pairs) => {
                got.unwrap();
                let pairs: Vec<_> =
                    pairs.iter().map(|(key, value)| ((*key).to_string(), (*value).to_string())).collect();
                assert_eq!(records, pairs, "`{}`", body.escape_ascii());
            }
            Err(message) => assert_eq!(got.unwrap_err(), message, "`{}`", body.escape_ascii()),
        }
    }

    #[test]
    fn records_are_split_by_their_lengths() {
        check(b"", Ok(&[]));
        check(b"5 a=\n", Ok(&[("a", "")]));
        check(
            b"0006 a=b\n",
            Err(
                "malformed PAX record at offset 0x200: expected `<length> <key>=<value>` and a newline, got `0006 a=b\\n`",
            ),
        );
        check(b"9    a=b\n", Ok(&[("   a", "b")]));
        check(b"6 a=b\n6 a=c\n", Ok(&[("a", "c")]));
        check(b"9 a=b\nc=\n", Ok(&[("a", "b\\nc=")]));
        check(b"8 a=b\0c\n", Ok(&[("a", "b\\x00c")]));
        check(b"7 a=b=\n", Ok(&[("a", "b=")]));
    }

    #[test]
    fn malformed_records_are_reported_with_their_offset() {
        let shape = "expected `<length> <key>=<value>` and a newline";
        let text = "expected a key, and text without NUL";
        let cases: &[(&[u8], String)] = &[
            (b"6 a=b\n\0\0", format!("malformed PAX record at offset 0x206: {shape}, got `\\x00\\x00`")),
            (b"7 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `7 a=b\\n`")),
            (b"5 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `5 a=b\\n`")),
            (b"1 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `1 a=b\\n`")),
            (b"2 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `2 a=b\\n`")),
            (b"-6 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `-6 a=b\\n`")),
            (b" a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got ` a=b\\n`")),
            (b"6 abc\n", format!("malformed PAX record at offset 0x200: {shape}, got `6 abc\\n`")),
            (b"a", format!("malformed PAX record at offset 0x200: {shape}, got `a`")),
            (b"99999999999999999999 a=b\n", format!("malformed PAX record at offset 0x200: {shape}, got `99999999999999999999 a=b\\n`")),
            (b"5 =b\n", format!("malformed PAX record at offset 0x200: {text}, got ``")),
            (b"11 path=a\0\n", format!("malformed PAX record at offset 0x200: {text}, got `path`")),
            (b"22 GNU.sparse.name=a\0\n", format!("malformed PAX record at offset 0x200: {text}, got `GNU.sparse.name`")),
            (b"7 a\0=b\n", format!("malformed PAX record at offset 0x200: {text}, got `a\\x00`")),
            (b"25 GNU.sparse.numbytes=0\n", "malformed PAX sparse record at offset 0x200: expected offsets and lengths in turn, got `GNU.sparse.numbytes`".into()),
        ];
        for (body, message) in cases {
            check(body, Err(message));
        }
    }

    #[test]
    fn offsets_and_lengths_of_sparse_format_00_become_a_map() {
        let body =
            b"23 GNU.sparse.offset=1\n25 GNU.sparse.numbytes=2\n23 GNU.sparse.offset=8\n25 GNU.sparse.numbytes=1\n";
        check(body, Ok(&[("GNU.sparse.map", "1,2,8,1")]));
    }

    #[test]
    fn a_record_counts_the_digits_of_its_length() {
        for len in 0..2000 {
            let value = vec![b'v'; len];
            let mut record = Vec::new();
            put_record(&mut record, b"k", &value);
            let parsed = parse_record(&record).unwrap();
            assert_eq!((parsed.key, parsed.value, parsed.rest), (&b"k"[..], value.as_slice(), &b""[..]));
        }
    }

    #[test]
    fn times_have_a_sign_and_a_fraction() {
        type Case = (&'static str, Option<(i64, u32)>, &'static str);
        let cases: &[Case] = &[
            ("0", Some((0, 0)), "0"),
            ("1700000000", Some((1_700_000_000, 0)), "1700000000"),
            ("12.5", Some((12, 500_000_000)), "12.5"),
            ("12.", Some((12, 0)), "12"),
            ("+12.000000001", Some((12, 1)), "12.000000001"),
            ("12.0000000019999", Some((12, 1)), "12.000000001"),
            ("-12", Some((-12, 0)), "-12"),
            ("-12.25", Some((-13, 750_000_000)), "-12.25"),
            ("-0.5", Some((-1, 500_000_000)), "-0.5"),
            ("-0.000000001", Some((-1, 999_999_999)), "-0.000000001"),
            ("-9223372036854775808", Some((i64::MIN, 0)), "-9223372036854775808"),
            ("-9223372036854775808.5", None, ""),
            ("9223372036854775808", None, ""),
            ("", None, ""),
            (".5", None, ""),
            ("-", None, ""),
            ("1.5.5", None, ""),
            ("1.-5", None, ""),
            ("1e5", None, ""),
            (" 1", None, ""),
        ];
        for (text, expected, back) in cases {
            let got = parse_time(text.as_bytes());
            assert_eq!(got.map(|time| (time.secs, time.nanos)), *expected, "`{text}`");
            if let Some(time) = got {
                assert_eq!(format_time(time), *back);
            }
        }
    }
}
