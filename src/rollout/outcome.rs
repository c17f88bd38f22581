//! What became of an instance. Pure.
//!
//! A command's own status proves little (decision D11): the fate of an instance rests on what was observed afterwards, and
//! the instance's report explains it.

use crate::catalog::Service;
use crate::fleet::{ApplyReport, ApplyResult, InstanceId, Observation};
use crate::plan::{Assessment, Finding, LeftOut, Reason, Terms, Work, assess};

/// What a command came to on one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The instance reported.
    Reported(ApplyReport),
    /// No usable report came back. It may have run.
    Silent {
        /// `StatusDetails` of the invocation, and why there is no report.
        why: String,
        /// What may follow.
        hope: Hope,
    },
    /// The service did not hand it out, because too many others had failed.
    NotHandedOut,
}

/// What may follow when no report came back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hope {
    /// The command is over, and a further one may end otherwise.
    Retry,
    /// The command is over, and a further one would end in the same way, or somebody wanted this end.
    Over,
    /// The command may still be under way.
    MayStillRun,
}

/// What an observation shows of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It is what the policy wants, but for services whose restart the policy defers.
    Matches {
        /// Those services.
        pending: Vec<Service>,
    },
    /// So many settings differ.
    Differs {
        /// How many.
        settings: usize,
    },
    /// The settings are right, and something else is not that was before.
    Broken(String),
    /// It did not answer, for this reason.
    Silent(String),
    /// It could not be asked, for this reason.
    Unknown(String),
}

impl Look {
    /// Compares an observation with the policy, and with what was planned there: a component that was to be changed must not
    /// be out of reach now, and a service that was to be restarted, because it ran, must run.
    pub fn of(terms: &Terms, planned: &Work, observation: &Observation) -> Self {
        match observation {
            Observation::Seen(observed) => {
                let assessment = assess(terms, observed);
                if let Some(broken) = broken(planned, &assessment) {
                    Self::Broken(broken)
                } else if assessment.work.components.is_empty() {
                    Self::Matches { pending: assessment.pending }
                } else {
                    Self::Differs { settings: assessment.work.changes.len() }
                }
            }
            Observation::Unanswered(why) => Self::Silent(why.clone()),
            Observation::NotAsked => Self::Unknown("it was not asked".to_owned()),
        }
    }
}

/// What of the planned work cannot be right, whatever the settings say.
fn broken(planned: &Work, assessment: &Assessment) -> Option<String> {
    let down = assessment.findings.iter().find_map(|finding| match finding {
        Finding::Down { service, failed } if planned.restarts.contains(service) => {
            Some(format!("{service} {}", if *failed { "has failed" } else { "is stopped" }))
        }
        _ => None,
    });
    down.or_else(|| {
        assessment.obstacles.iter().find_map(|reason| match reason {
            Reason::Component { component, .. } if planned.components.contains(component) => {
                Some(format!("{component} cannot be managed any more"))
            }
            _ => None,
        })
    })
}

/// Whether a host that was to put something back says that there is nothing, and not that it had done so before
/// (`src/document/sh/put_back.sh`).
pub(super) fn knows_of_nothing(report: &ApplyReport) -> bool {
    report.result == ApplyResult::Unchanged
        && report.details.iter().any(|detail| detail.ends_with("changed nothing here"))
}

/// How many settings differ, in words.
pub(super) fn settings_differ(settings: usize) -> String {
    if settings == 1 { "1 setting differs".to_owned() } else { format!("{settings} settings differ") }
}

/// The final state of an instance. Exactly one holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// Observed to be what the policy wants, but for services whose restart the policy defers.
    Converged {
        /// Those services.
        pending: Vec<Service>,
    },
    /// It refused the change, and nothing was touched.
    Refused(String),
    /// The change did not work there, and it put itself back.
    RolledBack(String),
    /// It is not what it should be.
    Failed(String),
    /// It does not answer any more.
    Unreachable(String),
    /// It could not be found out.
    Unknown(String),
    /// It was changed, and put back because the rollout failed.
    PutBack,
    /// It was not changed.
    NotStarted(String),
}

impl Fate {
    /// What everybody should come to.
    pub const CONVERGED: Self = Self::Converged { pending: Vec::new() };

    /// The word in JSON.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Converged { pending } if pending.is_empty() => "converged",
            Self::Converged { .. } => "waiting",
            Self::Refused(_) => "refused",
            Self::RolledBack(_) => "rolled-back",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Unknown(_) => "unknown",
            Self::PutBack => "put-back",
            Self::NotStarted(_) => "not-started",
        }
    }

    /// What it is spent from, where it is one of the bad ways to end.
    pub const fn budget(&self) -> Option<BudgetKind> {
        match self {
            Self::Refused(_) | Self::Failed(_) => Some(BudgetKind::Failed),
            Self::RolledBack(_) => Some(BudgetKind::RolledBack),
            Self::Unreachable(_) => Some(BudgetKind::Unreachable),
            Self::Unknown(_) => Some(BudgetKind::Unknown),
            Self::Converged { .. } | Self::PutBack | Self::NotStarted(_) => None,
        }
    }

    /// Why, where it did not converge.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Refused(why)
            | Self::RolledBack(why)
            | Self::Failed(why)
            | Self::Unreachable(why)
            | Self::Unknown(why)
            | Self::NotStarted(why) => Some(why),
            Self::Converged { .. } | Self::PutBack => None,
        }
    }

    /// What a report without success comes to; `None` where it claims success, which is to be proved.
    pub(super) fn of_report(report: &ApplyReport) -> Option<Self> {
        let with_details = |text: &str| {
            if report.details.is_empty() { text.to_owned() } else { format!("{text} ({})", report.details.join("; ")) }
        };
        match &report.result {
            ApplyResult::Unchanged | ApplyResult::Changed => None,
            ApplyResult::Refused(reason) => Some(Self::Refused(with_details(refusal(reason)))),
            ApplyResult::RolledBack(reason) => Some(Self::RolledBack(with_details(refusal(reason)))),
            ApplyResult::Failed(reason) => Some(Self::Failed(with_details(refusal(reason)))),
        }
    }

    /// The same with more known about the instance.
    pub(super) fn with(self, more: &str) -> Self {
        let add = |why: String| format!("{why}; {more}");
        match self {
            Self::Refused(why) => Self::Refused(add(why)),
            Self::RolledBack(why) => Self::RolledBack(add(why)),
            Self::Failed(why) => Self::Failed(add(why)),
            Self::Unreachable(why) => Self::Unreachable(add(why)),
            Self::Unknown(why) => Self::Unknown(add(why)),
            other @ (Self::Converged { .. } | Self::PutBack | Self::NotStarted(_)) => other,
        }
    }
}

/// The bad ways to end that a rollout has a budget for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetKind {
    /// Refused, or not what they should be.
    Failed,
    /// Put back by themselves.
    RolledBack,
    /// Do not answer any more.
    Unreachable,
    /// Nobody can find out.
    Unknown,
}

impl BudgetKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Failed, Self::RolledBack, Self::Unreachable, Self::Unknown];

    /// The key in a policy.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled_back",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }

    /// The words on screen.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// What one instance's part of a rollout came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// Index into the plan's policies.
    pub policy: usize,
    /// Who.
    pub id: InstanceId,
    /// Its `Name` tag.
    pub name: Option<String>,
    /// The wave it was in, from 0.
    pub wave: usize,
    /// What became of it.
    pub fate: Fate,
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
        self.attempts.iter().all(|attempt| matches!(attempt.fate, Fate::Converged { .. }))
    }

    /// Whether somebody that a policy is for was left out wholly or in part.
    pub fn left_somebody_out(&self) -> bool {
        !self.left_out.is_empty()
    }
}
