//! The folder of journals: one file a run, named by its id.

use std::ffi::OsString;
use std::fs::{DirBuilder, read_dir};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::entry::Opening;
use super::error::JournalError;
use super::read::Journal;
use super::write::Writer;

/// Below the state folder.
const RUNS: &str = "runs";
const EXTENSION: &str = "jsonl";
/// What stands for the newest run.
const LAST: &str = "last";

/// The journals of a user, or of whoever shares a state folder.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// A run in a list: its journal, or why that cannot be read.
#[derive(Debug)]
pub struct Overview {
    /// The run's id.
    pub run: String,
    /// What it says.
    pub journal: Result<Journal, JournalError>,
}

impl Store {
    /// The store in a state folder, which need not be there yet.
    pub fn in_folder(state: &Path) -> Self {
        Self { folder: state.join(RUNS) }
    }

    /// The store in the state folder that was asked for, or else in the usual one: `$XDG_STATE_HOME/proxyfleet`, or
    /// `~/.local/state/proxyfleet`. `variable` looks into the environment.
    pub fn find(asked: Option<&Path>, variable: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, JournalError> {
        let folder = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let usual = || {
            let states = folder("XDG_STATE_HOME").or_else(|| Some(folder("HOME")?.join(".local/state")));
            states.map(|states| states.join("proxyfleet"))
        };
        let state = asked.map(Path::to_owned).or_else(usual).ok_or(JournalError::NoFolder)?;
        Ok(Self::in_folder(&state))
    }

    /// Where the journals are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Begins the journal of a run.
    pub fn begin(&self, opening: Opening, plan: Value) -> Result<Writer, JournalError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.map_err(|source| JournalError::Io { doing: "create", path: self.folder.clone(), source })?;
        Writer::create(self.path(&opening.run), opening, plan)
    }

    /// The newest `limit` runs, the newest last, and how many older ones there are.
    pub fn newest(&self, limit: usize) -> Result<(Vec<Overview>, usize), JournalError> {
        let mut runs = self.runs()?;
        let older = runs.len().saturating_sub(limit);
        let read = |run: String| Overview { journal: Journal::read(&self.path(&run)), run };
        Ok((runs.drain(older..).map(read).collect(), older))
    }

    /// The journal of the run with this id, with the only id that begins like this, or of the `last` one.
    pub fn open(&self, name: &str) -> Result<Journal, JournalError> {
        let runs = self.runs()?;
        let run = pick(&runs, name).map_err(|error| match error {
            Unpicked::None if runs.is_empty() => JournalError::Empty { folder: self.folder.clone() },
            Unpicked::None => JournalError::NoRun { name: name.to_owned(), folder: self.folder.clone() },
            Unpicked::Several(runs) => JournalError::SeveralRuns { name: name.to_owned(), runs },
        })?;
        Journal::read(&self.path(run))
    }

    fn path(&self, run: &str) -> PathBuf {
        self.folder.join(format!("{run}.{EXTENSION}"))
    }

    /// The ids of all runs. They begin with the time, so the newest is the last.
    fn runs(&self) -> Result<Vec<String>, JournalError> {
        let error = |source| JournalError::Io { doing: "read", path: self.folder.clone(), source };
        let entries = match read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(error(source)),
        };
        let mut runs = Vec::new();
        for entry in entries {
            let path = entry.map_err(error)?.path();
            let run = path.file_stem().and_then(|stem| stem.to_str());
            if let Some(run) = run.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) {
                runs.push(run.to_owned());
            }
        }
        runs.sort_unstable();
        Ok(runs)
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Unpicked {
    None,
    Several(Vec<String>),
}

/// The run that a name means, out of all in order.
fn pick<'a>(runs: &'a [String], name: &str) -> Result<&'a String, Unpicked> {
    if name == LAST {
        return runs.last().ok_or(Unpicked::None);
    }
    if let Some(run) = runs.iter().find(|run| *run == name) {
        return Ok(run);
    }
    let like: Vec<&String> = runs.iter().filter(|run| !name.is_empty() && run.starts_with(name)).collect();
    match like[..] {
        [] => Err(Unpicked::None),
        [run] => Ok(run),
        _ => Err(Unpicked::Several(like.into_iter().cloned().collect())),
    }
}
