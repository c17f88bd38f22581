//! What happens during a run, as it happens. Reporters and the journal consume these; the engine prints nothing.

use std::time::Duration;

use super::budget::Tally;
use super::outcome::{BudgetKind, Fate};
use crate::catalog::Platform;
use crate::fleet::InstanceId;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// Instances are being asked for their state.
    ObservationStarted {
        /// How many.
        instances: usize,
    },
    /// So many of them have answered, or never will.
    ObservationProgress {
        /// How many have.
        done: usize,
        /// Of how many.
        total: usize,
    },
    /// The asking is over.
    ObservationFinished {
        /// How many answered with a usable report.
        answered: usize,
        /// Of how many.
        total: usize,
    },
    /// Commands of an earlier run are still under way; they are followed to their end before anything else.
    Adopting {
        /// On how many instances.
        instances: usize,
        /// The ids of those runs.
        runs: Vec<String>,
    },
    /// The rollout of one policy begins.
    PolicyStarted {
        /// Its name.
        policy: String,
        /// How many instances it changes.
        instances: usize,
        /// In how many waves.
        waves: usize,
        /// How many at the same time.
        concurrency: usize,
        /// How many may end in each bad way.
        budgets: Tally,
    },
    /// The service has taken a command.
    CommandSent {
        /// Of which policy.
        policy: String,
        /// What it is for.
        purpose: Purpose,
        /// To which platform.
        platform: Platform,
        /// To how many instances.
        instances: usize,
        /// Its id.
        command_id: String,
    },
    /// So far is the open wave, or the putting back.
    PolicyProgress {
        /// The policy's name.
        policy: String,
        /// The wave, from 0; none while things are put back.
        wave: Option<usize>,
        /// How many instances of it are through.
        done: usize,
        /// Of how many.
        total: usize,
        /// How many instances of the whole rollout ended badly.
        errors: usize,
    },
    /// Something that the rollout's machine decided or found out.
    Note {
        /// The policy's name.
        policy: String,
        /// What.
        note: Note,
    },
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Purpose {
    /// To carry the plan out.
    Apply,
    /// To put back what the rollout changed.
    PutBack,
}

/// Something that the rollout's machine decided or found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// Bad ends of an earlier run's commands count into the budgets of this one.
    Adopted {
        /// How many.
        spent: usize,
    },
    /// A wave begins.
    WaveOpened {
        /// Which, from 0.
        wave: usize,
        /// How many instances it changes.
        instances: usize,
    },
    /// A wave is left alone for a while, and then looked at again.
    Soaking {
        /// Which.
        wave: usize,
        /// For how long.
        soak: Duration,
    },
    /// The gate does not let the rollout go on yet.
    Held {
        /// Behind which wave.
        wave: usize,
        /// Why.
        why: String,
    },
    /// A wave is done.
    WavePassed {
        /// Which.
        wave: usize,
    },
    /// No report came back from an instance. It is looked at before anything is said of it.
    ReplyLost {
        /// Who.
        id: InstanceId,
        /// What is known.
        why: String,
    },
    /// This became of an instance.
    Settled {
        /// Who.
        id: InstanceId,
        /// What.
        fate: Fate,
    },
    /// One more instance ended badly.
    BudgetSpent {
        /// In which way.
        budget: BudgetKind,
        /// How many so far.
        spent: usize,
        /// How many may.
        of: usize,
    },
    /// Nothing further is changed in this rollout.
    Halted {
        /// Why.
        reason: String,
        /// How many instances were not started.
        not_started: usize,
    },
    /// What was changed is put back.
    RollbackStarted {
        /// How many instances.
        instances: usize,
    },
    /// Putting back has come to its end.
    RollbackEnded,
}
