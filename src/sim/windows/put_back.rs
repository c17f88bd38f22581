//! What a run changed on a modelled host, and putting it back: the Rust counterpart of `put_back.ps1`.
//!
//! What a real host keeps in folders of files is kept as values here.

use std::collections::BTreeSet;

use super::apply::{Apply, Change, Ending, write_carrier};
use super::decide::is_stale;
use super::facts::{Content, Facts, Held, note_lines, read_carrier};
use super::state::HOME;
use crate::catalog::carrier::Syntax;
use crate::catalog::{Component, Key, Platform, Service};
use crate::document::Action;

/// How many applies are kept at least.
const BACKUPS: usize = 5;

/// What one apply keeps of what it changed.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    /// The run that it belongs to.
    pub(super) run: String,
    /// Whether it was put back.
    pub(super) put_back: bool,
    /// The record before it.
    pub(super) record: Vec<String>,
    /// The services that it restarted.
    pub(super) restarted: Vec<Service>,
    /// What it changed.
    pub(super) noted: Vec<Noted>,
}

/// One thing before it is changed and afterwards.
#[derive(Clone, Debug)]
pub(super) struct Noted {
    /// The carrier as it was; `None` for the record.
    pub(super) held: Option<Held>,
    pub(super) before: String,
    pub(super) after: String,
    pub(super) keys: Vec<Key>,
}

impl Noted {
    fn component(&self) -> Option<Component> {
        self.held.as_ref().map(|held| held.row.component)
    }

    fn path(&self) -> String {
        self.held.as_ref().map_or_else(|| format!(r"{HOME}\managed"), |held| held.carrier.path.to_owned())
    }
}

/// What tells versions of a content apart.
pub(super) fn content_state(read: &Content, syntax: Syntax) -> String {
    if read.reason.is_some() {
        return "unreadable".to_owned();
    }
    if !read.exists || (syntax != Syntax::DaemonJson && read.text.is_empty()) {
        return "none".to_owned();
    }
    // Variables have no order.
    let mut lines: Vec<&str> = read.text.split('\n').collect();
    if syntax == Syntax::MachineEnvironment {
        lines.sort_unstable();
    }
    format!("content {}", lines.join("\n"))
}

fn notes_state(lines: &[String]) -> String {
    if lines.is_empty() { "none".to_owned() } else { format!("content {}", lines.join("\n")) }
}

/// What the applies of a run come to: of each thing the state before the first of them, and all states that it was left in.
#[derive(Default)]
struct Course {
    first: Vec<Noted>,
    left: BTreeSet<(Option<Component>, String)>,
    then: Vec<Service>,
    record: Vec<String>,
}

impl Apply<'_> {
    /// Gives the record new lines, and notes that first.
    pub(super) fn write_record(&mut self, lines: &[String]) {
        let before = notes_state(&note_lines(self.machine, "managed"));
        if let Some(work) = &mut self.work {
            work.noted.push(Noted { held: None, before, after: notes_state(lines), keys: Vec::new() });
        }
        self.write_notes("managed", lines);
    }

    /// Keeps what this apply changed, and of all applies the newest and those of this run.
    pub(super) fn keep(&mut self) {
        let Some(work) = self.work.take() else { return };
        let restarted = !work.run.is_empty() && !self.restarted.is_empty();
        if restarted || self.prepared.iter().any(|change| change.done) {
            self.machine.kept.push(work);
        }
        let old = self.machine.kept.len().saturating_sub(BACKUPS);
        let run = &self.wanted.run;
        let stays = |at: usize, kept: &Kept| at >= old || (!run.is_empty() && kept.run == *run && !kept.put_back);
        let all: Vec<Kept> = self.machine.kept.drain(..).collect();
        for (at, kept) in all.into_iter().enumerate() {
            if stays(at, &kept) {
                self.machine.kept.push(kept);
            } else if !kept.put_back && !kept.run.is_empty() {
                self.machine.dropped.push(kept.run);
            }
        }
    }

    /// Puts back what the run changed, all of it or nothing.
    pub(super) fn put_back(&mut self) -> Result<Ending, Ending> {
        let run = self.wanted.run.clone();
        if self.machine.dropped.contains(&run) {
            return Err(self.refused("no-backup", &format!("run {run}")));
        }
        let all = self.machine.kept.iter().filter(|kept| kept.run == run);
        let (done, kept): (Vec<Kept>, Vec<Kept>) = all.cloned().partition(|kept| kept.put_back);
        if kept.is_empty() {
            let what = if done.is_empty() { "changed nothing here" } else { "was put back before" };
            self.detail(&format!("run {run} {what}"));
            return Ok("unchanged".to_owned());
        }
        let course = self.course(kept)?;
        let differs = self.compare(&course)?;
        let mut result = if differs.is_empty() { "unchanged" } else { "changed" };
        self.put_back_carriers(&course, &differs);
        if course.first.iter().any(|noted| noted.held.is_none()) {
            self.write_notes("managed", &course.record);
        }
        let facts = Facts::gather(self.machine);
        self.find_ran(&facts);
        self.add_back_restarts(&course, &facts);
        if !self.needed.is_empty() {
            result = "changed";
            self.note_restarting();
            let services = Platform::Windows.table().services.iter().map(|(service, _)| *service);
            self.restarted = services.filter(|service| self.needed.contains(service)).collect();
            if let Some(service) = self.restart_after_undo() {
                return Err(format!("failed put-back-{service}"));
            }
        }
        self.machine.files.remove(&format!(r"{HOME}\restarting"));
        if self.pending.is_empty() {
            for kept in self.machine.kept.iter_mut().filter(|kept| kept.run == run) {
                kept.put_back = true;
            }
        } else {
            self.body.push("p docker".to_owned());
        }
        Ok(result.to_owned())
    }

    /// Reads what is kept; refuses where somebody changed something between two applies.
    fn course(&mut self, kept: Vec<Kept>) -> Result<Course, Ending> {
        let mut course = Course { record: kept[0].record.clone(), ..Course::default() };
        let mut record_is_known = false;
        for one in kept {
            course.then.extend(one.restarted);
            for noted in one.noted {
                let name = noted.component();
                course.left.insert((name, noted.after.clone()));
                match course.first.iter_mut().find(|known| known.component() == name) {
                    None => {
                        if name.is_none() && !std::mem::replace(&mut record_is_known, true) {
                            course.record.clone_from(&one.record);
                        }
                        course.left.insert((name, noted.before.clone()));
                        course.first.push(noted);
                    }
                    Some(_) if !course.left.contains(&(name, noted.before.clone())) => {
                        return Err(self.refused("changed-meanwhile", &noted.path()));
                    }
                    Some(known) => {
                        let new: Vec<Key> =
                            noted.keys.iter().copied().filter(|key| !known.keys.contains(key)).collect();
                        known.keys.extend(new);
                    }
                }
            }
        }
        // As the catalogue has them, the record last.
        let place = |noted: &Noted| {
            let rows = Platform::Windows.table().components.iter();
            noted.component().and_then(|component| rows.map(|row| row.component).position(|known| known == component))
        };
        course.first.sort_by_key(|noted| place(noted).unwrap_or(usize::MAX));
        Ok(course)
    }

    /// The numbers of what differs from how it was; refuses where something is not as the run left it.
    fn compare(&mut self, course: &Course) -> Result<Vec<usize>, Ending> {
        let mut differs = Vec::new();
        for (number, noted) in course.first.iter().enumerate() {
            let state = match &noted.held {
                Some(held) => content_state(&read_carrier(self.machine, held.carrier), held.carrier.syntax),
                None => notes_state(&note_lines(self.machine, "managed")),
            };
            if state != noted.before {
                differs.push(number);
            }
            if !course.left.contains(&(noted.component(), state)) {
                return Err(self.refused("changed-meanwhile", &noted.path()));
            }
        }
        Ok(differs)
    }

    fn put_back_carriers(&mut self, course: &Course, differs: &[usize]) {
        for (number, noted) in course.first.iter().enumerate() {
            let Some(held) = &noted.held else { continue };
            self.prepared.push(Change { held: held.clone(), new: None, keys: Vec::new(), done: true });
            if differs.contains(&number) {
                let now = read_carrier(self.machine, held.carrier);
                let gone = held.carrier.syntax == Syntax::DaemonJson && !held.read.exists;
                let old = (!gone).then_some(held.read.text.as_str());
                write_carrier(self.machine, held, &now.text, old);
                let keys: Vec<&str> = noted.keys.iter().map(|key| key.name()).collect();
                self.body.push(format!("w {} {}", held.carrier.path, keys.join(",")));
            }
        }
    }

    /// Notes which services must start again: those that the run restarted and that have other values than they would get,
    /// or that did not survive what the run did to them.
    fn add_back_restarts(&mut self, course: &Course, facts: &Facts) {
        let changed: Vec<Component> = course.first.iter().filter_map(Noted::component).collect();
        let settings = facts.settings.iter().filter(|setting| changed.contains(&setting.row.component));
        let stale: Vec<Service> =
            settings.filter(|setting| is_stale(facts, setting)).filter_map(|setting| setting.row.service).collect();
        for (service, _) in Platform::Windows.table().services {
            if !course.then.contains(service) || self.needed.contains(service) {
                continue;
            }
            let docker_is_down = facts.services.get(&Service::Docker) == Some(&"inactive");
            if facts.services.get(service) == Some(&"due") && !docker_is_down {
                self.ran.push(*service);
                self.needed.push(*service);
            } else if stale.contains(service) {
                let later = *service == Service::Docker && !self.wanted.docker_may_restart();
                if later { &mut self.pending } else { &mut self.needed }.push(*service);
            }
        }
    }

    /// Whether something is to be put back.
    pub(super) fn goes_back(&self) -> bool {
        self.wanted.action == Action::PutBack.name()
    }
}
