//! `halt` and `resume`: the stop switch.

use std::fmt::Write as _;

use jiff::{Timestamp, Unit};

use super::args::{Connection, Format, Global, Halt as Options, Resume};
use super::error::CliError;
use super::{Exit, calls, gather};
use crate::aws::{Halt, HaltScope, Halts};
use crate::policy::PolicyName;
use crate::report::{Screen, halted_json, halted_text, halts_json, halts_text, resumed_json, resumed_text};

/// What a command says: for people, and for machines.
type Told = (String, serde_json::Value);

pub(super) async fn halt(options: &Options, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let connected = gather::connect(&options.connection).await?;
    let session = &connected.session;
    let told = match &options.reason {
        None => {
            let halts = session.list_halts().await?;
            (halts_text(session.scope(), &halts, screen.width), halts_json(session.scope(), &halts))
        }
        Some(reason) => {
            let halt = Halt {
                scope: scope(options.policy.as_ref()),
                reason: reason.clone(),
                by: Some(session.caller().to_owned()).filter(|caller| !caller.is_empty()),
                // Rounding to seconds cannot leave the range of times by more than the present does.
                since: Timestamp::now().round(Unit::Second).ok(),
            };
            let placed = session.set_halt(&halt, options.replace).await?;
            let resume = resume_command(options);
            (
                halted_text(session.scope(), &halt, &placed, &resume, screen.width),
                halted_json(session.scope(), &halt, &placed),
            )
        }
    };
    Ok(tell(told, session, global, screen))
}

pub(super) async fn resume(options: &Resume, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let connected = gather::connect(&options.connection).await?;
    let session = &connected.session;
    let scope = scope(options.policy.as_ref());
    // Read first: who resumes is told what it was.
    let Halts { set, without_effect } = session.list_halts().await?;
    let (cleared, left): (Vec<Halt>, Vec<Halt>) = set.into_iter().partition(|halt| halt.scope == scope);
    if !cleared.is_empty() {
        session.clear_halt(&scope).await?;
    }
    let (cleared, left) = (cleared.first(), Halts { set: left, without_effect });
    let told = (
        resumed_text(session.scope(), &scope, cleared, &left, screen.width),
        resumed_json(session.scope(), cleared, &left),
    );
    Ok(tell(told, session, global, screen))
}

fn tell((text, json): Told, session: &crate::aws::Session, global: &Global, screen: Screen) -> Exit {
    match global.format {
        Format::Text => screen.result(&text),
        Format::Json => screen.result(&format!("{json:#}")),
    }
    if global.verbose {
        calls::say(session, screen);
    }
    Exit::Success
}

fn scope(policy: Option<&PolicyName>) -> HaltScope {
    policy.map_or(HaltScope::All, |name| HaltScope::Policy(name.clone()))
}

/// What to type to take the halt back, with the options that lead to the same place.
fn resume_command(options: &Options) -> String {
    let Connection { region, profile, endpoint_url, .. } = &options.connection;
    let policy = options.policy.as_ref().map(ToString::to_string);
    let mut command = "proxyfleet resume".to_owned();
    for (option, value) in
        [("--policy", &policy), ("--profile", profile), ("--region", region), ("--endpoint-url", endpoint_url)]
    {
        if let Some(value) = value {
            let _ = write!(command, " {option} {value}");
        }
    }
    command
}
