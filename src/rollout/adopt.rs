//! Commands of an earlier run that are still under way when a new one begins: its controller was killed, or runs somewhere
//! else. They are followed to their end before anybody is observed, so that the plan is made from what they leave behind, and
//! how they end counts into the budgets of the new run (decision D12).

use std::collections::{BTreeSet, HashMap, HashSet};

use super::driver::reply;
use super::{Event, Fate, Reply, Tally};
use crate::aws::{AwsError, Session, UnderWay};
use crate::document::APPLY_PREFIX;
use crate::policy::PolicyName;

/// What became of commands of earlier runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Adopted(HashMap<String, Tally>);

impl Adopted {
    /// How many instances of this policy ended badly.
    pub fn spent(&self, policy: &PolicyName) -> Tally {
        self.0.get(policy.as_str()).copied().unwrap_or_default()
    }
}

/// Finds commands under way that change instances for one of `policies`, and waits until they have ended.
///
/// # Errors
///
/// When they cannot be listed or followed: then nobody knows what is being changed, and nothing should be planned.
pub async fn adopt(
    session: &Session,
    policies: &[PolicyName],
    report: &mut (dyn FnMut(Event) + Send),
) -> Result<Adopted, AwsError> {
    let ours: HashSet<&str> = policies.iter().map(PolicyName::as_str).collect();
    let found: Vec<UnderWay> = session
        .commands_under_way(APPLY_PREFIX)
        .await?
        .into_iter()
        .filter(|command| ours.contains(command.policy.as_str()))
        .collect();
    let mut adopted = Adopted::default();
    if found.is_empty() {
        return Ok(adopted);
    }
    let runs: BTreeSet<String> = found.iter().map(|command| run_of(&command.comment).to_owned()).collect();
    let instances = found.iter().map(|command| command.sent.accepted.len()).sum();
    report(Event::Adopting { instances, runs: runs.into_iter().collect() });
    let policy_of: HashMap<Option<String>, String> =
        found.iter().map(|command| (command.sent.command_id.clone(), command.policy.clone())).collect();
    let mut follower = session.follow(found.into_iter().map(|command| command.sent));
    loop {
        let finished = follower.poll_once().await?.is_finished();
        for sent in follower.take_finished() {
            let tally = adopted.0.entry(policy_of[&sent.command_id].clone()).or_default();
            for invocation in &session.invocations(&sent).await?.found {
                // Who sent no report is observed for the plan, and that decides.
                let Reply::Reported(ended) = reply(invocation) else { continue };
                if let Some(budget) = Fate::of_report(&ended).and_then(|fate| fate.budget()) {
                    tally.add(budget);
                }
            }
        }
        if finished {
            return Ok(adopted);
        }
        follower.wait().await;
    }
}

/// The id of the run in a comment that this program made.
fn run_of(comment: &str) -> &str {
    comment.strip_prefix("proxyfleet run ").and_then(|rest| rest.split(',').next()).unwrap_or("not known")
}
