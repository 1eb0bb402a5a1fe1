//! What the user of a text should know, and what is no error.

/// Something about a text that its user should know. Commands print notices; the library returns them.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Notice {
    /// There was a byte order mark.
    #[error("the byte order mark at the beginning is skipped")]
    ByteOrderMark,
    /// Line ends were converted.
    #[error("{count} CR or CR LF line ends are read as LF; --keep-cr keeps them")]
    CarriageReturns {
        /// The number of carriage returns.
        count: u64,
    },
    /// The vocabulary, which comes from the training part, does not cover the held-out text.
    #[error("held-out text: {summary}; the loss leaves them out")]
    OutOfVocabulary {
        /// How many characters or words, and some of them.
        summary: String,
    },
}
