//! Words and quotes, as systemd, upstart and the shell have them in common.

use super::line::has_any;

/// Longer words are cut: only the name in front matters, and a value that goes into a report.
const WORD_LIMIT_BYTES: usize = 256;

/// Bytes that mean something to a reader even within double quotes. Single quotes are treated alike: nobody needs these
/// bytes in a proxy setting, and a line that holds them is better left alone.
const SPECIAL_IN_QUOTES: &[u8] = b"\"'\\$`";

/// Bytes that mean something to a shell or to upstart outside quotes.
const SPECIAL: &[u8] = b" \t\"'\\$`#;&|<>(){}~";

/// A line split into words.
#[derive(Debug, Default)]
pub(super) struct Words {
    /// Quotes taken off, escapes left in, cut at [`WORD_LIMIT_BYTES`].
    pub(super) list: Vec<Vec<u8>>,
    /// Whether a quote is left open.
    pub(super) open: bool,
    /// Opening braces less closing ones, where braces separate words.
    pub(super) braces: i32,
}

impl Words {
    /// Splits `text` at unquoted `separators`; with `comments`, at a `#` that starts a word the rest is left out.
    pub(super) fn split(text: &[u8], separators: &[u8], comments: bool) -> Self {
        let mut split = Self::default();
        let mut word: Option<Vec<u8>> = None;
        let mut quote = None;
        let mut bytes = text.iter().copied();
        while let Some(byte) = bytes.next() {
            let mut escaped = None;
            if let Some(open) = quote {
                if byte == open {
                    quote = None;
                    continue;
                }
                if byte == b'\\' && open == b'"' {
                    escaped = bytes.next();
                }
            } else if separators.contains(&byte) {
                split.list.extend(word.take());
                split.braces += i32::from(byte == b'{') - i32::from(byte == b'}');
                continue;
            } else if byte == b'#' && word.is_none() && comments {
                break;
            } else {
                let _ = word.get_or_insert_default();
                match byte {
                    b'"' | b'\'' => {
                        quote = Some(byte);
                        continue;
                    }
                    b'\\' => escaped = bytes.next(),
                    _ => {}
                }
            }
            let word = word.get_or_insert_default();
            if word.len() < WORD_LIMIT_BYTES {
                word.push(byte);
                word.extend(escaped);
            }
        }
        split.list.extend(word);
        split.open = quote.is_some();
        split
    }

    /// The value of the last word that starts with `assign` (`KEY=`).
    pub(super) fn assigned(&self, assign: &str) -> Option<&[u8]> {
        self.list.iter().rev().find_map(|word| word.strip_prefix(assign.as_bytes()))
    }
}

/// What is within the quotes when `text` stands in quotes as a whole.
pub(super) fn within_quotes(text: &[u8]) -> Option<&[u8]> {
    match text {
        [first @ (b'"' | b'\''), inner @ .., last] if first == last && !inner.contains(first) => Some(inner),
        _ => None,
    }
}

/// The value when `text` is one assignment by `assign` (`KEY=`) and nothing else, without anything special in it. The
/// quotes may be around the assignment or around the value.
pub(super) fn plain_assignment<'a>(text: &'a [u8], assign: &str) -> Option<&'a [u8]> {
    if let Some(inner) = within_quotes(text)
        && let Some(value) = inner.strip_prefix(assign.as_bytes())
    {
        return (!has_any(inner, SPECIAL_IN_QUOTES)).then_some(value);
    }
    let value = text.strip_prefix(assign.as_bytes())?;
    match within_quotes(value) {
        Some(inner) => (!has_any(inner, SPECIAL_IN_QUOTES)).then_some(inner),
        None => (!has_any(value, SPECIAL)).then_some(value),
    }
}
