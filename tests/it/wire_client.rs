//! A small HTTP client for the embedded fleet, so that its tests depend on no SDK: what goes over the wire is in the test.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proxyfleet::sim::{Sim, SimOptions};
use serde_json::{Value, json};

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The header lines, in lower case.
    pub(crate) headers: String,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The texts of all elements called `name`.
    pub(crate) fn elements(&self, name: &str) -> Vec<String> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        self.body
            .split(&open)
            .skip(1)
            .map(|rest| rest.split(&close).next().expect("a closed element").to_owned())
            .collect()
    }
}

/// Starts a fleet.
pub(crate) fn fleet(instances: usize) -> Sim {
    Sim::start(SimOptions { instances, seed: 7, ..SimOptions::default() }).expect("a loopback port is free")
}

/// Sends a request as it is.
pub(crate) fn send(sim: &Sim, headers: &[(&str, &str)], body: &str) -> Answer {
    try_send(sim, headers, body).expect("a head and a body")
}

/// Sends a request; `None` where the connection is closed without an answer.
fn try_send(sim: &Sim, headers: &[(&str, &str)], body: &str) -> Option<Answer> {
    let mut stream = TcpStream::connect(sim.address()).expect("the fleet listens");
    let mut request = format!("POST / HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", sim.address());
    for (name, value) in headers {
        request.extend([name, ": ", value, "\r\n"]);
    }
    request.extend(["Content-Length: ", &body.len().to_string(), "\r\n\r\n", body]);
    stream.write_all(request.as_bytes()).expect("the fleet reads");
    let mut text = String::new();
    if let Err(error) = stream.read_to_string(&mut text) {
        assert_eq!(error.kind(), ErrorKind::ConnectionReset, "the fleet answers in UTF-8");
    }
    if text.is_empty() {
        return None;
    }
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    Some(Answer { status, headers: head.to_ascii_lowercase(), body: body.to_owned() })
}

/// A signature header for a service; its digest is not checked.
pub(crate) fn authorization(service: &str) -> String {
    format!(
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-central-1/{service}/aws4_request, \
         SignedHeaders=host;x-amz-date, Signature={}",
        "0".repeat(64)
    )
}

/// A call of SSM.
pub(crate) fn ssm(sim: &Sim, operation: &str, parameters: &Value) -> Answer {
    try_ssm(sim, operation, parameters).expect("an answer")
}

/// A call of SSM; `None` where the connection is closed without an answer.
pub(crate) fn try_ssm(sim: &Sim, operation: &str, parameters: &Value) -> Option<Answer> {
    let headers = [
        ("Content-Type", "application/x-amz-json-1.1"),
        ("X-Amz-Target", &format!("AmazonSSM.{operation}")),
        ("X-Amz-Date", "20260101T000000Z"),
        ("Authorization", &authorization("ssm")),
    ];
    try_send(sim, &headers, &parameters.to_string())
}

/// The result of a call of SSM that succeeds.
pub(crate) fn ok(sim: &Sim, operation: &str, parameters: &Value) -> Value {
    let answer = ssm(sim, operation, parameters);
    assert_eq!(answer.status, 200, "{operation} {parameters}: {}", answer.body);
    assert!(answer.headers.contains("x-amzn-requestid: "), "{}", answer.headers);
    answer.json()
}

/// The code and the message of a call of SSM that fails.
pub(crate) fn refused(sim: &Sim, operation: &str, parameters: &Value) -> (String, String) {
    let answer = ssm(sim, operation, parameters);
    assert_eq!(answer.status, 400, "{operation} {parameters}: {}", answer.body);
    let body = answer.json();
    let text = |member: &str| body[member].as_str().map(str::to_owned);
    (text("__type").expect("a code"), text("Message").or_else(|| text("message")).unwrap_or_default())
}

/// A call of a query service.
pub(crate) fn query(sim: &Sim, service: &str, body: &str) -> Answer {
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded"),
        ("X-Amz-Date", "20260101T000000Z"),
        ("Authorization", &authorization(service)),
    ];
    send(sim, &headers, body)
}

/// A call of EC2's `DescribeInstances`.
pub(crate) fn instances(sim: &Sim, parameters: &str) -> Answer {
    query(sim, "ec2", &format!("Action=DescribeInstances&Version=2016-11-15{parameters}"))
}

/// All pages of a list.
pub(crate) fn pages(sim: &Sim, operation: &str, parameters: &Value, member: &str) -> Vec<Vec<Value>> {
    let (mut pages, mut parameters) = (Vec::new(), parameters.clone());
    loop {
        let answer = ok(sim, operation, &parameters);
        pages.push(answer[member].as_array().expect("a list").clone());
        match answer.get("NextToken") {
            Some(token) => parameters["NextToken"] = token.clone(),
            None => return pages,
        }
    }
}

/// Publishes a document with one shell step and waits until it can be used.
pub(crate) fn publish(sim: &Sim, name: &str, script: &[&str]) {
    let content = json!({
        "schemaVersion": "2.2",
        "description": "a test",
        "parameters": {"Word": {"type": "String", "default": "hello", "allowedPattern": "^[a-z]{1,20}$"}},
        "mainSteps": [{
            "action": "aws:runShellScript",
            "name": "runLinux",
            "precondition": {"StringEquals": ["platformType", "Linux"]},
            "inputs": {"timeoutSeconds": "60", "runCommand": script},
        }],
    });
    ok(sim, "CreateDocument", &json!({"Name": name, "Content": content.to_string(), "DocumentType": "Command"}));
    eventually("the document is active", || {
        ok(sim, "DescribeDocument", &json!({"Name": name}))["Document"]["Status"] == "Active"
    });
}

/// Sends a command and returns its id.
pub(crate) fn send_command(sim: &Sim, parameters: &Value) -> String {
    let answer = ok(sim, "SendCommand", parameters);
    answer["Command"]["CommandId"].as_str().expect("an id").to_owned()
}

/// Waits until a command is over and returns it.
pub(crate) fn finished(sim: &Sim, id: &str) -> Value {
    let mut command = Value::Null;
    eventually("the command is over", || {
        command = ok(sim, "ListCommands", &json!({"CommandId": id}))["Commands"][0].clone();
        !["Pending", "InProgress", "Cancelling"].contains(&command["Status"].as_str().expect("a status"))
    });
    command
}

/// Waits for something that comes true within seconds.
pub(crate) fn eventually(what: &str, mut test: impl FnMut() -> bool) {
    let start = Instant::now();
    while !test() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 seconds: {what}");
        sleep(Duration::from_millis(20));
    }
}
