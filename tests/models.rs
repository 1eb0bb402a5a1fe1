//! The files of each shipped model agree with each other.

mod common;

use common::{MODELS, root, shipped};
use pipsqueak::{Generator, SamplingParams, encode};
use trainer::quantize::quantize;

/// These and the models with 4-bit weights.
const ALL: [&str; 4] = [MODELS[0], MODELS[1], "shakespeare-64k", "shakespeare-256k"];

#[test]
fn the_model_file_is_the_exported_network() {
    for name in ALL {
        let (network, image) = shipped(name);
        let words = encode::encode(&quantize(&network).unwrap().params).unwrap();
        assert!(
            encode::as_bytes(&words) == image.bytes(),
            "{name}: export model.onnx again"
        );
    }
}

/// `trainer generate models/NAME/model.pip --prompt ROMEO: --length 1000 > models/NAME/sample.txt`
#[test]
fn the_model_generates_its_sample() {
    for name in ALL {
        let (_, bytes) = shipped(name);
        let image = bytes.model();
        let mut workspace = vec![0; image.workspace_len()];
        let mut generator =
            Generator::new(&image, &mut workspace, SamplingParams::default()).unwrap();
        generator.prompt("ROMEO:").unwrap();
        let text: Vec<u8> = generator.take(1000).flatten().copied().collect();
        let text = String::from_utf8(text).unwrap();
        let sample =
            std::fs::read_to_string(root().join(format!("models/{name}/sample.txt"))).unwrap();
        assert_eq!(sample, format!("ROMEO:{text}\n"), "{name}");
    }
}

#[test]
fn the_settings_hold_out_the_last_tenth() {
    for name in ALL {
        let read = |file| std::fs::read_to_string(root().join(format!("models/{name}/{file}")));
        let config = read("config.toml").unwrap();
        assert!(config.lines().any(|l| l == "split = \"90/10/0\""), "{name}");
        let metrics = read("metrics.json").unwrap();
        let metrics: serde_json::Value = serde_json::from_str(&metrics).unwrap();
        let sizes = &metrics["sizes"];
        assert_eq!(
            (&sizes["train"], &sizes["dev"]),
            (&1_003_854.into(), &111_540.into())
        );
        let (network, _) = shipped(name);
        assert_eq!(network.provenance.split, "first 90 %");
    }
}
