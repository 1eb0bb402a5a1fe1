//! The plain recurrent layer: `h' = tanh(W x + U h + b)`.

use super::{Shape, shifted, small};
use crate::kernel::ROWS;
use crate::rows::{Factor, Over, outputs};

pub(super) fn step(
    shape: &Shape,
    mut words: &[u32],
    token: &[i8],
    joint: &[i16],
    next: &mut [i16],
) {
    let x = Factor::new(joint, shape.columns(Over::Joint));
    let mut tokens = token.as_chunks::<ROWS>().0.iter();
    for new in next.as_chunks_mut::<ROWS>().0 {
        let token = tokens.next().map_or(&[][..], |token| token);
        let mut sums = [[0; ROWS]];
        outputs(&mut words, &x, token, &mut sums);
        for (new, sum) in new.iter_mut().zip(sums[0]) {
            *new = shifted(small::tanh(sum), shape.shift);
        }
    }
}
