//! The rollout of one policy as a machine: it is told what happened, and answers what to do. Pure.
//!
//! [`Machine::step`] is all of it. It knows no calls and no clock: the driver turns an [`Action`] into calls and what came of
//! them into an [`Input`], and says with each what time it is. Each instance goes through
//!
//! ```text
//! waiting -> in flight -> claimed (reported success) -> settled, when the end of its wave is observed
//!                     \-> lost (no report)           -> looked at -> claimed, settled, or waiting once more
//!                     \-> settled (refused, rolled back, failed)
//! ```
//!
//! and a rollout through waves: change, look, soak, look again, ask the gate. Nothing of a later wave is sent before that.

mod messages;

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

pub use messages::{Action, Command, CommandKind, CommandNumber, GateVerdict, Input, Moment};

use super::budget::Tally;
use super::event::{Note, Purpose};
use super::outcome::{BudgetKind, Fate, Hope, Look, Reply, knows_of_nothing, settings_differ};
use crate::catalog::Service;
use crate::fleet::{ApplyResult, InstanceId};
use crate::plan::{Group, Member, Terms};
use crate::policy::OnFailure;

/// The most instances one command may name (aws-ssm-facts 1).
const COMMAND_LIMIT: usize = 50;
/// How often an instance is sent a command whose reply gets lost, an observation in between each time.
const MOST_TRIES: u8 = 2;
/// How long after a gate that holds it is asked again.
const HOLD_INTERVAL: Duration = Duration::from_secs(10);

/// Why a rollout does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HaltKind {
    /// What it does harms: `on_failure` says what happens.
    Failure,
    /// Somebody wants it, or proxyfleet itself cannot go on: what was changed stays.
    Stop,
}

/// The rollout of one policy.
#[derive(Debug)]
pub struct Machine {
    concurrency: usize,
    soak: Duration,
    /// How long the gate may hold; none where the policy has no gate.
    hold: Option<Duration>,
    on_failure: OnFailure,
    allowed: Tally,
    spent: Tally,
    kinds: Vec<CommandKind>,
    tracks: BTreeMap<InstanceId, Track>,
    waves: Vec<Vec<InstanceId>>,
    wave: usize,
    phase: Phase,
    purpose: Purpose,
    /// Those of the open wave who wait for a command, by kind.
    waiting: Vec<VecDeque<InstanceId>>,
    flights: BTreeMap<CommandNumber, Flight>,
    lost: usize,
    next_command: CommandNumber,
    looking: Option<Looking>,
    halted: Option<(HaltKind, String)>,
    /// Why it ended early, also while what was changed is put back.
    ended_by: Option<String>,
    actions: Vec<Action>,
}

/// One instance on its way.
#[derive(Debug)]
struct Track {
    kind: usize,
    wave: usize,
    state: State,
    tries: u8,
    /// Whether something of this rollout may be on it.
    touched: bool,
    /// Whether it said that something is.
    changed: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    InFlight,
    /// Why there is no report, and what may follow.
    Lost(String, Hope),
    Claimed,
    Settled(Fate),
}

/// A command that has not ended.
#[derive(Debug)]
struct Flight {
    instances: Vec<InstanceId>,
    slots: usize,
}

/// What an observation that is under way is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looking {
    /// Finding out about replies that got lost.
    Lost,
    /// Proving that the open wave is what it should be.
    Proof,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was done yet.
    New,
    /// Commands are sent, and looked after.
    Changing,
    /// The wave is observed. Whether it has soaked.
    Proving { soaked: bool },
    /// The wave is left alone until then.
    Soaking { until: Moment },
    /// The gate was asked; since when it holds.
    Asking { since: Moment },
    /// The gate holds; since when, and when it is asked again.
    Holding { since: Moment, until: Moment },
    /// It is over.
    Over,
}

impl Machine {
    /// A rollout of `groups`, all of one policy. `spent` are bad ends of commands of an earlier run that were still under way
    /// when this one began.
    pub fn new<'a>(terms: &Terms, groups: impl IntoIterator<Item = &'a Group>, spent: Tally) -> Self {
        let mut kinds: Vec<CommandKind> = Vec::new();
        let mut tracks = BTreeMap::new();
        let mut waves: BTreeMap<usize, Vec<InstanceId>> = BTreeMap::new();
        for group in groups {
            let kind = CommandKind {
                platform: group.platform,
                components: group.work.components.clone(),
                restarts_docker: group.work.restarts.contains(&Service::Docker),
            };
            let known = kinds.iter().position(|known| *known == kind);
            let kind = known.unwrap_or_else(|| {
                kinds.push(kind);
                kinds.len() - 1
            });
            for Member { id, wave, .. } in &group.instances {
                waves.entry(*wave).or_default().push(id.clone());
                let track =
                    Track { kind, wave: *wave, state: State::Waiting, tries: 0, touched: false, changed: false };
                tracks.insert(id.clone(), track);
            }
        }
        for wave in waves.values_mut() {
            wave.sort_unstable();
        }
        let total = tracks.len();
        Self {
            concurrency: terms.rollout.max_concurrency.of(total).max(1),
            soak: terms.rollout.soak,
            hold: terms.rollout.gate.as_ref().map(|gate| gate.hold),
            on_failure: terms.rollout.on_failure,
            allowed: Tally::of(&terms.rollout.budgets, total),
            spent,
            waiting: kinds.iter().map(|_| VecDeque::new()).collect(),
            kinds,
            tracks,
            // A saved plan may have lost everybody of a wave.
            waves: waves.into_values().collect(),
            wave: 0,
            phase: Phase::New,
            purpose: Purpose::Apply,
            flights: BTreeMap::new(),
            lost: 0,
            next_command: 0,
            looking: None,
            halted: None,
            ended_by: None,
            actions: Vec::new(),
        }
    }

    /// How many instances it changes.
    pub fn instances(&self) -> usize {
        self.tracks.len()
    }

    /// In how many waves.
    pub fn waves(&self) -> usize {
        self.waves.len()
    }

    /// How many instances may be worked on at the same time.
    pub fn concurrency(&self) -> usize {
        self.concurrency
    }

    /// How many may end in each bad way.
    pub fn budgets(&self) -> Tally {
        self.allowed
    }

    /// How many ended badly.
    pub fn errors(&self) -> usize {
        self.spent.sum()
    }

    /// The open wave, none while things are put back; how many instances of it are through, and of how many.
    pub fn progress(&self) -> (Option<usize>, usize, usize) {
        let through = |id: &InstanceId| matches!(self.tracks[id].state, State::Settled(_) | State::Claimed);
        match self.purpose {
            Purpose::Apply => {
                let wave = self.waves.get(self.wave).map_or(&[][..], Vec::as_slice);
                (Some(self.wave), wave.iter().filter(|id| through(id)).count(), wave.len())
            }
            Purpose::PutBack => {
                let touched = self.tracks.iter().filter(|(_, track)| track.touched);
                let (done, total) = touched.fold((0, 0), |(done, total), (_, track)| {
                    (done + usize::from(matches!(track.state, State::Settled(_))), total + 1)
                });
                (None, done, total)
            }
        }
    }

    /// Whether commands are under way.
    pub fn is_flying(&self) -> bool {
        !self.flights.is_empty()
    }

    /// Why it ended early, where it did.
    pub fn halted(&self) -> Option<&str> {
        self.ended_by.as_deref()
    }

    /// What became of everybody, when it is over.
    pub fn into_fates(self) -> BTreeMap<InstanceId, (usize, Fate)> {
        let fate = |state| match state {
            State::Settled(fate) => fate,
            State::Waiting => Fate::NotStarted("the run ended early".to_owned()),
            State::InFlight | State::Claimed => Fate::Unknown("the run ended before it was observed".to_owned()),
            State::Lost(why, _) => Fate::Unknown(why),
        };
        self.tracks.into_iter().map(|(id, track)| (id, (track.wave, fate(track.state)))).collect()
    }

    /// What to do after something happened.
    pub fn step(&mut self, now: Moment, input: Input) -> Vec<Action> {
        match input {
            Input::Begin => self.begin(),
            Input::Sent { command, rejected } => self.sent(command, rejected),
            Input::NotSent { command, why, doubtful } => self.not_sent(command, &why, doubtful),
            Input::Ended { command, replies } => self.ended(command, replies),
            Input::LostSight { why } => self.lost_sight(&why),
            Input::Observed { looks } => self.observed(now, looks),
            Input::Gate(verdict) => self.gate(now, verdict),
            Input::Halt { reason } => self.halt(HaltKind::Stop, reason),
            Input::Tick => self.tick(now),
        }
        self.proceed();
        std::mem::take(&mut self.actions)
    }

    fn note(&mut self, note: Note) {
        self.actions.push(Action::Note(note));
    }

    fn begin(&mut self) {
        if self.spent.sum() > 0 {
            self.note(Note::Adopted { spent: self.spent.sum() });
        }
        if self.tracks.is_empty() {
            self.finish();
            return;
        }
        self.open_wave();
        self.heed_budgets();
    }

    /// Lines up everybody of the open wave who has to be sent something.
    fn open_wave(&mut self) {
        self.phase = Phase::Changing;
        let wave = &self.waves[self.wave];
        let mut instances = 0;
        for id in wave {
            let track = &self.tracks[id];
            if track.state == State::Waiting {
                self.waiting[track.kind].push_back(id.clone());
                instances += 1;
            }
        }
        if self.purpose == Purpose::Apply {
            self.note(Note::WaveOpened { wave: self.wave, instances });
        }
    }

    /// Everything that follows by itself from the present state.
    fn proceed(&mut self) {
        if self.phase != Phase::Changing {
            return;
        }
        if self.lost > 0 && self.looking.is_none() {
            self.look(Looking::Lost);
        }
        if self.may_send() {
            self.send();
        }
        let open = self.may_send() && self.waiting.iter().any(|queue| !queue.is_empty());
        if open || self.looking.is_some() || !self.flights.is_empty() {
            return;
        }
        match self.purpose {
            Purpose::Apply => self.prove(false),
            Purpose::PutBack => self.next_put_back(),
        }
    }

    fn may_send(&self) -> bool {
        self.halted.is_none()
    }

    fn send(&mut self) {
        for kind in 0..self.waiting.len() {
            loop {
                let waiting = self.waiting[kind].len().min(COMMAND_LIMIT);
                let slots = waiting.min(self.concurrency);
                let used: usize = self.flights.values().map(|flight| flight.slots).sum::<usize>() + self.lost;
                if slots == 0 {
                    break;
                }
                // A part of a command could go already, but then there would be more of them: calls are what is scarce.
                if used + slots > self.concurrency {
                    return;
                }
                let instances: Vec<InstanceId> = self.waiting[kind].drain(..waiting).collect();
                for id in &instances {
                    let track = self.tracks.get_mut(id).expect("invariant: who waits has a track");
                    track.state = State::InFlight;
                    track.tries += 1;
                }
                let number = self.next_command;
                self.next_command += 1;
                self.flights.insert(number, Flight { instances: instances.clone(), slots });
                self.actions.push(Action::Send(Command {
                    number,
                    purpose: self.purpose,
                    kind: self.kinds[kind].clone(),
                    instances,
                    max_concurrency: slots,
                    max_errors: self.spent.left_of(self.allowed),
                }));
            }
        }
    }

    fn sent(&mut self, command: CommandNumber, rejected: Vec<(InstanceId, String)>) {
        let Some(flight) = self.flights.get_mut(&command) else { return };
        flight.instances.retain(|id| !rejected.iter().any(|(refused, _)| refused == id));
        flight.slots = flight.slots.min(flight.instances.len());
        if flight.instances.is_empty() {
            self.flights.remove(&command);
        }
        for (id, reason) in rejected {
            self.lose(&id, format!("the service does not take commands for it: {reason}"), Hope::Retry);
        }
    }

    fn not_sent(&mut self, command: CommandNumber, why: &str, doubtful: bool) {
        let Some(flight) = self.flights.remove(&command) else { return };
        for id in flight.instances {
            if doubtful {
                self.touch(&id);
                self.lose(&id, why.to_owned(), Hope::MayStillRun);
            } else {
                self.wait_as_before(&id);
            }
        }
        self.halt(HaltKind::Stop, why.to_owned());
    }

    fn ended(&mut self, command: CommandNumber, replies: Vec<(InstanceId, Reply)>) {
        let Some(flight) = self.flights.remove(&command) else { return };
        let mut replies: BTreeMap<InstanceId, Reply> = replies.into_iter().collect();
        // Sent again, it would only end in the same way.
        let nobody_had_it = flight.instances.iter().all(|id| matches!(replies.get(id), Some(Reply::NotHandedOut)));
        for id in flight.instances {
            match replies.remove(&id) {
                Some(Reply::Reported(report)) => {
                    // What took its change back by itself has nothing on it.
                    if matches!(report.result, ApplyResult::Changed | ApplyResult::Failed(_)) {
                        self.touch(&id);
                    }
                    if report.result == ApplyResult::Changed
                        && let Some(track) = self.tracks.get_mut(&id)
                    {
                        track.changed = true;
                    }
                    match (Fate::of_report(&report), self.purpose) {
                        (None, Purpose::Apply) => self.set(&id, State::Claimed),
                        // Its backups may have been thrown away: then it knows of nothing, and only a look can tell.
                        (None, Purpose::PutBack) if knows_of_nothing(&report) && self.tracks[&id].changed => {
                            self.lose(&id, "it reports that there is nothing to put back".to_owned(), Hope::Over);
                        }
                        (None, Purpose::PutBack) => self.settle(&id, Fate::PutBack),
                        (Some(fate), Purpose::Apply) => self.settle(&id, fate),
                        (Some(fate), Purpose::PutBack) => {
                            let why =
                                format!("it was changed, and putting it back failed: {}", fate.why().unwrap_or(""));
                            self.settle(&id, Fate::Failed(why));
                        }
                    }
                }
                Some(Reply::Silent { why, hope }) => {
                    self.touch(&id);
                    self.lose(&id, why, hope);
                }
                Some(Reply::NotHandedOut) => {
                    self.wait_as_before(&id);
                }
                None => {
                    self.touch(&id);
                    self.lose(&id, "the service does not list what it came to".to_owned(), Hope::Retry);
                }
            }
        }
        if nobody_had_it {
            self.halt(HaltKind::Failure, "the service stopped a command before any instance had it".to_owned());
        }
        self.heed_budgets();
    }

    fn lost_sight(&mut self, why: &str) {
        for (_, flight) in std::mem::take(&mut self.flights) {
            for id in flight.instances {
                self.touch(&id);
                self.lose(&id, why.to_owned(), Hope::MayStillRun);
            }
        }
        self.halt(HaltKind::Stop, why.to_owned());
    }

    fn observed(&mut self, now: Moment, mut looks: BTreeMap<InstanceId, Look>) {
        match self.looking.take() {
            Some(Looking::Lost) => {
                self.resolve_lost(&mut looks);
                self.heed_budgets();
            }
            Some(Looking::Proof) => {
                let Phase::Proving { soaked } = self.phase else { return };
                self.settle_wave(&mut looks);
                self.heed_budgets();
                self.after_proof(now, soaked);
            }
            None => {}
        }
    }

    fn resolve_lost(&mut self, looks: &mut BTreeMap<InstanceId, Look>) {
        let lost: Vec<InstanceId> =
            self.wave_members().filter(|id| matches!(self.tracks[*id].state, State::Lost(..))).cloned().collect();
        for id in lost {
            // Who was lost after the question was put is looked at next.
            let Some(look) = looks.remove(&id) else { continue };
            let State::Lost(why, hope) = self.tracks[&id].state.clone() else { continue };
            let again = hope == Hope::Retry && self.tracks[&id].tries < MOST_TRIES && self.may_send();
            self.lost -= 1;
            match (look, self.purpose) {
                (Look::Matches { .. }, Purpose::Apply) => self.set(&id, State::Claimed),
                (Look::Differs { .. } | Look::Matches { .. }, _) if again => self.wait_again(&id),
                (Look::Differs { settings }, _) if hope == Hope::MayStillRun => {
                    let fate = Fate::Unknown(why).with(&settings_differ(settings));
                    self.settle(&id, fate.with("the command may still be under way"));
                }
                (Look::Broken(broken), _) => self.settle(&id, Fate::Failed(why).with(&broken)),
                (Look::Differs { settings }, Purpose::Apply) => {
                    self.settle(&id, Fate::Failed(why).with(&settings_differ(settings)));
                }
                (Look::Matches { .. }, Purpose::PutBack) => {
                    self.settle(&id, Fate::Failed(why).with("it was changed and not put back"));
                }
                (Look::Differs { .. }, Purpose::PutBack) => {
                    self.settle(&id, Fate::Unknown(why).with("whether it was put back is not known"));
                }
                (Look::Silent(silence), _) => self.settle(&id, Fate::Unreachable(why).with(&silence)),
                (Look::Unknown(unknown), _) => self.settle(&id, Fate::Unknown(why).with(&unknown)),
            }
        }
    }

    /// What the observation at the end of a wave says of its instances.
    fn settle_wave(&mut self, looks: &mut BTreeMap<InstanceId, Look>) {
        for id in self.waves[self.wave].clone() {
            let Some(look) = looks.remove(&id) else { continue };
            match (self.tracks[&id].state.clone(), look) {
                (State::Claimed | State::Settled(_), Look::Matches { pending }) => {
                    self.resettle(&id, Fate::Converged { pending });
                }
                (State::Claimed | State::Settled(Fate::Converged { .. }), Look::Differs { settings }) => {
                    let why = format!("reported success, and then changed again; {}", settings_differ(settings));
                    self.settle(&id, Fate::Failed(why));
                }
                (State::Claimed | State::Settled(Fate::Converged { .. }), Look::Broken(broken)) => {
                    self.settle(&id, Fate::Failed(format!("reported success, and then {broken}")));
                }
                (State::Claimed | State::Settled(Fate::Converged { .. }), Look::Silent(why)) => {
                    self.settle(&id, Fate::Unreachable(format!("reported success, and does not answer since: {why}")));
                }
                (State::Claimed | State::Settled(Fate::Converged { .. }), Look::Unknown(why)) => {
                    self.settle(&id, Fate::Unknown(format!("reported success; its state is unknown: {why}")));
                }
                (State::Settled(fate), Look::Differs { settings }) => {
                    self.resettle(&id, fate.with(&settings_differ(settings)));
                }
                (State::Settled(fate), Look::Broken(broken)) => self.resettle(&id, fate.with(&broken)),
                (State::Settled(fate), Look::Silent(why) | Look::Unknown(why)) => {
                    self.resettle(&id, fate.with(&format!("its state is unknown: {why}")));
                }
                (State::Waiting | State::InFlight | State::Lost(..), _) => {}
            }
        }
    }

    fn after_proof(&mut self, now: Moment, soaked: bool) {
        let last = self.wave + 1 == self.waves.len();
        if self.halted.is_some() {
            self.wind_up();
        } else if !soaked && self.soak > Duration::ZERO {
            let until = now + self.soak;
            self.phase = Phase::Soaking { until };
            self.note(Note::Soaking { wave: self.wave, soak: self.soak });
            self.actions.push(Action::WakeAt(until));
        } else if last {
            self.note(Note::WavePassed { wave: self.wave });
            self.finish();
        } else if self.hold.is_some() {
            self.ask_gate(now);
        } else {
            self.pass_wave();
        }
    }

    fn ask_gate(&mut self, since: Moment) {
        self.phase = Phase::Asking { since };
        self.actions.push(Action::AskGate { wave: self.wave });
    }

    fn gate(&mut self, now: Moment, verdict: GateVerdict) {
        let Phase::Asking { since } = self.phase else { return };
        if self.halted.is_some() {
            self.wind_up();
            return;
        }
        match verdict {
            GateVerdict::Pass => self.pass_wave(),
            GateVerdict::Fail(why) => self.halt(HaltKind::Failure, format!("the gate failed: {why}")),
            GateVerdict::Hold(why) if now.saturating_sub(since) >= self.hold.unwrap_or_default() => {
                self.halt(HaltKind::Failure, format!("the gate did not let it go on in time: {why}"));
            }
            GateVerdict::Hold(why) => {
                let until = now + HOLD_INTERVAL;
                self.phase = Phase::Holding { since, until };
                self.note(Note::Held { wave: self.wave, why });
                self.actions.push(Action::WakeAt(until));
            }
        }
        if self.halted.is_some() {
            self.wind_up();
        }
    }

    fn tick(&mut self, now: Moment) {
        match self.phase {
            Phase::Soaking { until } if now >= until => self.prove(true),
            Phase::Holding { since, until } if now >= until => self.ask_gate(since),
            _ => {}
        }
    }

    fn pass_wave(&mut self) {
        self.note(Note::WavePassed { wave: self.wave });
        self.wave += 1;
        self.open_wave();
    }

    /// Observes everybody of the open wave who was sent something: only that proves anything (decision D11).
    fn prove(&mut self, soaked: bool) {
        self.phase = Phase::Proving { soaked };
        self.look(Looking::Proof);
    }

    fn look(&mut self, what: Looking) {
        let wanted = |state: &State| match what {
            Looking::Lost => matches!(state, State::Lost(..)),
            // Who is silent or out of sight was looked at already.
            Looking::Proof => matches!(
                state,
                State::Claimed
                    | State::Settled(Fate::Converged { .. } | Fate::Refused(_) | Fate::RolledBack(_) | Fate::Failed(_))
            ),
        };
        let ids = self.wave_members().filter(|id| wanted(&self.tracks[*id].state)).cloned().collect();
        self.looking = Some(what);
        self.actions.push(Action::Observe(ids));
    }

    fn wave_members(&self) -> impl Iterator<Item = &InstanceId> {
        self.waves.get(self.wave).into_iter().flatten()
    }

    fn touch(&mut self, id: &InstanceId) {
        if let Some(track) = self.tracks.get_mut(id) {
            track.touched = true;
        }
    }

    fn set(&mut self, id: &InstanceId, state: State) {
        if let Some(track) = self.tracks.get_mut(id) {
            track.state = state;
        }
    }

    fn lose(&mut self, id: &InstanceId, why: String, hope: Hope) {
        self.set(id, State::Lost(why.clone(), hope));
        self.lost += 1;
        self.note(Note::ReplyLost { id: id.clone(), why });
    }

    /// The command never got to it, so it was no try.
    fn wait_as_before(&mut self, id: &InstanceId) {
        self.wait_again(id);
        let track = self.tracks.get_mut(id).expect("invariant: who flew has a track");
        track.tries -= 1;
    }

    fn wait_again(&mut self, id: &InstanceId) {
        self.set(id, State::Waiting);
        let kind = self.tracks[id].kind;
        self.waiting[kind].push_back(id.clone());
    }

    /// Gives an instance its fate and spends on it.
    fn settle(&mut self, id: &InstanceId, fate: Fate) {
        if let Some(budget) = fate.budget() {
            self.spent.add(budget);
            let (spent, of) = (self.spent.get(budget), self.allowed.get(budget));
            self.note(Note::BudgetSpent { budget, spent, of });
        }
        self.resettle(id, fate);
    }

    /// Gives an instance its fate, for which nothing is to be spent, or was already.
    fn resettle(&mut self, id: &InstanceId, fate: Fate) {
        let known = matches!(&self.tracks[id].state, State::Settled(known) if known.word() == fate.word());
        if !known {
            self.note(Note::Settled { id: id.clone(), fate: fate.clone() });
        }
        self.set(id, State::Settled(fate));
    }

    fn heed_budgets(&mut self) {
        if let Some(kind) = self.spent.exceeds(self.allowed) {
            self.halt(HaltKind::Failure, exceeded(kind, self.spent, self.allowed));
        }
    }

    fn halt(&mut self, kind: HaltKind, reason: String) {
        if let Some((known, _)) = &mut self.halted {
            // Who stops a rollout that failed does not want it to put anything back either.
            if kind == HaltKind::Stop {
                *known = kind;
            }
            return;
        }
        if self.phase == Phase::Over {
            return;
        }
        let not_started = self.tracks.values().filter(|track| track.state == State::Waiting).count();
        self.note(Note::Halted { reason: reason.clone(), not_started });
        self.ended_by.get_or_insert_with(|| reason.clone());
        self.halted = Some((kind, reason));
        // Where nothing is under way, nothing else comes back to this.
        if matches!(self.phase, Phase::Soaking { .. } | Phase::Holding { .. }) {
            self.wind_up();
        }
    }

    /// Nothing is under way and nothing more is sent: puts back what the policy wants put back, or ends.
    fn wind_up(&mut self) {
        let Some((kind, reason)) = self.halted.clone() else { return };
        for queue in &mut self.waiting {
            queue.clear();
        }
        for track in self.tracks.values_mut().filter(|track| track.state == State::Waiting) {
            // Who was sent something whose reply got lost is not one of those whom nothing was done to.
            let unfinished =
                || format!("no report came back of what it was sent, and it was not tried again: {reason}");
            let fate = if track.touched { Fate::Failed(unfinished()) } else { Fate::NotStarted(reason.clone()) };
            track.state = State::Settled(fate);
        }
        let touched = self.tracks.values().filter(|track| track.touched).count();
        if kind == HaltKind::Stop || self.on_failure == OnFailure::Halt || touched == 0 {
            self.finish();
        } else {
            self.put_back(touched);
        }
    }

    /// Sends everybody who was changed back to where it was, the last wave first, under the same limits.
    fn put_back(&mut self, instances: usize) {
        self.note(Note::RollbackStarted { instances });
        self.purpose = Purpose::PutBack;
        self.spent = Tally::default();
        self.halted = None;
        for track in self.tracks.values_mut().filter(|track| track.touched) {
            track.state = State::Waiting;
            track.tries = 0;
        }
        self.wave += 1;
        self.next_put_back();
    }

    /// Goes on with the next lower wave in which there is something to put back.
    fn next_put_back(&mut self) {
        while self.halted.is_none() && self.wave > 0 {
            self.wave -= 1;
            self.open_wave();
            if self.waiting.iter().any(|queue| !queue.is_empty()) {
                self.send();
                return;
            }
        }
        self.end_put_back();
    }

    fn end_put_back(&mut self) {
        if let Some((_, reason)) = self.halted.clone() {
            let waiting = self.tracks.iter().filter(|(_, track)| track.state == State::Waiting);
            for id in waiting.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
                self.resettle(&id, Fate::Failed(format!("it was changed and not put back: {reason}")));
            }
        }
        self.note(Note::RollbackEnded);
        self.finish();
    }

    fn finish(&mut self) {
        self.phase = Phase::Over;
        self.actions.push(Action::Finish);
    }
}

/// Which budget, how much of it, and what the policy says.
fn exceeded(kind: BudgetKind, spent: Tally, allowed: Tally) -> String {
    let (spent, allowed) = (spent.get(kind), allowed.get(kind));
    format!("{spent} {}, and the budget `{}` of the policy is {allowed}", kind.words(), kind.key())
}

#[cfg(test)]
mod tests;
