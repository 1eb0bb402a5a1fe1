//! The line being typed: bytes from a terminal in, whole characters out.

/// The longest line, in bytes of UTF-8.
pub const LINE_BYTES: usize = 128;

/// Discards a line, stops a text.
pub const CTRL_C: u8 = 0x03;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

/// A line under the user's hands.
#[derive(Default)]
pub struct Line {
    text: heapless::String<LINE_BYTES>,
    /// The bytes of a character that is not complete yet.
    partial: heapless::Vec<u8, 4>,
    after_carriage_return: bool,
}

/// What a byte did to the line, for the terminal to follow.
#[derive(Debug, PartialEq, Eq)]
pub enum Edit {
    /// Nothing to see: a part of a character, a byte that is no UTF-8, a control byte without a meaning.
    Nothing,
    /// This character was added at the end.
    Added(char),
    /// The last so many cells were taken away.
    Erased(usize),
    /// There is no room for another character.
    Full,
    /// The line is complete.
    Ended,
    /// Ctrl-C: the line is discarded.
    Discarded,
}

impl Line {
    /// The text so far.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Starts a new line.
    pub fn clear(&mut self) {
        self.text.clear();
        self.partial.clear();
    }

    /// Takes the next byte that was typed. CR, LF and CRLF each end a line once.
    pub fn type_byte(&mut self, byte: u8) -> Edit {
        let after_carriage_return =
            core::mem::replace(&mut self.after_carriage_return, byte == b'\r');
        if byte.is_ascii_control() {
            self.partial.clear();
        }
        match byte {
            b'\n' if after_carriage_return => Edit::Nothing,
            b'\r' | b'\n' => Edit::Ended,
            BACKSPACE | DELETE => self
                .text
                .pop()
                .map_or(Edit::Nothing, |last| Edit::Erased(cells(last))),
            CTRL_U => {
                let width = self.text.chars().map(cells).sum();
                self.text.clear();
                Edit::Erased(width)
            }
            CTRL_C => Edit::Discarded,
            _ if byte.is_ascii_control() => Edit::Nothing,
            _ => self.complete(byte).map_or(Edit::Nothing, |character| {
                match self.text.push(character) {
                    Ok(()) => Edit::Added(character),
                    Err(_) => Edit::Full,
                }
            }),
        }
    }

    /// The character that `byte` completes, if it does. A byte that cannot go on is taken as the start of another one.
    fn complete(&mut self, byte: u8) -> Option<char> {
        loop {
            let begun = !self.partial.is_empty();
            // Never full: four bytes are a character or none.
            let _ = self.partial.push(byte);
            match core::str::from_utf8(&self.partial) {
                Ok(text) => {
                    // U+0080 to U+009F are control characters too.
                    let character = text
                        .chars()
                        .next()
                        .filter(|character| !character.is_control());
                    self.partial.clear();
                    return character;
                }
                Err(error) if error.error_len().is_none() => return None,
                Err(_) => self.partial.clear(),
            }
            if !begun {
                return None;
            }
        }
    }
}

/// The cells that a character takes on a terminal, roughly: combining marks none, East Asian characters and emoji two.
fn cells(character: char) -> usize {
    match u32::from(character) {
        0x0300..=0x036F
        | 0x0591..=0x05BD
        | 0x064B..=0x0652
        | 0x200B..=0x200F
        | 0x20D0..=0x20FF
        | 0xFE00..=0xFE0F => 0,
        0x1100..=0x115F
        | 0x2E80..=0xA4CF
        | 0xAC00..=0xD7A3
        | 0xF900..=0xFAFF
        | 0xFE30..=0xFE6F
        | 0xFF00..=0xFF60 => 2,
        0x1F300..=0x1FAFF | 0x20000..=0x3FFFD => 2,
        _ => 1,
    }
}
