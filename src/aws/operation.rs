//! The API operations we use, one table: their names, the permission each needs and the rate budget they share.

use std::fmt;

/// An API operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// Who are we, and in which account.
    GetCallerIdentity,
    /// The instances EC2 knows.
    DescribeInstances,
    /// The nodes SSM knows.
    DescribeInstanceInformation,
    /// The tags of a hybrid node.
    ListTagsForResource,
    /// One version of a document.
    DescribeDocument,
    /// Publish a document for the first time.
    CreateDocument,
    /// Publish a further version of a document.
    UpdateDocument,
    /// Run a document on instances.
    SendCommand,
    /// How far commands are.
    ListCommands,
    /// What each instance answered.
    ListCommandInvocations,
    /// The full answer of one step on one instance.
    GetCommandInvocation,
    /// Stop a command.
    CancelCommand,
    /// Whether the stop switch is set.
    GetParameters,
    /// Every marker of the stop switch.
    GetParametersByPath,
    /// Set a marker of the stop switch.
    PutParameter,
    /// Clear one.
    DeleteParameter,
}

/// Operations that share one rate budget. The service's own budgets are per API (aws-ssm-facts 1.1); those of the document
/// APIs are not published, so they are kept together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    Identity,
    Ec2,
    InstanceInformation,
    Tags,
    Documents,
    Send,
    Commands,
    Invocations,
    Invocation,
    Cancel,
    Parameters,
    ParameterWrites,
}

impl Operation {
    /// Every operation, in the order of use.
    pub const ALL: [Self; 16] = [
        Self::GetCallerIdentity,
        Self::DescribeInstances,
        Self::DescribeInstanceInformation,
        Self::ListTagsForResource,
        Self::DescribeDocument,
        Self::CreateDocument,
        Self::UpdateDocument,
        Self::SendCommand,
        Self::ListCommands,
        Self::ListCommandInvocations,
        Self::GetCommandInvocation,
        Self::CancelCommand,
        Self::GetParameters,
        Self::GetParametersByPath,
        Self::PutParameter,
        Self::DeleteParameter,
    ];

    /// The IAM action that allows it, such as `ssm:SendCommand`.
    pub const fn action(self) -> &'static str {
        match self {
            Self::GetCallerIdentity => "sts:GetCallerIdentity",
            Self::DescribeInstances => "ec2:DescribeInstances",
            Self::DescribeInstanceInformation => "ssm:DescribeInstanceInformation",
            Self::ListTagsForResource => "ssm:ListTagsForResource",
            Self::DescribeDocument => "ssm:DescribeDocument",
            Self::CreateDocument => "ssm:CreateDocument",
            Self::UpdateDocument => "ssm:UpdateDocument",
            Self::SendCommand => "ssm:SendCommand",
            Self::ListCommands => "ssm:ListCommands",
            Self::ListCommandInvocations => "ssm:ListCommandInvocations",
            Self::GetCommandInvocation => "ssm:GetCommandInvocation",
            Self::CancelCommand => "ssm:CancelCommand",
            Self::GetParameters => "ssm:GetParameters",
            Self::GetParametersByPath => "ssm:GetParametersByPath",
            Self::PutParameter => "ssm:PutParameter",
            Self::DeleteParameter => "ssm:DeleteParameter",
        }
    }

    /// What the action has to be allowed on, where that is always the same.
    pub(super) const fn resource(self) -> Option<&'static str> {
        match self {
            Self::GetParameters | Self::GetParametersByPath | Self::PutParameter | Self::DeleteParameter => {
                Some("parameter/proxyfleet/halt*")
            }
            _ => None,
        }
    }

    pub(super) const fn family(self) -> Family {
        match self {
            Self::GetCallerIdentity => Family::Identity,
            Self::DescribeInstances => Family::Ec2,
            Self::DescribeInstanceInformation => Family::InstanceInformation,
            Self::ListTagsForResource => Family::Tags,
            Self::DescribeDocument | Self::CreateDocument | Self::UpdateDocument => Family::Documents,
            Self::SendCommand => Family::Send,
            Self::ListCommands => Family::Commands,
            Self::ListCommandInvocations => Family::Invocations,
            Self::GetCommandInvocation => Family::Invocation,
            Self::CancelCommand => Family::Cancel,
            Self::GetParameters | Self::GetParametersByPath => Family::Parameters,
            Self::PutParameter | Self::DeleteParameter => Family::ParameterWrites,
        }
    }

    /// Whether it may be sent again when nobody knows if the first one arrived. `SendCommand` may not: it has no
    /// idempotency token, so a second one could run the document twice (aws-ssm-facts 2.5). Publishing may: versions are
    /// named by their content.
    pub(super) const fn is_repeatable(self) -> bool {
        !matches!(self, Self::SendCommand)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.action())
    }
}

impl Family {
    pub(super) const ALL: [Self; 12] = [
        Self::Identity,
        Self::Ec2,
        Self::InstanceInformation,
        Self::Tags,
        Self::Documents,
        Self::Send,
        Self::Commands,
        Self::Invocations,
        Self::Invocation,
        Self::Cancel,
        Self::Parameters,
        Self::ParameterWrites,
    ];

    /// Requests a second that we allow ourselves to begin with: our choice, below what is known to work, because the
    /// account's quota is shared with others (aws-ssm-facts 8).
    pub(super) const fn start_rate(self) -> f64 {
        match self {
            Self::Ec2 | Self::Parameters => 10.0,
            Self::InstanceInformation | Self::Documents | Self::Invocations | Self::Identity => 2.0,
            Self::Tags | Self::Invocation => 4.0,
            Self::Send | Self::Cancel | Self::ParameterWrites => 1.0,
            Self::Commands => 0.5,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_table_is_complete_and_in_order() {
        assert!(Operation::ALL.windows(2).all(|pair| pair[0] < pair[1]), "ALL follows the declaration");
        assert_eq!(Operation::ALL[15], Operation::DeleteParameter, "the last one declared is listed");
        for (index, family) in Family::ALL.into_iter().enumerate() {
            assert_eq!(family as usize, index, "a family's number is its place in the limiter");
        }
        assert!(Operation::ALL.iter().all(|operation| Family::ALL.contains(&operation.family())));
    }

    #[test]
    fn only_sending_is_not_repeatable() {
        let once: Vec<_> = Operation::ALL.into_iter().filter(|operation| !operation.is_repeatable()).collect();
        assert_eq!(once, [Operation::SendCommand]);
    }
}
