//! Collecting the mistakes of one file.

use std::ops::Range;

use super::mask::masked;
use super::{Code, Diagnostic, Severity, SourceFile, Span};

/// How many mistakes of a file are shown. Nobody reads more, and it bounds the work on hostile files.
const SHOWN: usize = 100;

/// One mistake on its way into the collection.
pub(super) struct Mistake {
    code: Code,
    message: String,
    help: Option<String>,
    places: Vec<(Range<usize>, String)>,
}

impl Mistake {
    /// A mistake of this kind: what is wrong, in one sentence without a final full stop.
    pub(super) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, places: Vec::new() }
    }

    /// What would be right.
    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Where it is, most important place first, and what is there.
    pub(super) fn at(mut self, range: &Range<usize>, label: impl Into<String>) -> Self {
        self.places.push((range.clone(), label.into()));
        self
    }
}

/// The mistakes found in one file so far.
pub(super) struct Mistakes<'a> {
    file: &'a SourceFile,
    found: Vec<Diagnostic>,
    errors: usize,
}

impl<'a> Mistakes<'a> {
    pub(super) fn of(file: &'a SourceFile) -> Self {
        Self { file, found: Vec::new(), errors: 0 }
    }

    /// Adds a mistake, with everything in it masked.
    pub(super) fn add(&mut self, mistake: Mistake) {
        let spans = mistake
            .places
            .into_iter()
            .take(if self.found.len() < SHOWN { usize::MAX } else { 0 })
            .map(|(range, label)| Span::new(self.file, range, masked(&label)))
            .collect();
        self.add_with_spans(mistake.code, &mistake.message, mistake.help, spans);
    }

    /// Adds a mistake whose places may be in other files.
    pub(super) fn add_with_spans(&mut self, code: Code, message: &str, help: Option<String>, spans: Vec<Span>) {
        if code.severity() == Severity::Error {
            self.errors += 1;
        }
        if self.found.len() < SHOWN {
            self.found.push(Diagnostic {
                code,
                severity: code.severity(),
                message: masked(message),
                help: help.map(|help| masked(&help)),
                spans,
            });
        } else if self.found.len() == SHOWN {
            // An error, whatever is left out: a file with an error that nobody was shown must not pass.
            self.errors += 1;
            self.found.push(Diagnostic {
                code: Code::TooManyMistakes,
                severity: Severity::Error,
                message: format!("{} has more mistakes than these {SHOWN}; the rest is not shown", self.file.name),
                help: Some("mend these first and validate again".to_owned()),
                spans: vec![Span::new(self.file, 0..0, "in this file")],
            });
        }
    }

    /// Whether further mistakes would be shown.
    pub(super) fn is_full(&self) -> bool {
        self.found.len() > SHOWN
    }

    /// How many errors were added, shown or not.
    pub(super) const fn errors(&self) -> usize {
        self.errors
    }

    /// The mistakes in the order of their places.
    pub(super) fn into_sorted(mut self) -> Vec<Diagnostic> {
        let last = |diagnostic: &Diagnostic| diagnostic.code == Code::TooManyMistakes;
        self.found.sort_by_key(|diagnostic| (last(diagnostic), diagnostic.spans.first().map(|span| span.range.start)));
        self.found
    }
}
