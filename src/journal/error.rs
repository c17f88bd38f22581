//! What can go wrong with journals, and what to do about it.

use std::io;
use std::path::PathBuf;

use super::FORMAT;

/// Something about a journal did not work.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Nothing says where the state folder is.
    #[error("there is no state folder: neither --state-dir, PROXYFLEET_STATE_DIR, XDG_STATE_HOME nor HOME names one")]
    NoFolder,
    /// A file or folder cannot be used.
    #[error("cannot {doing} {}: {source}", path.display())]
    Io {
        /// Such as `read`.
        doing: &'static str,
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another process writes a journal of this name.
    #[error("another run writes {}", path.display())]
    Taken {
        /// The journal.
        path: PathBuf,
    },
    /// No journal has such a name.
    #[error("no run `{name}` in {}", folder.display())]
    NoRun {
        /// What was asked for.
        name: String,
        /// Where.
        folder: PathBuf,
    },
    /// There are no journals at all.
    #[error("no run has left a journal in {}", folder.display())]
    Empty {
        /// Where.
        folder: PathBuf,
    },
    /// Several journals begin with this.
    #[error("several runs begin with `{name}`: {}", runs.join(", "))]
    SeveralRuns {
        /// What was asked for.
        name: String,
        /// Their ids.
        runs: Vec<String>,
    },
    /// The journal of another version.
    #[error("{}: the journal is in format `{found}`, written by proxyfleet {version}; this version reads `{FORMAT}`", path.display())]
    Format {
        /// The journal.
        path: PathBuf,
        /// What it says.
        found: String,
        /// Which version says so.
        version: String,
    },
    /// A line that no version wrote.
    #[error("{}, line {line}: not a line of a journal: {problem}", path.display())]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
}

impl JournalError {
    /// What to do next, in one sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::NoFolder => "give --state-dir, or set HOME".to_owned(),
            Self::Io { .. } => "check the folder and its permissions, or name another with --state-dir".to_owned(),
            Self::Taken { .. } => "wait for it, or name another folder with --state-dir".to_owned(),
            Self::NoRun { .. } => {
                "`proxyfleet history` lists the runs; journals are kept on the machine that a run was on, by user".to_owned()
            }
            Self::Empty { .. } => {
                "`apply` leaves one; journals are kept on the machine that a run was on, by user: name another folder with \
                 --state-dir"
                    .to_owned()
            }
            Self::SeveralRuns { .. } => "give more of the id, or `last`".to_owned(),
            Self::Format { version, .. } => format!("read it with proxyfleet {version}"),
            Self::Damaged { .. } => {
                "the lines before it are readable in an editor; delete the file if nobody needs it, nothing depends on it"
                    .to_owned()
            }
        }
    }
}
