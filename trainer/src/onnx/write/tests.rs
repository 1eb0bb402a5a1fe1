//! Networks that only the list of layers can express, written and run by tract.

use super::write;
use crate::network::{Values, sample};
use crate::onnx::reference::{random_arrays, run_once};

#[test]
fn tract_computes_what_a_network_with_every_kind_of_layer_does() {
    for seed in 0..4 {
        let network = sample::every_layer(seed);
        let bytes = write(&network);
        let arrays = random_arrays(&network);
        let expected = network.run_arrays(&arrays).unwrap();
        let found = run_once(&network, &bytes, &arrays).unwrap();
        assert_eq!(found.len(), expected.len());
        for ((name, expected), found) in expected.iter().zip(&found) {
            let Values::Float(expected) = &expected.values else {
                panic!("outputs are floats");
            };
            assert_eq!(found.len(), expected.len(), "{name}");
            for (found, expected) in found.iter().zip(expected) {
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{name}: {found} {expected}"
                );
            }
        }
    }
}
