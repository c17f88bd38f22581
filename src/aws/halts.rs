//! The stop switch: markers in Parameter Store that every run reads before each send.
//!
//! It needs no access to the machine that a run is on. A marker is a parameter, so where proxyfleet is not at hand the console
//! or the AWS CLI can set and clear one: `aws ssm put-parameter --name /proxyfleet/halt/all --type String --value REASON`.

use std::fmt;

use aws_sdk_ssm::types::{Parameter, ParameterType};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::error::AwsError;
use super::operation::Operation;
use super::session::Session;
use crate::policy::PolicyName;

/// Everything of the stop switch is below this path.
const FOLDER: &str = "/proxyfleet/halt";
const ALL: &str = "/proxyfleet/halt/all";
const POLICY: &str = "/proxyfleet/halt/policy/";

/// The most characters of a reason, so that a marker with everything else stays far below the 4,096 of a standard parameter.
pub const LONGEST_REASON: usize = 500;

/// The reason of a marker whose value is not ours and no text either.
const UNREADABLE: &str = "a marker that this version cannot read";

/// How often setting a marker that somebody else sets and clears at the same time is tried.
const RACES: u32 = 3;

/// What is halted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HaltScope {
    /// Every policy of the account and region.
    All,
    /// One policy.
    Policy(PolicyName),
}

impl HaltScope {
    /// The name of the parameter that holds the marker.
    pub fn parameter(&self) -> String {
        match self {
            Self::All => ALL.to_owned(),
            Self::Policy(name) => format!("{POLICY}{name}"),
        }
    }

    fn of_parameter(name: &str) -> Option<Self> {
        if name == ALL {
            return Some(Self::All);
        }
        name.strip_prefix(POLICY).and_then(PolicyName::parse).map(Self::Policy)
    }
}

/// `all policies` or `policy NAME`.
impl fmt::Display for HaltScope {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => formatter.write_str("all policies"),
            Self::Policy(name) => write!(formatter, "policy {name}"),
        }
    }
}

/// A marker that is set. Its texts hold no control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Halt {
    /// What is halted.
    pub scope: HaltScope,
    /// Why.
    pub reason: String,
    /// The ARN of whoever set it, where the marker says so.
    pub by: Option<String>,
    /// When it was set, where that is known.
    pub since: Option<Timestamp>,
}

/// `halted by CALLER: REASON`, for the summary of a run.
impl fmt::Display for Halt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} halted", self.scope)?;
        if let Some(by) = &self.by {
            write!(formatter, " by {by}")?;
        }
        write!(formatter, ": {}", self.reason)
    }
}

/// Every marker of an account and region.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Halts {
    /// Those that halt something: first everything, then policies by name.
    pub set: Vec<Halt>,
    /// Parameters in our folder that no run looks at, such as one for a policy name that cannot be.
    pub without_effect: Vec<String>,
}

/// What came of setting a marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// It is set.
    Set,
    /// There was one already, and it stays: this one.
    AlreadyThere(Halt),
}

/// A marker's value as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Stored {
    reason: String,
    by: String,
    since: String,
}

impl Halt {
    /// The value of the marker, one line.
    fn value(&self) -> String {
        let stored = Stored {
            reason: self.reason.clone(),
            by: self.by.clone().unwrap_or_default(),
            since: self.since.map(|since| since.to_string()).unwrap_or_default(),
        };
        let text = serde_json::to_string(&stored).expect("invariant: three texts can be written as JSON");
        // Parameter Store takes `{{...}}` for a reference and refuses it. Within JSON only a text can hold it.
        text.replace("{{", "{\\u007b")
    }

    /// Parses a marker. It halts whatever its value is: who made it wanted that.
    fn parse(scope: HaltScope, value: &str, modified: Option<Timestamp>) -> Self {
        let (reason, by, since) = match serde_json::from_str::<Stored>(value) {
            Ok(stored) => (stored.reason, stored.by, stored.since.parse().ok()),
            // Somebody wrote it by hand.
            Err(_) if !value.trim_start().starts_with(['{', '[']) => (value.to_owned(), String::new(), None),
            Err(_) => (String::new(), String::new(), None),
        };
        let reason = Some(one_line(&reason)).filter(|reason| !reason.is_empty());
        Self {
            scope,
            reason: reason.unwrap_or_else(|| UNREADABLE.to_owned()),
            by: Some(one_line(&by)).filter(|by| !by.is_empty()),
            since: since.or(modified),
        }
    }

    fn of(scope: HaltScope, parameter: &Parameter) -> Self {
        let modified = parameter.last_modified_date.as_ref().and_then(|time| Timestamp::from_second(time.secs()).ok());
        Self::parse(scope, parameter.value.as_deref().unwrap_or_default(), modified)
    }
}

/// Text for a terminal: anybody who may write the parameter wrote it.
fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|one| if one.is_control() { ' ' } else { one }).collect();
    plain.trim().chars().take(LONGEST_REASON).collect()
}

impl Session {
    /// The markers that halt this policy now: that for everything, then its own. One call.
    ///
    /// # Errors
    ///
    /// When the answer does not say. Then nothing may be sent: nobody knows whether a marker is set.
    pub async fn halts(&self, policy: &PolicyName) -> Result<Vec<Halt>, AwsError> {
        self.read_halts(&[HaltScope::All, HaltScope::Policy(policy.clone())]).await
    }

    async fn read_halts(&self, scopes: &[HaltScope]) -> Result<Vec<Halt>, AwsError> {
        let operation = Operation::GetParameters;
        let names: Vec<String> = scopes.iter().map(HaltScope::parameter).collect();
        let about = format!("the stop switch {}", names.join(" and "));
        let request = || self.ssm.get_parameters().set_names(Some(names.clone())).send();
        let answer = self.limiter.call(operation, &about, request).await?;
        let (found, absent) = (answer.parameters.unwrap_or_default(), answer.invalid_parameters.unwrap_or_default());
        let mut halts = Vec::new();
        for (scope, name) in scopes.iter().zip(&names) {
            match found.iter().find(|parameter| parameter.name.as_ref() == Some(name)) {
                Some(parameter) => halts.push(Halt::of(scope.clone(), parameter)),
                None if absent.contains(name) => {}
                // Neither there nor not there: that is not a no.
                None => return Err(AwsError::Incomplete { operation, missing: "a word on a marker" }),
            }
        }
        Ok(halts)
    }

    /// Every marker that is set.
    pub async fn list_halts(&self) -> Result<Halts, AwsError> {
        let mut halts = Halts::default();
        let mut token: Option<String> = None;
        loop {
            let request = || {
                let call = self.ssm.get_parameters_by_path().path(FOLDER).recursive(true);
                call.set_next_token(token.clone()).send()
            };
            let page =
                self.limiter.call(Operation::GetParametersByPath, "all markers of the stop switch", request).await?;
            for parameter in page.parameters.unwrap_or_default() {
                let name = parameter.name.clone().unwrap_or_default();
                match HaltScope::of_parameter(&name) {
                    Some(scope) => halts.set.push(Halt::of(scope, &parameter)),
                    None => halts.without_effect.push(one_line(&name)),
                }
            }
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                halts.set.sort_by(|left, right| left.scope.cmp(&right.scope));
                halts.without_effect.sort();
                return Ok(halts);
            }
        }
    }

    /// Sets a marker. One that is there already stays, unless `replace`.
    pub async fn set_halt(&self, halt: &Halt, replace: bool) -> Result<Placed, AwsError> {
        let name = halt.scope.parameter();
        let mut races = 0;
        loop {
            let request = || {
                let call = self.ssm.put_parameter().name(&name).r#type(ParameterType::String);
                call.value(halt.value()).overwrite(replace).send()
            };
            let error = match self.limiter.call(Operation::PutParameter, &name, request).await {
                Ok(_) => return Ok(Placed::Set),
                Err(error) if error.code() == Some("ParameterAlreadyExists") => error,
                Err(error) => return Err(error),
            };
            match self.read_halts(std::slice::from_ref(&halt.scope)).await?.pop() {
                // The answer to our own first attempt was lost.
                Some(there) if there == *halt => return Ok(Placed::Set),
                Some(there) => return Ok(Placed::AlreadyThere(there)),
                // Somebody has just cleared it.
                None if races < RACES => races += 1,
                None => return Err(error),
            }
        }
    }

    /// Clears a marker; whether there was one.
    pub async fn clear_halt(&self, scope: &HaltScope) -> Result<bool, AwsError> {
        let name = scope.parameter();
        let request = || self.ssm.delete_parameter().name(&name).send();
        match self.limiter.call(Operation::DeleteParameter, &name, request).await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some("ParameterNotFound") => Ok(false),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(name: &str) -> HaltScope {
        HaltScope::Policy(PolicyName::parse(name).expect("a good name"))
    }

    #[test]
    fn scopes_and_parameters_name_each_other() {
        for (scope, name) in [
            (HaltScope::All, "/proxyfleet/halt/all"),
            (policy("web"), "/proxyfleet/halt/policy/web"),
            (policy("all"), "/proxyfleet/halt/policy/all"),
        ] {
            assert_eq!(scope.parameter(), name);
            assert_eq!(HaltScope::of_parameter(name), Some(scope));
        }
        for name in ["/proxyfleet/halt/policy/Web", "/proxyfleet/halt/policy/", "/proxyfleet/halt/web", "/other"] {
            assert_eq!(HaltScope::of_parameter(name), None, "{name}");
        }
    }

    #[test]
    fn a_marker_halts_whatever_its_value_is() {
        let modified = Timestamp::from_second(1_700_000_000).ok();
        let unreadable = (UNREADABLE, None, modified);
        let written = "2026-01-31T12:00:00Z".parse().ok();
        for (value, expected) in [
            (
                r#"{"reason":"bad proxy","by":"arn:x","since":"2026-01-31T12:00:00Z"}"#,
                ("bad proxy", Some("arn:x"), written),
            ),
            (r#"{"reason":"r","by":"","since":"yesterday","more":1}"#, ("r", None, modified)),
            ("stop!", ("stop!", None, modified)),
            ("stop\u{1b}[2J\nnow ", ("stop [2J now", None, modified)),
            ("true", ("true", None, modified)),
            ("", unreadable),
            (" \n", unreadable),
            ("{", unreadable),
            ("[]", unreadable),
            (r#"{"format":"proxyfleet-halt/9"}"#, unreadable),
            (r#"{"reason":7,"by":"","since":""}"#, unreadable),
            (r#"{"reason":"","by":"","since":""}"#, unreadable),
        ] {
            let halt = Halt::parse(HaltScope::All, value, modified);
            assert_eq!((halt.reason.as_str(), halt.by.as_deref(), halt.since), expected, "{value}");
        }
    }

    proptest! {
        /// What is written is what is read, in one line that the service takes.
        #[test]
        fn a_marker_is_read_as_it_was_written(reason in "[{}a-z\"\\\\ é]{1,40}", seconds in 0_i64..4_000_000_000) {
            prop_assume!(!reason.trim().is_empty());
            let halt = Halt {
                scope: HaltScope::All,
                reason: reason.trim().to_owned(),
                by: Some("arn:aws:sts::111122223333:assumed-role/Ops/alice".to_owned()),
                since: Timestamp::from_second(seconds).ok(),
            };
            let value = halt.value();
            prop_assert!(!value.contains("{{") && !value.contains('\n'), "{}", value);
            prop_assert_eq!(Halt::parse(HaltScope::All, &value, None), halt);
        }

        #[test]
        fn no_value_makes_it_panic_or_not_halt(value in ".{0,200}") {
            let halt = Halt::parse(HaltScope::All, &value, None);
            prop_assert!(!halt.reason.is_empty() && !halt.reason.chars().any(char::is_control));
        }
    }
}
