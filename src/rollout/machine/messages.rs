//! What the machine is told, and what it answers.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::catalog::{Component, Platform};
use crate::fleet::InstanceId;
use crate::rollout::event::{Note, Purpose};
use crate::rollout::outcome::{Look, Reply};

/// Time since the run began.
pub type Moment = Duration;

/// A command, or its number in this rollout.
pub type CommandNumber = usize;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The rollout begins.
    Begin,
    /// The service took a command, but for these instances.
    Sent {
        /// Which command.
        command: CommandNumber,
        /// Those that it does not send to, and why.
        rejected: Vec<(InstanceId, String)>,
    },
    /// A command was not sent, and the rollout must not go on.
    NotSent {
        /// Which command.
        command: CommandNumber,
        /// Why.
        why: String,
        /// Whether it may have been sent all the same.
        doubtful: bool,
    },
    /// A command came to its end.
    Ended {
        /// Which command.
        command: CommandNumber,
        /// What it came to on each instance; one that is not named is lost.
        replies: Vec<(InstanceId, Reply)>,
    },
    /// Commands can no longer be followed.
    LostSight {
        /// Why.
        why: String,
    },
    /// The instances that the machine wanted to know of were looked at.
    Observed {
        /// What each looks like; one that is not named could not be asked.
        looks: BTreeMap<InstanceId, Look>,
    },
    /// The gate has answered.
    Gate(GateVerdict),
    /// Somebody wants it to end.
    Halt {
        /// Why.
        reason: String,
    },
    /// Time has passed.
    Tick,
}

/// What a gate says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GateVerdict {
    /// Go on.
    Pass,
    /// Do not, for this reason.
    Fail(String),
    /// Not yet, for this reason.
    Hold(String),
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this command; the answer is [`Input::Sent`] or [`Input::NotSent`], and later [`Input::Ended`].
    Send(Command),
    /// Observe these instances; the answer is [`Input::Observed`].
    Observe(Vec<InstanceId>),
    /// Run the gate command behind this wave; the answer is [`Input::Gate`].
    AskGate {
        /// Which.
        wave: usize,
    },
    /// Come back with [`Input::Tick`] at this time.
    WakeAt(Moment),
    /// Tell those who want to know.
    Note(Note),
    /// It is over.
    Finish,
}

/// Instances that one command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Its number, for the answers.
    pub number: CommandNumber,
    /// What it is for.
    pub purpose: Purpose,
    /// What sort of instances.
    pub kind: CommandKind,
    /// Who.
    pub instances: Vec<InstanceId>,
    /// How many of them the service may work on at the same time.
    pub max_concurrency: usize,
    /// After how many failures the service starts no further one of them.
    pub max_errors: usize,
}

/// What the instances of one command have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandKind {
    /// What they run.
    pub platform: Platform,
    /// The components with something to do.
    pub components: Vec<Component>,
    /// Whether the plan shows a restart of Docker for them. Where it does not, the document must not restart it either,
    /// whatever the policy allows and the host has come to since.
    pub restarts_docker: bool,
}
