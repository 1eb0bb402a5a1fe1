//! Prints the examples of a training on lines as JSON, for other trainers: `lines FILE train.toml`.
//!
//! The same vocabulary, ids and split as `trainer train FILE --settings train.toml` has; see `tests/bench`.

use std::path::Path;

use anyhow::{Context, bail};
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::data::examples::Example;
use trainer::training::sequence::{Record, examples};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lines, settings] = &arguments[..] else {
        bail!("expected a file of lines and a train.toml");
    };
    let text = std::fs::read_to_string(settings).with_context(|| settings.clone())?;
    let settings = toml::from_str::<Record>(&text)
        .with_context(|| settings.clone())?
        .settings;
    let data = examples(
        &Corpus::open(Path::new(lines), CorpusOptions::default())?,
        &settings,
    )?;
    let all = |examples: &[Example]| -> Vec<serde_json::Value> {
        let one = |example: &Example| serde_json::json!([example.source, example.target]);
        examples.iter().map(one).collect()
    };
    let json = serde_json::json!({
        "settings": settings,
        "source_tokens": data.source.as_ref().map(|source| source.len()),
        "target_tokens": data.target.len(),
        "train": all(&data.train),
        "validation": all(&data.dev),
    });
    println!("{json}");
    Ok(())
}
