//! The rollout of a policy in a saved plan. Its values are read as strictly as those of a policy: whoever can write a plan
//! gets no further than whoever can write a policy.

use std::ops::RangeInclusive;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{SavedPlanError, names, parse_all, unexpected};
use crate::policy::{Budgets, Count, Gate, OnFailure, Rollout, Waves, duration, is_tag_key};

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolloutRecord {
    waves: Vec<String>,
    max_concurrency: String,
    max_unavailable: String,
    docker_max_unavailable: String,
    spread_by: String,
    budgets: BudgetsRecord,
    soak: String,
    gate: Option<GateRecord>,
    alarm: Option<String>,
    on_failure: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BudgetsRecord {
    failed: String,
    rolled_back: String,
    unreachable: String,
    unknown: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct GateRecord {
    command: Vec<String>,
    timeout: String,
    hold: String,
}

pub(super) fn rollout_record(rollout: &Rollout) -> RolloutRecord {
    RolloutRecord {
        waves: names(rollout.waves.ends()),
        max_concurrency: rollout.max_concurrency.to_string(),
        max_unavailable: rollout.max_unavailable.to_string(),
        docker_max_unavailable: rollout.docker_max_unavailable.to_string(),
        spread_by: rollout.spread_by.clone(),
        budgets: BudgetsRecord {
            failed: rollout.budgets.failed.to_string(),
            rolled_back: rollout.budgets.rolled_back.to_string(),
            unreachable: rollout.budgets.unreachable.to_string(),
            unknown: rollout.budgets.unknown.to_string(),
        },
        soak: duration::text(rollout.soak),
        gate: rollout.gate.as_ref().map(|gate| GateRecord {
            command: gate.command.clone(),
            timeout: duration::text(gate.timeout),
            hold: duration::text(gate.hold),
        }),
        alarm: rollout.alarm.clone(),
        on_failure: rollout.on_failure.name().to_owned(),
    }
}

pub(super) fn rollout(record: &RolloutRecord) -> Result<Rollout, SavedPlanError> {
    let alarm = record.alarm.as_deref();
    if let Some(name) = alarm.filter(|name| !Rollout::is_alarm(name)) {
        return Err(unexpected(name, "the name of an alarm"));
    }
    if !is_tag_key(&record.spread_by) {
        return Err(unexpected(&record.spread_by, "the key of a tag"));
    }
    Ok(Rollout {
        waves: waves(&record.waves)?,
        max_concurrency: limit(&record.max_concurrency)?,
        max_unavailable: limit(&record.max_unavailable)?,
        docker_max_unavailable: limit(&record.docker_max_unavailable)?,
        spread_by: record.spread_by.clone(),
        budgets: Budgets {
            failed: count(&record.budgets.failed)?,
            rolled_back: count(&record.budgets.rolled_back)?,
            unreachable: count(&record.budgets.unreachable)?,
            unknown: count(&record.budgets.unknown)?,
        },
        soak: within(&record.soak, Rollout::SOAKS, "a duration from 0s to 24h")?,
        gate: record.gate.as_ref().map(gate).transpose()?,
        alarm: alarm.map(str::to_owned),
        on_failure: OnFailure::ALL
            .into_iter()
            .find(|choice| choice.name() == record.on_failure)
            .ok_or_else(|| unexpected(&record.on_failure, "`halt` or `rollback`"))?,
    })
}

fn waves(words: &[String]) -> Result<Waves, SavedPlanError> {
    let ends = parse_all(words, count)?;
    Waves::new(ends).ok_or_else(|| unexpected(&words.join(", "), "waves that rise to 100%"))
}

fn gate(record: &GateRecord) -> Result<Gate, SavedPlanError> {
    if !Gate::is_command(&record.command) {
        return Err(unexpected(&record.command.join(" "), "the command of a gate"));
    }
    Ok(Gate {
        command: record.command.clone(),
        timeout: within(&record.timeout, Gate::TIMEOUTS, "a duration from 1s to 1h")?,
        hold: within(&record.hold, Gate::HOLDS, "a duration from 0s to 24h")?,
    })
}

fn count(word: &str) -> Result<Count, SavedPlanError> {
    Count::parse(word).ok_or_else(|| unexpected(word, "a count or a percentage"))
}

/// A count with which something can happen at all.
fn limit(word: &str) -> Result<Count, SavedPlanError> {
    let count = Count::parse(word).filter(|count| count.number() > 0);
    count.ok_or_else(|| unexpected(word, "a count from 1 or a percentage from 1%"))
}

fn within(word: &str, allowed: RangeInclusive<Duration>, expected: &'static str) -> Result<Duration, SavedPlanError> {
    duration::parse(word).filter(|found| allowed.contains(found)).ok_or_else(|| unexpected(word, expected))
}

#[cfg(test)]
mod tests {
    use proptest::option;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn written(rollout: &Rollout) -> Value {
        serde_json::to_value(rollout_record(rollout)).expect("JSON")
    }

    fn read(value: Value) -> Result<Rollout, SavedPlanError> {
        rollout(&serde_json::from_value(value)?)
    }

    fn with_everything() -> Rollout {
        Rollout {
            gate: Some(Gate {
                command: vec!["./is-healthy".to_owned(), "web".to_owned()],
                timeout: Gate::DEFAULT_TIMEOUT,
                hold: Gate::DEFAULT_HOLD,
            }),
            alarm: Some("errors".to_owned()),
            ..Rollout::default()
        }
    }

    #[test]
    fn it_is_written_like_this() {
        let expected = json!({
            "waves": ["1", "10%", "50%", "100%"],
            "max_concurrency": "10%",
            "max_unavailable": "25%",
            "docker_max_unavailable": "10%",
            "spread_by": "Cluster",
            "budgets": { "failed": "0", "rolled_back": "0", "unreachable": "0", "unknown": "0" },
            "soak": "0s",
            "gate": { "command": ["./is-healthy", "web"], "timeout": "1m", "hold": "30m" },
            "alarm": "errors",
            "on_failure": "halt",
        });
        assert_eq!(written(&with_everything()), expected);
    }

    #[test]
    fn what_no_policy_could_say_is_refused() {
        let good = written(&with_everything());
        assert_eq!(read(good.clone()).expect("it is right"), with_everything());
        for (place, bad) in [
            ("/waves", json!([])),
            ("/waves", json!(["1", "50%"])),
            ("/waves", json!(["0", "100%"])),
            ("/waves", json!(["50%", "1", "10%", "100%"])),
            ("/waves/0", json!("one")),
            ("/waves/0", json!(1)),
            ("/max_concurrency", json!("0")),
            ("/max_concurrency", json!("+1")),
            ("/max_unavailable", json!("0%")),
            ("/docker_max_unavailable", json!("101%")),
            ("/spread_by", json!("")),
            ("/spread_by", json!("k".repeat(129))),
            ("/budgets", json!({ "failed": "0" })),
            ("/budgets/failed", json!("-1")),
            ("/budgets/rolled_back", json!("many")),
            ("/budgets/unreachable", json!("01")),
            ("/budgets/unknown", json!("101%")),
            ("/soak", json!("25h")),
            ("/soak", json!("90")),
            ("/gate", json!({})),
            ("/gate/command", json!([])),
            ("/gate/command", json!(["", "web"])),
            ("/gate/command/1", json!("web\0")),
            ("/gate/timeout", json!("0s")),
            ("/gate/timeout", json!("61m")),
            ("/gate/hold", json!("86401s")),
            ("/alarm", json!("")),
            ("/alarm", json!("a\nb")),
            ("/alarm", json!("a".repeat(256))),
            ("/on_failure", json!("ignore")),
        ] {
            let mut tampered = good.clone();
            *tampered.pointer_mut(place).expect("a place of the record") = bad.clone();
            assert!(read(tampered).is_err(), "{bad} at {place} must be refused");
        }
    }

    fn counts(least: u32) -> impl Strategy<Value = Count> {
        let percent = (0u8..=100).prop_map(Count::Percent);
        let count = prop_oneof![any::<u32>().prop_map(Count::Absolute), percent];
        count.prop_filter("at least", move |count| count.number() >= least)
    }

    fn seconds(allowed: RangeInclusive<Duration>) -> impl Strategy<Value = Duration> {
        (allowed.start().as_secs()..=allowed.end().as_secs()).prop_map(Duration::from_secs)
    }

    /// Counts and shares that rise, in any order between them.
    fn any_waves() -> impl Strategy<Value = Waves> {
        let counts = prop::collection::btree_set(1u32.., 0..4);
        let shares = prop::collection::btree_set(1u8..100, 0..4);
        (counts, shares, any::<bool>()).prop_map(|(counts, shares, counts_first)| {
            let counts = counts.into_iter().map(Count::Absolute);
            let shares = shares.into_iter().map(Count::Percent);
            let mut ends: Vec<Count> =
                if counts_first { counts.chain(shares).collect() } else { shares.chain(counts).collect() };
            ends.push(Waves::EVERYBODY);
            Waves::new(ends).expect("they rise to everybody")
        })
    }

    fn any_gate() -> impl Strategy<Value = Gate> {
        let command = ("[^\\x00]{1,9}", prop::collection::vec("[^\\x00]{0,9}", 0..3));
        (command, seconds(Gate::TIMEOUTS), seconds(Gate::HOLDS)).prop_map(
            |((program, mut arguments), timeout, hold)| {
                arguments.insert(0, program);
                Gate { command: arguments, timeout, hold }
            },
        )
    }

    fn any_rollout() -> impl Strategy<Value = Rollout> {
        let budgets =
            [counts(0), counts(0), counts(0), counts(0)].prop_map(|[failed, rolled_back, unreachable, unknown]| {
                Budgets { failed, rolled_back, unreachable, unknown }
            });
        let words = ("\\PC{1,128}", option::of("\\P{Cc}{1,255}"), prop::sample::select(&OnFailure::ALL[..]));
        let limits = [counts(1), counts(1), counts(1)];
        (any_waves(), limits, budgets, words, seconds(Rollout::SOAKS), option::of(any_gate())).prop_map(
            |(waves, limits, budgets, (spread_by, alarm, on_failure), soak, gate)| {
                let [max_concurrency, max_unavailable, docker_max_unavailable] = limits;
                Rollout {
                    waves,
                    max_concurrency,
                    max_unavailable,
                    docker_max_unavailable,
                    spread_by,
                    budgets,
                    soak,
                    gate,
                    alarm,
                    on_failure,
                }
            },
        )
    }

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written(rollout in any_rollout()) {
            let text = serde_json::to_string(&rollout_record(&rollout)).expect("JSON");
            let again = read(serde_json::from_str(&text).expect("JSON"));
            prop_assert_eq!(again.expect("a rollout"), rollout);
        }
    }
}
