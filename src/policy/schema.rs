//! The JSON Schema of a policy document, for editors and for checks outside of proxyfleet.
//!
//! It is made from the types that serde reads ([`super::raw`]) and from the closed sets of the catalogue, so it cannot
//! fall behind. What a schema cannot say (names unique among files, bypass entries that programs ignore) is left to
//! [`super::load`].

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::raw::RawPolicy;
use crate::catalog::{Component, PROXY_URL_PATTERN, Platform};
use crate::policy::{DockerRestart, OnFailure, Preflight, Rollout};

/// The JSON Schema (draft 2020-12) of one document of a policy file.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawPolicy).to_value();
    tidy(&mut schema);
    schema["title"] = json!("proxyfleet policy");
    schema["if"] = json!({ "properties": { "state": { "const": "absent" } }, "required": ["state"] });
    schema["then"] = json!({ "not": { "required": ["proxy"] } });
    schema["else"] = json!({ "required": ["proxy"] });
    schema
}

/// Takes out what schemars adds for Rust's sake: `null` as default of what may be left out, and the line breaks of comments.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Object(entries) => {
            if entries.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
                entries.remove("default");
            }
            if let Some(Value::String(description)) = entries.get_mut("description") {
                *description = description.replace('\n', " ");
            }
            entries.values_mut().for_each(tidy);
        }
        Value::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

pub(super) fn policy_name(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,63}$" })
}

pub(super) fn state(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": super::check::STATES })
}

pub(super) fn docker_restart(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": DockerRestart::ALL.map(DockerRestart::name) })
}

pub(super) fn preflight(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": Preflight::ALL.map(Preflight::name) })
}

pub(super) fn components(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": { "enum": Component::IN_POLICIES.map(Component::name) } })
}

pub(super) fn platforms(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "array", "minItems": 1, "items": { "enum": Platform::ALL.map(Platform::name) } })
}

pub(super) fn tags(_: &mut SchemaGenerator) -> Schema {
    let text = json!({ "type": "string", "maxLength": super::check::MAX_TAG_VALUE });
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": { "minLength": 1, "maxLength": super::model::MAX_TAG_KEY },
        "additionalProperties": { "anyOf": [text, { "type": "array", "minItems": 1, "items": text }] },
    })
}

pub(super) fn proxy_url(_: &mut SchemaGenerator) -> Schema {
    // A final slash may be written; it is left out of what instances get.
    let pattern = format!("{}/?$", PROXY_URL_PATTERN.trim_end_matches('$'));
    json_schema!({ "type": "string", "pattern": pattern })
}

pub(super) fn no_proxy(_: &mut SchemaGenerator) -> Schema {
    // Wider than what is accepted: the reasons against an entry are better told in words.
    json_schema!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
}

pub(super) fn waves(_: &mut SchemaGenerator) -> Schema {
    // That they rise and end with 100% is better told in words.
    json_schema!({ "type": "array", "minItems": 1, "items": count(1, "^(100|[1-9][0-9]?)%$") })
}

pub(super) fn count_from_one(_: &mut SchemaGenerator) -> Schema {
    count(1, "^(100|[1-9][0-9]?)%$")
}

pub(super) fn count_from_zero(_: &mut SchemaGenerator) -> Schema {
    count(0, "^(100|[1-9]?[0-9])%$")
}

fn count(least: u32, share: &str) -> Schema {
    json_schema!({
        "anyOf": [
            { "type": "integer", "minimum": least, "maximum": u32::MAX },
            { "type": "string", "pattern": share },
        ]
    })
}

pub(super) fn tag_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": super::model::MAX_TAG_KEY })
}

pub(super) fn duration(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "pattern": "^(0|[1-9][0-9]*)[smh]$" })
}

pub(super) fn command(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "prefixItems": [{ "type": "string", "minLength": 1 }],
        "items": { "type": "string" },
    })
}

pub(super) fn alarm(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "string", "minLength": 1, "maxLength": Rollout::MAX_ALARM, "pattern": "^\\P{Cc}*$" })
}

pub(super) fn on_failure(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "enum": OnFailure::ALL.map(OnFailure::name) })
}
