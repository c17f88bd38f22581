//! What the lines of a carrier are to one key.

/// How an occurrence is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Simple, and all readers take the same value from it.
    WellFormed,
    /// Simple, but readers differ or take nothing.
    Malformed,
    /// Not to be touched.
    Complex,
}

/// A line that sets the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Occurrence {
    /// Its number, counted from 0.
    pub(super) line: usize,
    pub(super) form: Form,
    /// The value; of a malformed or complex occurrence as far as it can be told.
    pub(super) value: Vec<u8>,
}

impl Occurrence {
    /// Whether it can be replaced or deleted without losing anything else.
    pub(super) fn is_simple(&self) -> bool {
        self.form != Form::Complex
    }
}

/// All there is to know of a key before an edit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Survey {
    /// In the order of the file.
    occurrences: Vec<Occurrence>,
    /// How many of them a reset has made void.
    void: usize,
    /// The number of the line before which a new one beats all occurrences; `None` when its section is missing.
    pub(super) place: Option<usize>,
}

impl Survey {
    /// For a syntax without sections, of a file with this many lines.
    pub(super) fn without_sections(lines: usize) -> Self {
        Self { place: Some(lines), ..Self::default() }
    }

    /// Records an occurrence behind all others.
    pub(super) fn push(&mut self, line: usize, form: Form, value: &[u8]) {
        self.occurrences.push(Occurrence { line, form, value: value.to_vec() });
    }

    /// Makes the occurrences up to here void.
    pub(super) fn reset(&mut self) {
        self.void = self.occurrences.len();
    }

    /// The occurrence that counts.
    pub(super) fn effective(&self) -> Option<&Occurrence> {
        self.occurrences[self.void..].last()
    }

    /// The lines with simple occurrences, void ones included: they have no effect to lose.
    pub(super) fn simple(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.occurrences.iter().filter(|occurrence| occurrence.is_simple()).map(|occurrence| occurrence.line)
    }
}
