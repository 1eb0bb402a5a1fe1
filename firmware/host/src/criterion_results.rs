//! Speed of the runtime on this machine, as `runtime/benches/host.rs` measured it.

use std::path::Path;

use crate::{
    baselines,
    measurement::{MeasureError, Measurement, read},
};

/// How the times were measured.
pub(crate) const METHOD: &str =
    "this machine by criterion, one thread: a second over the median time of a call";

/// What has a benchmark.
const ITEMS: [&str; 9] = [
    "matvec_384x128",
    "matvec_768x256",
    "matvec_1536x512",
    "gru_step_128",
    "gru_step_256",
    "logits_64x128",
    "sample_64",
    "whole_character_128",
    "whole_character_256",
];

/// Reads what `cargo bench` has left in a checkout of the repository: rows of core `host`.
///
/// # Errors
/// A benchmark has not run.
pub fn criterion_results(repository: &Path) -> Result<Vec<Measurement>, MeasureError> {
    let speed = |what| {
        let path = repository.join(format!("target/criterion/{what}/new/estimates.json"));
        let estimates = read(&path, "bench")?;
        let nanoseconds = serde_json::from_slice::<serde_json::Value>(&estimates)
            .ok()
            .and_then(|estimates| estimates.pointer("/median/point_estimate")?.as_f64())
            .filter(|&time| time > 0.0)
            .ok_or(MeasureError::Time { path })?;
        let value = (1e9 / nanoseconds).round() as u64;
        Ok(baselines::with_baseline(
            "host",
            what,
            value,
            "tokens_per_second",
        ))
    };
    ITEMS.into_iter().map(speed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_second_over_the_median() {
        let repository = tempfile::tempdir().unwrap();
        let write = |what: &str, text: &str| {
            let folder = repository
                .path()
                .join("target/criterion")
                .join(what)
                .join("new");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join("estimates.json"), text).unwrap();
        };
        for what in ITEMS {
            let error = criterion_results(repository.path())
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(what) && error.contains("make bench"),
                "{error}"
            );
            write(
                what,
                r#"{"mean": {"point_estimate": 1.0}, "median": {"point_estimate": 4000.0}}"#,
            );
        }
        let rows = criterion_results(repository.path()).unwrap();
        assert_eq!(rows.len(), ITEMS.len());
        assert!(
            rows.iter()
                .all(|row| (row.core, row.value) == ("host", 250_000))
        );
        write("sample_64", r#"{"mean": {"point_estimate": 1.0}}"#);
        let error = criterion_results(repository.path())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("sample_64") && error.contains("found none"),
            "{error}"
        );
    }
}
