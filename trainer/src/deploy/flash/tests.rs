//! What is made is read back by other readers: crate `object`, crate `ihex`, and a walk over UF2's blocks.

use super::*;
use object::read::elf::{ElfFile32, ProgramHeader};
use object::write::elf::{FileHeader, ProgramHeader as NewSegment, SectionHeader, Writer};
use object::{LittleEndian, Object, ObjectSection, ObjectSegment, elf};
use pipsqueak::encode::{ModelParams, as_bytes, encode};
use pipsqueak::{Cell, RecurrentLayerConfig};
use std::collections::BTreeMap;

/// An image of `units` units.
fn image(units: u16) -> Vec<u8> {
    let layer = RecurrentLayerConfig::new(Cell::GruResetAfter, units);
    let params = ModelParams::random_language_model(1, 20, 0, &[layer]);
    as_bytes(&encode(&params).unwrap()).to_vec()
}

fn board(name: &str) -> &'static BoardSpec {
    BoardSpec::find(name).unwrap()
}

fn flash_start(board: &BoardSpec) -> u32 {
    board.slot_address + board.slot_bytes - board.flash_bytes
}

/// A firmware as a linker lays it out: vectors, code, then initial values whose address in RAM is another one.
fn firmware(board: &BoardSpec) -> (Vec<u8>, Vec<Segment>) {
    let start = flash_start(board);
    let parts: Vec<(u32, u32, Vec<u8>)> = [(0, 0xc0), (0xc0, 3333), (0xe00, 7)]
        .iter()
        .map(|&(offset, length): &(u32, u32)| {
            let address = start + offset;
            let runs_at = if offset == 0xe00 {
                0x2000_0000
            } else {
                address
            };
            (
                address,
                runs_at,
                (0..length).map(|i| (i * 7 + offset) as u8).collect(),
            )
        })
        .collect();
    let mut bytes = Vec::new();
    let mut writer = Writer::new(object::Endianness::Little, false, &mut bytes);
    writer.reserve_file_header();
    writer.reserve_program_headers(parts.len() as u32 + 1);
    let offsets: Vec<u64> = parts
        .iter()
        .map(|(_, _, data)| writer.reserve(data.len() as u64, 4))
        .collect();
    let name = writer.add_section_name(b".text");
    writer.reserve_section_index();
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().unwrap();
    writer.reserve_section_headers();
    let header = FileHeader {
        os_abi: elf::ELFOSABI_NONE,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: elf::EM_ARM,
        e_entry: u64::from(start) + 0xc1,
        e_flags: elf::FileFlags(0),
    };
    writer.write_file_header(&header).unwrap();
    writer.write_align_program_headers();
    for ((address, runs_at, data), offset) in parts.iter().zip(&offsets) {
        writer.write_program_header(&NewSegment {
            p_type: elf::PT_LOAD,
            p_flags: elf::PF_R,
            p_offset: *offset,
            p_vaddr: (*runs_at).into(),
            p_paddr: (*address).into(),
            p_filesz: data.len() as u64,
            p_memsz: data.len() as u64,
            p_align: 4,
        });
    }
    // Memory that starts as zeros holds no bytes of the file.
    writer.write_program_header(&NewSegment {
        p_type: elf::PT_LOAD,
        p_flags: elf::PF_R | elf::PF_W,
        p_offset: 0,
        p_vaddr: 0x2000_0100,
        p_paddr: 0x2000_0100,
        p_filesz: 0,
        p_memsz: 512,
        p_align: 4,
    });
    for (_, _, data) in &parts {
        writer.write_align(4);
        writer.write(data);
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    let sh_name = writer.section_name_offset(Some(name));
    writer.write_section_header(&SectionHeader {
        sh_name,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: elf::SHF_ALLOC,
        sh_addr: (start + 0xc0).into(),
        sh_offset: offsets[1],
        sh_size: 3333,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 4,
        sh_entsize: 0,
    });
    writer.write_shstrtab_section_header();
    let segments = parts
        .into_iter()
        .map(|(address, _, bytes)| Segment { address, bytes })
        .collect();
    (bytes, segments)
}

/// Every byte that should be in the flash.
fn expected(segments: &[Segment], board: &BoardSpec, image: &[u8]) -> BTreeMap<u32, u8> {
    let model = Segment {
        address: board.slot_address,
        bytes: image.to_vec(),
    };
    let all = segments.iter().chain([&model]);
    all.flat_map(|s| {
        (s.address..)
            .zip(s.bytes.iter().copied())
            .collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn an_elf_has_the_firmware_and_the_model() {
    for board in &pipsqueak_boards::BOARDS {
        let (firmware, segments) = firmware(board);
        let image = image(9);
        let bytes = merge_firmware(FileKind::Elf, board, &firmware, &image).unwrap();
        let file = ElfFile32::<LittleEndian>::parse(&*bytes).unwrap();
        assert_eq!(file.entry(), u64::from(flash_start(board)) + 0xc1);
        let mut found = BTreeMap::new();
        for header in file.elf_program_headers() {
            let data = header.data(LittleEndian, &*bytes).unwrap();
            found.extend((header.p_paddr(LittleEndian)..).zip(data.iter().copied()));
        }
        assert_eq!(found, expected(&segments, board, &image));
        assert_eq!(file.segments().count(), 5);
        let sections: Vec<String> = file.sections().map(|s| s.name().unwrap().into()).collect();
        assert_eq!(sections, [".text", ".shstrtab", ".model"]);
        let section = file.section_by_name(".model").unwrap();
        assert_eq!(section.address(), u64::from(board.slot_address));
        assert_eq!(section.data().unwrap(), image);
        // As probe-rs sees it: a section inside the segment, by file offsets.
        let segment = file.segments().last().unwrap();
        assert_eq!(segment.file_range(), section.file_range().unwrap());
        // What was there stays where it was.
        assert_eq!(bytes[52..firmware.len()], firmware[52..]);
    }
}

#[test]
fn a_hex_file_has_the_firmware_and_the_model() {
    // The larger model crosses a limit of 64 KB.
    for (board, units) in [(board("microbit"), 9), (board("stm32f405"), 160)] {
        let (firmware, segments) = firmware(board);
        let image = image(units);
        let text =
            String::from_utf8(merge_firmware(FileKind::Hex, board, &firmware, &image).unwrap())
                .unwrap();
        let mut found = BTreeMap::new();
        let (mut upper, mut ended) = (0u32, false);
        for record in ihex::Reader::new(&text) {
            assert!(!ended, "nothing after the end");
            match record.unwrap() {
                ihex::Record::ExtendedLinearAddress(high) => upper = u32::from(high) << 16,
                ihex::Record::Data { offset, value } => {
                    assert!(
                        usize::from(offset) + value.len() <= 0x1_0000,
                        "a line crosses 64 KB"
                    );
                    found.extend((upper + u32::from(offset)..).zip(value));
                }
                ihex::Record::EndOfFile => ended = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(ended);
        assert!(found == expected(&segments, board, &image));
        // The checksum by its definition: all bytes of a line sum to 0.
        for line in text.lines() {
            let bytes = line.as_bytes()[1..].chunks(2);
            let sum =
                bytes.map(|b| u8::from_str_radix(std::str::from_utf8(b).unwrap(), 16).unwrap());
            assert_eq!(sum.fold(0, u8::wrapping_add), 0, "{line}");
        }
    }
}

#[test]
fn a_uf2_file_has_the_firmware_and_the_model_in_whole_sectors() {
    let board = board("pico");
    let (firmware, segments) = firmware(board);
    let image = image(90);
    let bytes = merge_firmware(FileKind::Uf2, board, &firmware, &image).unwrap();
    assert_eq!(bytes.len() % 512, 0);
    let count = bytes.len() / 512;
    let mut found = BTreeMap::new();
    let mut sector_of_group = BTreeMap::new();
    for (number, block) in bytes.chunks(512).enumerate() {
        let word = |at: usize| u32::from_le_bytes(block[at..at + 4].try_into().unwrap());
        assert_eq!(&block[..4], b"UF2\n");
        assert_eq!((word(4), word(508)), (0x9e5d5157, 0x0ab16f30));
        assert_eq!((word(8), word(16), word(28)), (0x2000, 256, 0xe48bff56));
        assert_eq!((word(20), word(24)), (number as u32, count as u32));
        let address = word(12);
        assert_eq!(address % 256, 0);
        // What the boot ROM needs: 16 blocks in a row are one sector.
        assert_eq!(
            *sector_of_group.entry(number / 16).or_insert(address / 4096),
            address / 4096
        );
        assert!(block[288..508].iter().all(|&b| b == 0));
        for (address, &byte) in (address..).zip(&block[32..288]) {
            assert_eq!(found.insert(address, byte), None, "{address:#x} twice");
        }
    }
    let expected = expected(&segments, board, &image);
    for (address, byte) in &found {
        assert_eq!(byte, expected.get(address).unwrap_or(&0xff), "{address:#x}");
    }
    assert!(expected.keys().all(|address| found.contains_key(address)));
    assert_eq!(found.len() % 4096, 0);
}

#[test]
fn an_image_that_does_not_fit_is_refused_with_the_numbers() {
    let microbit = board("microbit");
    check_model(microbit, &image(9)).unwrap();
    let large = image(300);
    assert!(large.len() > 200 * 1024);
    let said = check_model(microbit, &large).unwrap_err().to_string();
    assert!(
        said.contains(&format!("{} bytes", large.len())) && said.contains("microbit holds 204800"),
        "{said}"
    );
    check_model(board("stm32f405"), &large).unwrap();

    let tight = BoardSpec {
        workspace_words: 10,
        ..*microbit
    };
    let said = check_model(&tight, &image(9)).unwrap_err().to_string();
    let words = pipsqueak::encode::to_words(&image(9));
    let needed = Model::parse(as_bytes(&words)).unwrap().workspace_len();
    assert!(
        said.contains(&format!("needs {needed} words")) && said.contains("has 10"),
        "{said}"
    );
}

#[test]
fn bytes_that_are_no_image_are_refused() {
    let board = board("microbit");
    let good = image(9);
    for length in [0, 1, 3, 4, 15, 16, good.len() - 4, good.len() - 1] {
        let error = check_model(board, &good[..length]).unwrap_err();
        assert!(matches!(error, FlashError::Model(_)), "{length}: {error}");
    }
    let mut more = good.clone();
    more.extend([1, 2, 3, 4, 5]);
    let said = check_model(board, &more).unwrap_err().to_string();
    assert!(
        said.contains(&format!("{} bytes", more.len())) && said.contains(&good.len().to_string()),
        "{said}"
    );
    let said = check_model(board, b"\x08\x08an ONNX file, say")
        .unwrap_err()
        .to_string();
    assert!(said.contains("trainer export"), "{said}");
}

#[test]
fn a_firmware_of_another_kind_is_refused() {
    let (microbit, pico) = (board("microbit"), board("pico"));
    let (good, _) = firmware(microbit);
    let refused = |bytes: &[u8], words: &str| {
        for kind in [FileKind::Elf, FileKind::Hex] {
            let said = merge_firmware(kind, microbit, bytes, &image(3))
                .unwrap_err()
                .to_string();
            assert!(
                said.contains(words) && said.contains("make firmware"),
                "{said}"
            );
        }
    };
    refused(b"", "not a 32-bit ELF");
    refused(&good[..51], "not a 32-bit ELF");
    refused(
        &firmware(pico).0,
        "0x10000000..0x100000c0, the firmware of microbit belongs into 0x0..0xe000",
    );
    let mut other = good.clone();
    other[18] = 243; // RISC-V
    refused(&other, "machine 243");
    // A segment that reaches into the slot.
    let mut long = good.clone();
    long[52 + 12..52 + 16].copy_from_slice(&0xdfff_u32.to_le_bytes());
    refused(&long, "0xdfff..0xe0bf");
    // The host's own program: 64 bits.
    let program = std::fs::read(std::env::current_exe().unwrap()).unwrap();
    refused(&program, "not a 32-bit ELF");
    // Damage gives an error or a file, never a panic.
    for at in 0..good.len().min(600) {
        for value in [0, 1, 0x7f, 0xff] {
            let mut bytes = good.clone();
            bytes[at] = value;
            let _ = merge_firmware(FileKind::Elf, microbit, &bytes, &image(3));
            let _ = merge_firmware(FileKind::Hex, microbit, &bytes, &image(3));
        }
    }
    for length in 0..good.len() {
        let _ = merge_firmware(FileKind::Elf, microbit, &good[..length], &image(3));
    }
}

#[test]
fn the_extension_chooses_the_file_and_must_suit_the_board() {
    let kind = |path: &str, name| {
        FileKind::of(path.as_ref(), board(name)).map_err(|error| error.to_string())
    };
    assert_eq!(kind("a.ELF", "pico"), Ok(FileKind::Elf));
    assert_eq!(kind("a.hex", "microbit"), Ok(FileKind::Hex));
    assert_eq!(kind("a.hex", "stm32f405"), Ok(FileKind::Hex));
    for (path, name, takes) in [
        ("a.uf2", "microbit", ".elf or .hex"),
        ("a.hex", "pico", ".elf or .uf2"),
        ("a.bin", "stm32f405", ".elf or .hex"),
        ("a", "pico", ".elf or .uf2"),
    ] {
        let said = kind(path, name).unwrap_err();
        assert_eq!(said, format!("cannot make {path}: {name} takes {takes}"));
    }
}

#[test]
fn the_firmware_is_found_from_any_folder_of_the_repository() {
    let folder = tempfile::tempdir().unwrap();
    let board = board("microbit");
    let deep = folder.path().join("models/mine");
    std::fs::create_dir_all(&deep).unwrap();
    let said = find_firmware(board, &deep).unwrap_err().to_string();
    assert!(
        said.contains("make firmware") && said.contains("--firmware"),
        "{said}"
    );
    let built = board.firmware(folder.path());
    std::fs::create_dir_all(built.parent().unwrap()).unwrap();
    std::fs::write(&built, b"x").unwrap();
    assert_eq!(find_firmware(board, &deep).unwrap(), built);
}

#[cfg(unix)]
#[test]
fn the_probe_writes_the_image_at_the_slot_and_restarts_the_board() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let script = |name: &str, text: String| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    };
    let log = folder.path().join("log");
    let probe_rs = script(
        "probe-rs",
        format!("#!/bin/sh\necho \"$@\" >> '{}'\n", log.display()),
    );
    flash_with_probe_rs(&probe_rs, board("pico"), "my model.pip".as_ref()).unwrap();
    assert_eq!(
        std::fs::read_to_string(&log).unwrap(),
        "download --chip RP2040 --binary-format bin --base-address 0x10020000 -- my model.pip\nreset --chip RP2040\n"
    );
    let failing = script("failing", "#!/bin/sh\nexit 1\n".into());
    let said = flash_with_probe_rs(&failing, board("pico"), "a.pip".as_ref())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("probe-rs download failed") && said.contains("connected"),
        "{said}"
    );
    let said = flash_with_probe_rs(&folder.path().join("none"), board("pico"), "a.pip".as_ref())
        .unwrap_err()
        .to_string();
    assert!(
        said.contains("cargo install probe-rs-tools") && said.contains("--out pico.uf2"),
        "{said}"
    );
}
