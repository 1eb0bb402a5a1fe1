//! Trained networks that read data and generate text, for the soft targets of a student.

use rand_core::Rng;

use super::distill_error::DistillError;
use super::model_config::ModelConfig;
use super::network::{Batch, Sequences, TrainableNetwork};
use super::stack::DropoutRates;
use super::to_network::{Vocabularies, from_network};
use super::trainer::{in_parallel, reset_rows};
use crate::network::Network;
use crate::nn::random::{self, Purpose};
use crate::nn::simd::Float;

/// Rows that a teacher reads side by side on one thread, whatever the number of threads.
pub(super) const ROWS: usize = 64;
/// Shards of so many rows, at most.
const SHARDS: usize = 4;
/// Tokens that are read at a time.
const SEQ_LEN: usize = 64;
/// Tokens that are read before the probabilities count.
const WARM_UP: usize = 256;
/// A probability of 1.
pub(super) const ONE: f32 = u16::MAX as f32;

/// A teacher.
pub(super) struct Teacher {
    config: ModelConfig,
    parameters: Vec<f32>,
}

/// A teacher at work on one thread.
pub(super) struct Reader<'t> {
    teacher: &'t Teacher,
    network: TrainableNetwork,
    state: Vec<f32>,
}

pub(super) fn readers(teachers: &[Teacher]) -> Vec<Reader<'_>> {
    let reader = |teacher| Reader::new(teacher);
    teachers.iter().map(reader).collect()
}

impl<'t> Reader<'t> {
    fn new(teacher: &'t Teacher) -> Self {
        let network = TrainableNetwork::new(teacher.config.clone(), DropoutRates::default());
        Self {
            teacher,
            network,
            state: Vec::new(),
        }
    }
}

pub(super) fn teachers(
    teachers: &[(String, Network)],
    expected: &Vocabularies,
) -> Result<Vec<Teacher>, DistillError> {
    let teacher = |(name, network): &(String, Network)| {
        let refused = |found| DistillError::Teacher {
            teacher: name.clone(),
            found,
        };
        let (config, parameters, vocabularies) = from_network(network).map_err(refused)?;
        match vocabularies.difference(expected) {
            Some(found) => Err(refused(found)),
            None => Ok(Teacher { config, parameters }),
        }
    };
    teachers.iter().map(teacher).collect()
}

/// Counts what several threads have done.
#[derive(Default)]
pub(super) struct Counter(std::sync::atomic::AtomicU64);

impl Counter {
    pub fn next(&self) -> u64 {
        1 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

/// The mean of the teachers' probabilities of the batch's predictions, `[T][B][C]`; padding has some too. With `carries`, each
/// teacher's states carry over from the batch before.
pub(super) fn mean(readers: &mut [Reader], batch: &Batch, carries: bool, out: &mut Vec<f32>) {
    out.clear();
    let part = 1.0 / readers.len() as f32;
    for Reader {
        teacher,
        network,
        state,
    } in readers
    {
        let state = carries.then_some(state);
        let logits = network.logits(&teacher.parameters, batch, state);
        let (outputs, rows) = (logits.features(), logits.batch());
        out.resize(logits.steps() * rows * outputs, 0.0);
        let mut row = vec![0.0; outputs];
        for (place, out) in out.chunks_exact_mut(outputs).enumerate() {
            let (slot, row_of) = (1 + place / rows, place % rows);
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

pub(super) fn fixed(probability: f32) -> u16 {
    (probability * ONE).round() as u16
}

fn tokens_batch(tokens: Vec<u16>, rows: usize) -> Batch<'static> {
    Batch {
        inputs: Sequences {
            lengths: vec![tokens.len() / rows; rows],
            tokens,
        },
        ..Batch::default()
    }
}

/// The teachers read the text, in stretches side by side.
pub(super) fn read_text(
    teachers: &[Teacher],
    text: &[u16],
    threads: usize,
    probabilities: &mut [u16],
    progress: &(dyn Fn(f64) + Sync),
) {
    let outputs = teachers[0].config.output_size;
    // As many stretches as are worth it.
    let all_rows = (text.len() / (4 * SEQ_LEN)).clamp(1, ROWS * SHARDS);
    let stretch = text.len().div_ceil(all_rows);
    let blocks = (stretch + WARM_UP).div_ceil(SEQ_LEN);
    let shards = all_rows.div_ceil(ROWS);
    let done = Counter::default();
    let work = |_: &mut (), (shard, own): (usize, &mut [u16])| {
        let stretches = shard * ROWS..((shard + 1) * ROWS).min(all_rows);
        let rows = stretches.len();
        let base = stretches.start * stretch;
        let mut readers = readers(teachers);
        let mut means = Vec::new();
        for block in 0..blocks {
            if stretches.start == 0 && block * SEQ_LEN == WARM_UP {
                // Nothing comes before the text.
                let readers = readers.iter_mut();
                readers.for_each(|reader| reset_rows(&mut reader.state, rows, &[0]));
            }
            // Each row begins a while before its stretch; what is beyond the text is read without use.
            let place = |t: usize, row: usize| -> Option<usize> {
                let at = (stretches.start + row) * stretch + block * SEQ_LEN + t;
                at.checked_sub(WARM_UP)
            };
            let token = |t: usize, row: usize| {
                let token = place(t, row).and_then(|at| text.get(at));
                token.copied().unwrap_or(text[0])
            };
            let tokens = (0..SEQ_LEN).flat_map(|t| (0..rows).map(move |row| (t, row)));
            let tokens = tokens.map(|(t, row)| token(t, row)).collect();
            mean(&mut readers, &tokens_batch(tokens, rows), true, &mut means);
            for (slot, means) in means.chunks_exact(outputs).enumerate() {
                let (t, row) = (slot / rows, slot % rows);
                let ahead = block * SEQ_LEN + t;
                let is_own = (WARM_UP..WARM_UP + stretch).contains(&ahead);
                let Some(at) = place(t, row).filter(|at| is_own && *at < text.len()) else {
                    continue;
                };
                let to = &mut own[(at - base) * outputs..][..outputs];
                to.iter_mut().zip(means).for_each(|(to, p)| *to = fixed(*p));
            }
            progress(done.next() as f64 / (blocks * shards) as f64);
        }
    };
    let items = probabilities
        .chunks_mut(ROWS * stretch * outputs)
        .enumerate();
    in_parallel(&mut vec![(); threads.max(1)], items, work);
}

/// The teachers continue from random places of the text: about `count` tokens, and the probabilities after each.
pub(super) fn generate(
    teachers: &[Teacher],
    text: &[u16],
    count: usize,
    seed: u64,
    threads: usize,
    progress: &(dyn Fn(f64) + Sync),
) -> (Vec<u16>, Vec<u16>) {
    if count == 0 {
        return (Vec::new(), Vec::new());
    }
    let outputs = teachers[0].config.output_size;
    let length = count.div_ceil(ROWS * SHARDS);
    let done = Counter::default();
    let work = |_: &mut (), (shard, result): (usize, &mut (Vec<u16>, Vec<u16>))| {
        let mut random = random::stream(seed, Purpose::Synthetic, 0, shard as u64);
        let starts: Vec<usize> = (0..ROWS)
            .map(|_| random::below(&mut random, text.len()))
            .collect();
        let mut readers = readers(teachers);
        let mut generated = vec![Vec::new(); ROWS];
        let mut probabilities = vec![Vec::new(); ROWS];
        let mut inputs = vec![0; ROWS];
        let mut means = Vec::new();
        for step in 0..WARM_UP + length {
            for (row, input) in inputs.iter_mut().enumerate() {
                if step < WARM_UP {
                    *input = text[(starts[row] + step) % text.len()];
                }
            }
            mean(
                &mut readers,
                &tokens_batch(inputs.clone(), ROWS),
                true,
                &mut means,
            );
            for (row, means) in means.chunks_exact(outputs).enumerate() {
                if step >= WARM_UP {
                    generated[row].push(inputs[row]);
                    probabilities[row].extend(means.iter().map(|p| fixed(*p)));
                }
                if step + 1 >= WARM_UP {
                    let mut left = (random.next_u32() >> 8) as f32 / (1 << 24) as f32;
                    let sampled = means.iter().position(|p| {
                        left -= p;
                        left < 0.0
                    });
                    inputs[row] = sampled.unwrap_or(outputs - 1) as u16;
                }
            }
            progress(done.next() as f64 / ((WARM_UP + length) * SHARDS) as f64);
        }
        *result = (generated.concat(), probabilities.concat());
    };
    let mut results = vec![(Vec::new(), Vec::new()); SHARDS];
    let items = results.iter_mut().enumerate();
    in_parallel(&mut vec![(); threads.max(1)], items, work);
    let (generated, probabilities): (Vec<_>, Vec<_>) = results.into_iter().unzip();
    (generated.concat(), probabilities.concat())
}
