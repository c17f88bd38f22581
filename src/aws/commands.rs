//! Sending commands and reading what came of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_ssm::primitives::{DateTime, DateTimeFormat};
use aws_sdk_ssm::types::{
    Alarm, AlarmConfiguration, Command, CommandFilter, CommandFilterKey, CommandInvocation, CommandPlugin,
    DocumentHashType,
};

use super::error::{AwsError, Class};
use super::fleet_reader::known_id;
use super::limiter::Pace;
use super::operation::Operation;
use super::publisher::PublishedDocument;
use super::session::Session;
use crate::fleet::InstanceId;

/// Ids in one command.
pub(super) const MAX_IDS: usize = 50;
/// Rows on a page of the Run Command lists.
pub(super) const PAGE: i32 = 50;
const MAX_COMMENT: usize = 100;
/// Bytes of output that `ListCommandInvocations` gives a step.
const OUTPUT_LIMIT: usize = 2500;
/// Between standard output and standard error in the combined text (aws-ssm-facts 4.9).
const ERROR_HEADER: &str = "\n----------ERROR-------\n";
const CUT_MARKERS: [&str; 2] = ["---Output truncated---", "--output truncated--"];
/// How often a command is sent whose answer got lost and which is then not found either.
const SEND_ATTEMPTS: u32 = 3;
/// How often such a command is looked for: the list lags behind.
const LOOKS_FOR_LOST: u32 = 3;
const LOOK_INTERVAL: Duration = Duration::from_secs(3);
/// How far back a lost command is looked for; allows for a clock that is wrong.
const LOST_SINCE: Duration = Duration::from_mins(15);

/// What to send, and to whom.
#[derive(Clone, Debug)]
pub struct SendRequest<'a> {
    /// The document and its version.
    pub document: &'a PublishedDocument,
    /// At most 50.
    pub instances: &'a [InstanceId],
    /// The document's parameters; those left out have the document's defaults.
    pub parameters: &'a BTreeMap<String, Vec<String>>,
    /// At most 100 characters; holds the id of the run, so that a lost command is found again (decision D12).
    pub comment: &'a str,
    /// How many instances may work at once, at least 1.
    pub max_concurrency: u32,
    /// How many may fail before the service stops handing the command out.
    pub max_errors: u32,
    /// How long an instance may take to fetch the command, 30 seconds at least.
    pub delivery_timeout_seconds: u32,
    /// A CloudWatch alarm in the same account and region that stops the command while it is in alarm (aws-ssm-facts 2.5).
    pub alarm: Option<&'a str>,
}

/// A command that is on its way.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The service's id; `None` when every instance was rejected, so that nothing was sent.
    pub command_id: Option<String>,
    /// The name of the document.
    pub document: String,
    /// The instances that will get it.
    pub accepted: Vec<InstanceId>,
    /// The instances that the service did not take.
    pub rejected: Vec<Rejection>,
    /// When the service took it, by the service's clock, in seconds since the epoch.
    pub(super) requested: i64,
    /// After this long the service gives it up.
    pub(super) lifetime: Duration,
    pub(super) since: Instant,
}

/// An instance that a command cannot be sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which.
    pub instance: InstanceId,
    /// What the service said.
    pub reason: String,
}

/// How far an instance, or a step on it, is: the service's `StatusDetails` (aws-ssm-facts 3.1).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// Not fetched yet.
    Pending,
    /// Fetched or running; also said of a node that went silent, until the command expires.
    InProgress,
    /// Could not be handed over, will be tried again.
    Delayed,
    /// A cancellation is under way.
    Cancelling,
    /// Every step ended with code 0 or was skipped: says nothing about what the document did (decision D11).
    Success,
    /// No final answer in time. The document may have run all the same: look again before you believe anything.
    DeliveryTimedOut,
    /// The agent stopped it because it took too long.
    ExecutionTimedOut,
    /// A step ended with another code than 0.
    Failed,
    /// Cancelled by request.
    Cancelled,
    /// The node is gone or silent.
    Undeliverable,
    /// The service stopped handing it out because too many others failed: it did not run here.
    Terminated,
    /// The document has no step for this system.
    InvalidPlatform,
    /// The caller may not send to this node.
    AccessDenied,
    /// Said of a step only: it is for another system.
    Skipped,
    /// A word that the documentation does not have.
    Other(String),
}

/// What one instance made of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocation {
    /// Which instance.
    pub instance: InstanceId,
    /// How far it is.
    pub status: Status,
    /// Its steps, in the document's order; none before the agent has answered.
    pub steps: Vec<StepOutput>,
}

/// What one step printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepOutput {
    /// The name of the step in the document.
    pub name: String,
    /// How it ended.
    pub status: Status,
    /// The exit code; -1 before there is one.
    pub response_code: i32,
    /// Standard output, whole up to the service's 24,000 characters.
    pub stdout: String,
    /// Standard error, possibly cut.
    pub stderr: String,
}

/// What all instances of a command made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invocations {
    /// In the order of their ids.
    pub found: Vec<Invocation>,
    /// Instances that accepted the command but that the service, even after a while, does not list.
    pub missing: Vec<InstanceId>,
}

impl Status {
    /// Reads a `StatusDetails`, which the service writes with or without blanks.
    pub fn parse(text: &str) -> Self {
        let word: String = text.chars().filter(|character| !character.is_whitespace()).collect();
        match word.to_ascii_lowercase().as_str() {
            "pending" => Self::Pending,
            "inprogress" => Self::InProgress,
            "delayed" => Self::Delayed,
            "cancelling" => Self::Cancelling,
            "success" => Self::Success,
            "deliverytimedout" => Self::DeliveryTimedOut,
            "executiontimedout" | "timedout" => Self::ExecutionTimedOut,
            "failed" => Self::Failed,
            "cancelled" => Self::Cancelled,
            "undeliverable" => Self::Undeliverable,
            "terminated" => Self::Terminated,
            "invalidplatform" => Self::InvalidPlatform,
            "accessdenied" => Self::AccessDenied,
            "skipped" => Self::Skipped,
            _ => Self::Other(text.to_owned()),
        }
    }

    /// Whether nothing more will happen. An unknown word counts as an end, so that nobody waits for ever.
    pub fn is_final(&self) -> bool {
        !matches!(self, Self::Pending | Self::InProgress | Self::Delayed | Self::Cancelling)
    }
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Pending => "pending",
            Self::InProgress => "in progress",
            Self::Delayed => "delayed",
            Self::Cancelling => "cancelling",
            Self::Success => "success",
            Self::DeliveryTimedOut => "delivery timed out",
            Self::ExecutionTimedOut => "execution timed out",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Undeliverable => "undeliverable",
            Self::Terminated => "terminated",
            Self::InvalidPlatform => "invalid platform",
            Self::AccessDenied => "access denied",
            Self::Skipped => "skipped",
            Self::Other(text) => text,
        })
    }
}

impl Session {
    /// Sends a document to instances. Instances that the service refuses are dropped and reported, and the others get it.
    ///
    /// Never sent twice blindly: when the answer is lost, the command is first looked for by its comment.
    pub async fn send(&self, request: &SendRequest<'_>) -> Result<Sent, AwsError> {
        let mut wanted = checked(request)?;
        let mut rejected = Vec::new();
        while !wanted.is_empty() {
            let error = match self.send_to(request, &wanted).await {
                Ok(command) => return accepted(request, command, wanted, rejected),
                // Both are said of the whole call when they are true of one instance.
                Err(error) if matches!(error.code(), Some("InvalidInstanceId" | "UnsupportedPlatformType")) => error,
                Err(error) => return Err(error),
            };
            let refused = self.refused(&wanted, &error).await?;
            wanted.retain(|id| !refused.contains(id));
            let rejection = |instance| Rejection { instance, reason: error.message().to_owned() };
            rejected.extend(refused.into_iter().map(rejection));
        }
        Ok(Sent {
            command_id: None,
            document: request.document.name.clone(),
            accepted: Vec::new(),
            rejected,
            requested: 0,
            lifetime: Duration::ZERO,
            since: Instant::now(),
        })
    }

    /// Which of `wanted` the service meant when it refused them all; never none.
    async fn refused(&self, wanted: &[InstanceId], error: &AwsError) -> Result<BTreeSet<InstanceId>, AwsError> {
        let named = named_ids(error.message(), wanted);
        if !named.is_empty() {
            return Ok(named);
        }
        // It named none. Find out by reading: sending to halves would run with twice the concurrency asked for.
        let reachable = self.reachable(wanted).await?;
        let unreachable: BTreeSet<InstanceId> = wanted.iter().filter(|id| !reachable.contains(id)).cloned().collect();
        Ok(if unreachable.is_empty() { wanted.iter().cloned().collect() } else { unreachable })
    }

    async fn send_to(&self, request: &SendRequest<'_>, ids: &[InstanceId]) -> Result<Command, AwsError> {
        let operation = Operation::SendCommand;
        let document = request.document;
        let about = format!("{} version {} to {} instances", document.name, document.version, ids.len());
        let timeout = i32::try_from(request.delivery_timeout_seconds).unwrap_or(i32::MAX);
        let alarm = request.alarm.map(alarm_configuration).transpose()?;
        let mut attempt = 1;
        loop {
            let answer = self
                .limiter
                .call(operation, &about, || {
                    self.ssm
                        .send_command()
                        .document_name(&document.name)
                        .document_version(&document.version)
                        .document_hash(&document.hash)
                        .document_hash_type(DocumentHashType::from(document.hash_type.as_str()))
                        .set_instance_ids(Some(ids.iter().map(ToString::to_string).collect()))
                        .set_parameters(Some(request.parameters.clone().into_iter().collect()))
                        .comment(request.comment)
                        .max_concurrency(request.max_concurrency.to_string())
                        .max_errors(request.max_errors.to_string())
                        .timeout_seconds(timeout)
                        .set_alarm_configuration(alarm.clone())
                        .send()
                })
                .await;
            let error = match answer {
                Ok(answer) => {
                    return answer.command.ok_or(AwsError::Incomplete { operation, missing: "a command" });
                }
                Err(error) => error,
            };
            if error.class() != Some(Class::Transient) {
                return Err(error);
            }
            if let Some(command) = self.find_lost(request, ids).await? {
                return Ok(command);
            }
            if attempt >= SEND_ATTEMPTS {
                return Err(error);
            }
            attempt += 1;
        }
    }

    /// Looks for a command that may or may not have been taken: same document, comment and instances.
    async fn find_lost(&self, request: &SendRequest<'_>, ids: &[InstanceId]) -> Result<Option<Command>, AwsError> {
        let since = SystemTime::now().checked_sub(LOST_SINCE).unwrap_or(SystemTime::UNIX_EPOCH);
        let since = DateTime::from(since).secs();
        let wanted: BTreeSet<&str> = ids.iter().map(InstanceId::as_str).collect();
        for _ in 0..LOOKS_FOR_LOST {
            tokio::time::sleep(self.limiter.interval(LOOK_INTERVAL)).await;
            let mut commands = self.list_commands(&request.document.name, since).await?.into_iter();
            let found = commands.find(|command| {
                let sent_to = command.instance_ids().iter().map(String::as_str).collect::<BTreeSet<_>>();
                command.comment() == Some(request.comment) && sent_to == wanted
            });
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The commands of one document from `since`, in seconds since the epoch, on.
    pub(super) async fn list_commands(&self, document: &str, since: i64) -> Result<Vec<Command>, AwsError> {
        let operation = Operation::ListCommands;
        let since = DateTime::from_secs(since).fmt(DateTimeFormat::DateTime).unwrap_or_default();
        let filters = [(CommandFilterKey::DocumentName, document.to_owned()), (CommandFilterKey::InvokedAfter, since)];
        let filters: Result<Vec<_>, _> =
            filters.into_iter().map(|(key, value)| CommandFilter::builder().key(key).value(value).build()).collect();
        let filters = filters.map_err(|error| AwsError::Limit { operation, problem: error.to_string() })?;
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .limiter
                .call(operation, document, || {
                    self.ssm
                        .list_commands()
                        .set_filters(Some(filters.clone()))
                        .max_results(PAGE)
                        .set_next_token(token.clone())
                        .send()
                })
                .await?;
            found.extend(page.commands.unwrap_or_default());
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// What every instance of a command made of it, with the whole output of each step that has ended.
    ///
    /// Right after sending the service may list nothing or only some (aws-ssm-facts 2.7); those are waited for a while.
    pub async fn invocations(&self, sent: &Sent) -> Result<Invocations, AwsError> {
        let Some(command_id) = &sent.command_id else {
            return Ok(Invocations { found: Vec::new(), missing: Vec::new() });
        };
        let patience = match self.pace {
            Pace::Service => Duration::from_secs(30),
            Pace::Loopback => Duration::from_secs(5),
        };
        let started = Instant::now();
        let mut rows = self.list_invocations(command_id).await?;
        while sent.accepted.iter().any(|id| !rows.contains_key(id)) && started.elapsed() < patience {
            tokio::time::sleep(self.limiter.interval(Duration::from_secs(2))).await;
            rows = self.list_invocations(command_id).await?;
        }
        let missing = sent.accepted.iter().filter(|id| !rows.contains_key(id)).cloned().collect();
        let mut found = Vec::with_capacity(rows.len());
        for (instance, row) in rows {
            let mut steps = Vec::new();
            for plugin in row.command_plugins.unwrap_or_default() {
                steps.push(self.step(command_id, &instance, plugin).await?);
            }
            let status = Status::parse(row.status_details.as_deref().unwrap_or("Pending"));
            found.push(Invocation { instance, status, steps });
        }
        Ok(Invocations { found, missing })
    }

    async fn list_invocations(&self, command_id: &str) -> Result<BTreeMap<InstanceId, CommandInvocation>, AwsError> {
        let operation = Operation::ListCommandInvocations;
        let mut found = BTreeMap::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .limiter
                .call(operation, command_id, || {
                    self.ssm
                        .list_command_invocations()
                        .command_id(command_id)
                        .details(true)
                        .max_results(PAGE)
                        .set_next_token(token.clone())
                        .send()
                })
                .await?;
            for row in page.command_invocations.unwrap_or_default() {
                found.insert(known_id(operation, row.instance_id.as_deref())?, row);
            }
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    async fn step(
        &self,
        command_id: &str,
        instance: &InstanceId,
        plugin: CommandPlugin,
    ) -> Result<StepOutput, AwsError> {
        let name = plugin.name.unwrap_or_default();
        let status = Status::parse(plugin.status_details.as_deref().unwrap_or("Pending"));
        let (mut stdout, mut stderr, cut) = split_output(plugin.output.as_deref().unwrap_or_default());
        if cut {
            let about = format!("step {name} on {instance}");
            let full = self
                .limiter
                .call(Operation::GetCommandInvocation, &about, || {
                    self.ssm
                        .get_command_invocation()
                        .command_id(command_id)
                        .instance_id(instance.as_str())
                        .plugin_name(&name)
                        .send()
                })
                .await?;
            stdout = full.standard_output_content.unwrap_or_default();
            stderr = full.standard_error_content.unwrap_or_default();
        }
        Ok(StepOutput { name, status, response_code: plugin.response_code, stdout, stderr })
    }

    /// Asks the service to stop a command, on some instances or on all. Without promise: what runs may end as it likes, so
    /// follow the command on to its end (aws-ssm-facts 2.9).
    pub async fn cancel(&self, sent: &Sent, instances: Option<&[InstanceId]>) -> Result<(), AwsError> {
        let Some(command_id) = &sent.command_id else { return Ok(()) };
        let ids = instances.map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>());
        let request = || self.ssm.cancel_command().command_id(command_id).set_instance_ids(ids.clone()).send();
        self.limiter.call(Operation::CancelCommand, command_id, request).await?;
        Ok(())
    }
}

/// Refuses what the service would refuse, or worse, take for throttling (aws-ssm-facts 2.5); returns the ids without
/// duplicates.
fn checked(request: &SendRequest<'_>) -> Result<Vec<InstanceId>, AwsError> {
    let limit = |problem: String| Err(AwsError::Limit { operation: Operation::SendCommand, problem });
    let ids: BTreeSet<&InstanceId> = request.instances.iter().collect();
    if ids.is_empty() || ids.len() > MAX_IDS {
        return limit(format!("{} instances in one command, 1 to {MAX_IDS} are possible", ids.len()));
    }
    if request.comment.is_empty() || request.comment.chars().count() > MAX_COMMENT {
        return limit(format!("a comment has 1 to {MAX_COMMENT} characters"));
    }
    if request.max_concurrency == 0 {
        return limit("a concurrency of 0 would never send anything".to_owned());
    }
    if !(30..=2_592_000).contains(&request.delivery_timeout_seconds) {
        return limit(format!(
            "a delivery timeout of {} s, 30 to 2592000 are possible",
            request.delivery_timeout_seconds
        ));
    }
    Ok(ids.into_iter().cloned().collect())
}

fn alarm_configuration(name: &str) -> Result<AlarmConfiguration, AwsError> {
    let limit = |problem: String| AwsError::Limit { operation: Operation::SendCommand, problem };
    let alarm = Alarm::builder().name(name).build().map_err(|error| limit(error.to_string()))?;
    AlarmConfiguration::builder().alarms(alarm).build().map_err(|error| limit(error.to_string()))
}

fn accepted(
    request: &SendRequest<'_>,
    command: Command,
    accepted: Vec<InstanceId>,
    rejected: Vec<Rejection>,
) -> Result<Sent, AwsError> {
    let operation = Operation::SendCommand;
    let command_id = command.command_id.ok_or(AwsError::Incomplete { operation, missing: "a command id" })?;
    let requested = command.requested_date_time.unwrap_or_else(|| DateTime::from(SystemTime::now()));
    let expires = command.expires_after.map_or(requested.secs() + 7200, |time| time.secs());
    let lifetime = Duration::from_secs(u64::try_from(expires - requested.secs()).unwrap_or_default());
    Ok(Sent {
        command_id: Some(command_id),
        document: request.document.name.clone(),
        accepted,
        rejected,
        requested: requested.secs(),
        lifetime,
        since: Instant::now(),
    })
}

/// The ids of `wanted` that a message names. Whole words only: one id can be the head of another.
fn named_ids(message: &str, wanted: &[InstanceId]) -> BTreeSet<InstanceId> {
    let words: BTreeSet<&str> =
        message.split(|character: char| !character.is_ascii_alphanumeric() && !"-_".contains(character)).collect();
    wanted.iter().filter(|id| words.contains(id.as_str())).cloned().collect()
}

/// Takes the combined output of a step apart, and says whether standard output was cut.
fn split_output(combined: &str) -> (String, String, bool) {
    let (stdout, stderr) = combined.split_once(ERROR_HEADER).unwrap_or((combined, ""));
    let cut_by_agent = CUT_MARKERS.iter().any(|marker| stdout.trim_end().ends_with(marker));
    // Without the header the service may have cut the text in the middle of standard output.
    let cut_by_service = combined.len() >= OUTPUT_LIMIT && !combined.contains(ERROR_HEADER);
    (stdout.to_owned(), stderr.to_owned(), cut_by_agent || cut_by_service)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(texts: &[&str]) -> Vec<InstanceId> {
        texts.iter().map(|text| InstanceId::parse(text).expect("a good id")).collect()
    }

    #[test]
    fn every_documented_status_is_known_with_and_without_blanks() {
        for (text, status, is_final) in [
            ("Pending", Status::Pending, false),
            ("In Progress", Status::InProgress, false),
            ("InProgress", Status::InProgress, false),
            ("Delayed", Status::Delayed, false),
            ("Cancelling", Status::Cancelling, false),
            ("Success", Status::Success, true),
            ("Delivery Timed Out", Status::DeliveryTimedOut, true),
            ("DeliveryTimedOut", Status::DeliveryTimedOut, true),
            ("ExecutionTimedOut", Status::ExecutionTimedOut, true),
            ("Failed", Status::Failed, true),
            ("Cancelled", Status::Cancelled, true),
            ("Undeliverable", Status::Undeliverable, true),
            ("Terminated", Status::Terminated, true),
            ("InvalidPlatform", Status::InvalidPlatform, true),
            ("AccessDenied", Status::AccessDenied, true),
            ("Half Done", Status::Other("Half Done".to_owned()), true),
        ] {
            assert_eq!(Status::parse(text), status, "{text}");
            assert_eq!(status.is_final(), is_final, "{text}");
        }
    }

    #[test]
    fn ids_in_a_message_are_found_whole() {
        let wanted = ids(&["i-12345678", "i-1234567890abcdef0", "i-0000000a"]);
        let message = "Instances [[i-1234567890abcdef0, i-0000000a]] not in a valid state for account 111122223333";
        assert_eq!(named_ids(message, &wanted), ids(&["i-1234567890abcdef0", "i-0000000a"]).into_iter().collect());
        assert!(named_ids("Instances are not in a valid state", &wanted).is_empty());
    }

    #[test]
    fn output_is_taken_apart() {
        let long = "x".repeat(2500);
        for (combined, stdout, stderr, cut) in [
            ("", "", "", false),
            ("report\nend\n", "report\nend\n", "", false),
            ("report\nend\n\n----------ERROR-------\nwarning", "report\nend\n", "warning", false),
            ("rep\n---Output truncated---", "rep\n---Output truncated---", "", true),
            ("rep\n---Output truncated---\n----------ERROR-------\nw", "rep\n---Output truncated---", "w", true),
            ("end\n\n----------ERROR-------\nw\n---Error truncated----", "end\n", "w\n---Error truncated----", false),
            (&long, &long, "", true),
        ] {
            assert_eq!(split_output(combined), (stdout.to_owned(), stderr.to_owned(), cut), "{combined}");
        }
    }

    #[test]
    fn what_the_service_would_refuse_is_not_sent() {
        let document = PublishedDocument {
            name: "ProxyFleet-Observe".to_owned(),
            version: "1".to_owned(),
            hash: "0".repeat(64),
            hash_type: "Sha256".to_owned(),
        };
        let parameters = BTreeMap::new();
        let many: Vec<InstanceId> =
            (0..51).map(|number| InstanceId::parse(&format!("i-{number:08}")).expect("a good id")).collect();
        let good = SendRequest {
            document: &document,
            instances: &many[..50],
            parameters: &parameters,
            comment: "proxyfleet run 1",
            max_concurrency: 1,
            max_errors: 0,
            delivery_timeout_seconds: 30,
            alarm: None,
        };
        assert_eq!(checked(&good).expect("fits").len(), 50);
        let twice = [many[0].clone(), many[0].clone()];
        assert_eq!(checked(&SendRequest { instances: &twice, ..good.clone() }).expect("fits").len(), 1);
        let long = "x".repeat(101);
        for bad in [
            SendRequest { instances: &many, ..good.clone() },
            SendRequest { instances: &[], ..good.clone() },
            SendRequest { comment: &long, ..good.clone() },
            SendRequest { comment: "", ..good.clone() },
            SendRequest { max_concurrency: 0, ..good.clone() },
            SendRequest { delivery_timeout_seconds: 29, ..good.clone() },
        ] {
            assert!(matches!(checked(&bad), Err(AwsError::Limit { .. })), "{bad:?}");
        }
    }
}
