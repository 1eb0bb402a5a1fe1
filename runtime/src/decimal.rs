//! Unsigned decimal numbers with at most four digits on each side of the point, in units of 1/10,000.

/// The number one.
pub(crate) const DECIMAL_ONE: u32 = 10_000;

/// Parses one to four digits, optionally followed by a point and one to four more digits: `0.8` is 8000.
///
/// Returns `None` for any other text. The largest result is 99,999,999.
pub(crate) fn parse_decimal4(text: &str) -> Option<u32> {
    let Some((whole, fraction)) = split_once(text, b'.') else {
        return Some(parse_digits(text)? * DECIMAL_ONE);
    };
    let unit = match fraction.len() {
        1 => 1000,
        2 => 100,
        3 => 10,
        _ => 1,
    };
    Some(parse_digits(whole)? * DECIMAL_ONE + parse_digits(fraction)? * unit)
}

/// Splits `text` at the first `separator`, an ASCII character, like `str::split_once`. That one searches with `memchr`, which
/// takes 100 bytes of flash more.
pub(crate) fn split_once(text: &str, separator: u8) -> Option<(&str, &str)> {
    let position = text.bytes().position(|byte| byte == separator)?;
    let (before, after) = text.split_at_checked(position)?;
    Some((before, after.get(1..)?))
}

/// Parses one to four ASCII digits.
fn parse_digits(text: &str) -> Option<u32> {
    if !(1..=4).contains(&text.len()) {
        return None;
    }
    text.bytes().try_fold(0, |number, byte| match byte {
        b'0'..=b'9' => Some(number * 10 + u32::from(byte - b'0')),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn every_number_is_parsed_with_any_number_of_decimals() {
        for value in (0..99_999_999).step_by(7919).chain([0, 99_999_999]) {
            let (whole, fraction) = (value / DECIMAL_ONE, value % DECIMAL_ONE);
            assert_eq!(
                parse_decimal4(&format!("{whole}.{fraction:04}")),
                Some(value)
            );
            assert_eq!(
                parse_decimal4(&format!("{whole:04}.{:02}", fraction / 100)),
                Some(value / 100 * 100)
            );
            assert_eq!(
                parse_decimal4(&format!("{whole}")),
                Some(whole * DECIMAL_ONE)
            );
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "", ".", "1.", ".5", "1..5", "1.5.", "10000", "1.00000", "+1", "-1", "1e3", " 1", "٣",
            "1.٣",
        ] {
            assert_eq!(parse_decimal4(text), None, "{text:?}");
        }
    }
}
