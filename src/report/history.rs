//! Runs of the past: a list of them, and how each ended.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::layout::{count, paint, wrap_words};
use super::plan::moment;
use super::progress::Progress;
use super::screen::{Screen, role};
use super::summary::summary_text;
use crate::journal::{Journal, Overview, State, fates};

/// Runs, the newest last; `older` of them are not listed.
pub fn history_text(runs: &[Overview], older: usize, width: usize) -> String {
    let mut out = String::new();
    if older > 0 {
        let _ = writeln!(out, "{} left out; --limit lists more.\n", count(older, "older run"));
    }
    for overview in runs {
        match &overview.journal {
            Ok(journal) => out.push_str(&run_text(journal, width)),
            Err(error) => {
                let _ = writeln!(out, "{}", paint(role::HEADING, &overview.run));
                wrap_words(&mut out, "  not readable:", &error.to_string(), 2, width);
            }
        }
    }
    out
}

/// One run: when, where, what, and how it ended.
fn run_text(journal: &Journal, width: usize) -> String {
    let opening = journal.opening();
    let mut out = String::new();
    let when = format!("{}, {}", moment(journal.started().as_second()), took(journal));
    wrap_words(&mut out, &format!("{} ", paint(role::HEADING, &opening.run)), &when, 2, width);
    let policies =
        if opening.policies.is_empty() { "nothing to change".to_owned() } else { opening.policies.join(", ") };
    let what = format!("account {}, region {}: {policies}", opening.account, opening.region);
    wrap_words(&mut out, "  ", &what, 4, width);
    let counts = counts(journal);
    let converged = counts.get("converged").copied().unwrap_or_default();
    let mut sentence = format!("{converged} of {} converged", count(fates(journal).len(), "instance"));
    for (words, number) in counts.iter().filter(|(words, _)| **words != "converged") {
        let _ = write!(sentence, ", {number} {words}");
    }
    let style = match journal.state() {
        State::Ended(_) if counts.keys().all(|words| *words == "converged") => role::GOOD,
        State::UnderWay => role::ATTENTION,
        State::Ended(_) | State::BrokeOff => role::BAD,
    };
    let state = match journal.state() {
        State::Ended(_) => String::new(),
        State::UnderWay => paint(style, "under way: "),
        State::BrokeOff => paint(style, "broke off: "),
    };
    let painted = if state.is_empty() { paint(style, &sentence) } else { format!("{state}{sentence}") };
    wrap_words(&mut out, "  ", &painted, 4, width);
    if let State::Ended(ending) = journal.state() {
        for halted in &ending.halted {
            wrap_words(&mut out, "  ", &format!("{} halted: {}", halted.policy, halted.reason), 4, width);
        }
    }
    out
}

/// One run told again: what happened, with the time, then what became of everybody, last how it ended.
pub fn tell_run(journal: &Journal, screen: Screen) {
    let mut progress = Progress::again(screen);
    for line in &journal.lines {
        if let Some(event) = line.entry.event() {
            progress.show_at(&line.time.strftime("%H:%M:%S").to_string(), &event);
        }
    }
    if let State::Ended(ending) = journal.state() {
        screen.result(&format!("\n{}", summary_text(&ending.summary(), screen.width)));
    }
    screen.result(&format!("\n{}", run_text(journal, screen.width)));
}

/// How many ended how, in words; those of whom the journal does not say are `not known`.
fn counts(journal: &Journal) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for fate in fates(journal).into_values() {
        *counts.entry(fate.map_or("not known", |fate| fate.words())).or_default() += 1;
    }
    counts
}

/// How long it took, or since when it has been silent.
fn took(journal: &Journal) -> String {
    let seconds = journal.last_told().duration_since(journal.started()).as_secs().max(0);
    let span = match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    };
    match journal.state() {
        State::Ended(_) => format!("took {span}"),
        State::UnderWay | State::BrokeOff => format!("last word after {span}"),
    }
}

/// The list for machines, version 1.
pub fn history_json(runs: &[Overview], older: usize) -> Value {
    let one = |overview: &Overview| match &overview.journal {
        Ok(journal) => overview_json(journal),
        Err(error) => json!({ "run": overview.run, "state": "not-readable", "error": error.to_string() }),
    };
    json!({
        "format": "proxyfleet-history/1",
        "runs": runs.iter().map(one).collect::<Vec<_>>(),
        "older": older,
    })
}

/// One run with all of its journal, for machines, version 1. The lines have the format that the first of them names.
pub fn run_json(journal: &Journal) -> Value {
    let mut value = overview_json(journal);
    value["format"] = json!("proxyfleet-run/1");
    value["journal"] = json!(journal.lines);
    value
}

fn overview_json(journal: &Journal) -> Value {
    let opening = journal.opening();
    let (state, halted) = match journal.state() {
        State::Ended(ending) => ("ended", json!(ending.halted)),
        State::UnderWay => ("under-way", json!([])),
        State::BrokeOff => ("broke-off", json!([])),
    };
    let outcomes: BTreeMap<String, usize> =
        counts(journal).into_iter().map(|(words, number)| (words.replace(' ', "_"), number)).collect();
    json!({
        "run": opening.run,
        "state": state,
        "started": text(journal.started()),
        "last_told": text(journal.last_told()),
        "account": opening.account,
        "region": opening.region,
        "version": opening.version,
        "plan_digest": opening.plan_digest,
        "policies": opening.policies,
        "instances": fates(journal).len(),
        "outcomes": outcomes,
        "halted": halted,
    })
}

fn text(time: Timestamp) -> String {
    time.to_string()
}
