//! STS: who am I.

use super::error::ApiError;
use super::form::Form;
use super::xml::Xml;
use crate::fleet::Scope;

/// The namespace of every STS answer.
pub(crate) const NAMESPACE: &str = "https://sts.amazonaws.com/doc/2011-06-15/";

/// Answers one call.
pub(crate) fn call(scope: &Scope, access_key: &str, form: &Form, request_id: &str) -> Result<String, ApiError> {
    match form.action() {
        "GetCallerIdentity" => Ok(caller_identity(scope, access_key, request_id)),
        other => Err(ApiError::common(
            400,
            "InvalidAction",
            format!(
                "Could not find operation {other} for version {}",
                form.get("Version").unwrap_or("NO_VERSION_SPECIFIED")
            ),
        )),
    }
}

fn caller_identity(scope: &Scope, access_key: &str, request_id: &str) -> String {
    let mut xml = Xml::new();
    xml.open_with("GetCallerIdentityResponse", NAMESPACE).open("GetCallerIdentityResult");
    xml.leaf("Arn", &format!("arn:aws:iam::{}:user/embedded-fleet", scope.account));
    xml.leaf("UserId", access_key);
    xml.leaf("Account", &scope.account);
    xml.close("GetCallerIdentityResult").open("ResponseMetadata").leaf("RequestId", request_id);
    xml.close("ResponseMetadata").close("GetCallerIdentityResponse");
    xml.finish()
}
