//! Messages without `core::fmt`, whose formatting of numbers would cost the smallest boards more than a kilobyte of flash.

use core::fmt;

/// A part of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// As it is.
    Text(&'a str),
    /// In decimal.
    Number(u32),
    /// In hexadecimal, this many digits.
    Hex(u32, usize),
}

/// What says itself in parts. Its `Display` says the same.
pub trait Say {
    /// Calls `out` with each part, in order.
    ///
    /// ```
    /// use pipsqueak::{ImageError, Part, Say};
    /// let mut text = String::new();
    /// ImageError::Truncated { expected: 20, found: 9 }.say(&mut |part| match part {
    ///     Part::Text(part) => text += part,
    ///     Part::Number(number) => text += &number.to_string(),
    ///     Part::Hex(number, digits) => text += &format!("{number:0digits$X}"),
    /// });
    /// assert_eq!(text, "the image is cut off: expected 20 bytes, found 9");
    /// ```
    fn say(&self, out: &mut dyn FnMut(Part));
}

/// `Display` of what says itself.
pub(crate) fn display(value: &dyn Say, f: &mut fmt::Formatter) -> fmt::Result {
    let mut result = Ok(());
    value.say(&mut |part| {
        result = result.and_then(|()| match part {
            Part::Text(text) => f.write_str(text),
            Part::Number(number) => write!(f, "{number}"),
            Part::Hex(number, digits) => write!(f, "{number:0digits$X}"),
        });
    });
    result
}
