//! Promised sizes, as upper bounds; `cycle_counts.rs` holds the exact ones.

mod common;

use common::{root, shipped};
use pipsqueak_boards::{BoardSpec, Firmware};
use trainer::report::text::ModelReport;

#[test]
fn the_small_model_fits_its_budget() {
    let (_, bytes) = shipped("shakespeare");
    let report = ModelReport::new(&bytes);
    println!("image {} bytes, RAM {:?}", report.bytes, report.ram);
    assert_eq!(report.layers[0].hidden_size, 128);
    assert!(report.bytes <= 90 * 1024, "{} bytes", report.bytes);
    // The firmware has room for 24 layers.
    assert!(report.ram.total <= 1700, "{:?}", report.ram);
    assert!(report.boards.iter().all(|board| board.fits));
}

#[test]
fn the_large_model_fits_the_larger_boards() {
    let (_, bytes) = shipped("shakespeare-256");
    let report = ModelReport::new(&bytes);
    println!("image {} bytes, RAM {:?}", report.bytes, report.ram);
    let fits: Vec<&str> = report
        .boards
        .iter()
        .filter(|board| board.fits)
        .map(|board| board.name)
        .collect();
    assert_eq!(fits, ["stm32f405", "pico"]);
}

#[test]
fn the_firmware_fits_its_budget() {
    for (name, budget) in [("microbit", 53), ("stm32f405", 60), ("pico", 63)] {
        let board = BoardSpec::find(name).expect("a board of the catalogue");
        let firmware = Firmware::read(&board.firmware(root())).expect("make firmware has built it");
        let bytes: usize = firmware.segments.iter().map(|s| s.bytes.len()).sum();
        println!("{name}: {bytes} bytes of flash");
        assert!(bytes <= budget * 1024, "{name}: {bytes} bytes");
    }
}
