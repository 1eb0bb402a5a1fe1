//! What a character costs on emulated cores. A change that makes it dearer fails here; one that makes it cheaper lowers the
//! number.

mod common;

use common::root;
use pipsqueak_boards::counts;

/// In percent: above this a number fails.
const MARGIN: u64 = 2;

#[rustfmt::skip]
const PINNED: &[(&str, &str, &str, u64)] = &[
    ("cortex-m4", "matvec_384x128", "instructions", 57_578),
    ("cortex-m4", "matvec_384x128", "cycles", 62_156),
    ("cortex-m4", "matvec_768x256", "instructions", 227_210),
    ("cortex-m4", "matvec_768x256", "cycles", 243_980),
    ("cortex-m4", "matvec_1536x512", "instructions", 902_858),
    ("cortex-m4", "matvec_1536x512", "cycles", 967_052),
    ("cortex-m4", "gru_step_128", "instructions", 93_712),
    ("cortex-m4", "gru_step_128", "cycles", 116_635),
    ("cortex-m4", "gru_step_256", "instructions", 298_480),
    ("cortex-m4", "gru_step_256", "cycles", 351_003),
    ("cortex-m4", "logits_64x128", "instructions", 14_745),
    ("cortex-m4", "logits_64x128", "cycles", 19_431),
    ("cortex-m4", "draw_64", "instructions", 7_401),
    ("cortex-m4", "draw_64", "cycles", 10_746),
    ("cortex-m4", "whole_character_128", "instructions", 115_849),
    ("cortex-m4", "whole_character_128", "cycles", 146_809),
    ("cortex-m4", "image_parse", "instructions", 8_034_973),
    ("cortex-m4", "image_parse", "cycles", 10_809_754),
    ("cortex-m4", "selftest_boot", "instructions", 19_543),
    ("cortex-m4", "selftest_boot", "cycles", 29_859),
    ("cortex-m4", "peak_stack", "bytes", 904),
    ("cortex-m4", "ram", "bytes", 648),
    ("cortex-m4", "code_and_tables", "bytes", 13_770),
    ("cortex-m0plus", "matvec_384x128", "instructions", 173_803),
    ("cortex-m0plus", "matvec_384x128", "cycles", 194_069),
    ("cortex-m0plus", "matvec_768x256", "instructions", 690_027),
    ("cortex-m0plus", "matvec_768x256", "cycles", 768_885),
    ("cortex-m0plus", "matvec_1536x512", "instructions", 2_750_059),
    ("cortex-m0plus", "matvec_1536x512", "cycles", 3_061_301),
    ("cortex-m0plus", "gru_step_128", "instructions", 230_812),
    ("cortex-m0plus", "gru_step_128", "cycles", 278_280),
    ("cortex-m0plus", "gru_step_256", "instructions", 808_569),
    ("cortex-m0plus", "gru_step_256", "cycles", 940_680),
    ("cortex-m0plus", "logits_64x128", "instructions", 37_336),
    ("cortex-m0plus", "logits_64x128", "cycles", 45_391),
    ("cortex-m0plus", "draw_64", "instructions", 8_824),
    ("cortex-m0plus", "draw_64", "cycles", 12_641),
    ("cortex-m0plus", "whole_character_128", "instructions", 276_969),
    ("cortex-m0plus", "whole_character_128", "cycles", 336_298),
    ("cortex-m0plus", "image_parse", "instructions", 11_066_580),
    ("cortex-m0plus", "image_parse", "cycles", 13_764_906),
    ("cortex-m0plus", "selftest_boot", "instructions", 33_557),
    ("cortex-m0plus", "selftest_boot", "cycles", 48_119),
    ("cortex-m0plus", "peak_stack", "bytes", 940),
    ("cortex-m0plus", "ram", "bytes", 648),
    ("cortex-m0plus", "code_and_tables", "bytes", 14_276),
    ("rv32imac", "matvec_384x128", "instructions", 158_654),
    ("rv32imac", "matvec_768x256", "instructions", 630_558),
    ("rv32imac", "matvec_1536x512", "instructions", 2_514_398),
    ("rv32imac", "gru_step_128", "instructions", 266_559),
    ("rv32imac", "gru_step_256", "instructions", 974_044),
    ("rv32imac", "logits_64x128", "instructions", 43_528),
    ("rv32imac", "draw_64", "instructions", 7_133),
    ("rv32imac", "whole_character_128", "instructions", 317_235),
    ("rv32imac", "image_parse", "instructions", 7_652_049),
    ("rv32imac", "selftest_boot", "instructions", 27_766),
    ("rv32imac", "peak_stack", "bytes", 872),
    ("rv32imac", "ram", "bytes", 648),
    ("rv32imac", "code_and_tables", "bytes", 14_934),
];

#[test]
fn no_count_has_grown() {
    let counts = counts(root()).unwrap_or_else(|error| panic!("{error}"));
    let mut grown = Vec::new();
    for &(core, what, unit, pinned) in PINNED {
        let found = counts
            .iter()
            .find(|count| (count.core, count.what, count.unit) == (core, what, unit));
        let value = found.map(|count| count.value);
        if value.is_none_or(|value| value * 100 > pinned * (100 + MARGIN)) {
            grown.push(format!(
                "{core} {what}: expected {pinned} {unit}, found {value:?}"
            ));
        }
    }
    assert!(grown.is_empty(), "{}", grown.join("\n"));
    // Nothing is counted and not pinned.
    assert_eq!(counts.len(), PINNED.len());
}
