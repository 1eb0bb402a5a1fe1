//! What is learned.

/// What is learned.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    clap::ValueEnum,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Task {
    /// The next token of a text.
    #[default]
    LanguageModel,
    /// `class TAB text`: a class for a text (many-to-one).
    Classifier,
    /// `source TAB target`: a text for a text (sequence-to-sequence).
    SequenceToSequence,
    /// `features TAB text`: a text for a feature vector (one-to-many).
    ConditionalGenerator,
}
