//! The machine against a modelled fleet: single stories, and thousands of random schedules in which nothing may happen that
//! must not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::catalog::{Component, Platform};
use crate::fleet::ApplyReport;
use crate::plan::Work;
use crate::policy::{Budgets, Count, DockerRestart, Gate, PolicyName, Preflight, Rollout};

fn id(number: usize) -> InstanceId {
    InstanceId::parse(&format!("i-{number:017}")).expect("id")
}

fn terms(rollout: Rollout) -> Terms {
    Terms {
        name: PolicyName::parse("p").expect("name"),
        values: None,
        components: vec![Component::Docker],
        docker_restart: DockerRestart::Allow,
        preflight: Preflight::Skip,
        rollout,
    }
}

/// Groups of instances with these waves, one group a platform.
fn groups(waves: &[(u8, usize)]) -> Vec<Group> {
    let mut by_platform: BTreeMap<u8, Vec<Member>> = BTreeMap::new();
    for (number, (platform, wave)) in waves.iter().enumerate() {
        let member = Member { id: id(number), name: None, fingerprint: String::new(), wave: *wave };
        by_platform.entry(platform % 4).or_default().push(member);
    }
    let group = |(platform, instances): (u8, Vec<Member>)| Group {
        policy: 0,
        platform: Platform::ALL[usize::from(platform)],
        work: Arc::new(Work { components: vec![Component::Docker], ..Work::default() }),
        instances,
    };
    by_platform.into_iter().map(group).collect()
}

/// What a host of the model does when a command reaches it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Good,
    /// Works, but no report comes back.
    GoodAndSilent,
    /// Is not reached; no report.
    Deaf,
    Refuses,
    RollsBack,
    Fails,
    /// Works, and is then out of reach.
    Dies,
    /// Works, and then somebody else changes it back.
    ChangesAgain,
    /// Works, and then loses its backups.
    Forgets,
}

const MANNERS: [Manner; 9] = [
    Manner::Good,
    Manner::GoodAndSilent,
    Manner::Deaf,
    Manner::Refuses,
    Manner::RollsBack,
    Manner::Fails,
    Manner::Dies,
    Manner::ChangesAgain,
    Manner::Forgets,
];

fn report(result: ApplyResult) -> Reply {
    Reply::Reported(ApplyReport {
        platform: Platform::AmazonLinux2,
        result,
        written: Vec::new(),
        removed: Vec::new(),
        restarted: Vec::new(),
        pending: Vec::new(),
        details: Vec::new(),
    })
}

/// A fleet that holds the new settings on some hosts, and knows what was sent to each.
#[derive(Clone, Debug, Default)]
struct Model {
    manners: BTreeMap<InstanceId, Manner>,
    changed: BTreeSet<InstanceId>,
    dead: BTreeSet<InstanceId>,
}

impl Model {
    fn new(manners: &[Manner]) -> Self {
        let manners = manners.iter().enumerate().map(|(number, manner)| (id(number), *manner)).collect();
        Self { manners, ..Self::default() }
    }

    fn run(&mut self, purpose: Purpose, instance: &InstanceId) -> Reply {
        let silent = || Reply::Silent { why: "delivery timed out".to_owned(), hope: Hope::Retry };
        if self.dead.contains(instance) {
            return silent();
        }
        if purpose == Purpose::PutBack {
            return match self.manners[instance] {
                Manner::Fails => report(ApplyResult::Failed("rollback-docker".to_owned())),
                Manner::Forgets => {
                    let mut reply = report(ApplyResult::Unchanged);
                    if let Reply::Reported(report) = &mut reply {
                        report.details.push("run r changed nothing here".to_owned());
                    }
                    reply
                }
                _ if self.changed.remove(instance) => report(ApplyResult::Changed),
                _ => report(ApplyResult::Unchanged),
            };
        }
        match self.manners[instance] {
            Manner::Good | Manner::Forgets if self.changed.contains(instance) => report(ApplyResult::Unchanged),
            Manner::Good | Manner::Forgets => {
                self.changed.insert(instance.clone());
                report(ApplyResult::Changed)
            }
            Manner::GoodAndSilent => {
                self.changed.insert(instance.clone());
                silent()
            }
            Manner::Deaf => silent(),
            Manner::Refuses => report(ApplyResult::Refused("preflight-unreachable".to_owned())),
            Manner::RollsBack => report(ApplyResult::RolledBack("verify".to_owned())),
            Manner::Fails => report(ApplyResult::Failed("rollback-docker".to_owned())),
            Manner::Dies => {
                self.changed.insert(instance.clone());
                self.dead.insert(instance.clone());
                silent()
            }
            Manner::ChangesAgain => report(ApplyResult::Changed),
        }
    }

    fn look(&self, instance: &InstanceId) -> Look {
        if self.dead.contains(instance) {
            Look::Silent("the command ended as undeliverable".to_owned())
        } else if self.changed.contains(instance) {
            Look::Matches { pending: Vec::new() }
        } else {
            Look::Differs { settings: 2 }
        }
    }
}

/// One run of the machine against the model, one thing after another in an order that `choices` decides. Everything that must
/// hold at every step is asserted here.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Play {
    machine: Machine,
    model: Model,
    now: Duration,
    waves: BTreeMap<InstanceId, usize>,
    flying: BTreeMap<CommandNumber, Command>,
    observe: Option<Vec<InstanceId>>,
    gate: bool,
    wake: Option<Duration>,
    notes: Vec<Note>,
    sent: BTreeMap<(InstanceId, Purpose), usize>,
    looked: BTreeMap<InstanceId, usize>,
    halted: bool,
    failed: bool,
    over: bool,
}

impl Play {
    fn new(rollout: Rollout, waves: &[(u8, usize)], manners: &[Manner]) -> Self {
        let machine = Machine::new(&terms(rollout), &groups(waves), Tally::default());
        let waves = waves.iter().enumerate().map(|(number, (_, wave))| (id(number), *wave)).collect();
        Self {
            machine,
            model: Model::new(manners),
            now: Duration::ZERO,
            waves,
            flying: BTreeMap::new(),
            observe: None,
            gate: false,
            wake: None,
            notes: Vec::new(),
            sent: BTreeMap::new(),
            looked: BTreeMap::new(),
            halted: false,
            failed: false,
            over: false,
        }
    }

    fn tell(&mut self, input: Input) {
        assert!(!self.over, "nothing is told after the end");
        for action in self.machine.step(self.now, input) {
            self.act(action);
        }
        let used: usize = self.flying.values().map(|command| command.max_concurrency).sum();
        assert!(used <= self.machine.concurrency(), "more at once than the policy allows");
    }

    fn act(&mut self, action: Action) {
        assert!(!self.over, "nothing is done after the end");
        match action {
            Action::Send(command) => self.take(command),
            Action::Observe(ids) => {
                assert!(self.observe.is_none(), "one observation at a time");
                self.observe = Some(ids);
            }
            Action::AskGate { .. } => self.gate = true,
            Action::WakeAt(at) => self.wake = Some(at),
            Action::Note(note) => {
                if let Note::Halted { .. } = note {
                    self.failed = true;
                }
                if let Note::RollbackStarted { .. } = note {
                    self.failed = false;
                }
                self.notes.push(note);
            }
            Action::Finish => self.over = true,
        }
    }

    fn take(&mut self, command: Command) {
        assert!(!self.halted, "nothing is sent after somebody halted it");
        assert!(!self.failed, "nothing is sent after a budget was exceeded");
        assert!(!command.instances.is_empty() && command.instances.len() <= COMMAND_LIMIT);
        assert!(command.max_concurrency >= 1 && command.max_concurrency <= command.instances.len());
        for instance in &command.instances {
            let elsewhere = self.flying.values().any(|flying| flying.instances.contains(instance));
            assert!(!elsewhere, "{instance} is in two commands at once");
            let times = self.sent.entry((instance.clone(), command.purpose)).or_default();
            let looked = self.looked.get(instance).copied().unwrap_or_default();
            assert!(*times == 0 || looked >= *times, "{instance} is sent to again without a look");
            *times += 1;
            assert!(*times <= usize::from(MOST_TRIES), "{instance} is sent to too often");
            if command.purpose == Purpose::Apply {
                let wave = self.waves[instance];
                let earlier = self.waves.iter().filter(|(_, other)| **other < wave);
                for (other, _) in earlier {
                    assert!(self.looked.contains_key(other), "a wave before that of {instance} was not looked at");
                }
            }
        }
        self.flying.insert(command.number, command);
    }

    /// Does one of the things that may happen next; `choice` decides which.
    fn happen(&mut self, choice: usize) {
        let others = usize::from(self.observe.is_some() || self.gate || self.wake.is_some());
        let possible = self.flying.len() + others;
        assert!(possible > 0, "nothing is under way, and it is not over");
        if let Some(number) = self.flying.keys().nth(choice % possible).copied() {
            let command = self.flying.remove(&number).expect("it is there");
            // What the service stops to hand out comes back as such.
            let mut errors = 0;
            let mut replies = Vec::new();
            for instance in &command.instances {
                if errors > command.max_errors {
                    replies.push((instance.clone(), Reply::NotHandedOut));
                    // It never was in that command.
                    *self.sent.entry((instance.clone(), command.purpose)).or_default() -= 1;
                    continue;
                }
                let reply = self.model.run(command.purpose, instance);
                let bad = !matches!(&reply, Reply::Reported(report)
                    if matches!(report.result, ApplyResult::Changed | ApplyResult::Unchanged));
                errors += usize::from(bad);
                replies.push((instance.clone(), reply));
            }
            return self.tell(Input::Ended { command: number, replies });
        }
        if let Some(ids) = self.observe.take() {
            let looks = ids.iter().map(|instance| (instance.clone(), self.model.look(instance))).collect();
            for instance in ids {
                *self.looked.entry(instance).or_default() += 1;
            }
            return self.tell(Input::Observed { looks });
        }
        if std::mem::take(&mut self.gate) {
            let verdict = match choice % 8 {
                0 => GateVerdict::Fail("no".to_owned()),
                1 | 2 => GateVerdict::Hold("later".to_owned()),
                _ => GateVerdict::Pass,
            };
            return self.tell(Input::Gate(verdict));
        }
        if let Some(at) = self.wake.take() {
            self.now = self.now.max(at);
            self.tell(Input::Tick);
        }
    }

    fn run(&mut self, choices: &[usize], halt_at: Option<usize>) {
        self.tell(Input::Begin);
        for turn in 0.. {
            if self.over {
                return;
            }
            assert!(turn < 20_000, "it does not come to an end");
            if halt_at == Some(turn) {
                self.tell(Input::Halt { reason: "somebody said so".to_owned() });
                self.halted = true;
                if self.over {
                    return;
                }
            }
            self.happen(choices[turn % choices.len()]);
        }
    }

    fn fates(self) -> BTreeMap<InstanceId, Fate> {
        self.machine.into_fates().into_iter().map(|(id, (_, fate))| (id, fate)).collect()
    }
}

fn play(rollout: Rollout, waves: &[(u8, usize)], manners: &[Manner]) -> Play {
    let mut play = Play::new(rollout, waves, manners);
    play.run(&[0], None);
    play
}

fn words(fates: &BTreeMap<InstanceId, Fate>) -> Vec<&'static str> {
    fates.values().map(Fate::word).collect()
}

fn all_at_once() -> Rollout {
    Rollout { max_concurrency: Count::Percent(100), ..Rollout::default() }
}

#[test]
fn nothing_to_do_is_over_at_once() {
    let mut play = Play::new(Rollout::default(), &[], &[]);
    play.tell(Input::Begin);
    assert!(play.over && play.notes.is_empty());
}

#[test]
fn a_bad_first_wave_leaves_everybody_else_alone() {
    let played = play(
        all_at_once(),
        &[(0, 0), (1, 0), (0, 1), (0, 1)],
        &[Manner::Good, Manner::Refuses, Manner::Good, Manner::Good],
    );
    assert_eq!(played.machine.halted(), Some("1 failed, and the budget `failed` of the policy is 0"));
    assert_eq!(words(&played.fates()), ["converged", "refused", "not-started", "not-started"]);
}

#[test]
fn a_lost_reply_is_looked_at_before_anything_is_spent() {
    let manners = [Manner::GoodAndSilent, Manner::Good];
    let played = play(all_at_once(), &[(0, 0), (0, 1)], &manners);
    assert_eq!(played.machine.errors(), 0);
    assert_eq!(words(&played.fates()), ["converged", "converged"]);
}

#[test]
fn who_was_not_reached_is_tried_once_more_and_then_counts() {
    let played = play(all_at_once(), &[(0, 0), (0, 1)], &[Manner::Deaf, Manner::Good]);
    assert_eq!(played.sent[&(id(0), Purpose::Apply)], 2);
    assert_eq!(words(&played.fates()), ["failed", "not-started"]);
}

#[test]
fn every_budget_has_its_own_room() {
    let budgets = Budgets { rolled_back: Count::Absolute(1), ..Budgets::all(Count::Absolute(0)) };
    let rollout = Rollout { budgets, ..all_at_once() };
    let played = play(rollout, &[(0, 0), (0, 1)], &[Manner::RollsBack, Manner::Good]);
    assert_eq!(played.machine.halted(), None);
    assert_eq!(words(&played.fates()), ["rolled-back", "converged"]);
}

#[test]
fn what_does_not_stay_so_through_the_soak_fails() {
    let rollout = Rollout { soak: Duration::from_mins(1), ..all_at_once() };
    let mut play = Play::new(rollout, &[(0, 0), (0, 1)], &[Manner::Good, Manner::Good]);
    play.tell(Input::Begin);
    play.happen(0);
    play.happen(0);
    assert!(play.wake == Some(Duration::from_mins(1)) && play.flying.is_empty(), "the wave soaks");
    play.model.changed.remove(&id(0));
    play.run_on();
    assert_eq!(words(&play.fates()), ["failed", "not-started"]);
}

#[test]
fn a_rollout_that_failed_puts_back_what_it_changed() {
    let rollout = Rollout { on_failure: OnFailure::Rollback, ..all_at_once() };
    let waves = [(0, 0), (0, 1), (0, 1), (0, 2)];
    let played = play(rollout, &waves, &[Manner::Good, Manner::Good, Manner::RollsBack, Manner::Good]);
    assert!(played.model.changed.is_empty(), "nobody has the new settings");
    assert!(played.machine.halted().is_some_and(|why| why.contains("rolled_back")));
    assert_eq!(words(&played.fates()), ["put-back", "put-back", "rolled-back", "not-started"]);
}

#[test]
fn a_host_that_lost_its_backups_is_not_believed() {
    let rollout = Rollout { on_failure: OnFailure::Rollback, ..all_at_once() };
    let played = play(rollout, &[(0, 0), (0, 1)], &[Manner::Forgets, Manner::RollsBack]);
    let fates = played.fates();
    assert_eq!(words(&fates), ["failed", "rolled-back"]);
    assert!(fates[&id(0)].why().is_some_and(|why| why.contains("changed and not put back")));
}

#[test]
fn who_stops_a_run_does_not_take_it_back() {
    let rollout = Rollout { on_failure: OnFailure::Rollback, ..all_at_once() };
    let mut play = Play::new(rollout, &[(0, 0), (0, 1)], &[Manner::Good, Manner::Good]);
    play.run(&[0], Some(1));
    assert_eq!(words(&play.fates()), ["converged", "not-started"]);
}

#[test]
fn bad_ends_of_an_earlier_run_count() {
    let mut spent = Tally::default();
    spent.add(BudgetKind::Unreachable);
    let mut machine = Machine::new(&terms(all_at_once()), &groups(&[(0, 0)]), spent);
    let actions = machine.step(Duration::ZERO, Input::Begin);
    assert!(!actions.iter().any(|action| matches!(action, Action::Send(_))));
    assert_eq!(machine.halted(), Some("1 unreachable, and the budget `unreachable` of the policy is 0"));
}

#[test]
fn a_command_that_was_not_sent_leaves_its_instances_alone() {
    let mut machine = Machine::new(&terms(all_at_once()), &groups(&[(0, 0), (0, 1)]), Tally::default());
    machine.step(Duration::ZERO, Input::Begin);
    let why = "policy p halted: no".to_owned();
    machine.step(Duration::ZERO, Input::NotSent { command: 0, why: why.clone(), doubtful: false });
    let actions = machine.step(Duration::ZERO, Input::Observed { looks: BTreeMap::new() });
    assert_eq!(actions, [Action::Finish]);
    assert!(machine.into_fates().values().all(|(_, fate)| *fate == Fate::NotStarted(why.clone())));
}

impl Play {
    /// Goes on to the end.
    fn run_on(&mut self) {
        while !self.over {
            self.happen(0);
        }
    }
}

fn count() -> impl Strategy<Value = Count> {
    prop_oneof![(0u32..4).prop_map(Count::Absolute), (0u8..=100).prop_map(Count::Percent)]
}

prop_compose! {
    fn rollouts()(
        concurrency in 1u8..=100,
        failed in count(),
        rolled_back in count(),
        unreachable in count(),
        unknown in count(),
        soak in 0u64..3,
        gate in any::<bool>(),
        rollback in any::<bool>(),
    ) -> Rollout {
        let gate = gate.then(|| Gate {
            command: vec!["gate".to_owned()],
            timeout: Gate::DEFAULT_TIMEOUT,
            hold: Duration::from_secs(30),
        });
        Rollout {
            max_concurrency: Count::Percent(concurrency),
            budgets: Budgets { failed, rolled_back, unreachable, unknown },
            soak: Duration::from_secs(soak),
            gate,
            on_failure: if rollback { OnFailure::Rollback } else { OnFailure::Halt },
            ..Rollout::default()
        }
    }
}

/// Mostly good hosts, as fleets are.
fn manner() -> impl Strategy<Value = Manner> {
    prop_oneof![6 => Just(Manner::Good), 1 => proptest::sample::select(&MANNERS[..])]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_nothing_runs_away(
        rollout in rollouts(),
        hosts in proptest::collection::vec(((0u8..4, 0usize..5), manner()), 0..90),
        choices in proptest::collection::vec(0usize..64, 1..64),
        halt_at in proptest::option::of(0usize..20),
    ) {
        let (waves, manners): (Vec<_>, Vec<_>) = hosts.into_iter().unzip();
        let on_failure = rollout.on_failure;
        let mut play = Play::new(rollout, &waves, &manners);
        play.run(&choices, halt_at);
        let (halted, by_somebody) = (play.machine.halted().is_some(), play.halted);
        let model = play.model.clone();
        let rolled_back = play.notes.contains(&Note::RollbackEnded);
        let fates = play.fates();
        prop_assert_eq!(fates.len(), waves.len(), "everybody has exactly one fate");
        for (instance, fate) in &fates {
            match fate {
                Fate::Converged { .. } => prop_assert!(model.changed.contains(instance), "{} converged", instance),
                Fate::NotStarted(_) => {
                    prop_assert!(halted, "nobody is left out of a rollout that went on to its end");
                    prop_assert!(!model.changed.contains(instance), "{} was not started", instance);
                }
                Fate::PutBack => prop_assert!(rolled_back && !model.changed.contains(instance), "{}", instance),
                _ => {}
            }
        }
        if rolled_back && !by_somebody && on_failure == OnFailure::Rollback {
            let kept: Vec<_> = fates.iter().filter(|(_, fate)| matches!(fate, Fate::Converged { .. })).collect();
            prop_assert!(kept.is_empty(), "what was changed is put back, or said not to be: {:?}", kept);
        }
    }

    /// A controller that dies at any moment and a new one that plans again end where one that lives ends.
    #[test]
    fn a_run_that_is_killed_and_started_again_ends_in_the_same_place(
        hosts in proptest::collection::vec((0u8..4, 0usize..5), 1..80),
        silent in proptest::collection::vec(any::<bool>(), 100),
        choices in proptest::collection::vec(0usize..64, 1..64),
        kill_at in 0usize..30,
    ) {
        let manner = |silent: &bool| if *silent { Manner::GoodAndSilent } else { Manner::Good };
        let manners: Vec<Manner> = silent.iter().take(hosts.len()).map(manner).collect();
        let mut first = Play::new(Rollout::default(), &hosts, &manners);
        first.tell(Input::Begin);
        for turn in 0..kill_at {
            if first.over {
                break;
            }
            first.happen(choices[turn % choices.len()]);
        }
        // Commands that are under way come to their end without anybody who watches.
        let mut model = first.model;
        for command in first.flying.values() {
            for instance in &command.instances {
                model.run(command.purpose, instance);
            }
        }
        let rest: Vec<usize> = (0..hosts.len()).filter(|number| !model.changed.contains(&id(*number))).collect();
        let kept: BTreeSet<InstanceId> = rest.iter().map(|number| id(*number)).collect();
        let mut groups = groups(&hosts);
        for group in &mut groups {
            group.instances.retain(|member| kept.contains(&member.id));
        }
        let mut second = Play::new(Rollout::default(), &hosts, &manners);
        second.waves.retain(|instance, _| kept.contains(instance));
        second.machine = Machine::new(&terms(Rollout::default()), &groups, Tally::default());
        second.model = model;
        second.run(&choices, None);
        prop_assert_eq!(second.model.changed.len(), hosts.len(), "everybody has the new settings");
        let converged = second.fates().into_values().filter(|fate| *fate == Fate::CONVERGED).count();
        prop_assert_eq!(converged, kept.len());
    }
}
