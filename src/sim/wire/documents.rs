//! SSM operations on documents (aws-ssm-facts 2.10).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, Checks};
use super::paging::LastPage;
use super::seconds;
use super::ssm::{Tag, page_size, read, token_scope};
use crate::sim::documents::{Document, Selector, Upload, Version};
use crate::sim::world::{Time, World};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Upsert {
    name: Option<String>,
    content: Option<String>,
    document_version: Option<String>,
    document_type: Option<String>,
    document_format: Option<String>,
    version_name: Option<String>,
    target_type: Option<String>,
    display_name: Option<String>,
    tags: Vec<Tag>,
}

impl Upsert {
    fn read(body: &str) -> Result<(String, Self), ApiError> {
        let mut request: Self = read(body)?;
        let mut checks = Checks::default();
        checks.required("name", request.name.is_some()).required("content", request.content.is_some());
        checks.text("content", request.content.as_deref().filter(|content| content.is_empty()), 1, usize::MAX);
        checks.one_of("documentFormat", request.document_format.as_deref(), &["JSON", "YAML", "TEXT"]);
        if let Some(name) = &request.name {
            check_name(&mut checks, name, false);
        }
        if let Some(name) = &request.version_name {
            checks.pattern("versionName", name, "^[a-zA-Z0-9_\\-.]{1,128}$", is_word(name, 1, ""));
        }
        if let Some(target) = &request.target_type {
            checks.pattern(
                "targetType",
                target,
                "^\\/[\\w\\.\\-\\:\\/]*$",
                target.starts_with('/') && target.len() <= 200,
            );
        }
        checks.finish()?;
        Ok((request.name.take().unwrap_or_default(), request))
    }

    fn upload(self) -> Upload {
        Upload {
            text: self.content.unwrap_or_default(),
            format: self.document_format.unwrap_or_else(|| "JSON".to_owned()),
            version_name: self.version_name,
            target_type: self.target_type,
            display_name: self.display_name,
        }
    }
}

fn is_word(text: &str, shortest: usize, more: &str) -> bool {
    (shortest..=128).contains(&text.len())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c) || more.contains(c))
}

/// The pattern of document names; `:` and `/` only where an ARN is allowed.
fn check_name(checks: &mut Checks, name: &str, arn: bool) {
    let (pattern, more) = if arn { ("^[a-zA-Z0-9_\\-.:/]{3,128}$", ":/") } else { ("^[a-zA-Z0-9_\\-.]{3,128}$", "") };
    checks.pattern("name", name, pattern, is_word(name, 3, more));
}

/// `CreateDocument`
pub(crate) fn create(world: &mut World, body: &str, now: Time) -> Result<Value, ApiError> {
    let (name, mut request) = Upsert::read(body)?;
    // A document without a type is a Command document here; other types have other schemas.
    if request.document_type.as_deref().is_some_and(|kind| kind != "Command") {
        let message = "The embedded fleet stores documents of type Command only.";
        return Err(ApiError::modelled("InvalidDocumentContent", message));
    }
    let tags = std::mem::take(&mut request.tags).into_iter().map(|tag| (tag.key, tag.value)).collect();
    world.documents.create(&name, request.upload(), tags, now)?;
    describe_version(world, &name, Selector { version: Some("$LATEST"), name: None }, now, "DocumentDescription")
}

/// `UpdateDocument`
pub(crate) fn update(world: &mut World, body: &str, now: Time) -> Result<Value, ApiError> {
    let (name, mut request) = Upsert::read(body)?;
    let based_on = request.document_version.take();
    world.documents.update(&name, based_on.as_deref(), request.upload(), now)?;
    describe_version(world, &name, Selector { version: Some("$LATEST"), name: None }, now, "DocumentDescription")
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct NameRequest {
    name: Option<String>,
    document_version: Option<String>,
    version_name: Option<String>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

impl NameRequest {
    fn read(body: &str) -> Result<(String, Self), ApiError> {
        let request: Self = read(body)?;
        let mut checks = Checks::default();
        checks.required("name", request.name.is_some()).range("maxResults", request.max_results, 1, 50);
        if let Some(name) = &request.name {
            check_name(&mut checks, name, true);
        }
        if let Some(version) = &request.document_version {
            checks.pattern("documentVersion", version, "([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)", is_version(version));
        }
        checks.finish()?;
        Ok((request.name.clone().unwrap_or_default(), request))
    }

    fn selector(&self) -> Selector<'_> {
        Selector { version: self.document_version.as_deref(), name: self.version_name.as_deref() }
    }
}

/// Whether a text can be a `DocumentVersion`.
pub(crate) fn is_version(text: &str) -> bool {
    let number = !text.starts_with('0') && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    number || text == "$LATEST" || text == "$DEFAULT"
}

/// `UpdateDocumentDefaultVersion`
pub(crate) fn set_default(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let (name, request) = NameRequest::read(body)?;
    let number = request.document_version.as_deref().filter(|version| !version.starts_with('$'));
    Checks::default().required("documentVersion", number.is_some()).finish()?;
    let document = world.documents.set_default(&name, number.unwrap_or_default())?;
    let version = document.version(Selector::default())?;
    let mut description = Map::new();
    description.insert("Name".to_owned(), json!(document.name));
    description.insert("DefaultVersion".to_owned(), json!(document.default_version.to_string()));
    if let Some(name) = &version.name {
        description.insert("DefaultVersionName".to_owned(), json!(name));
    }
    Ok(json!({"Description": description}))
}

/// `DescribeDocument`
pub(crate) fn describe(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let (name, request) = NameRequest::read(body)?;
    describe_version(world, &name, request.selector(), now, "Document")
}

fn describe_version(
    world: &World,
    name: &str,
    selector: Selector<'_>,
    now: Time,
    member: &str,
) -> Result<Value, ApiError> {
    let document = world.documents.get(name)?;
    let version = document.version(selector)?;
    let parameters: Vec<Value> = version
        .content
        .parameters
        .iter()
        .map(|parameter| {
            let mut shown = json!({"Name": parameter.name, "Type": parameter.kind.name()});
            if !parameter.description.is_empty() {
                shown["Description"] = json!(parameter.description);
            }
            if let Some(default) = &parameter.default {
                let list = parameter.kind == crate::sim::content::ParameterKind::StringList;
                shown["DefaultValue"] = json!(if list { json!(default).to_string() } else { default.concat() });
            }
            shown
        })
        .collect();
    let mut described = identify(world, document, version);
    described.insert("Hash".to_owned(), json!(version.hash));
    described.insert("HashType".to_owned(), json!("Sha256"));
    described.insert("Status".to_owned(), json!(world.documents.status(version, now)));
    described.insert("Parameters".to_owned(), json!(parameters));
    described.insert("LatestVersion".to_owned(), json!(document.latest().number.to_string()));
    described.insert("DefaultVersion".to_owned(), json!(document.default_version.to_string()));
    if !version.content.description.is_empty() {
        described.insert("Description".to_owned(), json!(version.content.description));
    }
    Ok(json!({member: described}))
}

/// The members that lists and descriptions share.
fn identify(world: &World, document: &Document, version: &Version) -> Map<String, Value> {
    let tags: Vec<Value> = document.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    let mut shown = Map::new();
    shown.insert("Name".to_owned(), json!(document.name));
    shown.insert("CreatedDate".to_owned(), json!(seconds(version.created)));
    shown.insert("Owner".to_owned(), json!(world.scope.account));
    shown.insert("DocumentVersion".to_owned(), json!(version.number.to_string()));
    shown.insert("PlatformTypes".to_owned(), json!(version.content.platform_types()));
    shown.insert("DocumentType".to_owned(), json!("Command"));
    shown.insert("SchemaVersion".to_owned(), json!(version.content.schema_version));
    shown.insert("DocumentFormat".to_owned(), json!(version.format));
    shown.insert("Tags".to_owned(), json!(tags));
    for (member, value) in
        [("VersionName", &version.name), ("TargetType", &document.target_type), ("DisplayName", &document.display_name)]
    {
        if let Some(value) = value {
            shown.insert(member.to_owned(), json!(value));
        }
    }
    shown
}

/// `GetDocument`
pub(crate) fn get(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let (name, request) = NameRequest::read(body)?;
    let document = world.documents.get(&name)?;
    let version = document.version(request.selector())?;
    let mut answer = json!({
        "Name": document.name,
        "CreatedDate": seconds(version.created),
        "DocumentVersion": version.number.to_string(),
        "Status": world.documents.status(version, now),
        "Content": version.text,
        "DocumentType": "Command",
        "DocumentFormat": version.format,
    });
    if let Some(name) = &version.name {
        answer["VersionName"] = json!(name);
    }
    Ok(answer)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListRequest {
    filters: Vec<ListFilter>,
    document_filter_list: Vec<LegacyListFilter>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListFilter {
    key: String,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyListFilter {
    key: String,
    value: String,
}

/// `ListDocuments`. Names are filtered by prefix, as the real service does.
pub(crate) fn list(world: &World, body: &str) -> Result<Value, ApiError> {
    let request: ListRequest = read(body)?;
    Checks::default().range("maxResults", request.max_results, 1, 50).finish()?;
    let legacy = request
        .document_filter_list
        .into_iter()
        .map(|filter| ListFilter { key: filter.key, values: vec![filter.value] });
    let filters: Vec<ListFilter> = request.filters.into_iter().chain(legacy).collect();
    for filter in &filters {
        let known = ["Name", "Owner", "PlatformTypes", "DocumentType", "TargetType", "SearchKeyword"];
        if !known.contains(&filter.key.as_str()) && !filter.key.starts_with("tag:") {
            let message = format!("The filter key {} isn't valid.", filter.key);
            return Err(ApiError::modelled("InvalidFilterKey", message));
        }
    }
    let listed: Vec<&Document> = world
        .documents
        .iter()
        .filter(|document| filters.iter().all(|filter| listed(world, document, filter)))
        .collect();
    let (page, next) = token_scope(world, "ListDocuments", body).page(
        &listed,
        |document| document.name.clone(),
        request.next_token.as_deref(),
        page_size(request.max_results, 50),
        LastPage::MayBeEmpty,
    )?;
    let identifiers = page
        .iter()
        .map(|document| Ok(Value::Object(identify(world, document, document.version(Selector::default())?))))
        .collect::<Result<Vec<_>, ApiError>>()?;
    Ok(with_token(json!({"DocumentIdentifiers": identifiers}), next))
}

fn listed(world: &World, document: &Document, filter: &ListFilter) -> bool {
    let any = |test: &dyn Fn(&str) -> bool| filter.values.iter().any(|value| test(value));
    match filter.key.as_str() {
        "Name" => any(&|value| document.name.starts_with(value)),
        "SearchKeyword" => any(&|value| document.name.contains(value)),
        "Owner" => any(&|value| ["Self", "Private", "All", world.scope.account.as_str()].contains(&value)),
        "PlatformTypes" => any(&|value| document.latest().content.platform_types().contains(&value)),
        "DocumentType" => any(&|value| value == "Command"),
        "TargetType" => any(&|value| document.target_type.as_deref() == Some(value)),
        key => key
            .strip_prefix("tag:")
            .and_then(|key| document.tags.get(key))
            .is_some_and(|found| any(&|value| value == found)),
    }
}

/// `ListDocumentVersions`, the newest first.
pub(crate) fn list_versions(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let (name, request) = NameRequest::read(body)?;
    let document = world.documents.get(&name)?;
    let versions: Vec<&Version> = document.versions.iter().rev().collect();
    let (page, next) = token_scope(world, "ListDocumentVersions", body).page(
        &versions,
        |version| version.number.to_string(),
        request.next_token.as_deref(),
        page_size(request.max_results, 50),
        LastPage::MayBeEmpty,
    )?;
    let shown: Vec<Value> = page
        .iter()
        .map(|version| {
            let mut shown = json!({
                "Name": document.name,
                "DocumentVersion": version.number.to_string(),
                "CreatedDate": seconds(version.created),
                "IsDefaultVersion": version.number == document.default_version,
                "DocumentFormat": version.format,
                "Status": world.documents.status(version, now),
            });
            if let Some(name) = &version.name {
                shown["VersionName"] = json!(name);
            }
            shown
        })
        .collect();
    Ok(with_token(json!({"DocumentVersions": shown}), next))
}

/// `DeleteDocument`
pub(crate) fn delete(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let (name, request) = NameRequest::read(body)?;
    world.documents.delete(&name, request.selector())?;
    Ok(json!({}))
}

/// Adds the token of the next page.
pub(crate) fn with_token(mut answer: Value, next: Option<String>) -> Value {
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    answer
}
