//! Watching commands until they end, with one cheap call for up to fifty of them (decision D10).

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_ssm::types::Command;

use super::commands::{Sent, Status};
use super::error::AwsError;
use super::session::Session;

/// Before the first look, and how the time between looks grows (aws-ssm-facts 8.1).
const FIRST_INTERVAL: Duration = Duration::from_secs(2);
const GROWTH: f64 = 1.5;
const LONGEST_INTERVAL: Duration = Duration::from_secs(30);
/// Commands are listed from a little before the first one on.
const LIST_BEFORE_SECONDS: i64 = 60;
/// How long after its end by the clock a command is still waited for.
const GRACE: Duration = Duration::from_mins(1);

/// Watches commands. Each [`Follower::wait`] and [`Follower::poll_once`] can be dropped at any moment, so a caller may
/// `select!` between them and Ctrl-C and go on afterwards.
#[derive(Debug)]
pub struct Follower {
    session: Session,
    commands: Vec<Followed>,
    interval: Duration,
}

#[derive(Debug)]
struct Followed {
    sent: Sent,
    progress: CommandProgress,
    /// Whether [`Follower::take_finished`] has given it out.
    taken: bool,
}

/// How far a command is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandProgress {
    /// The service's id of it.
    pub command_id: String,
    /// `StatusDetails` of the whole, which proves nothing about one instance (decision D11).
    pub status: String,
    /// Instances it is for.
    pub targets: u32,
    /// Instances that reached an end, good or bad.
    pub completed: u32,
    /// Instances that failed or took too long.
    pub errors: u32,
    /// Whether nothing more will happen.
    pub finished: bool,
    /// Whether we stopped waiting because the service should have ended it long ago.
    pub overdue: bool,
}

/// How far all of them are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// In the order in which they were given.
    pub commands: Vec<CommandProgress>,
}

impl Progress {
    /// Whether every command ended.
    pub fn is_finished(&self) -> bool {
        self.commands.iter().all(|command| command.finished)
    }

    /// Instances that reached an end, and all of them.
    pub fn completed(&self) -> (u32, u32) {
        let sum = |count: fn(&CommandProgress) -> u32| self.commands.iter().map(count).sum();
        (sum(|command| command.completed), sum(|command| command.targets))
    }
}

impl Session {
    /// Watches commands from now on. Those that were not sent, because all instances were rejected, are left out.
    pub fn follow(&self, commands: impl IntoIterator<Item = Sent>) -> Follower {
        let mut follower = Follower { session: self.clone(), commands: Vec::new(), interval: FIRST_INTERVAL };
        for sent in commands {
            follower.add(sent);
        }
        follower
    }
}

impl Follower {
    /// Watches one more command, and looks often again.
    pub fn add(&mut self, sent: Sent) {
        let Some(command_id) = sent.command_id.clone() else { return };
        let targets = u32::try_from(sent.accepted.len()).unwrap_or(u32::MAX);
        let status = "Pending".to_owned();
        let progress =
            CommandProgress { command_id, status, targets, completed: 0, errors: 0, finished: false, overdue: false };
        self.commands.push(Followed { sent, progress, taken: false });
        self.interval = FIRST_INTERVAL;
    }

    /// Waits until it is time to look again: two seconds at first, then longer and longer.
    pub async fn wait(&mut self) {
        let interval = self.interval;
        self.interval = interval.mul_f64(GROWTH).min(LONGEST_INTERVAL);
        tokio::time::sleep(self.session.limiter.interval(interval)).await;
    }

    /// Looks once at all commands that have not ended: one call for each document they use.
    pub async fn poll_once(&mut self) -> Result<Progress, AwsError> {
        let open = self.commands.iter().filter(|command| !command.progress.finished);
        let mut since: BTreeMap<&str, i64> = BTreeMap::new();
        for command in open {
            let first = since.entry(&command.sent.document).or_insert(command.sent.requested);
            *first = command.sent.requested.min(*first);
        }
        let mut listed = BTreeMap::new();
        for (document, since) in since {
            for command in self.session.list_commands(document, since - LIST_BEFORE_SECONDS).await? {
                listed.insert(command.command_id().unwrap_or_default().to_owned(), command);
            }
        }
        for command in self.commands.iter_mut().filter(|command| !command.progress.finished) {
            command.look_at(listed.get(&command.progress.command_id));
        }
        Ok(self.progress())
    }

    /// How far they were when we last looked.
    pub fn progress(&self) -> Progress {
        Progress { commands: self.commands.iter().map(|command| command.progress.clone()).collect() }
    }

    /// The commands that ended since the last call of this, so that each is read once.
    pub fn take_finished(&mut self) -> Vec<Sent> {
        let finished = self.commands.iter_mut().filter(|command| command.progress.finished && !command.taken);
        finished
            .map(|command| {
                command.taken = true;
                command.sent.clone()
            })
            .collect()
    }

    /// The commands that have not ended, for cancelling them.
    pub fn open(&self) -> impl Iterator<Item = &Sent> {
        self.commands.iter().filter(|command| !command.progress.finished).map(|command| &command.sent)
    }
}

impl Followed {
    /// Takes over what the service lists; a command that it does not list yet stays as it is.
    fn look_at(&mut self, listed: Option<&Command>) {
        if let Some(command) = listed {
            let count = |number: i32| u32::try_from(number).unwrap_or_default();
            command.status_details().unwrap_or("Pending").clone_into(&mut self.progress.status);
            self.progress.completed = count(command.completed_count()).min(self.progress.targets);
            self.progress.errors = count(command.error_count()) + count(command.delivery_timed_out_count());
            self.progress.finished = Status::parse(&self.progress.status).is_final();
        }
        if !self.progress.finished && self.sent.since.elapsed() > self.sent.lifetime + GRACE {
            self.progress.finished = true;
            self.progress.overdue = true;
        }
    }
}
