//! Soft targets against the plain forward pass, and files that are refused.

use super::*;
use crate::data::tokenizer::Vocabulary;
use crate::network::{Provenance, cross_entropy};
use crate::nn::rnn::Kind;
use crate::training::model_config::{ModelConfig, Pooling};
use crate::training::stack_config::StackConfig;
use crate::training::to_network::to_network;

fn teacher(vocabulary: &Vocabulary, steps_per_token: usize, seed: u64) -> (String, Network) {
    let config = ModelConfig {
        encoder: None,
        num_features: 0,
        stack: StackConfig {
            vocab_size: vocabulary.len(),
            embedding_dim: Some(3),
            hidden_size: 7,
            cells: vec![Kind::Gru, Kind::Gru],
        },
        output_size: vocabulary.len(),
        pooling: Pooling::EveryStep,
        tie_embeddings: false,
        steps_per_token,
    };
    let mut weights = config.initial_parameters(seed);
    weights.iter_mut().for_each(|w| *w *= 3.0);
    let vocabularies = of(vocabulary);
    let network = to_network(&config, &weights, &vocabularies, Provenance::default());
    (format!("teacher {seed}"), network)
}

fn of(vocabulary: &Vocabulary) -> Vocabularies {
    Vocabularies {
        input: vocabulary.clone(),
        ..Vocabularies::default()
    }
}

#[test]
fn soft_targets_are_the_mean_of_each_teachers_probabilities_on_any_number_of_threads() {
    let vocabulary = Vocabulary::of_characters("abcd").unwrap();
    let teachers = [teacher(&vocabulary, 1, 1), teacher(&vocabulary, 2, 2)];
    let text: Vec<u16> = (0..200).map(|i| (i * i + i / 3) % 4).collect();
    let make = |threads| {
        let text = ("hash", &text[..]);
        let vocabularies = of(&vocabulary);
        SoftTargets::of_text(&teachers, &vocabularies, text, (3000, 5), threads, &|_| ()).unwrap()
    };
    let targets = make(2);
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
        for (found, expected) in targets.of_data(at).iter().zip(expected) {
            let found = f64::from(*found) / 65535.0;
            assert!((found - expected).abs() < 2e-5, "{at}: {found}, {expected}");
        }
    }
    assert!(targets.synthetic().len() >= 3000);
    assert!(targets.synthetic().iter().all(|token| *token < 4));
    let all = targets.synthetic().len();
    for at in [0, all / 2, all - 1] {
        let sum: u32 = targets.of_synthetic(at).iter().map(|p| u32::from(*p)).sum();
        assert!(sum.abs_diff(65535) <= 4, "{sum}");
    }
    // What is drawn is as likely as was said.
    let mut expected = 0.0;
    let mut drawn = 0.0;
    for at in 0..all {
        expected += f64::from(targets.of_synthetic(at)[2]) / 65535.0;
        drawn += f64::from(u8::from(targets.synthetic()[at] == 2));
    }
    assert!(
        (expected - drawn).abs() < 5.0 * expected.sqrt(),
        "{expected}, {drawn}"
    );
    assert_eq!(make(3), targets, "the same seed");
}

#[test]
fn models_that_cannot_teach_and_what_is_damaged_is_refused() {
    let vocabulary = Vocabulary::of_characters("abcd").unwrap();
    let other = Vocabulary::of_characters("abce").unwrap();
    let text = ("hash", &[0, 1, 2, 3][..]);
    let refused = |teachers: &[(String, Network)], imagine| {
        let synthetic = (imagine, 1);
        let made = SoftTargets::of_text(teachers, &of(&vocabulary), text, synthetic, 1, &|_| ());
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
    let path = folder.path().join("targets.bin");
    let teachers = [teacher(&vocabulary, 1, 1)];
    let targets =
        SoftTargets::of_text(&teachers, &of(&vocabulary), text, (0, 1), 1, &|_| ()).unwrap();
    let hash = targets.write(&path).unwrap();
    assert_eq!(SoftTargets::read(&path).unwrap(), (targets.clone(), hash));
    assert!(targets.check("hash", &of(&vocabulary), 4).is_ok());
    let error = targets
        .check("other", &of(&other), 4)
        .unwrap_err()
        .to_string();
    assert!(error.contains("found hash, expected other"), "{error}");
    assert!(error.contains("SHA-256 of the vocabulary"), "{error}");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let error = SoftTargets::read(&path).unwrap_err().to_string();
    assert!(error.contains("damaged"), "{error}");
}
