//! A session on an emulated board's console, over its serial port.

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
    BoardSpec, Emulator,
    emulator::{EmulatorError, EmulatorProcess, RP2040_RAM},
};

/// The console's prompt for a line.
const PROMPT: &str = "\r\n> ";
/// The first character of the console's refusals.
const BELL: char = '\x07';
/// The bytes that a board's stack is filled with before its program runs.
const STACK_PAINT: u8 = 0xcc;

/// Why a session failed.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The board cannot be emulated.
    #[error(transparent)]
    Emulator(#[from] EmulatorError),
    /// The board sent nothing.
    #[error("waited {seconds} s for {expected:?}; recent output: {recent_output:?}")]
    Timeout {
        /// How long.
        seconds: u64,
        /// The expected output.
        expected: String,
        /// The end of the output so far.
        recent_output: String,
    },
    /// The emulator exited.
    #[error("the emulator exited before {expected:?}; recent output: {recent_output:?}")]
    Exited {
        /// The expected output.
        expected: String,
        /// The end of the output so far.
        recent_output: String,
    },
    /// The line is longer than the console accepts.
    #[error("the console's line is full at {0:?}")]
    LineFull(char),
    /// The console accepts no such character.
    #[error("the console accepts no control characters, found {0:?}")]
    ControlCharacter(char),
    /// The board sent other output.
    #[error("expected {expected:?}, found {found:?} before it")]
    Unexpected {
        /// The expected output.
        expected: String,
        /// The output before it.
        found: String,
    },
    /// The console refused a line.
    #[error("the board refused: {0}")]
    Refused(String),
    /// The emulator's standard input or output failed.
    #[error("the emulator's serial port: {0}")]
    Port(#[from] io::Error),
}

/// A running emulated board. Dropping the session ends the emulator.
pub struct Session {
    child: Child,
    /// `None` once it has been closed.
    input: Option<ChildStdin>,
    output: Receiver<Vec<u8>>,
    /// Received and not read yet.
    waiting: VecDeque<u8>,
    /// The end of the output, for messages.
    recent: VecDeque<u8>,
    /// How long the board may send nothing.
    timeout: Duration,
    board: &'static BoardSpec,
    process: EmulatorProcess,
}

/// The console's line that passes `prompt` to the model, even if it starts with a command.
fn prompt_line(prompt: &str) -> String {
    let escaped = prompt.replace('\\', "\\\\").replace('\n', "\\n");
    format!("prompt {escaped}")
}

impl Session {
    /// Starts the board and waits for its console. Returns the output up to the first prompt as well.
    ///
    /// # Errors
    /// The board cannot be emulated, or its console does not come up.
    pub fn start(
        board: &'static BoardSpec,
        firmware: &Path,
        model: Option<&Path>,
    ) -> Result<(Self, String), SessionError> {
        let mut session = Self::power_on(board, firmware, model)?;
        let banner = session.read_until(PROMPT)?;
        Ok((session, banner))
    }

    /// Starts the board.
    ///
    /// # Errors
    /// The board cannot be emulated.
    pub fn power_on(
        board: &'static BoardSpec,
        firmware: &Path,
        model: Option<&Path>,
    ) -> Result<Self, SessionError> {
        let mut process = EmulatorProcess::new(board, firmware, model)?;
        let mut child = process.spawn()?;
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
        Ok(Self {
            child,
            input: Some(input),
            output,
            waiting: VecDeque::new(),
            recent: VecDeque::new(),
            timeout: Duration::from_secs(60),
            board,
            process,
        })
    }

    /// Sends bytes without waiting for an echo: as fast as the emulator takes them, or, if it emulates the baud rate, at
    /// that rate.
    ///
    /// # Errors
    /// The emulator has exited.
    pub fn send(&mut self, bytes: &[u8]) -> Result<(), SessionError> {
        let Some(input) = &mut self.input else {
            return Ok(());
        };
        input.write_all(bytes)?;
        Ok(input.flush()?)
    }

    /// Types a character and waits for its echo.
    ///
    /// # Errors
    /// The character is a control character, the console's line is full, or the echo does not come.
    pub fn type_character(&mut self, character: char) -> Result<(), SessionError> {
        if character.is_control() {
            return Err(SessionError::ControlCharacter(character));
        }
        let echo = character.encode_utf8(&mut [0; 4]).to_owned();
        self.send(echo.as_bytes())?;
        match self.read_character()? {
            BELL => Err(SessionError::LineFull(character)),
            found if found == character => Ok(()),
            found => Err(SessionError::Unexpected {
                expected: echo,
                found: found.into(),
            }),
        }
    }

    /// Types a line and ends it.
    ///
    /// # Errors
    /// The line is too long, or its echo does not come.
    pub fn type_line(&mut self, line: &str) -> Result<(), SessionError> {
        for character in line.chars() {
            self.type_character(character)?;
        }
        self.send(b"\r")?;
        self.expect("\r\n")
    }

    /// Types a command and returns the board's answer.
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

    /// Types `line` as input for the model and returns the answer: classes, or a text that ends with EOS.
    ///
    /// # Errors
    /// The board refuses it.
    pub fn query(&mut self, line: &str) -> Result<String, SessionError> {
        self.command(&prompt_line(line))
    }

    /// Has `prompt` continued by `length` characters, which must be the console's setting. Calls `each` for each character of
    /// the prompt and the text as it arrives.
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
        // A text may contain what looks like the console's prompt: only its length says where it ends.
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

    /// Reads up to `end`, and returns the output before it.
    ///
    /// # Errors
    /// `end` does not come.
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
    /// Other output comes.
    pub fn expect(&mut self, expected: &str) -> Result<(), SessionError> {
        match self.read_until(expected)?.as_str() {
            "" => Ok(()),
            found => Err(SessionError::Unexpected {
                expected: expected.to_owned(),
                found: found.to_owned(),
            }),
        }
    }

    /// Ends the board and returns its peak stack in bytes: all from the lowest byte that is not as it was painted at the
    /// start.
    ///
    /// # Errors
    /// The emulator does not write the memory.
    pub fn peak_stack(mut self) -> Result<usize, SessionError> {
        let EmulatorProcess { memory, stack, .. } = &self.process;
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
                let painted = stack.iter().take_while(|&&byte| byte == STACK_PAINT);
                return Ok(length - painted.count());
            }
            if start.elapsed() > self.timeout {
                return Err(self.timeout_error("its memory"));
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
            match self.output.recv_timeout(self.timeout) {
                Ok(bytes) => {
                    self.waiting.extend(&bytes);
                    self.recent.extend(&bytes);
                    let excess = self.recent.len().saturating_sub(400);
                    self.recent.drain(..excess);
                }
                Err(RecvTimeoutError::Timeout) => {
                    return Err(self.timeout_error(expected));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(SessionError::Exited {
                        expected: expected.to_owned(),
                        recent_output: self.recent_output(),
                    });
                }
            }
        }
    }

    fn timeout_error(&self, expected: &str) -> SessionError {
        SessionError::Timeout {
            seconds: self.timeout.as_secs(),
            expected: expected.to_owned(),
            recent_output: self.recent_output(),
        }
    }

    fn recent_output(&self) -> String {
        String::from_utf8_lossy(&Vec::from(self.recent.clone())).into_owned()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have exited already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
