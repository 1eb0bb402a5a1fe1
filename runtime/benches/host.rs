//! What a token costs on this machine, item by item: what `firmware/bench` counts on emulated cores, and a
//! character of 256 units.
//!
//! `make bench` turns the times into rows of `target/bench.json`.

use criterion::{Criterion, criterion_group, criterion_main};
use pipsqueak::{Cell, Generator, Image, Layer, Sampler, SamplingParams, State, encode};
use pipsqueak_kernels::kernel::{Operand, ROWS, grouped_words};
use rand_core::Rng;
use std::hint::black_box;

fn matvec(criterion: &mut Criterion) {
    for (rows, columns) in [(384, 128), (768, 256), (1536, 512)] {
        let mut rng = rand_pcg::Pcg32::new(1, 1);
        let weights: Vec<u32> = (0..rows * columns / 4).map(|_| rng.next_u32()).collect();
        let pairs: Vec<u32> = (0..columns / 2).map(|_| rng.next_u32()).collect();
        let x: &[i16] = bytemuck::cast_slice(&pairs);
        let mut out = vec![[0; ROWS]; rows / ROWS];
        criterion.bench_function(&format!("matvec_{rows}x{columns}"), |bencher| {
            bencher.iter(|| Operand::new(black_box(x)).products(&weights, black_box(&mut out)));
        });
        let grouped = &weights[..rows / ROWS * grouped_words(columns)];
        criterion.bench_function(&format!("matvec_{rows}x{columns}_4bit"), |bencher| {
            bencher.iter(|| Operand::new(black_box(x)).add_grouped(grouped, black_box(&mut out)));
        });
    }
}

fn image(hidden: u16) -> Vec<u32> {
    let cell = Cell::GruResetAfter;
    let parts = encode::Parts::random(u64::from(hidden), 64, 0, &[Layer::new(cell, hidden)]);
    encode::encode(&parts).expect("random parts can be encoded")
}

fn token(criterion: &mut Criterion) {
    let settings = SamplingParams::default();
    for hidden in [128, 256] {
        let words = image(hidden);
        let image = Image::parse(encode::bytes(&words)).expect("what was encoded can be parsed");
        let mut workspace = vec![0; image.workspace_len()];
        let mut state = State::new(&image, &mut workspace).expect("the workspace is large enough");
        criterion.bench_function(&format!("gru_step_{hidden}"), |bencher| {
            bencher.iter(|| state.step(black_box(12)));
        });
        if hidden == 128 {
            criterion.bench_function("logits_64x128", |bencher| {
                bencher.iter(|| black_box(state.logits().len()));
            });
            let sampler = Sampler::new(settings.temperature, settings.top_k);
            let (logits, bits, mut rng) = (state.logits(), image.logit_bits(), settings.rng());
            criterion.bench_function("draw_64", |bencher| {
                bencher.iter(|| sampler.sample(black_box(logits), bits, &mut rng));
            });
        }
        let mut generator = Generator::new(&image, &mut workspace, settings)
            .expect("the workspace is large enough");
        criterion.bench_function(&format!("whole_character_{hidden}"), |bencher| {
            bencher.iter(|| black_box(generator.next()));
        });
    }
}

criterion_group!(benches, matvec, token);
criterion_main!(benches);
