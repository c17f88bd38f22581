//! What happens during a run, as it happens. Reporters consume these; the engine prints nothing.

use crate::catalog::Platform;

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
    /// The rollout of one policy begins.
    PolicyStarted {
        /// Its name.
        policy: String,
        /// How many instances it changes.
        instances: usize,
        /// How many at the same time.
        concurrency: usize,
        /// How many may fail before no further one is started.
        max_errors: usize,
    },
    /// A command was sent.
    CommandSent {
        /// Of which policy.
        policy: String,
        /// To which platform.
        platform: Platform,
        /// To how many instances.
        instances: usize,
        /// Its id.
        command_id: String,
    },
    /// So many instances of the policy are finished.
    PolicyProgress {
        /// Its name.
        policy: String,
        /// How many are finished.
        done: usize,
        /// Of how many.
        total: usize,
        /// How many of them did not work.
        errors: usize,
    },
    /// No further command of the policy is sent.
    Halted {
        /// Its name.
        policy: String,
        /// Why.
        reason: String,
        /// How many instances were not started.
        not_started: usize,
    },
}
