//! What every command that looks at a fleet needs: a session, the instances, who gets which policy, what they report.

use crate::aws::{InstanceQuery, Session, SessionOptions};
use crate::fleet::{Instance, InstanceId, Observation, Reach};
use crate::plan::{Conflict, Plan, Resolution, build, resolve};
use crate::policy::PolicySet;
use crate::rollout::observe;

use super::args::Connection;
use super::error::CliError;
use super::telling::Telling;

/// With more selectors than this, reading all instances once costs fewer calls than one query for each.
const MOST_QUERIES: usize = 5;

/// A session, and the embedded fleet it may be connected to, which goes away with it.
pub(super) struct Connected {
    pub(super) session: Session,
    /// Held for as long as the session is used: dropping it ends the fleet.
    #[cfg(feature = "sim")]
    _sim: Option<crate::sim::Sim>,
}

/// Opens the session that the options ask for, and checks the account.
pub(super) async fn connect(connection: &Connection) -> Result<Connected, CliError> {
    #[cfg(feature = "sim")]
    let sim = match connection.sim {
        Some(instances) => {
            let options = crate::sim::SimOptions {
                instances,
                seed: connection.seed,
                winhost: connection.winhost,
                faults: connection.faults.clone().unwrap_or_default(),
                ..crate::sim::SimOptions::default()
            };
            Some(super::sim::start(options)?)
        }
        None => None,
    };
    #[cfg(feature = "sim")]
    let endpoint_url = sim.as_ref().map(crate::sim::Sim::endpoint_url).or_else(|| connection.endpoint_url.clone());
    #[cfg(not(feature = "sim"))]
    let endpoint_url = connection.endpoint_url.clone();
    let session = Session::open(&SessionOptions {
        region: connection.region.clone(),
        profile: connection.profile.clone(),
        endpoint_url,
        jitter_seed: std::process::id().into(),
    })
    .await?;
    let found = &session.scope().account;
    if let Some(expected) = connection.expect_account.as_ref().filter(|expected| *expected != found) {
        return Err(CliError::WrongAccount { expected: expected.clone(), found: found.clone() });
    }
    Ok(Connected {
        session,
        #[cfg(feature = "sim")]
        _sim: sim,
    })
}

/// The instances that some policy may be for.
pub(super) async fn instances(session: &Session, set: &PolicySet) -> Result<Vec<Instance>, CliError> {
    let mut queries: Vec<InstanceQuery> = Vec::new();
    for policy in &set.policies {
        let query = InstanceQuery::for_selector(&policy.targets.tags);
        if !queries.contains(&query) {
            queries.push(query);
        }
    }
    if queries.len() > MOST_QUERIES {
        queries = vec![InstanceQuery::default()];
    }
    let mut instances = Vec::new();
    for query in &queries {
        instances.extend(session.list_instances(query).await?);
    }
    instances.sort_by(|left, right| left.id.cmp(&right.id));
    instances.dedup_by(|left, right| left.id == right.id);
    Ok(instances)
}

/// Who gets which policy; a conflict is an error that names both places.
pub(super) fn resolution(set: &PolicySet, instances: &[Instance]) -> Result<Resolution, CliError> {
    resolve(set, instances).map_err(|conflicts| CliError::Conflicts {
        conflicts: conflicts.iter().map(|conflict| conflict_text(set, conflict)).collect(),
    })
}

fn conflict_text(set: &PolicySet, conflict: &Conflict) -> String {
    let (first, second) = (&set.policies[conflict.first], &set.policies[conflict.second]);
    let example = &conflict.instances[0];
    let others = match conflict.instances.len() {
        1 => String::new(),
        count => format!(" and {} more", count - 1),
    };
    format!(
        "  `{}` ({}) and `{}` ({}) are both for {example}{others}, with the same priority {}",
        first.name, first.origin, second.name, second.origin, first.priority
    )
}

/// Asks everybody whom a policy is for and whom a command can reach. One observation an instance, in the same order.
pub(super) async fn observations(
    session: &Session,
    instances: &[Instance],
    resolution: &Resolution,
    run_id: &str,
    telling: &mut Telling,
) -> Result<Vec<Observation>, CliError> {
    let asked: Vec<InstanceId> = instances
        .iter()
        .zip(&resolution.policy)
        .filter(|(instance, policy)| {
            policy.is_some() && instance.reach == Reach::Online && instance.platform().is_some()
        })
        .map(|(instance, _)| instance.id.clone())
        .collect();
    let mut found = observe(session, &asked, run_id, &mut |event| telling.tell(&event)).await?;
    Ok(instances.iter().map(|instance| found.remove(&instance.id).unwrap_or(Observation::NotAsked)).collect())
}

/// Everything up to a plan.
pub(super) async fn plan(
    session: &Session,
    set: &PolicySet,
    run_id: &str,
    telling: &mut Telling,
) -> Result<Plan, CliError> {
    let instances = instances(session, set).await?;
    let resolution = resolution(set, &instances)?;
    let observations = observations(session, &instances, &resolution, run_id, telling).await?;
    Ok(build(set, session.scope().clone(), &instances, &resolution, &observations))
}

/// A name for this run: when it started, and which process it is. It travels in the comment of every command.
pub(super) fn run_id() -> String {
    let started = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    format!("{started}-{}", std::process::id())
}
