//! The real AWS CLI as a client of the embedded fleet: what it cannot parse, no client of AWS can be trusted with.

#![expect(clippy::print_stdout, reason = "a test that cannot run says so")]

use std::process::Command;

use proxyfleet::document::observe;
use proxyfleet::sim::Sim;
use serde_json::{Value, json};

use crate::wire_client::{eventually, fleet};

/// Whether `aws` runs; a shim without a program behind it does not.
fn installed() -> bool {
    let found = Command::new("aws").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("not tested with the AWS CLI: `aws` does not run here (pip install awscli)");
    }
    found
}

/// Runs `aws` and returns its standard output, or its standard error where it fails.
fn aws(sim: &Sim, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new("aws")
        .args(arguments)
        .args(["--endpoint-url", &sim.endpoint_url(), "--region", "eu-central-1", "--output", "json"])
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env("AWS_PAGER", "")
        .env("AWS_CONFIG_FILE", "/nonexistent")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        .env("NO_PROXY", "127.0.0.1")
        .env_remove("AWS_PROFILE")
        .output()
        .expect("aws runs");
    if output.status.success() {
        Ok(String::from_utf8(output.stdout).expect("aws prints UTF-8"))
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

fn value(sim: &Sim, arguments: &[&str]) -> Value {
    let text = aws(sim, arguments).unwrap_or_else(|error| panic!("aws {}: {error}", arguments.join(" ")));
    serde_json::from_str(if text.trim().is_empty() { "null" } else { &text }).expect("aws prints JSON")
}

fn array(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).expect("a list")
}

#[test]
fn the_aws_cli_reads_the_fleet() {
    if !installed() {
        return;
    }
    let sim = fleet(24);
    let identity = value(&sim, &["sts", "get-caller-identity"]);
    assert_eq!(identity["Account"], "111122223333");

    let count =
        |answer: &Value| array(&answer["Reservations"]).iter().map(|one| array(&one["Instances"]).len()).sum::<usize>();
    let all = value(&sim, &["ec2", "describe-instances", "--page-size", "5"]);
    assert_eq!(count(&all), 24);
    let instance = &all["Reservations"][0]["Instances"][0];
    assert_eq!(instance["InstanceId"], sim.instance_ids()[0].as_str());
    assert!(
        instance["LaunchTime"].is_string()
            && instance["State"]["Name"].is_string()
            && !array(&instance["Tags"]).is_empty()
    );
    // The CLI counts reservations as items, and starts again in the middle of a page.
    let paged = ["ec2", "describe-instances", "--page-size", "5"];
    let some = value(&sim, &[&paged[..], &["--max-items", "7"]].concat());
    assert_eq!(array(&some["Reservations"]).len(), 7);
    let token = some["NextToken"].as_str().expect("a token");
    let rest = value(&sim, &[&paged[..], &["--starting-token", token]].concat());
    assert_eq!(count(&some) + count(&rest), 24);
    let filters = [
        "ec2",
        "describe-instances",
        "--filters",
        "Name=tag:Role,Values=ecs-*",
        "Name=instance-state-name,Values=running",
    ];
    let filtered = value(&sim, &filters);
    assert!(count(&filtered) > 0 && count(&filtered) < 24);
    for one in array(&filtered["Reservations"]).iter().flat_map(|one| array(&one["Instances"])) {
        let role = array(&one["Tags"]).iter().find(|tag| tag["Key"] == "Role").expect("a role");
        assert!(role["Value"].as_str().expect("a text").starts_with("ecs-"));
    }
    let error =
        aws(&sim, &["ec2", "describe-instances", "--instance-ids", "i-0123456789abcdef0"]).expect_err("an unknown id");
    assert!(error.contains("(InvalidInstanceID.NotFound)"), "{error}");

    let nodes = value(&sim, &["ssm", "describe-instance-information", "--page-size", "5"]);
    assert_eq!(array(&nodes["InstanceInformationList"]).len(), 22, "all but the stopped and the unregistered one");
    let online =
        value(&sim, &["ssm", "describe-instance-information", "--filters", "Key=PingStatus,Values=ConnectionLost"]);
    assert_eq!(array(&online["InstanceInformationList"]).len(), 1);
}

#[test]
fn the_aws_cli_runs_a_command() {
    if !installed() {
        return;
    }
    let sim = fleet(3);
    let document = observe();
    let (name, content) = (document.name.as_str(), document.content.as_str());
    let create = ["ssm", "create-document", "--name", name, "--document-type", "Command", "--content", content];
    assert_eq!(value(&sim, &create)["DocumentDescription"]["DocumentVersion"], "1");
    eventually("the document is active", || {
        value(&sim, &["ssm", "describe-document", "--name", name])["Document"]["Status"] == "Active"
    });
    let listed = value(&sim, &["ssm", "list-documents", "--filters", "Key=Owner,Values=Self"]);
    assert_eq!(listed["DocumentIdentifiers"][0]["Name"], name);
    assert_eq!(value(&sim, &["ssm", "get-document", "--name", name])["Content"], content);

    let node = sim.instance_ids()[0].to_string();
    let send = ["ssm", "send-command", "--document-name", name, "--instance-ids", &node, "--comment", "by the CLI"];
    let id = value(&sim, &send)["Command"]["CommandId"].as_str().expect("an id").to_owned();
    value(&sim, &["ssm", "wait", "command-executed", "--command-id", &id, "--instance-id", &node]);
    let details = ["ssm", "list-command-invocations", "--command-id", &id, "--details"];
    let invocation = value(&sim, &details)["CommandInvocations"][0].clone();
    assert_eq!((&invocation["StatusDetails"], &invocation["Comment"]), (&json!("Success"), &json!("by the CLI")));
    let output = invocation["CommandPlugins"][0]["Output"].as_str().expect("a text");
    assert!(output.starts_with("proxyfleet/1 observe amazon-linux-") && output.ends_with("\nend\n"), "{output}");
    // The document has a step for each kind of system, so one has to be named.
    let get = ["ssm", "get-command-invocation", "--command-id", &id, "--instance-id", &node];
    let step = [&get[..], &["--plugin-name", "observeLinux"]].concat();
    assert_eq!(value(&sim, &step)["StandardOutputContent"], output);
    assert_eq!(value(&sim, &["ssm", "list-commands"])["Commands"][0]["Status"], "Success");
    let stranger = ["ssm", "send-command", "--document-name", name, "--instance-ids", "i-0123456789abcdef0"];
    let error = aws(&sim, &stranger).expect_err("an unknown id");
    assert!(
        error.contains("(InvalidInstanceId)")
            && error.contains("Instances [[i-0123456789abcdef0]] not in a valid state"),
        "{error}"
    );
}

#[test]
fn the_aws_cli_writes_and_reads_parameters() {
    if !installed() {
        return;
    }
    let sim = fleet(1);
    let put = ["ssm", "put-parameter", "--name", "/proxyfleet/halt/all", "--type", "String", "--value", "proxy down"];
    assert_eq!(value(&sim, &put), json!({"Version": 1, "Tier": "Standard"}));
    let refused = aws(&sim, &put).expect_err("it is there");
    assert!(refused.contains("(ParameterAlreadyExists) when calling the PutParameter operation"), "{refused}");
    let got = value(&sim, &["ssm", "get-parameter", "--name", "/proxyfleet/halt/all"]);
    assert_eq!(got["Parameter"]["Value"], "proxy down");
    assert!(got["Parameter"]["LastModifiedDate"].is_string() || got["Parameter"]["LastModifiedDate"].is_number());
    let listed = value(&sim, &["ssm", "get-parameters-by-path", "--path", "/proxyfleet", "--recursive"]);
    assert_eq!(array(&listed["Parameters"]).len(), 1);
    let several = value(&sim, &["ssm", "get-parameters", "--names", "/proxyfleet/halt/all", "/none"]);
    assert_eq!((array(&several["Parameters"]).len(), &several["InvalidParameters"]), (1, &json!(["/none"])));
    assert_eq!(aws(&sim, &["ssm", "delete-parameter", "--name", "/proxyfleet/halt/all"]), Ok(String::new()));
    let gone = aws(&sim, &["ssm", "get-parameter", "--name", "/proxyfleet/halt/all"]).expect_err("it is gone");
    assert!(gone.contains("(ParameterNotFound)"), "{gone}");
}
