//! What a character costs on emulated cores. A change that makes it dearer fails here; one that makes it cheaper lowers the
//! number.

mod common;

use common::root;
use pipsqueak_boards::counts;

/// In percent: above this a number fails.
const MARGIN: u64 = 2;

#[rustfmt::skip]
const PINNED: &[(&str, &str, &str, u64)] = &[
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
