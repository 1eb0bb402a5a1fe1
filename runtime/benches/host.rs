//! What a token costs on this machine, item by item: what `firmware/bench` counts on emulated cores, and a character of
//! 256 units.
//!
//! `make bench` turns the times into rows of `target/bench.json`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use pipsqueak::encode::{ModelParams, as_bytes, encode};
use pipsqueak::{Cell, Generator, Model, RecurrentLayerConfig, Sampler, SamplingParams, Session};
use pipsqueak_kernels::dispatch;
use pipsqueak_kernels::packed::{I16x4, PANEL_ROWS, PackedActivations, WeightFormat};
use rand_core::Rng;
use rand_pcg::Pcg32;

fn matvec(criterion: &mut Criterion) {
    for (rows, columns) in [(384, 128), (768, 256), (1536, 512)] {
        let mut rng = Pcg32::new(1, 1);
        let weights: Vec<u32> = (0..rows * columns / 4).map(|_| rng.next_u32()).collect();
        let x: Vec<I16x4> = (0..columns / 4)
            .map(|_| I16x4(std::array::from_fn(|_| rng.next_u32() as i16)))
            .collect();
        let mut out = vec![[0; PANEL_ROWS]; rows / PANEL_ROWS];
        criterion.bench_function(&format!("matvec_{rows}x{columns}"), |bencher| {
            bencher.iter(|| {
                let x = PackedActivations::new(black_box(&x));
                dispatch::gemv_int8(&weights, &x, black_box(&mut out));
            });
        });
        let weights = &weights[..rows / PANEL_ROWS * WeightFormat::Int4.panel_len(columns)];
        criterion.bench_function(&format!("matvec_{rows}x{columns}_4bit"), |bencher| {
            bencher.iter(|| {
                let x = PackedActivations::new(black_box(&x));
                dispatch::gemv_int4(weights, &x, black_box(&mut out));
            });
        });
    }
}

fn token(criterion: &mut Criterion) {
    let params = SamplingParams::default();
    for hidden in [128, 256] {
        let layers = [RecurrentLayerConfig::new(Cell::GruResetAfter, hidden)];
        let untrained = ModelParams::random_language_model(1, 64, 0, &layers);
        let words = encode(&untrained).expect("random parameters can be encoded");
        let model = Model::parse(as_bytes(&words)).expect("an encoded model can be parsed");
        let mut workspace = vec![0; model.workspace_len()];
        let mut session = Session::new(&model, &mut workspace).expect("the workspace is enough");
        criterion.bench_function(&format!("gru_step_{hidden}"), |bencher| {
            bencher.iter(|| session.push_token(black_box(12)));
        });
        if hidden == 128 {
            criterion.bench_function("logits_64x128", |bencher| {
                bencher.iter(|| black_box(session.logits().is_ok()));
            });
            let sampler = Sampler::new(params.temperature, params.top_k);
            let output = model.output().expect("a language model has an output");
            let logits = session.logits().expect("a token was pushed");
            let mut rng = params.rng();
            criterion.bench_function("sample_64", |bencher| {
                bencher.iter(|| sampler.sample(black_box(logits), output.frac_bits(), &mut rng));
            });
        }
        let mut generator =
            Generator::new(&model, &mut workspace, params).expect("the workspace is enough");
        criterion.bench_function(&format!("whole_character_{hidden}"), |bencher| {
            bencher.iter(|| black_box(generator.next().map(<[u8]>::len)));
        });
    }
}

criterion_group!(benches, matvec, token);
criterion_main!(benches);
