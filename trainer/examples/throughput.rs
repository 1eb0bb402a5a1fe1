//! Measures training steps: `throughput CELL HIDDEN LAYERS BATCH SEQUENCE THREADS STEPS EMBEDDING`, on random characters out of 65.
//! EMBEDDING is the size of the embedding; 0: none, the first layer has input weights for each character.
//!
//! Prints a line with the characters per second, mean and best step.

use std::time::Instant;

use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::data::tokenizer::Tokenizer;
use trainer::training::Data;
use trainer::training::presets;
use trainer::training::trainer::Trainer;

fn main() {
    let mut args = std::env::args().skip(1);
    let cell = args.next().unwrap_or_default();
    let numbers: Vec<usize> = args.map(|a| a.parse().expect("a whole number")).collect();
    let [hidden, layers, batch, sequence, threads, steps, embedding] = numbers[..] else {
        panic!("expected CELL HIDDEN LAYERS BATCH SEQUENCE THREADS STEPS EMBEDDING");
    };
    let mut config = presets::text(Tokenizer::CHAR, Some(hidden), 1_000_000);
    config.data.split = "100/0/0".parse().expect("a split");
    config.model.cell = cell.parse().expect("a cell");
    (config.model.layers, config.model.dropout) = (layers, 0.0);
    (config.optimizer.batch_size, config.optimizer.seq_len) = (batch, sequence);
    config.model.embedding_dim = embedding;
    config.optimizer.ema_decay = 0.0;
    let text: String = (0..1_000_000u32)
        .map(|i| char::from(b'0' + ((i.wrapping_mul(2_654_435_761) >> 7) % 65) as u8))
        .collect();
    let corpus = Corpus::from_bytes("text.txt", text.into_bytes(), CorpusOptions::default());
    let corpus = corpus.expect("a text");
    let data = Data::new(&corpus, &config, None, threads).expect("good settings");
    let mut trainer = Trainer::new(
        &config,
        data.model(&config),
        data.dataset(&config, None),
        None,
        threads,
    );
    let mut times = Vec::new();
    for _ in 0..steps + 2 {
        let start = Instant::now();
        trainer.step().expect("a step");
        times.push(start.elapsed().as_secs_f64());
    }
    // The first steps touch fresh memory.
    let times = &times[2..];
    let characters = (batch * sequence) as f64;
    let mean = characters * steps as f64 / times.iter().sum::<f64>();
    let best = characters / times.iter().copied().fold(f64::INFINITY, f64::min);
    println!("pipsqueak {cell} H{hidden}: mean {mean:.0} best {best:.0} characters/s");
}
