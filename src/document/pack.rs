//! Text made small: gzip in base64, which `base64 -d | gzip -d` turns back.

use std::num::NonZeroU64;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// How often the compressor goes over a text to find a shorter form: later rounds hardly gain anything.
const ROUNDS: NonZeroU64 = NonZeroU64::MIN;

/// The longest line, in characters.
const LINE: usize = 100;

/// `text` packed, each line ended.
pub(super) fn packed(text: &str) -> String {
    let mut lines = String::new();
    let mut rest = STANDARD.encode(gzip(text.as_bytes()));
    while !rest.is_empty() {
        let tail = rest.split_off(rest.len().min(LINE));
        lines.push_str(&rest);
        lines.push('\n');
        rest = tail;
    }
    lines
}

/// One member of a gzip file (RFC 1952), without a name and a time: the same text gives the same bytes.
fn gzip(content: &[u8]) -> Vec<u8> {
    // Deflate, no flags, no time, smallest, no system.
    let mut file = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255];
    let options = zopfli::Options { iteration_count: ROUNDS, ..zopfli::Options::default() };
    zopfli::compress(options, zopfli::Format::Deflate, content, &mut file)
        .expect("invariant: memory takes every write");
    file.extend(crc32(content).to_le_bytes());
    let length = u32::try_from(content.len()).expect("invariant: a script has less than 4 GiB");
    file.extend(length.to_le_bytes());
    file
}

/// The checksum of gzip, bit by bit: a script is small.
fn crc32(content: &[u8]) -> u32 {
    !content.iter().fold(u32::MAX, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { sum >> 1 ^ 0xedb8_8320 } else { sum >> 1 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_that_of_the_standard() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926, "the check value of CRC-32");
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn lines_are_short_and_ended() {
        let text = (0..2000).map(|number: u32| number.to_string()).collect::<Vec<_>>().join(" ");
        let packed = packed(&text);
        assert!(packed.ends_with('\n') && packed.lines().all(|line| (1..=LINE).contains(&line.len())));
        let bytes = STANDARD.decode(packed.replace('\n', "")).expect("base64");
        let inner = miniz_oxide::inflate::decompress_to_vec(&bytes[10..bytes.len() - 8]).expect("deflate");
        assert_eq!(String::from_utf8(inner).expect("text"), text);
        assert!(packed.len() < text.len());
    }
}
