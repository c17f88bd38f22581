//! Which command of a policy's rollout comes next, and when no further one does. Pure.

use std::collections::VecDeque;

use crate::catalog::{Component, Platform, Service};
use crate::plan::{Group, Member, Terms};

/// The most instances one command may name (aws-ssm-facts 1).
const COMMAND_LIMIT: usize = 50;

/// Instances that one command is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// What they run.
    pub platform: Platform,
    /// The components with something to do.
    pub components: Vec<Component>,
    /// Whether the plan shows a restart of Docker for them. Where it does not, the document must not restart it either,
    /// whatever the policy allows and the host has come to since.
    pub restarts_docker: bool,
    /// Who.
    pub instances: Vec<Member>,
}

/// A command to send now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Next {
    /// To whom.
    pub batch: Batch,
    /// How many of them the service may work on at the same time.
    pub max_concurrency: usize,
    /// After how many failures the service starts no further one of them.
    pub max_errors: usize,
}

/// The rollout of one policy. Limits hold over all of its commands, not for each of them.
#[derive(Debug)]
pub struct Queue {
    waiting: VecDeque<Batch>,
    concurrency: usize,
    max_errors: usize,
    in_flight: usize,
    errors: usize,
    halted: bool,
}

impl Queue {
    /// The commands that `groups`, all of one policy, need: as few as the service allows. Instances that need the same
    /// components on the same platform share commands, even where their old values differ.
    pub fn new<'a>(terms: &Terms, groups: impl IntoIterator<Item = &'a Group>) -> Self {
        let mut merged: Vec<Batch> = Vec::new();
        for group in groups {
            let restarts_docker = group.work.restarts.contains(&Service::Docker);
            let same = |batch: &&mut Batch| {
                (batch.platform, batch.restarts_docker) == (group.platform, restarts_docker)
                    && batch.components == group.work.components
            };
            match merged.iter_mut().find(same) {
                Some(batch) => batch.instances.extend(group.instances.iter().cloned()),
                None => merged.push(Batch {
                    platform: group.platform,
                    components: group.work.components.clone(),
                    restarts_docker,
                    instances: group.instances.clone(),
                }),
            }
        }
        let total: usize = merged.iter().map(|batch| batch.instances.len()).sum();
        let waiting = merged.into_iter().flat_map(split).collect();
        Self {
            waiting,
            concurrency: terms.rollout.max_concurrency.of(total).max(1),
            max_errors: terms.rollout.budgets.failed.of(total),
            in_flight: 0,
            errors: 0,
            halted: false,
        }
    }

    /// How many instances may be worked on at the same time.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How many may fail before no further one is started.
    pub fn max_errors(&self) -> usize {
        self.max_errors
    }

    /// How many have failed.
    pub fn errors(&self) -> usize {
        self.errors
    }

    /// The next command, if one may be sent now. It counts as sent.
    pub fn next_command(&mut self) -> Option<Next> {
        if self.halted {
            return None;
        }
        let wanted = self.waiting.front()?.instances.len().min(self.concurrency);
        if self.concurrency - self.in_flight < wanted {
            return None;
        }
        let batch = self.waiting.pop_front()?;
        self.in_flight += wanted;
        Some(Next { batch, max_concurrency: wanted, max_errors: self.max_errors.saturating_sub(self.errors) })
    }

    /// A command that [`Queue::next_command`] gave has ended with so many failures.
    pub fn finished(&mut self, command: &Next, errors: usize) {
        self.in_flight -= command.max_concurrency;
        self.errors += errors;
        if self.errors > self.max_errors {
            self.halted = true;
        }
    }

    /// Sends nothing more.
    pub fn halt(&mut self) {
        self.halted = true;
    }

    /// Whether it was halted with instances left.
    pub fn is_halted(&self) -> bool {
        self.halted && !self.waiting.is_empty()
    }

    /// Whether nothing is in flight and nothing more will be sent.
    pub fn is_done(&self) -> bool {
        self.in_flight == 0 && (self.halted || self.waiting.is_empty())
    }

    /// The instances that were never sent to.
    pub fn into_rest(self) -> Vec<Member> {
        self.waiting.into_iter().flat_map(|batch| batch.instances).collect()
    }
}

fn split(batch: Batch) -> Vec<Batch> {
    let Batch { platform, components, restarts_docker, mut instances } = batch;
    instances.sort_unstable_by(|left, right| left.id.cmp(&right.id));
    instances
        .chunks(COMMAND_LIMIT)
        .map(|chunk| Batch { platform, components: components.clone(), restarts_docker, instances: chunk.to_vec() })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::fleet::InstanceId;
    use crate::plan::Work;
    use crate::policy::{Budgets, Count, DockerRestart, PolicyName, Preflight, Rollout};

    fn terms(max_concurrency: Count, max_errors: Count) -> Terms {
        Terms {
            name: PolicyName::parse("p").expect("name"),
            values: None,
            components: vec![Component::Docker],
            docker_restart: DockerRestart::Allow,
            preflight: Preflight::Skip,
            rollout: Rollout { max_concurrency, budgets: Budgets::all(max_errors), ..Rollout::default() },
        }
    }

    fn groups(sizes: &[(u8, usize)]) -> Vec<Group> {
        let mut number = 0;
        sizes
            .iter()
            .map(|(kind, size)| {
                let instances = (0..*size)
                    .map(|_| {
                        number += 1;
                        let id = InstanceId::parse(&format!("i-{number:017}")).expect("id");
                        Member { id, name: None, fingerprint: String::new() }
                    })
                    .collect();
                let platform = Platform::ALL[usize::from(kind % 4)];
                let component = Component::ALL[usize::from(kind % 4)];
                let work = Work { components: vec![component], ..Work::default() };
                Group { policy: 0, platform, work: Arc::new(work), instances }
            })
            .collect()
    }

    #[test]
    fn equal_work_shares_commands_and_limits_are_of_the_whole_policy() {
        let mut queue =
            Queue::new(&terms(Count::Percent(10), Count::Absolute(2)), &groups(&[(0, 30), (1, 60), (0, 30)]));
        assert_eq!((queue.concurrency(), queue.max_errors()), (12, 2));
        let first = queue.next_command().expect("first command");
        assert_eq!((first.batch.instances.len(), first.max_concurrency, first.max_errors), (50, 12, 2));
        assert_eq!(queue.next_command(), None, "all of the concurrency is in use");
        queue.finished(&first, 1);
        let second = queue.next_command().expect("second command");
        assert_eq!((second.batch.instances.len(), second.max_errors), (10, 1));
        queue.finished(&second, 2);
        assert_eq!(queue.next_command(), None, "three errors are more than two");
        assert!(queue.is_halted() && queue.is_done());
        assert_eq!(queue.into_rest().len(), 60);
    }

    #[test]
    fn who_is_not_shown_to_restart_docker_never_shares_a_command_with_who_is() {
        let mut groups = groups(&[(0, 2), (0, 3)]);
        groups[1].work = Arc::new(Work { restarts: vec![Service::Docker], ..(*groups[1].work).clone() });
        let mut queue = Queue::new(&terms(Count::Percent(100), Count::Absolute(0)), &groups);
        let batches: Vec<_> = std::iter::from_fn(|| queue.next_command()).map(|next| next.batch).collect();
        let sizes: Vec<_> = batches.iter().map(|batch| (batch.restarts_docker, batch.instances.len())).collect();
        assert_eq!(sizes, [(false, 2), (true, 3)]);
    }

    proptest! {
        #[test]
        fn limits_hold_and_everybody_is_in_exactly_one_place(
            sizes in proptest::collection::vec((0u8..6, 1usize..130), 1..8),
            percent in 1u8..=100,
            max_errors in 0u32..20,
            failures in proptest::collection::vec(0usize..4, 64),
            order in proptest::collection::vec(any::<prop::sample::Index>(), 64),
        ) {
            let groups = groups(&sizes);
            let total: usize = sizes.iter().map(|(_, size)| size).sum();
            let mut queue = Queue::new(&terms(Count::Percent(percent), Count::Absolute(max_errors)), &groups);
            let (mut open, mut sent, mut errors, mut turn): (Vec<Next>, Vec<Member>, usize, usize) = (vec![], vec![], 0, 0);
            while !queue.is_done() {
                while let Some(next) = queue.next_command() {
                    prop_assert!(errors <= max_errors as usize, "a command was sent after the budget was spent");
                    prop_assert!(next.batch.instances.len() <= COMMAND_LIMIT);
                    prop_assert!(next.max_concurrency <= next.batch.instances.len() && next.max_concurrency > 0);
                    sent.extend(next.batch.instances.iter().cloned());
                    open.push(next);
                }
                prop_assert!(open.iter().map(|next| next.max_concurrency).sum::<usize>() <= queue.concurrency());
                prop_assert!(!open.is_empty(), "nothing in flight and not done: it would wait for ever");
                let next = open.remove(order[turn % 64].index(open.len()));
                let failed = failures[turn % 64].min(next.batch.instances.len());
                queue.finished(&next, failed);
                errors += failed;
                turn += 1;
            }
            sent.extend(queue.into_rest());
            let mut ids: Vec<_> = sent.iter().map(|member| member.id.clone()).collect();
            ids.sort_unstable();
            ids.dedup();
            prop_assert_eq!((ids.len(), sent.len()), (total, total));
        }
    }
}
