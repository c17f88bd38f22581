//! Commands that somebody sent and that have not ended.

use std::time::{Duration, Instant};

use aws_sdk_ssm::types::{Command, CommandFilter, CommandFilterKey};

use super::commands::{PAGE, Sent};
use super::error::AwsError;
use super::operation::Operation;
use super::session::Session;
use crate::fleet::InstanceId;

/// How long a command is waited for whose end the service does not tell.
const LIFETIME: Duration = Duration::from_hours(2);

/// A command that has not ended.
#[derive(Clone, Debug)]
pub struct UnderWay {
    /// The command, for following it.
    pub sent: Sent,
    /// Its comment.
    pub comment: String,
    /// Its parameter `Policy`.
    pub policy: String,
}

impl Session {
    /// The commands under way, of whoever's, whose document has a name that begins with `prefix`.
    pub async fn commands_under_way(&self, prefix: &str) -> Result<Vec<UnderWay>, AwsError> {
        let operation = Operation::ListCommands;
        let filter = CommandFilter::builder().key(CommandFilterKey::ExecutionStage).value("Executing").build();
        let filter = filter.map_err(|error| AwsError::Limit { operation, problem: error.to_string() })?;
        let mut found = Vec::new();
        let mut token: Option<String> = None;
        loop {
            let request = || {
                let call = self.ssm.list_commands().filters(filter.clone()).max_results(PAGE);
                call.set_next_token(token.clone()).send()
            };
            let page = self.limiter.call(operation, "commands under way", request).await?;
            let commands = page.commands.unwrap_or_default();
            found.extend(commands.into_iter().filter_map(|command| under_way(command, prefix)));
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }
}

/// What we need of a command; `None` for those that are not ours.
fn under_way(command: Command, prefix: &str) -> Option<UnderWay> {
    let document = command.document_name.filter(|name| name.starts_with(prefix))?;
    let policy = command.parameters.as_ref().and_then(|parameters| parameters.get("Policy")?.first().cloned());
    let requested = command.requested_date_time.as_ref().map_or(0, aws_sdk_ssm::primitives::DateTime::secs);
    let ids = command.instance_ids.unwrap_or_default();
    Some(UnderWay {
        sent: Sent {
            command_id: Some(command.command_id?),
            document,
            accepted: ids.iter().filter_map(|id| InstanceId::parse(id).ok()).collect(),
            rejected: Vec::new(),
            requested,
            lifetime: LIFETIME,
            since: Instant::now(),
        },
        comment: command.comment.unwrap_or_default(),
        policy: policy.unwrap_or_default(),
    })
}
