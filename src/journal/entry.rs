//! The lines of a journal. Pure.
//!
//! A line is one JSON object: `time`, `kind`, and what belongs to the kind. The first is [`Entry::Run`], the second
//! [`Entry::Plan`], and the last of a run that came to its end is [`Entry::Ended`].

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The format and its version. A reader refuses any other, so a new kind of line is a new version.
pub const FORMAT: &str = "proxyfleet-journal/1";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When it happened.
    #[serde(with = "rfc3339")]
    pub time: Timestamp,
    /// What.
    #[serde(flatten)]
    pub entry: Entry,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Entry {
    /// The run begins.
    Run(Opening),
    /// What is to be done: a saved plan, in its own format.
    Plan {
        /// As `plan --out` writes it.
        plan: Value,
    },
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
    /// Commands of an earlier run are followed to their end first.
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
        budgets: BudgetsRecord,
    },
    /// The service has taken a command.
    CommandSent {
        /// Of which policy.
        policy: String,
        /// `apply` or `put-back`.
        purpose: PurposeWord,
        /// To which platform.
        platform: String,
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
    /// Something that the rollout's machine notes.
    Note {
        /// The policy's name.
        policy: String,
        /// What.
        #[serde(flatten)]
        note: NoteRecord,
    },
    /// The run has ended.
    Ended(Ending),
}

/// How a run begins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Opening {
    /// [`FORMAT`]
    pub format: String,
    /// The version of proxyfleet.
    pub version: String,
    /// The run's id.
    pub run: String,
    /// The account.
    pub account: String,
    /// The region.
    pub region: String,
    /// The digest of the plan.
    pub plan_digest: String,
    /// The policies that change somebody.
    pub policies: Vec<String>,
    /// How many instances are to be changed.
    pub instances: usize,
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Everybody whom the plan would change.
    pub instances: Vec<AttemptRecord>,
    /// Rollouts that ended early.
    pub halted: Vec<HaltedRecord>,
    /// How many instances are left alone for some reason.
    pub left_out: usize,
}

/// What became of one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptRecord {
    /// Its policy.
    pub policy: String,
    /// Its id.
    pub id: String,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// What became of it.
    #[serde(flatten)]
    pub fate: FateRecord,
    /// Services that wait for a restart which the policy defers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<String>,
}

/// A rollout that ended early.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaltedRecord {
    /// Its policy.
    pub policy: String,
    /// Why.
    pub reason: String,
}

/// How many instances may end in each bad way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each is the budget of its name")]
pub struct BudgetsRecord {
    pub failed: usize,
    pub rolled_back: usize,
    pub unreachable: usize,
    pub unknown: usize,
}

/// What a command is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PurposeWord {
    /// To carry the plan out.
    Apply,
    /// To put back what the rollout changed.
    PutBack,
}

/// A budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "each is the budget of its name")]
pub enum BudgetWord {
    Failed,
    RolledBack,
    Unreachable,
    Unknown,
}

/// What became of an instance. The word is `fate`, the reason where there is one `why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fate", content = "why", rename_all = "kebab-case")]
pub enum FateRecord {
    /// It is what the plan wants.
    Converged,
    /// Nothing was touched.
    Refused(String),
    /// It put itself back.
    RolledBack(String),
    /// It is not what it should be.
    Failed(String),
    /// It does not answer any more.
    Unreachable(String),
    /// It could not be found out.
    Unknown(String),
    /// It was put back because the rollout failed.
    PutBack,
    /// It was not changed.
    NotStarted(String),
}

impl FateRecord {
    /// The words on screen.
    pub const fn words(&self) -> &'static str {
        match self {
            Self::Converged => "converged",
            Self::Refused(_) => "refused",
            Self::RolledBack(_) => "rolled back",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Unknown(_) => "unknown",
            Self::PutBack => "put back",
            Self::NotStarted(_) => "not started",
        }
    }
}

/// Something that the rollout's machine notes. The word is `note`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "note", rename_all = "kebab-case")]
pub enum NoteRecord {
    /// Bad ends of an earlier run's commands count here.
    Adopted {
        /// How many.
        instances: usize,
    },
    /// A wave begins.
    WaveOpened {
        /// Which, from 0.
        wave: usize,
        /// How many of its instances are to be changed.
        instances: usize,
    },
    /// A wave is looked at again after a while.
    Soaking {
        /// Which.
        wave: usize,
        /// After how long.
        milliseconds: u64,
    },
    /// The gate command does not let the rollout go on yet.
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
    /// No report came back from an instance.
    ReplyLost {
        /// Who.
        id: String,
        /// What is known.
        status: String,
    },
    /// This became of an instance.
    Settled {
        /// Who.
        id: String,
        /// What.
        #[serde(flatten)]
        fate: FateRecord,
    },
    /// A budget was spent on.
    BudgetSpent {
        /// Which.
        budget: BudgetWord,
        /// How much of it is spent.
        spent: usize,
        /// How much there is.
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

/// Times as text.
mod rfc3339 {
    use jiff::Timestamp;
    use serde::de::Error as _;
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("`{text}` is no time in RFC 3339")))
    }
}
