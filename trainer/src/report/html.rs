//! The HTML report of `trainer report`: one self-contained file.
//!
//! | file | what |
//! |---|---|
//! | `files` | reads the files of a training, and a table of other models |
//! | `chart` | draws the charts as SVG |
//! | `style.css` | the style sheet, light and dark |

mod chart;
pub mod files;

use crate::quantize::TensorReport;
use crate::report::text::{BoardReport, ModelReport};
use crate::training::samples::Sample;
use files::{Candidate, LossPoint, Record};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// The content of a report. Texts are raw; [`html`](Self::html) escapes them.
#[derive(Debug)]
pub struct HtmlReport {
    /// Name of the model.
    pub name: String,
    /// `config.toml` and `metrics.json`.
    pub record: Record,
    /// The rows of `loss.csv`, in the order of steps.
    pub losses: Vec<LossPoint>,
    /// Samples during the training, in the order of steps.
    pub samples: Vec<Sample>,
    /// The quantized model, or why there is none.
    pub quantized: Result<ModelSection, String>,
    /// Samples of the trained model at several temperatures, or why there are none.
    pub temperatures: Result<Vec<TemperatureSample>, String>,
    /// Other models to compare with.
    pub candidates: Vec<Candidate>,
}

/// A quantized model.
#[derive(Debug)]
pub struct ModelSection {
    /// The file that it is made from.
    pub from: &'static str,
    /// Its report.
    pub model: ModelReport,
    /// Its tensors.
    pub tensors: Vec<TensorReport>,
}

/// A sample at a temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct TemperatureSample {
    /// The temperature.
    pub temperature: &'static str,
    /// The text.
    pub text: String,
}

/// At most this many samples of the training are shown.
const SAMPLES: usize = 12;

/// The browser loads nothing and runs no script.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

impl HtmlReport {
    /// Renders the report.
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.name) " - Pipsqueak" }
                    style { (PreEscaped(include_str!("html/style.css"))) }
                }
                body {
                    main {
                        (self.head())
                        (self.training())
                        (self.temperatures())
                        (self.over_time())
                        (self.boards())
                        (self.sizes())
                        (self.tensors())
                        (self.settings())
                    }
                }
            }
        };
        page.into_string()
    }

    /// The title and the most important numbers.
    fn head(&self) -> Markup {
        let record = &self.record;
        let mut facts: Vec<(&str, String)> = Vec::new();
        let metrics = record.metrics();
        if let Some(loss) = record.dev_loss() {
            facts.push(("dev loss, nats", format!("{loss:.4}")));
        }
        if let Some(bits) = metrics.dev_bits_per_char {
            facts.push(("bits per character", format!("{bits:.4}")));
        }
        facts.push(("training loss, nats", format!("{:.4}", metrics.train_loss)));
        facts.push(("weights", metrics.parameters.to_string()));
        facts.push(("steps", metrics.steps.to_string()));
        facts.push(("best step", metrics.best_step.to_string()));
        facts.push(("seconds of training", format!("{:.0}", metrics.seconds)));
        if let Ok(ModelSection { model, .. }) = &self.quantized {
            facts.push(("bytes of the model file", model.bytes.to_string()));
        }
        html! {
            header {
                h1 { (self.name) }
                p {
                    "Trained on " b { (record.metrics().corpus) } "."
                    @if let Ok(ModelSection { from, model, .. }) = &self.quantized {
                        " Network: " (model.network()) ". Quantized model from " code { (from) } "."
                    }
                }
                dl.facts {
                    @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }

    fn training(&self) -> Markup {
        let validated = self.losses.iter().any(|row| row.dev_loss.is_some());
        html! {
            section id="training" {
                h2 { "Training" }
                @if self.losses.is_empty() {
                    p.note { "loss.csv has no rows: the training was stopped before the first one." }
                } @else {
                    figure {
                        figcaption {
                            "Loss in nats: " span.key.train { "training, smoothed" }
                            @if validated { " " span.key.validation { "dev" } }
                        }
                        (svg("LossPoint by steps", &chart::losses(&self.losses)))
                    }
                    @if !validated {
                        p.note { "The training has no dev part, so there is no dev loss." }
                    }
                    figure {
                        figcaption { span.key.other { "learning rate" } }
                        (svg("Learning rate by steps", &chart::learning_rate(&self.losses)))
                    }
                }
            }
        }
    }

    fn temperatures(&self) -> Markup {
        html! {
            section id="temperatures" {
                h2 { "Samples at five temperatures" }
                @match &self.temperatures {
                    Err(why) => p.note { (why) },
                    Ok(samples) => div.cards {
                        @for TemperatureSample { temperature, text } in samples {
                            article { h3 { "temperature " (temperature) } pre dir="auto" { (text) } }
                        }
                    },
                }
            }
        }
    }

    fn over_time(&self) -> Markup {
        let shown = evenly_spaced(self.samples.len(), SAMPLES);
        html! {
            section id="samples" {
                h2 { "Samples over time" }
                @if self.samples.is_empty() {
                    p.note { "There is no samples.jsonl, which `trainer train` writes into its folder." }
                } @else {
                    div.cards {
                        @for sample in shown.into_iter().map(|index| &self.samples[index]) {
                            article {
                                h3 {
                                    "step " (sample.step)
                                    @if let Some(loss) = sample.dev_loss {
                                        small { "dev " (format!("{loss:.4}")) }
                                    }
                                }
                                pre dir="auto" { (sample.text) }
                            }
                        }
                    }
                }
            }
        }
    }

    fn boards(&self) -> Markup {
        html! {
            section id="boards" {
                h2 { "Boards" }
                @match &self.quantized {
                    Err(why) => p.note { (why) },
                    Ok(ModelSection { model, .. }) => {
                        div.wide { table {
                            thead { tr {
                                th { "board" } th { "core" } th { "fits" }
                                th.number { "flash, bytes" } th.number { "RAM, bytes" } th.number { "stack, bytes" } th.number { "characters/s" }
                            } }
                            tbody { @for board in &model.boards { (board_row(model, board)) } }
                        } }
                        p.note {
                            "Characters per second are predicted for temperature 0.8 from instruction counts of emulated cores. Flash and stack are those of \
                             the whole firmware with this model; RAM is what the model needs while it runs."
                        }
                    }
                }
            }
        }
    }

    fn sizes(&self) -> Markup {
        let mut points = self.candidates.clone();
        let loss = self.record.dev_loss();
        if let (Ok(ModelSection { model, .. }), Some(nats)) = (&self.quantized, loss) {
            let (name, bytes) = (self.name.clone(), model.bytes as u64);
            points.push(Candidate { name, bytes, nats });
        }
        points.sort_by(|a, b| {
            (a.bytes, a.nats)
                .partial_cmp(&(b.bytes, b.nats))
                .expect("losses are finite")
        });
        html! {
            section id="sizes" {
                h2 { "Loss against size" }
                @if points.is_empty() {
                    p.note { "This model has no dev loss or cannot be quantized, and no other models are given with --compare." }
                } @else {
                    figure {
                        figcaption {
                            span.key.other { "models" } " by the bytes of their model files; the line joins those that " span.key.train { "no smaller model beats" }
                        }
                        (svg("Loss against size", &chart::sizes(&points)))
                    }
                    div.wide { table {
                        thead { tr { th { "model" } th.number { "bytes" } th.number { "nats" } } }
                        tbody { @for point in &points {
                            tr { td { (point.name) } td.number { (point.bytes) } td.number { (format!("{:.4}", point.nats)) } }
                        } }
                    } }
                    @if loss.is_none() {
                        p.note { "This model has no dev loss, so it is not shown." }
                    } @else if self.candidates.is_empty() {
                        p.note { "Add other models with --compare FILE.csv, with the columns name, bytes, nats." }
                    }
                }
            }
        }
    }

    fn tensors(&self) -> Markup {
        html! {
            section id="tensors" {
                h2 { "Quantization" }
                @match &self.quantized {
                    Err(why) => p.note { (why) },
                    Ok(ModelSection { tensors, .. }) => {
                        figure {
                            figcaption { span.key.other { "rounding error" } " of each tensor: root mean square, in % of the root mean square of its values" }
                            (svg("Quantization error by tensor", &chart::tensors(tensors)))
                        }
                        div.wide { table {
                            thead { tr {
                                th { "tensor" } th.number { "shape" } th.number { "bytes" } th.number { "scale" } th.number { "error" }
                            } }
                            tbody { @for tensor in tensors {
                                @let ([rows, columns], [least, most]) = (tensor.shape, tensor.scale);
                                tr {
                                    td { (tensor.name) }
                                    td.number { (rows) " x " (columns) }
                                    td.number { (tensor.bytes) }
                                    td.number { (format!("{least:.2e} to {most:.2e}")) }
                                    td.number { (percent(tensor.relative_error)) }
                                }
                            } }
                        } }
                    }
                }
            }
        }
    }

    fn settings(&self) -> Markup {
        html! {
            section id="settings" {
                h2 { "config.toml" }
                details {
                    summary { "All settings and results" }
                    div.wide { table { tbody {
                        @for (name, value) in self.record.entries() { tr { td { (name) } td { (value) } } }
                    } } }
                }
            }
        }
    }
}

fn board_row(model: &ModelReport, board: &BoardReport) -> Markup {
    let (flash, ram) = (board.prediction.flash, board.prediction.ram);
    html! {
        tr {
            td { (board.name) }
            td { (board.core) ", " (board.clock_hz / 1_000_000) " MHz" }
            td { (model.format_fit(board)) }
            td.number { (flash) }
            td.number { (ram) }
            td.number { (board.prediction.stack) }
            td.number { (format!("{:.0}", board.prediction.characters_per_second)) }
        }
    }
}

/// A fraction in %, with two significant digits if it is small.
fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    if percent >= 0.1 || percent == 0.0 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1e} %")
    }
}

/// A chart, and its name for screen readers.
fn svg(name: &str, chart: &str) -> Markup {
    html! { div.chart role="img" aria-label=(name) { (PreEscaped(chart)) } }
}

/// At most `most` of `count` indices at equal distances, including the first and the last.
fn evenly_spaced(count: usize, most: usize) -> Vec<usize> {
    if count <= most {
        return (0..count).collect();
    }
    let last = (count - 1) as f64 / (most - 1) as f64;
    (0..most)
        .map(|i| (i as f64 * last).round() as usize)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evenly_spaced_indices_include_both_ends() {
        assert!(evenly_spaced(0, 3).is_empty());
        assert_eq!(evenly_spaced(3, 3), [0, 1, 2]);
        assert_eq!(evenly_spaced(100, 3), [0, 50, 99]);
        for count in 13..200 {
            let shown = evenly_spaced(count, 12);
            assert!(
                shown.len() == 12 && shown.is_sorted_by(|a, b| a < b),
                "{shown:?}"
            );
            assert_eq!((shown[0], shown[11]), (0, count - 1));
        }
    }
}
