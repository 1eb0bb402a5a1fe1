//! What no training step of a GRU can be faster than on this CPU: `peak HIDDEN THREADS`.
//!
//! Each weight of the recurrent matrices is multiplied three times for each character: forward, for the gradient by the state
//! before, and for the gradient by the weight. Measures how many multiplications with an addition the product does in a second where
//! all that it reads is in the first cache, and prints how many characters those alone allow.

use std::hint::black_box;
use std::time::Instant;

use trainer::nn::gemm::tile;
use trainer::nn::simd::products;
use trainer::nn::tensor::{LANES, TILE};

/// Columns of the product that is measured: few enough for the first cache.
const COLUMNS: usize = 64;
/// How often.
const TIMES: u32 = 300_000;

/// Multiplications with an addition, per second, of one thread.
fn multiplications() -> f64 {
    let panel = black_box([[1e-9; TILE]; COLUMNS]);
    let x = black_box([[1e-9; LANES]; COLUMNS]);
    let start = Instant::now();
    let sums = products(
        false,
        #[inline(always)]
        |float| {
            let mut sums = [[0f32; LANES]; TILE];
            for _ in 0..TIMES {
                sums = tile(float, black_box(&panel), &x, sums);
            }
            sums
        },
    );
    black_box(sums);
    f64::from(TIMES) * (COLUMNS * TILE * LANES) as f64 / start.elapsed().as_secs_f64()
}

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().expect("a whole number"))
        .collect();
    let [hidden, threads] = numbers[..] else {
        panic!("expected HIDDEN THREADS");
    };
    // The first round wakes the cores.
    let rounds = (0..5).map(|_| {
        std::thread::scope(|scope| {
            let each: Vec<_> = (0..threads).map(|_| scope.spawn(multiplications)).collect();
            let each = each.into_iter().map(|thread| thread.join().expect("a sum"));
            each.sum::<f64>()
        })
    });
    let best = rounds.fold(0.0, f64::max);
    let each = (3 * 3 * hidden * hidden) as f64;
    println!(
        "{threads} threads: {:.1} GFLOP/s; the recurrent products of {hidden} units alone: at most {:.0} characters/s",
        2e-9 * best,
        best / each
    );
}
