//! Carries an apply out on a modelled host: the Rust counterpart of `apply.ps1` and `restart.ps1`.
//!
//! Left out is what leaves no trace: the lock, and waiting. What backups are for is in [`super::put_back`].

use std::collections::BTreeMap;

use super::decide::{Decision, Verb, Wanted};
use super::facts::{
    Content, Facts, Held, Recorded, is_known, note_lines, printable, read_carrier, record, record_name, service_at,
    start_lines,
};
use super::model::{Machine, Surroundings};
use super::put_back::{Kept, Noted, content_state};
use super::state::{HOME, RegValue};
use crate::catalog::carrier::{self, Edit, Syntax};
use crate::catalog::{Component, ComponentScope, Key, Platform, Service};
use crate::document::Preflight;
use crate::sim::host::ProxyAnswer;

/// The longest detail in a report, and the number of details.
const DETAIL_BYTES: usize = 180;
const DETAIL_LINES: usize = 5;
/// How often the script looks at the outcome again before it gives up. There it is a matter of time.
const LOOKS: usize = 3;

/// An apply on its way.
pub(super) struct Apply<'a> {
    pub(super) machine: &'a mut Machine,
    surroundings: &'a Surroundings,
    pub(super) wanted: &'a Wanted,
    pub(super) body: Vec<String>,
    details: usize,
    pub(super) ran: Vec<Service>,
    pub(super) needed: Vec<Service>,
    pub(super) pending: Vec<Service>,
    pub(super) restarted: Vec<Service>,
    pub(super) prepared: Vec<Change>,
    /// What is going to be kept.
    pub(super) work: Option<Kept>,
}

/// The new content of a carrier; `None` takes its file away.
pub(super) struct Change {
    pub(super) held: Held,
    pub(super) new: Option<String>,
    pub(super) keys: Vec<(Key, bool)>,
    pub(super) done: bool,
}

/// How an apply ends, in the words of the report.
pub(super) type Ending = String;

/// Runs the apply; returns the report and the exit code.
pub(super) fn apply(machine: &mut Machine, surroundings: &Surroundings, wanted: &Wanted) -> (String, i32) {
    let mut apply = Apply {
        machine,
        surroundings,
        wanted,
        body: Vec::new(),
        details: 0,
        ran: Vec::new(),
        needed: Vec::new(),
        pending: Vec::new(),
        restarted: Vec::new(),
        prepared: Vec::new(),
        work: None,
    };
    let ending = apply.run().unwrap_or_else(|ending| ending);
    apply.keep();
    let mut text = format!("proxyfleet/1 apply {} {ending}\n", Platform::Windows);
    for line in &apply.body {
        text += &printable(line);
        text += "\n";
    }
    (text + "end\n", i32::from(!matches!(ending.as_str(), "changed" | "unchanged")))
}

impl Apply<'_> {
    fn run(&mut self) -> Result<Ending, Ending> {
        if !is_known(&self.machine.build) {
            let text = format!("this is windows 10.0.{}", self.machine.build);
            return Err(self.refused("wrong-platform", &text));
        }
        self.check_parameters()?;
        if self.goes_back() {
            return self.put_back();
        }
        if self.wanted.present() && self.wanted.preflight == Preflight::Require.name() {
            self.try_proxies()?;
        }
        let facts = Facts::gather(self.machine);
        let old_record = note_lines(self.machine, "managed");
        self.find_ran(&facts);
        let decision = self.wanted.decide(&facts, &[]);
        if let Some((reason, text)) = decision.refusals.first() {
            return Err(self.refused(reason, text));
        }
        self.add_restarts(&decision);
        for (component, key) in &decision.left {
            self.detail(&format!("{component} {key} was changed by somebody else and is left alone"));
        }
        let mut result = "unchanged";
        if !decision.edits.is_empty() || !self.needed.is_empty() {
            result = "changed";
            self.change(&facts, &decision, &old_record)?;
        } else if !self.wanted.present() {
            self.complete_record(&facts);
        }
        for service in Service::ALL {
            for (word, services) in [("r", &self.restarted), ("p", &self.pending)] {
                if services.contains(&service) {
                    self.body.push(format!("{word} {service}"));
                }
            }
        }
        Ok(result.to_owned())
    }

    /// Goes on, unless the power is gone: then nothing is done any more, nor taken back.
    fn step(&mut self) -> Result<(), Ending> {
        match &mut self.machine.steps_left {
            Some(0) => return Err("interrupted".to_owned()),
            Some(left) => *left -= 1,
            None => {}
        }
        Ok(())
    }

    pub(super) fn detail(&mut self, text: &str) {
        self.details += 1;
        if self.details <= DETAIL_LINES {
            self.body.push(format!("e {}", text.chars().take(DETAIL_BYTES).collect::<String>()));
        }
    }

    pub(super) fn refused(&mut self, reason: &str, text: &str) -> Ending {
        if !text.is_empty() {
            self.detail(text);
        }
        format!("refused {reason}")
    }

    fn check_parameters(&mut self) -> Result<(), Ending> {
        if !self.wanted.is_sound() {
            return Err(self.refused("bad-parameters", ""));
        }
        for name in &self.wanted.components {
            if name.is_empty() {
                return Err(self.refused("bad-parameters", "no component"));
            }
            let row = Component::from_name(name).and_then(|component| Platform::Windows.component(component));
            if row.is_none_or(|row| row.component.scope() == ComponentScope::ObservedOnly) {
                return Err(self.refused("bad-parameters", &format!("component {name}")));
            }
        }
        Ok(())
    }

    fn try_proxies(&mut self) -> Result<(), Ending> {
        let region = &self.surroundings.region;
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if region.is_empty() || !region.bytes().all(allowed) {
            return Err(self.refused("preflight-no-region", ""));
        }
        let end = if region.starts_with("cn-") { ".cn" } else { "" };
        let endpoint = format!("ecs.{region}.amazonaws.com{end}");
        let (http, https) = (&self.wanted.values.http, &self.wanted.values.https);
        let proxies = if http == https { vec![https] } else { vec![https, http] };
        for url in proxies {
            let host_port = url.rsplit('/').next().unwrap_or_default();
            match self.surroundings.answer(host_port) {
                ProxyAnswer::Status(200..=299) => {}
                ProxyAnswer::Unreachable => {
                    return Err(self.refused("preflight-unreachable", &format!("{url} does not answer")));
                }
                ProxyAnswer::Status(status) => {
                    if !bypasses(&self.wanted.values.bypass, &endpoint) {
                        let text = format!("{url} answers {status} to CONNECT {endpoint}:443");
                        return Err(self.refused("preflight-refused", &text));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes which services ran when this apply began, and which an apply that was killed had stopped.
    pub(super) fn find_ran(&mut self, facts: &Facts) {
        let managed: Vec<Service> = managed_services();
        self.ran = managed.iter().copied().filter(|service| facts.services.get(service) == Some(&"active")).collect();
        let path = format!(r"{HOME}\restarting");
        let Some(bytes) = self.machine.files.get(&path) else { return };
        let text = String::from_utf8_lossy(bytes).into_owned();
        for name in text.lines() {
            if let Some(service) = managed.iter().copied().find(|service| service.name() == name)
                && !self.ran.contains(&service)
            {
                self.ran.push(service);
                self.needed.push(service);
            }
        }
        if self.needed.is_empty() {
            self.machine.files.remove(&path);
        }
    }

    fn add_restarts(&mut self, decision: &Decision) {
        for service in &decision.restart {
            if *service == Service::Docker && !self.wanted.docker_may_restart() {
                self.pending.push(*service);
            } else if !self.needed.contains(service) {
                self.needed.push(*service);
            }
        }
    }

    fn change(&mut self, facts: &Facts, decision: &Decision, old_record: &[String]) -> Result<(), Ending> {
        let run = self.wanted.run.clone();
        self.work = Some(Kept { run, record: old_record.to_vec(), ..Kept::default() });
        self.prepare(facts, decision)?;
        self.step()?;
        if !decision.record.is_empty() {
            let lines: Vec<String> = old_record.iter().chain(&decision.record).cloned().collect();
            self.write_record(&lines);
        }
        for at in 0..self.prepared.len() {
            self.step()?;
            self.complete(at);
        }
        self.step()?;
        if !self.needed.is_empty() {
            self.note_restarting();
            self.step()?;
            if let Err((reason, text)) = self.restart_needed() {
                return Err(self.undo(reason, &text, old_record));
            }
        }
        self.step()?;
        let mut outcome = self.verify();
        for _ in 1..LOOKS {
            if outcome.is_err() {
                outcome = self.verify();
            }
        }
        if let Err((reason, text)) = outcome {
            return Err(self.undo(reason, &text, old_record));
        }
        self.complete_record(facts);
        self.machine.files.remove(&format!(r"{HOME}\restarting"));
        Ok(())
    }

    /// Works out the new content of every carrier.
    fn prepare(&mut self, facts: &Facts, decision: &Decision) -> Result<(), Ending> {
        for held in &facts.carriers {
            let component = held.row.component;
            let edits: Vec<(Key, &Verb)> = decision
                .edits
                .iter()
                .filter(|(known, ..)| *known == component)
                .map(|(_, key, verb)| (*key, verb))
                .collect();
            if edits.is_empty() {
                continue;
            }
            let text = match edited(held.carrier.syntax, &held.read.text, &edits) {
                Ok(text) => text,
                Err(reason) => {
                    self.prepared.clear();
                    return Err(self.refused("unsupported", &format!("{component} {reason} {}", held.carrier.path)));
                }
            };
            if text == held.read.text {
                continue;
            }
            let blank: String = text.split_whitespace().collect();
            let goes = decision.created.contains(&component) && (blank.is_empty() || blank == "{}");
            let new = (!goes).then_some(text);
            if let Some(work) = &mut self.work {
                let after = Content { exists: new.is_some(), text: new.clone().unwrap_or_default(), reason: None };
                work.noted.push(Noted {
                    held: Some(held.clone()),
                    before: content_state(&held.read, held.carrier.syntax),
                    after: content_state(&after, held.carrier.syntax),
                    keys: edits.iter().map(|(key, _)| *key).collect(),
                });
            }
            self.prepared.push(Change {
                held: held.clone(),
                new,
                keys: edits.iter().map(|(key, verb)| (*key, matches!(verb, Verb::Set(_)))).collect(),
                done: false,
            });
        }
        Ok(())
    }

    /// Brings the new content of one carrier into place.
    fn complete(&mut self, at: usize) {
        let change = &mut self.prepared[at];
        change.done = true;
        write_carrier(self.machine, &change.held, &change.held.read.text, change.new.as_deref());
        for (word, wanted) in [("w", true), ("x", false)] {
            let keys: Vec<&str> =
                change.keys.iter().filter(|(_, set)| *set == wanted).map(|(key, _)| key.name()).collect();
            if !keys.is_empty() {
                self.body.push(format!("{word} {} {}", change.held.carrier.path, keys.join(",")));
            }
        }
    }

    pub(super) fn note_restarting(&mut self) {
        let mut services = self.needed.clone();
        if services.contains(&Service::Docker) {
            services.extend(self.ran.iter().filter(|service| !self.needed.contains(service)));
        }
        let names: Vec<&str> = services.iter().map(|service| service.name()).collect();
        if let Some(work) = &mut self.work {
            work.restarted.extend(&services);
        }
        self.machine.files.insert(format!(r"{HOME}\restarting"), (names.join("\n") + "\n").into_bytes());
    }

    /// Restarts what is needed, docker first; says why that did not work.
    fn restart_needed(&mut self) -> Result<(), (&'static str, String)> {
        if self.needed.contains(&Service::Docker) {
            let along = self.ran.contains(&Service::Ecs) && self.machine.has(Service::Ecs);
            self.restarted.push(Service::Docker);
            let runs = self.restart_docker();
            if along {
                self.restarted.push(Service::Ecs);
            }
            if !runs {
                return Err(("restart-docker", "docker did not start".to_owned()));
            }
            if along && !self.start_one(Service::Ecs) {
                return Err(("restart-ecs", "ecs did not start".to_owned()));
            }
        }
        if self.needed.contains(&Service::Ecs) && !self.restarted.contains(&Service::Ecs) {
            self.restarted.push(Service::Ecs);
            if !self.restart_one(Service::Ecs) {
                return Err(("restart-ecs", "ecs did not start".to_owned()));
            }
        }
        Ok(())
    }

    /// One look at everything; says what is wrong.
    fn verify(&mut self) -> Result<(), (&'static str, String)> {
        let facts = Facts::gather(self.machine);
        for service in self.ran.clone().into_iter().chain(self.restarted.clone()) {
            let state = facts.services.get(&service).copied().unwrap_or_default();
            if state == "active" {
                continue;
            }
            if self.restarted.contains(&Service::Docker) && service != Service::Docker {
                self.start_one(service);
            }
            return Err(("service-not-up", format!("{service} is {state}")));
        }
        let decision = self.wanted.decide(&facts, &self.restarted);
        let mut wrong = Vec::new();
        for service in &decision.restart {
            if *service != Service::Docker || self.wanted.docker_may_restart() {
                wrong.push(format!("{service} runs with other values"));
            }
        }
        if !decision.edits.is_empty() {
            wrong.push("a carrier has other values".to_owned());
        }
        if !decision.refusals.is_empty() {
            wrong.push("something stands in the way".to_owned());
        }
        if wrong.is_empty() { Ok(()) } else { Err(("verify", wrong.join(" "))) }
    }

    /// Takes everything back.
    fn undo(&mut self, reason: &str, text: &str, old_record: &[String]) -> Ending {
        self.body.retain(|line| line.starts_with("e "));
        if !text.is_empty() {
            self.detail(text);
        }
        for change in self.prepared.iter().filter(|change| change.done) {
            let now = read_carrier(self.machine, change.held.carrier);
            if now != change.held.read {
                let old = Some(change.held.read.text.as_str());
                let gone = change.held.carrier.syntax == Syntax::DaemonJson && !change.held.read.exists;
                write_carrier(self.machine, &change.held, &now.text, if gone { None } else { old });
            }
        }
        if note_lines(self.machine, "managed") != old_record {
            self.write_notes("managed", old_record);
        }
        let down = self.restart_after_undo();
        self.machine.files.remove(&format!(r"{HOME}\restarting"));
        match down {
            None => format!("rolled-back {reason}"),
            Some(service) => {
                self.detail(&format!("after {reason}"));
                format!("failed rollback-{service}")
            }
        }
    }

    /// Starts what was restarted once more, with the old settings. Returns a service that does not come up.
    pub(super) fn restart_after_undo(&mut self) -> Option<Service> {
        if self.restarted.is_empty() {
            return None;
        }
        let changed = self.prepared.iter().filter(|change| change.done);
        let touched: Vec<Service> = changed.filter_map(|change| change.held.row.service).collect();
        let mut agent_is_fresh = false;
        for service in self.restarted.clone() {
            if !self.ran.contains(&service) {
                self.machine.stop(service);
            } else if touched.contains(&service) && service == Service::Docker {
                self.restart_docker();
                self.body.push("r docker".to_owned());
                agent_is_fresh = self.machine.has(Service::Ecs);
            } else if touched.contains(&service) {
                if agent_is_fresh {
                    self.start_one(service)
                } else {
                    self.restart_one(service)
                };
                self.body.push(format!("r {service}"));
            } else {
                self.start_one(service);
            }
        }
        let down = |machine: &Machine, ran: &[Service]| ran.iter().copied().find(|known| !machine.is_running(*known));
        for _ in 0..LOOKS {
            let service = down(self.machine, &self.ran)?;
            self.start_one(service);
        }
        down(self.machine, &self.ran)
    }

    /// Starts a service by `start`, and notes with which values that was.
    fn noted_start(&mut self, service: Service, start: impl FnOnce(&mut Machine) -> bool) -> bool {
        let lines = start_lines(self.machine, service);
        if !lines.is_empty() {
            self.machine.files.remove(&format!(r"{HOME}\started"));
        }
        if !start(self.machine) {
            return false;
        }
        if !lines.is_empty() && self.machine.is_running(service) {
            self.write_notes("started", &lines);
        }
        true
    }

    fn restart_one(&mut self, service: Service) -> bool {
        self.noted_start(service, |machine| machine.restart(service))
    }

    fn start_one(&mut self, service: Service) -> bool {
        self.machine.is_running(service) || self.noted_start(service, |machine| machine.start(service))
    }

    fn restart_docker(&mut self) -> bool {
        let noted = if self.machine.is_running(Service::Ecs) { Service::Ecs } else { Service::Docker };
        self.noted_start(noted, |machine| machine.restart(Service::Docker))
    }

    /// Drops from the record what no longer holds.
    fn complete_record(&mut self, facts: &Facts) {
        let asked: BTreeMap<String, &Held> = facts
            .carriers
            .iter()
            .filter(|held| self.wanted.asks_for(held.row.component))
            .map(|held| (record_name(held.row, held.carrier), held))
            .collect();
        let old = note_lines(self.machine, "managed");
        let mut new: Vec<String> = Vec::new();
        let mut last: Vec<(String, String, String)> = Vec::new();
        for line in record(self.machine) {
            let Some(held) = asked.get(&line.component) else {
                new.push(line.text);
                continue;
            };
            if !self.wanted.present() {
                continue;
            }
            self.keep_last(&mut last, held, line);
        }
        new.extend(last.into_iter().map(|(_, _, text)| text));
        if new != old {
            self.write_record(&new);
        }
    }

    fn keep_last(&self, last: &mut Vec<(String, String, String)>, held: &Held, line: Recorded) {
        let known = last.iter_mut().find(|(component, key, _)| *component == line.component && *key == line.key);
        let setting = held.carrier.settings.iter().find(|setting| setting.key.name() == line.key);
        match known {
            None => last.push((line.component, line.key, line.text)),
            Some((.., text)) => {
                if setting.is_some_and(|setting| self.wanted.values.value(setting.rule) == line.written) {
                    *text = line.text;
                }
            }
        }
    }

    pub(super) fn write_notes(&mut self, name: &str, lines: &[String]) {
        let path = format!(r"{HOME}\{name}");
        if lines.is_empty() {
            self.machine.files.remove(&path);
        } else {
            self.machine.files.insert(path, (lines.join("\n") + "\n").into_bytes());
        }
    }
}

/// The services that an apply may restart.
fn managed_services() -> Vec<Service> {
    let rows = Platform::Windows.table().components.iter();
    let written: Vec<Service> = rows
        .filter(|row| row.component.scope() != ComponentScope::ObservedOnly)
        .filter_map(|row| row.service)
        .collect();
    Service::ALL.into_iter().filter(|service| written.contains(service)).collect()
}

/// Whether a bypass list covers a host, as Go reads it.
fn bypasses(list: &str, name: &str) -> bool {
    list.split(',').any(|entry| {
        let below = format!(".{}", entry.trim_start_matches('.'));
        entry == "*" || entry == name || (!entry.is_empty() && name.ends_with(&below))
    })
}

fn edited(syntax: Syntax, text: &str, edits: &[(Key, &Verb)]) -> Result<String, &'static str> {
    let edits: Vec<Edit<'_>> = edits
        .iter()
        .map(|(key, verb)| match verb {
            Verb::Set(value) => Edit::Set { key: *key, value },
            Verb::Remove => Edit::Remove { key: *key },
            Verb::Restore(line) => Edit::Restore { key: *key, line: line.as_bytes() },
        })
        .collect();
    match carrier::edit(syntax, text.as_bytes(), &edits) {
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(unsupported) => Err(unsupported.as_str()),
    }
}

/// Gives a carrier a new content in place of `old`.
pub(super) fn write_carrier(machine: &mut Machine, held: &Held, old: &str, new: Option<&str>) {
    let settings = &mut machine.settings;
    let text = new.unwrap_or_default();
    match held.carrier.syntax {
        Syntax::DaemonJson => settings.daemon_json = new.map(|text| text.as_bytes().to_vec()),
        Syntax::MachineEnvironment => {
            for (_, name, _) in variables(old) {
                settings.machine.remove(name);
            }
            for (kind, name, value) in variables(text) {
                let value = value.to_owned();
                let value = if kind == "REG_SZ" { RegValue::Sz(value) } else { RegValue::ExpandSz(value) };
                settings.machine.insert(name.to_owned(), value);
            }
        }
        _ => {
            let Some(service) = service_at(held.carrier.path) else { return };
            if text.is_empty() {
                settings.environments.remove(&service);
            } else {
                let strings = text.strip_suffix('\n').unwrap_or(text).split('\n');
                settings.environments.insert(service, RegValue::multi(strings));
            }
        }
    }
}

/// The kind, name and value of each line of a content of variables.
fn variables(text: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    text.lines().filter_map(|line| {
        let (kind, rest) = line.split_once(' ')?;
        let (name, value) = rest.split_once('=')?;
        Some((kind, name, value))
    })
}
