//! Writes ONNX files of untrained networks, one of each kind, for other runtimes to judge:
//! `cargo run --release -p pipsqueak-trainer --example onnx_samples -- FOLDER`.

use std::path::PathBuf;
use trainer::fs::write_atomically;
use trainer::network::sample::{self, Shape};
use trainer::onnx;

fn main() -> anyhow::Result<()> {
    let folder = std::env::args_os().nth(1).map(PathBuf::from);
    let folder =
        folder.ok_or_else(|| anyhow::anyhow!("expected one argument: the folder to write to"))?;
    std::fs::create_dir_all(&folder)?;
    for linear_before_reset in [false, true] {
        for embedding in [false, true] {
            for layers in 1..=3 {
                for (tokens, units) in [(1, 1), (2, 3), (65, 24), (300, 65)] {
                    let shape = Shape {
                        tokens,
                        units,
                        layers,
                        embedding,
                        linear_before_reset,
                    };
                    let name = format!(
                        "{}-{}-{layers}-layers-{tokens}-tokens-{units}-units.onnx",
                        if linear_before_reset {
                            "reset-after"
                        } else {
                            "reset-before"
                        },
                        if embedding { "embedding" } else { "one-hot" },
                    );
                    let seed = (tokens * 10 + layers) as u64;
                    write_atomically(
                        &folder.join(name),
                        &onnx::write(&sample::network(seed, shape)),
                    )?;
                }
            }
        }
    }
    Ok(())
}
