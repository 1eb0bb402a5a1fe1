//! Prints the examples of a training on lines as JSON, for other trainers: `lines FILE config.toml`.
//!
//! The same vocabulary, ids and split as `trainer train FILE --config config.toml` has; see `tests/bench`.

use std::path::Path;

use anyhow::bail;
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::data::examples::{Example, ExampleSet};
use trainer::training::config::Config;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [lines, settings] = &arguments[..] else {
        bail!("expected a file of lines and a config.toml");
    };
    let config = Config::read(Path::new(settings))?;
    let data = ExampleSet::read(
        &Corpus::open(Path::new(lines), CorpusOptions::default())?,
        &config.example_options(),
    )?;
    let all = |examples: &[Example]| -> Vec<serde_json::Value> {
        let one = |example: &Example| serde_json::json!([example.source, example.target]);
        examples.iter().map(one).collect()
    };
    let json = serde_json::json!({
        "config": config,
        "source_tokens": data.source.as_ref().map(|source| source.len()),
        "target_tokens": data.target.len(),
        "train": all(&data.train),
        "dev": all(&data.dev),
    });
    println!("{json}");
    Ok(())
}
