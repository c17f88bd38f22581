//! Where the events of a run go: to whoever watches, and into its journal.

use serde_json::Value;

use crate::journal::entry::Ending;
use crate::journal::{Entry, JournalError, Opening, Store, Writer};
use crate::report::{Progress, Screen};
use crate::rollout::{Event, Summary};

/// The consumers of a run's events. A journal that cannot be written is told once, and stops nothing.
#[derive(Debug)]
pub(super) struct Telling {
    screen: Screen,
    progress: Progress,
    journal: Option<Writer>,
    /// What belongs into the journal and happened before there was one.
    early: Vec<Entry>,
}

impl Telling {
    /// Shows on `screen`; `quiet` shows nothing, for JSON results that go to the same terminal.
    pub(super) fn new(screen: Screen, quiet: bool) -> Self {
        Self { screen, progress: Progress::new(screen, quiet), journal: None, early: Vec::new() }
    }

    /// Begins a journal.
    pub(super) fn keep_journal(
        &mut self,
        store: Result<Store, JournalError>,
        opening: impl FnOnce() -> (Opening, Value),
    ) {
        let (opening, plan) = opening();
        match store.and_then(|store| store.begin(opening, plan)) {
            Ok(mut journal) => {
                for entry in self.early.drain(..) {
                    journal.record(entry);
                }
                self.journal = Some(journal);
            }
            Err(error) => self.no_journal(&error),
        }
    }

    /// Tells one event.
    pub(super) fn tell(&mut self, event: &Event) {
        self.progress.show(event);
        let Some(journal) = &mut self.journal else {
            if matches!(event, Event::Adopting { .. }) {
                self.early.push(Entry::of(event));
            }
            return;
        };
        journal.record(Entry::of(event));
        if let Some(error) = journal.trouble() {
            self.no_journal(&error);
        }
    }

    /// Takes what moves off the screen.
    pub(super) fn finish(&mut self) {
        self.progress.finish();
    }

    /// Ends the journal.
    pub(super) fn close(&mut self, summary: &Summary) {
        if let Some(error) = self.journal.take().and_then(|journal| journal.close(Ending::of(summary))) {
            self.no_journal(&error);
        }
    }

    fn no_journal(&mut self, error: &JournalError) {
        self.progress.finish();
        self.screen.say(&format!("The journal of this run is not complete: {error}; {}.", error.remedy()));
    }
}
