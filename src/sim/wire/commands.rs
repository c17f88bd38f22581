//! SSM operations on commands (aws-ssm-facts 2.5 to 2.9).

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::documents::{is_version, with_token};
use super::error::{ApiError, Checks};
use super::paging::LastPage;
use super::ssm::{page_size, read, token_scope};
use super::{iso, seconds};
use crate::fleet::InstanceId;
use crate::sim::agent::{StepResult, StepStatus};
use crate::sim::commands::{Command, Invocation, Stage, Submission, Target};
use crate::sim::content::{MAX_DOCUMENT_BYTES, Values};
use crate::sim::documents::{Selector, Version};
use crate::sim::world::{Time, World};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SendRequest {
    document_name: Option<String>,
    document_version: Option<String>,
    document_hash: Option<String>,
    document_hash_type: Option<String>,
    instance_ids: Vec<String>,
    targets: Vec<TargetRequest>,
    parameters: Values,
    comment: Option<String>,
    timeout_seconds: Option<i64>,
    max_concurrency: Option<String>,
    max_errors: Option<String>,
    alarm_configuration: Option<AlarmConfiguration>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct AlarmConfiguration {
    alarms: Vec<Alarm>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Alarm {
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TargetRequest {
    key: String,
    values: Vec<String>,
}

impl SendRequest {
    /// The constraints of the request's shape.
    fn check(&self) -> Result<(), ApiError> {
        let mut checks = Checks::default();
        checks.required("documentName", self.document_name.is_some());
        let ids = format!("[{}]", self.instance_ids.join(", "));
        checks.length("instanceIds", &ids, self.instance_ids.len(), 0, 50);
        if self.instance_ids.iter().any(|id| InstanceId::parse(id).is_err()) {
            let pattern = "(^i-(\\w{8}|\\w{17})$)|(^mi-\\w{17}$)";
            checks.pattern("instanceIds", &ids, pattern, false);
        }
        checks.length("targets", "[...]", self.targets.len(), 0, 5);
        for target in &self.targets {
            checks.text("targets.member.key", Some(&target.key), 1, 163);
            checks.length("targets.member.values", "[...]", target.values.len(), 0, 50);
        }
        checks.text("comment", self.comment.as_deref(), 0, 100);
        checks.range("timeoutSeconds", self.timeout_seconds, 30, 2_592_000);
        checks.one_of("documentHashType", self.document_hash_type.as_deref(), &["Sha256", "Sha1"]);
        if let Some(version) = &self.document_version {
            checks.pattern("documentVersion", version, "([$]LATEST|[$]DEFAULT|^[1-9][0-9]*$)", is_version(version));
        }
        for (member, value, zero) in
            [("maxConcurrency", &self.max_concurrency, false), ("maxErrors", &self.max_errors, true)]
        {
            if let Some(value) = value {
                let pattern = if zero {
                    "^([1-9][0-9]*|[0]|[1-9][0-9]%|[0-9]%|100%)$"
                } else {
                    "^([1-9][0-9]*|[1-9][0-9]%|[1-9]%|100%)$"
                };
                checks.pattern(member, value, pattern, is_amount(value, zero)).text(member, Some(value), 1, 7);
            }
        }
        if let Some(configuration) = &self.alarm_configuration {
            checks.length("alarmConfiguration.alarms", "[...]", configuration.alarms.len(), 1, 1);
            for alarm in &configuration.alarms {
                checks.text("alarmConfiguration.alarms.1.member.name", Some(&alarm.name), 1, 255);
            }
        }
        checks.finish()?;
        self.check_targets()
    }

    fn check_targets(&self) -> Result<(), ApiError> {
        match (self.instance_ids.is_empty(), self.targets.is_empty()) {
            (true, true) => return Err(ApiError::validation("Either InstanceIds or Targets must be given.")),
            (false, false) => return Err(ApiError::validation("InstanceIds and Targets cannot both be given.")),
            _ => {}
        }
        if self.instance_ids.iter().collect::<BTreeSet<_>>().len() < self.instance_ids.len() {
            return Err(ApiError::modelled("DuplicateInstanceId", "You can't specify an instance ID more than once."));
        }
        for target in &self.targets {
            let tag = target.key.starts_with("tag:") || target.key == "tag-key";
            if !tag && target.key != "InstanceIds" {
                let message = format!("The embedded fleet has no targets with the key {}.", target.key);
                return Err(ApiError::validation(message));
            }
            if target.values.is_empty() || (tag && target.values.len() > 5) {
                let message = format!("The target {} takes 1 to 5 values, not {}.", target.key, target.values.len());
                return Err(ApiError::validation(message));
            }
        }
        Ok(())
    }
}

/// Whether a text is a number or a percentage as `MaxConcurrency` and `MaxErrors` want it.
fn is_amount(text: &str, zero: bool) -> bool {
    let number = text.strip_suffix('%').unwrap_or(text);
    let digits = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = !number.starts_with('0') || (number == "0" && zero);
    let bounded = !text.ends_with('%') || number.parse::<u32>().is_ok_and(|number| number <= 100);
    digits && canonical && bounded
}

/// `SendCommand`
pub(crate) fn send(world: &mut World, body: &str, now: Time) -> Result<Value, ApiError> {
    let request: SendRequest = read(body)?;
    request.check()?;
    let name = request.document_name.clone().unwrap_or_default();
    let document = world.documents.get(&name)?;
    let selector = Selector { version: request.document_version.as_deref(), name: None };
    let version = document.version(selector)?;
    check_document(world, version, &request, now)?;
    let instance_ids = check_nodes(world, version, &request)?;
    let submission = Submission {
        document: document.name.clone(),
        version: request.document_version.unwrap_or_else(|| "$DEFAULT".to_owned()),
        content: version.content.clone(),
        values: request.parameters,
        comment: request.comment.unwrap_or_default(),
        instance_ids,
        targets: request.targets.into_iter().map(|target| Target { key: target.key, values: target.values }).collect(),
        max_concurrency: request.max_concurrency.unwrap_or_else(|| "50".to_owned()),
        max_errors: request.max_errors.unwrap_or_else(|| "0".to_owned()),
        timeout_seconds: request.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(3600),
        alarm: request
            .alarm_configuration
            .and_then(|configuration| configuration.alarms.into_iter().next())
            .map(|alarm| alarm.name),
    };
    Ok(json!({"Command": show(world.commands.submit(submission, now))}))
}

fn check_document(world: &World, version: &Version, request: &SendRequest, now: Time) -> Result<(), ApiError> {
    let status = world.documents.status(version, now);
    if status != "Active" {
        let message = format!("Document version {} is {status}, not Active.", version.number);
        return Err(ApiError::modelled("InvalidDocument", message));
    }
    if let Some(hash) = &request.document_hash
        && (*hash != version.hash || request.document_hash_type.as_deref() == Some("Sha1"))
    {
        return Err(ApiError::modelled(
            "InvalidDocument",
            "The document hash does not match the content of the document.",
        ));
    }
    version.content.check_values(&request.parameters)?;
    let values: usize = request.parameters.values().flatten().map(String::len).sum();
    if version.text.len() + values > MAX_DOCUMENT_BYTES {
        let message = format!("The document and its parameters are longer than {MAX_DOCUMENT_BYTES} bytes.");
        return Err(ApiError::modelled("MaxDocumentSizeExceeded", message));
    }
    Ok(())
}

/// Refuses the whole call where one id is not a valid target, named directly or as a target.
fn check_nodes(world: &World, version: &Version, request: &SendRequest) -> Result<Vec<InstanceId>, ApiError> {
    let by_target =
        request.targets.iter().filter(|target| target.key == "InstanceIds").flat_map(|target| &target.values);
    let named: Vec<&String> = request.instance_ids.iter().chain(by_target.filter(|id| *id != "*")).collect();
    let valid = |id: &str| world.node(id).filter(|node| node.valid_target());
    let wrong: Vec<&str> = named.iter().filter(|id| valid(id).is_none()).map(|id| id.as_str()).collect();
    if !wrong.is_empty() {
        let message =
            format!("Instances [[{}]] not in a valid state for account {}", wrong.join(", "), world.scope.account);
        return Err(ApiError::modelled("InvalidInstanceId", message));
    }
    let platforms = version.content.platform_types();
    let mut ids = Vec::new();
    for node in request.instance_ids.iter().filter_map(|id| valid(id)) {
        if !node.agent.as_ref().is_some_and(|agent| platforms.contains(&agent.platform_type)) {
            let message = format!(
                "The document does not support the platform of {}: it is for {}.",
                node.id,
                platforms.join(", ")
            );
            return Err(ApiError::modelled("UnsupportedPlatformType", message));
        }
        ids.push(node.id.clone());
    }
    Ok(ids)
}

fn show(command: &Command) -> Value {
    let (status, details) = command.status();
    let (counts, submission) = (command.counts(), &command.submission);
    let targets: Vec<Value> =
        submission.targets.iter().map(|target| json!({"Key": target.key, "Values": target.values})).collect();
    let mut shown = json!({
        "CommandId": command.id,
        "DocumentName": submission.document,
        "DocumentVersion": submission.version,
        "Comment": submission.comment,
        "ExpiresAfter": seconds(command.expires),
        "Parameters": submission.values,
        "InstanceIds": submission.instance_ids.iter().map(InstanceId::as_str).collect::<Vec<_>>(),
        "Targets": targets,
        "RequestedDateTime": seconds(command.requested),
        "Status": status,
        "StatusDetails": details,
        "OutputS3Region": "",
        "OutputS3BucketName": "",
        "OutputS3KeyPrefix": "",
        "MaxConcurrency": submission.max_concurrency,
        "MaxErrors": submission.max_errors,
        "TargetCount": counts.targets,
        "CompletedCount": counts.completed,
        "ErrorCount": counts.errors,
        "DeliveryTimedOutCount": counts.delivery_timed_out,
        "ServiceRole": "",
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false},
        "TimeoutSeconds": submission.timeout_seconds,
    });
    if let Some(alarm) = &submission.alarm {
        shown["AlarmConfiguration"] = json!({"Alarms": [{"Name": alarm}], "IgnorePollAlarmFailure": false});
    }
    shown
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ListRequest {
    command_id: Option<String>,
    instance_id: Option<String>,
    filters: Vec<ListFilter>,
    details: bool,
    max_results: Option<i64>,
    next_token: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListFilter {
    key: String,
    value: String,
}

impl ListRequest {
    fn read(body: &str, world: &World) -> Result<Self, ApiError> {
        let request: Self = read(body)?;
        let mut checks = Checks::default();
        checks.range("maxResults", request.max_results, 1, 50).text("commandId", request.command_id.as_deref(), 36, 36);
        checks.length("filters", "[...]", request.filters.len(), 0, 5);
        let keys = ["InvokedAfter", "InvokedBefore", "Status", "ExecutionStage", "DocumentName"];
        for filter in &request.filters {
            checks.one_of("filters.member.key", Some(&filter.key), &keys);
            checks.text("filters.member.value", Some(&filter.value), 1, 128);
        }
        checks.finish()?;
        if let Some(id) = &request.instance_id
            && world.node(id).is_none()
        {
            return Err(ApiError::modelled("InvalidInstanceId", format!("The instance ID {id} isn't valid.")));
        }
        Ok(request)
    }

    /// Whether the command is asked for, as far as command and invocation lists agree.
    fn wants(&self, command: &Command) -> Result<bool, ApiError> {
        let mut wanted = self.command_id.as_ref().is_none_or(|id| *id == command.id);
        for filter in &self.filters {
            wanted &= match filter.key.as_str() {
                "InvokedAfter" => command.requested >= time(&filter.value)?,
                "InvokedBefore" => command.requested <= time(&filter.value)?,
                "DocumentName" => command.submission.document == filter.value,
                _ => true,
            };
        }
        Ok(wanted)
    }

    /// Whether all filters with this key have this value, spelled in the way of filters.
    fn all(&self, key: &str, test: impl Fn(&str) -> bool) -> bool {
        self.filters.iter().filter(|filter| filter.key == key).all(|filter| test(&filter.value))
    }
}

/// An ISO 8601 time of a filter.
fn time(text: &str) -> Result<Time, ApiError> {
    let stamp: Timestamp = text.parse().map_err(|_| {
        ApiError::validation(format!("The filter value {text} is not a time like 2026-01-31T12:00:00Z."))
    })?;
    Ok(Duration::from_millis(u64::try_from(stamp.as_millisecond()).unwrap_or_default()))
}

/// `ListCommands`, the newest first.
pub(crate) fn list(world: &World, body: &str) -> Result<Value, ApiError> {
    let request = ListRequest::read(body, world)?;
    let mut listed = Vec::new();
    for command in world.commands.newest_first() {
        let (status, details) = command.status();
        let on_node = request
            .instance_id
            .as_ref()
            .is_none_or(|id| command.invocations.iter().any(|invocation| invocation.node.as_str() == id));
        let stage = if command.is_over() { "Complete" } else { "Executing" };
        if request.wants(command)?
            && on_node
            && request.all("ExecutionStage", |wanted| wanted == stage)
            && request.all("Status", |wanted| wanted == status || wanted == details)
        {
            listed.push(command);
        }
    }
    let (page, next) = token_scope(world, "ListCommands", body).page(
        &listed,
        |command| command.id.clone(),
        request.next_token.as_deref(),
        page_size(request.max_results, 50),
        LastPage::MayBeEmpty,
    )?;
    let shown: Vec<Value> = page.iter().map(|command| show(command)).collect();
    Ok(with_token(json!({"Commands": shown}), next))
}

/// `ListCommandInvocations`, the newest command first.
pub(crate) fn list_invocations(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let request = ListRequest::read(body, world)?;
    if request.filters.iter().any(|filter| filter.key == "ExecutionStage") {
        return Err(ApiError::modelled(
            "InvalidFilterKey",
            "The filter key ExecutionStage isn't valid for invocations.",
        ));
    }
    let mut listed: Vec<(&Command, &Invocation)> = Vec::new();
    for command in world.commands.newest_first() {
        if request.wants(command)? {
            let wanted = command.visible_invocations(now).iter().filter(|invocation| {
                let (status, details) = status(invocation);
                request.instance_id.as_ref().is_none_or(|id| invocation.node.as_str() == id)
                    && request.all("Status", |wanted| wanted == status || wanted == details)
            });
            listed.extend(wanted.map(|invocation| (command, invocation)));
        }
    }
    let (page, next) = token_scope(world, "ListCommandInvocations", body).page(
        &listed,
        |(command, invocation)| format!("{}/{}", command.id, invocation.node),
        request.next_token.as_deref(),
        page_size(request.max_results, 50),
        LastPage::MayBeEmpty,
    )?;
    let shown: Vec<Value> =
        page.iter().map(|(command, invocation)| show_invocation(world, command, invocation, request.details)).collect();
    Ok(with_token(json!({"CommandInvocations": shown}), next))
}

/// `Status` and `StatusDetails` of an invocation.
fn status(invocation: &Invocation) -> (&'static str, &'static str) {
    match invocation.stage {
        Stage::Waiting => ("Pending", "Pending"),
        Stage::Sent(_) | Stage::Running | Stage::Lost if invocation.cancelling => ("Cancelling", "Cancelling"),
        Stage::Sent(_) | Stage::Running | Stage::Lost => ("InProgress", "InProgress"),
        Stage::Done(ending) => (ending.status(), ending.details()),
    }
}

fn show_invocation(world: &World, command: &Command, invocation: &Invocation, details: bool) -> Value {
    let (status, status_details) = status(invocation);
    let agent = world.node(invocation.node.as_str()).and_then(|node| node.agent.as_ref());
    let plugins: Vec<Value> = if details { plugins(command, invocation) } else { Vec::new() };
    json!({
        "CommandId": command.id,
        "InstanceId": invocation.node.as_str(),
        "InstanceName": agent.map(|agent| agent.computer_name.as_str()).unwrap_or_default(),
        "Comment": command.submission.comment,
        "DocumentName": command.submission.document,
        "DocumentVersion": command.submission.version,
        "RequestedDateTime": seconds(command.requested),
        "Status": status,
        "StatusDetails": status_details,
        "TraceOutput": invocation.trace,
        "StandardOutputUrl": "",
        "StandardErrorUrl": "",
        "CommandPlugins": plugins,
        "ServiceRole": "",
        "CloudWatchOutputConfig": {"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false},
    })
}

/// What an invocation has to say of its steps: nothing before the agent has it.
fn plugins(command: &Command, invocation: &Invocation) -> Vec<Value> {
    if matches!(invocation.stage, Stage::Running | Stage::Lost) {
        let steps = &command.submission.content.steps;
        return steps
            .iter()
            .map(|step| {
                json!({"Name": step.name, "Status": "InProgress", "StatusDetails": "InProgress", "ResponseCode": -1, "Output": ""})
            })
            .collect();
    }
    invocation
        .steps
        .iter()
        .map(|step| {
            let (status, details) = step_status(step);
            json!({
                "Name": step.name,
                "Status": status,
                "StatusDetails": details,
                "ResponseCode": step.code,
                "ResponseStartDateTime": seconds(step.started),
                "ResponseFinishDateTime": seconds(step.finished),
                "Output": step.output,
                "StandardOutputUrl": "",
                "StandardErrorUrl": "",
            })
        })
        .collect()
}

/// Skipped steps are shown as successful ones (aws-ssm-facts 4.5).
fn step_status(step: &StepResult) -> (&'static str, &'static str) {
    match step.status {
        StepStatus::Success | StepStatus::Skipped => ("Success", "Success"),
        StepStatus::Failed => ("Failed", "Failed"),
        StepStatus::TimedOut => ("TimedOut", "ExecutionTimedOut"),
        StepStatus::Cancelled => ("Cancelled", "Cancelled"),
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct GetRequest {
    command_id: Option<String>,
    instance_id: Option<String>,
    plugin_name: Option<String>,
}

/// `GetCommandInvocation`
pub(crate) fn get_invocation(world: &World, body: &str, now: Time) -> Result<Value, ApiError> {
    let request: GetRequest = read(body)?;
    let mut checks = Checks::default();
    checks.required("commandId", request.command_id.is_some()).required("instanceId", request.instance_id.is_some());
    checks.text("commandId", request.command_id.as_deref(), 36, 36).text(
        "pluginName",
        request.plugin_name.as_deref(),
        4,
        500,
    );
    checks.finish()?;
    let (command_id, instance_id) = (request.command_id.unwrap_or_default(), request.instance_id.unwrap_or_default());
    let found =
        world.commands.get(&command_id).and_then(|command| Some((command, command.invocation(&instance_id, now)?)));
    // The real service gives no message.
    let (command, invocation) = found.ok_or_else(|| ApiError::modelled("InvocationDoesNotExist", ""))?;
    let declared = &command.submission.content.steps;
    // Without a name the only step is meant; of several, none, and only the status is answered.
    let name = match &request.plugin_name {
        Some(name) if declared.iter().any(|step| step.name == *name) => Some(name.as_str()),
        Some(_) => return Err(ApiError::modelled("InvalidPluginName", "The plugin name isn't valid.")),
        None if declared.len() == 1 => Some(declared[0].name.as_str()),
        None => None,
    };
    let step = name.and_then(|name| invocation.steps.iter().find(|step| step.name == name));
    let (status, details) = match step {
        Some(step) => step_status(step),
        None => status(invocation),
    };
    let mut shown = Map::new();
    let mut insert = |member: &str, value: Value| shown.insert(member.to_owned(), value);
    insert("CommandId", json!(command.id));
    insert("InstanceId", json!(instance_id));
    insert("Comment", json!(command.submission.comment));
    insert("DocumentName", json!(command.submission.document));
    insert("DocumentVersion", json!(command.submission.version));
    insert("PluginName", json!(name.unwrap_or_default()));
    insert("ResponseCode", json!(step.map_or(-1, |step| step.code)));
    insert("ExecutionStartDateTime", json!(step.map(|step| iso(step.started)).unwrap_or_default()));
    insert("ExecutionElapsedTime", json!(step.map(elapsed).unwrap_or_default()));
    insert("ExecutionEndDateTime", json!(step.map(|step| iso(step.finished)).unwrap_or_default()));
    insert("Status", json!(status));
    insert("StatusDetails", json!(details));
    let content =
        |step: &StepResult| if step.status == StepStatus::Skipped { step.output.clone() } else { step.stdout.clone() };
    insert("StandardOutputContent", json!(step.map(content).unwrap_or_default()));
    insert("StandardOutputUrl", json!(""));
    insert("StandardErrorContent", json!(step.map(|step| step.stderr.clone()).unwrap_or_default()));
    insert("StandardErrorUrl", json!(""));
    insert("CloudWatchOutputConfig", json!({"CloudWatchLogGroupName": "", "CloudWatchOutputEnabled": false}));
    Ok(Value::Object(shown))
}

/// How long a step took, as ISO 8601 writes a duration.
fn elapsed(step: &StepResult) -> String {
    let took = step.finished.saturating_sub(step.started);
    format!("PT{}.{:03}S", took.as_secs(), took.subsec_millis())
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct CancelRequest {
    command_id: Option<String>,
    instance_ids: Vec<String>,
}

/// `CancelCommand`
pub(crate) fn cancel(world: &mut World, body: &str) -> Result<Value, ApiError> {
    let request: CancelRequest = read(body)?;
    let mut checks = Checks::default();
    checks.required("commandId", request.command_id.is_some()).text("commandId", request.command_id.as_deref(), 36, 36);
    checks.length("instanceIds", "[...]", request.instance_ids.len(), 0, 50).finish()?;
    let id = request.command_id.unwrap_or_default();
    let Some(command) = world.commands.get(&id) else {
        return Err(ApiError::modelled("InvalidCommandId", "The specified command ID isn't valid."));
    };
    let mut nodes = Vec::new();
    for text in &request.instance_ids {
        match command.invocations.iter().find(|invocation| invocation.node.as_str() == text) {
            Some(invocation) => nodes.push(invocation.node.clone()),
            None => {
                return Err(ApiError::modelled("InvalidInstanceId", format!("The instance ID {text} isn't valid.")));
            }
        }
    }
    if nodes.iter().collect::<BTreeSet<_>>().len() < nodes.len() {
        return Err(ApiError::modelled("DuplicateInstanceId", "You can't specify an instance ID more than once."));
    }
    world.commands.cancel(&id, &nodes);
    Ok(json!({}))
}

#[cfg(test)]
mod tests {
    use super::is_amount;

    #[test]
    fn amounts_follow_the_pattern_of_the_service() {
        for (text, zero, expected) in [
            ("1", false, true),
            ("50", false, true),
            ("10%", false, true),
            ("100%", false, true),
            ("101%", false, false),
            ("0", false, false),
            ("0", true, true),
            ("0%", true, true),
            ("00", true, false),
            ("1.5", true, false),
            ("", true, false),
            ("%", true, false),
            ("-1", true, false),
        ] {
            assert_eq!(is_amount(text, zero), expected, "{text} {zero}");
        }
    }
}
