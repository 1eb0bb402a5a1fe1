//! The promised accuracy of the shipped models in integers, run by the boards' own code.

mod common;

use common::{MODELS, shipped, unseen};
use pipsqueak::{Sampler, Session, Temperature};
use trainer::eval::perplexity;

#[test]
fn integers_lose_less_than_two_thousandths_of_a_nat() {
    for name in MODELS {
        let (network, image) = shipped(name);
        let tokens = unseen(&network);
        let float = perplexity::float(&network, &tokens, || ()).nats_per_char;
        let integer = perplexity::integer(&image.model(), &tokens, || ())
            .unwrap()
            .nats_per_char;
        println!(
            "{name}: float {float:.4}, integer {integer:.4}, {:+.5} nats over {} characters",
            integer - float,
            tokens.len()
        );
        assert!(
            (integer - float).abs() <= 0.002,
            "{name}: float {float}, integer {integer}"
        );
    }
}

/// Mean absolute difference of the last layer's state, float against integer, over ranges of 10,000 steps.
#[test]
fn the_state_does_not_drift() {
    for name in MODELS {
        let (network, bytes) = shipped(name);
        let image = bytes.model();
        let mut workspace = vec![0; image.workspace_len()];
        let mut integer = Session::new(&image, &mut workspace).unwrap();
        let layers = image.layers().enumerate();
        let recurrent = layers.filter(|(_, layer)| layer.cell().is_some());
        let (top, _) = recurrent.last().expect("a recurrent layer");
        let mut float = network.state();
        let mut errors = vec![];
        for &token in unseen(&network).iter().take(10_000) {
            network.step(&mut float, token);
            integer.push_token(token).unwrap();
            // Both are the same list of layers.
            let hidden = float.result(top);
            let pairs = hidden.iter().zip(integer.hidden(top).unwrap());
            let sum: f64 = pairs
                .map(|(f, &mut i)| (f64::from(*f) - f64::from(i) / 32768.0).abs())
                .sum();
            errors.push(sum / hidden.len() as f64);
        }
        assert_eq!(errors.len(), 10_000);
        let mean = |range: std::ops::Range<usize>| {
            errors[range.clone()].iter().sum::<f64>() / range.len() as f64
        };
        let (early, late) = (mean(1000..2000), mean(9000..10_000));
        println!(
            "{name}: state error {early:.5} over steps 1,000 to 2,000, {late:.5} over 9,000 to 10,000: {:.3}",
            late / early
        );
        assert!(late <= 1.2 * early, "{name}: {early} became {late}");
    }
}

/// Total variation between the exact distribution of an integer draw and the softmax in f64, over real logits.
#[test]
fn the_sampler_is_the_softmax() {
    let (network, bytes) = shipped(MODELS[0]);
    let image = bytes.model();
    let bits = image.output().unwrap().frac_bits();
    let mut workspace = vec![0; image.workspace_len()];
    let mut session = Session::new(&image, &mut workspace).unwrap();
    let temperatures = ["0.3", "0.5", "0.8", "1", "1.3", "1.8"];
    let mut worst = [0f64; 6];
    for &token in unseen(&network).iter().take(10_000) {
        session.push_token(token).unwrap();
        let logits = session.logits().unwrap();
        let max = *logits.iter().max().unwrap();
        for (text, worst) in temperatures.into_iter().zip(&mut worst) {
            let temperature: f64 = text.parse().unwrap();
            let below = |l: i16| (f64::from(l) - f64::from(max)) / f64::from(1 << bits);
            let exact: Vec<f64> = logits
                .iter()
                .map(|&l| (below(l) / temperature).exp())
                .collect();
            let sum: f64 = exact.iter().sum();
            let weights: Vec<u32> = Sampler::new(Temperature::parse(text).unwrap(), 0)
                .weights(logits, bits)
                .collect();
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            // A draw is r * total >> 32 for a uniform 32-bit r: count the r that give each token.
            let first = |rest: u64| (rest << 32).div_ceil(total);
            let mut begin = 0;
            let mut variation = 0.0;
            for (&weight, exact) in weights.iter().zip(&exact) {
                let draws = first(begin + u64::from(weight)) - first(begin);
                begin += u64::from(weight);
                variation += (draws as f64 / 4294967296.0 - exact / sum).abs();
            }
            *worst = worst.max(variation / 2.0);
        }
    }
    println!("largest total variation at {temperatures:?}: {worst:?}");
    assert!(worst.iter().all(|&v| v <= 0.001), "{worst:?}");
}
