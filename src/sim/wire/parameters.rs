//! SSM operations on parameters (aws-ssm-facts 2.13).

use serde::Deserialize;
use serde_json::{Value, json};

use super::error::{ApiError, Checks};
use super::paging::LastPage;
use super::seconds;
use super::ssm::{Tag, page_size, read, token_scope};
use crate::sim::parameters::{Parameter, ParameterVersion, Put, well_formed};
use crate::sim::world::{Time, World};

/// The largest page of `GetParametersByPath`, and the most names in one call of those that take a list.
const MOST: i64 = 10;
const LONGEST_NAME: usize = 2048;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PutRequest {
    name: Option<String>,
    description: Option<String>,
    value: Option<String>,
    #[serde(rename = "Type")]
    kind: Option<String>,
    data_type: Option<String>,
    overwrite: Option<bool>,
    tier: Option<String>,
    tags: Vec<Tag>,
    key_id: Option<String>,
    allowed_pattern: Option<String>,
    policies: Option<String>,
}

/// `PutParameter`
pub(crate) fn put(world: &mut World, body: &str, now: Time) -> Result<Value, ApiError> {
    let request: PutRequest = read(body)?;
    let mut checks = Checks::default();
    checks.required("name", request.name.is_some()).required("value", request.value.is_some());
    checks.text("name", request.name.as_deref(), 1, LONGEST_NAME);
    checks.text("value", request.value.as_deref(), 1, usize::MAX);
    checks.text("description", request.description.as_deref(), 0, 1024);
    checks.one_of("type", request.kind.as_deref(), &["String", "StringList", "SecureString"]);
    checks.one_of("tier", request.tier.as_deref(), &["Standard", "Advanced", "Intelligent-Tiering"]);
    checks.finish()?;
    let overwrite = request.overwrite.unwrap_or_default();
    if overwrite && !request.tags.is_empty() {
        let message = "Invalid request: tags and overwrite can't be used together. To create a parameter with tags, please \
                       remove overwrite flag. To update tags for an existing parameter, please use AddTagsToResource or \
                       RemoveTagsFromResource.";
        return Err(ApiError::validation(message));
    }
    not_offered(&request)?;
    let put = Put {
        name: request.name.unwrap_or_default(),
        value: request.value.unwrap_or_default(),
        kind: request.kind,
        data_type: request.data_type,
        overwrite,
        tier: request.tier,
    };
    let arn = arn(world, "");
    let (version, tier) = world.parameters.put(put, &arn, now)?;
    Ok(json!({"Version": version, "Tier": tier.name()}))
}

/// What would need more than a store of texts is an error instead of a promise that is not kept.
fn not_offered(request: &PutRequest) -> Result<(), ApiError> {
    let what = [
        (
            "parameters of type SecureString",
            request.kind.as_deref() == Some("SecureString") || request.key_id.is_some(),
        ),
        ("patterns of parameters", request.allowed_pattern.is_some()),
        ("policies of parameters", request.policies.is_some()),
        ("tags of parameters", !request.tags.is_empty()),
    ];
    match what.into_iter().find(|(_, asked)| *asked) {
        Some((what, _)) => Err(ApiError::validation(format!("The embedded fleet does not offer {what}."))),
        None => Ok(()),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NameRequest {
    name: Option<String>,
}

impl NameRequest {
    fn read(body: &str) -> Result<String, ApiError> {
        let request: Self = read(body)?;
        let mut checks = Checks::default();
        checks.required("name", request.name.is_some()).text("name", request.name.as_deref(), 1, LONGEST_NAME);
        checks.finish()?;
        Ok(request.name.unwrap_or_default())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NamesRequest {
    names: Option<Vec<String>>,
}

impl NamesRequest {
    fn read(body: &str) -> Result<Vec<String>, ApiError> {
        let request: Self = read(body)?;
        let mut checks = Checks::default();
        checks.required("names", request.names.is_some());
        if let Some(names) = &request.names {
            checks.length("names", &format!("[{}]", names.join(", ")), names.len(), 1, 10);
        }
        checks.finish()?;
        Ok(request.names.unwrap_or_default())
    }
}

/// Which version of a parameter a name means: `/a`, `/a:3`, `/a:label`, or an ARN of one of these.
struct Wanted<'a> {
    name: &'a str,
    selector: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    fn of(world: &World, text: &'a str) -> Self {
        let name = text.strip_prefix(arn(world, "").as_str()).unwrap_or(text);
        match name.split_once(':') {
            Some((name, selector)) => Self { name, selector: Some(selector) },
            None => Self { name, selector: None },
        }
    }

    fn find<'w>(&self, world: &'w World) -> Result<(&'w Parameter, &'w ParameterVersion), ApiError> {
        let parameter = world.parameters.get(self.name).ok_or_else(not_found)?;
        let Some(selector) = self.selector else { return Ok((parameter, parameter.latest())) };
        let version = selector.parse().ok().and_then(|number| parameter.version(number));
        version.map(|version| (parameter, version)).ok_or_else(|| {
            let message = format!(
                "Systems Manager could not find version {selector} of {}. Verify the version and try again.",
                self.name
            );
            ApiError::modelled("ParameterVersionNotFound", message)
        })
    }

    fn shown(&self, world: &World) -> Result<Value, ApiError> {
        let (parameter, version) = self.find(world)?;
        let mut shown = show(world, self.name, parameter, version);
        if let Some(selector) = self.selector {
            shown["Selector"] = json!(format!(":{selector}"));
        }
        Ok(shown)
    }
}

/// The real service says no more than the code.
fn not_found() -> ApiError {
    ApiError::modelled("ParameterNotFound", "")
}

fn arn(world: &World, name: &str) -> String {
    let slash = if name.is_empty() || name.starts_with('/') { "" } else { "/" };
    format!("arn:aws:ssm:{}:{}:parameter{slash}{name}", world.scope.region, world.scope.account)
}

fn show(world: &World, name: &str, parameter: &Parameter, version: &ParameterVersion) -> Value {
    json!({
        "Name": name,
        "Type": parameter.kind,
        "Value": version.value,
        "Version": version.number,
        "LastModifiedDate": seconds(version.modified),
        "ARN": arn(world, name),
        "DataType": version.data_type,
    })
}

/// `GetParameter`
pub(crate) fn get(world: &World, body: &str) -> Result<Value, ApiError> {
    let name = NameRequest::read(body)?;
    Ok(json!({"Parameter": Wanted::of(world, &name).shown(world)?}))
}

/// `GetParameters`: names that there are not come back in a list of their own.
pub(crate) fn get_several(world: &World, body: &str) -> Result<Value, ApiError> {
    let names = NamesRequest::read(body)?;
    let (mut found, mut invalid) = (Vec::new(), Vec::new());
    for name in names {
        match Wanted::of(world, &name).shown(world) {
            Ok(shown) => found.push(shown),
            Err(_) => invalid.push(name),
        }
    }
    Ok(json!({"Parameters": found, "InvalidParameters": invalid}))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct PathRequest {
    path: Option<String>,
    recursive: Option<bool>,
    parameter_filters: Vec<Value>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

/// `GetParametersByPath`
pub(crate) fn get_by_path(world: &World, body: &str) -> Result<Value, ApiError> {
    let request: PathRequest = read(body)?;
    let mut checks = Checks::default();
    checks.required("path", request.path.is_some()).text("path", request.path.as_deref(), 1, LONGEST_NAME);
    checks.range("maxResults", request.max_results, 1, MOST).finish()?;
    let path = request.path.unwrap_or_default();
    let inner = path.strip_suffix('/').unwrap_or(&path);
    if !path.starts_with('/') || (!inner.is_empty() && !well_formed(inner)) {
        let message = "The parameter doesn't meet the parameter name requirements. The parameter name must begin with a \
                       forward slash \"/\". It can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). It must use \
                       only letters, numbers, or the following symbols: . (period), - (hyphen), _ (underscore). Special \
                       characters are not allowed. All sub-paths, if specified, must use the forward slash symbol \"/\". \
                       Valid example: /get/parameters2-/by1./path0_.";
        return Err(ApiError::validation(message));
    }
    if !request.parameter_filters.is_empty() {
        let message = "The embedded fleet does not offer filters of parameters.";
        return Err(ApiError::modelled("InvalidFilterKey", message));
    }
    let found = world.parameters.below(&path, request.recursive.unwrap_or_default());
    let (page, next) = token_scope(world, "GetParametersByPath", body).page(
        &found,
        |(name, _)| (*name).to_owned(),
        request.next_token.as_deref(),
        page_size(request.max_results, 10),
        LastPage::MayBeEmpty,
    )?;
    let shown: Vec<Value> =
        page.iter().map(|(name, parameter)| show(world, name, parameter, parameter.latest())).collect();
    let mut answer = json!({"Parameters": shown});
    if let Some(token) = next {
        answer["NextToken"] = json!(token);
    }
    Ok(answer)
}

/// `DeleteParameter`
pub(crate) fn delete(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let name = NameRequest::read(body)?;
    if world.parameters.delete(&name) { Ok(json!({})) } else { Err(not_found()) }
}

/// `DeleteParameters`
pub(crate) fn delete_several(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let names = NamesRequest::read(body)?;
    let (deleted, invalid): (Vec<_>, Vec<_>) = names.into_iter().partition(|name| world.parameters.delete(name));
    Ok(json!({"DeletedParameters": deleted, "InvalidParameters": invalid}))
}
