//! `trainer report`: the page tells what the files say, as read here by other means, and nothing in them gets beyond being text.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{refused, said};
use serde_json::Value;
use trainer::data::corpus::{Corpus, CorpusOptions};
use trainer::network::Network;
use trainer::training::config::Config;
use trainer::training::{self, Data, Plan, Request, Row, Watch};

/// A text that does harm where it is not escaped.
const HOSTILE: &str = "<script>alert(\"1\" & '2')</script>\n";

/// And such a name of a file.
const CORPUS: &str = "<script>alert(1)<!-- & \"co\".txt";

struct Training {
    folder: tempfile::TempDir,
}

impl Training {
    /// A small network on the hostile text.
    fn new(more: &[&str]) -> Self {
        let training = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        fs::write(training.folder.path().join(CORPUS), HOSTILE.repeat(40)).unwrap();
        let (corpus, out) = (training.path(CORPUS), training.path("out"));
        let options = "--hidden-size 12 --steps 60 --batch-size 4 --seq-len 16 --eval-every 20 --ngram-order 0 --quiet";
        let mut arguments = vec!["train", &corpus, "--out", &out];
        arguments.extend(options.split(' '));
        arguments.extend(more);
        said(&arguments);
        training
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().into()
    }

    fn out(&self, name: &str) -> PathBuf {
        self.folder.path().join("out").join(name)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.out(name)).unwrap()
    }

    /// The page.
    fn report(&self, more: &[&str]) -> String {
        let out = self.path("out");
        let said = said(&[&["report", &out], more].concat());
        assert_eq!(
            said,
            format!("wrote {}\n", self.out("report.html").display())
        );
        self.read("report.html")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> &'a str {
    let begin = text.find(before).unwrap_or_else(|| panic!("no {before}")) + before.len();
    let end = text[begin..]
        .find(after)
        .unwrap_or_else(|| panic!("no {after}"));
    &text[begin..][..end]
}

/// A part of the page, by its id.
fn section<'a>(page: &'a str, id: &str) -> &'a str {
    between(page, &format!("<section id=\"{id}\">"), "</section>")
}

/// The points of the line of a colour.
fn line(chart: &str, colour: &str) -> Vec<(f64, f64)> {
    let tag = chart.split("<polyline").find(|tag| {
        tag.contains(&format!("stroke=\"{colour}\"")) && tag.contains("stroke-width=\"4\"")
    });
    let points = between(tag.expect("a line"), "points=\"", "\"");
    let point = |point: &str| {
        let (x, y) = point.split_once(',').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    points.split_whitespace().map(point).collect()
}

/// Points stand where values are, but for a scale, a shift and a pixel.
fn assert_shows(points: &[(f64, f64)], values: &[(f64, f64)]) {
    assert_eq!(points.len(), values.len());
    for axis in [|p: &(f64, f64)| p.0, |p: &(f64, f64)| p.1] {
        let (points, values): (Vec<f64>, Vec<f64>) = (
            points.iter().map(axis).collect(),
            values.iter().map(axis).collect(),
        );
        let place = |least: bool| {
            let order = |a: &usize, b: &usize| values[*a].total_cmp(&values[*b]);
            let indices = 0..values.len();
            if least {
                indices.min_by(order)
            } else {
                indices.max_by(order)
            }
            .unwrap()
        };
        let (low, high) = (place(true), place(false));
        let scale = (points[high] - points[low]) / (values[high] - values[low]);
        assert!((points[high] - points[low]).abs() > 100.0, "{points:?}");
        for (point, value) in points.iter().zip(&values) {
            let expected = points[low] + scale * (value - values[low]);
            assert!(
                (point - expected).abs() <= 1.5,
                "{value} at {point}, not {expected}"
            );
        }
    }
}

#[test]
fn the_page_tells_what_the_files_say() {
    let training = Training::new(&["--split", "80/20/0"]);
    let (out, onnx, pip) = (
        training.path("out"),
        training.path("out/model.onnx"),
        training.path("out/model.pip"),
    );
    let in_memory = training.report(&[]);
    let exported: Value = serde_json::from_str(&said(&["export", &onnx, "--json"])).unwrap();
    let page = training.report(&[]);
    // The network is rounded by the same code, whether in memory or before.
    assert_eq!(
        in_memory.replace("model.onnx</code>", "model.pip</code>"),
        page
    );

    // loss.csv
    let csv = training.read("loss.csv");
    let rows: Vec<Vec<&str>> = csv
        .lines()
        .skip(1)
        .map(|row| row.split(',').collect())
        .collect();
    assert!(rows.len() >= 60);
    let column = |index: usize| -> Vec<(f64, f64)> {
        let given = rows.iter().filter(|row| !row[index].is_empty());
        given
            .map(|row| (row[0].parse().unwrap(), row[index].parse().unwrap()))
            .collect()
    };
    let charts = section(&page, "training");
    let (losses, rates) = charts.split_once("</svg>").unwrap();
    assert_shows(&line(losses, "#2563C9"), &column(2));
    assert_eq!(column(3).len(), 3);
    assert_eq!(losses.matches("<circle").count(), 3);
    let both = [line(losses, "#2563C9"), line(losses, "#C2410C")].concat();
    assert_shows(&both, &[column(2), column(3)].concat());
    assert_shows(&line(rates, "#0F766E"), &column(4));

    // config.toml and metrics.json
    let metrics: Value = serde_json::from_str(&training.read("metrics.json")).unwrap();
    let loss = metrics["dev_loss"].as_f64().unwrap();
    for fact in [
        format!("<dt>dev loss, nats</dt><dd>{loss:.4}</dd>"),
        format!("<dt>weights</dt><dd>{}</dd>", metrics["parameters"]),
        "<dt>steps</dt><dd>60</dd>".into(),
        format!("Trained on <b>{}</b>", escaped(CORPUS)),
    ] {
        assert!(page.contains(&fact), "{fact}");
    }
    let config: toml::Table = training.read("config.toml").parse().unwrap();
    for (name, value) in config["optimizer"].as_table().unwrap() {
        let value = value.as_str().map_or(value.to_string(), String::from);
        let row = format!("<td>optimizer.{name}</td><td>{value}</td>");
        assert!(section(&page, "settings").contains(&row), "{row}");
    }

    // samples.jsonl
    let samples = training.read("samples.jsonl");
    let samples: Vec<Value> = samples
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<u64> = samples
        .iter()
        .map(|sample| sample["step"].as_u64().unwrap())
        .collect();
    assert_eq!(steps, [20, 40, 60]);
    for sample in &samples {
        let text = sample["text"].as_str().unwrap();
        assert!(text.chars().count() > 100);
        assert!(
            section(&page, "samples").contains(&format!(">{}</pre>", escaped(text))),
            "{text}"
        );
    }

    // Samples at temperatures are those of generate.
    for temperature in ["0.3", "0.8", "1.0", "1.3", "1.8"] {
        let text = said(&[
            "generate",
            &pip,
            "--length",
            "300",
            "--temperature",
            temperature,
        ]);
        let shown = format!(
            "temperature {temperature}</h3><pre dir=\"auto\">{}</pre>",
            escaped(text.strip_suffix('\n').unwrap())
        );
        assert!(section(&page, "temperatures").contains(&shown), "{shown}");
    }

    // Tensors and boards are those of export.
    let tensors = exported["tensors"].as_array().unwrap();
    assert!(tensors.len() > 3);
    for tensor in tensors {
        let percent = format!(
            "{:.2} %",
            100.0 * tensor["relative_error"].as_f64().unwrap()
        );
        let name = escaped(tensor["name"].as_str().unwrap());
        let row = between(
            section(&page, "tensors"),
            &format!("<tr><td>{name}</td>"),
            "</tr>",
        );
        assert!(
            row.contains(&format!(">{percent}<"))
                && row.contains(&format!(">{}<", tensor["bytes"])),
            "{tensor}: {row}"
        );
    }
    let boards = exported["model"]["boards"].as_array().unwrap();
    for board in boards {
        let name = board["name"].as_str().unwrap();
        let row = between(
            section(&page, "boards"),
            &format!("<tr><td>{name}</td>"),
            "</tr>",
        );
        let speed = format!("{:.0}", board["characters_per_second"].as_f64().unwrap());
        for number in [board["flash"].to_string(), board["ram"].to_string(), speed] {
            assert!(row.contains(&format!(">{number}<")), "{number}: {row}");
        }
    }
    assert!(boards.len() >= 3);
    let sizes = section(&page, "sizes");
    assert!(sizes.contains(&format!(
        "<td>out</td><td class=\"number\">{}</td><td class=\"number\">{loss:.4}</td>",
        exported["model"]["bytes"]
    )));

    // A model file of another training is refused.
    said(&[
        "train",
        &training.path(CORPUS),
        "--out",
        &out,
        "--hidden-size",
        "12",
        "--steps",
        "5",
        "--batch-size",
        "4",
        "--seq-len",
        "16",
        "--overwrite",
        "--quiet",
    ]);
    let error = refused(&["report", &out]);
    assert!(
        error.contains("model.pip was not exported from the model.onnx in its folder")
            && error.contains("export it again"),
        "{error}"
    );
}

#[test]
fn nothing_in_the_files_is_more_than_text() {
    let training = Training::new(&[]);
    let candidates = training.path("runs.csv");
    fs::write(
        &candidates,
        format!(
            "name,bytes,nats\n\"{}\",5000,2.5\nplain,9000,1.25\n",
            HOSTILE.trim().replace('"', "\"\"")
        ),
    )
    .unwrap();
    let page = training.report(&["--compare", &candidates]);
    assert!(!page.to_lowercase().contains("<script"));
    let samples = training.read("samples.jsonl");
    assert!(
        samples.contains('<'),
        "the network writes what does harm: {samples}"
    );
    let sizes = section(&page, "sizes");
    // In the table, and cut in the chart, by another library's rules.
    assert!(
        sizes.contains(&format!("<td>{}</td>", escaped(HOSTILE.trim()))),
        "{sizes}"
    );
    assert!(
        sizes.contains("\n&lt;script&gt;alert(&quot;1&quot; &amp; &apos;2")
            && sizes.contains("plain"),
        "{sizes}"
    );
    // Nothing is loaded from anywhere.
    for loads in [
        "src=", "href=", "url(", "@import", "<link", "<iframe", "<img", "onload",
    ] {
        assert!(!page.contains(loads), "{loads}");
    }
    assert_eq!(
        page.matches("http").count(),
        page.matches("http://www.w3.org/2000/svg").count() + page.matches("http-equiv").count()
    );
    assert_eq!(page.matches("default-src 'none'").count(), 1);
}

#[test]
fn what_is_missing_or_broken_is_named() {
    let training = Training::new(&[]);
    let out = training.path("out");
    let refuse = |file: &str, text: Option<&str>, expected: &[&str]| {
        let path = training.out(file);
        let whole = fs::read(&path).unwrap();
        match text {
            Some(text) => fs::write(&path, text).unwrap(),
            None => fs::remove_file(&path).unwrap(),
        }
        let error = refused(&["report", &out]);
        for part in [&[file], expected].concat() {
            assert!(error.contains(part), "{part}: {error}");
        }
        fs::write(&path, whole).unwrap();
        assert!(!training.out("report.html").exists());
    };
    let head = "step,tokens,train_loss,dev_loss,learning_rate\n";
    refuse(
        "loss.csv",
        None,
        &["cannot read", "train_loss, dev_loss, learning_rate"],
    );
    refuse(
        "loss.csv",
        Some("step,loss,learning_rate\n1,2,3\n"),
        &["line 2", "missing field `train_loss`"],
    );
    refuse(
        "loss.csv",
        Some(&format!("{head}1,8,2.5,,0.1\n2,16,oops,,0.1\n")),
        &["line 3", "invalid float"],
    );
    refuse(
        "loss.csv",
        Some(&format!("{head}1,8,2.5,,0.1\n2,16\n")),
        &["line 3"],
    );
    refuse(
        "loss.csv",
        Some(&format!("{head}1,8,NaN,,0.1\n")),
        &["line 2", "train_loss NaN"],
    );
    refuse(
        "loss.csv",
        Some(&format!("{head}1,8,1e300,,0.1\n")),
        &["line 2", "not 0 to 1e12"],
    );
    refuse(
        "loss.csv",
        Some(&format!("{head}2,8,1,,0.1\n2,8,1,,0.1\n")),
        &["line 3", "step 2 after step 2"],
    );
    refuse("config.toml", None, &["cannot read", "trainer train --out"]);
    refuse("config.toml", Some("a = ["), &["is not a config.toml"]);
    refuse("config.toml", Some("[data]\n"), &["missing field `model`"]);
    refuse("metrics.json", Some("{}"), &["is not a metrics.json"]);
    refuse("samples.jsonl", Some("{}\n"), &["line 1", "missing field"]);
    refuse("model.onnx", None, &["cannot read"]);
    let error = refused(&["report", &training.path("nowhere")]);
    assert!(
        error.contains("nowhere/config.toml") && error.contains("expected a folder"),
        "{error}"
    );
    let candidates = training.path("runs.csv");
    for (text, expected) in [
        ("name,bytes\na,1\n", "missing field `nats`"),
        ("name,bytes,nats\na,1,2\nb,-1,2\n", "line 3"),
        ("name,bytes,nats\na,1,inf\n", "found nats inf"),
    ] {
        fs::write(&candidates, text).unwrap();
        let error = refused(&["report", &out, "--compare", &candidates]);
        assert!(
            error.contains("runs.csv: line") && error.contains(expected),
            "{error}"
        );
    }
    let model = training.path("out/model.onnx");
    let error = refused(&["report", &out, "--out", &model]);
    assert!(
        error.contains("would replace") && error.contains("model.onnx"),
        "{error}"
    );
    let error = refused(&["report", &out, "--features", "a=1"]);
    assert!(error.contains("takes no features"), "{error}");
    let error = refused(&["report", &out, "--prompt", "\u{5d0}"]);
    assert!(
        error.contains("--prompt") && error.contains('\u{5d0}'),
        "{error}"
    );
    assert!(!training.out("report.html").exists());
}

#[test]
fn trainings_without_validation_samples_or_texts_have_pages_too() {
    let training = Training::new(&["--split", "100/0/0"]);
    fs::remove_file(training.out("samples.jsonl")).unwrap();
    let page = training.report(&["--prompt", "ale", "--length", "5"]);
    assert!(page.contains("The training has no dev part") && !page.contains("<dt>dev"));
    assert!(section(&page, "samples").contains("There is no samples.jsonl"));
    assert!(!section(&page, "sizes").contains("<svg"));
    let shown: Vec<&str> = section(&page, "temperatures")
        .split("<pre dir=\"auto\">")
        .skip(1)
        .collect();
    assert!(
        shown.len() == 5 && shown.iter().all(|text| text.starts_with("ale")),
        "{shown:?}"
    );
    // A training that was stopped at once.
    fs::write(
        training.out("loss.csv"),
        "step,tokens,train_loss,dev_loss,learning_rate\n",
    )
    .unwrap();
    assert!(section(&training.report(&[]), "training").contains("loss.csv has no rows"));
    // One line makes no curve, and is no reason to fail.
    fs::write(
        training.out("loss.csv"),
        "step,tokens,train_loss,dev_loss,learning_rate\n1,9,2.5,2.5,0.001\n",
    )
    .unwrap();
    assert_eq!(
        section(&training.report(&[]), "training")
            .matches("<svg")
            .count(),
        2
    );

    // Lines: classes have no text to draw, texts of features need features.
    let lines: String = (0..60)
        .map(|i| {
            format!(
                "{}\t{} <b>\n",
                ["x", "y"][i % 2],
                ["good", "bad"][i % 2].repeat(1 + i / 2)
            )
        })
        .collect();
    let (file, out) = (training.path("lines.tsv"), training.path("lines"));
    for (task, lines, more, expected) in [
        (
            "classifier",
            lines.clone(),
            &[][..],
            "A classifier is not sampled",
        ),
        (
            "conditional-generator",
            lines,
            &[],
            "give them with --features",
        ),
        (
            "conditional-generator",
            String::new(),
            &["--features", "x=1"],
            "temperature 1.8",
        ),
    ] {
        if !lines.is_empty() {
            fs::write(&file, lines).unwrap();
            said(&[
                "train",
                &file,
                "--task",
                task,
                "--out",
                &out,
                "--hidden-size",
                "8",
                "--steps",
                "20",
                "--quiet",
                "--overwrite",
            ]);
        }
        said(&[&["report", &out], more].concat());
        let page = fs::read_to_string(Path::new(&out).join("report.html")).unwrap();
        assert!(section(&page, "temperatures").contains(expected), "{page}");
        assert!(
            page.contains("<dt>dev loss") && section(&page, "samples").contains("&lt;"),
            "{page}"
        );
    }
}

/// Stops a training after a step.
struct StopAt<'a>(u64, &'a AtomicBool);

impl Watch for StopAt<'_> {
    fn begins(&mut self, _: &Plan) {}
    fn steps(&mut self, step: u64, _: f64) {
        self.1.fetch_or(step == self.0, Ordering::Relaxed);
    }
    fn reports(&mut self, _: &Row, _: &Network) {}
}

#[test]
fn a_resumed_training_ends_with_the_samples_of_one_without_a_stop() {
    let training = Training::new(&[]);
    let whole = training.read("samples.jsonl");
    let config = Config::read(Path::new(&training.path("out/config.toml"))).unwrap();
    let (out, corpus, stop) = (
        training.path("parts"),
        training.path(CORPUS),
        AtomicBool::new(false),
    );
    let read = Corpus::open(Path::new(&corpus), CorpusOptions::default()).unwrap();
    let data = Data::new(&read, &config, None, 1).unwrap();
    let request = Request {
        corpus: &read,
        data: &data,
        config: &config,
        initial: None,
        soft: None,
        out: Path::new(&out),
        resume: None,
        checkpoint_every: Duration::from_secs(60),
        threads: 1,
    };
    training::run(request, &stop, &mut StopAt(30, &stop)).unwrap();
    // As after a crash: samples of steps that the checkpoint does not know.
    let samples = Path::new(&out).join("samples.jsonl");
    fs::write(&samples, &whole).unwrap();
    said(&["train", &corpus, "--out", &out, "--resume", "--quiet"]);
    assert_eq!(fs::read_to_string(&samples).unwrap(), whole);
    assert_eq!(whole.lines().count(), 3);
}
