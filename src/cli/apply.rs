//! `apply`: plan, ask, roll out, observe again.

use std::collections::BTreeSet;
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use tokio::sync::watch;

use super::args::{Apply, Format, Global};
use super::error::CliError;
use super::telling::Telling;
use super::{Exit, calls, gather, policies};
use crate::aws::Session;
use crate::fleet::{InstanceId, Observation};
use crate::journal::{FORMAT, Opening, Store, to_retry};
use crate::plan::Plan;
use crate::plan::saved::SavedPlan;
use crate::policy::{PolicyName, PolicySet};
use crate::report::{Screen, plan_text, question_text, scope_text, summary_json, summary_text};
use crate::rollout::{Adopted, Attempt, Fate, Run, Stop, Summary, adopt, observe, run as roll_out};

pub(super) async fn run(options: &Apply, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let json = global.format == Format::Json;
    let mut telling = Telling::new(screen, json);
    let run_id = gather::run_id();
    let store = Store::find(options.state.state_dir.as_deref(), &|name| std::env::var_os(name));
    let (store, retry) = match &options.retry_failed {
        Some(name) => {
            let store = store?;
            let instances = retried(&store, name)?;
            (Ok(store), Some(instances))
        }
        None => (store, None),
    };
    let source = source(options, json, screen)?;
    let connected = gather::connect(&options.connection).await?;
    let session = &connected.session;
    screen.say(&scope_text(session.scope()));
    let (plan, refused, adopted) = match source {
        Source::Saved(path) => {
            let plan = saved_plan(&path, session)?;
            let names: Vec<PolicyName> = plan.policies.iter().map(|terms| terms.name.clone()).collect();
            let adopted = adopt(session, &names, &mut |event| telling.tell(&event)).await?;
            let (plan, refused) = still_true(session, plan, &run_id, &mut telling).await?;
            (plan, refused, adopted)
        }
        Source::Policies(set) => {
            let names: Vec<PolicyName> = set.policies.iter().map(|policy| policy.name.clone()).collect();
            let adopted = adopt(session, &names, &mut |event| telling.tell(&event)).await?;
            let plan = gather::plan(session, &set, &run_id, &mut telling).await?;
            (plan, Vec::new(), adopted)
        }
    };
    let plan = retry.iter().fold(plan, only);
    if !json {
        screen.result(&plan_text(&plan, screen.width));
    }
    if !plan.groups.is_empty() {
        if !options.yes && !confirmed(&plan, screen)? {
            screen.say("Nothing was changed.");
            return Ok(Exit::NotConverged);
        }
        telling.keep_journal(store, || opening(&plan, &run_id));
    }
    let mut summary = carry_out(session, &plan, &run_id, adopted, screen, &mut telling).await;
    summary.attempts.extend(refused);
    telling.close(&summary);
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

/// How the journal of a run begins, and the plan that belongs to it.
fn opening(plan: &Plan, run_id: &str) -> (Opening, serde_json::Value) {
    let saved = SavedPlan::of(plan);
    let active = (0..plan.policies.len()).filter(|policy| plan.groups_of(*policy).next().is_some());
    let opening = Opening {
        format: FORMAT.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        run: run_id.to_owned(),
        account: plan.scope.account.clone(),
        region: plan.scope.region.clone(),
        plan_digest: saved.digest(),
        policies: active.map(|policy| plan.policies[policy].name.to_string()).collect(),
        instances: plan.changed_instances(),
    };
    let value = serde_json::to_value(&saved).expect("invariant: a plan has only string keys");
    (opening, value)
}

/// Whom a run of the past did not bring to where its plan wanted them.
fn retried(store: &Store, name: &str) -> Result<BTreeSet<InstanceId>, CliError> {
    let journal = store.open(name)?;
    let instances = to_retry(&journal);
    if instances.is_empty() {
        return Err(CliError::NothingToRetry { run: journal.opening().run.clone() });
    }
    Ok(instances)
}

/// The plan for these instances alone.
fn only(mut plan: Plan, instances: &BTreeSet<InstanceId>) -> Plan {
    plan.keep(|member| instances.contains(&member.id));
    plan.left_out.retain(|left_out| instances.contains(&left_out.id));
    plan
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
    adopted: Adopted,
    screen: Screen,
    telling: &mut Telling,
) -> Summary {
    let plan_digest = SavedPlan::of(plan).digest();
    let run = Run { session, id: run_id, plan_digest: &plan_digest, adopted, stop: on_interrupt(screen) };
    let summary = roll_out(run, plan, &mut |event| telling.tell(&event)).await;
    telling.finish();
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
    telling: &mut Telling,
) -> Result<(Plan, Vec<Attempt>), CliError> {
    let ids: Vec<_> = plan.groups.iter().flat_map(|group| &group.instances).map(|member| member.id.clone()).collect();
    let observations = observe(session, &ids, run_id, &mut |event| telling.tell(&event)).await?;
    let mut refused = Vec::new();
    for group in &plan.groups {
        for member in &group.instances {
            let reason = match observations.get(&member.id) {
                Some(Observation::Seen(observed)) if observed.fingerprint == member.fingerprint => continue,
                Some(Observation::Seen(_)) => "it is no longer what the plan saw; plan again".to_owned(),
                Some(Observation::Unanswered(why)) => format!("it does not report any more: {why}"),
                Some(Observation::NotAsked) | None => "it was not observed".to_owned(),
            };
            refused.push(Attempt {
                policy: group.policy,
                id: member.id.clone(),
                name: member.name.clone(),
                wave: member.wave,
                fate: Fate::NotStarted(reason),
            });
        }
    }
    let gone: BTreeSet<InstanceId> = refused.iter().map(|attempt| attempt.id.clone()).collect();
    plan.keep(|member| !gone.contains(&member.id));
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
