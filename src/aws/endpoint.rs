//! Which servers stand in for AWS: only ones on this machine, and either for all services or for none.
//!
//! The SDK ignores a malformed endpoint and then talks to AWS itself, and follows a stray variable to any host. Both would
//! be silent, so every setting is checked here (aws-ssm-facts 9).

use std::net::IpAddr;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;

use super::error::{AwsError, EndpointProblem};

const GLOBAL_VARIABLE: &str = "AWS_ENDPOINT_URL";
const IGNORE_VARIABLE: &str = "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS";

/// One checked endpoint a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoints {
    pub(super) sts: String,
    pub(super) ec2: String,
    pub(super) ssm: String,
}

/// A setting and its value.
type Setting = (String, String);

/// What the command line and the environment say.
pub(super) fn configured(
    option: Option<&str>,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<Option<Endpoints>, AwsError> {
    if let Some(url) = option {
        let url = checked(&("--endpoint-url".to_owned(), url.to_owned()))?;
        return Ok(Some(Endpoints { sts: url.clone(), ec2: url.clone(), ssm: url }));
    }
    if variable(IGNORE_VARIABLE).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    let setting = |name: String| variable(&name).map(|value| (name, value));
    let of_service =
        |service: &str| setting(format!("{GLOBAL_VARIABLE}_{service}")).or_else(|| setting(GLOBAL_VARIABLE.to_owned()));
    all_or_none(of_service("STS"), of_service("EC2"), of_service("SSM"))
}

/// What the profile says; the environment says nothing, or [`configured`] had found it.
pub(super) fn of_profile(config: &SdkConfig) -> Result<Option<Endpoints>, AwsError> {
    let global = config.endpoint_url().map(|url| ("`endpoint_url` of the AWS profile".to_owned(), url.to_owned()));
    let of_service = |service: &str| {
        let key = ServiceConfigKey::builder()
            .service_id(service)
            .env(GLOBAL_VARIABLE)
            .profile("endpoint_url")
            .build()
            .expect("invariant: all parts of the key are given");
        let url = config.service_config().and_then(|section| section.load_config(key));
        url.map(|url| (format!("`endpoint_url` of {service} in the AWS profile"), url)).or_else(|| global.clone())
    };
    all_or_none(of_service("STS"), of_service("EC2"), of_service("SSM"))
}

fn all_or_none(
    sts: Option<Setting>,
    ec2: Option<Setting>,
    ssm: Option<Setting>,
) -> Result<Option<Endpoints>, AwsError> {
    for setting in [&sts, &ec2, &ssm].into_iter().flatten() {
        checked(setting)?;
    }
    match (sts, ec2, ssm) {
        (None, None, None) => Ok(None),
        (Some(sts), Some(ec2), Some(ssm)) => {
            Ok(Some(Endpoints { sts: checked(&sts)?, ec2: checked(&ec2)?, ssm: checked(&ssm)? }))
        }
        (sts, ec2, ssm) => {
            let setting = [sts, ec2, ssm].into_iter().flatten().next().map(|(name, _)| name).unwrap_or_default();
            Err(AwsError::Endpoint { setting, problem: EndpointProblem::Partial })
        }
    }
}

fn checked((setting, url): &Setting) -> Result<String, AwsError> {
    match loopback(url) {
        Ok(()) => Ok(url.clone()),
        // The value itself is left out: it may hold a password.
        Err(problem) => Err(AwsError::Endpoint { setting: setting.clone(), problem }),
    }
}

/// Whether `url` is `http://HOST[:PORT][/]` with a host that is this machine. Plain http only: there is nobody to listen in.
fn loopback(url: &str) -> Result<(), EndpointProblem> {
    let (scheme, rest) = url.split_once("://").ok_or(EndpointProblem::Malformed)?;
    let authority = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match authority.strip_prefix('[').and_then(|bracketed| bracketed.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, after)) => (host, Some(after.strip_prefix(':').ok_or(EndpointProblem::Malformed)?)),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let host_is_text = !host.is_empty()
        && host.chars().all(|character| character.is_ascii_alphanumeric() || ".-:".contains(character));
    let port_is_number = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    if !host_is_text || !port_is_number || !["http", "https"].contains(&scheme) {
        return Err(EndpointProblem::Malformed);
    }
    let is_here = host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    match (is_here, scheme) {
        (false, _) => Err(EndpointProblem::NotLoopback),
        (true, "http") => Ok(()),
        (true, _) => Err(EndpointProblem::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from_environment(variables: &[(&str, &str)]) -> Result<Option<Endpoints>, (String, EndpointProblem)> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        configured(None, &lookup).map_err(|error| match error {
            AwsError::Endpoint { setting, problem } => (setting, problem),
            other => panic!("not an endpoint error: {other}"),
        })
    }

    #[test]
    fn only_this_machine_over_plain_http_is_accepted() {
        for url in [
            "http://127.0.0.1:4570",
            "http://127.0.0.1:4570/",
            "http://localhost:4570",
            "http://LocalHost",
            "http://[::1]:4570",
            "http://[::1]",
            "http://127.8.9.1:1",
        ] {
            assert_eq!(loopback(url), Ok(()), "{url}");
        }
        for url in [
            "http://10.0.0.1:4570",
            "https://ssm.eu-central-1.amazonaws.com",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://0.0.0.0:4570",
            "http://2130706433",
        ] {
            assert_eq!(loopback(url), Err(EndpointProblem::NotLoopback), "{url}");
        }
        for url in [
            "",
            "127.0.0.1:4570",
            "http://",
            "http://:4570",
            "http:/127.0.0.1",
            "ftp://127.0.0.1",
            "https://127.0.0.1:4570",
            "http://127.0.0.1:port",
            "http://127.0.0.1:0",
            "http://127.0.0.1:70000",
            "http://user:password@127.0.0.1:4570",
            "http://127.0.0.1@evil.example",
            "http://127.0.0.1:4570/path",
            "http://127.0.0.1?x=evil.example",
            "http://127.0.0.1#@evil.example",
            "http://[::1",
            "http://[::1]4570",
            "http://127.0.0.1:4570 ",
        ] {
            assert_eq!(loopback(url), Err(EndpointProblem::Malformed), "{url}");
        }
    }

    #[test]
    fn a_wrong_variable_is_named_and_never_ignored() {
        use EndpointProblem::{Malformed, NotLoopback, Partial};
        let here = "http://127.0.0.1:4570";
        for (variables, setting, problem) in [
            (&[("AWS_ENDPOINT_URL", "127.0.0.1:4570")][..], "AWS_ENDPOINT_URL", Malformed),
            (&[("AWS_ENDPOINT_URL", "http://example.com")], "AWS_ENDPOINT_URL", NotLoopback),
            (
                &[("AWS_ENDPOINT_URL", here), ("AWS_ENDPOINT_URL_SSM", "http://example.com")],
                "AWS_ENDPOINT_URL_SSM",
                NotLoopback,
            ),
            (&[("AWS_ENDPOINT_URL_EC2", "nonsense")], "AWS_ENDPOINT_URL_EC2", Malformed),
            (&[("AWS_ENDPOINT_URL_SSM", here)], "AWS_ENDPOINT_URL_SSM", Partial),
            (&[("AWS_ENDPOINT_URL_SSM", here), ("AWS_ENDPOINT_URL_EC2", here)], "AWS_ENDPOINT_URL_EC2", Partial),
        ] {
            assert_eq!(from_environment(variables), Err((setting.to_owned(), problem)), "{variables:?}");
        }
    }

    #[test]
    fn a_service_variable_wins_over_the_one_for_all() {
        let (here, there) = ("http://127.0.0.1:1", "http://127.0.0.1:2");
        let endpoints = from_environment(&[("AWS_ENDPOINT_URL", here), ("AWS_ENDPOINT_URL_SSM", there)]);
        let expected = Endpoints { sts: here.to_owned(), ec2: here.to_owned(), ssm: there.to_owned() };
        assert_eq!(endpoints, Ok(Some(expected)));
    }

    #[test]
    fn the_option_wins_over_every_variable_and_is_checked_too() {
        let lookup = |_: &str| Some("http://example.com".to_owned());
        let endpoints = configured(Some("http://[::1]:4570"), &lookup).expect("valid").expect("set");
        assert_eq!(endpoints.ec2, "http://[::1]:4570");
        let error = configured(Some("http://user:hunter2@example.com"), &lookup).expect_err("refused").to_string();
        assert!(error.contains("--endpoint-url") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn the_switch_that_turns_them_off_is_honoured() {
        let off = [("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true"), ("AWS_ENDPOINT_URL", "http://127.0.0.1:1")];
        assert_eq!(from_environment(&off), Ok(None));
        assert_eq!(from_environment(&[]), Ok(None));
    }
}
