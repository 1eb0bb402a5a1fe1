//! What a line means.

use pipsqueak::Temperature;

use crate::{line::LINE_BYTES, settings::Settings};

/// A line of the console, understood.
pub(crate) enum Command<'l> {
    /// A setting's word with its value, which has been set.
    Set,
    /// `reset`: the default settings, the state at zero, the last text forgotten.
    Reset,
    /// `info`: the board, the model and the settings.
    Info,
    /// `selftest`: whether the core computes what was exported.
    SelfTest,
    /// `help`: the commands.
    Help,
    /// A text to continue.
    Prompt(&'l str),
    /// `prompt TEXT`: the same, where `\n` stands for a newline and `\\` for a backslash: see [`unescape`].
    EscapedPrompt(&'l str),
    /// `score TEXT`: how well the model foresees a text, escaped in the same way.
    #[cfg(feature = "score")]
    Score(&'l str),
    /// An empty line: continue the last text.
    Continue,
}

/// A command whose argument is not one.
pub(crate) struct Refusal<'l> {
    /// The command's word.
    pub word: &'l str,
    /// What it takes.
    pub expected: &'static str,
    /// What it was given.
    pub found: &'l str,
}

impl<'l> Command<'l> {
    /// Reads `line` and, where it sets something, sets it.
    ///
    /// # Errors
    /// The line starts with a command's word, but its argument is not what the command takes.
    pub fn parse(line: &'l str, settings: &mut Settings) -> Result<Self, Refusal<'l>> {
        let end = line.bytes().position(|byte| byte == b' ');
        let (word, rest) = end
            .and_then(|end| line.split_at_checked(end))
            .unwrap_or((line, ""));
        let found = rest.trim_ascii();
        let refuse = |expected| Refusal {
            word,
            expected,
            found,
        };

        match word {
            "" if line.is_empty() => return Ok(Self::Continue),
            "prompt" => {
                // Without a text: a new one from nothing.
                return Ok(Self::EscapedPrompt(rest.get(1..).unwrap_or_default()));
            }
            #[cfg(feature = "score")]
            "score" => {
                let text = rest.get(1..).filter(|text| !text.is_empty());
                return text.map(Self::Score).ok_or(refuse("a text"));
            }
            "reset" | "info" | "selftest" | "help" if !found.is_empty() => {
                return Err(refuse("nothing after it"));
            }
            "reset" => return Ok(Self::Reset),
            "info" => return Ok(Self::Info),
            "selftest" => return Ok(Self::SelfTest),
            "help" => return Ok(Self::Help),
            "temperature" => {
                let expected = "a number such as 0.8, or 0 to be greedy";
                settings.temperature = Temperature::parse(found).map_err(|_| refuse(expected))?;
            }
            "seed" | "length" | "top-k" | "pace" => {
                let (most, expected) = match word {
                    "seed" => (u64::MAX, "a whole number below 2^64"),
                    "length" => (u32::MAX.into(), "a whole number below 2^32"),
                    _ => (u16::MAX.into(), "a whole number up to 65535"),
                };
                let Some(value) = number(found).filter(|&value| value <= most) else {
                    return Err(refuse(expected));
                };
                match word {
                    "seed" => settings.seed = value,
                    "length" => settings.length = value as u32,
                    "top-k" => settings.top_k = value as u16,
                    _ => settings.pace_ms = value as u16,
                }
            }
            _ => return Ok(Self::Prompt(line)),
        }
        Ok(Self::Set)
    }
}

/// The whole number that `digits` are.
fn number(digits: &str) -> Option<u64> {
    let mut number = digits.bytes().next().map(|_| 0_u64)?;
    for digit in digits.bytes() {
        let digit = char::from(digit).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(number)
}

/// The text that `escaped`, a part of a line, stands for. A backslash before another character is itself.
pub(crate) fn unescape(escaped: &str) -> heapless::String<LINE_BYTES> {
    let mut text = heapless::String::new();
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        let (stands_for, taken) = match (character, rest.as_str().as_bytes().first()) {
            ('\\', Some(b'n')) => ('\n', true),
            ('\\', Some(b'\\')) => ('\\', true),
            _ => (character, false),
        };
        if taken {
            rest.next();
        }
        // There is room: the text is no longer than the line.
        let _ = text.push(stands_for);
    }
    text
}
