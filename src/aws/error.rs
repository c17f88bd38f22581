//! What can go wrong with AWS, and what to do about it.

use std::fmt;

use aws_sdk_ssm::error::{ProvideErrorMetadata, SdkError};

use super::operation::Operation;

/// Something about AWS did not work.
#[derive(Debug, thiserror::Error)]
pub enum AwsError {
    /// A setting names an endpoint that we refuse.
    #[error("{setting} cannot be used: {problem}")]
    Endpoint {
        /// `--endpoint-url`, a variable or a key of the profile.
        setting: String,
        /// Why.
        problem: EndpointProblem,
    },
    /// Nothing says which region to work in.
    #[error("no AWS region is set{}", of_profile(profile.as_deref()))]
    NoRegion {
        /// The profile that was asked for by name.
        profile: Option<String>,
    },
    /// The region is not the name of one.
    #[error("`{0}` is not an AWS region: expected a name such as eu-central-1")]
    BadRegion(String),
    /// No source of credentials had any.
    #[error("no usable AWS credentials{}: {detail}", in_profile(profile.as_deref()))]
    NoCredentials {
        /// The profile that was asked for by name; then no other source was tried.
        profile: Option<String>,
        /// What the last source said.
        detail: String,
    },
    /// A call failed for good.
    #[error(transparent)]
    Call(Box<CallError>),
    /// The service answered something that its documentation excludes.
    #[error("{operation} answered without {missing}")]
    Incomplete {
        /// Which call.
        operation: Operation,
        /// What should have been there.
        missing: &'static str,
    },
    /// A document was published, but the service could not make it usable.
    #[error("document {name} version {version} is {status}, not Active")]
    DocumentNotActive {
        /// The document.
        name: String,
        /// The number of its version.
        version: String,
        /// The status it stayed in, and the service's reason where it gave one.
        status: String,
    },
    /// A request breaks a limit that the service has; found before anything was sent.
    #[error("{operation}: {problem}")]
    Limit {
        /// Which call was about to be made.
        operation: Operation,
        /// Which limit.
        problem: String,
    },
}

/// Why an endpoint is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndpointProblem {
    /// Not an http or https URL of a host, a port and nothing else.
    #[error("it is not a URL such as http://127.0.0.1:4570")]
    Malformed,
    /// Not an address of this machine.
    #[error("it does not point to this machine (127.0.0.1, ::1 or localhost)")]
    NotLoopback,
    /// Some services go to this machine, others to AWS.
    #[error("it covers only some of SSM, EC2 and STS, so the others would go to AWS itself")]
    Partial,
}

/// A call that failed, and how often it was tried.
#[derive(Debug)]
pub struct CallError {
    /// Which call.
    pub operation: Operation,
    /// What it was about, such as `ProxyFleet-Observe version 3 to 50 instances`; empty where the operation says it all.
    pub about: String,
    /// What kind of failure.
    pub class: Class,
    /// The service's code, where it answered.
    pub code: Option<String>,
    /// The service's message, or the chain of causes where there was no answer.
    pub message: String,
    /// How often it was sent.
    pub attempts: u32,
    /// How often the service refused it because there were too many.
    pub throttled: u32,
}

/// What kind of failure, by who can do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Too many requests from this account.
    Throttled,
    /// The caller may not do this.
    Denied,
    /// The credentials are expired or wrong.
    Credentials,
    /// The thing does not exist.
    NotFound,
    /// No answer, or an answer that says to try again.
    Transient,
    /// The service does not want this request as things are.
    Refused,
    /// We sent something that we should not have, or did not understand the answer.
    Bug,
}

impl AwsError {
    /// Whether the service may have done what was asked all the same: no answer came, or one that does not say.
    pub fn may_have_arrived(&self) -> bool {
        matches!(self, Self::Incomplete { .. }) || self.class() == Some(Class::Transient)
    }

    /// What to do next, in one sentence.
    pub fn remedy(&self) -> String {
        match self {
            Self::Endpoint { setting, problem: EndpointProblem::Partial } => {
                format!("Use --endpoint-url or AWS_ENDPOINT_URL, which cover all services, or unset {setting}.")
            }
            Self::Endpoint { setting, .. } => {
                format!(
                    "Point {setting} to a server on this machine such as `proxyfleet sim`, or unset it to use AWS itself."
                )
            }
            Self::NoRegion { .. } | Self::BadRegion(_) => {
                "Give --region, set AWS_REGION, or set `region` in the profile (~/.aws/config).".to_owned()
            }
            Self::NoCredentials { profile: Some(profile), .. } => format!(
                "Check that ~/.aws/config or ~/.aws/credentials has profile `{profile}`, and log in with \
                 `aws sso login --profile {profile}` if it uses SSO. A profile named by --profile is the only source tried."
            ),
            Self::NoCredentials { profile: None, .. } => {
                "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, name a profile with --profile (log in with \
                 `aws sso login` first if it uses SSO), or run where there is a task or instance role. Tried in this order: \
                 environment, profile, web identity, ECS task role, EC2 instance role."
                    .to_owned()
            }
            Self::Call(error) => error.remedy(),
            Self::Incomplete { .. } => {
                "Run it again; if it happens again, the endpoint is not what it says it is.".to_owned()
            }
            Self::DocumentNotActive { name, .. } => {
                format!(
                    "Look at the document in the Systems Manager console; `aws ssm delete-document --name {name}` lets the next run publish it afresh."
                )
            }
            Self::Limit { .. } => "This is a mistake in proxyfleet: please report it.".to_owned(),
        }
    }

    /// The kind of failure, where a call failed.
    pub fn class(&self) -> Option<Class> {
        match self {
            Self::Call(error) => Some(error.class),
            _ => None,
        }
    }

    /// The service's error code, where it gave one.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Call(error) => error.code.as_deref(),
            _ => None,
        }
    }

    /// The service's message, where there is one.
    pub(super) fn message(&self) -> &str {
        match self {
            Self::Call(error) => &error.message,
            _ => "",
        }
    }
}

impl CallError {
    pub(super) fn from_sdk<E>(operation: Operation, about: &str, error: &SdkError<E>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        let code = error.code().map(str::to_owned);
        let status = error.raw_response().map(|response| response.status().as_u16());
        let message = match error.message() {
            Some(message) => message.to_owned(),
            None => causes(error),
        };
        let class = match (error, code.as_deref()) {
            (_, Some(code)) => classify(code, status),
            (SdkError::ConstructionFailure(_), None) if names_credentials(&message) => Class::Credentials,
            (SdkError::DispatchFailure(failure), None)
                if !failure.is_io() && !failure.is_timeout() && names_credentials(&message) =>
            {
                Class::Credentials
            }
            (SdkError::TimeoutError(_) | SdkError::DispatchFailure(_), None) => Class::Transient,
            (_, None) => classify("", status),
        };
        Self { operation, about: about.to_owned(), class, code, message, attempts: 1, throttled: 0 }
    }

    pub(super) fn after(mut self, attempts: u32, throttled: u32) -> Self {
        self.attempts = attempts;
        self.throttled = throttled;
        self
    }

    fn remedy(&self) -> String {
        let action = self.operation.action();
        match self.class {
            Class::Throttled => format!(
                "The account's quota for {action} is shared with the console and other tools: run again when less is going on, \
                 or ask AWS for a higher quota."
            ),
            Class::Denied => {
                let on = self.operation.resource().map_or_else(String::new, |resource| format!(" on {resource}"));
                let why = match self.operation {
                    Operation::GetParameters => " Nothing is sent while nobody knows whether the stop switch is set.",
                    _ => "",
                };
                format!("Allow {action}{on} to the credentials in use; the README lists all permissions needed.{why}")
            }
            Class::Credentials => {
                "Log in again (`aws sso login`, new session keys), and check that the clock of this machine is right."
                    .to_owned()
            }
            Class::NotFound => "Check the region and the account: what was asked for is not there.".to_owned(),
            Class::Transient => {
                "Check the network, the name of the region, the proxy variables HTTPS_PROXY and NO_PROXY, and that the endpoint is up, then run again."
                    .to_owned()
            }
            Class::Refused => match self.code.as_deref() {
                Some("DocumentVersionLimitExceeded") => {
                    "The document has its 1,000 versions: delete old ones with `aws ssm delete-document --name NAME \
                     --document-version N` (never the default), then run again."
                        .to_owned()
                }
                Some("DocumentLimitExceeded") => {
                    "The account has its 500 documents in this region: delete some that nobody uses, then run again.".to_owned()
                }
                _ => "The service's message says what it does not accept; nothing was changed by this call.".to_owned(),
            },
            Class::Bug => "This is a mistake in proxyfleet, or the endpoint does not speak this API: please report it.".to_owned(),
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.operation)?;
        if !self.about.is_empty() {
            write!(formatter, " for {}", self.about)?;
        }
        match &self.code {
            Some(code) if self.message.is_empty() => write!(formatter, ": {code}")?,
            Some(code) => write!(formatter, ": {code}: {}", self.message)?,
            None => write!(formatter, ": {}", self.message)?,
        }
        if self.throttled > 0 {
            write!(formatter, " (throttled {} times in {} attempts)", self.throttled, self.attempts)?;
        } else if self.attempts > 1 {
            write!(formatter, " (after {} attempts)", self.attempts)?;
        }
        Ok(())
    }
}

impl std::error::Error for CallError {}

fn in_profile(profile: Option<&str>) -> String {
    profile.map_or_else(String::new, |name| format!(" in profile `{name}`"))
}

fn of_profile(profile: Option<&str>) -> String {
    profile.map_or_else(String::new, |name| format!(", and profile `{name}` names none or does not exist"))
}

/// The failure kind of a service's code. Most codes are in no model of the SDK, so they are matched as text
/// (aws-ssm-facts 2.5, 8).
fn classify(code: &str, status: Option<u16>) -> Class {
    match code {
        "Throttling"
        | "ThrottlingException"
        | "ThrottledException"
        | "RequestThrottledException"
        | "RequestThrottled"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "BandwidthLimitExceeded"
        | "LimitExceededException"
        | "SlowDown"
        | "PriorRequestNotComplete"
        | "EC2ThrottledException"
        | "TooManyUpdates" => Class::Throttled,
        "AccessDenied"
        | "AccessDeniedException"
        | "UnauthorizedOperation"
        | "UnauthorizedException"
        | "OptInRequired" => Class::Denied,
        "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch"
        | "InvalidSignatureException"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "AuthFailure" => Class::Credentials,
        "InvalidDocument"
        | "InvalidDocumentVersion"
        | "InvalidCommandId"
        | "InvocationDoesNotExist"
        | "InvalidResourceId"
        | "InvalidInstanceID.NotFound" => Class::NotFound,
        "RequestTimeout"
        | "RequestTimeoutException"
        | "InternalServerError"
        | "InternalFailure"
        | "InternalError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException"
        | "Unavailable" => Class::Transient,
        "UnknownOperationException"
        | "UnknownOperation"
        | "InvalidAction"
        | "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "InvalidParameterValue"
        | "InvalidParameterCombination"
        | "MissingParameter"
        | "InvalidNextToken"
        | "InvalidFilterKey"
        | "InvalidFilter"
        | "DuplicateInstanceId" => Class::Bug,
        _ => match status {
            Some(429) => Class::Throttled,
            Some(status) if status >= 500 => Class::Transient,
            _ if code.is_empty() => Class::Bug,
            _ => Class::Refused,
        },
    }
}

/// The SDK reports a failing credentials source as an untyped failure before the request goes out.
fn names_credentials(message: &str) -> bool {
    message.contains("credentials") || message.contains("identity")
}

/// The chain of causes, without what the SDK repeats in debug form after it.
pub(super) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(operation: Operation, code: &str, message: &str) -> AwsError {
        AwsError::Call(Box::new(CallError {
            operation,
            about: "ProxyFleet-Observe".to_owned(),
            class: classify(code, Some(400)),
            code: Some(code.to_owned()),
            message: message.to_owned(),
            attempts: 1,
            throttled: 0,
        }))
    }

    #[test]
    fn codes_have_a_class() {
        for (code, status, class) in [
            ("ThrottlingException", Some(400), Class::Throttled),
            ("RequestLimitExceeded", Some(503), Class::Throttled),
            ("", Some(429), Class::Throttled),
            ("AccessDeniedException", Some(400), Class::Denied),
            ("UnauthorizedOperation", Some(403), Class::Denied),
            ("ExpiredTokenException", Some(400), Class::Credentials),
            ("UnrecognizedClientException", Some(400), Class::Credentials),
            ("InvalidDocument", Some(400), Class::NotFound),
            ("InternalServerError", Some(500), Class::Transient),
            ("", Some(502), Class::Transient),
            ("Whatever", Some(503), Class::Transient),
            ("DocumentVersionLimitExceeded", Some(400), Class::Refused),
            ("InvalidInstanceId", Some(400), Class::Refused),
            ("UnknownOperationException", Some(400), Class::Bug),
            ("ValidationException", Some(400), Class::Bug),
            ("", Some(400), Class::Bug),
            ("", None, Class::Bug),
        ] {
            assert_eq!(classify(code, status), class, "{code} {status:?}");
        }
    }

    #[test]
    fn a_denial_names_the_permission_that_is_missing() {
        let error = call(Operation::SendCommand, "AccessDeniedException", "User u is not authorized");
        assert_eq!(
            error.to_string(),
            "ssm:SendCommand for ProxyFleet-Observe: AccessDeniedException: User u is not authorized"
        );
        assert!(error.remedy().contains("Allow ssm:SendCommand"), "{}", error.remedy());
        let error = call(Operation::GetParameters, "AccessDeniedException", "User u is not authorized");
        assert!(
            error.remedy().contains("Allow ssm:GetParameters on parameter/proxyfleet/halt* to"),
            "{}",
            error.remedy()
        );
        let error = call(Operation::DescribeInstances, "UnauthorizedOperation", "no");
        assert!(error.remedy().contains("Allow ec2:DescribeInstances"), "{}", error.remedy());
    }

    #[test]
    fn giving_up_says_how_often_it_was_throttled() {
        let AwsError::Call(error) = call(Operation::ListCommands, "ThrottlingException", "Rate exceeded") else {
            panic!("a call error");
        };
        let text = error.after(12, 12).to_string();
        assert!(text.ends_with("Rate exceeded (throttled 12 times in 12 attempts)"), "{text}");
    }

    #[test]
    fn a_full_document_has_a_remedy_of_its_own() {
        let error = call(Operation::UpdateDocument, "DocumentVersionLimitExceeded", "");
        assert!(error.to_string().ends_with(": DocumentVersionLimitExceeded"), "{error}");
        assert!(error.remedy().contains("delete old ones"), "{}", error.remedy());
    }
}
