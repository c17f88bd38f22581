//! `apply`: plan, ask, roll out, observe again.

use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::args::{Apply, Format, Global};
use super::error::CliError;
use super::{Exit, calls, gather, policies};
use crate::aws::Session;
use crate::fleet::Observation;
use crate::plan::Plan;
use crate::plan::saved::SavedPlan;
use crate::policy::PolicySet;
use crate::report::{Progress, Screen, plan_text, question_text, scope_text, summary_json, summary_text};
use crate::rollout::{After, Attempt, Stop, Summary, Verdict, observe, run as roll_out};

pub(super) async fn run(options: &Apply, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let json = global.format == Format::Json;
    let mut progress = Progress::new(screen, json);
    let run_id = gather::run_id();
    let source = source(options, json, screen)?;
    let connected = gather::connect(&options.connection).await?;
    let session = &connected.session;
    screen.say(&scope_text(session.scope()));
    let (plan, refused) = match source {
        Source::Saved(path) => still_true(session, saved_plan(&path, session)?, &run_id, &mut progress).await?,
        Source::Policies(set) => (gather::plan(session, &set, &run_id, &mut progress).await?, Vec::new()),
    };
    if !json {
        screen.result(&plan_text(&plan, screen.width));
    }
    if !plan.groups.is_empty() && !options.yes && !confirmed(&plan, screen)? {
        screen.say("Nothing was changed.");
        return Ok(Exit::NotConverged);
    }
    let mut summary = carry_out(session, &plan, &run_id, screen, &mut progress).await;
    summary.attempts.extend(refused);
    if json {
        screen.result(&format!("{:#}", summary_json(&summary)));
    } else if !summary.attempts.is_empty() {
        screen.result(&format!("\n{}", summary_text(&summary, screen.width)));
    }
    if global.verbose {
        calls::say(session, screen);
    }
    Ok(exit(&summary, options.require_all))
}

/// What is to be applied.
enum Source {
    Policies(PolicySet),
    Saved(PathBuf),
}

fn source(options: &Apply, json: bool, screen: Screen) -> Result<Source, CliError> {
    if let Some(path) = &options.plan {
        return Ok(Source::Saved(path.clone()));
    }
    let default = [PathBuf::from("policies")];
    let paths = if options.paths.is_empty() { &default[..] } else { &options.paths };
    Ok(Source::Policies(policies::read_for_a_run(paths, json, screen)?))
}

/// Rolls a plan out, and heeds Ctrl-C meanwhile.
pub(super) async fn carry_out(
    session: &Session,
    plan: &Plan,
    run_id: &str,
    screen: Screen,
    progress: &mut Progress,
) -> Summary {
    let summary = roll_out(session, plan, run_id, on_interrupt(screen), &mut |event| progress.show(&event)).await;
    progress.finish();
    summary
}

fn exit(summary: &Summary, require_all: bool) -> Exit {
    if summary.converged() && !(require_all && summary.left_somebody_out()) {
        Exit::Success
    } else {
        Exit::NotConverged
    }
}

fn saved_plan(path: &Path, session: &Session) -> Result<Plan, CliError> {
    let text = std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_owned(), source })?;
    let plan = SavedPlan::parse(&text).map_err(|source| CliError::SavedPlan { path: path.to_owned(), source })?;
    if plan.scope != *session.scope() {
        return Err(CliError::WrongScope { planned: plan.scope.to_string(), here: session.scope().to_string() });
    }
    Ok(plan)
}

/// The part of a saved plan whose instances still report what the plan saw, and everybody else as refused.
async fn still_true(
    session: &Session,
    mut plan: Plan,
    run_id: &str,
    progress: &mut Progress,
) -> Result<(Plan, Vec<Attempt>), CliError> {
    let ids: Vec<_> = plan.groups.iter().flat_map(|group| &group.instances).map(|member| member.id.clone()).collect();
    let observations = observe(session, &ids, run_id, &mut |event| progress.show(&event)).await?;
    let mut refused = Vec::new();
    for group in &mut plan.groups {
        let policy = group.policy;
        group.instances.retain(|member| {
            let reason = match observations.get(&member.id) {
                Some(Observation::Seen(observed)) if observed.fingerprint == member.fingerprint => return true,
                Some(Observation::Seen(_)) => "it is no longer what the plan saw; plan again".to_owned(),
                Some(Observation::Unanswered(why)) => format!("it does not report any more: {why}"),
                Some(Observation::NotAsked) | None => "it was not observed".to_owned(),
            };
            refused.push(Attempt {
                policy,
                id: member.id.clone(),
                name: member.name.clone(),
                verdict: Verdict::NotStarted(reason),
                after: After::NotAsked,
            });
            false
        });
    }
    plan.groups.retain(|group| !group.instances.is_empty());
    Ok((plan, refused))
}

/// Asks on the terminal; anything but `yes` is a no.
fn confirmed(plan: &Plan, screen: Screen) -> Result<bool, CliError> {
    if !std::io::stdin().is_terminal() {
        return Err(CliError::CannotAsk);
    }
    screen.ask(&question_text(plan));
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|source| CliError::Io { doing: "reading the answer".to_owned(), source })?;
    Ok(answer.trim() == "yes")
}

/// The first Ctrl-C sends nothing more and waits for what is in flight, the second cancels that.
fn on_interrupt(screen: Screen) -> watch::Receiver<Stop> {
    let (sender, receiver) = watch::channel(Stop::Go);
    tokio::spawn(async move {
        for (stop, text) in [
            (Stop::Drain, "Stopping: nothing more is sent; waiting for what is in flight. Ctrl-C again cancels that."),
            (Stop::Cancel, "Cancelling what is in flight; the state of everybody is observed afterwards."),
        ] {
            if super::interrupted().await.is_err() || sender.send(stop).is_err() {
                return;
            }
            screen.say(text);
        }
        // Keeps the channel open until the run is over.
        sender.closed().await;
    });
    receiver
}
