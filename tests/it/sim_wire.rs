//! The embedded fleet over raw HTTP: each operation, its limits and its errors (aws-ssm-facts 2 and 9.1).

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use proxyfleet::fleet::InstanceId;
use proxyfleet::sim::{Sim, SimOptions};
use serde_json::{Value, json};

use crate::wire_client::{
    authorization, eventually, finished, fleet, instances, ok, pages, publish, query, refused, send, send_command, ssm,
};

/// The ids that `DescribeInstances` lists with these parameters.
fn ids(sim: &Sim, parameters: &str) -> Vec<String> {
    let answer = instances(sim, parameters);
    assert_eq!(answer.status, 200, "{parameters}: {}", answer.body);
    answer.elements("instanceId")
}

/// The nodes that SSM knows, filtered.
fn known(sim: &Sim, filters: &Value) -> Vec<Value> {
    pages(sim, "DescribeInstanceInformation", &json!({"MaxResults": 50, "Filters": filters}), "InstanceInformationList")
        .concat()
}

/// The ids of online nodes of a platform type.
fn online(sim: &Sim, platform: &str) -> Vec<String> {
    let filters = json!([{"Key": "PlatformTypes", "Values": [platform]}, {"Key": "PingStatus", "Values": ["Online"]}]);
    known(sim, &filters).iter().map(|node| node["InstanceId"].as_str().unwrap().to_owned()).collect()
}

/// The invocations of a command with their steps, as soon as they can be seen.
fn invocations(sim: &Sim, id: &str) -> Vec<Value> {
    let mut listed = Vec::new();
    eventually("the invocations show", || {
        let request = json!({"CommandId": id, "Details": true});
        listed = pages(sim, "ListCommandInvocations", &request, "CommandInvocations").concat();
        !listed.is_empty()
    });
    listed
}

#[test]
fn ec2_pages_over_instances() {
    let sim = fleet(24);
    let everything = ids(&sim, "");
    assert_eq!(everything.len(), 24);
    assert_eq!(everything, sim.instance_ids().iter().map(ToString::to_string).collect::<Vec<_>>());
    let (mut paged, mut sizes, mut token) = (Vec::new(), Vec::new(), String::new());
    loop {
        let answer = instances(&sim, &format!("&MaxResults=5{token}"));
        let page = answer.elements("instanceId");
        sizes.push(page.len());
        paged.extend(page);
        match answer.elements("nextToken").first() {
            Some(next) => token = format!("&NextToken={next}"),
            None => break,
        }
    }
    assert_eq!((paged, sizes), (everything, vec![5, 5, 5, 5, 4]));
}

#[test]
fn ec2_filters_with_wildcards() {
    let sim = fleet(60);
    let all = ids(&sim, "").len();
    let web = ids(&sim, "&Filter.1.Name=tag%3ARole&Filter.1.Value.1=ecs-w%2A").len();
    let both = ids(&sim, "&Filter.1.Name=tag%3ARole&Filter.1.Value.1=ecs-web&Filter.1.Value.2=ecs-worker").len();
    assert!(web > 0 && web < all && web == both);
    let and = "&Filter.1.Name=tag%3ARole&Filter.1.Value.1=ecs-web&Filter.2.Name=tag%3AEnvironment&Filter.2.Value.1=production";
    let narrowed = ids(&sim, and).len();
    assert!(narrowed > 0 && narrowed < web);
    assert_eq!(ids(&sim, "&Filter.1.Name=tag%3ARole&Filter.1.Value.1=ECS-web").len(), 0, "values are case-sensitive");
    assert_eq!(
        ids(&sim, "&Filter.1.Name=tag%3ARole&Filter.1.Value.1=ecs%5C-%5C%2A").len(),
        0,
        "an escaped star is a star"
    );
    assert_eq!(ids(&sim, "&Filter.1.Name=tag-key&Filter.1.Value.1=Role").len(), all);
    let windows = ids(&sim, "&Filter.1.Name=platform&Filter.1.Value.1=windows");
    assert!(!windows.is_empty() && windows.len() < all / 4);
    let stopped = ids(&sim, "&Filter.1.Name=instance-state-name&Filter.1.Value.1=stopped");
    assert!(!stopped.is_empty());
    assert_eq!(ids(&sim, &format!("&InstanceId.1={}", stopped[0])), [stopped[0].as_str()]);
}

#[test]
fn ec2_refuses_by_name() {
    let sim = fleet(6);
    let id = ids(&sim, "")[0].clone();
    let other = "i-0123456789abcdef0";
    for (parameters, status, code) in [
        ("&MaxResults=4", 400, "InvalidParameterValue"),
        ("&MaxResults=1001", 400, "InvalidParameterValue"),
        ("&MaxResults=many", 400, "InvalidParameterValue"),
        (&format!("&MaxResults=5&InstanceId.1={id}"), 400, "InvalidParameterCombination"),
        (&format!("&InstanceId.1={id}&InstanceId.2={other}"), 400, "InvalidInstanceID.NotFound"),
        ("&InstanceId.1=i-1", 400, "InvalidInstanceID.Malformed"),
        ("&InstanceId.1=mi-0123456789abcdef0", 400, "InvalidInstanceID.Malformed"),
        ("&Filter.1.Name=colour&Filter.1.Value.1=red", 400, "InvalidParameterValue"),
        ("&MaxResults=5&NextToken=nonsense", 400, "InvalidParameterValue"),
        ("&Colour=red", 400, "UnknownParameter"),
        ("&DryRun=true", 412, "DryRunOperation"),
    ] {
        let answer = instances(&sim, parameters);
        assert_eq!(
            (answer.status, answer.elements("Code")),
            (status, vec![code.to_owned()]),
            "{parameters} {}",
            answer.body
        );
        assert!(
            answer.body.contains("<Response><Errors><Error>") && answer.body.contains("<RequestID>"),
            "{}",
            answer.body
        );
    }
    let unknown = query(&sim, "ec2", "Action=TerminateInstances&Version=2016-11-15");
    assert_eq!((unknown.status, unknown.elements("Code")), (400, vec!["InvalidAction".to_owned()]));
    let first = instances(&sim, "&MaxResults=5");
    let token = &first.elements("nextToken")[0];
    let mixed =
        instances(&sim, &format!("&MaxResults=5&NextToken={token}&Filter.1.Name=tag-key&Filter.1.Value.1=Role"));
    assert_eq!(mixed.status, 400, "a token belongs to its request");
}

#[test]
fn sts_says_who_and_where() {
    let sim = fleet(1);
    let answer = query(&sim, "sts", "Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!(answer.elements("Account"), ["111122223333"]);
    assert!(answer.elements("Arn")[0].starts_with("arn:aws:iam::111122223333:"));
    let unknown = query(&sim, "sts", "Action=AssumeRole&Version=2011-06-15");
    assert_eq!((unknown.status, unknown.elements("Code")), (400, vec!["InvalidAction".to_owned()]));
}

#[test]
fn requests_must_be_signed_for_the_service_and_region() {
    let sim = fleet(1);
    let target = ("X-Amz-Target", "AmazonSSM.ListDocuments");
    let date = ("X-Amz-Date", "20260101T000000Z");
    let unsigned = send(&sim, &[target, date], "{}");
    assert_eq!((unsigned.status, &unsigned.json()["__type"]), (400, &json!("MissingAuthenticationTokenException")));
    let elsewhere = authorization("ssm").replace("eu-central-1", "us-west-2");
    let answer = send(&sim, &[target, date, ("Authorization", &elsewhere)], "{}");
    assert_eq!(answer.json()["__type"], "InvalidSignatureException");
    let answer = send(&sim, &[date], "Action=GetCallerIdentity&Version=2011-06-15");
    assert_eq!((answer.status, answer.elements("Code")), (403, vec!["MissingAuthenticationToken".to_owned()]));
    let answer = send(&sim, &[date], "Action=DescribeInstances&Version=2016-11-15");
    assert_eq!((answer.status, answer.elements("Code")), (401, vec!["AuthFailure".to_owned()]));
    assert_eq!(sim.calls().len(), 0, "nothing of this was a call");
}

#[test]
fn what_is_not_offered_is_an_error() {
    let sim = fleet(1);
    let (code, message) = refused(&sim, "StartSession", &json!({}));
    assert_eq!(code, "UnknownOperationException");
    assert!(message.contains("StartSession"), "{message}");
    let broken = ssm(&sim, "ListDocuments", &json!({"MaxResults": "many"}));
    assert_eq!((broken.status, &broken.json()["__type"]), (400, &json!("SerializationException")));
}

#[test]
fn instance_information_follows_its_rules() {
    let sim = fleet(60);
    let default = ok(&sim, "DescribeInstanceInformation", &json!({}));
    assert_eq!(default["InstanceInformationList"].as_array().unwrap().len(), 10, "the default page is ten");
    let everything = known(&sim, &json!([]));
    let count = |status: &str| everything.iter().filter(|node| node["PingStatus"] == status).count();
    assert!(count("Online") > 40 && count("ConnectionLost") >= 1);
    let listed: BTreeSet<&str> = everything.iter().map(|node| node["InstanceId"].as_str().unwrap()).collect();
    for stopped in ids(&sim, "&Filter.1.Name=instance-state-name&Filter.1.Value.1=stopped") {
        assert!(!listed.contains(stopped.as_str()), "stopped nodes are not listed");
    }
    assert!(listed.len() < 60, "unregistered ones neither");
    assert!(everything.iter().all(|node| node["LastPingDateTime"].is_number() && node.get("Tags").is_none()));

    let web = known(&sim, &json!([{"Key": "tag:Role", "Values": ["ecs-web"]}]));
    assert!(!web.is_empty() && web.len() < listed.len());
    assert_eq!(known(&sim, &json!([{"Key": "tag:Role", "Values": ["ecs-*"]}])).len(), 0, "there are no wildcards here");
    let by_id = known(&sim, &json!([{"Key": "InstanceIds", "Values": [web[0]["InstanceId"]]}]));
    assert_eq!(by_id.len(), 1);
    let legacy = json!({"InstanceInformationFilterList": [{"key": "PlatformTypes", "valueSet": ["Windows"]}]});
    let windows = ok(&sim, "DescribeInstanceInformation", &legacy);
    assert!(
        windows["InstanceInformationList"].as_array().unwrap().iter().all(|node| node["PlatformType"] == "Windows")
    );
}

#[test]
fn instance_information_refuses_by_name() {
    let sim = fleet(24);
    let filter = |key: &str, value: &str| json!({"Key": key, "Values": [value]});
    for (request, code) in [
        (json!({"MaxResults": 4}), "ValidationException"),
        (json!({"MaxResults": 51}), "ValidationException"),
        (json!({"NextToken": "nonsense"}), "InvalidNextToken"),
        (json!({"Filters": [filter("Colour", "red")]}), "InvalidFilterKey"),
        (json!({"Filters": [filter("PingStatus", "Asleep")]}), "InvalidInstanceInformationFilterValue"),
        (json!({"Filters": [filter("InstanceIds", "i-0123456789abcdef0")]}), "InvalidInstanceId"),
        (json!({"Filters": [filter("tag:Role", "x"), filter("PingStatus", "Online")]}), "InvalidFilterKey"),
        (json!({"Filters": [{"Key": "PingStatus", "Values": []}]}), "ValidationException"),
        (
            json!({"Filters": [filter("PingStatus", "Online")], "InstanceInformationFilterList": [{"key": "PingStatus", "valueSet": ["Online"]}]}),
            "ValidationException",
        ),
    ] {
        assert_eq!(refused(&sim, "DescribeInstanceInformation", &request).0, code, "{request}");
    }
    let (_, message) = refused(&sim, "DescribeInstanceInformation", &json!({"MaxResults": 51}));
    assert_eq!(
        message,
        "1 validation error detected: Value '51' at 'maxResults' failed to satisfy constraint: Member must have value less than or equal to 50"
    );
}

#[test]
fn a_full_last_page_is_followed_by_an_empty_one() {
    let sim = fleet(5);
    let registered = known(&sim, &json!([])).len();
    assert_eq!(registered, 5, "a fleet this small has no special nodes");
    let sizes: Vec<usize> =
        pages(&sim, "DescribeInstanceInformation", &json!({"MaxResults": 5}), "InstanceInformationList")
            .iter()
            .map(Vec::len)
            .collect();
    assert_eq!(sizes, [5, 0]);
}

#[test]
fn documents_are_published_by_version() {
    let sim = fleet(1);
    publish(&sim, "Sample", &["echo one"]);
    let first = ok(&sim, "DescribeDocument", &json!({"Name": "Sample"}))["Document"].clone();
    assert_eq!(first["Parameters"][0], json!({"Name": "Word", "Type": "String", "DefaultValue": "hello"}));
    assert_eq!((&first["DocumentVersion"], &first["PlatformTypes"]), (&json!("1"), &json!(["Linux", "MacOS"])));

    let content = ok(&sim, "GetDocument", &json!({"Name": "Sample"}))["Content"].as_str().unwrap().to_owned();
    let update = json!({"Name": "Sample", "Content": content.replace("one", "two"), "DocumentVersion": "$LATEST", "VersionName": "two"});
    let updated = ok(&sim, "UpdateDocument", &update)["DocumentDescription"].clone();
    assert_eq!((&updated["DocumentVersion"], &updated["DefaultVersion"]), (&json!("2"), &json!("1")));
    assert_ne!(updated["Hash"], first["Hash"]);
    assert_eq!(refused(&sim, "UpdateDocument", &update).0, "DuplicateDocumentContent");
    let by_name = ok(&sim, "DescribeDocument", &json!({"Name": "Sample", "VersionName": "two"}));
    assert_eq!(by_name["Document"]["Hash"], updated["Hash"]);

    let moved = ok(&sim, "UpdateDocumentDefaultVersion", &json!({"Name": "Sample", "DocumentVersion": "2"}));
    assert_eq!(moved["Description"], json!({"Name": "Sample", "DefaultVersion": "2", "DefaultVersionName": "two"}));
    let versions =
        pages(&sim, "ListDocumentVersions", &json!({"Name": "Sample", "MaxResults": 1}), "DocumentVersions").concat();
    let shown: Vec<(&Value, &Value)> =
        versions.iter().map(|version| (&version["DocumentVersion"], &version["IsDefaultVersion"])).collect();
    assert_eq!(shown, [(&json!("2"), &json!(true)), (&json!("1"), &json!(false))]);

    let listed = pages(
        &sim,
        "ListDocuments",
        &json!({"Filters": [{"Key": "Owner", "Values": ["Self"]}]}),
        "DocumentIdentifiers",
    )
    .concat();
    assert_eq!((listed.len(), &listed[0]["Name"]), (1, &json!("Sample")));
    let amazons = json!({"Filters": [{"Key": "Owner", "Values": ["Amazon"]}]});
    assert_eq!(pages(&sim, "ListDocuments", &amazons, "DocumentIdentifiers").concat().len(), 0);

    ok(
        &sim,
        "AddTagsToResource",
        &json!({"ResourceType": "Document", "ResourceId": "Sample", "Tags": [{"Key": "a", "Value": "b"}]}),
    );
    let tags = ok(&sim, "ListTagsForResource", &json!({"ResourceType": "Document", "ResourceId": "Sample"}));
    assert_eq!(tags, json!({"TagList": [{"Key": "a", "Value": "b"}]}));
    ok(&sim, "DeleteDocument", &json!({"Name": "Sample"}));
    assert_eq!(refused(&sim, "GetDocument", &json!({"Name": "Sample"})).0, "InvalidDocument");
}

#[test]
fn documents_are_refused_by_name() {
    let sim = fleet(1);
    publish(&sim, "Sample", &["echo one"]);
    for (operation, request, code) in [
        ("CreateDocument", json!({"Name": "x", "Content": "{}"}), "ValidationException"),
        ("CreateDocument", json!({"Name": "Other"}), "ValidationException"),
        ("CreateDocument", json!({"Name": "Other", "Content": "{}"}), "InvalidDocumentSchemaVersion"),
        ("CreateDocument", json!({"Name": "Other", "Content": "x".repeat(66_000)}), "MaxDocumentSizeExceeded"),
        ("DescribeDocument", json!({"Name": "Other"}), "InvalidDocument"),
        ("DescribeDocument", json!({"Name": "Sample", "DocumentVersion": "7"}), "InvalidDocumentVersion"),
        ("DescribeDocument", json!({"Name": "Sample", "DocumentVersion": "seven"}), "ValidationException"),
        (
            "UpdateDocumentDefaultVersion",
            json!({"Name": "Sample", "DocumentVersion": "$LATEST"}),
            "ValidationException",
        ),
        ("UpdateDocumentDefaultVersion", json!({"Name": "Sample", "DocumentVersion": "2"}), "InvalidDocumentVersion"),
        ("ListDocuments", json!({"Filters": [{"Key": "Colour", "Values": ["red"]}]}), "InvalidFilterKey"),
        ("ListTagsForResource", json!({"ResourceType": "Document", "ResourceId": "Other"}), "InvalidResourceId"),
    ] {
        assert_eq!(refused(&sim, operation, &request).0, code, "{operation} {request:.100}");
    }
}

#[test]
fn a_command_runs_the_published_bytes() {
    let sim = fleet(24);
    let script = [
        "#!/bin/sh",
        "echo \"word {{ Word }} on $AWS_SSM_INSTANCE_ID in $AWS_SSM_REGION_NAME\"",
        "sed -n 's/^ID=//p' \"$PROXYFLEET_ROOT/etc/os-release\"",
        "echo \"$AWS_SSM_PLATFORM_NAME $AWS_SSM_PLATFORM_VERSION $SSM_COMMAND_ID\" >&2",
    ];
    publish(&sim, "Sample", &script);
    let nodes = online(&sim, "Linux");
    let request = json!({"DocumentName": "Sample", "DocumentVersion": "1", "InstanceIds": nodes, "Comment": "run 1", "Parameters": {"Word": ["bye"]}});
    let sent = ok(&sim, "SendCommand", &request)["Command"].clone();
    let id = sent["CommandId"].as_str().unwrap();
    assert_eq!((id.len(), &sent["Status"], &sent["TargetCount"]), (36, &json!("Pending"), &json!(nodes.len())));
    assert_eq!(sent["Parameters"], json!({"Word": ["bye"]}));
    let expires = sent["ExpiresAfter"].as_f64().unwrap() - sent["RequestedDateTime"].as_f64().unwrap();
    assert!((expires - 3660.0).abs() < 0.01, "{expires}");

    let command = finished(&sim, id);
    assert_eq!(
        (&command["Status"], &command["CompletedCount"], &command["ErrorCount"]),
        (&json!("Success"), &json!(nodes.len()), &json!(0))
    );
    let results = invocations(&sim, id);
    assert_eq!(results.len(), nodes.len());
    for result in &results {
        let node = result["InstanceId"].as_str().unwrap();
        let plugin = &result["CommandPlugins"][0];
        assert_eq!(
            (&result["StatusDetails"], &plugin["Name"], &plugin["ResponseCode"]),
            (&json!("Success"), &json!("runLinux"), &json!(0))
        );
        let output = plugin["Output"].as_str().unwrap();
        assert!(output.starts_with(&format!("word bye on {node} in eu-central-1\n")), "{output}");
        assert!(output.contains("\n----------ERROR-------\n") && output.contains(id), "{output}");
    }
    let systems: BTreeSet<&str> =
        results.iter().filter_map(|result| result["CommandPlugins"][0]["Output"].as_str()?.lines().nth(1)).collect();
    assert!(
        systems.contains("\"amzn\"") && systems.contains("ubuntu") && systems.contains("bottlerocket"),
        "{systems:?}"
    );

    let one = ok(&sim, "GetCommandInvocation", &json!({"CommandId": id, "InstanceId": nodes[0]}));
    assert_eq!(
        (&one["Status"], &one["PluginName"], &one["ResponseCode"]),
        (&json!("Success"), &json!("runLinux"), &json!(0))
    );
    assert!(one["StandardOutputContent"].as_str().unwrap().starts_with("word bye"));
    assert!(one["StandardErrorContent"].as_str().unwrap().contains(id));
    assert!(one["ExecutionElapsedTime"].as_str().unwrap().starts_with("PT"));
    assert_eq!(
        refused(&sim, "GetCommandInvocation", &json!({"CommandId": id, "InstanceId": nodes[0], "PluginName": "other"}))
            .0,
        "InvalidPluginName"
    );
}

#[test]
fn what_was_just_sent_is_not_seen_yet() {
    let options = SimOptions {
        instances: 3,
        seed: 7,
        consistency: std::time::Duration::from_millis(600),
        ..SimOptions::default()
    };
    let sim = Sim::start(options).unwrap();
    publish(&sim, "Sample", &["echo hi"]);
    let nodes = online(&sim, "Linux");
    let id = send_command(&sim, &json!({"DocumentName": "Sample", "InstanceIds": [nodes[0]]}));
    let get = json!({"CommandId": id, "InstanceId": nodes[0]});
    assert_eq!(ok(&sim, "ListCommandInvocations", &json!({"CommandId": id})), json!({"CommandInvocations": []}));
    assert_eq!(refused(&sim, "GetCommandInvocation", &get).0, "InvocationDoesNotExist");
    eventually("the invocation shows", || ssm(&sim, "GetCommandInvocation", &get).status == 200);

    let target = json!([{"Key": "tag:Role", "Values": ["ecs-web", "ecs-worker", "ecs-ingest", "batch"]}]);
    let sent = ok(&sim, "SendCommand", &json!({"DocumentName": "Sample", "Targets": target}))["Command"].clone();
    assert_eq!(
        (&sent["TargetCount"], &sent["InstanceIds"], &sent["Status"]),
        (&json!(0), &json!([]), &json!("Pending"))
    );
    assert_eq!(finished(&sim, sent["CommandId"].as_str().unwrap())["TargetCount"], 3);
    let nobody =
        send_command(&sim, &json!({"DocumentName": "Sample", "Targets": [{"Key": "tag:Role", "Values": ["none"]}]}));
    assert_eq!(finished(&sim, &nobody)["StatusDetails"], "NoInstancesInTag");
}

#[test]
fn commands_are_refused_by_name() {
    let sim = fleet(24);
    publish(&sim, "Sample", &["echo hi"]);
    let (linux, windows) = (online(&sim, "Linux"), online(&sim, "Windows"));
    let stranger = "i-0123456789abcdef0";
    let to = |ids: &[&str]| json!({"DocumentName": "Sample", "InstanceIds": ids});
    let with = |member: &str, value: Value| {
        let mut request = to(&[&linux[0]]);
        request[member] = value;
        request
    };
    let many: Vec<String> = (0..51).map(|number| format!("i-{number:017}")).collect();
    let unregistered: Vec<String> = {
        let registered: BTreeSet<String> =
            known(&sim, &json!([])).iter().map(|node| node["InstanceId"].as_str().unwrap().to_owned()).collect();
        let running = ids(&sim, "&Filter.1.Name=instance-state-name&Filter.1.Value.1=running");
        running.into_iter().filter(|id| !registered.contains(id)).collect()
    };
    for (request, code) in [
        (to(&[&linux[0], stranger]), "InvalidInstanceId"),
        (to(&[&unregistered[0]]), "InvalidInstanceId"),
        (to(&["i-1"]), "ValidationException"),
        (to(&[&linux[0], &linux[0]]), "DuplicateInstanceId"),
        (to(&[]), "ValidationException"),
        (to(&[&linux[0], &windows[0]]), "UnsupportedPlatformType"),
        (json!({"DocumentName": "Sample", "InstanceIds": many}), "ValidationException"),
        (
            json!({"DocumentName": "Sample", "Targets": [{"Key": "InstanceIds", "Values": [stranger]}]}),
            "InvalidInstanceId",
        ),
        (
            json!({"DocumentName": "Sample", "Targets": [{"Key": "tag:Role", "Values": ["1", "2", "3", "4", "5", "6"]}]}),
            "ValidationException",
        ),
        (with("Targets", json!([{"Key": "tag:Role", "Values": ["ecs-web"]}])), "ValidationException"),
        (with("DocumentName", json!("Other")), "InvalidDocument"),
        (with("DocumentVersion", json!("9")), "InvalidDocumentVersion"),
        (with("DocumentHash", json!("0000")), "InvalidDocument"),
        (with("Parameters", json!({"Word": ["NO"]})), "InvalidParameters"),
        (with("Parameters", json!({"Word": ["a; reboot"]})), "InvalidParameters"),
        (with("Parameters", json!({"Word": ["a", "b"]})), "InvalidParameters"),
        (with("Parameters", json!({"Other": ["a"]})), "InvalidParameters"),
        (with("Parameters", json!({"Word": "a"})), "SerializationException"),
        (with("Comment", json!("x".repeat(101))), "ValidationException"),
        (with("TimeoutSeconds", json!(29)), "ValidationException"),
        (with("MaxConcurrency", json!("0")), "ValidationException"),
        (with("MaxErrors", json!("101%")), "ValidationException"),
    ] {
        assert_eq!(refused(&sim, "SendCommand", &request).0, code, "{request}");
    }
    let (_, message) = refused(&sim, "SendCommand", &to(&[&linux[0], stranger]));
    assert_eq!(message, format!("Instances [[{stranger}]] not in a valid state for account 111122223333"));
    assert_eq!(ok(&sim, "ListCommands", &json!({}))["Commands"], json!([]), "nothing was sent");
    let hash = ok(&sim, "DescribeDocument", &json!({"Name": "Sample"}))["Document"]["Hash"].clone();
    let mut pinned = with("DocumentHash", hash);
    pinned["DocumentHashType"] = json!("Sha256");
    assert_eq!(finished(&sim, &send_command(&sim, &pinned))["Status"], "Success");
}

#[test]
fn failures_and_offline_nodes_are_told_apart() {
    let sim = fleet(24);
    publish(&sim, "Failing", &["echo bad >&2", "exit 3"]);
    let offline = known(&sim, &json!([{"Key": "PingStatus", "Values": ["ConnectionLost"]}]));
    let offline = offline[0]["InstanceId"].as_str().unwrap();
    let linux = online(&sim, "Linux");
    let id =
        send_command(&sim, &json!({"DocumentName": "Failing", "InstanceIds": [linux[0], offline], "MaxErrors": "5"}));
    eventually("the node that answers has answered", || {
        ok(&sim, "ListCommands", &json!({"CommandId": id}))["Commands"][0]["ErrorCount"] == 1
    });
    let results = invocations(&sim, &id);
    let of = |node: &str| results.iter().find(|result| result["InstanceId"] == node).unwrap();
    let failed = of(&linux[0]);
    assert_eq!((&failed["StatusDetails"], &failed["CommandPlugins"][0]["ResponseCode"]), (&json!("Failed"), &json!(3)));
    let output = failed["CommandPlugins"][0]["Output"].as_str().unwrap();
    assert!(output.contains("bad\nfailed to run commands: exit status 3"), "{output}");
    assert_eq!((&of(offline)["StatusDetails"], &of(offline)["CommandPlugins"]), (&json!("InProgress"), &json!([])));
    let stopped = &ids(&sim, "&Filter.1.Name=instance-state-name&Filter.1.Value.1=stopped")[0];
    send_command(&sim, &json!({"DocumentName": "Failing", "InstanceIds": [stopped]}));

    let filtered = json!({"CommandId": id, "Filters": [{"key": "Status", "value": "Failed"}]});
    assert_eq!(ok(&sim, "ListCommandInvocations", &filtered)["CommandInvocations"].as_array().unwrap().len(), 1);
    let waiting = sim.instance_ids().into_iter().find(|found| found.as_str() == offline).unwrap();
    sim.set_online(&waiting, true);
    assert_eq!(finished(&sim, &id)["StatusDetails"], "Incomplete");
}

#[test]
fn a_terminated_instance_is_listed_and_takes_no_command() {
    let sim = fleet(3);
    publish(&sim, "Sample", &["echo hi"]);
    let gone = sim.instance_ids()[0].clone();
    sim.terminate(&gone);
    let terminated = ids(&sim, "&Filter.1.Name=instance-state-name&Filter.1.Value.1=terminated");
    assert_eq!(terminated, [gone.as_str()]);
    assert_eq!(online(&sim, "Linux").len(), 2);
    let (code, message) = refused(
        &sim,
        "SendCommand",
        &json!({"DocumentName": "Sample", "InstanceIds": sim.instance_ids().iter().map(InstanceId::as_str).collect::<Vec<_>>()}),
    );
    assert_eq!((code.as_str(), message.contains(gone.as_str())), ("InvalidInstanceId", true));
}

#[test]
fn waiting_commands_can_be_cancelled() {
    let sim = fleet(24);
    publish(&sim, "Sample", &["echo hi"]);
    let offline = known(&sim, &json!([{"Key": "PingStatus", "Values": ["ConnectionLost"]}]))[0]["InstanceId"].clone();
    let id = send_command(&sim, &json!({"DocumentName": "Sample", "InstanceIds": [offline]}));
    assert_eq!(refused(&sim, "CancelCommand", &json!({"CommandId": "0".repeat(36)})).0, "InvalidCommandId");
    assert_eq!(
        refused(&sim, "CancelCommand", &json!({"CommandId": id, "InstanceIds": ["i-0123456789abcdef0"]})).0,
        "InvalidInstanceId"
    );
    assert_eq!(ok(&sim, "CancelCommand", &json!({"CommandId": id})), json!({}));
    assert_eq!(finished(&sim, &id)["Status"], "Cancelled");
}

#[test]
fn commands_are_listed_by_filter() {
    let sim = fleet(4);
    publish(&sim, "One", &["echo 1"]);
    publish(&sim, "Two", &["echo 2"]);
    let node = online(&sim, "Linux")[0].clone();
    for name in ["One", "One", "Two"] {
        finished(&sim, &send_command(&sim, &json!({"DocumentName": name, "InstanceIds": [node]})));
    }
    let count =
        |filters: Value| ok(&sim, "ListCommands", &json!({"Filters": filters}))["Commands"].as_array().unwrap().len();
    let filter = |key: &str, value: &str| json!({"key": key, "value": value});
    assert_eq!(count(json!([filter("DocumentName", "One")])), 2);
    assert_eq!(count(json!([filter("DocumentName", "One"), filter("InvokedAfter", "2020-01-01T00:00:00Z")])), 2);
    assert_eq!(count(json!([filter("InvokedAfter", "2099-01-01T00:00:00Z")])), 0);
    assert_eq!(count(json!([filter("InvokedBefore", "2099-01-01T00:00:00Z"), filter("Status", "Success")])), 3);
    assert_eq!(count(json!([filter("ExecutionStage", "Executing")])), 0);
    let listed = pages(&sim, "ListCommands", &json!({"MaxResults": 1}), "Commands").concat();
    let names: Vec<&Value> = listed.iter().map(|command| &command["DocumentName"]).collect();
    assert_eq!(names, ["Two", "One", "One"], "the newest first");
    for (request, code) in [
        (json!({"MaxResults": 51}), "ValidationException"),
        (json!({"CommandId": "short"}), "ValidationException"),
        (json!({"Filters": [filter("Colour", "red")]}), "ValidationException"),
        (json!({"Filters": [filter("InvokedAfter", "yesterday")]}), "ValidationException"),
        (json!({"InstanceId": "i-0123456789abcdef0"}), "InvalidInstanceId"),
    ] {
        assert_eq!(refused(&sim, "ListCommands", &request).0, code, "{request}");
    }
}

#[test]
fn long_output_is_cut_as_the_service_does() {
    let sim = fleet(2);
    publish(&sim, "Long", &["echo head", "i=0", "while [ $i -lt 3000 ]; do echo 0123456789; i=$((i+1)); done"]);
    let node = online(&sim, "Linux")[0].clone();
    let id = send_command(&sim, &json!({"DocumentName": "Long", "InstanceIds": [node]}));
    finished(&sim, &id);
    let listed = invocations(&sim, &id)[0]["CommandPlugins"][0]["Output"].as_str().unwrap().to_owned();
    assert!(
        listed.len() == 2500 && listed.starts_with("head\n") && listed.ends_with("\n---Output truncated---"),
        "{}",
        listed.len()
    );
    let whole = ok(&sim, "GetCommandInvocation", &json!({"CommandId": id, "InstanceId": node}));
    let whole = whole["StandardOutputContent"].as_str().unwrap();
    assert!(whole.len() == 24_000 && whole.ends_with("--output truncated--"), "{}", whole.len());
}

#[test]
fn calls_are_counted_and_can_be_throttled() {
    let sim = fleet(1);
    sim.throttle("ListCommands", 2);
    sim.throttle("DescribeInstances", 1);
    for _ in 0..2 {
        let (code, message) = refused(&sim, "ListCommands", &json!({}));
        assert_eq!((code.as_str(), message.as_str()), ("ThrottlingException", "Rate exceeded"));
    }
    ok(&sim, "ListCommands", &json!({}));
    let throttled = instances(&sim, "");
    assert_eq!((throttled.status, throttled.elements("Code")), (503, vec!["RequestLimitExceeded".to_owned()]));
    ids(&sim, "");
    let calls = sim.calls();
    assert_eq!((calls["ListCommands"], calls["DescribeInstances"]), (3, 2));
}

#[test]
fn a_dropped_fleet_leaves_nothing_behind() {
    // An address of its own: a port that is free again is soon taken by another test.
    let listen = "127.0.0.87:0".parse().unwrap();
    let sim = Sim::start(SimOptions { instances: 3, listen, ..SimOptions::default() }).unwrap();
    let (address, host) = (sim.address(), sim.host(&sim.instance_ids()[0]).unwrap());
    let root = host.root().to_owned();
    assert!(root.is_dir());
    drop(sim);
    assert!(!root.exists());
    assert!(std::net::TcpStream::connect(address).is_err());
}
