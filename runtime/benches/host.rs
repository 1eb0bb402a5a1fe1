//! What a token costs on this machine, item by item: what `firmware/bench` counts on emulated cores, and a
//! character of 256 units.
//!
//! `make bench` turns the times into rows of `target/bench.json`.

use criterion::{Criterion, criterion_group, criterion_main};
use pipsqueak::{Cell, Generator, Image, Layer, Sampler, Settings, State, encode};
use pipsqueak_kernels::dispatch::{gemv_int4, gemv_int8};
use pipsqueak_kernels::packed::{I16x4, PANEL_ROWS, PackedActivations, WeightFormat};
use rand_core::Rng;
use std::hint::black_box;

fn matvec(criterion: &mut Criterion) {
    for (rows, columns) in [(384, 128), (768, 256), (1536, 512)] {
        let mut rng = rand_pcg::Pcg32::new(1, 1);
        let weights: Vec<u32> = (0..rows * columns / 4).map(|_| rng.next_u32()).collect();
        let mut element = |_| rng.next_u32() as i16;
        let x: Vec<I16x4> = (0..columns / 4)
            .map(|_| I16x4(std::array::from_fn(&mut element)))
            .collect();
        let mut out = vec![[0; PANEL_ROWS]; rows / PANEL_ROWS];
        criterion.bench_function(&format!("matvec_{rows}x{columns}"), |bencher| {
            bencher.iter(|| {
                let x = PackedActivations::new(black_box(&x));
                gemv_int8(&weights, &x, black_box(&mut out))
            });
        });
        let int4 = &weights[..rows / PANEL_ROWS * WeightFormat::Int4.panel_len(columns)];
        criterion.bench_function(&format!("matvec_{rows}x{columns}_4bit"), |bencher| {
            bencher.iter(|| {
                let x = PackedActivations::new(black_box(&x));
                gemv_int4(int4, &x, black_box(&mut out))
            });
        });
    }
}

fn image(hidden: u16) -> Vec<u32> {
    let cell = Cell::GruResetAfter;
    let parts = encode::Parts::random(u64::from(hidden), 64, 0, &[Layer::new(cell, hidden)]);
    encode::encode(&parts).expect("random parts can be encoded")
}

fn token(criterion: &mut Criterion) {
    let settings = Settings::default();
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
                bencher.iter(|| sampler.draw(black_box(logits), bits, &mut rng));
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
