//! Values of options of a training, parsed with their ranges and units.

use std::time::Duration;

/// Bytes, as `65536`, `64K` or `1M`.
pub(super) fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'k' | b'K') => (&text[..text.len() - 1], 1 << 10),
        Some(b'm' | b'M') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let bytes = digits.parse().ok().and_then(|n: usize| n.checked_mul(unit));
    bytes.ok_or_else(|| "expected bytes, such as 65536, 64K or 1M".into())
}

/// A time, as `90s`, `7m` or `1.5h`.
pub(super) fn time(text: &str) -> Result<Duration, String> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b's') => (&text[..text.len() - 1], 1.0),
        Some(b'm') => (&text[..text.len() - 1], 60.0),
        Some(b'h') => (&text[..text.len() - 1], 3600.0),
        _ => (text, f64::NAN),
    };
    let seconds = digits.parse().ok().map(|n: f64| n * unit);
    let time = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    time.filter(|time| !time.is_zero())
        .ok_or_else(|| "expected a time above 0 with its unit, such as 90s, 7m or 1h".into())
}

/// A fraction from 0 to below 1.
pub(super) fn below_one(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(value) if (0.0..1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to below 1".into()),
    }
}

/// A learning rate.
pub(super) fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value <= 1.0 => Ok(value),
        _ => Err("expected a number above 0, at most 1".into()),
    }
}

/// A fraction from 0 to 1.
pub(super) fn ratio(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// A number above 0.
pub(super) fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value < f64::INFINITY => Ok(value),
        _ => Err("expected a number above 0".into()),
    }
}

/// The bits of a weight.
pub(super) fn bits(text: &str) -> Result<u8, String> {
    match text {
        "8" => Ok(8),
        "4" => Ok(4),
        _ => Err("expected 8 or 4".into()),
    }
}

pub(super) fn speed(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && value < 1e9 => Ok(value),
        _ => Err("expected a number of tokens per second above 0".into()),
    }
}

/// A number of threads.
pub(super) fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count @ 1..=1024) => Ok(count),
        _ => Err("expected a whole number, 1 to 1024".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_have_units() {
        let seconds = |text| time(text).map(|time| time.as_secs_f64());
        assert_eq!(
            ["90s", "7m", "1.5h"].map(seconds),
            [Ok(90.0), Ok(420.0), Ok(5400.0)]
        );
        for wrong in ["", "7", "0s", "-1m", "NaNs", "1e99h", "m"] {
            assert!(time(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            ["100", "64K", "1m"].map(size),
            [Ok(100), Ok(65_536), Ok(1 << 20)]
        );
        for wrong in ["", "lots", "-1", "99999999999999999999M"] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }
}
