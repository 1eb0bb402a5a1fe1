//! A model file has the configuration of the parameters that it was written from.

mod common;

use common::sample;
use pipsqueak::encode::{
    EncodeError, ModelConfig, ModelParams, as_bytes, encode, random_config, sample_configs,
    with_config,
};
use pipsqueak::format::{OpConfig, VectorId};
use pipsqueak::{Cell, Model, RecurrentLayerConfig};

#[test]
fn the_configuration_of_a_model_is_that_of_its_parameters() {
    let samples = sample_configs().into_iter().map(|(_, config)| config);
    for (seed, config) in samples.chain((0..300).map(random_config)).enumerate() {
        let mut params = ModelParams::random(seed as u64, &config);
        params.io_names = vec![b'x'; seed % 7];
        params.max_tokens = seed as u16 * 100;
        params.training.steps = 70_000;
        params.training.train_loss = Some(300);
        let words = encode(&params).unwrap();
        let found = ModelConfig::of(as_bytes(&words));
        assert_eq!(found, params.config().unwrap(), "{seed}");
        assert_eq!(
            with_config(as_bytes(&words), &found).unwrap(),
            as_bytes(&words)
        );
        let model = Model::parse(as_bytes(&words)).unwrap();
        assert_eq!(model.training_info(), Some(params.training));
        assert_eq!(model.io_names(), Some(&params.io_names[..]));
        assert_eq!(model.max_tokens(), params.max_tokens);
        assert_eq!(model.fixed_steps(), params.fixed_steps);
        assert_eq!(model.layers().count(), config.layers.len());
        for (layer, config) in model.layers().zip(&found.layers) {
            assert_eq!(
                (layer.phase(), layer.inputs()),
                (config.phase, config.inputs)
            );
        }
    }
}

/// The configuration that parameters are drawn for comes back, except for what only the parameters know.
#[test]
fn random_parameters_have_their_configuration() {
    let samples = sample_configs().into_iter().map(|(_, config)| config);
    for (seed, mut config) in samples.chain((0..300).map(random_config)).enumerate() {
        let mut found = ModelParams::random(seed as u64, &config).config().unwrap();
        config.metadata.layers = config.layers.len() as u8;
        for (old, new) in config
            .metadata
            .vocabularies
            .iter_mut()
            .zip(&found.metadata.vocabularies)
        {
            old.text_len = new.text_len;
        }
        for (old, new) in config.layers.iter_mut().zip(&mut found.layers) {
            if let (OpConfig::Token { rows: old, .. }, OpConfig::Token { rows: new, .. }) =
                (&mut old.op, &mut new.op)
            {
                assert_eq!(std::mem::discriminant(old), std::mem::discriminant(new));
                *old = *new;
            }
        }
        assert_eq!(found, config, "{seed}");
    }
}

#[test]
fn what_does_not_fit_the_format_is_too_large() {
    let too_large = |change: &dyn Fn(&mut ModelParams)| {
        let mut params = ModelParams::random(1, &sample("lstm"));
        change(&mut params);
        assert_eq!(encode(&params), Err(EncodeError::TooLarge));
    };
    too_large(&|params| params.outputs = vec![params.outputs[0]; 5]);
    too_large(&|params| params.layers[2].inputs = vec![VectorId::result(1); 5]);
    too_large(&|params| params.layers.extend(vec![params.layers[2].clone(); 300]));
    too_large(&|params| params.training.corpus = Box::leak("x".repeat(2000).into_boxed_str()));
    let error = EncodeError::TooLarge.to_string();
    assert!(
        error.contains("24 layers of 4 inputs, 4 outputs"),
        "{error}"
    );
}

#[test]
fn the_same_seed_gives_the_same_model() {
    let file = |seed| {
        let layers = [RecurrentLayerConfig::new(Cell::Lstm, 5)];
        encode(&ModelParams::random_language_model(seed, 9, 3, &layers)).unwrap()
    };
    assert_eq!(file(1), file(1));
    assert_ne!(file(1), file(2));
    assert_eq!(random_config(8), random_config(8));
    assert_ne!(random_config(8), random_config(9));
}
