//! Conditioning features as text: `length=0.5, a` sets the feature `length` to 0.5, `a` to 1 and all others to 0.

use crate::decimal::{DECIMAL_ONE, parse_decimal4, split_once};
use crate::message::{Fragment, Message, display};
use crate::vocabulary::Vocabulary;

/// A text that does not describe a feature vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureError {
    /// Byte offset in the text of the feature name or number that is wrong.
    pub position: usize,
    /// The expected name or number.
    pub expected: &'static str,
}

impl Message for FeatureError {
    fn write_to(&self, out: &mut dyn FnMut(Fragment)) {
        out(Fragment::Text("byte "));
        out(Fragment::Number(self.position as u32));
        out(Fragment::Text(": expected "));
        out(Fragment::Text(self.expected));
    }
}

impl core::fmt::Display for FeatureError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for FeatureError {}

/// Returns the error for `part`, which is a slice of `text`.
fn error(text: &str, part: &str, expected: &'static str) -> FeatureError {
    FeatureError {
        position: part.as_ptr().addr().wrapping_sub(text.as_ptr().addr()),
        expected,
    }
}

/// Iterates over the assignments in `text`: the feature's name and its value in units of 1/10,000.
///
/// Commas and white space separate assignments. A name without `=` has the value 1.
fn assignments(text: &str) -> impl Iterator<Item = Result<(&str, i32), FeatureError>> {
    let is_separator = |c: char| c == ',' || c.is_ascii_whitespace();
    text.split(is_separator)
        .filter(|part| !part.is_empty())
        .map(move |part| match split_once(part, b'=') {
            Some((name, number)) if !name.is_empty() => match parse_value(number) {
                Some(value) => Ok((name, value)),
                None => Err(error(
                    text,
                    number,
                    "a number from -3000 to 3000 with at most 4 decimals",
                )),
            },
            _ => Ok((part, DECIMAL_ONE as i32)),
        })
}

/// Parses a number from -3000 to 3000 with at most 4 decimals, in units of 1/10,000.
fn parse_value(text: &str) -> Option<i32> {
    let (sign, magnitude) = match text.strip_prefix('-') {
        Some(magnitude) => (-1, magnitude),
        None => (1, text),
    };
    let value = parse_decimal4(magnitude).filter(|value| *value <= 3000 * DECIMAL_ONE)?;
    Some(sign * value as i32)
}

/// Converts `value`, in units of 1/10,000, to Q15 of the range `|x| < 2^exponent`: `value / 10^4 * 2^(15 - exponent)`,
/// rounded towards zero and saturated to ±32,767.
fn to_q15(value: i32, exponent: i8) -> i16 {
    // Binary long division: the smallest cores have no divider, and a 64-bit division is a large routine.
    let magnitude = value.unsigned_abs();
    let (mut quotient, mut remainder) = (magnitude / DECIMAL_ONE, magnitude % DECIMAL_ONE);
    let frac_bits = 15 - i32::from(exponent);
    for _ in 0..frac_bits.max(0) {
        remainder *= 2;
        let bit = u32::from(remainder >= DECIMAL_ONE);
        remainder -= bit * DECIMAL_ONE;
        quotient = quotient.saturating_mul(2).saturating_add(bit);
    }
    quotient >>= (-frac_bits).clamp(0, 31);
    let magnitude = quotient.min(32_767) as i16;
    if value < 0 { -magnitude } else { magnitude }
}

/// Checks that `text` sets only features that `names` contains, to numbers in range.
///
/// # Errors
/// The first assignment with an unknown name or with a value that is not a number from -3000 to 3000.
pub(crate) fn check(names: Vocabulary, text: &str) -> Result<(), FeatureError> {
    for assignment in assignments(text) {
        let (name, _) = assignment?;
        let mut known = names.texts();
        if !known.any(|known| known == name.as_bytes()) {
            return Err(error(text, name, "the name of a feature"));
        }
    }
    Ok(())
}

/// Returns the value of feature `index` in `text`: Q15 of the range `|x| < 2^exponent`, saturated.
///
/// The last assignment to a feature counts; a feature without one is 0. `text` has passed [`check`] for the same `names`:
/// an assignment that it refuses is skipped here.
pub(crate) fn value(names: Vocabulary, text: &str, index: usize, exponent: i8) -> i16 {
    let Some(own_name) = names.texts().nth(index) else {
        return 0;
    };
    let own = assignments(text)
        .flatten()
        .filter(|(name, _)| name.as_bytes() == own_name);
    own.last().map_or(0, |(_, value)| to_q15(value, exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_towards_zero() {
        for (text, exponent, expected) in [
            ("0.5", 0, 16_384),
            ("1", 0, 32_767),
            ("-0.25", 0, -8192),
            ("1", 1, 16_384),
            ("0.0001", 0, 3),
            ("-0.0001", 0, -3),
            ("2.5", 2, 20_480),
            ("3000", 12, 24_000),
            ("0.001", -3, 262),
            ("9", 3, 32_767),
        ] {
            let value = parse_value(text).unwrap();
            assert_eq!(
                to_q15(value, exponent),
                expected,
                "{text} below 2^{exponent}"
            );
        }
        for text in [
            "", "-", ".5", "1.", "1.00000", "3000.1", "1e3", "+1", "--1", "٣",
        ] {
            assert_eq!(parse_value(text), None, "{text:?}");
        }
    }

    #[test]
    fn assignments_have_names_and_values() {
        let read = |text| assignments(text).collect::<Result<alloc::vec::Vec<_>, _>>();
        assert_eq!(
            read(" length=0.5,a "),
            Ok(alloc::vec![("length", 5000), ("a", 10_000)])
        );
        assert_eq!(read("==1"), Ok(alloc::vec![("==1", 10_000)]));
        assert_eq!(read("a b=x").unwrap_err().position, 4);
        assert_eq!(read(""), Ok(alloc::vec![]));
    }
}
