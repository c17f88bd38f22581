//! The AWS module against the embedded fleet, through the real SDK and real HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proxyfleet::aws::{
    AwsError, Class, EndpointProblem, InstanceQuery, Invocations, Operation, PublishedDocument, SendRequest, Sent,
    Session, SessionOptions, Status,
};
use proxyfleet::catalog::Platform;
use proxyfleet::document::Document;
use proxyfleet::fleet::{Identity, Instance, InstanceId, Reach};
use proxyfleet::sim::{Sim, SimOptions};
use serde_json::json;

use crate::fault_proxy::{self, Call, Fault};
use crate::fleet as processes;

fn fleet(instances: usize) -> Sim {
    Sim::start(SimOptions { instances, seed: 7, ..SimOptions::default() }).expect("a loopback port is free")
}

async fn open(url: String) -> Session {
    let options = SessionOptions { endpoint_url: Some(url), jitter_seed: 1, ..SessionOptions::default() };
    Session::open(&options).await.expect("the embedded fleet takes everybody")
}

/// A session whose calls pass through `decide`.
async fn open_spoiled(sim: &Sim, decide: impl Fn(&Call<'_>) -> Fault + Send + Sync + 'static) -> Session {
    open(fault_proxy::start(sim.address(), decide)).await
}

async fn everything(session: &Session) -> Vec<Instance> {
    session.list_instances(&InstanceQuery::default()).await.expect("the fleet can be listed")
}

/// A document that runs `script` on Linux.
fn document(name: &str, script: &str) -> Document {
    let content = json!({
        "schemaVersion": "2.2",
        "description": "For a test.",
        "mainSteps": [{
            "action": "aws:runShellScript",
            "name": "speak",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {"timeoutSeconds": "60", "runCommand": [script]},
        }],
    });
    let digits = script.bytes().fold(String::new(), |digits, byte| digits + &format!("{byte:02x}"));
    Document {
        name: name.to_owned(),
        content: content.to_string(),
        version_name: format!("{digits:.<64.64}"),
        platform: None,
    }
}

async fn published(session: &Session, script: &str) -> PublishedDocument {
    session.ensure_document(&document("ProxyFleet-Test", script)).await.expect("it can be published")
}

/// Ids of instances that answer and have a shell.
fn online(instances: &[Instance]) -> Vec<InstanceId> {
    let has_shell = |instance: &Instance| instance.platform().is_some_and(|platform| platform != Platform::Windows);
    let online = |instance: &&Instance| instance.reach == Reach::Online && has_shell(instance);
    instances.iter().filter(online).map(|instance| instance.id.clone()).collect()
}

async fn send_to(session: &Session, document: &PublishedDocument, instances: &[InstanceId]) -> Result<Sent, AwsError> {
    let request = SendRequest {
        document,
        instances,
        parameters: &BTreeMap::new(),
        comment: "proxyfleet run 0001 batch 1",
        max_concurrency: 50,
        max_errors: 50,
        delivery_timeout_seconds: 60,
        alarm: None,
    };
    session.send(&request).await
}

async fn results(session: &Session, sent: &Sent) -> Invocations {
    let mut follower = session.follow([sent.clone()]);
    let watching = async {
        while !follower.poll_once().await.expect("it can be watched").is_finished() {
            follower.wait().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), watching).await.expect("it ends");
    session.invocations(sent).await.expect("it can be read")
}

fn requests(session: &Session, operation: Operation) -> u64 {
    session.calls().iter().find(|count| count.operation == operation).map_or(0, |count| count.requests)
}

fn call_error(error: AwsError) -> proxyfleet::aws::CallError {
    match error {
        AwsError::Call(error) => *error,
        other => panic!("not a failed call: {other}"),
    }
}

#[tokio::test]
async fn a_session_knows_where_it_is() {
    let sim = fleet(1);
    let session = open(sim.endpoint_url()).await;
    assert_eq!((session.scope().account.as_str(), session.scope().region.as_str()), ("111122223333", "eu-central-1"));
    assert_eq!(session.partition(), "aws");
    assert!(session.caller().starts_with("arn:aws:"), "{}", session.caller());
}

#[tokio::test]
async fn another_host_is_refused_before_anything_is_sent() {
    let options = SessionOptions { endpoint_url: Some("http://192.0.2.1:80".to_owned()), ..SessionOptions::default() };
    let error = Session::open(&options).await.expect_err("it is not this machine");
    assert!(matches!(&error, AwsError::Endpoint { problem: EndpointProblem::NotLoopback, .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_that_says_so() {
    let options = SessionOptions { endpoint_url: Some("http://127.0.0.1:1".to_owned()), ..SessionOptions::default() };
    let error = Session::open(&options).await.expect_err("nobody listens there");
    assert_eq!(error.class(), Some(Class::Transient), "{error}");
    assert!(error.to_string().starts_with("sts:GetCallerIdentity: "), "{error}");
    assert!(error.remedy().contains("endpoint is up"), "{}", error.remedy());
}

#[tokio::test]
async fn the_fleet_is_read_page_by_page_and_joined() {
    let sim = fleet(130);
    // The fleet's own page size is out of reach of a fleet of this size, so the pages are made smaller on the way.
    let session = open_spoiled(&sim, |call| match call.operation {
        "DescribeInstances" => Fault::Instead(call.body.replace("MaxResults=1000", "MaxResults=50")),
        _ => Fault::Pass,
    })
    .await;
    let instances = everything(&session).await;
    let listed: BTreeSet<_> = instances.iter().map(|instance| instance.id.clone()).collect();
    assert_eq!(listed, sim.instance_ids().into_iter().collect(), "every instance, once");
    assert_eq!(instances.len(), 130);
    assert_eq!(requests(&session, Operation::DescribeInstances), 3);
    assert_eq!(requests(&session, Operation::DescribeInstanceInformation), 3);

    let any = |wanted: fn(&Instance) -> bool| instances.iter().any(wanted);
    assert!(any(|one| one.reach == Reach::Unregistered && one.identity == Identity::Unknown));
    assert!(any(|one| matches!(&one.reach, Reach::NotRunning { state } if state == "stopped")));
    assert!(any(|one| matches!(one.reach, Reach::Offline { last_ping: Some(_) })));
    assert!(any(|one| matches!(&one.identity, Identity::Unsupported { name, .. } if name == "Ubuntu")));
    assert!(instances.iter().all(|one| one.name().is_some()), "tags are read");
}

#[tokio::test]
async fn tag_filters_are_the_server_s_work_and_mean_what_a_policy_means() {
    let sim = fleet(60);
    let session = open(sim.endpoint_url()).await;
    let all = everything(&session).await;
    let tag = |instance: &Instance, key: &str| instance.tags.get(key).cloned().unwrap_or_default();
    let wanted = |instance: &&Instance| {
        tag(instance, "Role").starts_with("ecs-w")
            && ["production", "staging"].contains(&&*tag(instance, "Environment"))
    };
    let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
    assert!(!expected.is_empty() && expected.len() < all.len());

    let session = open(sim.endpoint_url()).await;
    let query = InstanceQuery {
        tag_filters: vec![
            ("Role".to_owned(), vec!["ecs-w*".to_owned()]),
            ("Environment".to_owned(), vec!["production".to_owned(), "stag?ng".to_owned()]),
        ],
    };
    let found = session.list_instances(&query).await.expect("it can be listed");
    let (found_ids, expected_ids) = (ids_of(&found), ids_of(&expected));
    assert_eq!(found_ids, expected_ids);
    assert!(
        found.iter().zip(&expected).all(|(one, other)| one.reach == other.reach || is_silent(one) && is_silent(other))
    );
    assert_eq!(requests(&session, Operation::DescribeInstances), 1);

    let nobody = InstanceQuery { tag_filters: vec![("Role".to_owned(), vec![r"ecs-\*".to_owned()])] };
    assert_eq!(session.list_instances(&nobody).await.expect("it can be listed"), [], "a backslash is a backslash");
}

fn ids_of(instances: &[Instance]) -> Vec<&InstanceId> {
    instances.iter().map(|instance| &instance.id).collect()
}

fn is_silent(instance: &Instance) -> bool {
    matches!(instance.reach, Reach::Offline { .. })
}

#[tokio::test]
async fn publishing_is_by_content() {
    let sim = fleet(1);
    let session = open(sim.endpoint_url()).await;
    let first = published(&session, "echo one").await;
    assert_eq!(published(&session, "echo one").await, first, "the same content is the same version");
    assert_eq!(sim.calls().get("CreateDocument"), Some(&1));

    let second = published(&session, "echo two").await;
    assert_eq!(second.version.parse(), Ok(first.version.parse::<u32>().expect("a number") + 1));
    assert_ne!(second.hash, first.hash);
    assert_eq!(published(&session, "echo one").await, first, "an old version is found again, not published again");

    let mut renamed = document("ProxyFleet-Test", "echo two");
    renamed.version_name = "another-name".to_owned();
    let same = session.ensure_document(&renamed).await.expect("the content is there already");
    assert_eq!(same, second, "content that is the latest version under another name is used");
}

#[tokio::test]
async fn two_that_publish_at_once_end_up_with_one_version() {
    let sim = fleet(1);
    let session = open(sim.endpoint_url()).await;
    let wanted = document("ProxyFleet-Test", "echo one");
    let (one, two, three) = tokio::join!(
        session.ensure_document(&wanted),
        session.ensure_document(&wanted),
        session.ensure_document(&wanted)
    );
    let one = one.expect("published");
    assert_eq!((two.expect("published"), three.expect("published")), (one.clone(), one));
}

#[tokio::test]
async fn a_command_is_followed_to_the_results_of_every_instance() {
    let sim = fleet(90);
    let session = open(sim.endpoint_url()).await;
    let online = online(&everything(&session).await);
    let hello = published(&session, "echo hello; echo warning >&2; exit 3").await;
    let sent = send_to(&session, &hello, &online[..50]).await.expect("it is sent");
    assert_eq!((sent.accepted.len(), sent.rejected.len()), (50, 0));

    let results = results(&session, &sent).await;
    assert_eq!(results.missing, []);
    assert_eq!(results.found.len(), 50);
    for invocation in &results.found {
        assert_eq!(invocation.status, Status::Failed, "{invocation:?}");
        let step = &invocation.steps[0];
        assert_eq!((step.name.as_str(), step.response_code), ("speak", 3));
        assert_eq!(step.stdout.trim_end(), "hello");
        assert!(step.stderr.contains("warning"), "{step:?}");
    }
    assert_eq!(requests(&session, Operation::SendCommand), 1);
    assert_eq!(requests(&session, Operation::GetCommandInvocation), 0, "never a call an instance");
    assert!(requests(&session, Operation::ListCommandInvocations) <= 3);
}

#[tokio::test]
async fn results_that_are_not_listed_yet_are_waited_for() {
    let options =
        SimOptions { instances: 2, seed: 7, consistency: Duration::from_millis(700), ..SimOptions::default() };
    let sim = Sim::start(options).expect("a loopback port is free");
    let session = open(sim.endpoint_url()).await;
    let online = online(&everything(&session).await);
    let hello = published(&session, "echo hello").await;
    let sent = send_to(&session, &hello, &online).await.expect("it is sent");
    let early = session.invocations(&sent).await.expect("it can be read");
    assert_eq!((early.found.len(), early.missing), (online.len(), Vec::new()));
    assert!(requests(&session, Operation::ListCommandInvocations) > 1, "the first list was empty");
}

#[tokio::test]
async fn output_that_was_cut_is_fetched_whole() {
    let sim = fleet(2);
    let session = open(sim.endpoint_url()).await;
    let online = online(&everything(&session).await);
    let long = published(&session, "i=0; while [ $i -lt 400 ]; do echo line-$i; i=$((i+1)); done; echo end").await;
    let sent = send_to(&session, &long, &online).await.expect("it is sent");
    for invocation in results(&session, &sent).await.found {
        let lines: Vec<&str> = invocation.steps[0].stdout.lines().collect();
        assert_eq!((lines.len(), lines[0], lines[400]), (401, "line-0", "end"));
    }
    assert_eq!(requests(&session, Operation::GetCommandInvocation), online.len() as u64);
}

#[tokio::test]
async fn one_bad_instance_does_not_lose_the_others() {
    let sim = fleet(90);
    let session = open(sim.endpoint_url()).await;
    let hello = published(&session, "echo hello").await;
    let mut batch = online(&everything(&session).await);
    batch.truncate(48);
    let strangers = ["i-00000000000000bad", "i-0000bad1"].map(|id| InstanceId::parse(id).expect("a good id"));
    batch.extend(strangers.clone());

    let sent = send_to(&session, &hello, &batch).await.expect("the others are sent to");
    assert_eq!(sent.accepted.len(), 48);
    let rejected: BTreeSet<_> = sent.rejected.iter().map(|one| one.instance.clone()).collect();
    assert_eq!(rejected, strangers.into_iter().collect());
    assert!(sent.rejected[0].reason.contains("not in a valid state"), "{:?}", sent.rejected[0]);
    assert_eq!(results(&session, &sent).await.found.len(), 48);
}

#[tokio::test]
async fn when_the_service_does_not_name_the_bad_instance_it_is_found_by_reading() {
    let sim = fleet(60);
    let session = open_spoiled(&sim, |call| match call {
        Call { operation: "SendCommand", body, .. } if body.contains("i-00000000000000bad") => {
            Fault::Answer(400, r#"{"__type":"InvalidInstanceId","Message":""}"#.to_owned())
        }
        _ => Fault::Pass,
    })
    .await;
    let hello = published(&session, "echo hello").await;
    let mut batch = online(&everything(&session).await);
    batch.truncate(20);
    let stranger = InstanceId::parse("i-00000000000000bad").expect("a good id");
    batch.push(stranger.clone());
    let sent = send_to(&session, &hello, &batch).await.expect("the others are sent to");
    assert_eq!((sent.accepted.len(), sent.rejected.len()), (20, 1));
    assert_eq!(sent.rejected[0].instance, stranger);
    assert_eq!(sim.calls().get("SendCommand"), Some(&1), "only once did it reach anybody");
}

#[tokio::test]
async fn when_all_are_bad_nothing_is_sent() {
    let sim = fleet(1);
    let session = open(sim.endpoint_url()).await;
    let hello = published(&session, "echo hello").await;
    let stranger = InstanceId::parse("i-00000000000000bad").expect("a good id");
    let sent = send_to(&session, &hello, &[stranger]).await.expect("that is a result, not a failure");
    assert_eq!((sent.command_id.as_deref(), sent.accepted.len(), sent.rejected.len()), (None, 0, 1));
    assert_eq!(results(&session, &sent).await, Invocations { found: Vec::new(), missing: Vec::new() });
}

#[tokio::test]
async fn a_command_whose_answer_is_lost_is_not_sent_twice() {
    let sim = fleet(3);
    let session = open_spoiled(&sim, |call| match call {
        Call { operation: "SendCommand", number: 1, .. } => Fault::LoseAnswer,
        _ => Fault::Pass,
    })
    .await;
    let online = online(&everything(&session).await);
    let hello = published(&session, "echo hello").await;
    let sent = send_to(&session, &hello, &online).await.expect("it is found again");
    assert_eq!(sim.calls().get("SendCommand"), Some(&1));
    assert_eq!(results(&session, &sent).await.found.len(), online.len());
}

#[tokio::test]
async fn a_command_that_never_arrived_is_sent_again() {
    let sim = fleet(3);
    let session = open_spoiled(&sim, |call| match call {
        Call { operation: "SendCommand", number: 1, .. } => Fault::LoseRequest,
        _ => Fault::Pass,
    })
    .await;
    let online = online(&everything(&session).await);
    let hello = published(&session, "echo hello").await;
    let sent = send_to(&session, &hello, &online).await.expect("it is sent again");
    assert_eq!(sim.calls().get("SendCommand"), Some(&1), "the first never reached the fleet");
    assert_eq!(results(&session, &sent).await.found.len(), online.len());
}

#[tokio::test]
async fn throttling_is_waited_out_and_counted() {
    let sim = fleet(3);
    let session = open(sim.endpoint_url()).await;
    for operation in ["DescribeInstances", "DescribeInstanceInformation", "SendCommand", "ListCommands"] {
        sim.throttle(operation, 3);
    }
    let online = online(&everything(&session).await);
    let hello = published(&session, "echo hello").await;
    let sent = send_to(&session, &hello, &online).await.expect("it is sent in the end");
    assert_eq!(results(&session, &sent).await.found.len(), online.len());
    for operation in [Operation::DescribeInstances, Operation::SendCommand, Operation::ListCommands] {
        let count = session.calls().into_iter().find(|count| count.operation == operation).expect("it was called");
        assert_eq!(count.throttled, 3, "{operation}");
    }
    assert_eq!(sim.calls().get("SendCommand"), Some(&4), "three were refused");
}

#[tokio::test]
async fn throttling_without_end_is_given_up_with_the_count() {
    let sim = fleet(1);
    let session = open(sim.endpoint_url()).await;
    sim.throttle("DescribeInstances", 1000);
    let error = call_error(session.list_instances(&InstanceQuery::default()).await.expect_err("it gives up"));
    assert_eq!((error.class, error.throttled, error.attempts), (Class::Throttled, 12, 12));
    assert!(error.to_string().contains("throttled 12 times"), "{error}");
}

#[tokio::test]
async fn a_denial_names_the_permission_and_is_not_tried_again() {
    let sim = fleet(1);
    let session = open_spoiled(&sim, |call| match call.operation {
        "DescribeDocument" => Fault::Answer(
            400,
            r#"{"__type":"AccessDeniedException","Message":"User u is not authorized to perform this"}"#.to_owned(),
        ),
        _ => Fault::Pass,
    })
    .await;
    let error = session.ensure_document(&document("ProxyFleet-Test", "true")).await.expect_err("it is denied");
    assert_eq!(error.class(), Some(Class::Denied));
    assert!(error.remedy().contains("ssm:DescribeDocument"), "{}", error.remedy());
    assert_eq!(requests(&session, Operation::DescribeDocument), 1);
}

#[tokio::test]
async fn answers_that_are_not_of_this_protocol_are_told_apart_from_refusals() {
    let sim = fleet(1);
    let session = open_spoiled(&sim, |call| match call.operation {
        "DescribeInstanceInformation" => Fault::Answer(200, "<html>Sign in to the proxy</html>".to_owned()),
        "ListCommands" => {
            Fault::Answer(400, r#"{"__type":"UnknownOperationException","Message":"not offered"}"#.to_owned())
        }
        _ => Fault::Pass,
    })
    .await;
    let error = call_error(session.list_instances(&InstanceQuery::default()).await.expect_err("that is no answer"));
    assert_eq!((error.class, error.operation), (Class::Bug, Operation::DescribeInstanceInformation), "{error}");

    let online = sim.instance_ids();
    let hello = published(&session, "echo hello").await;
    let sent = send_to(&session, &hello, &online).await.expect("it is sent");
    let error = session.follow([sent]).poll_once().await.expect_err("the list is not offered");
    assert_eq!((error.class(), error.code()), (Some(Class::Bug), Some("UnknownOperationException")));
}

#[tokio::test]
async fn a_cancelled_command_ends() {
    let sim = fleet(3);
    let session = open(sim.endpoint_url()).await;
    let online = online(&everything(&session).await);
    let slow = published(&session, "sleep 20; echo done").await;
    let sent = send_to(&session, &slow, &online).await.expect("it is sent");
    session.cancel(&sent, None).await.expect("it can be cancelled");
    let results = results(&session, &sent).await;
    for invocation in results.found {
        assert_eq!(invocation.status, Status::Cancelled, "{invocation:?}");
    }
}

/// Runs `plan` with these variables and this `~/.aws/config`, and no server, and returns the error on one line.
fn plan_fails(variables: &[(&str, &str)], config: &str, arguments: &[&str]) -> String {
    let home = tempfile::tempdir().expect("a folder");
    std::fs::create_dir(home.path().join(".aws")).expect("a folder");
    std::fs::write(home.path().join(".aws/config"), config).expect("a file");
    let mut command = processes::binary(&["plan", "policies/ecs-production.yaml"]);
    command.args(arguments).env("HOME", home.path()).envs(variables.iter().copied());
    let ran = processes::Ran::of(&command.output().expect("the binary runs")).expect(1);
    assert!(!ran.stderr.contains("panicked"), "{}", ran.stderr);
    ran.stderr.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn a_missing_or_wrong_setting_is_named_before_anything_is_sent() {
    let keys = [("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE"), ("AWS_SECRET_ACCESS_KEY", "hunter2")];
    let region = [("AWS_REGION", "eu-central-1")];
    let one_service =
        "[default]\nregion = eu-central-1\nservices = s\n[services s]\nssm =\n  endpoint_url = http://192.0.2.1\n";
    for (variables, config, arguments, expected) in [
        (&keys[..], "", &[][..], "no AWS region is set"),
        (&keys, "", &["--profile", "nope"], "no AWS region is set, and profile `nope` names none or does not exist"),
        (&keys, "", &["--region", "evil.example/#"], "`evil.example/#` is not an AWS region"),
        (&region, "", &[], "no usable AWS credentials"),
        // The keys of the environment must not stand in for a profile that was asked for by name.
        (&keys, "", &["--region", "eu-central-1", "--profile", "nope"], "no usable AWS credentials in profile `nope`"),
        (&[("AWS_MAX_ATTEMPTS", "many"), ("AWS_RETRY_MODE", "eager"), region[0]], "", &[], "no usable AWS credentials"),
        (&[], "[default]\nregion = eu-central-1\nmax_attempts = many\n", &[], "no usable AWS credentials"),
        (&[("AWS_ENDPOINT_URL", "nonsense"), region[0]], "", &[], "AWS_ENDPOINT_URL cannot be used: it is not a URL"),
        (&[("AWS_ENDPOINT_URL_SSM", "http://192.0.2.1")], "", &[], "AWS_ENDPOINT_URL_SSM cannot be used"),
        (&keys, one_service, &[], "`endpoint_url` of SSM in the AWS profile cannot be used"),
    ] {
        let error = plan_fails(variables, config, arguments);
        assert!(error.contains(expected), "{variables:?} {config:?} {arguments:?}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}

/// Whoever drives a rollout runs it as a task of its own.
#[test]
fn everything_can_be_sent_to_another_thread() {
    fn is_send<T: Send>(_: T) {}
    fn check(session: &Session, sent: &Sent, document: &Document, request: &SendRequest<'_>) {
        is_send(Session::open(&SessionOptions::default()));
        is_send(session.list_instances(&InstanceQuery::default()));
        is_send(session.ensure_document(document));
        is_send(session.send(request));
        is_send(session.invocations(sent));
        is_send(session.cancel(sent, None));
        let mut follower = session.follow([]);
        is_send(follower.wait());
        is_send(follower.poll_once());
    }
    // That it compiles is the test.
    let _ = check;
}
