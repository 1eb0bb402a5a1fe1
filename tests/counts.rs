//! What a character costs on emulated cores. A change that makes it dearer fails here; one that makes it cheaper lowers the
//! number.

mod common;

use common::root;
use pipsqueak_boards::{Count, counts};

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
    ("cortex-m4", "gru_step_128", "instructions", 73_284),
    ("cortex-m4", "gru_step_128", "cycles", 82_166),
    ("cortex-m4", "gru_step_256", "instructions", 258_212),
    ("cortex-m4", "gru_step_256", "cycles", 283_318),
    ("cortex-m4", "logits_64x128", "instructions", 11_803),
    ("cortex-m4", "logits_64x128", "cycles", 13_577),
    ("cortex-m4", "draw_64", "instructions", 1_978),
    ("cortex-m4", "draw_64", "cycles", 2_722),
    ("cortex-m4", "whole_character_128", "instructions", 87_160),
    ("cortex-m4", "whole_character_128", "cycles", 98_606),
    ("cortex-m4", "image_parse", "instructions", 7_554_807),
    ("cortex-m4", "image_parse", "cycles", 9_803_608),
    ("cortex-m4", "selftest_boot", "instructions", 19_546),
    ("cortex-m4", "selftest_boot", "cycles", 29_868),
    ("cortex-m4", "peak_stack", "bytes", 636),
    ("cortex-m4", "ram", "bytes", 640),
    ("cortex-m4", "code_and_tables", "bytes", 10_758),
    ("cortex-m0plus", "matvec_384x128", "instructions", 173_803),
    ("cortex-m0plus", "matvec_384x128", "cycles", 194_069),
    ("cortex-m0plus", "matvec_768x256", "instructions", 690_027),
    ("cortex-m0plus", "matvec_768x256", "cycles", 768_885),
    ("cortex-m0plus", "matvec_1536x512", "instructions", 2_750_059),
    ("cortex-m0plus", "matvec_1536x512", "cycles", 3_061_301),
    ("cortex-m0plus", "gru_step_128", "instructions", 200_071),
    ("cortex-m0plus", "gru_step_128", "cycles", 227_586),
    ("cortex-m0plus", "gru_step_256", "instructions", 741_933),
    ("cortex-m0plus", "gru_step_256", "cycles", 834_916),
    ("cortex-m0plus", "logits_64x128", "instructions", 32_360),
    ("cortex-m0plus", "logits_64x128", "cycles", 37_385),
    ("cortex-m0plus", "draw_64", "instructions", 5_022),
    ("cortex-m0plus", "draw_64", "cycles", 7_461),
    ("cortex-m0plus", "whole_character_128", "instructions", 237_594),
    ("cortex-m0plus", "whole_character_128", "cycles", 272_636),
    ("cortex-m0plus", "image_parse", "instructions", 9_950_523),
    ("cortex-m0plus", "image_parse", "cycles", 11_831_705),
    ("cortex-m0plus", "selftest_boot", "instructions", 33_557),
    ("cortex-m0plus", "selftest_boot", "cycles", 48_119),
    ("cortex-m0plus", "peak_stack", "bytes", 728),
    ("cortex-m0plus", "ram", "bytes", 640),
    ("cortex-m0plus", "code_and_tables", "bytes", 11_774),
    ("rv32imac", "matvec_384x128", "instructions", 158_654),
    ("rv32imac", "matvec_768x256", "instructions", 630_558),
    ("rv32imac", "matvec_1536x512", "instructions", 2_514_398),
    ("rv32imac", "gru_step_128", "instructions", 181_471),
    ("rv32imac", "gru_step_256", "instructions", 675_740),
    ("rv32imac", "logits_64x128", "instructions", 29_772),
    ("rv32imac", "draw_64", "instructions", 2_894),
    ("rv32imac", "whole_character_128", "instructions", 214_262),
    ("rv32imac", "image_parse", "instructions", 6_815_603),
    ("rv32imac", "selftest_boot", "instructions", 27_766),
    ("rv32imac", "peak_stack", "bytes", 620),
    ("rv32imac", "ram", "bytes", 640),
    ("rv32imac", "code_and_tables", "bytes", 13_480),
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
