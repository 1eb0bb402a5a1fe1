//! The predictions against counts on emulated cores: characters of the shapes that they were fitted to and of others, three
//! of them shipped models. Where what a character costs has changed: `make firmware bench-programs`, then
//! `cargo run --release -p pipsqueak-boards --bin measure -- --fit`.

mod common;

use common::root;
use pipsqueak_boards::{BOARDS, Board, Footprint, Measurements};

/// In percent: above this a prediction fails.
const MARGIN: f64 = 3.0;

#[test]
fn predictions_hold() {
    let found = Measurements::take(root()).unwrap_or_else(|error| panic!("{error}"));
    let mut failures = Vec::new();
    for character in &found.characters {
        let (core, name, counted) = (character.core, &character.name, character.cycles);
        let predicted = character.shape.cycles(core);
        let error = 100.0 * (predicted / counted as f64 - 1.0);
        let line = format!(
            "{core:<12} {name:<40} predicted {predicted:>10.0} cycles, counted {counted:>8}: {error:+.2} %"
        );
        println!("{line}");
        if error.abs() > MARGIN {
            failures.push(line);
        }
    }
    for board in &BOARDS {
        let measured = found.footprints.iter().find(|f| f.board == board.name);
        let (measured, fitted) = (measured.unwrap(), Footprint::of(board));
        let far = |a: usize, b: usize| a.abs_diff(b) * 100 > b * MARGIN as usize;
        if far(fitted.flash, measured.flash) || far(fitted.stack, measured.stack) {
            failures.push(format!("measured {measured:?}, predicted from {fitted:?}"));
        }
    }
    assert!(
        failures.is_empty(),
        "fit the predictions anew (make firmware bench-programs, then measure -- --fit):\n{}",
        failures.join("\n")
    );
    // Every core was tried on shapes that it was not fitted to.
    for core in BOARDS.each_ref().map(|board: &Board| board.core) {
        let unseen = found
            .characters
            .iter()
            .filter(|c| c.core == core && !c.fitted);
        assert!(unseen.count() >= 3, "{core}");
    }
}
