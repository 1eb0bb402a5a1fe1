//! A conversation with an emulated board over its serial port.

use std::{
    collections::VecDeque,
    fs,
    io::{self, Read as _, Write as _},
    path::Path,
    process::{Child, ChildStdin},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use thiserror::Error;

use crate::{
    Board, Emulator,
    emulator::{EmulatorError, Machine, RP2040_RAM},
};

/// The longest line that the console takes, in bytes of UTF-8.
pub const LINE_BYTES: usize = 128;
/// What the console writes when it waits for a line.
const PROMPT: &str = "\r\n> ";
/// What the console's refusals begin with: the bell.
const BELL: char = '\x07';

/// Why a conversation failed.
#[derive(Debug, Error)]
pub enum SessionError {
    /// There is no emulated board.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The board went silent.
    #[error("waited {seconds} s for {expected:?}; the board's last words: {seen:?}")]
    Silent {
        /// For how long.
        seconds: u64,
        /// What was waited for.
        expected: String,
        /// The end of what was seen.
        seen: String,
    },
    /// The emulator ended.
    #[error(
        "the emulator ended while it was waited for {expected:?}; the board's last words: {seen:?}"
    )]
    Ended {
        /// What was waited for.
        expected: String,
        /// The end of what was seen.
        seen: String,
    },
    /// The line is longer than the console takes.
    #[error("expected a line of at most {LINE_BYTES} bytes, found {found}: {line:?}")]
    LineTooLong {
        /// The line.
        line: String,
        /// Its bytes.
        found: usize,
    },
    /// The console takes no such character.
    #[error("the console takes no control characters, found {0:?}")]
    Untypable(char),
    /// The board said something else.
    #[error("expected {expected:?}, found {found:?} before it")]
    Unexpected {
        /// What was waited for.
        expected: String,
        /// What came.
        found: String,
    },
    /// The console refused a line.
    #[error("the board refused: {0}")]
    Refused(String),
    /// A stream failed.
    #[error("the emulator's serial port: {0}")]
    Port(#[from] io::Error),
}

/// An emulated board that runs. It ends with this.
pub struct Session {
    child: Child,
    /// Nothing once it has been closed.
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    /// Received and not read yet.
    waiting: VecDeque<u8>,
    /// The end of what was received, for messages.
    seen: VecDeque<u8>,
    /// How long the board may be silent.
    patience: Duration,
    board: &'static Board,
    machine: Machine,
}

/// The console's line that gives `prompt` to the model, whatever it begins with.
fn prompt_line(prompt: &str) -> String {
    let escaped = prompt.replace('\\', "\\\\").replace('\n', "\\n");
    format!("prompt {escaped}")
}

impl Session {
    /// Starts the board and waits for its console. What it said until then comes with it.
    ///
    /// # Errors
    /// The board cannot be emulated, or its console does not come up.
    pub fn start(
        board: &'static Board,
        firmware: &Path,
        model: Option<&Path>,
    ) -> Result<(Self, String), SessionError> {
        let mut machine = Machine::new(board, firmware, model)?;
        let mut child = machine.spawn()?;
        let (Some(input), Some(mut pipe)) = (child.stdin.take(), child.stdout.take()) else {
            unreachable!("both are piped")
        };
        let (send, output) = channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer) {
                if send.send(buffer[..count].to_vec()).is_err() {
                    break;
                }
            }
        });
        let mut session = Self {
            child,
            input: Some(input),
            output,
            waiting: VecDeque::new(),
            seen: VecDeque::new(),
            patience: Duration::from_secs(60),
            board,
            machine,
        };
        let banner = session.read_until(PROMPT)?;
        Ok((session, banner))
    }

    /// Sends bytes as they are.
    ///
    /// # Errors
    /// The emulator has ended.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let Some(input) = &mut self.input else {
            return Ok(());
        };
        input.write_all(bytes)?;
        Ok(input.flush()?)
    }

    /// Types a character and waits until the board has echoed it, so that none is lost.
    ///
    /// # Errors
    /// It is a control character, or the echo does not come.
    pub fn type_character(&mut self, character: char) -> Result<(), SessionError> {
        if character.is_control() {
            return Err(SessionError::Untypable(character));
        }
        let echo = character.encode_utf8(&mut [0; 4]).to_owned();
        self.send(echo.as_bytes())?;
        self.expect(&echo)
    }

    /// Types a line and ends it.
    ///
    /// # Errors
    /// The line is too long, or its echo does not come.
    pub fn type_line(&mut self, line: &str) -> Result<(), SessionError> {
        if line.len() > LINE_BYTES {
            return Err(SessionError::LineTooLong {
                line: line.to_owned(),
                found: line.len(),
            });
        }
        for character in line.chars() {
            self.type_character(character)?;
        }
        self.send(b"\r")?;
        self.expect("\r\n")
    }

    /// Types a command and gives back what the board answers.
    ///
    /// # Errors
    /// The board refuses it.
    pub fn command(&mut self, line: &str) -> Result<String, SessionError> {
        self.type_line(line)?;
        let answer = self.read_until(PROMPT)?;
        match answer.strip_prefix(BELL) {
            Some(refusal) => Err(SessionError::Refused(refusal.to_owned())),
            None => Ok(answer.replace("\r\n", "\n")),
        }
    }

    /// Gives `line` to the model and gives back what it answers: a class, or a text that ends by itself.
    ///
    /// # Errors
    /// The board refuses it.
    pub fn ask(&mut self, line: &str) -> Result<String, SessionError> {
        self.command(&prompt_line(line))
    }

    /// Has `prompt` continued by `length` characters, which must be the length that is set. Gives each character of prompt
    /// and text to `each` as it comes.
    ///
    /// # Errors
    /// The board refuses the prompt, or the text does not come.
    pub fn generate(
        &mut self,
        prompt: &str,
        length: usize,
        mut each: impl FnMut(char),
    ) -> Result<String, SessionError> {
        self.type_line(&prompt_line(prompt))?;
        // A text may well have a line that looks like the console's prompt: its length alone says where it ends.
        let mut text = String::new();
        for _ in 0..prompt.chars().count() + length {
            let character = self.read_character()?;
            if character == BELL && text.is_empty() {
                return Err(SessionError::Refused(self.read_until(PROMPT)?));
            }
            each(character);
            text.push(character);
        }
        self.expect(PROMPT)?;
        Ok(text)
    }

    /// Reads up to `end`, and gives back what came before it.
    ///
    /// # Errors
    /// It does not come.
    pub fn read_until(&mut self, end: &str) -> Result<String, SessionError> {
        let mut read = Vec::new();
        while !read.ends_with(end.as_bytes()) {
            read.push(self.next_byte(end)?);
        }
        read.truncate(read.len() - end.len());
        Ok(String::from_utf8_lossy(&read).into_owned())
    }

    /// Reads `expected` and nothing else.
    ///
    /// # Errors
    /// Something else comes.
    pub fn expect(&mut self, expected: &str) -> Result<(), SessionError> {
        match self.read_until(expected)?.as_str() {
            "" => Ok(()),
            found => Err(SessionError::Unexpected {
                expected: expected.to_owned(),
                found: found.to_owned(),
            }),
        }
    }

    /// Ends the board and tells how many bytes of its stack have been written to: all that are not zero, as emulated memory
    /// is at the start, and what lies above.
    ///
    /// # Errors
    /// The emulator does not give the memory away.
    pub fn peak_stack(mut self) -> Result<usize, SessionError> {
        let Machine { memory, stack, .. } = &self.machine;
        let (file, length) = (memory.path().to_path_buf(), stack.len());
        let skipped = match self.board.emulator {
            Emulator::Qemu { .. } => {
                let command = format!(
                    "\x01cmemsave {:#x} {length} \"{}\"\n",
                    stack.start,
                    file.display()
                );
                self.send(command.as_bytes())?;
                0
            }
            Emulator::Rp2040js => {
                drop(self.input.take());
                (stack.start - RP2040_RAM) as usize
            }
        };
        let start = Instant::now();
        loop {
            let content = fs::read(&file)?;
            if let Some(stack) = content.get(skipped..skipped + length) {
                let untouched = stack.iter().take_while(|&&byte| byte == 0).count();
                return Ok(length - untouched);
            }
            if start.elapsed() > self.patience {
                return Err(self.silent("its memory"));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Reads a character of a text; CRLF is the newline.
    fn read_character(&mut self) -> Result<char, SessionError> {
        let expected = "a character";
        let mut utf8 = vec![self.next_byte(expected)?];
        if utf8 == b"\r" {
            let after = self.next_byte(expected)?;
            if after == b'\n' {
                return Ok('\n');
            }
            self.waiting.push_front(after);
        }
        loop {
            match std::str::from_utf8(&utf8) {
                Ok(text) => return Ok(text.chars().next().unwrap_or_default()),
                Err(error) if error.error_len().is_none() => utf8.push(self.next_byte(expected)?),
                Err(_) => return Ok(char::REPLACEMENT_CHARACTER),
            }
        }
    }

    fn next_byte(&mut self, expected: &str) -> Result<u8, SessionError> {
        loop {
            if let Some(byte) = self.waiting.pop_front() {
                return Ok(byte);
            }
            match self.output.recv_timeout(self.patience) {
                Ok(bytes) => {
                    self.waiting.extend(&bytes);
                    self.seen.extend(&bytes);
                    let excess = self.seen.len().saturating_sub(400);
                    self.seen.drain(..excess);
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.silent(expected));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SessionError::Ended {
                        expected: expected.to_owned(),
                        seen: self.last_words(),
                    });
                }
            }
        }
    }

    fn silent(&self, expected: &str) -> SessionError {
        SessionError::Silent {
            seconds: self.patience.as_secs(),
            expected: expected.to_owned(),
            seen: self.last_words(),
        }
    }

    fn last_words(&self) -> String {
        String::from_utf8_lossy(&Vec::from(self.seen.clone())).into_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
