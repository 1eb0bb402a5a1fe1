//! Measures training steps: `throughput CELL HIDDEN LAYERS BATCH SEQUENCE THREADS STEPS`, on random characters out of 65.
//!
//! Prints a line with the characters per second, mean and best step.

use std::time::Instant;

use trainer::data::tokenizer::TokenIds;
use trainer::training::{settings::TrainSettings, trainer::Trainer};

fn main() {
    let mut args = std::env::args().skip(1);
    let cell = args.next().unwrap_or_default();
    let numbers: Vec<usize> = args.map(|a| a.parse().expect("a whole number")).collect();
    let [hidden, layers, batch, sequence, threads, steps] = numbers[..] else {
        panic!("expected CELL HIDDEN LAYERS BATCH SEQUENCE THREADS STEPS");
    };
    let settings = TrainSettings {
        cell: cell.parse().expect("a cell"),
        layers,
        batch,
        sequence,
        threads,
        dropout: 0.0,
        average: 0.0,
        ..TrainSettings::for_units(hidden, 1_000_000)
    };
    let text: Vec<u16> = (0..1_000_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 7) as u16 % 65)
        .collect();
    let text = TokenIds::from(text);
    let mut trainer = Trainer::new(&settings, 65, text.len(), None, None);
    let mut times = Vec::new();
    for _ in 0..steps + 2 {
        let start = Instant::now();
        trainer.step(&text).expect("a step");
        times.push(start.elapsed().as_secs_f64());
    }
    // The first steps touch fresh memory.
    let times = &times[2..];
    let characters = (batch * sequence) as f64;
    let mean = characters * steps as f64 / times.iter().sum::<f64>();
    let best = characters / times.iter().copied().fold(f64::INFINITY, f64::min);
    println!("pipsqueak {cell} H{hidden}: mean {mean:.0} best {best:.0} characters/s");
}
