//! Progress on standard error: bars for a person who watches, plain lines for a log.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::layout::{count, paint};
use super::screen::{Screen, role};
use crate::rollout::Event;

/// Consumes the events of a run and shows them.
#[derive(Debug)]
pub struct Progress {
    screen: Screen,
    bar: Option<ProgressBar>,
    /// The share, in tenths, that a plain line last told.
    told: usize,
    quiet: bool,
}

impl Progress {
    /// Shows on `screen`; `quiet` shows nothing, for JSON results that go to the same terminal.
    pub fn new(screen: Screen, quiet: bool) -> Self {
        Self { screen, bar: None, told: 0, quiet }
    }

    /// Shows one event.
    pub fn show(&mut self, event: &Event) {
        if self.quiet {
            return;
        }
        match event {
            Event::ObservationStarted { instances } => self.start("observing", *instances),
            Event::ObservationProgress { done, total } => self.advance("observed", *done, *total, 0),
            Event::ObservationFinished { answered, total } => {
                self.finish();
                if answered < total {
                    self.line(&format!("{} of {} answered", answered, count(*total, "instance")));
                }
            }
            Event::PolicyStarted { policy, instances, concurrency, max_errors } => {
                let total = *instances;
                let limit = match max_errors {
                    0 => "stops at the first error".to_owned(),
                    more => format!("stops after more than {}", count(*more, "error")),
                };
                let (policy, instances) = (paint(role::HEADING, policy), count(*instances, "instance"));
                self.line(&format!("{policy}: {instances}, {concurrency} at a time, {limit}"));
                self.start("applying", total);
            }
            Event::CommandSent { platform, instances, command_id, .. } => {
                self.line(&format!("  command {command_id}: {}, {platform}", count(*instances, "instance")));
            }
            Event::PolicyProgress { done, total, errors, .. } => {
                self.advance("finished", *done, *total, *errors);
                if done == total {
                    self.finish();
                }
            }
            Event::Halted { policy, reason, not_started } => {
                self.finish();
                let rest = count(*not_started, "instance");
                self.line(&paint(role::BAD, &format!("{policy}: halted, {rest} not started: {reason}")));
            }
        }
    }

    /// Takes the bar away.
    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
        self.told = 0;
    }

    fn start(&mut self, what: &'static str, total: usize) {
        self.finish();
        if !self.screen.live {
            self.line(&format!("  {what} {}", count(total, "instance")));
            return;
        }
        let bar = ProgressBar::with_draw_target(Some(total as u64), ProgressDrawTarget::stderr());
        let style = ProgressStyle::with_template("  {prefix} [{bar:30}] {pos}/{len} {elapsed} {msg}");
        bar.set_style(style.expect("invariant: the template is a constant").progress_chars("=> "));
        bar.set_prefix(what);
        self.bar = Some(bar);
    }

    fn advance(&mut self, what: &str, done: usize, total: usize, errors: usize) {
        let failed = if errors > 0 { format!(", {}", count(errors, "error")) } else { String::new() };
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(failed.trim_start_matches(", ").to_owned());
            return;
        }
        // In a log a line at each tenth is enough.
        let tenths = (done * 10).checked_div(total).unwrap_or(10);
        if tenths > self.told {
            self.told = tenths;
            self.line(&format!("  {what} {done} of {total}{failed}"));
        }
    }

    fn line(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.screen.say(text)),
            None => self.screen.say(text),
        }
    }
}
