//! How fast we call: a token bucket per API family that slows down when the service throttles, and the retries around it.
//!
//! The SDK's own retries are off, so this is the only controller. Quotas for the Run Command APIs are not published and are
//! shared with everybody in the account (aws-ssm-facts 8), so the buckets begin low and halve on every throttle.

use std::fmt;
use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};

use super::error::{AwsError, CallError, Class};
use super::operation::{Family, Operation};

/// Requests that may go out at once after a quiet time, in seconds of the start rate.
const BURST_SECONDS: f64 = 2.0;
/// What remains of the rate after a throttle.
const DECREASE: f64 = 0.5;
/// The part of the start rate that comes back with each clean second.
const INCREASE: f64 = 0.05;
/// How long the rate stays where a throttle put it.
const HOLD: Duration = Duration::from_secs(5);
/// The slowest we ever go, in requests a second.
const FLOOR: f64 = 0.1;

/// How often a throttled request is tried before we give up: about three minutes of real waiting.
const THROTTLED_ATTEMPTS: u32 = 12;
/// How often a request is tried whose answer got lost.
const TRANSIENT_ATTEMPTS: u32 = 4;
const BACKOFF_BASE: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(20);

/// How long until a token is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wait(pub Duration);

/// A token bucket whose rate adapts: halved by a throttle, held, then slowly back up to where it began and no further.
///
/// Time is an argument: the time since any fixed moment, never going back.
#[derive(Clone, Debug)]
pub struct Bucket {
    start_rate: f64,
    hold: Duration,
    floor: f64,
    rate: f64,
    tokens: f64,
    refreshed: Duration,
    /// The last time the rate was cut, and until when it may not grow.
    cut: Option<Cut>,
}

#[derive(Clone, Copy, Debug)]
struct Cut {
    at: Duration,
    hold_until: Duration,
}

impl Bucket {
    /// A full bucket for `start_rate` requests a second of the service's time; `speed` is how much faster than the service
    /// everything goes (see [`Pace`]).
    pub fn new(start_rate: f64, speed: f64) -> Self {
        let rate = start_rate * speed;
        Self {
            start_rate: rate,
            hold: HOLD.div_f64(speed),
            floor: FLOOR * speed,
            rate,
            tokens: (rate * BURST_SECONDS / speed).max(1.0),
            refreshed: Duration::ZERO,
            cut: None,
        }
    }

    /// The rate now, in requests a second.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a token, or says how long to wait before asking again.
    pub fn take(&mut self, now: Duration) -> Result<(), Wait> {
        self.refresh(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Ok(());
        }
        // A little more than needed, so that rounding does not make the caller ask twice.
        Err(Wait(Duration::from_secs_f64((1.0 - self.tokens) / self.rate) + Duration::from_micros(1)))
    }

    /// The service refused a request that was sent at `sent`. Refusals of requests that were on their way when the rate
    /// was cut do not cut it again.
    pub fn on_throttle(&mut self, sent: Duration, now: Duration) {
        self.refresh(now);
        let at = match self.cut {
            Some(cut) if sent < cut.at => cut.at,
            _ => {
                self.rate = (self.rate * DECREASE).max(self.floor.min(self.start_rate));
                // What was saved up is gone: the service just said that it is too much.
                self.tokens = self.tokens.min(0.0);
                now
            }
        };
        self.cut = Some(Cut { at, hold_until: now + self.hold });
    }

    fn refresh(&mut self, now: Duration) {
        let elapsed = now.saturating_sub(self.refreshed);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.rate).min(self.capacity());
        if let Some(cut) = self.cut {
            let clean = now.saturating_sub(cut.hold_until.max(self.refreshed));
            // `hold / HOLD` is how long a second of the service's time is here.
            let clean_seconds = clean.as_secs_f64() * HOLD.as_secs_f64() / self.hold.as_secs_f64();
            self.rate = (self.rate + clean_seconds * INCREASE * self.start_rate).min(self.start_rate);
        }
        self.refreshed = self.refreshed.max(now);
    }

    /// The most that can be saved up: two seconds' worth of the service's time.
    fn capacity(&self) -> f64 {
        (self.rate * BURST_SECONDS * self.hold.as_secs_f64() / HOLD.as_secs_f64()).max(1.0)
    }
}

/// A small generator for jitter, `SplitMix64`: not for anything that must be unpredictable.
#[derive(Clone, Debug)]
pub struct Jitter(u64);

impl Jitter {
    /// The same seed gives the same sequence.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number, from `low` to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^= mixed >> 31;
        // The upper 32 bits convert without loss.
        let unit = f64::from(u32::try_from(mixed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX);
        low + unit * (high - low)
    }
}

/// How fast everything goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As the real service wants it.
    Service,
    /// Fifty times that: for a server on this machine, which has no quota to share.
    Loopback,
}

impl Pace {
    pub(super) const fn speed(self) -> f64 {
        match self {
            Self::Service => 1.0,
            Self::Loopback => 50.0,
        }
    }

    /// A waiting time for the service, as it is at this pace.
    pub(super) fn wait(self, duration: Duration) -> Duration {
        duration.div_f64(self.speed())
    }
}

/// How often one operation was called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallCount {
    /// Which operation.
    pub operation: Operation,
    /// Requests that went out, repetitions included.
    pub requests: u64,
    /// Those the service refused because there were too many.
    pub throttled: u64,
    /// Those that failed for another reason.
    pub failed: u64,
}

/// The buckets of one account and region, the retries, and the count of calls.
pub(super) struct Limiter {
    pace: Pace,
    origin: Instant,
    state: Mutex<State>,
}

struct State {
    buckets: Vec<Bucket>,
    jitter: Jitter,
    counts: Vec<CallCount>,
}

impl fmt::Debug for Limiter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Limiter").field("pace", &self.pace).finish_non_exhaustive()
    }
}

impl Limiter {
    pub(super) fn new(pace: Pace, seed: u64) -> Self {
        let buckets = Family::ALL.map(|family| Bucket::new(family.start_rate(), pace.speed())).to_vec();
        let counts = Operation::ALL.map(|operation| CallCount { operation, requests: 0, throttled: 0, failed: 0 });
        let state = State { buckets, jitter: Jitter::new(seed), counts: counts.to_vec() };
        Self { pace, origin: Instant::now(), state: Mutex::new(state) }
    }

    /// Calls an operation when its bucket allows, and again while it is throttled or, where that is safe, its answer is
    /// lost. `about` says in an error what the call was about.
    pub(super) async fn call<T, E, F>(
        &self,
        operation: Operation,
        about: &str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let (mut throttled, mut lost) = (0, 0);
        loop {
            self.turn(operation).await;
            let sent = self.origin.elapsed();
            let error = match request().await {
                Ok(answer) => {
                    self.count(operation, None, sent);
                    return Ok(answer);
                }
                Err(error) => CallError::from_sdk(operation, about, &error),
            };
            self.count(operation, Some(error.class), sent);
            let tries = match error.class {
                Class::Throttled => {
                    throttled += 1;
                    throttled
                }
                Class::Transient => {
                    lost += 1;
                    lost
                }
                _ => return Err(AwsError::Call(Box::new(error.after(throttled + lost + 1, throttled)))),
            };
            let limit = match error.class {
                Class::Throttled => THROTTLED_ATTEMPTS,
                _ if operation.is_repeatable() => TRANSIENT_ATTEMPTS,
                _ => 1,
            };
            if tries >= limit {
                return Err(AwsError::Call(Box::new(error.after(throttled + lost, throttled))));
            }
            tokio::time::sleep(self.backoff(tries)).await;
        }
    }

    /// A waiting time between two looks at the same thing, 20% up or down so that several programs do not fall in step.
    pub(super) fn interval(&self, duration: Duration) -> Duration {
        self.pace.wait(duration).mul_f64(self.state().jitter.between(0.8, 1.2))
    }

    pub(super) fn counts(&self) -> Vec<CallCount> {
        self.state().counts.iter().filter(|count| count.requests > 0).copied().collect()
    }

    async fn turn(&self, operation: Operation) {
        loop {
            let now = self.origin.elapsed();
            let taken = self.state().buckets[operation.family() as usize].take(now);
            match taken {
                Ok(()) => return,
                Err(Wait(duration)) => tokio::time::sleep(duration).await,
            }
        }
    }

    fn count(&self, operation: Operation, failure: Option<Class>, sent: Duration) {
        let now = self.origin.elapsed();
        let mut state = self.state();
        let count = &mut state.counts[operation as usize];
        count.requests += 1;
        match failure {
            None => {}
            Some(Class::Throttled) => {
                count.throttled += 1;
                state.buckets[operation.family() as usize].on_throttle(sent, now);
            }
            Some(_) => count.failed += 1,
        }
    }

    /// Full doubling up to a cap; the jitter takes up to half of it away.
    fn backoff(&self, tries: u32) -> Duration {
        let full = BACKOFF_BASE.saturating_mul(1 << (tries - 1).min(8)).min(BACKOFF_CAP);
        self.pace.wait(full).mul_f64(self.state().jitter.between(0.5, 1.0))
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic while counting leaves numbers, which are as good as any.
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Takes as fast as allowed from `from` to `until` and counts.
    fn taken(bucket: &mut Bucket, from: Duration, until: Duration) -> u32 {
        let (mut now, mut count) = (from, 0);
        loop {
            match bucket.take(now) {
                Ok(()) => count += 1,
                Err(Wait(wait)) => now += wait,
            }
            if now >= until {
                return count;
            }
        }
    }

    #[test]
    fn a_quiet_bucket_gives_a_short_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(2.0, 1.0);
        assert_eq!((0..5).filter(|_| bucket.take(Duration::ZERO).is_ok()).count(), 4, "two seconds' worth");
        let count = taken(&mut bucket, Duration::ZERO, seconds(100));
        assert!((199..=201).contains(&count), "{count}");
    }

    #[test]
    fn a_throttle_halves_holds_and_then_recovers_by_a_twentieth_a_second() {
        let mut bucket = Bucket::new(2.0, 1.0);
        bucket.on_throttle(seconds(0), seconds(0));
        assert!(bucket.take(seconds(0)).is_err(), "nothing saved up survives");
        let rate_at = |bucket: &mut Bucket, at| {
            let _ = bucket.take(seconds(at));
            bucket.rate()
        };
        for (at, rate) in [(4, 1.0), (5, 1.0), (6, 1.1), (10, 1.5), (15, 2.0), (1000, 2.0)] {
            let now = rate_at(&mut bucket, at);
            assert!((now - rate).abs() < 1e-9, "after {at} s: {now}");
        }
    }

    #[test]
    fn refusals_of_requests_sent_before_the_cut_do_not_cut_again() {
        let mut bucket = Bucket::new(8.0, 1.0);
        bucket.on_throttle(seconds(1), seconds(2));
        bucket.on_throttle(seconds(1), seconds(2));
        bucket.on_throttle(seconds(1), seconds(3));
        assert!((bucket.rate() - 4.0).abs() < 1e-9);
        bucket.on_throttle(seconds(3), seconds(3));
        assert!((bucket.rate() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn a_faster_pace_is_the_same_story_on_a_shorter_clock() {
        let (mut slow, mut fast) = (Bucket::new(2.0, 1.0), Bucket::new(2.0, 50.0));
        slow.on_throttle(seconds(10), seconds(10));
        fast.on_throttle(seconds(10) / 50, seconds(10) / 50);
        assert_eq!(taken(&mut slow, seconds(10), seconds(60)), taken(&mut fast, seconds(10) / 50, seconds(60) / 50));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Pass(u64),
        Take,
        Throttle { sent_before: u64 },
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (0_u64..20_000).prop_map(Event::Pass),
            Just(Event::Take),
            Just(Event::Take),
            (0_u64..3_000).prop_map(|sent_before| Event::Throttle { sent_before }),
        ];
        proptest::collection::vec(event, 0..200)
    }

    proptest! {
        /// Whatever happens, the rate stays between its bounds, the promise of `Wait` is kept, and no more goes out than
        /// the start rate and the burst allow.
        #[test]
        fn a_bucket_keeps_its_bounds(start in 0.05_f64..50.0, events in events()) {
            let mut bucket = Bucket::new(start, 1.0);
            let (mut now, mut count) = (Duration::ZERO, 0_u32);
            for event in events {
                match event {
                    Event::Pass(milliseconds) => now += Duration::from_millis(milliseconds),
                    Event::Take => match bucket.take(now) {
                        Ok(()) => count += 1,
                        Err(Wait(wait)) => {
                            prop_assert!(wait <= Duration::from_secs_f64(1.0 / bucket.rate()) + Duration::from_millis(1));
                            let mut later = bucket.clone();
                            prop_assert_eq!(later.take(now + wait), Ok(()));
                        }
                    },
                    Event::Throttle { sent_before } => {
                        bucket.on_throttle(now.saturating_sub(Duration::from_millis(sent_before)), now);
                    }
                }
                prop_assert!(bucket.rate() <= start + 1e-9);
                prop_assert!(bucket.rate() >= FLOOR.min(start) - 1e-9);
            }
            let most = start * now.as_secs_f64() + (start * BURST_SECONDS).max(1.0);
            prop_assert!(f64::from(count) <= most + 1.0, "{} of {}", count, most);
        }

        /// Jitter stays in its range and is a function of its seed.
        #[test]
        fn jitter_stays_in_its_range(seed: u64) {
            let (mut one, mut two) = (Jitter::new(seed), Jitter::new(seed));
            for _ in 0..20 {
                let value = one.between(0.8, 1.2);
                prop_assert!((0.8..=1.2).contains(&value));
                prop_assert!((value - two.between(0.8, 1.2)).abs() < f64::EPSILON);
            }
        }
    }
}
