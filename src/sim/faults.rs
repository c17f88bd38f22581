//! What goes wrong in an embedded fleet, on request: which faults there are, their text form, and what is struck when.
//!
//! Nothing here happens by chance: every decision is a function of the seed and a number, so that what was seen once can be
//! seen again. Requests are numbered for each operation, invocations for each instance; where several callers compete for
//! the next number, who gets it is up to them.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use super::fleet::Random;

/// A share of something, in hundredths of a percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

impl Percent {
    /// Nothing at all.
    pub const NONE: Self = Self(0);
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// A whole number of percent; more than 100 is 100.
    pub const fn new(percent: u16) -> Self {
        if percent < 100 { Self(percent * 100) } else { Self::ALL }
    }

    /// `P%` with at most two digits behind the point.
    fn parse(text: &str) -> Option<Self> {
        let number = text.strip_suffix('%')?;
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !digits(whole, 3) || !digits(part, 2) {
            return None;
        }
        let hundredths: u16 = format!("{part:0<2}").parse().ok()?;
        let whole: u16 = whole.parse().ok()?;
        // At most 99,900 and 99: in a larger type first.
        let sum = u32::from(whole) * 100 + u32::from(hundredths);
        u16::try_from(sum).ok().map(Self).filter(|percent| *percent <= Self::ALL)
    }

    /// Whether a random number is among the share.
    const fn strikes(self, number: u64) -> bool {
        number % 10_000 < self.0 as u64
    }

    /// This share of `total`, rounded up, so that a small fleet is not spared.
    fn of(self, total: usize) -> usize {
        (total * usize::from(self.0)).div_ceil(10_000)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(formatter, "{whole}%"),
            (whole, part) if part % 10 == 0 => write!(formatter, "{whole}.{}%", part / 10),
            (whole, part) => write!(formatter, "{whole}.{part:02}%"),
        }
    }
}

/// The faults of an embedded fleet. The default has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Of the requests: answered as throttled, several of one operation in a row.
    pub throttle: Percent,
    /// Of the requests that are not throttled: HTTP 500, half of them before the effect and half after it.
    pub errors: Percent,
    /// Of the requests that get neither: the connection is closed without an answer, half before the effect and half after it.
    pub drops: Percent,
    /// Of the invocations: the script runs to its end, and its result never reaches the service.
    pub lost_replies: Percent,
    /// Of the invocations: some seconds pass before the script starts.
    pub slow: Percent,
    /// Of the managed instances: the agent falls silent for good when the first command that changes something arrives.
    pub offline: Percent,
    /// Of the managed instances: once, the machine starts anew while a command that changes something runs on it.
    pub reboots: Percent,
    /// Of the managed Linux hosts: whatever a script writes into a file fails. Names can still be made and removed.
    pub disk_full: Percent,
    /// Of the managed hosts: docker starts only with the settings with which it last ran.
    pub broken_docker: Percent,
    /// How many of the managed instances, in the order of their ids, can reach a proxy; `None`: all.
    pub proxy_reach: Option<usize>,
    /// How many times faster than real time the service's time limits pass and slow invocations wait: 1 to 1000.
    ///
    /// A command is given up early only when nobody works on it any more; scripts that run have all the time that they have
    /// without this. What the service says about times, such as `ExpiresAfter`, stays in real time.
    pub clock: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            throttle: Percent::NONE,
            errors: Percent::NONE,
            drops: Percent::NONE,
            lost_replies: Percent::NONE,
            slow: Percent::NONE,
            offline: Percent::NONE,
            reboots: Percent::NONE,
            disk_full: Percent::NONE,
            broken_docker: Percent::NONE,
            proxy_reach: None,
            clock: 1,
        }
    }
}

/// Name, form of the value and meaning of every fault, as people read them.
const KNOWN: [(&str, &str, &str); 11] = [
    ("throttle", "P%", "requests that are throttled, in bursts"),
    ("errors", "P%", "HTTP 500, half of them after the effect"),
    ("drops", "P%", "connections cut off, half after the effect"),
    ("lost-replies", "P%", "results of commands that never arrive"),
    ("slow", "P%", "commands that take some seconds longer"),
    ("offline", "P%", "instances that go silent at their first change"),
    ("reboots", "P%", "instances that reboot during a change, once"),
    ("disk-full", "P%", "Linux hosts on which nothing can be written"),
    ("broken-docker", "P%", "hosts whose docker fails with changed settings"),
    ("proxy-reach", "N", "only the first N instances reach a proxy"),
    ("clock", "X", "time limits pass X times faster, 1 to 1000"),
];

/// The largest value of `clock`.
const FASTEST: u32 = 1000;

impl Faults {
    /// One line for each fault: its name, the form of its value, what it means.
    pub fn help() -> String {
        let lines = KNOWN.map(|(name, form, meaning)| format!("  {:<18}{meaning}", format!("{name}={form}")));
        lines.join("\n")
    }

    /// Whether nothing goes wrong. A clock that runs fast is no fault by itself.
    pub fn is_none(&self) -> bool {
        Self { clock: 1, ..self.clone() } == Self::default()
    }

    /// The shares in the order of [`KNOWN`].
    const fn shares(&self) -> [Percent; 9] {
        [
            self.throttle,
            self.errors,
            self.drops,
            self.lost_replies,
            self.slow,
            self.offline,
            self.reboots,
            self.disk_full,
            self.broken_docker,
        ]
    }

    fn share_mut(&mut self, name: &str) -> Option<&mut Percent> {
        Some(match name {
            "throttle" => &mut self.throttle,
            "errors" => &mut self.errors,
            "drops" => &mut self.drops,
            "lost-replies" => &mut self.lost_replies,
            "slow" => &mut self.slow,
            "offline" => &mut self.offline,
            "reboots" => &mut self.reboots,
            "disk-full" => &mut self.disk_full,
            "broken-docker" => &mut self.broken_docker,
            _ => return None,
        })
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), FaultsError> {
        let wrong = |wanted: &str| FaultsError::new(format!("`{value}` is no value for `{name}`: {wanted}"));
        match name {
            "proxy-reach" => {
                let number = whole_number(value).ok_or_else(|| wrong("a number of instances, such as 1"))?;
                self.proxy_reach = Some(number);
            }
            "clock" => {
                let number = whole_number(value).filter(|number| (1..=FASTEST).contains(number));
                self.clock = number.ok_or_else(|| wrong("a number from 1 to 1000"))?;
            }
            _ => {
                let share = self
                    .share_mut(name)
                    .ok_or_else(|| FaultsError::new(format!("`{name}` is no fault that is known")))?;
                *share = Percent::parse(value).ok_or_else(|| wrong("0% to 100%, such as 10% or 0.5%"))?;
            }
        }
        Ok(())
    }
}

/// A number in digits alone: no sign, no blanks.
fn whole_number<T: FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `NAME=VALUE,NAME=VALUE`, without those that change nothing.
impl fmt::Display for Faults {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shares = KNOWN.iter().zip(self.shares()).filter(|(_, share)| *share != Percent::NONE);
        let mut parts: Vec<String> = shares.map(|((name, ..), share)| format!("{name}={share}")).collect();
        parts.extend(self.proxy_reach.map(|number| format!("proxy-reach={number}")));
        if self.clock != 1 {
            parts.push(format!("clock={}", self.clock));
        }
        formatter.write_str(&parts.join(","))
    }
}

impl FromStr for Faults {
    type Err = FaultsError;

    fn from_str(text: &str) -> Result<Self, FaultsError> {
        let mut faults = Self::default();
        let mut seen = Vec::new();
        if text.is_empty() {
            return Ok(faults);
        }
        for part in text.split(',') {
            let Some((name, value)) = part.split_once('=') else {
                return Err(FaultsError::new(format!("`{part}` is not of the form NAME=VALUE")));
            };
            if seen.contains(&name) {
                return Err(FaultsError::new(format!("`{name}` is given twice")));
            }
            faults.set(name, value)?;
            seen.push(name);
        }
        Ok(faults)
    }
}

/// Why a text names no faults; it ends with a list of those that there are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; the faults are\n{}", Faults::help())]
pub struct FaultsError {
    problem: String,
}

impl FaultsError {
    const fn new(problem: String) -> Self {
        Self { problem }
    }
}

/// What has gone wrong since the fleet was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultCounts {
    /// Requests that were throttled.
    pub throttled: u64,
    /// Requests that got HTTP 500 and had no effect.
    pub errors_before: u64,
    /// Requests that got HTTP 500 although they were carried out.
    pub errors_after: u64,
    /// Connections that were closed, and the request had no effect.
    pub drops_before: u64,
    /// Connections that were closed after the request was carried out.
    pub drops_after: u64,
    /// Invocations whose result was lost, without those of a reboot.
    pub lost_replies: u64,
    /// Invocations that were slow.
    pub slow: u64,
    /// Instances that went silent.
    pub went_offline: u64,
    /// Instances that rebooted.
    pub reboots: u64,
}

/// What happens to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RequestFate {
    /// It is answered.
    Answered,
    /// It is throttled.
    Throttled,
    /// It fails; `after` its effect or before.
    Fails { after: bool },
    /// The connection is closed; `after` its effect or before.
    Dropped { after: bool },
}

/// What happens to an invocation that an agent fetched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct InvocationFate {
    /// For how many seconds of the service nothing happens first.
    pub(crate) wait_seconds: u64,
    /// Whether its result is lost.
    pub(crate) lost: bool,
    /// The machine reboots when the script has taken so many steps.
    pub(crate) reboot_after: Option<u32>,
}

/// How many requests of an operation in a row are throttled.
const BURST: u64 = 3;
/// Seconds that a slow invocation waits at least, and how many more at most.
const SLOW_SECONDS: (u64, u64) = (5, 20);
/// The latest step of a script at which its machine reboots. A step is a call of one of the host's own programs; an apply that
/// restarts everything takes 18, others fewer. Where the script ends earlier, the machine reboots before the agent reports.
const LATEST_STEP: u64 = 20;

impl Faults {
    /// What happens to a request; `number` counts those of `operation`, from 0.
    pub(crate) fn request(&self, seed: u64, operation: &str, number: u64) -> RequestFate {
        // Bursts begin anywhere, not always with the first request.
        let burst = (number + draw(seed, operation, "start of bursts", 0) % BURST) / BURST;
        if self.throttle.strikes(draw(seed, operation, "throttle", burst)) {
            return RequestFate::Throttled;
        }
        let after = draw(seed, operation, "after", number).is_multiple_of(2);
        if self.errors.strikes(draw(seed, operation, "errors", number)) {
            RequestFate::Fails { after }
        } else if self.drops.strikes(draw(seed, operation, "drops", number)) {
            RequestFate::Dropped { after }
        } else {
            RequestFate::Answered
        }
    }

    /// What happens to an invocation; `number` counts those of `instance`, from 0. With `reboots`, its machine does.
    pub(crate) fn invocation(&self, seed: u64, instance: &str, number: u64, reboots: bool) -> InvocationFate {
        let slow = self.slow.strikes(draw(seed, instance, "slow", number));
        let (least, more) = SLOW_SECONDS;
        let seconds = least + draw(seed, instance, "seconds", number) % (more + 1);
        // At most LATEST_STEP.
        let step = u32::try_from(1 + draw(seed, instance, "step", number) % LATEST_STEP).unwrap_or(1);
        InvocationFate {
            wait_seconds: if slow { seconds } else { 0 },
            lost: self.lost_replies.strikes(draw(seed, instance, "lost", number)),
            reboot_after: reboots.then_some(step),
        }
    }
}

/// The share of `items` that a fault strikes.
pub(crate) fn chosen<T: Clone + Ord + fmt::Display>(
    share: Percent,
    seed: u64,
    fault: &str,
    items: &[T],
) -> BTreeSet<T> {
    if share == Percent::NONE {
        return BTreeSet::new();
    }
    let mut ranks: Vec<(u64, &T)> = items.iter().map(|item| (draw(seed, &item.to_string(), fault, 0), item)).collect();
    ranks.sort_unstable();
    ranks.into_iter().take(share.of(items.len())).map(|(_, item)| item.clone()).collect()
}

/// A random number that its arguments alone decide.
fn draw(seed: u64, about: &str, question: &str, number: u64) -> u64 {
    let words = about.bytes().chain([0]).chain(question.bytes());
    let mixed = words.fold(seed, |state, byte| Random::new(state ^ u64::from(byte)).next());
    Random::new(mixed ^ number).next()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use proptest::prelude::*;

    use super::{FASTEST, Faults, KNOWN, Percent, RequestFate, chosen};

    fn percents() -> impl Strategy<Value = Percent> {
        prop_oneof![Just(Percent::NONE), (0..=10_000_u16).prop_map(Percent), (0..=100_u16).prop_map(Percent::new)]
    }

    prop_compose! {
        fn any_faults()(
            shares in prop::array::uniform9(percents()),
            proxy_reach in prop::option::of(any::<usize>()),
            clock in 1..=FASTEST,
        ) -> Faults {
            let [throttle, errors, drops, lost_replies, slow, offline, reboots, disk_full, broken_docker] = shares;
            Faults {
                throttle, errors, drops, lost_replies, slow, offline, reboots, disk_full, broken_docker, proxy_reach, clock,
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn what_is_shown_is_what_is_read(faults in any_faults()) {
            let text = faults.to_string();
            prop_assert_eq!(text.parse::<Faults>(), Ok(faults), "{}", text);
        }

        #[test]
        fn a_bad_text_is_told_what_there_is(text in "[a-z=%,0-9. -]{1,20}") {
            if let Err(error) = text.parse::<Faults>() {
                let said = error.to_string();
                for (name, _, meaning) in KNOWN {
                    prop_assert!(said.contains(name) && said.contains(meaning), "{}", said);
                }
            }
        }

        #[test]
        fn shares_hold_on_average(percent in 0..=100_u16, seed in any::<u64>()) {
            let faults = Faults { throttle: Percent::new(percent), ..Faults::default() };
            let struck = (0..6000).filter(|number| faults.request(seed, "ListCommands", *number) == RequestFate::Throttled);
            let found = struck.count().abs_diff(usize::from(percent) * 60);
            // Five times the deviation that 2,000 bursts have at worst.
            prop_assert!(found <= 340, "{} more or less than {}%", found, percent);
        }

        #[test]
        fn a_fleet_is_struck_in_exact_shares(count in 0..200_usize, share in percents(), seed in any::<u64>()) {
            let items: Vec<usize> = (0..count).collect();
            let struck = chosen(share, seed, "reboots", &items);
            prop_assert_eq!(struck.len(), share.of(count));
            prop_assert!(struck.iter().all(|item| items.contains(item)));
            prop_assert_eq!(struck, chosen(share, seed, "reboots", &items));
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (text, problem) in [
            ("thottle=1%", "`thottle` is no fault that is known"),
            ("throttle", "`throttle` is not of the form NAME=VALUE"),
            ("throttle=1%,", "`` is not of the form NAME=VALUE"),
            ("throttle=101%", "`101%` is no value for `throttle`: 0% to 100%"),
            ("throttle=1", "`1` is no value for `throttle`: 0% to 100%"),
            ("throttle=-1%", "`-1%` is no value for `throttle`"),
            ("slow=1%,drops=2%,slow=1%", "`slow` is given twice"),
            ("clock=0", "`0` is no value for `clock`: a number from 1 to 1000"),
            ("clock=1001", "`1001` is no value for `clock`"),
            ("clock=+5", "`+5` is no value for `clock`"),
            ("proxy-reach=", "`` is no value for `proxy-reach`: a number of instances"),
        ] {
            let said = text.parse::<Faults>().unwrap_err().to_string();
            assert!(said.starts_with(problem), "{text}: {said}");
        }
        let faults: Faults = "reboots=0.5%,throttle=10%,proxy-reach=1,clock=60".parse().unwrap();
        assert_eq!((faults.reboots, faults.throttle, faults.clock), (Percent(50), Percent::new(10), 60));
        assert_eq!(faults.to_string(), "throttle=10%,reboots=0.5%,proxy-reach=1,clock=60");
        assert!(Faults::default().is_none() && "clock=9".parse::<Faults>().unwrap().is_none() && !faults.is_none());
    }

    #[test]
    fn throttling_comes_in_bursts() {
        let faults = Faults { throttle: Percent::new(20), ..Faults::default() };
        let fates: Vec<bool> =
            (0..3000).map(|number| faults.request(7, "SendCommand", number) == RequestFate::Throttled).collect();
        let runs: Vec<usize> = fates.split(|throttled| !throttled).map(<[bool]>::len).filter(|run| *run > 0).collect();
        // The first burst may have begun before the first request, the last go on after the last.
        assert!(runs[1..runs.len() - 1].iter().all(|run| run % 3 == 0), "{runs:?}");
        assert!(runs.iter().sum::<usize>() > 400, "{runs:?}");
    }

    #[test]
    fn half_of_the_errors_come_after_the_effect() {
        let faults = Faults { errors: Percent::new(50), drops: Percent::new(50), ..Faults::default() };
        let count = |wanted: RequestFate| {
            (0..4000).filter(|number| faults.request(3, "SendCommand", *number) == wanted).count()
        };
        for after in [true, false] {
            assert!(count(RequestFate::Fails { after }).abs_diff(1000) < 150);
            assert!(count(RequestFate::Dropped { after }).abs_diff(500) < 100);
        }
    }
}
