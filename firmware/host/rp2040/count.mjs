// Counts on rp2040js: node count.mjs FLASH START NAME=ADDRESS...
//
// Runs FLASH, the content of the flash, from START. A call of NAME begins at its ADDRESS and ends where the caller goes on.
// When `finish` begins, a line "NAME CALLS INSTRUCTIONS CYCLES JUMPS" per function goes to stdout. rp2040js prices
// instructions as the Cortex-M0+'s Technical Reference Manual does, without wait states. A jump is an instruction after which
// another than the next one is executed.
import { readFileSync } from "node:fs";
import { RP2040 } from "rp2040js";

const [file, start, ...names] = process.argv.slice(2);
const { core, flash } = new RP2040();
flash.set(readFileSync(file));
core.PC = Number(start);

const functions = names.map((name) => {
  const [symbol, address] = name.split("=");
  return { symbol, address: Number(address), calls: 0, instructions: 0, cycles: 0, jumps: 0 };
});
const begins = new Map(functions.map((f) => [f.address, f]));
const finish = functions.find((f) => f.symbol === "finish").address;
// What runs, the innermost last: a function, where its caller goes on, and what the counters were.
const running = [];
let instructions = 0;
let jumps = 0;
const FLASH_START = 0x10000000;
while (core.PC !== finish) {
  const pc = core.PC;
  while (running.at(-1)?.end === pc) {
    const call = running.pop();
    call.f.instructions += instructions - call.instructions;
    call.f.cycles += core.cycles - call.cycles;
    call.f.jumps += jumps - call.jumps;
  }
  const f = begins.get(pc);
  if (f) {
    f.calls++;
    running.push({ f, end: core.LR & ~1, instructions, cycles: core.cycles, jumps });
  }
  // On this core an instruction of 32 bits begins with 11110.
  const next = pc + (flash[pc - FLASH_START + 1] >> 3 === 0b11110 ? 4 : 2);
  core.executeInstruction();
  instructions++;
  if (core.PC !== next) jumps++;
}
for (const f of functions) console.log(f.symbol, f.calls, f.instructions, f.cycles, f.jumps);
