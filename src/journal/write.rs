//! A journal that is under way.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use jiff::{Timestamp, Unit};
use serde_json::Value;

use super::entry::{Ending, Entry, Line, Opening};
use super::error::JournalError;

/// Writes the journal of one run on a thread of its own, so that no disk keeps a rollout waiting.
///
/// What comes while the disk is busy is written together, and each batch is flushed to the disk. A process that is killed
/// loses what was told in its last moments; a line that it was writing is torn, which readers know.
#[derive(Debug)]
pub struct Writer {
    lines: Option<Sender<Line>>,
    trouble: Receiver<JournalError>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Begins the journal at `path`. Only its user may read it. It stays locked as long as the run is under way.
    pub(super) fn create(path: PathBuf, opening: Opening, plan: Value) -> Result<Self, JournalError> {
        let mut file = Appender::create(path)?;
        // On the disk before anything is sent: what the run is about is known whatever happens then.
        file.append(&[line(Entry::Run(opening)), line(Entry::Plan { plan })])?;
        file.sync_folder()?;
        Self::follow(file)
    }

    fn follow(mut file: Appender) -> Result<Self, JournalError> {
        let (lines, told) = channel();
        let (report, trouble) = channel();
        let path = file.path.clone();
        let follow = move || {
            if let Err(error) = file.follow(&told) {
                // An error means that nobody wants to know any more.
                let _ = report.send(error);
            }
        };
        let thread = std::thread::Builder::new().name("proxyfleet-journal".to_owned()).spawn(follow);
        let thread = thread.map_err(|source| JournalError::Io { doing: "start a thread for", path, source })?;
        Ok(Self { lines: Some(lines), trouble, thread: Some(thread) })
    }

    /// Appends an entry, with the time.
    pub fn record(&mut self, entry: Entry) {
        if let Some(lines) = &self.lines {
            // The thread has ended where it could not write: that is told once.
            let _ = lines.send(line(entry));
        }
    }

    /// Why nothing more is written, once.
    pub fn trouble(&mut self) -> Option<JournalError> {
        self.trouble.try_recv().ok()
    }

    /// Ends the journal, and says why it is not complete, where that was not told before.
    pub fn close(mut self, ending: Ending) -> Option<JournalError> {
        self.record(Entry::Ended(ending));
        self.finish();
        self.trouble()
    }

    fn finish(&mut self) {
        self.lines = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has printed its message; it has nothing that anybody needs.
            let _ = thread.join();
        }
    }
}

/// A run that ends with an error leaves what it told.
impl Drop for Writer {
    fn drop(&mut self) {
        self.finish();
    }
}

fn line(entry: Entry) -> Line {
    let now = Timestamp::now();
    Line { time: now.round(Unit::Millisecond).unwrap_or(now), entry }
}

/// The file. Its lock is held until it is dropped.
struct Appender {
    file: File,
    path: PathBuf,
}

impl Appender {
    fn create(path: PathBuf) -> Result<Self, JournalError> {
        let made = OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path);
        let file = match made {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(JournalError::Taken { path }),
            Err(source) => return Err(JournalError::Io { doing: "create", path, source }),
        };
        // It only tells readers that the run is under way. Where file systems know no locks, they do not learn it.
        let _ = file.lock();
        Ok(Self { file, path })
    }

    /// Writes what comes until nobody is left who could tell anything.
    fn follow(&mut self, told: &Receiver<Line>) -> Result<(), JournalError> {
        while let Ok(first) = told.recv() {
            let batch: Vec<Line> = std::iter::once(first).chain(told.try_iter()).collect();
            self.append(&batch)?;
        }
        Ok(())
    }

    fn append(&mut self, lines: &[Line]) -> Result<(), JournalError> {
        let mut text = Vec::new();
        for line in lines {
            serde_json::to_writer(&mut text, line).expect("invariant: a line has only string keys");
            text.push(b'\n');
        }
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|source| JournalError::Io { doing: "write", path: self.path.clone(), source })
    }

    /// Makes sure that the file is found after a crash.
    fn sync_folder(&self) -> Result<(), JournalError> {
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|source| JournalError::Io { doing: "write", path: folder.to_owned(), source })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A journal on a disk that has no room.
    pub(in crate::journal) fn on_a_full_disk() -> Writer {
        let path = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&path).expect("Linux has it");
        Writer::follow(Appender { file, path }).expect("a thread can be started")
    }
}
