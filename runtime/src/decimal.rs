//! Decimal numbers of four places.

/// One, in 1/10,000.
pub(crate) const ONE: u32 = 10_000;

/// A number without a sign in 1/10,000: up to four digits, and up to four more after a point, where there is one.
pub(crate) fn ten_thousandths(text: &str) -> Option<u32> {
    let point = text.bytes().position(|b| b == b'.').unwrap_or(text.len());
    let whole = text.get(..point)?;
    let fraction = text.get(point + 1..).unwrap_or("0");
    let good = |s: &str| !s.is_empty() && s.len() <= 4 && s.bytes().all(|b| b.is_ascii_digit());
    if !good(whole) || !good(fraction) {
        return None;
    }
    let number = |s: &str| s.bytes().fold(0, |n, b| n * 10 + u32::from(b - b'0'));
    let scale = [10_000, 1000, 100, 10, 1][fraction.len() % 5];
    Some(number(whole) * ONE + number(fraction) * scale)
}
