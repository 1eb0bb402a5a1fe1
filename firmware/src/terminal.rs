//! The serial port as a terminal sees it. An error loses the byte that it befell, and nothing else.

use embedded_io::{Read, ReadReady, Write};
use pipsqueak::{Part, Say};

use crate::line::CTRL_C;

/// A terminal on the serial port `S`. What prints gives itself back, to print on.
///
/// Texts and numbers go out without `core::fmt`, which would cost the smallest board 3 KB of flash.
pub(crate) struct Terminal<S>(pub S);

impl<S: Read + ReadReady + Write> Terminal<S> {
    /// Waits for the next byte; none when the input has ended.
    pub fn read(&mut self) -> Option<u8> {
        let mut byte = [0];
        loop {
            match self.0.read(&mut byte) {
                Ok(0) => return None,
                Ok(_) => return Some(byte[0]),
                Err(_) => {}
            }
        }
    }

    /// Whether Ctrl-C has been typed. Drops what else has.
    pub fn interrupted(&mut self) -> bool {
        let mut byte = [0];
        while let Ok(true) = self.0.read_ready() {
            match self.0.read(&mut byte) {
                Ok(0) => return false,
                Ok(_) if byte[0] == CTRL_C => return true,
                Ok(_) | Err(_) => {}
            }
        }
        false
    }

    /// Prints `text`, its newlines as CRLF.
    pub fn print(&mut self, text: &str) -> &mut Self {
        self.print_bytes(text.as_bytes())
    }

    /// Prints a text that need not be UTF-8.
    pub fn print_bytes(&mut self, text: &[u8]) -> &mut Self {
        for &byte in text {
            if byte == b'\n' {
                self.send(b'\r');
            }
            self.send(byte);
        }
        self
    }

    /// Prints a character; a newline as CRLF.
    pub fn put(&mut self, character: char) -> &mut Self {
        self.print(character.encode_utf8(&mut [0; 4]))
    }

    /// Prints a number, with at least `digits` digits to the base, at most 16.
    pub fn number(&mut self, number: u64, base: u32, digits: usize) -> &mut Self {
        let mut text = [b'0'; 20];
        let mut rest = number;
        let mut first = text.len();
        for (place, digit) in text.iter_mut().enumerate().rev() {
            if rest == 0 && first <= 20 - digits {
                break;
            }
            // Long division by 16 bits at a time: the smallest cores have no division, and one of 64 bits is large.
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

    /// Prints what says itself.
    pub fn say(&mut self, value: &dyn Say) -> &mut Self {
        value.say(&mut |part| {
            match part {
                Part::Text(text) => self.print(text),
                Part::Number(number) => self.number(number.into(), 10, 1),
                Part::Hex(number, digits) => self.number(number.into(), 16, digits),
            };
        });
        self
    }

    fn send(&mut self, byte: u8) {
        let _ = self.0.write_all(&[byte]);
    }
}
