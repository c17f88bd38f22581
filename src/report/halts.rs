//! The stop switch: what is stopped, by whom, and how it goes on.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::layout::{count, paint, wrap_words};
use super::plan::moment;
use super::screen::role;
use crate::aws::{Halt, HaltScope, Halts, Placed};
use crate::fleet::Scope;

/// What setting a marker came to. `resume` is the command that clears it.
pub fn halted_text(scope: &Scope, halt: &Halt, placed: &Placed, resume: &str, width: usize) -> String {
    let (what, shown) = match placed {
        Placed::Set => ("Halted:", halt),
        Placed::AlreadyThere(there) => ("Already halted:", there),
    };
    let mut out = String::new();
    wrap_words(&mut out, &paint(role::BAD, what), &format!("{} in {scope}", halt.scope), 0, width);
    details(&mut out, shown, width);
    let mut say = |sentence: &str| wrap_words(&mut out, "", sentence, 0, width);
    if matches!(placed, Placed::AlreadyThere(_)) {
        say("This halt stays as it is, and yours adds nothing; --replace puts your reason in the place of it.");
    }
    let runs = match &halt.scope {
        HaltScope::All => "Every run, on any machine,".to_owned(),
        HaltScope::Policy(name) => format!("Every run of policy {name}, on any machine,"),
    };
    say(&format!(
        "{runs} looks before each command, and sends none that changes an instance from now on. Commands that were sent \
         before finish on their instances. `plan` and `explain` still work."
    ));
    if let HaltScope::Policy(name) = &halt.scope {
        say(&format!(
            "Whether there is a policy {name} is not known here: look at the name again, or halt everything by leaving out \
             --policy."
        ));
    }
    let _ = writeln!(out, "To go on: {}", paint(role::HEADING, resume));
    out
}

/// What clearing a marker came to. `cleared` is the one that was there, `left` what halts still.
pub fn resumed_text(scope: &Scope, resumed: &HaltScope, cleared: Option<&Halt>, left: &Halts, width: usize) -> String {
    let mut out = String::new();
    match cleared {
        Some(halt) => {
            wrap_words(
                &mut out,
                &paint(role::GOOD, "Resumed:"),
                &format!("{resumed} in {scope}. The halt was"),
                0,
                width,
            );
            details(&mut out, halt, width);
        }
        None => wrap_words(&mut out, "Not halted:", &format!("{resumed} in {scope}. Nothing was changed."), 0, width),
    }
    if !left.set.is_empty() {
        let _ = writeln!(out, "{}", paint(role::BAD, "Still halted:"));
        list(&mut out, &left.set, width);
    }
    if cleared.is_some() {
        let sentence = "Runs that stopped do not go on by themselves: start `proxyfleet apply` again.";
        wrap_words(&mut out, "", sentence, 0, width);
    }
    out
}

/// Everything that is halted.
pub fn halts_text(scope: &Scope, halts: &Halts, width: usize) -> String {
    let mut out = match halts.set.len() {
        0 => format!("Nothing is halted in {scope}.\n"),
        number => format!("{} in {scope}.\n", paint(role::BAD, &count(number, "halt"))),
    };
    list(&mut out, &halts.set, width);
    for name in &halts.without_effect {
        let meaning = "no run looks at this parameter, so it halts nothing; check the name of the policy";
        wrap_words(&mut out, &paint(role::ATTENTION, &format!("{name}:")), meaning, 2, width);
    }
    out
}

fn list(out: &mut String, halts: &[Halt], width: usize) {
    for halt in halts {
        let _ = writeln!(out, "{}", paint(role::HEADING, &halt.scope.to_string()));
        details(out, halt, width);
    }
}

fn details(out: &mut String, halt: &Halt, width: usize) {
    wrap_words(out, "  reason", &halt.reason, 9, width);
    wrap_words(out, "  by    ", halt.by.as_deref().unwrap_or("not recorded"), 9, width);
    let since = halt.since.map_or_else(|| "not recorded".to_owned(), |since| moment(since.as_second()));
    wrap_words(out, "  since ", &since, 9, width);
}

/// What setting a marker came to, for machines, version 1. `halt` is the one that is there now.
pub fn halted_json(scope: &Scope, halt: &Halt, placed: &Placed) -> Value {
    let (did, shown) = match placed {
        Placed::Set => ("halted", halt),
        Placed::AlreadyThere(there) => ("already-halted", there),
    };
    json!({ "format": "proxyfleet-halt/1", "scope": place(scope), "did": did, "halt": one_json(shown) })
}

/// What clearing a marker came to, for machines, version 1.
pub fn resumed_json(scope: &Scope, cleared: Option<&Halt>, left: &Halts) -> Value {
    json!({
        "format": "proxyfleet-resume/1",
        "scope": place(scope),
        "did": if cleared.is_some() { "resumed" } else { "not-halted" },
        "cleared": cleared.map(one_json),
        "halts": left.set.iter().map(one_json).collect::<Vec<_>>(),
    })
}

/// Everything that is halted, for machines, version 1.
pub fn halts_json(scope: &Scope, halts: &Halts) -> Value {
    json!({
        "format": "proxyfleet-halts/1",
        "scope": place(scope),
        "halts": halts.set.iter().map(one_json).collect::<Vec<_>>(),
        "without_effect": halts.without_effect,
    })
}

fn place(scope: &Scope) -> Value {
    json!({ "account": scope.account, "region": scope.region })
}

fn one_json(halt: &Halt) -> Value {
    let (kind, policy) = match &halt.scope {
        HaltScope::All => ("all", None),
        HaltScope::Policy(name) => ("policy", Some(name.as_str())),
    };
    json!({
        "halts": kind,
        "policy": policy,
        "parameter": halt.scope.parameter(),
        "reason": halt.reason,
        "by": halt.by,
        "since": halt.since.map(|since| since.to_string()),
    })
}
