//! Progress on standard error: bars for a person who watches, plain lines for a log.

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::layout::{count, paint};
use super::screen::{Screen, role};
use super::words;
use crate::fleet::InstanceId;
use crate::rollout::{Event, Fate, Note, Purpose};

/// Consumes the events of a run and shows them.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    bar: Option<ProgressBar>,
    /// The share, in tenths, that a plain line last told.
    told: usize,
    /// In how many waves the rollout that is under way goes; none before.
    waves: Option<usize>,
    /// How many instances the open wave has.
    open: usize,
    target: Target,
}

/// Where lines go.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    /// To whoever waits.
    Watcher,
    /// Nowhere: the result, in JSON, goes to the same terminal.
    Nobody,
    /// To the result, with the time in front, when a run of the past is told again.
    Result(String),
}

impl Progress {
    /// Shows on `screen`; `quiet` shows nothing, for JSON results that go to the same terminal.
    pub fn new(screen: Screen, quiet: bool) -> Self {
        let target = if quiet { Target::Nobody } else { Target::Watcher };
        Self { screen, bar: None, told: 0, waves: None, open: 0, target }
    }

    /// Tells a run of the past again, as lines of a result.
    pub fn again(screen: Screen) -> Self {
        let screen = Screen { live: false, ..screen };
        Self { screen, bar: None, told: 0, waves: None, open: 0, target: Target::Result(String::new()) }
    }

    /// Shows one event of a run of the past, with its time in front.
    pub fn show_at(&mut self, time: &str, event: &Event) {
        self.target = Target::Result(format!("{time}  "));
        self.show(event);
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        if self.target == Target::Nobody {
            return;
        }
        match event {
            Event::ObservationStarted { instances } if self.waves.is_some() => self.watch("looking again", *instances),
            Event::ObservationStarted { instances } => self.start("observing", *instances),
            Event::ObservationProgress { done, total } if self.waves.is_some() => self.turn(*done, *total, 0),
            Event::ObservationProgress { done, total } => self.advance("observed", *done, *total, 0),
            Event::ObservationFinished { answered, total } => {
                self.finish();
                if answered < total && self.waves.is_none() {
                    self.line(&format!("{} of {} answered", answered, count(*total, "instance")));
                }
            }
            Event::Adopting { instances, runs } => {
                let (instances, runs) = (count(*instances, "instance"), runs.join(", "));
                self.line(&format!("waiting for commands of an earlier run ({runs}) on {instances}"));
            }
            Event::PolicyStarted { policy, instances, waves, concurrency, budgets } => {
                self.waves = Some(*waves);
                let (policy, instances) = (paint(role::HEADING, policy), count(*instances, "instance"));
                let (waves, limit) = (count(*waves, "wave"), words::budgets(*budgets));
                self.line(&format!("{policy}: {instances} in {waves}, {concurrency} at a time"));
                self.line(&format!("  {limit}"));
            }
            Event::CommandSent { purpose, platform, instances, command_id, .. } => {
                // Who waits has the waves; who looks back wants to find the command in Run Command.
                if matches!(self.target, Target::Result(_)) {
                    let purpose = match purpose {
                        Purpose::Apply => "",
                        Purpose::PutBack => "putting back, ",
                    };
                    let instances = count(*instances, "instance");
                    self.line(&format!("  command {command_id}: {purpose}{instances}, {platform}"));
                }
            }
            Event::PolicyProgress { wave, done, total, errors, .. } => {
                let what = wave.map_or_else(|| "put back".to_owned(), |wave| self.wave(wave));
                if self.bar.is_none() && done < total {
                    self.watch(&what, *total);
                }
                self.turn(*done, *total, *errors);
            }
            Event::Note { note, .. } => self.note(note),
        }
    }

    /// `wave 2 of 5`.
    fn wave(&self, wave: usize) -> String {
        format!("wave {} of {}", wave + 1, self.waves.unwrap_or_default())
    }

    fn note(&mut self, note: &Note) {
        self.finish();
        match note {
            Note::Adopted { spent } => {
                self.line(&format!("  {} of an earlier run's commands count here", count(*spent, "bad end")));
            }
            Note::WaveOpened { wave, instances } => {
                self.open = *instances;
                // Where a person watches, the bar tells it.
                if !self.screen.live {
                    self.line(&format!("  {}: {}", self.wave(*wave), count(*instances, "instance")));
                }
                self.watch(&self.wave(*wave), *instances);
            }
            Note::Soaking { wave, soak } => {
                self.line(&format!("  {}: in sync; looked at again in {}", self.wave(*wave), words::span(*soak)));
            }
            Note::Held { wave, why } => {
                self.line(&paint(role::ATTENTION, &format!("  the gate behind {} holds: {why}", self.wave(*wave))));
            }
            Note::WavePassed { wave } if self.screen.live => {
                self.line(&format!("  {}: {} passed", self.wave(*wave), count(self.open, "instance")));
            }
            Note::WavePassed { wave } => self.line(&format!("  {}: passed", self.wave(*wave))),
            Note::ReplyLost { id, why } => self.line(&format!("  {id}: no report, so it is looked at ({why})")),
            Note::Settled { id, fate } => self.settled(id, fate),
            Note::BudgetSpent { .. } => {}
            Note::Halted { reason, not_started } => {
                let rest = count(*not_started, "instance");
                self.line(&paint(role::BAD, &format!("  halted, {rest} not started: {reason}")));
            }
            Note::RollbackStarted { instances } => {
                self.line(&paint(role::ATTENTION, &format!("  putting back {}", count(*instances, "instance"))));
            }
            Note::RollbackEnded => self.line("  putting back has come to its end"),
        }
    }

    /// Who ended badly is told at once; the others are counted.
    fn settled(&mut self, id: &InstanceId, fate: &Fate) {
        if fate.budget().is_some() {
            let why = fate.why().unwrap_or_default();
            self.line(&paint(role::BAD, &format!("  {id} {}: {why}", words::fate(fate))));
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.told = 0;
    }

    /// Announces something that takes a while, and watches it.
    fn start(&mut self, what: &str, total: usize) {
        self.finish();
        if !self.screen.live {
            self.line(&format!("  {what} {}", count(total, "instance")));
        }
        self.watch(what, total);
    }

    /// A bar, where a person watches.
    fn watch(&mut self, what: &str, total: usize) {
        self.finish();
        if !self.screen.live || total == 0 {
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("  {prefix:14} [{bar:30}] {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.expect("invariant: the template is a constant").progress_chars("=> "));
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(500));
        self.bar = Some(bar);
    }

    /// How far the bar is, and in a log nothing: the waves tell enough.
    fn turn(&mut self, done: usize, total: usize, errors: usize) {
        if let Some(bar) = &self.bar {
            bar.set_length(total as u64);
            bar.set_position(done as u64);
            bar.set_message(if errors > 0 { format!("{errors} failed") } else { String::new() });
        }
    }

    fn advance(&mut self, what: &str, done: usize, total: usize, errors: usize) {
        if self.bar.is_some() {
            self.turn(done, total, errors);
            return;
        }
        // In a log a line at each tenth is enough.
        let tenths = (done * 10).checked_div(total).unwrap_or(10);
        if tenths > self.told && self.target == Target::Watcher {
            self.told = tenths;
            self.line(&format!("  {what} {done} of {total}"));
        }
    }

    fn line(&self, text: &str) {
        match (&self.target, &self.bar) {
            (Target::Nobody, _) => {}
            (Target::Watcher, Some(bar)) => bar.suspend(|| self.screen.say(text)),
            (Target::Watcher, None) => self.screen.say(text),
            (Target::Result(time), _) => self.screen.result(&format!("{time}{text}")),
        }
    }
}
