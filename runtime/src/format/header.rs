//! The first bytes of a model file.

use super::ModelError;
use super::crc::crc32;

/// The first four bytes of a model file.
pub const MAGIC: [u8; 4] = *b"PIPS";
/// The format version that this library reads and writes.
pub const VERSION: u16 = 5;
/// Bytes before the metadata.
pub const HEADER_LEN: usize = 20;

/// Checks the header and the checksum. Returns the bytes of the model, without what follows it, and those of its metadata.
pub(crate) fn split_header(bytes: &[u8]) -> Result<(&[u8], &[u8]), ModelError> {
    let truncated = |expected: usize| ModelError::Truncated {
        expected: expected as u32,
        found: bytes.len() as u32,
    };
    if !bytes.as_ptr().addr().is_multiple_of(4) {
        return Err(ModelError::Misaligned);
    }
    let Some((header, _)) = bytes.split_first_chunk::<HEADER_LEN>() else {
        return Err(truncated(HEADER_LEN));
    };
    if header.iter().all(|&b| b == 0xff) || header.iter().all(|&b| b == 0) {
        return Err(ModelError::Empty);
    }
    let [
        m0,
        m1,
        m2,
        m3,
        c0,
        c1,
        c2,
        c3,
        v0,
        v1,
        _,
        _,
        l0,
        l1,
        l2,
        l3,
        ..,
    ] = *header;
    let magic = [m0, m1, m2, m3];
    if magic != MAGIC {
        return Err(ModelError::NotAModel { found: magic });
    }
    let version = u16::from_le_bytes([v0, v1]);
    if version != VERSION {
        return Err(ModelError::Version {
            expected: VERSION,
            found: version,
        });
    }
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    let model = bytes
        .get(..length.max(HEADER_LEN))
        .ok_or(truncated(length))?;
    let computed = checksum(model);
    let stored = u32::from_le_bytes([c0, c1, c2, c3]);
    if computed != stored {
        return Err(ModelError::Checksum {
            expected: stored,
            found: computed,
        });
    }
    Ok((model, metadata_bytes(model).ok_or(ModelError::Metadata)?))
}

/// The bytes of the metadata, by the length in the header.
pub(crate) fn metadata_bytes(model: &[u8]) -> Option<&[u8]> {
    let length = u16::from_le_bytes([*model.get(10)?, *model.get(11)?]);
    model.get(HEADER_LEN..)?.get(..length.into())
}

/// The checksum that the header must hold: the CRC-32 of all bytes after it.
pub(crate) fn checksum(model: &[u8]) -> u32 {
    model.get(8..).map_or(0, crc32)
}
