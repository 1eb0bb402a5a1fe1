//! Sizes that code in assembly counts on.

/// Makes the assembler refuse code from the label `start` to here that has another size than `bytes`: code that jumps into an
/// unrolled loop counts on it.
// A size that is too small is a negative `.space`, one that is too large an `.org` that goes back.
macro_rules! assert_size {
    ($start:literal, $bytes:literal) => {
        concat!(
            "99:\n.space 99b - ",
            $start,
            " - ",
            $bytes,
            "\n.org ",
            $start,
            " + ",
            $bytes
        )
    };
}
pub(crate) use assert_size;
