//! Times as rows write them: RFC 3339 (<https://www.rfc-editor.org/rfc/rfc3339>) to microseconds.

use selvedge_decision::TimeUs;

/// Reads `2026-11-23T08:15:30.123456Z` or with an offset such as `+01:00`. What is finer than a microsecond is cut off; a
/// leap second counts as the second after it. `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<TimeUs> {
    let bytes = text.as_bytes();
    if bytes.len() < 20 || !text.is_ascii() {
        return None;
    }
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    if marks.iter().any(|&(at, mark)| bytes[at] != mark) || !matches!(bytes[10], b'T' | b't' | b' ') {
        return None;
    }
    let year = digits(&bytes[0..4])?;
    let month = digits(&bytes[5..7])?;
    let day = digits(&bytes[8..10])?;
    let hour = digits(&bytes[11..13])?;
    let minute = digits(&bytes[14..16])?;
    let second = digits(&bytes[17..19])?;
    let fits = (1..=12).contains(&month) && (1..=days_in(year, month)).contains(&day);
    if !fits || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_us, rest) = fraction(&bytes[19..])?;
    let offset_s = offset(rest)?;
    let seconds = days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second - offset_s;
    Some(seconds * 1_000_000 + fraction_us)
}

fn digits(bytes: &[u8]) -> Option<i64> {
    bytes.iter().try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
}

fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let Some(after) = rest.strip_prefix(b".") else { return Some((0, rest)) };
    let count = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let kept = digits(&after[..count.min(6)])?;
    let scale = 10_i64.pow(6_u32.saturating_sub(count as u32));
    Some((kept * scale, &after[count..]))
}

fn offset(rest: &[u8]) -> Option<i64> {
    match rest {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            let seconds = hours * 3_600 + minutes * 60;
            (hours <= 23 && minutes <= 59).then_some(if *sign == b'+' { seconds } else { -seconds })
        }
        _ => None,
    }
}

fn days_in(year: i64, month: i64) -> i64 {
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_to_the_microsecond() {
        let check = |text: &str, expected: Option<i64>| assert_eq!(parse_rfc3339(text), expected, "{text}");
        check("1970-01-01T00:00:00Z", Some(0));
        check("2026-11-23T08:15:30.123456Z", Some(1_795_421_730_123_456));
        check("2026-11-23T09:15:30.1234569+01:00", Some(1_795_421_730_123_456));
        check("2026-11-23 02:45:30.5-05:30", Some(1_795_421_730_500_000));
        check("2000-02-29T23:59:60Z", Some(951_868_800_000_000));
        check("1969-12-31T23:59:59.999999Z", Some(-1));
        check("2100-02-29T00:00:00Z", None);
        check("2026-13-01T00:00:00Z", None);
        check("2026-11-23T24:00:00Z", None);
        check("2026-11-23T08:15:30", None);
        check("2026-11-23T08:15:30.Z", None);
        check("2026-11-23T08:15:30+0100", None);
        check("2026-11-23", None);
        check("２０２６-11-23T08:15:30Z", None);
        check("", None);
    }
}
