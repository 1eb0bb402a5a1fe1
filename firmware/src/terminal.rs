//! The terminal on the serial port: text and numbers out.

use embedded_io::Write;
use pipsqueak::{Fragment, Message};

use crate::utf8::{Utf8, Utf8Decoder};

/// A terminal that `W` leads to. Methods that print return the terminal, so that calls can be chained.
///
/// Numbers are formatted without `core::fmt`, which would cost the smallest board 3 KB of flash. Write errors are ignored:
/// there is nowhere to report them.
pub(crate) struct Terminal<W>(pub W);

impl<W: Write> Terminal<W> {
    /// Prints `text`, its newlines as CRLF.
    pub fn print(&mut self, text: &str) -> &mut Self {
        for &byte in text.as_bytes() {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        self
    }

    /// Prints one character; a newline as CRLF.
    pub fn print_char(&mut self, character: char) -> &mut Self {
        self.print(character.encode_utf8(&mut [0; 4]))
    }

    /// Prints a character that a model has generated, or bytes that are none. Control characters other than newline and
    /// tab could reprogram the terminal: they and malformed bytes are shown as `\x1B`.
    pub fn print_escaped(&mut self, unit: &Utf8) -> &mut Self {
        match unit {
            Utf8::Char(character)
                if character.is_control() && !matches!(character, '\n' | '\t') =>
            {
                self.print("\\x").print_hex(u32::from(*character), 2)
            }
            Utf8::Char(character) => self.print_char(*character),
            Utf8::Malformed(bytes) => {
                for &byte in bytes {
                    self.print("\\x").print_hex(byte.into(), 2);
                }
                self
            }
        }
    }

    /// Prints a text out of a model's file, [escaped](Self::print_escaped).
    pub fn print_bytes_escaped(&mut self, mut text: &[u8]) -> &mut Self {
        let mut decoder = Utf8Decoder::default();
        while let Some(unit) = decoder.next(&mut text).or_else(|| decoder.finish()) {
            self.print_escaped(&unit);
        }
        self
    }

    /// Prints a number in decimal.
    pub fn print_decimal(&mut self, number: u64) -> &mut Self {
        self.print_number(number, 10, 1)
    }

    /// Prints a fixed-point number: `number / 10^digits`, with that many decimals.
    pub fn print_fixed(&mut self, number: u32, digits: usize) -> &mut Self {
        let one = [1, 10, 100, 1000][digits & 3];
        self.print_decimal((number / one).into());
        self.print(".")
            .print_number((number % one).into(), 10, digits)
    }

    /// Prints a number in hexadecimal with at least `digits` digits.
    pub fn print_hex(&mut self, number: u32, digits: usize) -> &mut Self {
        self.print_number(number.into(), 16, digits)
    }

    /// Prints a number to the base, at most 16, with at least `digits` digits, at most 20.
    fn print_number(&mut self, number: u64, base: u32, digits: usize) -> &mut Self {
        let mut text = [b'0'; 20];
        let mut rest = number;
        let mut first = text.len();
        for (place, digit) in text.iter_mut().enumerate().rev() {
            if rest == 0 && first <= 20 - digits {
                break;
            }
            // Long division, 16 bits at a time: the smallest cores have no divide instruction, and a 64-bit division is large.
            let mut quotient = 0;
            let mut remainder = 0;
            for shift in [48, 32, 16, 0] {
                let part = remainder << 16 | (rest >> shift) as u32 & 0xffff;
                quotient = quotient << 16 | u64::from(part / base);
                remainder = part % base;
            }
            *digit = b"0123456789ABCDEF"[remainder as usize & 15];
            rest = quotient;
            first = place;
        }
        for &digit in &text[first..] {
            self.send(digit);
        }
        self
    }

    /// Prints a message of the runtime.
    pub fn print_message(&mut self, message: &dyn Message) -> &mut Self {
        message.write_to(&mut |fragment| {
            match fragment {
                Fragment::Text(text) => self.print(text),
                Fragment::Char(character) => self.print_char(character),
                Fragment::Number(number) => self.print_decimal(number.into()),
                Fragment::Hex(number, digits) => self.print_hex(number, digits),
            };
        });
        self
    }

    fn send(&mut self, byte: u8) {
        // A call writes at least one byte.
        let _ = self.0.write(&[byte]);
    }
}
