//! RFC 3339 times to microseconds and back. Owns no clock.

use alloc::format;
use alloc::string::String;

use crate::TimeUs;

const SECOND_US: i64 = 1_000_000;
const DAY_S: i64 = 86_400;

/// Microseconds since 1970 of `2026-03-01T12:00:00.25Z` or `2026-03-01T13:00:00+01:00`; finer digits are cut off, a leap
/// second counts as the first second of the next minute. `None` for any other text.
pub fn parse(text: &str) -> Option<TimeUs> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || bytes[4] != b'-' || bytes[7] != b'-' || bytes[13] != b':' || bytes[16] != b':' {
        return None;
    }
    if !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&bytes[..4])?, digits(&bytes[5..7])?, digits(&bytes[8..10])?);
    let (hour, minute, second) = (digits(&bytes[11..13])?, digits(&bytes[14..16])?, digits(&bytes[17..19])?);
    if hour > 23 || minute > 59 || second > 60 || !(1..=12).contains(&month) || day < 1 || day > month_days(year, month)
    {
        return None;
    }
    let (fraction_us, rest) = fraction(&bytes[19..])?;
    let offset_s = offset(rest)?;
    let seconds = days_since_1970(year, month, day) * DAY_S + hour * 3600 + minute * 60 + second - offset_s;
    Some(seconds * SECOND_US + fraction_us)
}

/// `2026-03-01T12:00:00.250000Z`, always with six digits. Years beyond 9999 and before 0 are cut to those.
pub fn format(time_us: TimeUs) -> String {
    let time_us = time_us.clamp(-62_167_219_200 * SECOND_US, 253_402_300_800 * SECOND_US - 1);
    let (seconds, fraction_us) = (time_us.div_euclid(SECOND_US), time_us.rem_euclid(SECOND_US));
    let (days, second) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{fraction_us:06}Z")
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

/// The microseconds of `.25` and what follows them.
fn fraction(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.', bytes @ ..] = bytes else { return Some((0, bytes)) };
    let count = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let value = (0..6).fold(0, |value, i| value * 10 + if i < count { i64::from(bytes[i] - b'0') } else { 0 });
    (count > 0).then(|| (value, &bytes[count..]))
}

/// The seconds of `Z` or `+01:00`.
fn offset(bytes: &[u8]) -> Option<i64> {
    match bytes {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let seconds = hours * 3600 + minutes * 60;
            (hours < 24 && minutes < 60).then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn month_days(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar, counting years from March so that the leap day comes last
/// (H. Hinnant, "chrono-compatible low-level date algorithms").
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The inverse of [`days_since_1970`], from the same source.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + i64::from(month <= 2), month, of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_become_times() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2023-11-14T22:13:20Z", Some(1_700_000_000_000_000));
        check("2023-11-14T22:13:20.123456789Z", Some(1_700_000_000_123_456));
        check("2023-11-14T23:13:20.5+01:00", Some(1_700_000_000_500_000));
        check("2023-11-14t16:43:20-05:30", Some(1_700_000_000_000_000));
        check("1969-12-31T23:59:59.9Z", Some(-100_000));
        check("2016-12-31T23:59:60Z", parse("2017-01-01T00:00:00Z"));
        check("2024-02-29T00:00:00Z", Some(1_709_164_800_000_000));
        for wrong in [
            "",
            "2023-11-14",
            "2023-11-14T22:13:20",
            "2023-02-29T00:00:00Z",
            "2100-02-29T00:00:00Z",
            "2023-13-01T00:00:00Z",
            "2023-11-14T24:00:00Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+0100",
            "2023-11-14T22:13:20Zé",
            "1700000000000000000000",
        ] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn times_read_back_as_written(time_us in -62_167_219_200_000_000i64..253_402_300_800_000_000) {
            prop_assert_eq!(parse(&format(time_us)), Some(time_us));
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,40}") {
            parse(&text);
        }
    }
}
