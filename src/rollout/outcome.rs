//! What became of an instance. Pure.
//!
//! A command's own status proves little (decision D11): the outcome rests on what was observed afterwards, and the
//! instance's report explains it.

use crate::catalog::Service;
use crate::fleet::{ApplyReport, ApplyResult, InstanceId, Observation};
use crate::plan::{Assessment, LeftOut, Terms, assess};

/// What one instance's part of a rollout came to.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Index into the plan's policies.
    pub policy: usize,
    /// Who.
    pub id: InstanceId,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// What the command said.
    pub verdict: Verdict,
    /// What was observed afterwards.
    pub after: After,
}

/// What the command said of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The instance reported.
    Reported(ApplyReport),
    /// No usable report came back: the invocation's status details, and why there is none. It may have run.
    Silent {
        /// `StatusDetails` of the invocation.
        status: String,
        /// Why there is no report.
        why: String,
    },
    /// It was never sent, for this reason.
    NotStarted(String),
}

impl Verdict {
    /// Whether it counts against the policy's error budget. A report of success does not, whatever the service says.
    pub fn is_error(&self) -> bool {
        match self {
            Self::Reported(report) => !matches!(report.result, ApplyResult::Unchanged | ApplyResult::Changed),
            Self::Silent { .. } => true,
            Self::NotStarted(_) => false,
        }
    }
}

/// What was observed after the rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum After {
    /// It reported; this is how it compares with the policy now.
    Observed(Box<Assessment>),
    /// It did not report, for this reason.
    Unobserved(String),
    /// It was not asked, because nothing was sent to it.
    NotAsked,
}

impl After {
    /// Compares an observation with the policy.
    pub fn of(terms: &Terms, observation: &Observation) -> Self {
        match observation {
            Observation::Seen(observed) => Self::Observed(Box::new(assess(terms, observed))),
            Observation::Unanswered(why) => Self::Unobserved(why.clone()),
            Observation::NotAsked => Self::NotAsked,
        }
    }
}

/// The final state of an instance. Exactly one holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Observed to be what the policy wants.
    Converged,
    /// The same but for a restart that the policy defers.
    Waiting(Vec<Service>),
    /// Attempted, and not what the policy wants.
    NotConverged {
        /// What went wrong, and what is known of its state.
        reason: String,
    },
    /// Not attempted.
    NotStarted {
        /// Why.
        reason: String,
    },
}

impl Attempt {
    /// The final state.
    pub fn outcome(&self) -> Outcome {
        if let Verdict::NotStarted(reason) = &self.verdict {
            return Outcome::NotStarted { reason: reason.clone() };
        }
        match &self.after {
            After::Observed(assessment) if assessment.work.components.is_empty() => {
                if assessment.pending.is_empty() {
                    Outcome::Converged
                } else {
                    Outcome::Waiting(assessment.pending.clone())
                }
            }
            After::Observed(assessment) => {
                let differs = assessment.work.changes.len();
                let settings =
                    if differs == 1 { "1 setting differs".to_owned() } else { format!("{differs} settings differ") };
                Outcome::NotConverged { reason: format!("{}; {settings}", self.cause()) }
            }
            After::Unobserved(why) => {
                Outcome::NotConverged { reason: format!("{}; its state is unknown: {why}", self.cause()) }
            }
            After::NotAsked => Outcome::NotConverged { reason: format!("{}; its state is unknown", self.cause()) },
        }
    }

    fn cause(&self) -> String {
        match &self.verdict {
            Verdict::Reported(report) => {
                let cause = match &report.result {
                    ApplyResult::Unchanged => "reported that nothing was to be done".to_owned(),
                    ApplyResult::Changed => "reported success, and then changed again".to_owned(),
                    ApplyResult::Refused(reason) => format!("refused, nothing was touched: {}", refusal(reason)),
                    ApplyResult::RolledBack(reason) => format!("rolled back: {}", refusal(reason)),
                    ApplyResult::Failed(reason) => format!("failed and could not be rolled back: {}", refusal(reason)),
                };
                if report.details.is_empty() { cause } else { format!("{cause} ({})", report.details.join("; ")) }
            }
            Verdict::Silent { status, why } => format!("the command ended as {status}: {why}"),
            Verdict::NotStarted(reason) => reason.clone(),
        }
    }
}

/// A sentence for the reason words of the apply documents (`src/document/sh/apply.sh`).
fn refusal(reason: &str) -> &str {
    match reason {
        "wrong-platform" => "the document is for another system",
        "bad-parameters" => "the document does not take these parameters",
        "busy" => "another change is under way on the instance",
        "interrupted" => "the change was interrupted",
        "preflight-unreachable" => "the proxy cannot be reached from the instance",
        "preflight-refused" => "the proxy refuses the connection",
        "preflight-no-curl" => "the instance has no curl to try the proxy with",
        "preflight-no-region" => "the instance does not know its region, so there is no endpoint to try the proxy with",
        "conflict" => "another source overrides the setting",
        "unsupported" => "a file cannot be edited safely",
        "component-absent" => "a component is not installed",
        "not-writable" => "a file or folder cannot be written",
        "unreadable" => "what a service runs with could not be found out",
        "internal" => "the state of the instance could not be compared",
        "changed-meanwhile" => "somebody else changed a file at the same time",
        "write" => "a file could not be put in place",
        "record" => "proxyfleet's own record on the instance could not be written",
        "reload" => "the service manager could not load the new setting",
        "restart-docker" => "docker did not start with the new setting",
        "restart-ecs" => "ecs did not start with the new setting",
        "service-not-up" => "a service did not stay up with the new setting",
        "agent-silent" => "the ECS agent does not answer any more with the new setting",
        "verify" => "the new setting is not in use after the change",
        "rollback-files" | "put-back-files" => "a file could not be put back",
        "rollback-record" | "put-back-record" => "proxyfleet's own record could not be put back",
        "rollback-reload" => "the service manager could not load the old setting",
        "rollback-docker" => "docker did not come up again",
        "rollback-ecs" => "ecs did not come up again",
        "no-backup" => "a backup of this run is gone",
        "put-back-reload" => "the service manager could not load the setting that was put back",
        "put-back-verify" => "what the services run with could not be found out",
        "put-back-docker" => "docker did not come up with the setting that was put back",
        "put-back-ecs" => "ecs did not come up with the setting that was put back",
        other => other,
    }
}

/// The end of a rollout.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Names of the plan's policies.
    pub policies: Vec<String>,
    /// Everybody the plan would change, in plan order.
    pub attempts: Vec<Attempt>,
    /// Everybody the plan leaves out.
    pub left_out: Vec<LeftOut>,
    /// Why it ended early, where it did: the policy's name and the reason.
    pub halted: Vec<(String, String)>,
}

impl Summary {
    /// Whether everybody who was attempted is what the policy wants, and nobody was skipped.
    pub fn converged(&self) -> bool {
        self.attempts.iter().all(|attempt| matches!(attempt.outcome(), Outcome::Converged | Outcome::Waiting(_)))
    }

    /// Whether somebody that a policy is for was left out wholly or in part.
    pub fn left_somebody_out(&self) -> bool {
        !self.left_out.is_empty()
    }
}
