//! The firmware's ELF file: read, and written again with the model in it.

use super::{FlashError, Segment};
use object::elf::{
    EM_ARM, FileHeader32, PF_R, PT_LOAD, ProgramHeader32, SHF_ALLOC, SHT_PROGBITS, SectionHeader32,
};
use object::endian::{LittleEndian as LE, U16, U32};
use object::pod::{bytes_of, bytes_of_slice};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

fn refuse(error: impl std::fmt::Display) -> FlashError {
    FlashError::Firmware(error.to_string())
}

/// The header of a 32-bit little-endian ELF file for ARM.
fn header(elf: &[u8]) -> Result<&FileHeader32<LE>, FlashError> {
    let header =
        FileHeader32::<LE>::parse(elf).map_err(|_| refuse("it is not a 32-bit ELF file"))?;
    header
        .endian()
        .map_err(|_| refuse("it is not little-endian"))?;
    match header.e_machine(LE) {
        EM_ARM => Ok(header),
        other => Err(refuse(format!(
            "it is for machine {}, expected ARM ({})",
            other.0, EM_ARM.0
        ))),
    }
}

/// What the file puts into memory, by the address where it is stored.
pub fn segments(elf: &[u8]) -> Result<Vec<Segment>, FlashError> {
    let headers = header(elf)?.program_headers(LE, elf).map_err(refuse)?;
    let mut segments = Vec::new();
    for header in headers
        .iter()
        .filter(|header| header.p_type(LE) == PT_LOAD && header.p_filesz(LE) > 0)
    {
        let bytes = header
            .data(LE, elf)
            .map_err(|()| refuse("a segment runs past the end of the file"))?;
        segments.push(Segment {
            address: header.p_paddr(LE),
            bytes: bytes.to_vec(),
        });
    }
    if segments.is_empty() {
        return Err(refuse("it has nothing to load"));
    }
    segments.sort_by_key(|segment| segment.address);
    Ok(segments)
}

/// The same file with one more segment, `model`, and a section `.model` over it: probe-rs skips a segment without one.
///
/// Everything there stays where it is. The model, the section names and both tables of headers go to the end.
pub fn append_model_segment(elf: &[u8], model: &Segment) -> Result<Vec<u8>, FlashError> {
    let mut header = *header(elf)?;
    let mut segments = header.program_headers(LE, elf).map_err(refuse)?.to_vec();
    let mut sections = header.section_headers(LE, elf).map_err(refuse)?.to_vec();
    let names_index = header.section_strings_index(LE, elf).map_err(refuse)?.0;
    let names = sections
        .get_mut(names_index)
        .ok_or_else(|| refuse("it has no section names"))?;
    let mut name_bytes = names.data(LE, elf).map_err(refuse)?.to_vec();
    let name = name_bytes.len() as u32;
    name_bytes.extend(b".model\0");

    let mut out = elf.to_vec();
    let offset = append(&mut out, &model.bytes)?;
    names.sh_offset = U32::new(LE, append(&mut out, &name_bytes)?);
    names.sh_size = U32::new(LE, name_bytes.len() as u32);
    let (address, size) = (
        U32::new(LE, model.address),
        U32::new(LE, model.bytes.len() as u32),
    );
    let (offset, four) = (U32::new(LE, offset), U32::new(LE, 4));
    let zero = U32::new(LE, 0);
    sections.push(SectionHeader32 {
        sh_name: U32::new(LE, name),
        sh_type: U32::new(LE, SHT_PROGBITS),
        sh_flags: U32::new_u64_truncate(LE, SHF_ALLOC),
        sh_addr: address,
        sh_offset: offset,
        sh_size: size,
        sh_link: zero,
        sh_info: zero,
        sh_addralign: four,
        sh_entsize: zero,
    });
    segments.push(ProgramHeader32 {
        p_type: U32::new(LE, PT_LOAD),
        p_offset: offset,
        p_vaddr: address,
        p_paddr: address,
        p_filesz: size,
        p_memsz: size,
        p_flags: U32::new(LE, PF_R),
        p_align: four,
    });
    let count = |count: usize| {
        u16::try_from(count).map_err(|_| refuse("it has too many segments or sections"))
    };
    header.e_phnum = U16::new(LE, count(segments.len())?);
    header.e_shnum = U16::new(LE, count(sections.len())?);
    header.e_phoff = U32::new(LE, append(&mut out, bytes_of_slice(&segments))?);
    header.e_shoff = U32::new(LE, append(&mut out, bytes_of_slice(&sections))?);
    let header = bytes_of(&header);
    out[..header.len()].copy_from_slice(header);
    Ok(out)
}

/// Appends `bytes` at a multiple of 4; gives their offset.
fn append(out: &mut Vec<u8>, bytes: &[u8]) -> Result<u32, FlashError> {
    out.resize(out.len().next_multiple_of(4), 0);
    let offset = u32::try_from(out.len()).map_err(|_| refuse("it is larger than 4 GB"))?;
    out.extend(bytes);
    Ok(offset)
}
