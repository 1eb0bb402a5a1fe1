//! What a character costs on emulated cores. A change that makes it dearer fails here; one that makes it cheaper lowers the
//! number.

mod common;

use common::root;
use pipsqueak_boards::counts;

/// In percent: above this a number fails.
const MARGIN: u64 = 2;

#[rustfmt::skip]
const PINNED: &[(&str, &str, &str, u64)] = &[
    ("cortex-m4", "matvec_384x128", "instructions", 58_679),
    ("cortex-m4", "matvec_384x128", "cycles", 64_345),
    ("cortex-m4", "matvec_768x256", "instructions", 229_399),
    ("cortex-m4", "matvec_768x256", "cycles", 248_313),
    ("cortex-m4", "matvec_1536x512", "instructions", 907_223),
    ("cortex-m4", "matvec_1536x512", "cycles", 975_673),
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
    ("cortex-m4", "selftest_boot", "instructions", 9_356),
    ("cortex-m4", "selftest_boot", "cycles", 14_219),
    ("cortex-m4", "peak_stack", "bytes", 904),
    ("cortex-m4", "ram", "bytes", 648),
    ("cortex-m4", "code_and_tables", "bytes", 10_604),
    ("cortex-m0plus", "matvec_384x128", "instructions", 177_765),
    ("cortex-m0plus", "matvec_384x128", "cycles", 198_563),
    ("cortex-m0plus", "matvec_768x256", "instructions", 704_102),
    ("cortex-m0plus", "matvec_768x256", "cycles", 784_004),
    ("cortex-m0plus", "matvec_1536x512", "instructions", 2_802_789),
    ("cortex-m0plus", "matvec_1536x512", "cycles", 3_116_099),
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
    ("cortex-m0plus", "selftest_boot", "instructions", 17_590),
    ("cortex-m0plus", "selftest_boot", "cycles", 24_760),
    ("cortex-m0plus", "peak_stack", "bytes", 940),
    ("cortex-m0plus", "ram", "bytes", 648),
    ("cortex-m0plus", "code_and_tables", "bytes", 10_960),
    ("rv32imac", "matvec_384x128", "instructions", 224_003),
    ("rv32imac", "matvec_768x256", "instructions", 890_275),
    ("rv32imac", "matvec_1536x512", "instructions", 3_549_923),
    ("rv32imac", "gru_step_128", "instructions", 266_559),
    ("rv32imac", "gru_step_256", "instructions", 974_044),
    ("rv32imac", "logits_64x128", "instructions", 43_528),
    ("rv32imac", "draw_64", "instructions", 7_133),
    ("rv32imac", "whole_character_128", "instructions", 317_235),
    ("rv32imac", "image_parse", "instructions", 7_652_049),
    ("rv32imac", "selftest_boot", "instructions", 15_256),
    ("rv32imac", "peak_stack", "bytes", 872),
    ("rv32imac", "ram", "bytes", 648),
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
