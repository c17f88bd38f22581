//! A file as lines, with everything needed to put it together again byte for byte.

use super::{SIZE_LIMIT_BYTES, Unsupported};

/// One line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    /// Without the ending.
    pub(super) text: Vec<u8>,
    /// `\n`, `\r\n`, or nothing for a last line that has none.
    ending: &'static [u8],
}

/// The lines of a file.
#[derive(Debug)]
pub(super) struct Lines {
    pub(super) lines: Vec<Line>,
    /// The ending of new lines.
    style: &'static [u8],
}

impl Lines {
    /// Takes a file apart.
    pub(super) fn parse(content: &[u8]) -> Result<Self, Unsupported> {
        if content.len() > SIZE_LIMIT_BYTES {
            return Err(Unsupported::TooLarge);
        }
        let lines: Vec<Line> = content.split_inclusive(|&byte| byte == b'\n').map(Line::parse).collect();
        if lines.iter().any(|line| line.text.iter().any(|byte| matches!(byte, 0 | 1 | b'\r'))) {
            return Err(Unsupported::NotText);
        }
        let crlf = lines.first().is_some_and(|line| line.ending == b"\r\n");
        Ok(Self { lines, style: if crlf { b"\r\n" } else { b"\n" } })
    }

    /// Takes a registry value apart, whose strings each end with `\n`.
    pub(super) fn parse_registry(content: &[u8]) -> Result<Self, Unsupported> {
        if content.len() > SIZE_LIMIT_BYTES {
            return Err(Unsupported::TooLarge);
        }
        if content.iter().any(|byte| matches!(byte, 0 | b'\r')) || std::str::from_utf8(content).is_err() {
            return Err(Unsupported::NotText);
        }
        let line = |text: &[u8]| Line { text: text.strip_suffix(b"\n").unwrap_or(text).to_vec(), ending: b"\n" };
        Ok(Self { lines: content.split_inclusive(|&byte| byte == b'\n').map(line).collect(), style: b"\n" })
    }

    /// Puts the file together.
    pub(super) fn join(&self) -> Vec<u8> {
        self.lines.iter().flat_map(|line| [line.text.as_slice(), line.ending]).flatten().copied().collect()
    }

    /// Puts a line before line number `at`.
    pub(super) fn insert(&mut self, at: usize, text: &[u8]) {
        if let Some(before) = at.checked_sub(1)
            && self.lines[before].ending.is_empty()
        {
            self.lines[before].ending = self.style;
        }
        self.lines.insert(at, Line { text: text.to_vec(), ending: self.style });
    }

    /// Takes lines out, whose numbers come in rising order.
    pub(super) fn delete(&mut self, numbers: impl DoubleEndedIterator<Item = usize>) {
        for number in numbers.rev() {
            self.lines.remove(number);
        }
    }
}

impl Line {
    fn parse(line: &[u8]) -> Self {
        if let Some(text) = line.strip_suffix(b"\r\n") {
            Self { text: text.to_vec(), ending: b"\r\n" }
        } else if let Some(text) = line.strip_suffix(b"\n") {
            Self { text: text.to_vec(), ending: b"\n" }
        } else {
            Self { text: line.to_vec(), ending: b"" }
        }
    }
}

/// Whether a byte is a blank to the readers of the carriers.
pub(super) fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}

/// `text` without blanks at its start.
pub(super) fn trim_start(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|&byte| !is_blank(byte)).unwrap_or(text.len());
    &text[start..]
}

/// `text` without blanks at both ends.
pub(super) fn trim(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|&byte| !is_blank(byte)).map_or(0, |last| last + 1);
    trim_start(&text[..end])
}

/// Whether `text` holds one of the bytes of `set`.
pub(super) fn has_any(text: &[u8], set: &[u8]) -> bool {
    text.iter().any(|byte| set.contains(byte))
}

/// Whether `text` holds `part`.
pub(super) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
