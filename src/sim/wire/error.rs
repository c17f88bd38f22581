//! The errors of the three services and how each protocol writes them.

use std::borrow::Cow;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};

use super::auth::Service;
use super::respond;
use super::xml::Xml;

/// An error as a service reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ApiError {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The code, such as `InvalidInstanceId`.
    pub(crate) code: Cow<'static, str>,
    /// The sentence for a person.
    pub(crate) message: String,
    /// Whether the service's model lists the error; SSM spells the message member `Message` for those and `message` for
    /// the errors that every service shares.
    modelled: bool,
}

impl ApiError {
    /// An error of the service's model: HTTP 400.
    pub(crate) fn modelled(code: &'static str, message: impl Into<String>) -> Self {
        Self { status: 400, code: Cow::Borrowed(code), message: message.into(), modelled: true }
    }

    /// An error that every service can give, with its HTTP status.
    pub(crate) fn common(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code: Cow::Borrowed(code), message: message.into(), modelled: false }
    }

    /// The service itself failed; each names that in its own way.
    pub(crate) fn internal(service: Service) -> Self {
        let (code, modelled) = match service {
            Service::Ssm => ("InternalServerError", true),
            Service::Ec2 => ("InternalError", false),
            Service::Sts => ("InternalFailure", false),
        };
        let message = "An internal error has occurred".to_owned();
        Self { status: 500, code: Cow::Borrowed(code), message, modelled }
    }

    /// Too many requests; each service names that in its own way (aws-ssm-facts 8).
    pub(crate) fn throttled(service: Service) -> Self {
        match service {
            Service::Ssm => Self::common(400, "ThrottlingException", "Rate exceeded"),
            Service::Ec2 => Self::common(503, "RequestLimitExceeded", "Request limit exceeded."),
            Service::Sts => Self::common(400, "Throttling", "Rate exceeded"),
        }
    }

    /// A value outside the constraints of the request's shape.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::common(400, "ValidationException", message)
    }

    /// The JSON 1.1 form.
    pub(crate) fn into_json(self, request_id: &str) -> Response {
        let mut body = Map::new();
        body.insert("__type".to_owned(), json!(self.code));
        let member = if self.modelled { "Message" } else { "message" };
        if !self.message.is_empty() {
            body.insert(member.to_owned(), Value::String(self.message));
        }
        respond(status(self.status), "application/x-amz-json-1.1", request_id, Value::Object(body).to_string())
    }

    /// The form of EC2's query protocol.
    pub(crate) fn into_ec2(self, request_id: &str) -> Response {
        let mut xml = Xml::new();
        xml.open("Response").open("Errors").open("Error");
        xml.leaf("Code", &self.code).leaf("Message", &self.message);
        xml.close("Error").close("Errors").leaf("RequestID", request_id).close("Response");
        respond(status(self.status), "text/xml;charset=UTF-8", request_id, xml.finish())
    }

    /// The form of the query protocol that STS speaks.
    pub(crate) fn into_query(self, request_id: &str, namespace: &str) -> Response {
        let mut xml = Xml::new();
        xml.open_with("ErrorResponse", namespace).open("Error");
        xml.leaf("Type", if self.status >= 500 { "Receiver" } else { "Sender" });
        xml.leaf("Code", &self.code).leaf("Message", &self.message);
        xml.close("Error").leaf("RequestId", request_id).close("ErrorResponse");
        respond(status(self.status), "text/xml", request_id, xml.finish())
    }
}

fn status(code: u16) -> StatusCode {
    StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Collects the constraint violations of one request and words them as the services do.
#[derive(Debug, Default)]
pub(crate) struct Checks(Vec<String>);

impl Checks {
    /// A number and its bounds.
    pub(crate) fn range(&mut self, member: &str, value: Option<i64>, low: i64, high: i64) -> &mut Self {
        if let Some(value) = value {
            if value < low {
                self.add(member, &value.to_string(), &format!("Member must have value greater than or equal to {low}"));
            } else if value > high {
                self.add(member, &value.to_string(), &format!("Member must have value less than or equal to {high}"));
            }
        }
        self
    }

    /// The number of entries of a list or characters of a text.
    pub(crate) fn length(&mut self, member: &str, shown: &str, length: usize, low: usize, high: usize) -> &mut Self {
        if length < low {
            self.add(member, shown, &format!("Member must have length greater than or equal to {low}"));
        } else if length > high {
            self.add(member, shown, &format!("Member must have length less than or equal to {high}"));
        }
        self
    }

    /// The characters of a text, if there is one.
    pub(crate) fn text(&mut self, member: &str, value: Option<&str>, low: usize, high: usize) -> &mut Self {
        if let Some(value) = value {
            self.length(member, value, value.chars().count(), low, high);
        }
        self
    }

    /// A text that has to follow a pattern; `holds` says whether it does.
    pub(crate) fn pattern(&mut self, member: &str, value: &str, pattern: &str, holds: bool) -> &mut Self {
        if !holds {
            self.add(member, value, &format!("Member must satisfy regular expression pattern: {pattern}"));
        }
        self
    }

    /// One of a closed set of words.
    pub(crate) fn one_of(&mut self, member: &str, value: Option<&str>, words: &[&str]) -> &mut Self {
        if let Some(value) = value
            && !words.contains(&value)
        {
            self.add(member, value, &format!("Member must satisfy enum value set: [{}]", words.join(", ")));
        }
        self
    }

    /// A member that must be there.
    pub(crate) fn required(&mut self, member: &str, present: bool) -> &mut Self {
        if !present {
            self.0.push(format!("Value null at '{member}' failed to satisfy constraint: Member must not be null"));
        }
        self
    }

    fn add(&mut self, member: &str, value: &str, constraint: &str) {
        self.0.push(format!("Value '{value}' at '{member}' failed to satisfy constraint: {constraint}"));
    }

    /// All violations in one error, or nothing.
    pub(crate) fn finish(&mut self) -> Result<(), ApiError> {
        match self.0.len() {
            0 => Ok(()),
            1 => Err(ApiError::validation(format!("1 validation error detected: {}", self.0[0]))),
            count => Err(ApiError::validation(format!("{count} validation errors detected: {}", self.0.join("; ")))),
        }
    }
}
