//! What a file contains, judged by its first bytes, and the advice for what is not UTF-8.

/// The number of bytes that are looked at.
pub(super) const SAMPLE: usize = 4096;

/// First bytes of files that are not text, and what such a file is.
const SIGNATURES: [(&[u8], &str); 15] = [
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"%PDF-", "a PDF document"),
    (b"\x1f\x8b", "a gzip archive: unpack it first, with gunzip"),
    (
        b"PK\x03\x04",
        "a zip archive (.zip, .npz, .docx): unpack it first",
    ),
    (b"BZh", "a bzip2 archive: unpack it first, with bunzip2"),
    (b"\xfd7zXZ", "an xz archive: unpack it first, with unxz"),
    (
        b"\x28\xb5\x2f\xfd",
        "a zstd archive: unpack it first, with unzstd",
    ),
    (b"\x7fELF", "a program (ELF)"),
    (b"\x93NUMPY", "a NumPy array"),
    (&pipsqueak::format::MAGIC, "a Pipsqueak model file (.pip)"),
    (b"PIPCKPT", "a checkpoint of a training"),
    (b"PIPLINE", "a checkpoint of a training"),
    (b"PIPLSSN", "a file of soft targets"),
];

/// Returns what a file is whose first bytes are `start`, if that is something else than text in an 8-bit encoding.
pub(super) fn not_text(start: &[u8]) -> Option<String> {
    let signature = SIGNATURES
        .iter()
        .find(|(signature, _)| start.starts_with(signature));
    if let Some((_, name)) = signature {
        return Some((*name).into());
    }
    // Protobuf: `ir_version` (field 1), then a field of bytes or the opset.
    if let [0x08, 1..=32, 0x12 | 0x1a | 0x22 | 0x32 | 0x3a | 0x42, ..] = start {
        return Some("an ONNX model".into());
    }
    let encoding = match start {
        [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => Some(("UTF-32", "utf-32")),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some(("UTF-16", "utf-16")),
        _ => utf16_without_mark(start),
    };
    encoding.map(|(name, from)| format!("{name}: {}", iconv(from)))
}

/// Returns the UTF-16 encoding whose zero bytes are where those of a text in a Latin script are.
fn utf16_without_mark(start: &[u8]) -> Option<(&'static str, &'static str)> {
    let pairs = start[..start.len().min(SAMPLE)].chunks_exact(2);
    let count = pairs.len();
    let zeros = |at: usize| pairs.clone().filter(|pair| pair[at] == 0).count();
    let (first, second) = (zeros(0), zeros(1));
    if count > 0 && 10 * second >= 4 * count && 20 * first < count {
        Some(("UTF-16 without a byte order mark", "utf-16le"))
    } else if count > 0 && 10 * first >= 4 * count && 20 * second < count {
        Some(("UTF-16 without a byte order mark", "utf-16be"))
    } else {
        None
    }
}

/// Returns the advice for a text that is not UTF-8, given a stretch of it that contains the first invalid byte.
pub(super) fn advice(stretch: &[u8]) -> String {
    // Control characters, and bytes that CP-1252 does not define.
    let implausible = |byte: &u8| {
        matches!(byte, 0..=8 | 11 | 14..=26 | 28..=31 | 0x7f)
            || matches!(byte, 0x81 | 0x8d | 0x8f | 0x90 | 0x9d)
    };
    let high = stretch.iter().filter(|byte| !byte.is_ascii()).count();
    if stretch.iter().any(implausible) {
        "it is not a text; only training with `--tokenizer byte` takes any bytes".into()
    } else if 3 * high < stretch.len() || stretch.len() < 4 {
        // So few bytes do not contradict the most common case.
        format!(
            "it looks like Windows CP-1252 or Latin-1: {}",
            iconv("cp1252")
        )
    } else {
        format!(
            "find out its encoding, and convert it: {}",
            iconv("ENCODING")
        )
    }
}

fn iconv(from: &str) -> String {
    format!("`iconv -f {from} -t utf-8 IN > OUT`")
}
