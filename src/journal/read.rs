//! What a journal says.

use std::fs::{File, TryLockError};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::entry::{Ending, Entry, FORMAT, Line, Opening};
use super::error::JournalError;

/// The journal of one run, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal {
    opening: Opening,
    /// All lines; the first is the opening.
    pub lines: Vec<Line>,
    /// Whether its run still writes it.
    pub under_way: bool,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// Some process is at it.
    UnderWay,
    /// It stopped without a word: it was killed, or its machine went down.
    BrokeOff,
    /// It came to its end.
    Ended(&'a Ending),
}

impl Journal {
    pub(super) fn read(path: &Path) -> Result<Self, JournalError> {
        let error = |source| JournalError::Io { doing: "read", path: path.to_owned(), source };
        let mut file = File::open(path).map_err(error)?;
        // Before the text: a run that ends between the two has written its end.
        let under_way = matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock));
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(error)?;
        Self::parse(path, &String::from_utf8_lossy(&bytes), under_way)
    }

    /// Parses the text of a journal. What follows the last line break was never finished, and is left out.
    pub(super) fn parse(path: &Path, text: &str, under_way: bool) -> Result<Self, JournalError> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        check_format(path, whole)?;
        let mut lines = Vec::new();
        for (index, line) in whole.lines().enumerate() {
            let line: Line = serde_json::from_str(line).map_err(|error| damaged(path, index, &error.to_string()))?;
            lines.push(line);
        }
        match lines.first() {
            Some(Line { entry: Entry::Run(opening), .. }) => Ok(Self { opening: opening.clone(), lines, under_way }),
            _ => Err(damaged(path, 0, "it does not begin with a run")),
        }
    }

    /// How it began.
    pub fn opening(&self) -> &Opening {
        &self.opening
    }

    /// When it began.
    pub fn started(&self) -> Timestamp {
        self.lines[0].time
    }

    /// When it told something last.
    pub fn last_told(&self) -> Timestamp {
        self.lines[self.lines.len() - 1].time
    }

    /// The plan, as it was saved.
    pub fn plan(&self) -> Option<&Value> {
        self.lines.iter().find_map(|line| match &line.entry {
            Entry::Plan { plan } => Some(plan),
            _ => None,
        })
    }

    /// How far it is.
    pub fn state(&self) -> State<'_> {
        match &self.lines[self.lines.len() - 1].entry {
            Entry::Ended(ending) => State::Ended(ending),
            _ if self.under_way => State::UnderWay,
            _ => State::BrokeOff,
        }
    }
}

/// Looked at first, so that another version is told by its name and not by its first strange line.
fn check_format(path: &Path, text: &str) -> Result<(), JournalError> {
    #[derive(Deserialize)]
    struct Head {
        format: String,
        version: String,
    }
    let first = text.lines().next().ok_or_else(|| damaged(path, 0, "nothing was written"))?;
    let head: Head = serde_json::from_str(first).map_err(|error| damaged(path, 0, &error.to_string()))?;
    if head.format == FORMAT {
        return Ok(());
    }
    Err(JournalError::Format { path: path.to_owned(), found: head.format, version: head.version })
}

fn damaged(path: &Path, index: usize, problem: &str) -> JournalError {
    JournalError::Damaged { path: PathBuf::from(path), line: index + 1, problem: problem.to_owned() }
}
