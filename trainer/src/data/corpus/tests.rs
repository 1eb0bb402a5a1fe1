//! Texts of every kind, and files that are not text.

use super::*;

fn options() -> CorpusOptions {
    CorpusOptions::default()
}

fn read(bytes: &[u8]) -> Result<Corpus, CorpusError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a text.txt");
    std::fs::write(&path, bytes).unwrap();
    Corpus::open(&path, options())
}

fn text(corpus: &Corpus) -> String {
    corpus.text(corpus.all()).unwrap()
}

fn refusal(bytes: &[u8]) -> String {
    read(bytes).unwrap_err().to_string()
}

#[test]
fn reads_text_without_its_byte_order_mark() {
    let corpus = read("\u{feff}שלום 🦀\n".as_bytes()).unwrap();
    assert_eq!(
        (corpus.name.as_str(), text(&corpus).as_str()),
        ("a text.txt", "שלום 🦀\n")
    );
    assert_eq!(corpus.characters(), 7);
    assert_eq!(corpus.notices, [Notice::ByteOrderMark]);
    let plain = read("שלום 🦀\n".as_bytes()).unwrap();
    assert_eq!((&corpus.sha256, &plain.notices), (&plain.sha256, &vec![]));
    // From `printf abc | sha256sum`.
    let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(read(b"abc").unwrap().sha256, abc);
}

#[test]
fn line_ends_are_line_feeds_unless_they_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    for (bytes, expected, count) in [
        ("a\r\nb\r\n", "a\nb\n", 2),
        ("a\rb\r", "a\nb\n", 2),
        ("\r\r\n\n\r", "\n\n\n\n", 3),
        ("\u{feff}\r\né\r", "\né\n", 2),
    ] {
        std::fs::write(&path, bytes).unwrap();
        for chunk_bytes in [1, 2, 3, 1 << 20] {
            let corpus = Corpus::open(
                &path,
                CorpusOptions {
                    chunk_bytes,
                    ..options()
                },
            )
            .unwrap();
            assert_eq!(text(&corpus), expected, "{bytes:?}");
            let notice = Notice::CarriageReturns { count };
            assert_eq!(corpus.notices.last(), Some(&notice), "{bytes:?}");
            let keep = CorpusOptions {
                keep_cr: true,
                chunk_bytes,
                ..options()
            };
            let kept = Corpus::open(&path, keep).unwrap();
            assert_eq!(text(&kept), bytes.trim_start_matches('\u{feff}'));
        }
    }
}

#[test]
fn a_large_text_is_the_same_from_its_file_and_from_a_pipe() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    // Characters of 1 to 4 bytes at every place of a chunk.
    let line = "aé€🦀 line\r\n";
    let bytes = line.repeat(2 * CHUNK_BYTES / line.len() + 10);
    let expected = bytes.replace("\r\n", "\n");
    std::fs::write(&path, &bytes).unwrap();
    let file = Corpus::open(&path, options()).unwrap();
    assert!(matches!(file.source, Source::File { .. }));
    let pipe = Corpus::new(&path, "-".into(), bytes.as_bytes(), None, options()).unwrap();
    assert!(matches!(pipe.source, Source::File { .. }));
    let memory = Corpus::from_bytes("m", bytes.clone().into_bytes(), options()).unwrap();
    for corpus in [file, pipe, memory] {
        assert!(text(&corpus) == expected);
        assert_eq!(
            corpus.sha256,
            super::super::hash::sha256(expected.as_bytes())
        );
        assert_eq!(corpus.characters(), expected.chars().count());
        let [first, last] = corpus.parts(0.3, false).unwrap();
        let chars = training_part(corpus.characters(), 0.3);
        let at = expected.char_indices().nth(chars).unwrap().0;
        assert!(corpus.text(first).unwrap() == expected[..at]);
        assert!(corpus.text(last).unwrap() == expected[at..]);
        assert_eq!(first.characters, chars);
    }
}

#[test]
fn a_text_that_changes_between_two_passes_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("text.txt");
    std::fs::write(&path, "line\n".repeat(CHUNK_BYTES)).unwrap();
    let corpus = Corpus::open(&path, options()).unwrap();
    let file = File::options().append(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"more").unwrap();
    let error = corpus.text(corpus.all()).unwrap_err().to_string();
    assert!(error.contains("text.txt was changed"), "{error}");
}

#[test]
fn parts_are_cut_by_characters_or_after_lines() {
    let corpus = |text: &str| read(text.as_bytes()).unwrap();
    let cut = |text: &str, ends: &[usize], lines| -> Vec<String> {
        let corpus = corpus(text);
        let parts = corpus.split(ends, lines).unwrap();
        let all: usize = parts.iter().map(|part| part.characters).sum();
        assert_eq!(all, corpus.characters());
        let texts = parts.iter().map(|part| {
            let text = corpus.text(*part).unwrap();
            assert_eq!(text.chars().count(), part.characters);
            text
        });
        texts.collect()
    };
    assert_eq!(cut("äöü\nb\n", &[2, 4], false), ["äö", "ü\n", "b\n"]);
    assert_eq!(cut("äöü\nb\n", &[2, 4], true), ["äöü\n", "", "b\n"]);
    assert_eq!(cut("ab\nc\nd", &[0, 3, 4], true), ["", "ab\n", "c\n", "d"]);
    assert_eq!(cut("ab", &[1, 9], true), ["ab", "", ""]);
    assert_eq!(cut("ab", &[1, 9], false), ["a", "b", ""]);
}

#[test]
fn refusals_say_what_and_where() {
    let error = refusal(b"good\nba\xffd");
    assert!(
        error.contains("byte 0xff at offset 7 (line 2)")
            && error.contains("a text.txt")
            && error.contains("iconv -f cp1252"),
        "{error}"
    );
    let error = refusal("é".as_bytes().split_last().unwrap().1);
    assert!(
        error.contains("byte 0xc3 at offset 0") && error.contains("ends inside a character"),
        "{error}"
    );
    let error = refusal(b"a caf\xe9");
    assert!(error.contains("iconv -f cp1252"), "{error}");
    // Where it is found does not depend on the chunks.
    let bytes = b"\xef\xbb\xbf\xc3\xa9\r\nok\r\nb\xe9d\n";
    for chunk_bytes in [1, 2, 3, 7, 64] {
        let options = CorpusOptions {
            chunk_bytes,
            ..options()
        };
        let error = Corpus::from_bytes("x", bytes.to_vec(), options).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("0xe9 at offset 12 (line 3)"), "{error}");
    }
    assert!(refusal(b"").contains("is empty"));
    assert!(refusal("\u{feff}".as_bytes()).contains("is empty"));
    let folder = tempfile::tempdir().unwrap();
    let error = |path: &Path| Corpus::open(path, options()).unwrap_err().to_string();
    assert!(error(folder.path()).contains("is a folder"));
    let missing = error(&folder.path().join("none.txt"));
    assert!(
        missing.contains("none.txt") && missing.contains("No such file"),
        "{missing}"
    );
}

#[test]
fn what_is_not_utf8_text_is_named() {
    let utf16 = |mark: &[u8], of: fn(u16) -> [u8; 2]| {
        let units = "A text, not a long one.\r\nÜ\n".encode_utf16().flat_map(of);
        [mark, &units.collect::<Vec<u8>>()].concat()
    };
    let model = |file: &str| {
        let models = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/shakespeare");
        std::fs::read(models.join(file)).unwrap()
    };
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("a", zip::write::SimpleFileOptions::default())
        .unwrap();
    let zip = zip.finish().unwrap().into_inner();
    // The second half of the bytes of a text in GB 18030.
    let chinese: Vec<u8> = (0..100)
        .flat_map(|i| [0xb0 + i % 40, 0xa1 + i % 90])
        .collect();
    for (bytes, expected) in [
        (
            utf16(b"\xff\xfe", u16::to_le_bytes),
            "iconv -f utf-16 -t utf-8 IN > OUT",
        ),
        (
            utf16(b"\xfe\xff", u16::to_be_bytes),
            "iconv -f utf-16 -t utf-8 IN > OUT",
        ),
        (utf16(b"", u16::to_le_bytes), "iconv -f utf-16le -t"),
        (utf16(b"", u16::to_be_bytes), "iconv -f utf-16be -t"),
        (
            b"caf\xe9 \x93quoted\x94\r\n".to_vec(),
            "iconv -f cp1252 -t utf-8 IN > OUT",
        ),
        (chinese, "iconv -f ENCODING"),
        (
            b"some\x00\x01bytes\xff\xfe".to_vec(),
            "only training with `--tokenizer byte`",
        ),
        (b"\x89PNG\r\n\x1a\n".to_vec(), "is a PNG image"),
        (b"\x1f\x8b\x08\x00".to_vec(), "is a gzip archive"),
        (zip, "is a zip archive"),
        (model("model.onnx"), "is an ONNX model"),
        (model("model.pip"), "is a Pipsqueak model file"),
        (
            std::fs::read(std::env::current_exe().unwrap()).unwrap(),
            "is a program (ELF)",
        ),
    ] {
        let error = refusal(&bytes);
        assert!(
            error.contains(expected) && error.contains("a text.txt"),
            "{error}"
        );
        let bytes_options = CorpusOptions {
            bytes: true,
            ..options()
        };
        let binary = Corpus::from_bytes("b", bytes.clone(), bytes_options).unwrap();
        assert_eq!(binary.all().bytes(), bytes.len() as u64);
    }
    // Texts that look a little like them.
    for good in ["PNG", "BM", "\u{8}x", "Ünïcode", "\0", "PIP"] {
        assert_eq!(text(&read(good.as_bytes()).unwrap()), good);
    }
}

#[test]
fn a_text_too_large_is_refused_before_it_is_read_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.txt");
    // Takes no room on the disk.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let too_large = "more than 268435456 bytes";
    let error = Corpus::open(&path, options()).unwrap_err().to_string();
    assert!(error.contains(too_large), "{error}");
}

#[test]
fn training_parts() {
    assert_eq!(training_part(1_115_394, 0.1), 1_003_854);
    assert_eq!(
        (
            training_part(10, 0.0),
            training_part(1, 0.5),
            training_part(0, 0.5)
        ),
        (10, 0, 0)
    );
}
