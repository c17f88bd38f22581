//! Identity and reachability of a managed node.

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::Platform;

/// The place a fleet lives in: everything proxyfleet says about an instance is about one account and region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The twelve-digit account id.
    pub account: String,
    /// The region, such as `eu-central-1`.
    pub region: String,
}

impl fmt::Display for Scope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "account {}, region {}", self.account, self.region)
    }
}

/// The id of a managed node: `i-` and 8 or 17 characters, or `mi-` and 17 (aws-ssm-facts 2.1).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(String);

/// A text that is not the id of a managed node.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not an instance id: expected `i-` and 8 or 17 letters and digits, or `mi-` and 17")]
pub struct InvalidInstanceId(pub String);

impl InstanceId {
    /// Checks and wraps an id.
    pub fn parse(text: &str) -> Result<Self, InvalidInstanceId> {
        let lengths: &[usize] = if text.starts_with("mi-") { &[17] } else { &[8, 17] };
        let rest = text.strip_prefix("mi-").or_else(|| text.strip_prefix("i-"));
        match rest {
            Some(rest)
                if lengths.contains(&rest.len())
                    && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') =>
            {
                Ok(Self(text.to_owned()))
            }
            _ => Err(InvalidInstanceId(text.to_owned())),
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(&self.0)
    }
}

/// A managed node as the AWS APIs describe it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// Its tags; those of hybrid nodes come from SSM.
    pub tags: BTreeMap<String, String>,
    /// The availability zone it is in, where EC2 knows it.
    pub zone: Option<String>,
    /// What it runs, by SSM's word.
    pub identity: Identity,
    /// Whether a command can reach it.
    pub reach: Reach,
}

impl Instance {
    /// The `Name` tag, where there is one that is not empty.
    pub fn name(&self) -> Option<&str> {
        self.tags.get("Name").map(String::as_str).filter(|name| !name.is_empty())
    }

    /// The platform, where it is a supported one.
    pub fn platform(&self) -> Option<Platform> {
        match self.identity {
            Identity::Known(platform) => Some(platform),
            Identity::Unsupported { .. } | Identity::Unknown => None,
        }
    }
}

/// What a node runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// A platform of the catalogue.
    Known(Platform),
    /// A system that proxyfleet does not manage, by SSM's `PlatformName` and `PlatformVersion`.
    Unsupported {
        /// `PlatformName`
        name: String,
        /// `PlatformVersion`
        version: String,
    },
    /// SSM does not know the node, so nobody can say.
    Unknown,
}

/// Whether a command can reach a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// SSM's last word is `Online`.
    Online,
    /// Registered with SSM, but silent.
    Offline {
        /// Seconds since the epoch of the last heartbeat, if SSM says.
        last_ping: Option<i64>,
    },
    /// EC2 runs it, SSM does not know it: no agent, no instance profile, or no way to the endpoints.
    Unregistered,
    /// EC2 says that it is not running: `stopped`, `stopping` or `pending`.
    NotRunning {
        /// The EC2 state.
        state: String,
    },
}
