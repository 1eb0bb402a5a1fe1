// Runs a Raspberry Pi Pico on rp2040js: node rp2040.mjs FLASH RAM
//
// FLASH is the content of the flash from its start on. UART0 is on stdin and stdout. On a terminal, Ctrl-A X ends. When
// stdin ends, the content of the RAM goes to the file RAM.
import { readFileSync, writeFileSync } from "node:fs";
import { ConsoleLogger, LogLevel, Simulator } from "rp2040js";

const FLASH_START = 0x10000000;
const NANOSECONDS_PER_CYCLE = 1e9 / 125e6;
// Between two looks at stdin.
const STEPS_PER_TURN = 100_000;

const { clock, rp2040: chip } = new Simulator();
chip.logger = new ConsoleLogger(LogLevel.Error);
chip.flash.set(readFileSync(process.argv[2]));

// The second stage of the boot lies first in the flash. The boot ROM, which is not emulated, would call it with LR = 0:
// the sign to go on to the program.
chip.core.PC = FLASH_START;
chip.core.LR = 0;
chip.core.SP = 0x20042000;

// One write per turn, not per byte.
const uart = chip.uart[0];
let written = [];
uart.onByte = (byte) => written.push(byte);

const typed = [];
const CTRL_A = 0x01;
let command = false;
process.stdin.on("data", (bytes) => {
  for (const byte of bytes) {
    if (!process.stdin.isTTY) typed.push(byte);
    else if (command && (byte | 0x20) === 0x78) process.exit(0);
    else if (!(command = !command && byte === CTRL_A)) typed.push(byte);
  }
});
process.stdin.on("end", () => {
  writeFileSync(process.argv[3], chip.sram);
  process.exit(0);
});
process.stdout.on("error", () => process.exit(0));
if (process.stdin.isTTY) process.stdin.setRawMode(true);

function turn() {
  for (let step = 0; step < STEPS_PER_TURN; step++) {
    if (chip.core.waiting) {
      clock.tick(clock.nanosToNextAlarm || NANOSECONDS_PER_CYCLE);
    } else {
      clock.tick(chip.core.executeInstruction() * NANOSECONDS_PER_CYCLE);
    }
    if (typed.length && uart.rxFIFO.empty) uart.feedByte(typed.shift());
  }
  if (written.length) process.stdout.write(Buffer.from(written));
  written = [];
  setImmediate(turn);
}
turn();
