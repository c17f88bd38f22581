//! The format of a policy document as serde reads it and as the JSON Schema describes it: names and kinds of values, and
//! nothing of what they mean. Every key may be absent here, so that one missing key does not hide the other mistakes;
//! [`super::check`] asks for those that are required.
//!
//! The doc comments of the fields are the descriptions in the published schema. There, a field is required unless it has
//! `serde(default)`, which changes nothing for serde: an `Option` may be absent anyway.

use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::mask::quoted;
use super::schema;

/// A proxyfleet policy: which instances, which proxy, which components.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping of policy keys")]
#[schemars(rename = "proxyfleet policy")]
pub(super) struct RawPolicy {
    /// The name, unique among all policies of a run: 1 to 64 lower-case letters, digits and dashes.
    #[schemars(schema_with = "schema::policy_name")]
    pub(super) policy: Option<RawText>,
    /// A sentence for people.
    #[serde(default)]
    #[schemars(with = "RawText")]
    pub(super) description: Option<RawText>,
    /// Which instances the policy is for.
    #[schemars(with = "RawTargets")]
    pub(super) targets: Option<RawTargets>,
    /// `present` (the default): the settings are there. `absent`: the settings that proxyfleet wrote are taken away.
    #[serde(default)]
    #[schemars(schema_with = "schema::state")]
    pub(super) state: Option<RawText>,
    /// The proxy. Required, except with `state: absent`, where it must not be given.
    #[serde(default)]
    #[schemars(with = "RawProxy")]
    pub(super) proxy: Option<RawProxy>,
    /// What is configured on each instance.
    #[schemars(schema_with = "schema::components")]
    pub(super) components: Option<RawList>,
    /// What to do when Docker must start again to read a change, which stops every task on the instance.
    /// `defer` (the default): write the files and report the restart as pending. `allow`: restart it.
    #[serde(default)]
    #[schemars(schema_with = "schema::docker_restart")]
    pub(super) docker_restart: Option<RawText>,
    /// Whether an instance tries the proxy before anything is written. `require` is the default.
    #[serde(default)]
    #[schemars(schema_with = "schema::preflight")]
    pub(super) preflight: Option<RawText>,
    /// How a rollout proceeds, and its limits.
    #[serde(default)]
    #[schemars(with = "RawRollout")]
    pub(super) rollout: Option<RawRollout>,
    /// Where several policies match one instance, the one with the highest number wins, whole. The default is 100.
    #[serde(default)]
    #[schemars(with = "i64")]
    pub(super) priority: Option<i64>,
}

/// Which instances a policy is for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `tags`, `exclude` and `platforms`")]
#[schemars(rename = "targets")]
pub(super) struct RawTargets {
    /// Tag keys and the values an instance must have: all keys, any one value of each. `*` stands for any text and `?`
    /// for one character.
    #[schemars(schema_with = "schema::tags")]
    pub(super) tags: Option<RawTags>,
    /// Instances that are left out although their tags match.
    #[serde(default)]
    #[schemars(with = "RawExclude")]
    pub(super) exclude: Option<RawExclude>,
    /// The platforms; all that are known by default.
    #[serde(default)]
    #[schemars(schema_with = "schema::platforms")]
    pub(super) platforms: Option<RawList>,
}

/// Instances that are left out.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `tags`")]
#[schemars(rename = "exclude")]
pub(super) struct RawExclude {
    /// Tag keys and values, as under `targets.tags`. An instance is left out when any one key of them matches.
    #[schemars(schema_with = "schema::tags")]
    pub(super) tags: Option<RawTags>,
}

/// The proxy.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `http`, `https`, `no_proxy` and `tls_to_proxy`")]
#[schemars(rename = "proxy")]
pub(super) struct RawProxy {
    /// The proxy for http targets: `http://host:port`, without credentials.
    #[schemars(schema_with = "schema::proxy_url")]
    pub(super) http: Option<RawText>,
    /// The proxy for https targets; the same as `http` by default. Its scheme is that of the way to the proxy, so it is
    /// nearly always `http://` too.
    #[serde(default)]
    #[schemars(schema_with = "schema::proxy_url")]
    pub(super) https: Option<RawText>,
    /// What is reached without the proxy: host names, domain suffixes such as `.corp.example.com`, and addresses. The
    /// addresses of instance metadata and task credentials and the docker socket are always added.
    #[serde(default)]
    #[schemars(schema_with = "schema::no_proxy")]
    pub(super) no_proxy: Option<RawList>,
    /// Allows `https://` proxy URLs, which ask for TLS to the proxy itself. `false` by default.
    #[serde(default)]
    #[schemars(with = "bool")]
    pub(super) tls_to_proxy: Option<bool>,
}

/// How a rollout proceeds, and its limits.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with keys such as `waves` and `max_concurrency`")]
#[schemars(rename = "rollout")]
pub(super) struct RawRollout {
    /// How many instances are changed when each wave is over, all before it included: numbers from 1 or shares from `1%`,
    /// numbers and shares rising, the last `100%`. The default is `[1, 10%, 50%, 100%]`.
    #[serde(default)]
    #[schemars(schema_with = "schema::waves")]
    pub(super) waves: Option<RawCounts>,
    /// How many instances are worked on at the same time: a number from 1, or `1%` to `100%`. The default is `10%`.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_one")]
    pub(super) max_concurrency: Option<RawCount>,
    /// How many instances of one cluster, availability zone or Auto Scaling group a wave may take, at least one: a number
    /// from 1, or `1%` to `100%`. The default is `25%`.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_one")]
    pub(super) max_unavailable: Option<RawCount>,
    /// The same for instances whose Docker restarts. The default is `10%`.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_one")]
    pub(super) docker_max_unavailable: Option<RawCount>,
    /// The tag whose values name the ECS clusters. The default is `Cluster`.
    #[serde(default)]
    #[schemars(schema_with = "schema::tag_key")]
    pub(super) spread_by: Option<RawText>,
    /// How many instances may fail before no further one is started, for each way to fail: a number from 0, or `0%` to
    /// `100%`. The default is 0.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_zero")]
    pub(super) max_errors: Option<RawCount>,
    /// Limits for single ways to fail, in the place of `max_errors`.
    #[serde(default)]
    #[schemars(with = "RawBudgets")]
    pub(super) budgets: Option<RawBudgets>,
    /// How long a wave is left alone before it is looked at again and the next one begins: `0s` to `24h`. The default is
    /// `0s`.
    #[serde(default)]
    #[schemars(schema_with = "schema::duration")]
    pub(super) soak: Option<RawDuration>,
    /// A command that is asked before the next wave begins. There is none by default.
    #[serde(default)]
    #[schemars(with = "RawGate")]
    pub(super) gate: Option<RawGate>,
    /// The name of a CloudWatch alarm that stops commands while it is in alarm. There is none by default.
    #[serde(default)]
    #[schemars(schema_with = "schema::alarm")]
    pub(super) alarm: Option<RawText>,
    /// What happens when a rollout must not go on. `halt` (the default): nothing further is changed. `rollback`: what this
    /// rollout changed is put back.
    #[serde(default)]
    #[schemars(schema_with = "schema::on_failure")]
    pub(super) on_failure: Option<RawText>,
}

/// How many instances may end in each bad way. What is not given is as `max_errors` says.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `failed`, `rolled_back`, `unreachable` and `unknown`")]
#[schemars(rename = "budgets")]
pub(super) struct RawBudgets {
    /// Refused, or not what they should be.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_zero")]
    pub(super) failed: Option<RawCount>,
    /// Put back by themselves, because the change did not work.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_zero")]
    pub(super) rolled_back: Option<RawCount>,
    /// Do not answer any more.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_zero")]
    pub(super) unreachable: Option<RawCount>,
    /// Nobody can find out.
    #[serde(default)]
    #[schemars(schema_with = "schema::count_from_zero")]
    pub(super) unknown: Option<RawCount>,
}

/// A command that runs where proxyfleet runs. Exit code 0 lets the next wave begin, 1 fails the rollout, 2 holds it, and so
/// does no answer in time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a mapping with `command`, `timeout` and `hold`")]
#[schemars(rename = "gate")]
pub(super) struct RawGate {
    /// The program and its arguments. No shell reads them.
    #[schemars(schema_with = "schema::command")]
    pub(super) command: Option<RawList>,
    /// How long one run of it may take: `1s` to `1h`. The default is `60s`.
    #[serde(default)]
    #[schemars(schema_with = "schema::duration")]
    pub(super) timeout: Option<RawDuration>,
    /// How long the rollout is held altogether before it counts as failed: `0s` to `24h`. The default is `30m`.
    #[serde(default)]
    #[schemars(schema_with = "schema::duration")]
    pub(super) hold: Option<RawDuration>,
}

/// A text. It may hold credentials that somebody put into a URL, so `Debug` masks it.
#[derive(Default, Deserialize)]
pub(super) struct RawText(pub(super) String);

impl fmt::Debug for RawText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quoted(&self.0))
    }
}

impl JsonSchema for RawText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "text".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

/// A list of texts. An item is `None` where its mistake is reported already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawList(pub(super) Vec<Option<RawText>>);

/// Tag keys and values.
pub(super) type RawTags = BTreeMap<String, RawTagValues>;

/// The values of one tag: a single one or a list. Numbers and truth values are read as well, and refused by the checks,
/// which know how the value was written.
#[derive(Debug)]
pub(super) struct RawTagValues {
    /// Whether they were written as a list.
    pub(super) list: bool,
    pub(super) values: Vec<Option<RawTagValue>>,
}

/// One value of a tag; without text where it is not text to YAML.
#[derive(Debug)]
pub(super) struct RawTagValue(pub(super) Option<RawText>);

impl<'de> Deserialize<'de> for RawTagValues {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TagVisitor { lists: true })
    }
}

impl<'de> Deserialize<'de> for RawTagValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = deserializer.deserialize_any(TagVisitor { lists: false })?.values;
        values.pop().flatten().ok_or_else(|| D::Error::custom("invalid type: null, expected text"))
    }
}

struct TagVisitor {
    lists: bool,
}

impl TagVisitor {
    fn single(text: Option<&str>) -> RawTagValues {
        RawTagValues { list: false, values: vec![Some(RawTagValue(text.map(|text| RawText(text.to_owned()))))] }
    }
}

impl<'de> Visitor<'de> for TagVisitor {
    type Value = RawTagValues;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(if self.lists { "text or a list of texts" } else { "text" })
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RawTagValues, E> {
        Ok(Self::single(Some(text)))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<RawTagValues, E> {
        Ok(Self::single(None))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<RawTagValues, E> {
        Ok(Self::single(None))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<RawTagValues, E> {
        Ok(Self::single(None))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<RawTagValues, E> {
        Ok(Self::single(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<RawTagValues, A::Error> {
        if !self.lists {
            return Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self));
        }
        let mut values = Vec::new();
        while let Some(item) = items.next_element::<Option<RawTagValue>>()? {
            values.push(item);
        }
        Ok(RawTagValues { list: true, values })
    }
}

/// A number of instances or a share of them, not yet checked.
pub(super) enum RawCount {
    Number(u64),
    /// A share, or anything else that is not a whole number from 0, as it was written.
    Text(String),
}

impl fmt::Debug for RawCount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => write!(formatter, "{number}"),
            Self::Text(text) => formatter.write_str(&quoted(text)),
        }
    }
}

impl<'de> Deserialize<'de> for RawCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CountVisitor;
        impl Visitor<'_> for CountVisitor {
            type Value = RawCount;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a number of instances or a share such as 10%")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<RawCount, E> {
                Ok(RawCount::Number(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<RawCount, E> {
                Ok(RawCount::Text(number.to_string()))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<RawCount, E> {
                Ok(RawCount::Text(number.to_string()))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawCount, E> {
                Ok(RawCount::Text(text.to_owned()))
            }
        }
        deserializer.deserialize_any(CountVisitor)
    }
}

/// A list of counts. An item is `None` where its mistake is reported already.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RawCounts(pub(super) Vec<Option<RawCount>>);

/// A length of time, not yet checked. A number alone says nothing without its unit, so it is not read.
pub(super) struct RawDuration(pub(super) String);

impl fmt::Debug for RawDuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&quoted(&self.0))
    }
}

impl<'de> Deserialize<'de> for RawDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DurationVisitor;
        impl Visitor<'_> for DurationVisitor {
            type Value = RawDuration;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a duration such as 30s or 5m")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<RawDuration, E> {
                Ok(RawDuration(text.to_owned()))
            }
        }
        deserializer.deserialize_any(DurationVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_raw_policy_shows_no_credentials() {
        let text = "policy: http://u:secret@h\ntargets: { tags: { a: http://u:secret@h, b: [\"u:secret@h\"] } }\n\
             proxy: { http: http://u:secret@h, no_proxy: [http://u:secret@h] }\nrollout: { max_errors: http://u:secret@h,\n\
             waves: [http://u:secret@h], soak: http://u:secret@h, gate: { command: [http://u:secret@h] } }\n";
        let raw: RawPolicy = serde_yaml::from_str(text).expect("it has the right shape");
        let shown = format!("{raw:?} {raw:#?}");
        assert!(!shown.contains("secret"), "{shown}");
        assert_eq!(shown.matches("@h").count(), 18, "each place shows something");
    }
}
