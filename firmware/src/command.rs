//! Parses a line: a command, or input for the model.

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
    /// The line is a misspelt command.
    Unknown {
        /// The command that was probably meant.
        suggestion: &'static str,
    },
}

/// The word of a command.
#[derive(Clone, Copy)]
enum Word {
    Temperature,
    Seed,
    Length,
    TopK,
    Pace,
    Prompt,
    #[cfg(feature = "score")]
    Score,
    Reset,
    Info,
    SelfTest,
    Help,
}

/// The commands, in the order of `help`.
const COMMANDS: &[(&str, Word)] = &[
    ("temperature", Word::Temperature),
    ("seed", Word::Seed),
    ("length", Word::Length),
    ("top-k", Word::TopK),
    ("pace", Word::Pace),
    ("prompt", Word::Prompt),
    #[cfg(feature = "score")]
    ("score", Word::Score),
    ("reset", Word::Reset),
    ("info", Word::Info),
    ("selftest", Word::SelfTest),
    ("help", Word::Help),
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
        let Some(&(command, meaning)) = COMMANDS.iter().find(|(name, _)| *name == word) else {
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
        // Behind the one space.
        let text = rest.get(1..).unwrap_or_default();
        let (max, expected) = match meaning {
            // Without a text: a new text from the start.
            Word::Prompt => return Ok(Self::EscapedPrompt(text)),
            #[cfg(feature = "score")]
            Word::Score if text.is_empty() => return Err(refuse("a text")),
            #[cfg(feature = "score")]
            Word::Score => return Ok(Self::Score(text)),
            Word::Temperature => {
                let expected = "0 (greedy) or 0.01 to 100, at most 4 decimals";
                return match Temperature::parse(found) {
                    Ok(temperature) => Ok(Self::Set(Setting::Temperature(temperature))),
                    Err(_) => Err(refuse(expected)),
                };
            }
            Word::Reset | Word::Info | Word::SelfTest | Word::Help if !found.is_empty() => {
                return Err(refuse("no argument"));
            }
            Word::Reset => return Ok(Self::Reset),
            Word::Info => return Ok(Self::Info),
            Word::SelfTest => return Ok(Self::SelfTest),
            Word::Help => return Ok(Self::Help),
            Word::Seed => (u64::MAX, "a whole number from 0 to 18446744073709551615"),
            Word::Length => (u32::MAX.into(), "a whole number from 1 to 4294967295"),
            Word::TopK | Word::Pace => (u16::MAX.into(), "a whole number from 0 to 65535"),
        };
        let Some(number) = parse_number(found).filter(|&number| number <= max) else {
            return Err(refuse(expected));
        };
        Ok(Self::Set(match meaning {
            Word::Length if number == 0 => return Err(refuse(expected)),
            Word::Length => Setting::Length(number as u32),
            Word::TopK => Setting::TopK(number as u16),
            Word::Pace => Setting::Pace(number as u16),
            _ => Setting::Seed(number),
        }))
    }
}

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
    let mut commands = COMMANDS.iter().map(|&(command, _)| command);
    commands.find(|&command| {
        let mut typed = word.bytes().filter(|byte| !matches!(byte, b'-' | b'_'));
        let mut letters = command.bytes().filter(|&byte| byte != b'-');
        letters.all(|letter| {
            typed
                .next()
                .is_some_and(|byte| byte.eq_ignore_ascii_case(&letter))
        }) && typed.next().is_none()
    })
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
