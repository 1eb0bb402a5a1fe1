//! What teachers say of a text, for students to learn beside the text itself (distillation, Hinton et al. 2015): the mean of
//! the teachers' probabilities of each next token, over the text and over more text which they make up, so that a student sees
//! more than there is.

use std::path::{Path, PathBuf};

use rand_core::Rng;
use sha2::{Digest, Sha256};

use super::model::{Model, Shape};
use crate::data::corpus::hex;
use crate::data::vocab::Vocabulary;
use crate::fs::{self, OutputError};
use crate::network::Network;
use crate::nn::random::{self, Purpose};
use crate::nn::simd::Float;

/// What the file begins with; the last byte is the version.
const MAGIC: [u8; 8] = *b"PIPLSSN\x01";
/// Rows that teachers read side by side.
const ROWS: usize = 64;
/// Tokens that they read at a time.
const SEQUENCE: usize = 64;
/// Tokens that they read before their word counts.
const WARM_UP: usize = 256;
/// A probability of 1.
const ONE: f32 = u16::MAX as f32;

/// What teachers say.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Lessons {
    /// SHA-256 of the text that they read.
    pub corpus: String,
    /// Different tokens, V.
    tokens: usize,
    /// Tokens of the text.
    read: usize,
    /// What they made up.
    imagined: Vec<u16>,
    /// Of the token after each of the text and then of what was made up, the probabilities of all in 1/65,535: `[..][V]`.
    probabilities: Vec<u16>,
}

/// Why there are no lessons.
#[derive(Debug, thiserror::Error)]
pub enum LessonsError {
    /// Teachers cannot teach this text.
    #[error("{teacher}: {found}; expected a language model with the text's own vocabulary")]
    Teacher {
        /// The file.
        teacher: String,
        /// What stands in the way.
        found: String,
    },
    /// The file cannot be read.
    #[error("cannot read {}: {cause}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        cause: std::io::Error,
    },
    /// The file is not what was written.
    #[error("{} holds no lessons of this version, or is damaged: make them anew with `trainer teach`", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// They are of another text.
    #[error(
        "the lessons are of a text with SHA-256 {found} and {tokens} tokens for training: expected {expected} and {train}"
    )]
    Other {
        /// SHA-256 of the text of the lessons.
        found: String,
        /// Its tokens.
        tokens: usize,
        /// SHA-256 of the text.
        expected: String,
        /// Its tokens.
        train: usize,
    },
    /// They would be too large.
    #[error(
        "the lessons would take {needed} GB, expected at most {most}: take a shorter text, or train without teachers"
    )]
    TooLarge {
        /// What they would take.
        needed: u64,
        /// What they may take.
        most: u64,
    },
    /// The file cannot be written.
    #[error(transparent)]
    Output(#[from] OutputError),
}

/// The most that lessons may take.
const MOST_GB: u64 = 8;

/// A teacher: its shape and weights.
struct Teacher {
    shape: Shape,
    parameters: Vec<f32>,
}

impl Lessons {
    /// What `teachers`, named as errors should name them, say of the training part `text` of a corpus with the hash `corpus`,
    /// and about `imagine` tokens that they make up. `seen` is told of each part that is done, of 1000.
    ///
    /// # Errors
    /// If a teacher is no language model with the text's vocabulary, or there would be too much.
    ///
    /// # Panics
    /// If the text has fewer than 2 tokens, or no teacher is given.
    #[allow(clippy::too_many_arguments)]
    pub fn new(
        teachers: &[(String, Network)],
        vocabulary: &Vocabulary,
        (corpus, text): (&str, &[u16]),
        imagine: usize,
        seed: u64,
        threads: usize,
        seen: &(dyn Fn(u64) + Sync),
    ) -> Result<Self, LessonsError> {
        assert!(!teachers.is_empty(), "no teacher");
        let tokens = vocabulary.len();
        let needed = (2 * tokens as u64 * (text.len() + imagine) as u64) >> 30;
        if needed > MOST_GB {
            let most = MOST_GB;
            return Err(LessonsError::TooLarge { needed, most });
        }
        let teachers = teachers.iter().map(|(name, network)| {
            let refused = |found| LessonsError::Teacher {
                teacher: name.clone(),
                found,
            };
            let (shape, parameters) = Shape::of(network).map_err(refused)?;
            if network.vocabulary() != vocabulary {
                return Err(refused("it has another vocabulary".into()));
            }
            Ok(Teacher { shape, parameters })
        });
        let teachers = teachers.collect::<Result<Vec<_>, _>>()?;
        let mut probabilities = vec![0; tokens * text.len()];
        // Reading is a matter of large products, making up one of small ones.
        let parts = [text.len() as u64, 2 * imagine as u64];
        let share = |part: usize, done: f64| {
            let before: u64 = parts[..part].iter().sum();
            let all = parts.iter().sum::<u64>().max(1);
            seen((1e3 * (before as f64 + done * parts[part] as f64) / all as f64) as u64);
        };
        read(&teachers, text, threads, &mut probabilities, &|done| {
            share(0, done)
        });
        let (imagined, more) = make_up(&teachers, text, imagine, seed, threads, &|done| {
            share(1, done)
        });
        probabilities.extend(more);
        Ok(Self {
            corpus: corpus.into(),
            tokens,
            read: text.len(),
            imagined,
            probabilities,
        })
    }

    /// The text that was made up.
    pub fn imagined(&self) -> &[u16] {
        &self.imagined
    }

    /// The probabilities of what comes after token `at` of the text, in 1/65,535.
    pub fn of_text(&self, at: usize) -> &[u16] {
        &self.probabilities[at * self.tokens..][..self.tokens]
    }

    /// The same of the text that was made up.
    pub fn of_imagined(&self, at: usize) -> &[u16] {
        self.of_text(self.read + at)
    }

    /// The mean loss of the teachers on the text, in nats per token: a low one means that they know it by heart.
    pub fn loss(&self, text: &[u16]) -> f64 {
        let nats = |(at, next): (usize, &u16)| {
            let p = f64::from(self.of_text(at)[usize::from(*next)]) / f64::from(ONE);
            -p.max(0.5 / f64::from(ONE)).ln()
        };
        let losses = text[1..].iter().enumerate().map(nats);
        losses.sum::<f64>() / (text.len() - 1) as f64
    }

    /// That they are of this text.
    ///
    /// # Errors
    /// Says in what they differ.
    pub fn check(&self, corpus: &str, tokens: usize, train: usize) -> Result<(), LessonsError> {
        if (&*self.corpus, self.tokens, self.read) == (corpus, tokens, train) {
            return Ok(());
        }
        Err(LessonsError::Other {
            found: self.corpus.clone(),
            tokens: self.read,
            expected: corpus.into(),
            train,
        })
    }

    /// Writes the file, in full or not at all; gives its SHA-256.
    ///
    /// # Errors
    /// If it cannot be written.
    ///
    /// # Panics
    /// Never: every field can be encoded.
    pub fn write(&self, path: &Path) -> Result<String, LessonsError> {
        let fields = postcard::to_stdvec(self).expect("postcard encodes every field");
        let hash = Sha256::digest(&fields);
        fs::write_atomically(path, &[&MAGIC[..], &hash[..], &fields].concat())?;
        Ok(hex(&hash))
    }

    /// Reads the file; gives its SHA-256 too.
    ///
    /// # Errors
    /// If it cannot be read, is of another version, or is damaged.
    pub fn read(path: &Path) -> Result<(Self, String), LessonsError> {
        let bytes = std::fs::read(path).map_err(|cause| LessonsError::Io {
            path: path.into(),
            cause,
        })?;
        let parts = bytes
            .strip_prefix(&MAGIC)
            .and_then(|rest| rest.split_at_checked(32));
        let fields = parts.filter(|(hash, fields)| *hash == &Sha256::digest(fields)[..]);
        fields
            .and_then(|(hash, fields)| Some((postcard::from_bytes(fields).ok()?, hex(hash))))
            .ok_or_else(|| LessonsError::Damaged { path: path.into() })
    }
}

/// One model for each teacher, over so many rows.
fn models(teachers: &[Teacher], steps: usize, rows: usize) -> Vec<Model> {
    let model = |teacher: &Teacher| Model::new(teacher.shape.clone(), steps, rows, 0.0);
    teachers.iter().map(model).collect()
}

/// The mean of the teachers' probabilities after `inputs`, `[steps][rows][V]`.
fn mean(teachers: &[Teacher], models: &mut [Model], inputs: &[u16], out: &mut Vec<f32>) {
    let tokens = teachers[0].shape.stack.tokens;
    out.clear();
    out.resize(inputs.len() * tokens, 0.0);
    let part = 1.0 / teachers.len() as f32;
    let mut row = vec![0.0; tokens];
    for (teacher, model) in teachers.iter().zip(models) {
        let logits = model.logits(&teacher.parameters, inputs);
        for (place, out) in out.chunks_exact_mut(tokens).enumerate() {
            let (slot, row_of) = (1 + place / logits.batch(), place % logits.batch());
            for (token, logit) in row.iter_mut().enumerate() {
                *logit = logits.get(token, slot, row_of);
            }
            let max = row.iter().fold(f32::MIN, |a, &b| a.max(b));
            row.iter_mut()
                .for_each(|logit| *logit = Float::PLAIN.exp(*logit - max));
            let scale = part / row.iter().sum::<f32>();
            out.iter_mut().zip(&row).for_each(|(p, e)| *p += scale * e);
        }
    }
}

fn fixed(probability: f32) -> u16 {
    (probability * ONE).round() as u16
}

/// Lets the teachers read the text, each thread a stretch of it, and notes what they say after each token.
fn read(
    teachers: &[Teacher],
    text: &[u16],
    threads: usize,
    probabilities: &mut [u16],
    seen: &(dyn Fn(f64) + Sync),
) {
    let tokens = teachers[0].shape.stack.tokens;
    // As many rows as there are stretches that are worth it.
    let rows = (text.len() / (4 * SEQUENCE)).clamp(1, ROWS * threads);
    let stretch = text.len().div_ceil(rows);
    let threads = threads.min(rows);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let done = &done;
    std::thread::scope(|scope| {
        let mut rest = probabilities;
        let mut first = 0;
        for thread in 0..threads {
            let last = (thread + 1) * rows / threads;
            let here = (last * stretch).min(text.len()) - (first * stretch).min(text.len());
            let (own, others) = std::mem::take(&mut rest).split_at_mut(here * tokens);
            rest = others;
            let stretches = first..last;
            first = last;
            scope.spawn(move || {
                let rows = stretches.len();
                let base = stretches.start * stretch;
                let mut models = models(teachers, SEQUENCE, rows);
                let (mut inputs, mut means) = (Vec::new(), Vec::new());
                // Each row begins a while before its stretch.
                let blocks = (stretch + WARM_UP).div_ceil(SEQUENCE);
                for block in 0..blocks {
                    if stretches.start == 0 && block * SEQUENCE == WARM_UP {
                        // Nothing comes before the text.
                        models.iter_mut().for_each(|model| model.reset(0..1));
                    }
                    inputs.clear();
                    let place = |t: usize, row: usize| -> Option<usize> {
                        let at = (stretches.start + row) * stretch + block * SEQUENCE + t;
                        at.checked_sub(WARM_UP)
                    };
                    for t in 0..SEQUENCE {
                        // What is beyond the text is read for nothing.
                        inputs.extend((0..rows).map(|row| {
                            place(t, row)
                                .and_then(|at| text.get(at))
                                .copied()
                                .unwrap_or(text[0])
                        }));
                    }
                    mean(teachers, &mut models, &inputs, &mut means);
                    for (slot, means) in means.chunks_exact(tokens).enumerate() {
                        let (t, row) = (slot / rows, slot % rows);
                        let ahead = block * SEQUENCE + t;
                        let Some(at) = place(t, row).filter(|at| {
                            ahead >= WARM_UP && ahead < WARM_UP + stretch && *at < text.len()
                        }) else {
                            continue;
                        };
                        let to = &mut own[(at - base) * tokens..][..tokens];
                        to.iter_mut().zip(means).for_each(|(to, p)| *to = fixed(*p));
                    }
                    let all = done.fetch_add(1, std::sync::atomic::Ordering::Relaxed) + 1;
                    seen(all as f64 / (blocks * threads) as f64);
                }
            });
        }
    });
}

/// Lets the teachers go on from places of the text: about `count` tokens and what they say after each.
fn make_up(
    teachers: &[Teacher],
    text: &[u16],
    count: usize,
    seed: u64,
    threads: usize,
    seen: &(dyn Fn(f64) + Sync),
) -> (Vec<u16>, Vec<u16>) {
    if count == 0 {
        return (Vec::new(), Vec::new());
    }
    let tokens = teachers[0].shape.stack.tokens;
    let rows = 2 * ROWS;
    let length = count.div_ceil(rows * threads);
    let done = std::sync::atomic::AtomicUsize::new(0);
    let done = &done;
    let work = |thread: usize| {
        let mut random = random::stream(seed, Purpose::Imagined, 0, thread as u64);
        let starts: Vec<usize> = (0..rows)
            .map(|_| random::below(&mut random, text.len()))
            .collect();
        let mut models = models(teachers, 1, rows);
        let mut made = vec![Vec::new(); rows];
        let mut said = vec![Vec::new(); rows];
        let mut inputs = vec![0; rows];
        let mut means = Vec::new();
        for step in 0..WARM_UP + length {
            for (row, input) in inputs.iter_mut().enumerate() {
                if step < WARM_UP {
                    *input = text[(starts[row] + step) % text.len()];
                }
            }
            mean(teachers, &mut models, &inputs, &mut means);
            for (row, means) in means.chunks_exact(tokens).enumerate() {
                if step >= WARM_UP {
                    made[row].push(inputs[row]);
                    said[row].extend(means.iter().map(|p| fixed(*p)));
                }
                if step + 1 >= WARM_UP {
                    let mut left = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
                    let drawn = means.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    inputs[row] = drawn.unwrap_or(tokens - 1) as u16;
                }
            }
            if step % 16 == 0 {
                let all = done.fetch_add(16, std::sync::atomic::Ordering::Relaxed) + 16;
                seen((all as f64 / ((WARM_UP + length) * threads) as f64).min(1.0));
            }
        }
        (made.concat(), said.concat())
    };
    let work = &work;
    std::thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || work(thread)))
            .collect();
        let (mut made, mut said) = (Vec::new(), Vec::new());
        for thread in all {
            let (tokens, probabilities) = thread.join().expect("a teacher does not panic");
            made.extend(tokens);
            said.extend(probabilities);
        }
        (made, said)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Provenance, cross_entropy};
    use crate::nn::rnn::Kind;
    use crate::training::stack::StackShape;

    fn teacher(vocabulary: &Vocabulary, steps_per_token: usize, seed: u64) -> (String, Network) {
        let shape = Shape {
            stack: StackShape {
                tokens: vocabulary.len(),
                embedding: Some(3),
                hidden: 7,
                cells: vec![Kind::Gru, Kind::Gru],
            },
            tied: false,
            steps_per_token,
        };
        let mut weights = shape.initial(seed);
        weights.iter_mut().for_each(|w| *w *= 3.0);
        let network = shape.network(&weights, vocabulary, Provenance::default());
        (format!("teacher {seed}"), network)
    }

    #[test]
    fn lessons_are_the_mean_of_what_each_teacher_says_by_itself() {
        let vocabulary = Vocabulary::of_characters("abcd").unwrap();
        let teachers = [teacher(&vocabulary, 1, 1), teacher(&vocabulary, 2, 2)];
        let text: Vec<u16> = (0..200).map(|i| (i * i + i / 3) % 4).collect();
        let make = |imagine| {
            let text = ("hash", &text[..]);
            Lessons::new(&teachers, &vocabulary, text, imagine, 5, 2, &|_| ()).unwrap()
        };
        let lessons = make(3000);
        let mut states = teachers.each_ref().map(|(_, network)| network.state());
        for (at, token) in text.iter().enumerate() {
            let mut expected = [0.0; 4];
            for ((_, network), state) in teachers.iter().zip(&mut states) {
                network.step(state, *token);
                let logits = network.logits(state);
                for (token, p) in expected.iter_mut().enumerate() {
                    *p += 0.5 * (-cross_entropy(&logits, token as u16)).exp();
                }
            }
            for (found, expected) in lessons.of_text(at).iter().zip(expected) {
                let found = f64::from(*found) / 65535.0;
                assert!((found - expected).abs() < 2e-5, "{at}: {found}, {expected}");
            }
        }
        assert!(lessons.imagined().len() >= 3000);
        assert!(lessons.imagined().iter().all(|token| *token < 4));
        let all = lessons.imagined().len();
        for at in [0, all / 2, all - 1] {
            let sum: u32 = lessons.of_imagined(at).iter().map(|p| u32::from(*p)).sum();
            assert!(sum.abs_diff(65535) <= 4, "{sum}");
        }
        // What is drawn is as likely as was said.
        let mut expected = 0.0;
        let mut drawn = 0.0;
        for at in 0..all {
            expected += f64::from(lessons.of_imagined(at)[2]) / 65535.0;
            drawn += f64::from(u8::from(lessons.imagined()[at] == 2));
        }
        assert!(
            (expected - drawn).abs() < 5.0 * expected.sqrt(),
            "{expected}, {drawn}"
        );
        assert_eq!(make(3000), lessons, "the same seed");
    }

    #[test]
    fn what_cannot_teach_and_what_is_damaged_is_refused() {
        let vocabulary = Vocabulary::of_characters("abcd").unwrap();
        let other = Vocabulary::of_characters("abce").unwrap();
        let text = ("hash", &[0, 1, 2, 3][..]);
        let refused = |teachers: &[(String, Network)], imagine| {
            let made = Lessons::new(teachers, &vocabulary, text, imagine, 1, 1, &|_| ());
            made.unwrap_err().to_string()
        };
        let error = refused(&[teacher(&vocabulary, 1, 1), teacher(&other, 1, 2)], 0);
        assert!(
            error.contains("teacher 2") && error.contains("vocabulary"),
            "{error}"
        );
        let error = refused(&[teacher(&vocabulary, 1, 1)], 1 << 40);
        assert!(error.contains("GB"), "{error}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lessons.bin");
        let teachers = [teacher(&vocabulary, 1, 1)];
        let lessons = Lessons::new(&teachers, &vocabulary, text, 0, 1, 1, &|_| ()).unwrap();
        let hash = lessons.write(&path).unwrap();
        assert_eq!(Lessons::read(&path).unwrap(), (lessons.clone(), hash));
        assert!(lessons.check("hash", 4, 4).is_ok());
        let error = lessons.check("other", 4, 4).unwrap_err().to_string();
        assert!(error.contains("hash") && error.contains("other"), "{error}");
        let mut bytes = std::fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = Lessons::read(&path).unwrap_err().to_string();
        assert!(error.contains("damaged"), "{error}");
    }
}
