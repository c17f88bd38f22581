//! The checks of `rollout`: how a rollout proceeds, and its limits.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::check::Check;
use super::decode::kind;
use super::mask::excerpt;
use super::raw::{RawBudgets, RawCount, RawCounts, RawDuration, RawGate, RawList, RawRollout, RawText};
use super::tree::Node;
use super::{Budgets, Code, Count, Gate, OnFailure, Rollout, Waves, duration};

impl Check<'_, '_, '_> {
    /// The rollout that was written, with the defaults where nothing was, or nothing right.
    pub(super) fn rollout(&mut self, raw: Option<&RawRollout>) -> Rollout {
        let default = Rollout::default();
        let Some(raw) = raw else { return default };
        Rollout {
            waves: raw.waves.as_ref().and_then(|list| self.waves(list)).unwrap_or(default.waves),
            max_concurrency: self
                .limit(&["max_concurrency"], raw.max_concurrency.as_ref(), 1)
                .unwrap_or(default.max_concurrency),
            max_unavailable: self
                .limit(&["max_unavailable"], raw.max_unavailable.as_ref(), 1)
                .unwrap_or(default.max_unavailable),
            docker_max_unavailable: self
                .limit(&["docker_max_unavailable"], raw.docker_max_unavailable.as_ref(), 1)
                .unwrap_or(default.docker_max_unavailable),
            spread_by: self.spread_by(raw.spread_by.as_ref()).unwrap_or(default.spread_by),
            budgets: self.budgets(raw, default.budgets),
            soak: self.duration(&["rollout", "soak"], raw.soak.as_ref(), Rollout::SOAKS).unwrap_or(default.soak),
            gate: raw.gate.as_ref().and_then(|gate| self.gate(gate)),
            alarm: self.alarm(raw.alarm.as_ref()),
            on_failure: self
                .choice(&["rollout", "on_failure"], raw.on_failure.as_ref(), OnFailure::ALL, OnFailure::name)
                .unwrap_or_default(),
        }
    }

    fn waves(&mut self, list: &RawCounts) -> Option<Waves> {
        let path = ["rollout", "waves"];
        if list.0.is_empty() {
            self.empty_list("`rollout.waves`", &self.value(&path).range);
        }
        let mut ends = Vec::new();
        for (index, raw) in list.0.iter().enumerate() {
            let Some(raw) = raw else { continue };
            let node = self.item(&path, index);
            let name = format!("rollout.waves[{index}]");
            let Some(end) = self.count(&name, raw, 1, node) else { continue };
            if let Some(before) = Waves::not_beyond(&ends, end) {
                let message =
                    format!("`{name}`: `{end}` is not more than `{before}`, which a wave before it ends with");
                let help = "write what each wave ends with, all before it included, such as [1, 10%, 50%, 100%]";
                self.add(Code::BadWaves, message, help, &node.range, "not more");
            } else if index + 1 == list.0.len() && end != Waves::EVERYBODY {
                let message = format!("`rollout.waves` ends with `{end}`, so the rest would never be changed");
                self.add(Code::BadWaves, message, "add 100% as the last wave", &node.range, "the last wave");
            }
            ends.push(end);
        }
        Waves::new(ends)
    }

    /// What was written in `budgets`, where it was; else what `max_errors` says of all of them.
    fn budgets(&mut self, raw: &RawRollout, default: Budgets) -> Budgets {
        let all = self.limit(&["max_errors"], raw.max_errors.as_ref(), 0).map_or(default, Budgets::all);
        let nothing = RawBudgets::default();
        let own = raw.budgets.as_ref().unwrap_or(&nothing);
        let mut budget = |key, raw: &Option<RawCount>| self.limit(&["budgets", key], raw.as_ref(), 0);
        Budgets {
            failed: budget("failed", &own.failed).unwrap_or(all.failed),
            rolled_back: budget("rolled_back", &own.rolled_back).unwrap_or(all.rolled_back),
            unreachable: budget("unreachable", &own.unreachable).unwrap_or(all.unreachable),
            unknown: budget("unknown", &own.unknown).unwrap_or(all.unknown),
        }
    }

    /// The count at `path` of `rollout`.
    fn limit(&mut self, path: &[&str], raw: Option<&RawCount>, least: u32) -> Option<Count> {
        let path = [&["rollout"], path].concat();
        self.count(&path.join("."), raw?, least, self.value(&path))
    }

    fn count(&mut self, name: &str, raw: &RawCount, least: u32, node: &Node) -> Option<Count> {
        let (count, shown) = match raw {
            RawCount::Number(number) => (u32::try_from(*number).ok().map(Count::Absolute), number.to_string()),
            // A number in quotes is text, and what else is text is a share.
            RawCount::Text(text) => {
                (Count::parse(text).filter(|count| matches!(count, Count::Percent(_))), excerpt(text))
            }
        };
        let count = count.filter(|count| count.number() >= least);
        if count.is_none() {
            let message = format!("`{shown}` is not a limit for `{name}`");
            let help =
                format!("write a number of instances from {least} without quotes, or a share from {least}% to 100%");
            self.add(Code::BadCount, message, help, &node.range, format!("this is {}", kind(node)));
        }
        count
    }

    fn spread_by(&mut self, raw: Option<&RawText>) -> Option<String> {
        let RawText(key) = raw?;
        self.tag_key(key, self.value(&["rollout", "spread_by"]));
        Some(key.clone())
    }

    fn duration(
        &mut self,
        path: &[&str],
        raw: Option<&RawDuration>,
        allowed: RangeInclusive<Duration>,
    ) -> Option<Duration> {
        let RawDuration(text) = raw?;
        let (name, at, shown) = (path.join("."), &self.value(path).range, excerpt(text));
        let Some(found) = duration::parse(text) else {
            let message = format!("`{shown}` is not a duration for `{name}`");
            let help = "write a whole number with s, m or h, such as 30s, 5m or 2h";
            self.add(Code::BadDuration, message, help, at, "not a duration");
            return None;
        };
        if allowed.contains(&found) {
            return Some(found);
        }
        let label = if found < *allowed.start() { "too short" } else { "too long" };
        let (least, most) = (duration::text(*allowed.start()), duration::text(*allowed.end()));
        let help = format!("write a duration from {least} to {most}");
        self.add(Code::BadDuration, format!("`{shown}` is {label} for `{name}`"), help, at, label);
        None
    }

    fn gate(&mut self, raw: &RawGate) -> Option<Gate> {
        let command = self.command(raw.command.as_ref());
        let timeout = self.duration(&["rollout", "gate", "timeout"], raw.timeout.as_ref(), Gate::TIMEOUTS);
        let hold = self.duration(&["rollout", "gate", "hold"], raw.hold.as_ref(), Gate::HOLDS);
        Some(Gate {
            command: command?,
            timeout: timeout.unwrap_or(Gate::DEFAULT_TIMEOUT),
            hold: hold.unwrap_or(Gate::DEFAULT_HOLD),
        })
    }

    fn command(&mut self, raw: Option<&RawList>) -> Option<Vec<String>> {
        let path = ["rollout", "gate", "command"];
        let Some(RawList(words)) = raw else {
            self.missing(&path, "name a program and its arguments, such as command: [./is-healthy, web]");
            return None;
        };
        if words.is_empty() {
            self.empty_list("`rollout.gate.command`", &self.value(&path).range);
        }
        let mut command = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let Some(RawText(word)) = word else { continue };
            let node = self.item(&path, index);
            self.quoted_where_needed(node);
            if index == 0 && word.is_empty() {
                let message = "`rollout.gate.command` names no program";
                let help = "write the program first, then its arguments, such as [./is-healthy, web]";
                self.add(Code::BadGateCommand, message, help, &node.range, "empty");
            }
            if word.contains('\0') {
                let message = format!("`rollout.gate.command[{index}]` holds a NUL, which no program can be given");
                self.add(Code::BadGateCommand, message, "take it out", &node.range, "with a NUL");
            }
            command.push(word.clone());
        }
        Gate::is_command(&command).then_some(command)
    }

    fn alarm(&mut self, raw: Option<&RawText>) -> Option<String> {
        let RawText(name) = raw?;
        let node = self.value(&["rollout", "alarm"]);
        self.quoted_where_needed(node);
        if !Rollout::is_alarm(name) {
            let help = format!(
                "CloudWatch alarm names have 1 to {} characters, none of them a control character",
                Rollout::MAX_ALARM
            );
            self.add(Code::BadAlarmName, "no CloudWatch alarm can have this name", help, &node.range, "not a name");
        }
        Some(name.clone())
    }
}
