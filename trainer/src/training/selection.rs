//! What a training chooses on dev.

/// The best weights so far, by their loss on dev. It is also that of a network which is evaluated only once.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// Nats per prediction.
    pub loss: f64,
    /// The weights that the model gets.
    pub weights: Vec<f32>,
    /// Smoothed training loss.
    pub train_loss: f64,
}

/// What is chosen on dev.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Selection {
    /// The best step; none before the first evaluation, or without a dev part.
    pub best: Option<Best>,
    /// Evaluations since then.
    pub stale: u64,
    /// The last loss on dev.
    pub last_loss: Option<f64>,
}
