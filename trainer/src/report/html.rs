//! The page of `trainer report`: one HTML file that needs nothing else.
//!
//! | file | what |
//! |---|---|
//! | `files` | what a training has left in its folder, and a table of candidates |
//! | `chart` | the charts, as SVG |
//! | `style.css` | how it looks, in light and dark |

mod chart;
pub mod files;

use crate::quantize::TensorReport;
use crate::report::text::{BoardReport, ImageReport};
use crate::training::samples::Sample;
use files::{Candidate, Losses, Record};
use maud::{DOCTYPE, Markup, PreEscaped, html};

/// Everything that the page tells. All texts are as they were found: the page escapes them.
#[derive(Debug)]
pub struct Page {
    /// What the model is called.
    pub name: String,
    /// `train.toml`.
    pub record: Record,
    /// `loss.csv`, in the order of steps.
    pub losses: Vec<Losses>,
    /// What the network wrote while it was trained, in the order of steps.
    pub samples: Vec<Sample>,
    /// The network in integers, or why it cannot be.
    pub integers: Result<Integers, String>,
    /// What the network writes now, or why nothing is shown.
    pub drawn: Result<Vec<Drawn>, String>,
    /// Other models to compare with.
    pub candidates: Vec<Candidate>,
}

/// A network in integers.
#[derive(Debug)]
pub struct Integers {
    /// The file that it is from.
    pub from: &'static str,
    /// What the image needs.
    pub image: ImageReport,
    /// What became of each tensor.
    pub tensors: Vec<TensorReport>,
}

/// A text at a temperature.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    /// As it was given.
    pub temperature: &'static str,
    /// What was written.
    pub text: String,
}

/// The most samples of the training that are shown.
const SAMPLES: usize = 12;

/// Nothing is loaded, and nothing runs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

impl Page {
    /// The page.
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

    /// Title and the numbers that matter most.
    fn head(&self) -> Markup {
        let record = &self.record;
        let mut facts: Vec<(&str, String)> = Vec::new();
        if let Some(loss) = record.validation_loss() {
            facts.push(("validation loss, nats", format!("{loss:.4}")));
        }
        let more = [
            ("bits per character", "validation_bits", 4),
            ("training loss, nats", "train_loss", 4),
            ("weights", "parameters", 0),
            ("steps", "steps", 0),
            ("seconds of training", "seconds", 0),
        ];
        for (name, key, decimals) in more {
            if let Some(value) = record.result(key) {
                facts.push((name, format!("{value:.decimals$}")));
            }
        }
        if let Ok(Integers { image, .. }) = &self.integers {
            facts.push(("bytes of the image", image.bytes.to_string()));
        }
        html! {
            header {
                h1 { (self.name) }
                p {
                    "Trained on " b { (record.corpus()) } "."
                    @if let Ok(Integers { from, image, .. }) = &self.integers {
                        " The network: " (image.network()) ". In integers from " code { (from) } "."
                    }
                }
                dl.facts {
                    @for (name, value) in facts { div { dt { (name) } dd { (value) } } }
                }
            }
        }
    }

    fn training(&self) -> Markup {
        let validated = self.losses.iter().any(|row| row.validation_loss.is_some());
        html! {
            section id="training" {
                h2 { "Training" }
                @if self.losses.is_empty() {
                    p.note { "loss.csv has no lines yet: the training was stopped before its first one." }
                } @else {
                    figure {
                        figcaption {
                            "Loss in nats: " span.key.train { "training, smoothed" }
                            @if validated { " " span.key.validation { "validation" } }
                        }
                        (svg("Losses by steps", &chart::losses(&self.losses)))
                    }
                    @if !validated {
                        p.note { "Nothing was held back from the training, so there is no validation loss." }
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
                @match &self.drawn {
                    Err(why) => p.note { (why) },
                    Ok(drawn) => div.cards {
                        @for Drawn { temperature, text } in drawn {
                            article { h3 { "temperature " (temperature) } pre dir="auto" { (text) } }
                        }
                    },
                }
            }
        }
    }

    fn over_time(&self) -> Markup {
        let shown = spread(self.samples.len(), SAMPLES);
        html! {
            section id="samples" {
                h2 { "Samples over time" }
                @if self.samples.is_empty() {
                    p.note { "There is no samples.jsonl: a training writes it beside its model, with --sample-every STEPS." }
                } @else {
                    div.cards {
                        @for sample in shown.into_iter().map(|index| &self.samples[index]) {
                            article {
                                h3 {
                                    "step " (sample.step)
                                    @if let Some(loss) = sample.validation_loss {
                                        small { "validation " (format!("{loss:.4}")) }
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
                @match &self.integers {
                    Err(why) => p.note { (why) },
                    Ok(Integers { image, .. }) => {
                        div.wide { table {
                            thead { tr {
                                th { "board" } th { "core" } th { "fits" }
                                th.number { "flash, bytes" } th.number { "RAM, bytes" } th.number { "stack, bytes" } th.number { "characters/s" }
                            } }
                            tbody { @for board in &image.boards { (row_of_board(image, board)) } }
                        } }
                        p.note {
                            "Characters per second are predicted for temperature 0.8 from counts on emulated cores. Flash and stack are those of the \
                             whole firmware with this image, RAM is what the image takes while it runs."
                        }
                    }
                }
            }
        }
    }

    fn sizes(&self) -> Markup {
        let mut points = self.candidates.clone();
        let loss = self.record.validation_loss();
        if let (Ok(Integers { image, .. }), Some(nats)) = (&self.integers, loss) {
            let (name, bytes) = (self.name.clone(), image.bytes as u64);
            points.push(Candidate { name, bytes, nats });
        }
        points.sort_by(|a, b| {
            (a.bytes, a.nats)
                .partial_cmp(&(b.bytes, b.nats))
                .expect("numbers")
        });
        html! {
            section id="sizes" {
                h2 { "Nats against bytes" }
                @if points.is_empty() {
                    p.note { "This model has no validation loss or no image, and no --candidates were given." }
                } @else {
                    figure {
                        figcaption {
                            span.key.other { "models" } " by the bytes of their images; the line: " span.key.train { "no smaller one foresees better" }
                        }
                        (svg("Nats against bytes", &chart::sizes(&points)))
                    }
                    div.wide { table {
                        thead { tr { th { "model" } th.number { "bytes" } th.number { "nats" } } }
                        tbody { @for point in &points {
                            tr { td { (point.name) } td.number { (point.bytes) } td.number { (format!("{:.4}", point.nats)) } }
                        } }
                    } }
                    @if loss.is_none() {
                        p.note { "This model has no validation loss, so it is not among them." }
                    } @else if self.candidates.is_empty() {
                        p.note { "Others are compared with by --candidates FILE.csv, lines of name,bytes,nats." }
                    }
                }
            }
        }
    }

    fn tensors(&self) -> Markup {
        html! {
            section id="tensors" {
                h2 { "Quantization" }
                @match &self.integers {
                    Err(why) => p.note { (why) },
                    Ok(Integers { tensors, .. }) => {
                        figure {
                            figcaption { span.key.other { "rounding error" } " of each tensor, root of the mean square, in % of its values'" }
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
                h2 { "train.toml" }
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

fn row_of_board(image: &ImageReport, board: &BoardReport) -> Markup {
    let (flash, ram) = (board.prediction.flash, board.prediction.ram);
    html! {
        tr {
            td { (board.name) }
            td { (board.core) ", " (board.clock_hz / 1_000_000) " MHz" }
            td { (image.verdict(board)) }
            td.number { (flash) }
            td.number { (ram) }
            td.number { (board.prediction.stack) }
            td.number { (format!("{:.0}", board.prediction.characters_per_second)) }
        }
    }
}

/// Two digits that say something, also of a small part.
fn percent(part: f64) -> String {
    let percent = 100.0 * part;
    if percent >= 0.1 || percent == 0.0 {
        format!("{percent:.2} %")
    } else {
        format!("{percent:.1e} %")
    }
}

/// A chart with a name for those who do not see it.
fn svg(name: &str, chart: &str) -> Markup {
    html! { div.chart role="img" aria-label=(name) { (PreEscaped(chart)) } }
}

/// At most `most` of `count` indices, evenly, the first and the last among them.
fn spread(count: usize, most: usize) -> Vec<usize> {
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
    fn a_spread_has_both_ends() {
        assert!(spread(0, 3).is_empty());
        assert_eq!(spread(3, 3), [0, 1, 2]);
        assert_eq!(spread(100, 3), [0, 50, 99]);
        for count in 13..200 {
            let shown = spread(count, 12);
            assert!(
                shown.len() == 12 && shown.is_sorted_by(|a, b| a < b),
                "{shown:?}"
            );
            assert_eq!((shown[0], shown[11]), (0, count - 1));
        }
    }
}
