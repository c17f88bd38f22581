//! A mistake in a policy file, as a value. [`crate::report`] renders it.

use std::fmt;
use std::ops::Range;

pub use super::code::{Code, Severity};

/// A policy file: its name as the user gave it, and its text.
///
/// The text may hold credentials that somebody put into a URL by mistake. Whoever shows a part of it shows
/// [`super::masked_text`] instead; `Debug` shows the size alone.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceFile {
    /// Path, as it should be shown.
    pub name: String,
    /// The whole text.
    pub text: String,
}

impl fmt::Debug for SourceFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("SourceFile")
            .field("name", &self.name)
            .field("bytes", &self.text.len())
            .finish_non_exhaustive()
    }
}

/// One mistake. It never holds a credential: messages and labels are masked when it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of mistake.
    pub code: Code,
    /// Whether it stops the run.
    pub severity: Severity,
    /// What is wrong, one sentence without a final full stop.
    pub message: String,
    /// What would be right.
    pub help: Option<String>,
    /// Where, most important place first. Empty only for a file that could not be read as text at all.
    pub spans: Vec<Span>,
}

/// A place in a file, with what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Name of the [`SourceFile`].
    pub file: String,
    /// Bytes of the text, at the borders of characters. Empty at the end of a file.
    pub range: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is here.
    pub label: String,
}

impl Span {
    /// The place of `range` in `file`. A range that does not fit the text is cut to it.
    pub fn new(file: &SourceFile, range: Range<usize>, label: impl Into<String>) -> Self {
        let start = character_border(&file.text, range.start);
        let end = character_border(&file.text, range.end).max(start);
        let before = &file.text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.name.clone(),
            range: start..end,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            label: label.into(),
        }
    }
}

fn character_border(text: &str, position: usize) -> usize {
    let mut position = position.min(text.len());
    while !text.is_char_boundary(position) {
        position -= 1;
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_lines_and_characters_not_bytes() {
        let file = SourceFile { name: "a.yaml".into(), text: "eins\nzwölf: ä\n".into() };
        let start = file.text.find('ä').expect("it is there");
        let span = Span::new(&file, start..start + 2, "");
        assert_eq!((span.line, span.column, &file.text[span.range]), (2, 8, "ä"));
    }

    #[test]
    fn a_span_outside_of_the_text_or_inside_of_a_character_is_cut() {
        let file = SourceFile { name: "a.yaml".into(), text: "ä".into() };
        assert_eq!(Span::new(&file, 1..900, "").range, 0..2);
        assert_eq!(Span::new(&file, 900..901, "").range, 2..2);
    }

    #[test]
    fn debug_of_a_file_does_not_show_its_text() {
        let file = SourceFile { name: "a.yaml".into(), text: "http://user:secret@proxy:1".into() };
        assert!(!format!("{file:?}").contains("secret"));
    }
}
