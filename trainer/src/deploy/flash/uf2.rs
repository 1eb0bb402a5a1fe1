//! UF2: blocks of 512 bytes, each with the address of its 256 bytes of flash.

use super::Segment;
use std::collections::BTreeMap;

const PAGE: u32 = 256;

/// What the flash erases at once.
const SECTOR: u32 = 4096;

const MAGIC: [u32; 2] = [0x0a32_4655, 0x9e5d_5157];
const MAGIC_END: u32 = 0x0ab1_6f30;
const HAS_FAMILY: u32 = 0x2000;
const RP2040: u32 = 0xe48b_ff56;

/// The segments as UF2 for the RP2040.
///
/// Its boot ROM erases a sector with every 16th block, whatever the address. So every sector that is touched is
/// written whole, and what no segment fills stays erased (0xff).
pub fn write(segments: &[Segment]) -> Vec<u8> {
    let mut sectors: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
    for segment in segments {
        for (address, &byte) in (segment.address..).zip(&segment.bytes) {
            let sector = sectors
                .entry(address / SECTOR)
                .or_insert_with(|| vec![0xff; SECTOR as usize]);
            sector[(address % SECTOR) as usize] = byte;
        }
    }
    let pages = sectors.iter().flat_map(|(sector, bytes)| {
        let addresses = (sector * SECTOR..).step_by(PAGE as usize);
        addresses.zip(bytes.chunks(PAGE as usize))
    });
    let count = sectors.len() as u32 * (SECTOR / PAGE);
    let mut out = Vec::with_capacity(count as usize * 512);
    for (number, (address, page)) in (0..).zip(pages) {
        let start = out.len();
        for word in [
            MAGIC[0], MAGIC[1], HAS_FAMILY, address, PAGE, number, count, RP2040,
        ] {
            out.extend(u32::to_le_bytes(word));
        }
        out.extend(page);
        out.resize(start + 508, 0);
        out.extend(MAGIC_END.to_le_bytes());
    }
    out
}
