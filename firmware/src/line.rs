//! The line being typed: turns a terminal's bytes into a line of whole characters.

use core::mem::{replace, swap, take};

use crate::utf8::{Utf8, Utf8Decoder};

/// The longest line, in bytes of UTF-8.
pub const LINE_BYTES: usize = 128;

const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const ESCAPE: u8 = 0x1b;
const DELETE: u8 = 0x7f;

/// A line editor: characters are added and erased at the end; the arrow up recalls the previous line.
#[derive(Default)]
pub(crate) struct LineEditor {
    text: heapless::String<LINE_BYTES>,
    previous: heapless::String<LINE_BYTES>,
    decoder: Utf8Decoder,
    after_carriage_return: bool,
    escape: EscapeState,
}

/// How much of a terminal's escape sequence has arrived: `ESC [ parameters letter`, or `ESC O letter`.
#[derive(Default)]
enum EscapeState {
    #[default]
    None,
    /// ESC.
    Started,
    /// ESC and `[` or `O`.
    Parameters,
}

/// The effect of a byte on the line, for the terminal to show.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Edit {
    /// Nothing: the byte belongs to an incomplete character or to a key without a meaning.
    None,
    /// This character was added at the end.
    Added(char),
    /// Characters of this display width were erased at the end.
    Erased(usize),
    /// The whole line, of this display width, was replaced by [`LineEditor::text`].
    Replaced(usize),
    /// The line has no room for the character.
    Full,
    /// The line is complete.
    Entered,
}

impl LineEditor {
    /// The line so far.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Discards the line.
    pub fn clear(&mut self) {
        self.text.clear();
        self.decoder.clear();
    }

    /// Starts the next line and returns the last one, which the arrow up recalls from now on if it is not empty.
    pub fn enter(&mut self) -> &str {
        if self.text.is_empty() {
            return "";
        }
        swap(&mut self.text, &mut self.previous);
        self.text.clear();
        &self.previous
    }

    /// Takes the next byte from the terminal. CR, LF and CRLF each end a line once.
    pub fn push_byte(&mut self, byte: u8) -> Edit {
        let after_carriage_return = replace(&mut self.after_carriage_return, byte == b'\r');
        match (take(&mut self.escape), byte) {
            (EscapeState::Started, b'[' | b'O') | (EscapeState::Parameters, b' '..=b'?') => {
                self.escape = EscapeState::Parameters;
                return Edit::None;
            }
            (EscapeState::Parameters, b'@'..=b'~') => return self.press_key(byte),
            _ => {}
        }
        if byte.is_ascii_control() {
            self.decoder.clear();
        }
        match byte {
            b'\n' if after_carriage_return => Edit::None,
            b'\r' | b'\n' => Edit::Entered,
            ESCAPE => {
                self.escape = EscapeState::Started;
                Edit::None
            }
            BACKSPACE | DELETE => match self.text.pop() {
                Some(last) => Edit::Erased(display_width(last)),
                None => Edit::None,
            },
            CTRL_U => {
                let width = self.width();
                self.text.clear();
                Edit::Erased(width)
            }
            _ => self.add(byte),
        }
    }

    /// Adds the character that `byte` completes, if it does. Control characters and malformed bytes are ignored.
    fn add(&mut self, byte: u8) -> Edit {
        let mut bytes = &[byte][..];
        while let Some(unit) = self.decoder.next(&mut bytes) {
            if let Utf8::Char(character) = unit
                && !character.is_control()
            {
                return match self.text.push(character) {
                    Ok(()) => Edit::Added(character),
                    Err(_) => Edit::Full,
                };
            }
        }
        Edit::None
    }

    /// Handles a key by the last byte of its escape sequence. Arrow up recalls the previous line, arrow down clears the
    /// line.
    fn press_key(&mut self, last: u8) -> Edit {
        let width = self.width();
        match last {
            b'A' => self.text.clone_from(&self.previous),
            b'B' => self.text.clear(),
            _ => return Edit::None,
        }
        self.decoder.clear();
        Edit::Replaced(width)
    }

    fn width(&self) -> usize {
        self.text.chars().map(display_width).sum()
    }
}

/// The columns that a character takes on a terminal, approximately: 0 for combining marks, 2 for East Asian characters and
/// emoji, else 1.
fn display_width(character: char) -> usize {
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
