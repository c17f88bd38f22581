//! A mistake in a policy file, as a value. [`crate::report`] renders it.

use std::ops::Range;

/// A policy file: its name as the user gave it, and its text.
#[derive(Clone, Debug)]
pub struct SourceFile {
    /// Path, as it should be shown.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// One mistake.
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
    /// Bytes of the text.
    pub range: Range<usize>,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is here.
    pub label: String,
}

/// How bad a mistake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// It works, and is probably not what was meant.
    Warning,
}

/// Which kind of mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// Not YAML.
    Syntax,
}
