//! Intel HEX: text lines of 16 bytes with address and checksum.

use super::Segment;
use ihex::Record;

/// Bytes of a data line.
const LINE: usize = 16;

/// The segments as Intel HEX.
pub fn write(segments: &[Segment]) -> String {
    let mut records = Vec::new();
    let mut upper = None;
    for segment in segments {
        let (mut address, mut bytes) = (segment.address, &segment.bytes[..]);
        while !bytes.is_empty() {
            // A line's address has 16 bits: the upper half is a line of its own, and no line crosses over.
            let [high, low] = [(address >> 16) as u16, address as u16];
            if upper != Some(high) {
                records.push(Record::ExtendedLinearAddress(high));
                upper = Some(high);
            }
            let room = LINE - usize::from(low) % LINE;
            let (line, rest) = bytes.split_at(room.min(bytes.len()));
            records.push(Record::Data {
                offset: low,
                value: line.to_vec(),
            });
            address = address.wrapping_add(line.len() as u32);
            bytes = rest;
        }
    }
    records.push(Record::EndOfFile);
    ihex::create_object_file_representation(&records).expect("short lines, one end")
}
