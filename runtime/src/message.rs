//! Messages without `core::fmt`, whose number formatting would cost the smallest boards more than a kilobyte of flash.

use core::fmt;

/// A piece of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment<'a> {
    /// Text, printed unchanged.
    Text(&'a str),
    /// One character, printed unchanged. It is never a control character.
    Char(char),
    /// A number, printed in decimal.
    Number(u32),
    /// A number, printed in upper-case hexadecimal with at least this many digits.
    Hex(u32, usize),
}

/// A message for people, written as a sequence of [`Fragment`]s.
///
/// Types that implement it also implement `Display` with the same text.
pub trait Message {
    /// Calls `out` with each fragment, in order.
    ///
    /// ```
    /// use pipsqueak::{Fragment, ModelError, Message};
    /// let mut text = String::new();
    /// ModelError::Truncated { expected: 20, found: 9 }.write_to(&mut |fragment| match fragment {
    ///     Fragment::Text(fragment) => text += fragment,
    ///     Fragment::Char(character) => text.push(character),
    ///     Fragment::Number(number) => text += &number.to_string(),
    ///     Fragment::Hex(number, digits) => text += &format!("{number:0digits$X}"),
    /// });
    /// assert_eq!(text, "the model is truncated: expected 20 bytes, found 9");
    /// ```
    fn write_to(&self, out: &mut dyn FnMut(Fragment));
}

/// Writes two numbers with what is around them.
pub(crate) fn counts(
    out: &mut dyn FnMut(Fragment),
    start: &str,
    first: u32,
    middle: &str,
    second: u32,
    end: &str,
) {
    out(Fragment::Text(start));
    out(Fragment::Number(first));
    out(Fragment::Text(middle));
    out(Fragment::Number(second));
    out(Fragment::Text(end));
}

/// Implements `Display` for a [`Message`].
pub(crate) fn display(message: &dyn Message, f: &mut fmt::Formatter) -> fmt::Result {
    use fmt::Write;
    let mut result = Ok(());
    message.write_to(&mut |fragment| {
        result = result.and_then(|()| match fragment {
            Fragment::Text(text) => f.write_str(text),
            Fragment::Char(character) => f.write_char(character),
            Fragment::Number(number) => write!(f, "{number}"),
            Fragment::Hex(number, digits) => write!(f, "{number:0digits$X}"),
        });
    });
    result
}
