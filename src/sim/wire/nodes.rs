//! SSM operations on managed nodes (aws-ssm-facts 2.1, 7).

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::{ApiError, Checks};
use super::paging::LastPage;
use super::seconds;
use super::ssm::{Tag, page_size, read, token_scope};
use crate::fleet::InstanceId;
use crate::sim::world::{Ec2State, Node, Time, World};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct DescribeRequest {
    filters: Vec<Filter>,
    instance_information_filter_list: Vec<LegacyFilter>,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Filter {
    key: String,
    values: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyFilter {
    key: String,
    value_set: Vec<String>,
}

/// Each filter key of `DescribeInstanceInformation` besides `tag:KEY` and `tag-key`.
const FILTER_KEYS: [&str; 10] = [
    "InstanceIds",
    "AgentVersion",
    "PingStatus",
    "PlatformTypes",
    "ActivationIds",
    "IamRole",
    "ResourceType",
    "AssociationStatus",
    "SourceIds",
    "SourceTypes",
];

/// `DescribeInstanceInformation`
pub(crate) fn describe(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let request: DescribeRequest = read(body)?;
    Checks::default().range("maxResults", request.max_results, 5, 50).finish()?;
    if !request.filters.is_empty() && !request.instance_information_filter_list.is_empty() {
        return Err(ApiError::validation("Filters and InstanceInformationFilterList cannot be used together."));
    }
    let legacy = request
        .instance_information_filter_list
        .into_iter()
        .map(|filter| Filter { key: filter.key, values: filter.value_set });
    let filters: Vec<Filter> = request.filters.into_iter().chain(legacy).collect();
    check_filters(world, &filters)?;
    let listed: Vec<&Node> = world
        .nodes
        .iter()
        .filter(|node| node.agent.is_some() && node.ec2.state == Ec2State::Running)
        .filter(|node| filters.iter().all(|filter| matches(node, filter)))
        .collect();
    let (page, next) = token_scope(world, "DescribeInstanceInformation", body).page(
        &listed,
        |node| node.id.to_string(),
        request.next_token.as_deref(),
        page_size(request.max_results, 10),
        LastPage::MayBeEmpty,
    )?;
    let mut answer =
        json!({"InstanceInformationList": page.iter().map(|node| describe_node(node, now)).collect::<Vec<_>>()});
    if let Some(next) = next {
        answer["NextToken"] = json!(next);
    }
    Ok(answer)
}

fn check_filters(world: &World, filters: &[Filter]) -> Result<(), ApiError> {
    let by_tag = |filter: &Filter| filter.key.starts_with("tag:") || filter.key == "tag-key";
    for filter in filters {
        Checks::default().length("filters.member.values", "[]", filter.values.len(), 1, 100).finish()?;
        if !by_tag(filter) && !FILTER_KEYS.contains(&filter.key.as_str()) {
            let message = format!("The filter key {} isn't valid.", filter.key);
            return Err(ApiError::modelled("InvalidFilterKey", message));
        }
        let words: &[&str] = match filter.key.as_str() {
            "PingStatus" => &["Online", "ConnectionLost", "Inactive"],
            "PlatformTypes" => &["Windows", "Linux", "MacOS"],
            "ResourceType" => &["EC2Instance", "ManagedInstance"],
            "InstanceIds" => {
                check_ids(world, &filter.values)?;
                continue;
            }
            _ => continue,
        };
        if let Some(wrong) = filter.values.iter().find(|value| !words.contains(&value.as_str())) {
            let message = format!("The filter value {wrong} isn't valid for {}.", filter.key);
            return Err(ApiError::modelled("InvalidInstanceInformationFilterValue", message));
        }
    }
    // A tag filter stands alone, whatever the other one is.
    if filters.iter().any(by_tag) && !filters.iter().all(by_tag) {
        let message = "A tag filter can't be combined with any other kind of filter.";
        return Err(ApiError::modelled("InvalidFilterKey", message));
    }
    Ok(())
}

/// An id that is wrong or not ours fails the call; one that merely does not run is left out.
fn check_ids(world: &World, ids: &[String]) -> Result<(), ApiError> {
    let known = |id: &String| world.node(id).is_some_and(Node::valid_target);
    match ids.iter().find(|id| InstanceId::parse(id).is_err() || !known(id)) {
        Some(wrong) => Err(ApiError::modelled("InvalidInstanceId", format!("The instance ID {wrong} isn't valid."))),
        None => Ok(()),
    }
}

fn matches(node: &Node, filter: &Filter) -> bool {
    let Some(agent) = &node.agent else { return false };
    let any = |fact: &str| filter.values.iter().any(|value| value == fact);
    if let Some(key) = filter.key.strip_prefix("tag:") {
        return node.tags.get(key).is_some_and(|value| any(value));
    }
    match filter.key.as_str() {
        "tag-key" => node.tags.keys().any(|key| any(key)),
        "InstanceIds" | "SourceIds" => any(node.id.as_str()),
        "AgentVersion" => any(agent.version),
        "PingStatus" => any(ping_status(node)),
        "PlatformTypes" => any(agent.platform_type),
        "ResourceType" => any("EC2Instance"),
        "SourceTypes" => any("AWS::EC2::Instance"),
        // There are no activations, no roles of hybrid nodes and no associations here.
        _ => false,
    }
}

fn ping_status(node: &Node) -> &'static str {
    if node.reachable() { "Online" } else { "ConnectionLost" }
}

fn describe_node(node: &Node, now: Time) -> Value {
    let mut described = Map::new();
    let Some(agent) = &node.agent else { return Value::Object(described) };
    described.insert("InstanceId".to_owned(), json!(node.id.as_str()));
    described.insert("PingStatus".to_owned(), json!(ping_status(node)));
    if let Some(time) = node.last_ping(now) {
        described.insert("LastPingDateTime".to_owned(), json!(seconds(time)));
    }
    described.insert("AgentVersion".to_owned(), json!(agent.version));
    described.insert("IsLatestVersion".to_owned(), json!(false));
    described.insert("PlatformType".to_owned(), json!(agent.platform_type));
    described.insert("PlatformName".to_owned(), json!(agent.platform_name));
    described.insert("PlatformVersion".to_owned(), json!(agent.platform_version));
    described.insert("ResourceType".to_owned(), json!("EC2Instance"));
    described.insert("IPAddress".to_owned(), json!(node.ec2.private_ip));
    described.insert("ComputerName".to_owned(), json!(agent.computer_name));
    described.insert("SourceId".to_owned(), json!(node.id.as_str()));
    described.insert("SourceType".to_owned(), json!("AWS::EC2::Instance"));
    Value::Object(described)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagRequest {
    resource_type: Option<String>,
    resource_id: Option<String>,
    tags: Vec<Tag>,
}

impl TagRequest {
    /// The document that the request is about. Nodes of EC2 have their tags there, and this fleet has no hybrid nodes.
    fn document(&self) -> Result<&str, ApiError> {
        let (resource_type, resource_id) = (self.resource_type.as_deref(), self.resource_id.as_deref());
        let mut checks = Checks::default();
        checks.required("resourceType", resource_type.is_some()).required("resourceId", resource_id.is_some());
        checks.finish()?;
        match (resource_type, resource_id) {
            (Some("Document"), Some(id)) => Ok(id),
            (Some("ManagedInstance"), _) => Err(ApiError::modelled(
                "InvalidResourceId",
                "The resource ID isn't valid: only hybrid nodes have tags in SSM.",
            )),
            _ => Err(ApiError::modelled("InvalidResourceType", "The embedded fleet has tags of documents only.")),
        }
    }
}

fn no_resource(_: ApiError) -> ApiError {
    ApiError::modelled(
        "InvalidResourceId",
        "The resource ID isn't valid. Verify that you entered the correct ID and try again.",
    )
}

/// `ListTagsForResource`
pub(crate) fn list_tags(world: &World, body: &str) -> Result<Value, ApiError> {
    let request: TagRequest = read(body)?;
    let document = world.documents.get(request.document()?).map_err(no_resource)?;
    let tags: Vec<Value> = document.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
    Ok(json!({"TagList": tags}))
}

/// `AddTagsToResource`
pub(crate) fn add_tags(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let request: TagRequest = read(body)?;
    let document = world.documents.get_mut(request.document()?).map_err(no_resource)?;
    document.tags.extend(request.tags.into_iter().map(|tag| (tag.key, tag.value)));
    Ok(json!({}))
}
