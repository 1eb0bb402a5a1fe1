//! UTF-8, a few bytes at a time.

/// Decodes bytes that arrive in parts, each of which may end within a character.
#[derive(Default)]
pub(crate) struct Utf8Decoder {
    /// The first bytes of a character whose last ones have not arrived.
    partial: heapless::Vec<u8, 4>,
}

/// What some bytes are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Utf8 {
    /// A character.
    Char(char),
    /// Up to 3 bytes that are no character and do not begin one.
    Malformed(heapless::Vec<u8, 4>),
}

impl Utf8Decoder {
    /// Takes bytes off the front of `bytes` until a character or a malformed sequence is complete. `None`: there are no
    /// more bytes, though there may be the first ones of a character.
    pub fn next(&mut self, bytes: &mut &[u8]) -> Option<Utf8> {
        while let Some((&byte, rest)) = bytes.split_first() {
            let continues = !self.partial.is_empty();
            // Never full: four bytes are a character or malformed.
            let _ = self.partial.push(byte);
            match core::str::from_utf8(&self.partial) {
                Ok(text) => {
                    let character = text.chars().next();
                    *bytes = rest;
                    self.partial.clear();
                    return character.map(Utf8::Char);
                }
                Err(error) if error.error_len().is_none() => *bytes = rest,
                Err(_) => {
                    // A byte that does not continue the character may begin another one: it stays in `bytes`.
                    if continues {
                        self.partial.pop();
                    } else {
                        *bytes = rest;
                    }
                    return self.finish();
                }
            }
        }
        None
    }

    /// Ends the text: returns the bytes of a character that did not become complete, if there are any.
    pub fn finish(&mut self) -> Option<Utf8> {
        let partial = core::mem::take(&mut self.partial);
        (!partial.is_empty()).then_some(Utf8::Malformed(partial))
    }

    /// Forgets an incomplete character.
    pub fn clear(&mut self) {
        self.partial.clear();
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;
    use std::{string::String, vec::Vec};

    /// The standard library's replacement of malformed sequences is the reference, for any cut into parts.
    #[test]
    fn agrees_with_the_standard_library_on_any_bytes() {
        let pieces: [&[u8]; 12] = [
            b"a",
            "\u{5d0}".as_bytes(),
            "\u{20ac}".as_bytes(),
            "\u{1f600}".as_bytes(),
            b"\x80",
            b"\xe2\x82",
            b"\xf0\x9f\x98",
            b"\xff",
            b"\xc0\xaf",
            b"\xed\xa0\x80",
            b"\xf4\x90",
            b"\n",
        ];
        for seed in 0..3000_usize {
            let text: Vec<u8> = (0..5)
                .flat_map(|at| pieces[(seed * 7919 + at * 31 + seed / 12) * (at + 1) % 12].to_vec())
                .collect();
            for part in [1, 2, 3, 20] {
                let mut decoder = Utf8Decoder::default();
                let mut found = String::new();
                let mut put = |unit| match unit {
                    Utf8::Char(character) => found.push(character),
                    Utf8::Malformed(_) => found.push(char::REPLACEMENT_CHARACTER),
                };
                for mut bytes in text.chunks(part) {
                    while let Some(unit) = decoder.next(&mut bytes) {
                        put(unit);
                    }
                }
                decoder.finish().into_iter().for_each(put);
                assert_eq!(found, String::from_utf8_lossy(&text), "{text:x?}");
            }
        }
    }
}
