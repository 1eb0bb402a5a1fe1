//! The memory map and the constants, from the board's row in `firmware/host/src/boards.rs`.

fn main() {
    pipsqueak_board_build::configure();
}
