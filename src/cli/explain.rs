//! `explain`: one instance, which policy, why, every setting.

use super::args::{Explain, Format, Global};
use super::error::CliError;
use super::telling::Telling;
use super::{Exit, gather, policies};
use crate::fleet::{Instance, Observation};
use crate::plan::{Terms, assess};
use crate::policy::PolicySet;
use crate::report::{Explanation, Screen, explain_json, explain_text};

pub(super) async fn run(options: &Explain, global: &Global, screen: Screen) -> Result<Exit, CliError> {
    let json = global.format == Format::Json;
    let set = policies::read_for_a_run(&options.policies.paths, json, screen)?;
    let connected = gather::connect(&options.connection).await?;
    let session = &connected.session;
    let mut telling = Telling::new(screen, json);
    // All instances, not only those that a policy is for: that none is for this one is an answer too.
    let everybody = session.list_instances(&crate::aws::InstanceQuery::default()).await?;
    let instance = find(everybody, &options.instance, &session.scope().to_string())?;
    let alone = std::slice::from_ref(&instance);
    let resolution = gather::resolution(&set, alone)?;
    let observation = gather::observations(session, alone, &resolution, &gather::run_id(), &mut telling)
        .await?
        .pop()
        .unwrap_or(Observation::NotAsked);
    let explanation = explanation(&set, instance, resolution.policy[0], observation);
    match global.format {
        Format::Text => screen.result(&explain_text(&explanation, screen.width)),
        Format::Json => screen.result(&format!("{:#}", explain_json(&explanation))),
    }
    Ok(Exit::Success)
}

fn find(everybody: Vec<Instance>, wanted: &str, scope: &str) -> Result<Instance, CliError> {
    let mut found: Vec<Instance> = everybody
        .into_iter()
        .filter(|instance| instance.id.as_str() == wanted || instance.name() == Some(wanted))
        .collect();
    if found.len() > 1 {
        let ids = found.iter().map(|instance| instance.id.to_string()).collect();
        return Err(CliError::SeveralInstances { name: wanted.to_owned(), ids });
    }
    found.pop().ok_or_else(|| CliError::NoInstance { name: wanted.to_owned(), scope: scope.to_owned() })
}

fn explanation(set: &PolicySet, instance: Instance, policy: Option<usize>, observation: Observation) -> Explanation {
    let chosen = policy.map(|index| {
        let policy = &set.policies[index];
        (Terms::of(policy), policy.origin.to_string(), policy.priority)
    });
    let outranked = set
        .policies
        .iter()
        .enumerate()
        .filter(|(index, other)| Some(*index) != policy && other.targets.matches_tags(&instance.tags))
        .filter(|(_, other)| instance.platform().is_some_and(|platform| other.targets.platforms.contains(&platform)))
        .map(|(_, other)| (other.name.to_string(), other.priority))
        .collect();
    let assessment = match (&chosen, &observation) {
        (Some((terms, ..)), Observation::Seen(observed)) => Some(assess(terms, observed)),
        _ => None,
    };
    Explanation { instance, policy: chosen, outranked, observation, assessment }
}
