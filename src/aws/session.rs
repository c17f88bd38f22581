//! Opening a connection to one account and region, or to a stand-in for AWS on this machine.

use std::sync::Arc;
use std::time::Duration;

use aws_config::profile::ProfileFileCredentialsProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ssm::config::{Credentials, ProvideCredentials, SharedCredentialsProvider};

use super::endpoint::{self, Endpoints};
use super::error::{AwsError, causes};
use super::limiter::{CallCount, Limiter, Pace};
use super::operation::Operation;
use crate::fleet::Scope;

/// The region of a server on this machine when nothing names one.
const LOOPBACK_REGION: &str = "eu-central-1";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// For one attempt; the largest answers, a thousand instances, take a few seconds.
const ATTEMPT_TIMEOUT: Duration = Duration::from_mins(1);

/// Where to work, and as whom.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// The region; without it the environment, the profile and the instance metadata decide.
    pub region: Option<String>,
    /// The profile of `~/.aws/config`: the credentials are its, whatever the environment holds. Without it credentials of
    /// the environment come first, then those of `AWS_PROFILE` or `default`.
    pub profile: Option<String>,
    /// A server on this machine that stands in for all of AWS. Other hosts are refused.
    pub endpoint_url: Option<String>,
    /// Where the jitter of waiting times starts: give programs that start together different ones.
    pub jitter_seed: u64,
}

/// One account and region of AWS, or a stand-in on this machine. Clones share the rate limits and the count of calls.
#[derive(Clone, Debug)]
pub struct Session {
    pub(super) ec2: aws_sdk_ec2::Client,
    pub(super) ssm: aws_sdk_ssm::Client,
    pub(super) limiter: Arc<Limiter>,
    pub(super) pace: Pace,
    scope: Scope,
    caller: String,
}

impl Session {
    /// Finds region and credentials and asks STS who we are.
    ///
    /// `AWS_MAX_ATTEMPTS` and `AWS_RETRY_MODE` have no effect: retries are ours, see [`super::limiter`].
    ///
    /// # Errors
    ///
    /// An endpoint setting that is malformed, not on this machine, or for some services only; no region; no credentials;
    /// or a failing first call.
    pub async fn open(options: &SessionOptions) -> Result<Self, AwsError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let (config, endpoints) = match endpoint::configured(options.endpoint_url.as_deref(), &variable)? {
            Some(endpoints) => (loopback_config(options, &variable), Some(endpoints)),
            None => service_config(options, &variable).await?,
        };
        Self::connect(&config, endpoints.as_ref(), options.jitter_seed).await
    }

    async fn connect(config: &SdkConfig, endpoints: Option<&Endpoints>, seed: u64) -> Result<Self, AwsError> {
        let region = region_of(config, None)?.to_string();
        let (mut sts, mut ec2, mut ssm) = (
            aws_sdk_sts::config::Builder::from(config),
            aws_sdk_ec2::config::Builder::from(config),
            aws_sdk_ssm::config::Builder::from(config),
        );
        // Set even when there is none: a stray setting must not redirect what was not checked.
        sts.set_endpoint_url(endpoints.map(|all| all.sts.clone()));
        ec2.set_endpoint_url(endpoints.map(|all| all.ec2.clone()));
        ssm.set_endpoint_url(endpoints.map(|all| all.ssm.clone()));

        let pace = if endpoints.is_some() { Pace::Loopback } else { Pace::Service };
        let limiter = Limiter::new(pace, seed);
        let sts = aws_sdk_sts::Client::from_conf(sts.build());
        let operation = Operation::GetCallerIdentity;
        let caller = limiter.call(operation, "", || sts.get_caller_identity().send()).await?;
        let account = caller.account.ok_or(AwsError::Incomplete { operation, missing: "an account" })?;
        Ok(Self {
            ec2: aws_sdk_ec2::Client::from_conf(ec2.build()),
            ssm: aws_sdk_ssm::Client::from_conf(ssm.build()),
            limiter: Arc::new(limiter),
            pace,
            scope: Scope { account, region },
            caller: caller.arn.unwrap_or_default(),
        })
    }

    /// The account and region everything happens in.
    pub fn scope(&self) -> &Scope {
        &self.scope
    }

    /// Who we are: the ARN of the user or role.
    pub fn caller(&self) -> &str {
        &self.caller
    }

    /// The partition, such as `aws` or `aws-cn`.
    pub fn partition(&self) -> &str {
        self.caller.split(':').nth(1).filter(|partition| !partition.is_empty()).unwrap_or("aws")
    }

    /// Whether this is the real service or a server on this machine.
    pub fn pace(&self) -> Pace {
        self.pace
    }

    /// What was called so far and how often; operations never called are left out.
    pub fn calls(&self) -> Vec<CallCount> {
        self.limiter.counts()
    }
}

/// For the real service: the SDK's own search for region and credentials, with its default client, which honours the proxy
/// variables.
async fn service_config(
    options: &SessionOptions,
    variable: &(dyn Fn(&str) -> Option<String> + Sync),
) -> Result<(SdkConfig, Option<Endpoints>), AwsError> {
    let mut loader =
        // A given retry configuration also keeps the loader from reading AWS_MAX_ATTEMPTS, on which it panics if it is wrong.
        aws_config::defaults(behavior()).retry_config(RetryConfig::disabled()).timeout_config(timeouts());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &options.profile {
        loader = loader.profile_name(profile);
    }
    let config = loader.load().await;
    if let Some(endpoints) = endpoint::of_profile(&config)? {
        return Ok((loopback_config(options, variable), Some(endpoints)));
    }
    let region = region_of(&config, options.profile.as_deref())?;
    let config = match &options.profile {
        Some(profile) => config.into_builder().credentials_provider(credentials_of(profile, region)).build(),
        None => config,
    };
    let provider = config.credentials_provider().ok_or_else(|| no_credentials(options, "none are configured"))?;
    provider.provide_credentials().await.map_err(|error| no_credentials(options, &causes(&error)))?;
    Ok((config, None))
}

/// The credentials of a profile that was named on the command line, and no others. In the SDK's own search, keys in the
/// environment win over it: whoever says `--profile test` would act with the keys of production.
fn credentials_of(profile: &str, region: Region) -> SharedCredentialsProvider {
    let settings = ProviderConfig::without_region().with_region(Some(region));
    let provider = ProfileFileCredentialsProvider::builder().configure(&settings).profile_name(profile);
    SharedCredentialsProvider::new(provider.build())
}

/// For a server on this machine: nothing is looked up over the network, no proxy is used, and any credentials will do.
/// Those of the environment are used where they are set, because some stand-ins derive the account from them.
fn loopback_config(options: &SessionOptions, variable: &(dyn Fn(&str) -> Option<String> + Sync)) -> SdkConfig {
    let region = options.region.clone().or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
    let credentials = match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
        (Some(key), Some(secret)) => {
            Credentials::new(key, secret, variable("AWS_SESSION_TOKEN"), None, "environment variables")
        }
        _ => Credentials::new("loopback", "loopback", None, None, "loopback"),
    };
    SdkConfig::builder()
        .behavior_version(behavior())
        .region(Region::new(region.unwrap_or_else(|| LOOPBACK_REGION.to_owned())))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        // Without TLS, so that a machine without certificates can run the embedded fleet; and without a proxy.
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts())
        .build()
}

/// Fixed, so that an update of the SDK does not change how we behave. From 2025-08-07 on the proxy variables are honoured.
fn behavior() -> BehaviorVersion {
    BehaviorVersion::v2026_01_12()
}

fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT_TIMEOUT).operation_attempt_timeout(ATTEMPT_TIMEOUT).build()
}

/// The region. It becomes part of the name of the host that gets our signed requests, so it is checked.
fn region_of(config: &SdkConfig, profile: Option<&str>) -> Result<Region, AwsError> {
    let region = config.region().ok_or_else(|| AwsError::NoRegion { profile: profile.map(str::to_owned) })?;
    let text = region.as_ref();
    let is_fine = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 63 || !text.bytes().all(is_fine) || text.starts_with('-') || text.ends_with('-')
    {
        return Err(AwsError::BadRegion(text.to_owned()));
    }
    Ok(region.clone())
}

fn no_credentials(options: &SessionOptions, detail: &str) -> AwsError {
    AwsError::NoCredentials { profile: options.profile.clone(), detail: detail.to_owned() }
}
