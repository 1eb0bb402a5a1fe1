//! Every form of a vocabulary file, and what is refused of each.

use super::*;

fn read_named(
    name: &str,
    text: &[u8],
    tokenizer: Option<Tokenizer>,
) -> Result<VocabularyFile, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    VocabularyFile::read(&path, tokenizer).map_err(|error| {
        let said = error.to_string();
        assert!(said.contains(name), "the file is named: {said}");
        said
    })
}

fn read(text: &str) -> VocabularyFile {
    read_named("v.json", text.as_bytes(), None).unwrap()
}

fn refusal(name: &str, text: &str) -> String {
    read_named(name, text.as_bytes(), None).unwrap_err()
}

fn specials(vocabulary: &Vocabulary) -> [Option<u16>; 4] {
    let SpecialTokens { bos, eos, pad, unk } = vocabulary.specials();
    [bos, eos, pad, unk]
}

#[test]
fn lists_are_tokens_by_id() {
    let file = read(r#"["a", "b", "\n", "<eos>"]"#);
    assert_eq!(file.target.tokens(), ["a", "b", "\n", "<eos>"]);
    assert_eq!(file.target.tokenizer(), Tokenizer::CHAR);
    assert_eq!(specials(&file.target), [None, Some(3), None, None]);
    assert_eq!((file.bos, file.eos, file.max_len), (None, Some(3), None));
    assert_eq!((file.source, file.source_eos), (None, None));
    // What Keras's TextVectorization gives.
    let words = read(r#"["", "[UNK]", "the", "cat"]"#).target;
    assert_eq!(words.tokens()[0], "<pad>");
    assert_eq!(words.tokenizer(), Tokenizer::WHITESPACE_LOWERCASE);
    assert_eq!(specials(&words), [None, None, Some(0), Some(1)]);
    let found = words.encode("The cat\n sat", false).unwrap();
    assert_eq!(found.tokens, [2, 3, 1]);
}

#[test]
fn torchtext_has_a_list_or_lines() {
    let list = read(r#"{"itos": ["<unk>", "<pad>", "The", "x"], "default_index": 0}"#);
    let lines = read_named("v.txt", b"<unk>\r\n<pad>\r\nThe\r\nx\r\n", None).unwrap();
    assert_eq!(list.target, lines.target);
    assert_eq!(list.target.tokenizer(), Tokenizer::WHITESPACE);
    assert_eq!(specials(&list.target), [None, None, Some(1), Some(0)]);
    // Lines that begin as JSON does.
    let bert = read_named("v.txt", b"[PAD]\n[UNK]\n[\na\n \n", None).unwrap();
    assert_eq!(bert.target.tokens(), ["[PAD]", "[UNK]", "[", "a", " "]);
    assert_eq!(specials(&bert.target), [None, None, Some(0), Some(1)]);
    assert_eq!(bert.target.tokenizer(), Tokenizer::CHAR);
}

#[test]
fn a_word_index_counts_from_1_and_a_stoi_from_0() {
    let keras = read(r#"{"<OOV>": 1, "cat": 3, "the": 2}"#).target;
    assert_eq!(keras.tokens(), ["<pad>", "<OOV>", "the", "cat"]);
    assert_eq!(specials(&keras), [None, None, Some(0), Some(1)]);
    assert_eq!(
        read(r#"{"word_index": {"<OOV>": 1, "cat": 3, "the": 2}}"#).target,
        keras
    );
    // Words of other forms' names.
    let words = read(r#"{"itos": 1, "word_index": 2}"#).target;
    assert_eq!(words.tokens(), ["<pad>", "itos", "word_index"]);
    let stoi = read(r#"{"b": 1, "a": 0}"#).target;
    assert_eq!(
        (stoi.tokens(), stoi.tokenizer()),
        (&["a".into(), "b".into()][..], Tokenizer::CHAR)
    );
}

#[test]
fn an_encoder_and_a_decoder_have_a_vocabulary_each() {
    let text = r#"{"input_vocabulary": ["<pad>", "<unk>", "</s>", "a", "b"],
        "output_vocabulary": ["<pad>", "<unk>", "<s>", "</s>", "AA0", "B"],
        "append_to_input": "</s>", "start": "<s>", "stop": "</s>", "max_output": 20, "source": "x"}"#;
    let file = read(text);
    let source = file.source.as_ref().unwrap();
    assert_eq!((source.tokenizer(), source.len()), (Tokenizer::CHAR, 5));
    assert_eq!(
        (file.target.tokenizer(), file.target.len()),
        (Tokenizer::WHITESPACE, 6)
    );
    assert_eq!(
        (file.source_eos, file.bos, file.eos),
        (Some(2), Some(2), Some(3))
    );
    assert_eq!(file.max_len, Some(20));
    assert_eq!(file.target.decode(&[2, 5, 4, 3]), "B AA0");
    // What the file says counts more than the names.
    let file = read(&text.replace(r#""stop": "</s>""#, r#""stop": "B""#));
    assert_eq!((file.eos, file.target.specials().eos), (Some(5), Some(5)));
    let path = std::env::var("PIPSQUEAK_DATA");
    if let Ok(path) = path.map(|data| Path::new(&data).join("cases/g2p_en/vocabulary.json")) {
        let file = VocabularyFile::read(&path, None).unwrap();
        assert_eq!((file.source.unwrap().len(), file.target.len()), (29, 74));
        assert_eq!(
            (file.source_eos, file.bos, file.eos, file.max_len),
            (Some(2), Some(2), Some(3), Some(20))
        );
    }
}

#[test]
fn the_level_can_be_given() {
    let text = br#"["the", "re", " "]"#;
    let level = |level| {
        read_named("v.json", text, level)
            .unwrap()
            .target
            .tokenizer()
    };
    assert_eq!(level(None), Tokenizer::WHITESPACE_LOWERCASE);
    assert_eq!(level(Some(Tokenizer::SUBWORD)), Tokenizer::SUBWORD);
    let error = read_named("v.json", text, Some(Tokenizer::BYTE)).unwrap_err();
    assert!(error.contains("3 tokens: expected 256"), "{error}");
}

#[test]
fn bad_files_are_refused_with_what_was_found() {
    for (name, text, expected) in [
        ("v.json", "", "no JSON"),
        ("v.json", "[\"a\"", "no JSON"),
        ("v.json", "7", "found a number"),
        ("v.json", "[]", "the vocabulary is empty"),
        ("v.json", "{}", "only special tokens"),
        ("v.txt", "", "the vocabulary is empty"),
        ("v.txt", "a\n\nb", "an empty line 2"),
        ("v.json", "[\"a\", 5]", "found a number at 1 of the list"),
        ("v.json", "[\"a\", \"a\"]", "\"a\" twice"),
        (
            "v.json",
            "[\"a\", \"\"]",
            "token 1 of the vocabulary has no text",
        ),
        ("v.json", "[\"<pad>\", \"<eos>\"]", "only special tokens"),
        ("v.json", "{\"itos\": \"ab\"}", "a text for \"itos\""),
        (
            "v.json",
            "{\"a\": 1, \"b\": 1}",
            "the id 1 for \"a\" and \"b\"",
        ),
        (
            "v.json",
            "{\"a\": 1, \"b\": 5}",
            "the id 5 for \"b\", expected ids without a gap, here at most 2",
        ),
        ("v.json", "{\"a\": -1}", "a number for \"a\""),
        ("v.json", "{\"a\": 1.5}", "a number for \"a\""),
        (
            "v.json",
            "{\"input_vocabulary\": [\"a\"]}",
            "no \"output_vocabulary\"",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": 1, \"output_vocabulary\": []}",
            "\"input_vocabulary\" is a number",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": [\"a\"], \"output_vocabulary\": [\"b\"], \"stop\": \"x\"}",
            "\"stop\" is \"x\", which is no token",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": [\"a\"], \"output_vocabulary\": [\"b\"], \"append_to_input\": \"b\"}",
            "\"append_to_input\" is \"b\"",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": [\"a\"], \"output_vocabulary\": [\"b\"], \"start\": 2}",
            "\"start\" is a number",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": [\"a\"], \"output_vocabulary\": [\"b\"], \"max_output\": 0}",
            "\"max_output\" is 0",
        ),
        (
            "v.json",
            "{\"input_vocabulary\": [], \"output_vocabulary\": [\"b\"]}",
            "the input's vocabulary: the vocabulary is empty",
        ),
    ] {
        let said = refusal(name, text);
        assert!(
            said.contains(expected),
            "{text}: {said}, expected {expected}"
        );
    }
    let said = read_named("v.txt", b"a\nb\xff", None).unwrap_err();
    assert!(said.contains("no UTF-8 at byte 3"), "{said}");
    let folder = tempfile::tempdir().unwrap();
    let missing = VocabularyFile::read(&folder.path().join("none"), None).unwrap_err();
    assert!(missing.to_string().contains("cannot read"), "{missing}");
    let many: Vec<String> = (0..70_000).map(|i| format!("{i}")).collect();
    let said = refusal("v.json", &serde_json::to_string(&many).unwrap());
    assert!(
        said.contains("70000 tokens: expected at most 65535"),
        "{said}"
    );
}

#[test]
fn sizes_are_compared_with_the_network() {
    read(r#"["a", "b", "c"]"#).check_sizes(None, 3).unwrap();
    let error = read(r#"["a", "b"]"#).check_sizes(None, 3).unwrap_err();
    let said = error.to_string();
    assert!(said.contains("has 2 tokens, the model has 3"), "{said}");
}
