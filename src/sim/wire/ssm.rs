//! SSM: which operation is which, and what all of them share.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::paging::{BadToken, TokenScope};
use super::{commands, documents, nodes, parameters};
use crate::sim::server::Shared;
use crate::sim::world::World;

/// A tag as every operation writes it.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    /// `Key`
    pub(crate) key: String,
    /// `Value`
    pub(crate) value: String,
}

/// Answers one call.
pub(crate) fn call(shared: &Arc<Shared>, operation: &str, body: &str) -> Result<Value, ApiError> {
    let now = shared.now();
    let mut world = shared.world();
    let world = &mut *world;
    match operation {
        "SendCommand" | "CancelCommand" => {
            let answer = if operation == "SendCommand" {
                commands::send(world, body, now)
            } else {
                commands::cancel(world, body)
            };
            shared.wake();
            answer
        }
        "ListCommands" => commands::list(world, body),
        "ListCommandInvocations" => commands::list_invocations(world, body, now),
        "GetCommandInvocation" => commands::get_invocation(world, body, now),
        "DescribeInstanceInformation" => nodes::describe(world, body, now),
        "ListTagsForResource" => nodes::list_tags(world, body),
        "AddTagsToResource" => nodes::add_tags(world, body),
        "CreateDocument" => documents::create(world, body, now),
        "UpdateDocument" => documents::update(world, body, now),
        "UpdateDocumentDefaultVersion" => documents::set_default(world, body),
        "DescribeDocument" => documents::describe(world, body, now),
        "GetDocument" => documents::get(world, body, now),
        "ListDocuments" => documents::list(world, body),
        "ListDocumentVersions" => documents::list_versions(world, body, now),
        "DeleteDocument" => documents::delete(world, body),
        "PutParameter" => parameters::put(world, body, now),
        "GetParameter" => parameters::get(world, body),
        "GetParameters" => parameters::get_several(world, body),
        "GetParametersByPath" => parameters::get_by_path(world, body),
        "DeleteParameter" => parameters::delete(world, body),
        "DeleteParameters" => parameters::delete_several(world, body),
        other => Err(unknown_operation(other)),
    }
}

/// What the embedded fleet does not offer is an error that says so.
pub(crate) fn unknown_operation(name: &str) -> ApiError {
    let message = format!("The embedded fleet does not offer the operation {name}.");
    ApiError::common(400, "UnknownOperationException", message)
}

/// Reads a request; members that the service does not know are ignored, as the real one does.
pub(crate) fn read<T: DeserializeOwned>(body: &str) -> Result<T, ApiError> {
    let body = if body.trim().is_empty() { "{}" } else { body };
    serde_json::from_str(body).map_err(|error| ApiError::common(400, "SerializationException", error.to_string()))
}

/// The scope of the tokens of a request: everything in it but the page size and the token.
pub(crate) fn token_scope(world: &World, operation: &str, body: &str) -> TokenScope {
    let mut parameters: Value = serde_json::from_str(body).unwrap_or_default();
    if let Value::Object(members) = &mut parameters {
        members.retain(|name, _| name != "NextToken" && name != "MaxResults");
        members.sort_keys();
    }
    TokenScope::new(world.seed, operation, &parameters.to_string())
}

impl From<BadToken> for ApiError {
    fn from(_: BadToken) -> Self {
        Self::modelled("InvalidNextToken", "The specified token isn't valid.")
    }
}

/// The page size of a request.
pub(crate) fn page_size(requested: Option<i64>, default: usize) -> usize {
    requested.and_then(|size| usize::try_from(size).ok()).unwrap_or(default)
}
