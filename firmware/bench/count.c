/* A QEMU plugin. It counts the instructions, and on two cores the cycles, that functions take with everything they call.

   cc -O2 -shared -fPIC -o libcount.so count.c
   qemu-system-... -plugin ./libcount.so,core=CORE,NAME=ADDRESS,...

   CORE is `cortex-m4`, `cortex-m0plus`, `thumb` (another Cortex-M) or `riscv`. A call of NAME begins at its ADDRESS and ends at
   the instruction after the call. When `finish` begins, the plugin prints a line "NAME CALLS INSTRUCTIONS CYCLES JUMPS" per
   function to stdout and ends QEMU. A jump is an instruction that is not followed by the next one in memory.

   Cycles are an estimate: each executed instruction costs what the core's manual says, without wait states: the Technical
   Reference Manuals of the Cortex-M4 (DDI 0439, section 3.3.1) and of the Cortex-M0+ (DDI 0484, section 3.3). On other cores
   they are 0. Those of the Cortex-M0+ equal rp2040js's for every function of the program. */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The part of QEMU's plugin interface that is used here, which is the same in all its versions. */
typedef uint64_t plugin_id;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id, void (*)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, void (*)(unsigned, void *), int, void *);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
extern void *qemu_plugin_insn_haddr(const struct qemu_plugin_insn *);
/* QEMU 9 has it, and takes version 2 of the interface; QEMU before that takes version 1. */
extern void *qemu_plugin_scoreboard_new(size_t) __attribute__((weak));

int qemu_plugin_version;
__attribute__((constructor)) static void choose_version(void) {
    qemu_plugin_version = qemu_plugin_scoreboard_new ? 2 : 1;
}

/* A taken branch refills the pipeline in 1 to 3 cycles. */
enum { REFILL = 2 };
/* A division takes 2 to 12 cycles. */
enum { DIVISION = 7 };

struct instruction {
    uint64_t address, next;
    /* The function that begins here, or null. */
    struct function *function;
    /* What it costs, and what a jump adds. */
    uint8_t cycles, jump;
    /* A single load or store: one cycle less right after another one. */
    bool single;
};

static struct function {
    char name[64];
    uint64_t address, calls, instructions, cycles, jumps;
} functions[64];
static int function_count;
/* The counted functions that run, innermost last: where the caller continues, and what the counters were. */
static struct call {
    struct function *function;
    uint64_t end, instructions, cycles, jumps;
} running[16];
static int depth;
static enum { RISCV, THUMB, CORTEX_M0PLUS, CORTEX_M4 } core;
static uint64_t instructions, cycles, jumps;
static const struct instruction *previous;

static int ones(uint16_t bits) { return __builtin_popcount(bits); }

/* On a Cortex-M0+. As in rp2040js, a PUSH of LR takes no cycle for it. */
static void price_m0plus(struct instruction *i, uint16_t first) {
    unsigned top = first >> 11;
    i->cycles = 1;
    if (i->next - i->address == 4) {
        i->cycles = 3; /* BL, barriers, MRS, MSR */
    } else if (top >= 9 && top <= 19) {
        i->cycles = 2; /* LDR, STR */
    } else if (top == 24 || top == 25 || (first & 0xfe00) == 0xb400) {
        i->cycles = 1 + ones(first & 0xff); /* STM, LDM, PUSH */
    } else if ((first & 0xfe00) == 0xbc00) {
        i->cycles = 1 + ones(first & 0xff) + (first & 0x100 ? 2 : 0); /* POP, perhaps of PC */
    } else if (top == 28 || (first & 0xff00) == 0x4700 || (first & 0xfd87) == 0x4487) {
        i->cycles = 2; /* B, BX, BLX, ADD and MOV to PC */
    } else if ((first & 0xf000) == 0xd000) {
        i->jump = 1; /* B with a condition */
    }
}

/* On a Cortex-M4. */
static void price_m4(struct instruction *i, uint16_t first, uint16_t second) {
    i->cycles = 1;
    i->jump = REFILL;
    if (i->next - i->address == 2) {
        unsigned top = first >> 11;
        if (top == 9 || (top >= 10 && top <= 19)) {
            i->cycles = 2; /* LDR of a literal; LDR and STR by register, immediate and SP */
            i->single = true;
        } else if (top == 24 || top == 25) {
            i->cycles = 1 + ones(first & 0xff); /* STM, LDM */
        } else if ((first & 0xf600) == 0xb400) {
            i->cycles = 1 + ones(first & 0x1ff); /* PUSH, POP, with LR or PC */
        }
    } else if ((first & 0xfe40) == 0xe800) {
        i->cycles = 1 + ones(second); /* STM, LDM, PUSH, POP */
    } else if ((first & 0xfe40) == 0xe840) {
        i->cycles = 3; /* LDRD, STRD, TBB */
    } else if ((first & 0xfe00) == 0xf800) {
        i->cycles = 2; /* LDR, STR */
        i->single = true;
    } else if ((first & 0xffd0) == 0xfb90) {
        i->cycles = DIVISION;
    } else if ((first & 0xef00) == 0xed00) {
        i->cycles = 2; /* VLDR, VSTR */
    }
}

static void report(void) {
    for (int f = 0; f < function_count; f++) {
        const struct function *function = &functions[f];
        printf("%s %llu %llu %llu %llu\n", function->name, (unsigned long long)function->calls,
               (unsigned long long)function->instructions, (unsigned long long)function->cycles,
               (unsigned long long)function->jumps);
    }
    fflush(stdout);
    _exit(0);
}

static void executed(unsigned cpu, void *data) {
    (void)cpu;
    const struct instruction *i = data;
    if (previous && previous->next != i->address) {
        cycles += previous->jump;
        jumps++;
    }
    for (int ended = depth; ended-- > 0;) {
        if (i->address != running[ended].end)
            continue;
        /* A function that was jumped to ends with the one that jumped. */
        while (depth > ended) {
            const struct call *call = &running[--depth];
            call->function->instructions += instructions - call->instructions;
            call->function->cycles += cycles - call->cycles;
            call->function->jumps += jumps - call->jumps;
        }
    }
    if (i->function && previous) {
        if (!strcmp(i->function->name, "finish"))
            report();
        if (depth == sizeof running / sizeof *running) {
            puts("more nested calls than the plugin has room for");
            fflush(stdout);
            _exit(1);
        }
        i->function->calls++;
        /* The instruction before is the call. */
        running[depth++] = (struct call){i->function, previous->next, instructions, cycles, jumps};
    }
    instructions++;
    cycles += i->single && previous && previous->single ? 1 : i->cycles;
    previous = i;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb) {
    (void)id;
    for (size_t n = 0; n < qemu_plugin_tb_n_insns(tb); n++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, n);
        struct instruction *i = calloc(1, sizeof *i);
        uint16_t halves[2] = {0, 0};
        memcpy(halves, qemu_plugin_insn_haddr(insn), sizeof halves);
        i->address = qemu_plugin_insn_vaddr(insn);
        bool wide = core == RISCV ? (halves[0] & 3) == 3 : halves[0] >> 11 >= 0x1d;
        i->next = i->address + (wide ? 4 : 2);
        if (core == CORTEX_M4)
            price_m4(i, halves[0], halves[1]);
        else if (core == CORTEX_M0PLUS)
            price_m0plus(i, halves[0]);
        for (int f = 0; f < function_count; f++)
            if (functions[f].address == i->address)
                i->function = &functions[f];
        qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, 0, i);
    }
}

int qemu_plugin_install(plugin_id id, const void *info, int count, char **arguments) {
    (void)info;
    for (int a = 0; a < count; a++) {
        struct function *function = &functions[function_count];
        const char *value = strchr(arguments[a], '=');
        size_t length = value ? (size_t)(value - arguments[a]) : 0;
        if (!value || length >= sizeof function->name || function_count == 64)
            return -1;
        if (!strncmp(arguments[a], "core", length)) {
            core = !strcmp(value, "=cortex-m4")       ? CORTEX_M4
                   : !strcmp(value, "=cortex-m0plus") ? CORTEX_M0PLUS
                   : !strcmp(value, "=thumb")         ? THUMB
                                                      : RISCV;
        } else {
            memcpy(function->name, arguments[a], length);
            function->address = strtoull(value + 1, NULL, 0);
            function_count++;
        }
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    return 0;
}
