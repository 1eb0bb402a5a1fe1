//! What a character costs on emulated cores. A change that makes it dearer fails here; one that makes it cheaper lowers the
//! number.

mod common;

use common::root;
use pipsqueak_boards::{Count, counts};

/// In percent: above this a number fails.
const MARGIN: u64 = 2;

#[rustfmt::skip]
const PINNED: &[(&str, &str, &str, u64)] = &[
    ("cortex-m4", "matvec_384x128", "instructions", 57_579),
    ("cortex-m4", "matvec_384x128", "cycles", 62_157),
    ("cortex-m4", "matvec_768x256", "instructions", 227_211),
    ("cortex-m4", "matvec_768x256", "cycles", 243_981),
    ("cortex-m4", "matvec_1536x512", "instructions", 902_859),
    ("cortex-m4", "matvec_1536x512", "cycles", 967_053),
    ("cortex-m4", "gru_step_128", "instructions", 73_251),
    ("cortex-m4", "gru_step_128", "cycles", 82_074),
    ("cortex-m4", "gru_step_256", "instructions", 258_211),
    ("cortex-m4", "gru_step_256", "cycles", 283_258),
    ("cortex-m4", "logits_64x128", "instructions", 11_872),
    ("cortex-m4", "logits_64x128", "cycles", 13_685),
    ("cortex-m4", "draw_64", "instructions", 1_912),
    ("cortex-m4", "draw_64", "cycles", 2_622),
    ("cortex-m4", "whole_character_128", "instructions", 87_130),
    ("cortex-m4", "whole_character_128", "cycles", 98_522),
    ("cortex-m4", "image_parse", "instructions", 7_550_864),
    ("cortex-m4", "image_parse", "cycles", 9_796_985),
    ("cortex-m4", "selftest_boot", "instructions", 15_575),
    ("cortex-m4", "selftest_boot", "cycles", 23_113),
    ("cortex-m4", "peak_stack", "bytes", 564),
    ("cortex-m4", "ram", "bytes", 640),
    ("cortex-m4", "code_and_tables", "bytes", 10_538),
    ("cortex-m0plus", "matvec_384x128", "instructions", 173_846),
    ("cortex-m0plus", "matvec_384x128", "cycles", 194_134),
    ("cortex-m0plus", "matvec_768x256", "instructions", 690_070),
    ("cortex-m0plus", "matvec_768x256", "cycles", 768_950),
    ("cortex-m0plus", "matvec_1536x512", "instructions", 2_750_103),
    ("cortex-m0plus", "matvec_1536x512", "cycles", 3_061_369),
    ("cortex-m0plus", "gru_step_128", "instructions", 200_031),
    ("cortex-m0plus", "gru_step_128", "cycles", 227_541),
    ("cortex-m0plus", "gru_step_256", "instructions", 741_893),
    ("cortex-m0plus", "gru_step_256", "cycles", 834_903),
    ("cortex-m0plus", "logits_64x128", "instructions", 32_595),
    ("cortex-m0plus", "logits_64x128", "cycles", 37_742),
    ("cortex-m0plus", "draw_64", "instructions", 4_904),
    ("cortex-m0plus", "draw_64", "cycles", 7_243),
    ("cortex-m0plus", "whole_character_128", "instructions", 237_670),
    ("cortex-m0plus", "whole_character_128", "cycles", 272_730),
    ("cortex-m0plus", "image_parse", "instructions", 10_033_462),
    ("cortex-m0plus", "image_parse", "cycles", 12_087_272),
    ("cortex-m0plus", "selftest_boot", "instructions", 28_837),
    ("cortex-m0plus", "selftest_boot", "cycles", 40_368),
    ("cortex-m0plus", "peak_stack", "bytes", 672),
    ("cortex-m0plus", "ram", "bytes", 640),
    ("cortex-m0plus", "code_and_tables", "bytes", 11_514),
    ("rv32imac", "matvec_384x128", "instructions", 158_657),
    ("rv32imac", "matvec_768x256", "instructions", 630_561),
    ("rv32imac", "matvec_1536x512", "instructions", 2_514_401),
    ("rv32imac", "gru_step_128", "instructions", 181_415),
    ("rv32imac", "gru_step_256", "instructions", 675_684),
    ("rv32imac", "logits_64x128", "instructions", 29_849),
    ("rv32imac", "draw_64", "instructions", 2_830),
    ("rv32imac", "whole_character_128", "instructions", 214_219),
    ("rv32imac", "image_parse", "instructions", 6_811_951),
    ("rv32imac", "selftest_boot", "instructions", 24_056),
    ("rv32imac", "peak_stack", "bytes", 572),
    ("rv32imac", "ram", "bytes", 640),
    ("rv32imac", "code_and_tables", "bytes", 13_130),
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
    // A board tests itself at every start; the slowest has 16 million cycles a second.
    let boot = |count: &&Count| (count.core, count.what) == ("cortex-m0plus", "selftest_boot");
    let cycles = counts.iter().filter(boot).map(|count| count.value).max();
    assert!(cycles.is_some_and(|cycles| cycles * 1000 <= 50 * 16_000_000));
    // Nothing is counted and not pinned.
    assert_eq!(counts.len(), PINNED.len());
}
