//! A graph with its metadata as an ONNX file.

use super::graph::Graph;
use crate::data::tokenizer::{TokenizerMetadata, Vocabulary};
use crate::network::Network;
use crate::onnx::{
    CHANNELS_KEY, ENCODER_GRIDS_KEY, ENCODER_LEVEL_KEY, ENCODER_VOCABULARY_KEY, GRIDS_KEY,
    LABELS_KEY, LEVEL_KEY, OPSET, PROVENANCE_KEY, VOCABULARY_KEY,
};
use tract_onnx::pb::{ModelProto, OperatorSetIdProto, StringStringEntryProto};

/// The first version of the file format that belongs to opset 17.
const IR_VERSION: i64 = 8;

/// The bytes of the file.
pub(super) fn into_model(graph: Graph, network: &Network) -> Vec<u8> {
    let json = "strings and numbers are always JSON";
    let mut properties = Vec::new();
    let mut texts = |key, level_key, vocabulary: &Vocabulary| {
        let texts = serde_json::to_string(vocabulary.tokens()).expect(json);
        properties.push(metadata(key, texts));
        let tokens = TokenizerMetadata::of(vocabulary);
        if tokens != TokenizerMetadata::default() {
            let tokens = serde_json::to_string(&tokens).expect(json);
            properties.push(metadata(level_key, tokens));
        }
    };
    if let Some(vocabulary) = &network.vocabulary {
        texts(VOCABULARY_KEY, LEVEL_KEY, vocabulary);
    }
    if let Some(vocabulary) = &network.source_vocabulary {
        texts(ENCODER_VOCABULARY_KEY, ENCODER_LEVEL_KEY, vocabulary);
    }
    if let Some(labels) = &network.labels {
        let texts = serde_json::to_string(labels.tokens()).expect(json);
        properties.push(metadata(LABELS_KEY, texts));
    }
    if !network.feature_names.is_empty() {
        let names = serde_json::to_string(&network.feature_names).expect(json);
        properties.push(metadata(CHANNELS_KEY, names));
    }
    for (key, scales) in [
        (GRIDS_KEY, &network.group_scales),
        (ENCODER_GRIDS_KEY, &network.source_group_scales),
    ] {
        if !scales.is_empty() {
            let scales = serde_json::to_string(scales).expect(json);
            properties.push(metadata(key, scales));
        }
    }
    properties.push(metadata(
        PROVENANCE_KEY,
        serde_json::to_string(&network.provenance).expect(json),
    ));
    let language_model = network.as_language_model().is_ok();
    let (name, about) = if language_model {
        (
            "language_model",
            "A recurrent language model: tokens and states in, logits and states out.",
        )
    } else {
        ("network", "A recurrent network.")
    };
    let model = ModelProto {
        ir_version: IR_VERSION,
        opset_import: vec![OperatorSetIdProto {
            domain: String::new(),
            version: OPSET,
        }],
        producer_name: "pipsqueak".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: about.into(),
        graph: Some(graph.into_proto(name)),
        metadata_props: properties,
        ..Default::default()
    };
    prost::Message::encode_to_vec(&model)
}

fn metadata(key: &str, value: String) -> StringStringEntryProto {
    StringStringEntryProto {
        key: key.into(),
        value,
    }
}
