//! What the runtime costs on emulated cores, measured once: against pinned numbers, and against the cost model. The same
//! program runs on further cores, where it must compute the same.
//!
//! A change that makes the runtime more expensive fails here; one that makes it cheaper lowers the number. Where the cost of a
//! character has changed, refit the cost model: `make firmware bench-programs`, then
//! `cargo run --release -p pipsqueak-boards --bin measure -- --fit`.

mod common;

use common::root;
use pipsqueak_boards::{
    BOARDS, BoardSpec, Footprint, Measurement, Measurements, int4_overheads, verify_other_cores,
};

/// In percent: a count this far above its pinned number fails.
const COUNT_MARGIN: u64 = 2;
/// In percent: a prediction this far from its count fails.
const PREDICTION_MARGIN: f64 = 3.0;
/// The most that 4-bit rows may take of what 8-bit rows take.
const MAX_INT4_RATIO: f64 = 1.25;

#[rustfmt::skip]
const PINNED: &[(&str, &str, &str, u64)] = &[
    ("cortex-m4", "matvec_384x128", "instructions", 57_518),
    ("cortex-m4", "matvec_384x128", "cycles", 62_115),
    ("cortex-m4", "matvec_768x256", "instructions", 227_086),
    ("cortex-m4", "matvec_768x256", "cycles", 243_875),
    ("cortex-m4", "matvec_1056x352", "instructions", 427_841),
    ("cortex-m4", "matvec_1056x352", "cycles", 458_802),
    ("cortex-m4", "matvec_1536x512", "instructions", 902_606),
    ("cortex-m4", "matvec_1536x512", "cycles", 966_819),
    ("cortex-m4", "matvec_384x128_4bit", "instructions", 67_445),
    ("cortex-m4", "matvec_384x128_4bit", "cycles", 73_914),
    ("cortex-m4", "matvec_768x256_4bit", "instructions", 268_453),
    ("cortex-m4", "matvec_768x256_4bit", "cycles", 293_594),
    ("cortex-m4", "matvec_1056x352_4bit", "instructions", 506_905),
    ("cortex-m4", "matvec_1056x352_4bit", "cycles", 554_114),
    ("cortex-m4", "gru_step_128", "instructions", 73_639),
    ("cortex-m4", "gru_step_128", "cycles", 82_725),
    ("cortex-m4", "gru_step_256", "instructions", 258_679),
    ("cortex-m4", "gru_step_256", "cycles", 283_925),
    ("cortex-m4", "lstm_step_128", "instructions", 99_452),
    ("cortex-m4", "lstm_step_128", "cycles", 110_700),
    ("cortex-m4", "logits_64x128", "instructions", 11_802),
    ("cortex-m4", "logits_64x128", "cycles", 13_863),
    ("cortex-m4", "sample_64", "instructions", 1_913),
    ("cortex-m4", "sample_64", "cycles", 2_615),
    ("cortex-m4", "whole_character_128", "instructions", 87_640),
    ("cortex-m4", "whole_character_128", "cycles", 99_650),
    ("cortex-m4", "model_parse", "instructions", 1_822_986),
    ("cortex-m4", "model_parse", "cycles", 2_539_488),
    ("cortex-m4", "selftest_boot", "instructions", 21_188),
    ("cortex-m4", "selftest_boot", "cycles", 32_019),
    ("cortex-m4", "peak_stack", "bytes", 1_476),
    ("cortex-m4", "ram", "bytes", 844),
    ("cortex-m4", "code_and_tables", "bytes", 19_346),
    ("cortex-m0plus", "matvec_384x128", "instructions", 173_765),
    ("cortex-m0plus", "matvec_384x128", "cycles", 194_049),
    ("cortex-m0plus", "matvec_768x256", "instructions", 689_925),
    ("cortex-m0plus", "matvec_768x256", "cycles", 768_801),
    ("cortex-m0plus", "matvec_1056x352", "instructions", 1_301_828),
    ("cortex-m0plus", "matvec_1056x352", "cycles", 1_449_848),
    ("cortex-m0plus", "matvec_1536x512", "instructions", 2_749_829),
    ("cortex-m0plus", "matvec_1536x512", "cycles", 3_061_089),
    ("cortex-m0plus", "matvec_384x128_4bit", "instructions", 191_568),
    ("cortex-m0plus", "matvec_384x128_4bit", "cycles", 212_690),
    ("cortex-m0plus", "matvec_768x256_4bit", "instructions", 763_928),
    ("cortex-m0plus", "matvec_768x256_4bit", "cycles", 847_538),
    ("cortex-m0plus", "matvec_1056x352_4bit", "instructions", 1_443_182),
    ("cortex-m0plus", "matvec_1056x352_4bit", "cycles", 1_600_875),
    ("cortex-m0plus", "gru_step_128", "instructions", 200_695),
    ("cortex-m0plus", "gru_step_128", "cycles", 228_778),
    ("cortex-m0plus", "gru_step_256", "instructions", 742_858),
    ("cortex-m0plus", "gru_step_256", "cycles", 836_747),
    ("cortex-m0plus", "lstm_step_128", "instructions", 300_947),
    ("cortex-m0plus", "lstm_step_128", "cycles", 363_251),
    ("cortex-m0plus", "logits_64x128", "instructions", 32_494),
    ("cortex-m0plus", "logits_64x128", "cycles", 37_825),
    ("cortex-m0plus", "sample_64", "instructions", 4_850),
    ("cortex-m0plus", "sample_64", "cycles", 7_172),
    ("cortex-m0plus", "whole_character_128", "instructions", 238_434),
    ("cortex-m0plus", "whole_character_128", "cycles", 274_382),
    ("cortex-m0plus", "model_parse", "instructions", 2_548_828),
    ("cortex-m0plus", "model_parse", "cycles", 3_314_621),
    ("cortex-m0plus", "selftest_boot", "instructions", 33_717),
    ("cortex-m0plus", "selftest_boot", "cycles", 48_565),
    ("cortex-m0plus", "peak_stack", "bytes", 1_532),
    ("cortex-m0plus", "ram", "bytes", 844),
    ("cortex-m0plus", "code_and_tables", "bytes", 20_482),
    ("rv32imac", "matvec_384x128", "instructions", 158_645),
    ("rv32imac", "matvec_768x256", "instructions", 630_549),
    ("rv32imac", "matvec_1056x352", "instructions", 1_190_110),
    ("rv32imac", "matvec_1536x512", "instructions", 2_514_389),
    ("rv32imac", "matvec_384x128_4bit", "instructions", 176_090),
    ("rv32imac", "matvec_768x256_4bit", "instructions", 702_554),
    ("rv32imac", "matvec_1056x352_4bit", "instructions", 1_327_394),
    ("rv32imac", "gru_step_128", "instructions", 182_393),
    ("rv32imac", "gru_step_256", "instructions", 677_270),
    ("rv32imac", "lstm_step_128", "instructions", 272_641),
    ("rv32imac", "logits_64x128", "instructions", 29_604),
    ("rv32imac", "sample_64", "instructions", 2_702),
    ("rv32imac", "whole_character_128", "instructions", 215_013),
    ("rv32imac", "model_parse", "instructions", 2_267_085),
    ("rv32imac", "selftest_boot", "instructions", 29_335),
    ("rv32imac", "peak_stack", "bytes", 1_400),
    ("rv32imac", "ram", "bytes", 844),
    ("rv32imac", "code_and_tables", "bytes", 22_398),
];

#[test]
fn counts_and_predictions_hold() {
    let found = Measurements::take(root()).unwrap_or_else(|error| panic!("{error}"));
    let mut failures = grown(&found.measurements);
    failures.extend(mispredicted(&found));
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    start_is_quick(&found.measurements);
    four_bits_are_not_slow(&found.measurements);
    // Every core has shapes that the cost model was not fitted to.
    for core in BOARDS.each_ref().map(|board: &BoardSpec| board.core) {
        let characters = found.characters.iter();
        let unseen = characters.filter(|c| c.core == core && !c.fitted);
        assert!(unseen.count() >= 3, "{core}");
    }
}

/// The self test, the texts and the comparison of the core's kernels with the generic ones.
#[test]
fn further_cores_compute_the_same() {
    let cores = verify_other_cores(root()).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(cores, ["cortex-m3", "cortex-m33", "cortex-m33f", "rv32imc"]);
}

/// Counts above their pinned numbers, and counts without one.
fn grown(measurements: &[Measurement]) -> Vec<String> {
    let mut failures = Vec::new();
    for &(core, what, unit, pinned) in PINNED {
        let found = measurements
            .iter()
            .find(|count| (count.core, count.what, count.unit) == (core, what, unit));
        let value = found.map(|count| count.value);
        if value.is_none_or(|value| value * 100 > pinned * (100 + COUNT_MARGIN)) {
            failures.push(format!(
                "{core} {what}: expected {pinned} {unit}, found {value:?}"
            ));
        }
    }
    if measurements.len() != PINNED.len() {
        let (pinned, found) = (PINNED.len(), measurements.len());
        failures.push(format!("expected {pinned} counts, found {found}"));
    }
    failures
}

/// Predictions of the cost model that are too far from the measurement.
fn mispredicted(found: &Measurements) -> Vec<String> {
    let mut failures = Vec::new();
    for character in &found.characters {
        let (core, name, counted) = (character.core, &character.name, character.cycles);
        let predicted = character.shape.cycles(core);
        let error = 100.0 * (predicted / counted as f64 - 1.0);
        let line = format!(
            "{core:<12} {name:<40} predicted {predicted:>10.0} cycles, counted {counted:>8}: {error:+.2} %"
        );
        println!("{line}");
        if error.abs() > PREDICTION_MARGIN {
            failures.push(line);
        }
    }
    for board in &BOARDS {
        let measured = found.footprints.iter().find(|f| f.board == board.name);
        let (measured, fitted) = (measured.unwrap(), Footprint::of(board));
        let far = |a: usize, b: usize| a.abs_diff(b) * 100 > b * PREDICTION_MARGIN as usize;
        if far(fitted.flash, measured.flash) || far(fitted.stack, measured.stack) {
            failures.push(format!("measured {measured:?}, predicted from {fitted:?}"));
        }
    }
    failures
}

/// A board tests itself at every start; the slowest has 16 million cycles a second.
fn start_is_quick(measurements: &[Measurement]) {
    let boot =
        |count: &&Measurement| (count.core, count.what) == ("cortex-m0plus", "selftest_boot");
    let cycles = measurements
        .iter()
        .filter(boot)
        .map(|count| count.value)
        .max();
    assert!(cycles.is_some_and(|cycles| cycles * 1000 <= 50 * 16_000_000));
}

fn four_bits_are_not_slow(measurements: &[Measurement]) {
    let int4_overheads = int4_overheads(measurements);
    for core in ["cortex-m4", "cortex-m0plus"] {
        let of_core = int4_overheads
            .iter()
            .filter(|w| (w.core, w.unit) == (core, "cycles"));
        assert_eq!(of_core.clone().count(), 3, "{int4_overheads:?}");
        assert!(
            of_core.clone().all(|w| w.ratio <= MAX_INT4_RATIO),
            "{int4_overheads:?}"
        );
    }
}
