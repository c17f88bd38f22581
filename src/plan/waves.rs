//! Who of a rollout is changed when: waves that are spread over platforms, clusters, availability zones and Auto Scaling
//! groups. Pure.
//!
//! A wave is filled with instances of every place in the proportion in which they are there, and takes no more of one place
//! than the policy allows to be unavailable. Where that keeps a wave from reaching its end, further waves follow.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use crate::catalog::Platform;
use crate::fleet::{Instance, InstanceId};
use crate::policy::{Count, Rollout};

/// The tag that EC2 Auto Scaling puts on the instances of a group.
const AUTO_SCALING_TAG: &str = "aws:autoscaling:groupName";

/// Something that should not lose many of its instances at once.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Place {
    /// An ECS cluster, by the tag that the policy names.
    Cluster(String),
    /// An availability zone.
    Zone(String),
    /// An Auto Scaling group.
    AutoScalingGroup(String),
}

/// The places that an instance belongs to.
pub(super) fn places(instance: &Instance, rollout: &Rollout) -> Vec<Place> {
    let tag = |key: &str| instance.tags.get(key).filter(|value| !value.is_empty()).cloned();
    let cluster = tag(&rollout.spread_by).map(Place::Cluster);
    let zone = instance.zone.clone().map(Place::Zone);
    cluster.into_iter().chain(zone).chain(tag(AUTO_SCALING_TAG).map(Place::AutoScalingGroup)).collect()
}

/// One instance that is to be changed.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    /// Who.
    pub(super) id: InstanceId,
    /// What matters for the choice of its wave.
    pub(super) kind: CandidateKind,
}

/// What matters of an instance for the choice of its wave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct CandidateKind {
    /// What it runs.
    pub(super) platform: Platform,
    /// Whether its Docker restarts, which stops every task there.
    pub(super) restarts_docker: bool,
    /// Where it is.
    pub(super) places: Vec<Place>,
}

/// Gives every candidate its wave, from 0. `sizes` says how many instances that can be worked on each place has.
pub(super) fn assign(
    rollout: &Rollout,
    sizes: &HashMap<Place, usize>,
    candidates: impl IntoIterator<Item = Candidate>,
) -> HashMap<InstanceId, usize> {
    let mut line = Line::new(candidates);
    let total = line.left;
    let platforms: BTreeSet<Platform> = line.kinds.iter().map(|(kind, _)| kind.platform).collect();
    let mut waves = HashMap::with_capacity(total);
    let mut wave = 0;
    for end in rollout.waves.ends() {
        let end = end.of(total).max(1);
        while waves.len() < end && line.left > 0 {
            let mut room = Room::new(rollout, sizes);
            let mut taken = Vec::new();
            if wave == 0 {
                taken.extend(platforms.iter().filter_map(|platform| line.take_of(*platform, &mut room)));
            }
            let open = end.saturating_sub(waves.len() + taken.len());
            taken.extend(line.take(open, &mut room));
            waves.extend(taken.into_iter().map(|id| (id, wave)));
            wave += 1;
        }
    }
    waves
}

/// How many more instances of each place one wave may take.
struct Room<'a> {
    rollout: &'a Rollout,
    sizes: &'a HashMap<Place, usize>,
    taken: HashMap<(Place, bool), usize>,
}

impl<'a> Room<'a> {
    fn new(rollout: &'a Rollout, sizes: &'a HashMap<Place, usize>) -> Self {
        Self { rollout, sizes, taken: HashMap::new() }
    }

    /// Whether one more instance of this kind may be taken.
    fn has(&self, kind: &CandidateKind) -> bool {
        kind.places.iter().all(|place| {
            let fits = |docker: bool, most: Count| {
                let size = self.sizes.get(place).copied().unwrap_or_default();
                self.taken.get(&(place.clone(), docker)).copied().unwrap_or_default() < most.of(size).max(1)
            };
            fits(false, self.rollout.max_unavailable)
                && (!kind.restarts_docker || fits(true, self.rollout.docker_max_unavailable))
        })
    }

    fn fill(&mut self, kind: &CandidateKind) {
        for place in &kind.places {
            *self.taken.entry((place.clone(), false)).or_default() += 1;
            if kind.restarts_docker {
                *self.taken.entry((place.clone(), true)).or_default() += 1;
            }
        }
    }
}

/// Those who have no wave yet: by kind, because that is all that decides whether there is room for one.
struct Line {
    kinds: Vec<(CandidateKind, Queue)>,
    left: usize,
}

/// The instances of one kind. How far it is served is compared as a fraction of two whole numbers.
struct Queue {
    waiting: VecDeque<InstanceId>,
    size: u64,
}

impl Queue {
    /// How far through this queue its next member is, in millionths; kinds that are furthest behind come first.
    fn progress(&self) -> u64 {
        let served = self.size - self.waiting.len() as u64;
        (2 * served + 1) * 500_000 / self.size.max(1)
    }
}

impl Line {
    fn new(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        let mut by_kind: BTreeMap<CandidateKind, Vec<InstanceId>> = BTreeMap::new();
        for candidate in candidates {
            by_kind.entry(candidate.kind).or_default().push(candidate.id);
        }
        let left = by_kind.values().map(Vec::len).sum();
        let kinds = by_kind.into_iter().map(|(kind, mut ids)| {
            ids.sort_unstable();
            let size = ids.len() as u64;
            (kind, Queue { waiting: ids.into(), size })
        });
        Self { kinds: kinds.collect(), left }
    }

    /// Takes one instance with this platform, where one fits.
    fn take_of(&mut self, platform: Platform, room: &mut Room<'_>) -> Option<InstanceId> {
        let fitting = |(kind, queue): &&mut (CandidateKind, Queue)| {
            kind.platform == platform && !queue.waiting.is_empty() && room.has(kind)
        };
        let (kind, queue) = self.kinds.iter_mut().filter(fitting).min_by_key(|(_, queue)| queue.progress())?;
        let id = queue.waiting.pop_front()?;
        self.left -= 1;
        room.fill(kind);
        Some(id)
    }

    /// Takes up to `most` instances, of each kind in proportion, as far as there is room.
    fn take(&mut self, most: usize, room: &mut Room<'_>) -> Vec<InstanceId> {
        let mut taken = Vec::new();
        let open = self.kinds.iter().enumerate().filter(|(_, (_, queue))| !queue.waiting.is_empty());
        let mut next: BinaryHeap<_> = open.map(|(index, (_, queue))| Reverse((queue.progress(), index))).collect();
        while taken.len() < most {
            let Some(Reverse((_, index))) = next.pop() else { break };
            let (kind, queue) = &mut self.kinds[index];
            // A place that is full stays full in this wave.
            if !room.has(kind) {
                continue;
            }
            let Some(id) = queue.waiting.pop_front() else { continue };
            self.left -= 1;
            room.fill(kind);
            taken.push(id);
            if !queue.waiting.is_empty() {
                next.push(Reverse((queue.progress(), index)));
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::policy::Waves;

    fn id(number: usize) -> InstanceId {
        InstanceId::parse(&format!("i-{number:017}")).expect("id")
    }

    fn candidate(number: usize, platform: u8, docker: bool, zone: u8, group: u8) -> Candidate {
        let places = vec![Place::Zone(zone.to_string()), Place::AutoScalingGroup(group.to_string())];
        let platform = Platform::ALL[usize::from(platform) % Platform::ALL.len()];
        Candidate { id: id(number), kind: CandidateKind { platform, restarts_docker: docker, places } }
    }

    fn sizes(candidates: &[Candidate]) -> HashMap<Place, usize> {
        let mut sizes = HashMap::new();
        for place in candidates.iter().flat_map(|candidate| &candidate.kind.places) {
            *sizes.entry(place.clone()).or_default() += 1;
        }
        sizes
    }

    fn rollout(ends: &[Count], max_unavailable: Count, docker: Count) -> Rollout {
        let waves = Waves::new(ends.to_vec()).expect("waves");
        Rollout { waves, max_unavailable, docker_max_unavailable: docker, ..Rollout::default() }
    }

    fn counts(waves: &HashMap<InstanceId, usize>) -> Vec<usize> {
        let mut counts = vec![0; waves.values().max().map_or(0, |last| last + 1)];
        for wave in waves.values() {
            counts[*wave] += 1;
        }
        counts
    }

    #[test]
    fn waves_end_where_the_policy_says_when_nothing_is_in_the_way() {
        let everywhere = Count::Percent(100);
        let candidates: Vec<_> = (0..300).map(|number| candidate(number, 1, false, 0, 0)).collect();
        let rollout = rollout(&[Count::Absolute(1), Count::Percent(10), Waves::EVERYBODY], everywhere, everywhere);
        assert_eq!(counts(&assign(&rollout, &sizes(&candidates), candidates.clone())), [1, 29, 270]);
    }

    #[test]
    fn the_first_wave_has_every_platform_and_no_wave_empties_a_place() {
        let candidates: Vec<_> = (0..100)
            .zip([0, 1, 2, 3].into_iter().cycle())
            .map(|(number, platform)| candidate(number, platform, false, 0, 0))
            .collect();
        let rollout = rollout(&[Count::Absolute(1), Waves::EVERYBODY], Count::Percent(25), Count::Percent(25));
        let waves = assign(&rollout, &sizes(&candidates), candidates.clone());
        assert_eq!(counts(&waves), [4, 25, 25, 25, 21]);
        let first: BTreeSet<_> =
            candidates.iter().filter(|one| waves[&one.id] == 0).map(|one| one.kind.platform).collect();
        assert_eq!(first.len(), 4);
    }

    #[test]
    fn a_place_of_one_is_still_worked_on() {
        let candidates = vec![candidate(0, 0, true, 0, 0), candidate(1, 0, true, 1, 1)];
        let rollout = rollout(&[Waves::EVERYBODY], Count::Percent(1), Count::Percent(1));
        assert_eq!(counts(&assign(&rollout, &sizes(&candidates), candidates.clone())), [2]);
    }

    proptest! {
        #[test]
        fn everybody_has_one_wave_and_no_place_loses_too_many(
            kinds in proptest::collection::vec((0u8..4, any::<bool>(), 0u8..3, 0u8..6), 0..200),
            share in 1u8..=100,
            docker in 1u8..=100,
            absolute in proptest::option::of(1u32..20),
            first in 1u32..10,
        ) {
            let candidates: Vec<_> = kinds
                .iter()
                .enumerate()
                .map(|(number, (platform, docker, zone, group))| candidate(number, *platform, *docker, *zone, *group))
                .collect();
            let (most, docker) = (absolute.map_or(Count::Percent(share), Count::Absolute), Count::Percent(docker));
            let rollout = rollout(&[Count::Absolute(first), Count::Percent(50), Waves::EVERYBODY], most, docker);
            let sizes = sizes(&candidates);
            let waves = assign(&rollout, &sizes, candidates.clone());
            prop_assert_eq!(waves.len(), candidates.len());
            prop_assert!(counts(&waves).iter().all(|count| *count > 0), "no wave is empty");
            let mut taken: HashMap<(usize, &Place, bool), usize> = HashMap::new();
            for candidate in &candidates {
                for place in &candidate.kind.places {
                    *taken.entry((waves[&candidate.id], place, false)).or_default() += 1;
                    if candidate.kind.restarts_docker {
                        *taken.entry((waves[&candidate.id], place, true)).or_default() += 1;
                    }
                }
            }
            for ((_, place, is_docker), taken) in taken {
                let most = if is_docker { docker } else { most };
                prop_assert!(taken <= most.of(sizes[place]).max(1), "{:?}", place);
            }
            let again = assign(&rollout, &sizes, candidates.into_iter().rev());
            prop_assert_eq!(again, waves, "the order in which they are named does not matter");
        }
    }
}
