//! Looks at the signature of a request. The embedded fleet has no secrets, so it checks everything but the digest: that
//! there is an `Authorization` header of the right form, for the right service and region.

use axum::http::header::{AUTHORIZATION, HeaderMap};

use super::error::ApiError;

/// The services of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    /// Systems Manager.
    Ssm,
    /// EC2.
    Ec2,
    /// The security token service.
    Sts,
}

impl Service {
    /// The name in a credential scope.
    const fn name(self) -> &'static str {
        match self {
            Self::Ssm => "ssm",
            Self::Ec2 => "ec2",
            Self::Sts => "sts",
        }
    }
}

/// Checks the header and returns the access key id.
pub(crate) fn check(headers: &HeaderMap, service: Service, region: &str) -> Result<String, ApiError> {
    let Some(header) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
        return Err(missing(service));
    };
    let Some(fields) = header.strip_prefix("AWS4-HMAC-SHA256 ") else {
        return Err(incomplete(service, "Authorization header requires the algorithm AWS4-HMAC-SHA256."));
    };
    let field = |name: &str| {
        fields
            .split(',')
            .filter_map(|field| field.trim().split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
            .filter(|value| !value.is_empty())
            .ok_or_else(|| incomplete(service, &format!("Authorization header requires '{name}' parameter.")))
    };
    let (credential, signed, signature) = (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    if signature.len() != 64 || !signature.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(invalid(service, "The request signature we calculated does not match the signature you provided."));
    }
    if !signed.split(';').any(|name| name == "host") {
        return Err(invalid(service, "'Host' must be a 'SignedHeader' in the AWS Authorization."));
    }
    if !headers.contains_key("x-amz-date") && !headers.contains_key("date") {
        return Err(incomplete(
            service,
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ));
    }
    let parts: Vec<&str> = credential.split('/').collect();
    let [access_key, _date, given_region, given_service, "aws4_request"] = parts.as_slice() else {
        return Err(incomplete(service, "Credential must have the form KEY/DATE/REGION/SERVICE/aws4_request."));
    };
    if *given_service != service.name() {
        return Err(invalid(
            service,
            &format!("Credential should be scoped to correct service: '{}'.", service.name()),
        ));
    }
    // STS is also reached by its global name, signed for us-east-1.
    if *given_region != region && !(service == Service::Sts && *given_region == "us-east-1") {
        let message = format!(
            "Credential should be scoped to a valid region: this endpoint serves {region}, not {given_region}."
        );
        return Err(invalid(service, &message));
    }
    Ok((*access_key).to_owned())
}

fn missing(service: Service) -> ApiError {
    match service {
        Service::Ssm => ApiError::common(400, "MissingAuthenticationTokenException", "Missing Authentication Token"),
        Service::Ec2 => {
            ApiError::common(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
        }
        Service::Sts => ApiError::common(403, "MissingAuthenticationToken", "Request is missing Authentication Token"),
    }
}

fn incomplete(service: Service, message: &str) -> ApiError {
    match service {
        Service::Ssm => ApiError::common(400, "IncompleteSignatureException", message),
        Service::Ec2 | Service::Sts => ApiError::common(400, "IncompleteSignature", message),
    }
}

fn invalid(service: Service, message: &str) -> ApiError {
    match service {
        Service::Ssm => ApiError::common(400, "InvalidSignatureException", message),
        Service::Ec2 => ApiError::common(401, "AuthFailure", message),
        Service::Sts => ApiError::common(403, "SignatureDoesNotMatch", message),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use axum::http::HeaderMap;

    use super::{Service, check};

    fn result(authorization: &str, service: Service) -> Result<String, String> {
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-date", "20260101T000000Z".parse().unwrap());
        if !authorization.is_empty() {
            headers.insert("authorization", authorization.parse().unwrap());
        }
        check(&headers, service, "eu-central-1").map_err(|error| error.code.into_owned())
    }

    #[test]
    fn signatures_are_checked_for_form_service_and_region() {
        let header = |scope: &str, signed: &str| {
            format!(
                "AWS4-HMAC-SHA256 Credential=KEY/20260101/{scope}, SignedHeaders={signed}, Signature={}",
                "a".repeat(64)
            )
        };
        let good = header("eu-central-1/ssm/aws4_request", "host;x-amz-date");
        for (authorization, service, expected) in [
            (good.as_str(), Service::Ssm, Ok("KEY")),
            (&header("us-east-1/sts/aws4_request", "host"), Service::Sts, Ok("KEY")),
            ("", Service::Ssm, Err("MissingAuthenticationTokenException")),
            ("", Service::Ec2, Err("AuthFailure")),
            ("", Service::Sts, Err("MissingAuthenticationToken")),
            ("Bearer x", Service::Ssm, Err("IncompleteSignatureException")),
            (&good.replace("aaaa", "zzzz"), Service::Ssm, Err("InvalidSignatureException")),
            (&good.replace("Credential", "Other"), Service::Ssm, Err("IncompleteSignatureException")),
            (&good, Service::Ec2, Err("AuthFailure")),
            (&header("us-east-1/ssm/aws4_request", "host"), Service::Ssm, Err("InvalidSignatureException")),
            (&header("eu-central-1/ssm/aws4_request", "x-amz-date"), Service::Ssm, Err("InvalidSignatureException")),
        ] {
            assert_eq!(
                result(authorization, service),
                expected.map(str::to_owned).map_err(str::to_owned),
                "{authorization}"
            );
        }
    }
}
