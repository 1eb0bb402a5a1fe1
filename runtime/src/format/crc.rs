//! CRC-32 (ISO-HDLC), four bits at a time.
//!
//! The `crc` crate has tables of 256 words or none: the first costs a kilobyte of flash, the second 15 times the cycles of
//! this table of 16 words, and a board computes the checksum of the whole model at every start.

/// `TABLE[n]` is the remainder of `n`, for the reflected polynomial 0xEDB88320.
const TABLE: [u32; 16] = {
    let mut table = [0; 16];
    let mut n = 0;
    while n < 16 {
        let mut remainder = n as u32;
        let mut bit = 0;
        while bit < 4 {
            let polynomial = if remainder & 1 == 1 { 0xedb8_8320 } else { 0 };
            remainder = remainder >> 1 ^ polynomial;
            bit += 1;
        }
        table[n] = remainder;
        n += 1;
    }
    table
};

/// The CRC-32 of `bytes`, as zlib, Ethernet and PNG compute it.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| crc >> 4 ^ TABLE[crc as usize % 16];
    !bytes
        .iter()
        .fold(u32::MAX, |crc, byte| step(step(crc ^ u32::from(*byte))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crc::{CRC_32_ISO_HDLC, Crc};
    use std::vec::Vec;

    #[test]
    fn it_is_the_crc_of_the_crate_crc() {
        let reference = Crc::<u32>::new(&CRC_32_ISO_HDLC);
        let bytes: Vec<u8> = (0..1000u32).map(|i| ((i * i) >> 3) as u8).collect();
        for length in [0, 1, 2, 255, 1000] {
            assert_eq!(
                crc32(&bytes[..length]),
                reference.checksum(&bytes[..length])
            );
        }
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }
}
