// Runs a Raspberry Pi Pico on rp2040js: node rp2040.mjs FLASH RAM
//
// FLASH is the content of the flash. UART0 is connected to stdin and stdout: bytes arrive at 115,200 baud of the emulated
// time, whether the program reads them or not. On a terminal, Ctrl-A X ends the emulator. When stdin ends, the content of the
// RAM is written to the file RAM.
import { readFileSync, writeFileSync } from "node:fs";
import { ConsoleLogger, LogLevel, Simulator } from "rp2040js";

const FLASH_START = 0x10000000;
const NANOSECONDS_PER_CYCLE = 1e9 / 125e6;
// A start bit, 8 data bits and a stop bit.
const NANOSECONDS_PER_BYTE = (10 * 1e9) / 115_200;
// Between two looks at stdin.
const STEPS_PER_TURN = 100_000;

const { clock, rp2040: chip } = new Simulator();
chip.logger = new ConsoleLogger(LogLevel.Error);
chip.flash.set(readFileSync(process.argv[2]));

// The second stage of the boot is at the start of the flash. The boot ROM, which is not emulated, would call it with LR = 0,
// which makes it start the program.
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

// When the next byte arrives, at the earliest.
let arrival = 0;
function turn() {
  for (let step = 0; step < STEPS_PER_TURN; step++) {
    if (typed.length && clock.nanos >= arrival) {
      // A byte that finds the queue full is lost, as on the chip.
      if (!uart.rxFIFO.full) uart.feedByte(typed.shift());
      else typed.shift();
      arrival = clock.nanos + NANOSECONDS_PER_BYTE;
    }
    if (!chip.core.waiting) {
      clock.tick(chip.core.executeInstruction() * NANOSECONDS_PER_CYCLE);
    } else if (typed.length || clock.nanosToNextAlarm) {
      const toByte = typed.length ? arrival - clock.nanos : Infinity;
      clock.tick(Math.max(Math.min(toByte, clock.nanosToNextAlarm || Infinity), 1));
    } else {
      break;
    }
  }
  if (written.length) process.stdout.write(Buffer.from(written));
  written = [];
  // The program sleeps until something is typed: so does the emulator.
  if (chip.core.waiting && !typed.length) setTimeout(turn, 1);
  else setImmediate(turn);
}
turn();
