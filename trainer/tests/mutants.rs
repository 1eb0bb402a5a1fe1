//! Damaged models: each is read as what it is, or refused. Nothing panics, and memory stays bounded.
//!
//! A few thousand mutants of the small models in `cases/`; 100,000 where `PIPSQUEAK_EXTENDED` is 1.

use pipsqueak::Pcg32;
use prost::Message;
use rand_core::Rng;
use std::panic::catch_unwind;
use std::path::Path;
use tract_onnx::pb::{AttributeProto, GraphProto, ModelProto};
use trainer::onnx;

struct Random(Pcg32);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0.next_u32() as usize % end.max(1)
    }
}

fn models() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("model.onnx"))
        .collect();
    files.sort();
    files
        .iter()
        .filter_map(|file| std::fs::read(file).ok())
        .collect()
}

/// Changed bytes, missing bytes, bytes twice, or the end cut off.
fn bytes_changed(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for _ in 0..1 + random.below(4) {
        if bytes.is_empty() {
            break;
        }
        let at = random.below(bytes.len());
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][random.below(5)],
            3 => drop(bytes.remove(at)),
            4 => bytes.truncate(at),
            _ => {
                let end = bytes.len().min(at + random.below(24));
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// One of the graph's own fields is another's, or has another number: damage that is still a well-formed file.
fn fields_changed(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut model = ModelProto::decode(file).unwrap();
    let graph = model.graph.as_mut().unwrap();
    for _ in 0..1 + random.below(3) {
        change(graph, random);
    }
    model.encode_to_vec()
}

fn change(graph: &mut GraphProto, random: &mut Random) {
    const NUMBERS: [i64; 10] = [-1, 0, 1, 2, 3, 7, 1 << 20, 1 << 40, i64::MAX, i64::MIN];
    let nodes = graph.node.len();
    let (a, b) = (random.below(nodes), random.below(nodes));
    let number = NUMBERS[random.below(NUMBERS.len())];
    match random.below(12) {
        0 => graph.node.swap(a, b),
        1 => {
            let other = graph.node[b].op_type.clone();
            graph.node[a].op_type = other;
        }
        2 => {
            let count = graph.node[b].input.len();
            let other = graph.node[b]
                .input
                .get(random.below(count))
                .cloned()
                .unwrap_or_default();
            let count = graph.node[a].input.len();
            if let Some(input) = graph.node[a].input.get_mut(random.below(count)) {
                *input = other;
            }
        }
        3 => {
            let other = graph.node[b].attribute.clone();
            graph.node[a].attribute = other;
        }
        4 => graph.node[a].input.reverse(),
        5 => drop(graph.node[a].input.pop()),
        6 => drop(graph.node.remove(a)),
        7 => {
            let count = graph.initializer.len();
            if let Some(tensor) = graph.initializer.get_mut(random.below(count)) {
                let count = tensor.dims.len();
                if let Some(size) = tensor.dims.get_mut(random.below(count)) {
                    *size = number;
                }
            }
        }
        8 => {
            let count = graph.initializer.len();
            let (a, b) = (random.below(count), random.below(count));
            if count > 0 {
                let other = graph.initializer[b].raw_data.clone();
                graph.initializer[a].raw_data = other;
            }
        }
        9 => {
            let count = graph.initializer.len();
            if let Some(tensor) = graph.initializer.get_mut(random.below(count))
                && tensor.raw_data.len() >= 8
            {
                let at = random.below(tensor.raw_data.len() / 8) * 8;
                tensor.raw_data[at..at + 8].copy_from_slice(&number.to_le_bytes());
            }
        }
        10 => {
            let count = graph.node[a].attribute.len();
            if let Some(attribute) = graph.node[a].attribute.get_mut(random.below(count)) {
                number_in(attribute, number, random);
            }
        }
        _ => {
            let body = graph
                .node
                .iter_mut()
                .flat_map(|node| &mut node.attribute)
                .find_map(|attribute| attribute.g.as_mut());
            if let Some(body) = body {
                change(body, random);
            }
        }
    }
}

fn number_in(attribute: &mut AttributeProto, number: i64, random: &mut Random) {
    attribute.i = number;
    attribute.f = number as f32;
    let count = attribute.ints.len();
    if let Some(int) = attribute.ints.get_mut(random.below(count)) {
        *int = number;
    }
    if let Some(tensor) = attribute.t.as_mut() {
        tensor.raw_data = number.to_le_bytes().to_vec();
    }
}

/// The most memory that this process ever had, in bytes, where the system tells.
fn peak() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

#[test]
fn mutants_are_read_or_refused() {
    let extended = std::env::var("PIPSQUEAK_EXTENDED").is_ok_and(|value| value == "1");
    let count = if extended { 100_000 } else { 4_000 };
    let models = models();
    let mut random = Random(Pcg32::new(1, 0));
    let (mut accepted, mut refused, mut checked) = (0, 0, 0);
    for turn in 0..count {
        let file = &models[turn % models.len()];
        let bytes = if turn % 2 == 0 {
            bytes_changed(file, &mut random)
        } else {
            fields_changed(file, &mut random)
        };
        match catch_unwind(|| onnx::read(&bytes)) {
            Ok(Ok(network)) => {
                accepted += 1;
                let again = onnx::write(&network);
                assert_eq!(
                    onnx::read(&again).unwrap(),
                    network.clone().without_batch(),
                    "mutant {turn}"
                );
                // Another program agrees with what was understood; it takes its time.
                if accepted % 50 == 0 {
                    onnx::check(&network, &again)
                        .unwrap_or_else(|error| panic!("mutant {turn}: {error}"));
                    checked += 1;
                }
            }
            Ok(Err(error)) => {
                let error = error.to_string();
                assert!(
                    !error.contains('\n') && error.len() < 2_000,
                    "mutant {turn}: {error}"
                );
                refused += 1;
            }
            Err(_) => panic!("mutant {turn} of a model panics: {bytes:02x?}"),
        }
    }
    println!(
        "{accepted} accepted ({checked} checked by tract), {refused} refused, {:?} bytes at most",
        peak()
    );
    assert!(
        accepted > count / 20 && refused > count / 4,
        "{accepted} accepted, {refused} refused"
    );
    assert!(
        peak().is_none_or(|bytes| bytes < 1 << 30),
        "more than 1 GB of memory"
    );
}
