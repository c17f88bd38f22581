//! Events to lines, and lines back to events, for telling a run again. Pure.

use std::time::Duration;

use super::entry::{
    AttemptRecord, BudgetWord, BudgetsRecord, Ending, Entry, FateRecord, HaltedRecord, NoteRecord, PurposeWord,
};
use crate::catalog::{Platform, Service};
use crate::fleet::InstanceId;
use crate::rollout::{Attempt, BudgetKind, Event, Fate, Note, Purpose, Summary, Tally};

impl Entry {
    /// The line for an event.
    pub fn of(event: &Event) -> Self {
        match event.clone() {
            Event::ObservationStarted { instances } => Self::ObservationStarted { instances },
            Event::ObservationProgress { done, total } => Self::ObservationProgress { done, total },
            Event::ObservationFinished { answered, total } => Self::ObservationFinished { answered, total },
            Event::Adopting { instances, runs } => Self::Adopting { instances, runs },
            Event::PolicyStarted { policy, instances, waves, concurrency, budgets } => {
                Self::PolicyStarted { policy, instances, waves, concurrency, budgets: budgets_record(budgets) }
            }
            Event::CommandSent { policy, purpose, platform, instances, command_id } => {
                let (purpose, platform) = (purpose_word(purpose), platform.name().to_owned());
                Self::CommandSent { policy, purpose, platform, instances, command_id }
            }
            Event::PolicyProgress { policy, wave, done, total, errors } => {
                Self::PolicyProgress { policy, wave, done, total, errors }
            }
            Event::Note { policy, note } => Self::Note { policy, note: note_record(note) },
        }
    }

    /// The event that the line tells of; `None` for the lines that are none, and for words that this version does not know.
    pub fn event(&self) -> Option<Event> {
        Some(match self.clone() {
            Self::Run(_) | Self::Plan { .. } | Self::Ended(_) => return None,
            Self::ObservationStarted { instances } => Event::ObservationStarted { instances },
            Self::ObservationProgress { done, total } => Event::ObservationProgress { done, total },
            Self::ObservationFinished { answered, total } => Event::ObservationFinished { answered, total },
            Self::Adopting { instances, runs } => Event::Adopting { instances, runs },
            Self::PolicyStarted { policy, instances, waves, concurrency, budgets } => {
                Event::PolicyStarted { policy, instances, waves, concurrency, budgets: tally(budgets) }
            }
            Self::CommandSent { policy, purpose, platform, instances, command_id } => {
                let platform = Platform::from_name(&platform)?;
                Event::CommandSent { policy, purpose: self::purpose(purpose), platform, instances, command_id }
            }
            Self::PolicyProgress { policy, wave, done, total, errors } => {
                Event::PolicyProgress { policy, wave, done, total, errors }
            }
            Self::Note { policy, note } => Event::Note { policy, note: self::note(note)? },
        })
    }
}

impl Ending {
    /// The last line of a run that came to this.
    pub fn of(summary: &Summary) -> Self {
        let attempt = |attempt: &Attempt| AttemptRecord {
            policy: summary.policies[attempt.policy].clone(),
            id: attempt.id.to_string(),
            name: attempt.name.clone(),
            fate: fate_record(attempt.fate.clone()),
            pending: match &attempt.fate {
                Fate::Converged { pending } => pending.iter().map(|service| service.name().to_owned()).collect(),
                _ => Vec::new(),
            },
        };
        let halted =
            |(policy, reason): &(String, String)| HaltedRecord { policy: policy.clone(), reason: reason.clone() };
        Self {
            instances: summary.attempts.iter().map(attempt).collect(),
            halted: summary.halted.iter().map(halted).collect(),
            left_out: summary.left_out.len(),
        }
    }

    /// What it came to, as far as the line says it: who was left out is only counted there.
    pub fn summary(&self) -> Summary {
        let mut policies: Vec<String> = Vec::new();
        let mut attempts = Vec::new();
        for record in &self.instances {
            let known = policies.iter().position(|policy| *policy == record.policy);
            let policy = known.unwrap_or_else(|| {
                policies.push(record.policy.clone());
                policies.len() - 1
            });
            let Ok(id) = InstanceId::parse(&record.id) else { continue };
            let mut fate = fate(record.fate.clone());
            if let Fate::Converged { pending } = &mut fate {
                *pending = record.pending.iter().filter_map(|service| Service::from_name(service)).collect();
            }
            attempts.push(Attempt { policy, id, name: record.name.clone(), wave: 0, fate });
        }
        let halted = self.halted.iter().map(|halted| (halted.policy.clone(), halted.reason.clone())).collect();
        Summary { policies, attempts, left_out: Vec::new(), halted }
    }
}

fn budgets_record(budgets: Tally) -> BudgetsRecord {
    BudgetsRecord {
        failed: budgets.get(BudgetKind::Failed),
        rolled_back: budgets.get(BudgetKind::RolledBack),
        unreachable: budgets.get(BudgetKind::Unreachable),
        unknown: budgets.get(BudgetKind::Unknown),
    }
}

fn tally(record: BudgetsRecord) -> Tally {
    Tally::from_fn(|kind| match kind {
        BudgetKind::Failed => record.failed,
        BudgetKind::RolledBack => record.rolled_back,
        BudgetKind::Unreachable => record.unreachable,
        BudgetKind::Unknown => record.unknown,
    })
}

fn purpose_word(purpose: Purpose) -> PurposeWord {
    match purpose {
        Purpose::Apply => PurposeWord::Apply,
        Purpose::PutBack => PurposeWord::PutBack,
    }
}

fn purpose(word: PurposeWord) -> Purpose {
    match word {
        PurposeWord::Apply => Purpose::Apply,
        PurposeWord::PutBack => Purpose::PutBack,
    }
}

fn budget_word(kind: BudgetKind) -> BudgetWord {
    match kind {
        BudgetKind::Failed => BudgetWord::Failed,
        BudgetKind::RolledBack => BudgetWord::RolledBack,
        BudgetKind::Unreachable => BudgetWord::Unreachable,
        BudgetKind::Unknown => BudgetWord::Unknown,
    }
}

fn budget_kind(word: BudgetWord) -> BudgetKind {
    match word {
        BudgetWord::Failed => BudgetKind::Failed,
        BudgetWord::RolledBack => BudgetKind::RolledBack,
        BudgetWord::Unreachable => BudgetKind::Unreachable,
        BudgetWord::Unknown => BudgetKind::Unknown,
    }
}

fn fate_record(fate: Fate) -> FateRecord {
    match fate {
        Fate::Converged { .. } => FateRecord::Converged,
        Fate::Refused(why) => FateRecord::Refused(why),
        Fate::RolledBack(why) => FateRecord::RolledBack(why),
        Fate::Failed(why) => FateRecord::Failed(why),
        Fate::Unreachable(why) => FateRecord::Unreachable(why),
        Fate::Unknown(why) => FateRecord::Unknown(why),
        Fate::PutBack => FateRecord::PutBack,
        Fate::NotStarted(why) => FateRecord::NotStarted(why),
    }
}

fn fate(record: FateRecord) -> Fate {
    match record {
        FateRecord::Converged => Fate::CONVERGED,
        FateRecord::Refused(why) => Fate::Refused(why),
        FateRecord::RolledBack(why) => Fate::RolledBack(why),
        FateRecord::Failed(why) => Fate::Failed(why),
        FateRecord::Unreachable(why) => Fate::Unreachable(why),
        FateRecord::Unknown(why) => Fate::Unknown(why),
        FateRecord::PutBack => Fate::PutBack,
        FateRecord::NotStarted(why) => Fate::NotStarted(why),
    }
}

fn note_record(note: Note) -> NoteRecord {
    match note {
        Note::Adopted { spent } => NoteRecord::Adopted { instances: spent },
        Note::WaveOpened { wave, instances } => NoteRecord::WaveOpened { wave, instances },
        Note::Soaking { wave, soak } => {
            let milliseconds = u64::try_from(soak.as_millis()).unwrap_or(u64::MAX);
            NoteRecord::Soaking { wave, milliseconds }
        }
        Note::Held { wave, why } => NoteRecord::Held { wave, why },
        Note::WavePassed { wave } => NoteRecord::WavePassed { wave },
        Note::ReplyLost { id, why } => NoteRecord::ReplyLost { id: id.to_string(), status: why },
        Note::Settled { id, fate } => NoteRecord::Settled { id: id.to_string(), fate: fate_record(fate) },
        Note::BudgetSpent { budget, spent, of } => NoteRecord::BudgetSpent { budget: budget_word(budget), spent, of },
        Note::Halted { reason, not_started } => NoteRecord::Halted { reason, not_started },
        Note::RollbackStarted { instances } => NoteRecord::RollbackStarted { instances },
        Note::RollbackEnded => NoteRecord::RollbackEnded,
    }
}

fn note(record: NoteRecord) -> Option<Note> {
    Some(match record {
        NoteRecord::Adopted { instances } => Note::Adopted { spent: instances },
        NoteRecord::WaveOpened { wave, instances } => Note::WaveOpened { wave, instances },
        NoteRecord::Soaking { wave, milliseconds } => Note::Soaking { wave, soak: Duration::from_millis(milliseconds) },
        NoteRecord::Held { wave, why } => Note::Held { wave, why },
        NoteRecord::WavePassed { wave } => Note::WavePassed { wave },
        NoteRecord::ReplyLost { id, status } => Note::ReplyLost { id: InstanceId::parse(&id).ok()?, why: status },
        NoteRecord::Settled { id, fate } => Note::Settled { id: InstanceId::parse(&id).ok()?, fate: self::fate(fate) },
        NoteRecord::BudgetSpent { budget, spent, of } => Note::BudgetSpent { budget: budget_kind(budget), spent, of },
        NoteRecord::Halted { reason, not_started } => Note::Halted { reason, not_started },
        NoteRecord::RollbackStarted { instances } => Note::RollbackStarted { instances },
        NoteRecord::RollbackEnded => Note::RollbackEnded,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id() -> InstanceId {
        InstanceId::parse("i-00000000000000001").expect("an id")
    }

    /// One event of each kind, and of each note.
    fn events() -> Vec<Event> {
        let policy = || "web".to_owned();
        let budgets = Tally::from_fn(|kind| kind as usize);
        let notes = [
            Note::Adopted { spent: 2 },
            Note::WaveOpened { wave: 1, instances: 3 },
            Note::Soaking { wave: 1, soak: Duration::from_millis(1_500) },
            Note::Held { wave: 1, why: "later".to_owned() },
            Note::WavePassed { wave: 1 },
            Note::ReplyLost { id: id(), why: "delivery timed out".to_owned() },
            Note::BudgetSpent { budget: BudgetKind::RolledBack, spent: 1, of: 0 },
            Note::Halted { reason: "no".to_owned(), not_started: 4 },
            Note::RollbackStarted { instances: 2 },
            Note::RollbackEnded,
        ];
        let why = || "why".to_owned();
        let fates = [
            Fate::CONVERGED,
            Fate::Refused(why()),
            Fate::RolledBack(why()),
            Fate::Failed(why()),
            Fate::Unreachable(why()),
            Fate::Unknown(why()),
            Fate::PutBack,
            Fate::NotStarted(why()),
        ];
        let notes = notes.into_iter().chain(fates.into_iter().map(|fate| Note::Settled { id: id(), fate }));
        let commands = [Purpose::Apply, Purpose::PutBack].map(|purpose| Event::CommandSent {
            policy: policy(),
            purpose,
            platform: Platform::Windows,
            instances: 5,
            command_id: "c".to_owned(),
        });
        let mut events = vec![
            Event::ObservationStarted { instances: 1 },
            Event::ObservationProgress { done: 1, total: 2 },
            Event::ObservationFinished { answered: 1, total: 2 },
            Event::Adopting { instances: 1, runs: vec!["r".to_owned()] },
            Event::PolicyStarted { policy: policy(), instances: 9, waves: 3, concurrency: 2, budgets },
            Event::PolicyProgress { policy: policy(), wave: Some(1), done: 1, total: 2, errors: 0 },
            Event::PolicyProgress { policy: policy(), wave: None, done: 1, total: 2, errors: 1 },
        ];
        events.extend(commands);
        events.extend(notes.map(|note| Event::Note { policy: policy(), note }));
        events
    }

    #[test]
    fn an_event_comes_back_from_its_line() {
        for event in events() {
            let line = serde_json::to_string(&Entry::of(&event)).expect("it can be written");
            let read: Entry = serde_json::from_str(&line).expect("it can be read");
            assert_eq!(read.event(), Some(event), "{line}");
        }
    }

    #[test]
    fn a_summary_comes_back_from_the_last_line() {
        let attempt = |policy, fate| Attempt { policy, id: id(), name: Some("web-1".to_owned()), wave: 0, fate };
        let summary = Summary {
            policies: vec!["web".to_owned(), "batch".to_owned()],
            attempts: vec![
                attempt(0, Fate::Converged { pending: vec![Service::Docker] }),
                attempt(1, Fate::RolledBack("verify".to_owned())),
            ],
            left_out: Vec::new(),
            halted: vec![("batch".to_owned(), "1 rolled back".to_owned())],
        };
        let line = serde_json::to_string(&Ending::of(&summary)).expect("it can be written");
        let read: Ending = serde_json::from_str(&line).expect("it can be read");
        let told = read.summary();
        assert_eq!((told.policies, told.attempts, told.halted), (summary.policies, summary.attempts, summary.halted));
    }
}
