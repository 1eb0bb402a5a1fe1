//! A feature vector as text: `length=0.5, a` sets the channels `length` to 0.5 and `a` to 1, and all others to 0.

use crate::decimal::{ONE, ten_thousandths};
use crate::image::Image;
use crate::say::{Part, Say, display};

/// Why a text is no feature vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureError {
    /// Where the part that is wrong begins, in bytes.
    pub position: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl Say for FeatureError {
    fn say(&self, out: &mut dyn FnMut(Part)) {
        out(Part::Text("byte "));
        out(Part::Number(self.position as u32));
        out(Part::Text(": expected "));
        out(Part::Text(self.expected));
    }
}

impl core::fmt::Display for FeatureError {
    fn fmt(&self, f: &mut core::fmt::Formatter) -> core::fmt::Result {
        display(self, f)
    }
}

impl core::error::Error for FeatureError {}

/// The parts of a text: where each begins, its name, and its value in 1/10,000. Commas and white space are between them.
fn parts(text: &str) -> impl Iterator<Item = Result<(&str, i32), FeatureError>> {
    let between = |c: char| c == ',' || c.is_ascii_whitespace();
    text.split(between)
        .filter(|part| !part.is_empty())
        .map(move |part| {
            let position = part.as_ptr().addr() - text.as_ptr().addr();
            let equals = part.bytes().position(|b| b == b'=').filter(|&at| at > 0);
            let Some(equals) = equals else {
                return Ok((part, ONE as i32));
            };
            let (name, value) = part.split_at_checked(equals).unwrap_or_default();
            let value = decimal(value.get(1..).unwrap_or_default());
            let value = value.ok_or(FeatureError {
                position: position + equals + 1,
                expected: "a number from -3000 to 3000 with at most 4 decimals",
            })?;
            Ok((name, value))
        })
}

/// A number in 1/10,000, of a size that any channel has room for.
fn decimal(text: &str) -> Option<i32> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text),
    };
    let value = ten_thousandths(digits).filter(|value| *value <= 3000 * ONE)?;
    Some(sign * value as i32)
}

/// A value in 1/10,000 as Q15 of a channel below 2^`channel`, rounded down in magnitude and saturated.
fn fixed(value: i32, channel: i8) -> i16 {
    // Long division, a bit at a time: the smallest cores have none, and one of 64 bits is large.
    let magnitude = value.unsigned_abs();
    let (mut quotient, mut rest) = (magnitude / ONE, magnitude % ONE);
    let bits = 15 - i32::from(channel);
    for _ in 0..bits.max(0) {
        rest *= 2;
        let bit = u32::from(rest >= ONE);
        rest -= bit * ONE;
        quotient = (quotient.saturating_mul(2)).saturating_add(bit);
    }
    quotient >>= (-bits).clamp(0, 31);
    let fixed = quotient.min(32_767) as i16;
    if value < 0 { -fixed } else { fixed }
}

/// That `text` names channels of `image` alone.
pub(crate) fn check(image: &Image, text: &str) -> Result<(), FeatureError> {
    let names = image.source();
    for part in parts(text) {
        let (name, _) = part?;
        let known = |id: usize| names.text(id as u16) == name.as_bytes();
        if !(0..names.len()).any(known) {
            return Err(FeatureError {
                position: name.as_ptr().addr() - text.as_ptr().addr(),
                expected: "the name of a channel",
            });
        }
    }
    Ok(())
}

/// The value of channel `index` in a text that was checked: Q15 of 2^`channel`.
pub(crate) fn value(image: &Image, text: &str, index: usize, channel: i8) -> i16 {
    let own = image.source().text(index as u16);
    let named = parts(text)
        .flatten()
        .filter(|(name, _)| name.as_bytes() == own);
    named.last().map_or(0, |(_, value)| fixed(value, channel))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_to_the_nearest_below() {
        for (text, channel, expected) in [
            ("0.5", 0, 16_384),
            ("1", 0, 32_767),
            ("-0.25", 0, -8192),
            ("1", 1, 16_384),
            ("0.0001", 0, 3),
            ("2.5", 2, 20_480),
            ("3000", 12, 24_000),
            ("0.001", -3, 262),
            ("9", 3, 32_767),
        ] {
            let value = decimal(text).unwrap();
            assert_eq!(fixed(value, channel), expected, "{text} below 2^{channel}");
        }
        for text in [
            "", "-", ".5", "1.", "1.00000", "3000.1", "1e3", "+1", "--1", "٣",
        ] {
            assert_eq!(decimal(text), None, "{text:?}");
        }
    }

    #[test]
    fn parts_have_names_and_values() {
        let read = |text| parts(text).collect::<Result<alloc::vec::Vec<_>, _>>();
        assert_eq!(
            read(" length=0.5,a "),
            Ok(alloc::vec![("length", 5000), ("a", 10_000)])
        );
        assert_eq!(read("==1"), Ok(alloc::vec![("==1", 10_000)]));
        assert_eq!(read("a b=x").unwrap_err().position, 4);
        assert_eq!(read(""), Ok(alloc::vec![]));
    }
}
