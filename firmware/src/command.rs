//! What a line means.

use pipsqueak::Temperature;

use crate::{line::LINE_BYTES, settings::Setting};

/// A line of the console, parsed.
pub(crate) enum Command<'l> {
    /// `temperature 0.8` and the like.
    Set(Setting),
    /// `reset`: the default settings; the last text is forgotten.
    Reset,
    /// `info`: the board, the model and the settings.
    Info,
    /// `selftest`: whether the core computes what the host has computed.
    SelfTest,
    /// `help`: the commands.
    Help,
    /// A text for the model.
    Prompt(&'l str),
    /// `prompt TEXT`: a text for the model, which [`unescape`] decodes.
    EscapedPrompt(&'l str),
    /// `score TEXT`: the model's loss on a text, escaped in the same way.
    #[cfg(feature = "score")]
    Score(&'l str),
    /// An empty line: continue the last text.
    Continue,
}

/// Why a line is refused.
pub(crate) enum CommandError<'l> {
    /// The argument of a command is not one that it takes.
    Argument {
        command: &'static str,
        expected: &'static str,
        found: &'l str,
    },
    /// The line looks like a command but is none.
    Unknown {
        /// The command that was probably meant.
        suggestion: &'static str,
    },
}

/// The commands, in the order of `help`.
const COMMANDS: &[&str] = &[
    "temperature",
    "seed",
    "length",
    "top-k",
    "pace",
    "prompt",
    #[cfg(feature = "score")]
    "score",
    "reset",
    "info",
    "selftest",
    "help",
];

/// Words that users of other consoles type for help or to leave.
const FOREIGN_WORDS: [&str; 6] = ["?", "h", "commands", "quit", "exit", "bye"];

impl<'l> Command<'l> {
    /// Parses a line: a command if its first word is one, else a text for the model.
    ///
    /// # Errors
    /// The command does not take the argument, or the line is a misspelt command.
    pub fn parse(line: &'l str) -> Result<Self, CommandError<'l>> {
        if line.is_empty() {
            return Ok(Self::Continue);
        }
        let (word, rest) = match line.bytes().position(|byte| byte == b' ') {
            Some(end) => line.split_at_checked(end).unwrap_or((line, "")),
            None => (line, ""),
        };
        let found = rest.trim_ascii();
        let Some(command) = COMMANDS.iter().copied().find(|&command| command == word) else {
            return match suggest(word, found) {
                Some(suggestion) => Err(CommandError::Unknown { suggestion }),
                None => Ok(Self::Prompt(line)),
            };
        };
        let refuse = |expected| CommandError::Argument {
            command,
            expected,
            found,
        };
        let number = |min, max, expected| match parse_number(found) {
            Some(number) if (min..=max).contains(&number) => Ok(number),
            _ => Err(refuse(expected)),
        };

        Ok(Self::Set(match command {
            // Without a text: a new text from the start.
            "prompt" => return Ok(Self::EscapedPrompt(rest.get(1..).unwrap_or_default())),
            #[cfg(feature = "score")]
            "score" => {
                let text = rest.get(1..).filter(|text| !text.is_empty());
                return text.map(Self::Score).ok_or(refuse("a text"));
            }
            "temperature" => {
                let expected = "0 (greedy) or a number from 0.01 to 100, at most 4 decimals";
                Setting::Temperature(Temperature::parse(found).map_err(|_| refuse(expected))?)
            }
            "seed" => {
                let expected = "a whole number from 0 to 18446744073709551615";
                Setting::Seed(number(0, u64::MAX, expected)?)
            }
            "length" => {
                let expected = "a whole number from 1 to 4294967295";
                Setting::Length(number(1, u32::MAX.into(), expected)? as u32)
            }
            "top-k" => Setting::TopK(number(0, u16::MAX.into(), UP_TO_65535)? as u16),
            "pace" => Setting::Pace(number(0, u16::MAX.into(), UP_TO_65535)? as u16),
            _ if !found.is_empty() => return Err(refuse("no argument")),
            "reset" => return Ok(Self::Reset),
            "info" => return Ok(Self::Info),
            "selftest" => return Ok(Self::SelfTest),
            _ => return Ok(Self::Help),
        }))
    }
}

const UP_TO_65535: &str = "a whole number from 0 to 65535";

/// The command that was probably meant by a line that consists of `word` and `argument` and does not start with a command:
/// one that differs in case or hyphens only, if the argument is missing or a number as commands take it.
fn suggest(word: &str, argument: &str) -> Option<&'static str> {
    if argument.is_empty() && FOREIGN_WORDS.contains(&word) {
        return Some("help");
    }
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    if !argument.bytes().all(is_number) {
        return None;
    }
    let letters = |word: &'static str| word.bytes().filter(|&byte| byte != b'-');
    let typed = word.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
    let typed = typed.map(|byte| byte.to_ascii_lowercase());
    let mut commands = COMMANDS.iter().copied();
    commands.find(|&command| letters(command).eq(typed.clone()))
}

/// The whole number that the decimal `digits` are.
fn parse_number(digits: &str) -> Option<u64> {
    let mut number = digits.bytes().next().map(|_| 0_u64)?;
    for digit in digits.bytes() {
        let digit = char::from(digit).to_digit(10)?;
        number = number.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(number)
}

/// Decodes `escaped`, a part of a line: `\n` is a newline, `\\` a backslash. A backslash before another character is itself.
pub(crate) fn unescape(escaped: &str) -> heapless::String<LINE_BYTES> {
    let mut text = heapless::String::new();
    let mut rest = escaped.chars();
    while let Some(character) = rest.next() {
        let decoded = match (character, rest.as_str().as_bytes().first()) {
            ('\\', Some(b'n')) => Some('\n'),
            ('\\', Some(b'\\')) => Some('\\'),
            _ => None,
        };
        if decoded.is_some() {
            rest.next();
        }
        // There is room: the text is no longer than the line.
        let _ = text.push(decoded.unwrap_or(character));
    }
    text
}
