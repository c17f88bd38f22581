//! `plan`: observe, show what would change.

use super::args::{Format, Global, Plan};
use super::error::CliError;
use super::telling::Telling;
use super::{Exit, calls, gather, policies};
use crate::plan::saved::SavedPlan;
use crate::report::{Screen, plan_text, scope_text};

pub(super) async fn run(options: &Plan, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let json = global.format == Format::Json;
    let set = policies::read_for_a_run(&options.policies.paths, json, screen)?;
    let connected = gather::connect(&options.connection).await?;
    let mut telling = Telling::new(screen, json);
    if !json {
        screen.say(&scope_text(connected.session.scope()));
    }
    let plan = gather::plan(&connected.session, &set, &gather::run_id(), &mut telling).await?;
    let saved = SavedPlan::of(&plan);
    let text = || serde_json::to_string_pretty(&saved).expect("invariant: a plan has only string keys");
    if let Some(path) = &options.out {
        std::fs::write(path, text()).map_err(|source| CliError::Write { path: path.clone(), source })?;
    }
    if json {
        screen.result(&text());
    } else {
        screen.result(&plan_text(&plan, screen.width));
    }
    if global.verbose {
        calls::say(&connected.session, screen);
    }
    Ok(if plan.groups.is_empty() { Exit::Success } else { Exit::Changes })
}
