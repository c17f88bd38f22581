//! The wire: one HTTP endpoint that tells the three services apart and answers in their protocols (aws-ssm-facts 9.1).

mod auth;
mod commands;
mod documents;
mod ec2;
pub(crate) mod error;
mod form;
mod nodes;
pub(crate) mod paging;
mod parameters;
mod ssm;
mod sts;
mod xml;

use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use jiff::Timestamp;

use self::auth::Service;
use self::error::ApiError;
use self::form::Form;
use super::faults::RequestFate;
use super::line::Line;
use super::server::Shared;
use super::world::Time;

/// The largest request: a document of 64 KB, escaped twice at worst.
const BODY_LIMIT: usize = 1024 * 1024;

/// Answers any request, unless it is one whose connection is to break.
pub(crate) async fn answer(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request,
) -> Response {
    let request_id = shared.request_id();
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, BODY_LIMIT).await else {
        let error = ApiError::common(413, "RequestEntityTooLarge", "The request is longer than 1 MiB.");
        return error.into_json(&request_id);
    };
    let body = String::from_utf8_lossy(&body);
    let (response, fate) = match parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()) {
        Some(target) => ssm_answer(&shared, target, &parts.headers, &body, &request_id),
        None => query_answer(&shared, &parts.headers, &body, &request_id),
    };
    if let RequestFate::Dropped { .. } = fate {
        line.cut();
    }
    response
}

fn ssm_answer(
    shared: &Arc<Shared>,
    target: &str,
    headers: &header::HeaderMap,
    body: &str,
    request_id: &str,
) -> (Response, RequestFate) {
    let mut fate = RequestFate::Answered;
    let result = auth::check(headers, Service::Ssm, &shared.scope().region).and_then(|_| {
        let operation = target.strip_prefix("AmazonSSM.").ok_or_else(|| ssm::unknown_operation(target))?;
        fate = shared.world().admit(operation);
        suffer(fate, Service::Ssm, || ssm::call(shared, operation, body))
    });
    let response = match result {
        Ok(value) => respond(StatusCode::OK, "application/x-amz-json-1.1", request_id, value.to_string()),
        Err(error) => error.into_json(request_id),
    };
    (response, fate)
}

fn query_answer(
    shared: &Arc<Shared>,
    headers: &header::HeaderMap,
    body: &str,
    request_id: &str,
) -> (Response, RequestFate) {
    let form = Form::parse(body);
    let service = match form.get("Version") {
        Some("2011-06-15") => Service::Sts,
        _ => Service::Ec2,
    };
    let mut fate = RequestFate::Answered;
    let result = auth::check(headers, service, &shared.scope().region).and_then(|access_key| {
        let mut world = shared.world();
        if form.action().is_empty() {
            return Err(ApiError::common(400, "MissingAction", "The request must contain the parameter Action"));
        }
        fate = world.admit(form.action());
        suffer(fate, service, || match service {
            Service::Sts => sts::call(&world.scope, &access_key, &form, request_id),
            Service::Ec2 | Service::Ssm => ec2::call(&world, &form, request_id),
        })
    });
    let response = match (result, service) {
        (Ok(xml), _) => respond(StatusCode::OK, "text/xml;charset=UTF-8", request_id, xml),
        (Err(error), Service::Sts) => error.into_query(request_id, sts::NAMESPACE),
        (Err(error), _) => error.into_ec2(request_id),
    };
    (response, fate)
}

/// Carries a call out as far as its fate allows.
fn suffer<T>(fate: RequestFate, service: Service, call: impl FnOnce() -> Result<T, ApiError>) -> Result<T, ApiError> {
    match fate {
        RequestFate::Answered | RequestFate::Dropped { after: true } => call(),
        RequestFate::Throttled => Err(ApiError::throttled(service)),
        // The answer of a request whose connection breaks is never seen.
        RequestFate::Fails { after: false } | RequestFate::Dropped { after: false } => Err(ApiError::internal(service)),
        // What the service would have refused it still refuses.
        RequestFate::Fails { after: true } => call().and(Err(ApiError::internal(service))),
    }
}

/// A response with the headers of every AWS service.
pub(crate) fn respond(status: StatusCode, content_type: &'static str, request_id: &str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-amzn-requestid", id);
    }
    response
}

/// A time as EC2 and the texts of SSM write it: `2026-01-31T12:00:00.000Z`.
pub(crate) fn iso(time: Time) -> String {
    let milliseconds = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(milliseconds).map(|stamp| format!("{stamp:.3}")).unwrap_or_default()
}

/// A time as the JSON protocol writes it: seconds since the epoch as a number, with milliseconds.
pub(crate) fn seconds(time: Time) -> f64 {
    (time.as_secs_f64() * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    #[test]
    fn times_are_written_as_the_protocols_want() {
        let time = Duration::from_millis(1_767_225_600_250);
        assert_eq!(super::iso(time), "2026-01-01T00:00:00.250Z");
        assert!((super::seconds(time) - 1_767_225_600.25).abs() < f64::EPSILON);
    }
}
