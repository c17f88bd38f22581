//! Parameter Store of the embedded fleet over raw HTTP (aws-ssm-facts 2.13).

use serde_json::{Value, json};

use crate::wire_client::{fleet, ok, pages, refused};

/// The `Name` of each parameter.
fn names(parameters: &[Value]) -> Vec<&str> {
    parameters.iter().map(|one| one["Name"].as_str().expect("a name")).collect()
}

#[test]
fn a_parameter_is_written_read_and_deleted() {
    let sim = fleet(1);
    let put = json!({"Name": "/app/key", "Value": "one", "Type": "String"});
    assert_eq!(ok(&sim, "PutParameter", &put), json!({"Version": 1, "Tier": "Standard"}));
    let (code, message) = refused(&sim, "PutParameter", &put);
    assert_eq!(code, "ParameterAlreadyExists");
    assert!(message.contains("overwrite"), "{message}");
    let again = json!({"Name": "/app/key", "Value": "two", "Overwrite": true});
    assert_eq!(ok(&sim, "PutParameter", &again)["Version"], 2);

    let mut read = ok(&sim, "GetParameter", &json!({"Name": "/app/key"}))["Parameter"].take();
    assert!(read["LastModifiedDate"].take().as_f64() > Some(1.7e9), "seconds since the epoch");
    let expected = json!({
        "Name": "/app/key", "Type": "String", "Value": "two", "Version": 2, "LastModifiedDate": null,
        "ARN": "arn:aws:ssm:eu-central-1:111122223333:parameter/app/key", "DataType": "text",
    });
    assert_eq!(read, expected);
    for (name, value) in [
        ("/app/key:1", "one"),
        ("arn:aws:ssm:eu-central-1:111122223333:parameter/app/key", "two"),
        ("/app/key:2", "two"),
    ] {
        assert_eq!(ok(&sim, "GetParameter", &json!({"Name": name}))["Parameter"]["Value"], value, "{name}");
    }
    assert_eq!(refused(&sim, "GetParameter", &json!({"Name": "/app/key:3"})).0, "ParameterVersionNotFound");

    assert_eq!(ok(&sim, "DeleteParameter", &json!({"Name": "/app/key"})), json!({}));
    for operation in ["GetParameter", "DeleteParameter"] {
        // The real service says no more than the code.
        let answer = refused(&sim, operation, &json!({"Name": "/app/key"}));
        assert_eq!(answer, ("ParameterNotFound".to_owned(), String::new()));
    }
}

#[test]
fn several_at_once_name_those_that_are_not_there() {
    let sim = fleet(1);
    for name in ["/a", "/b"] {
        ok(&sim, "PutParameter", &json!({"Name": name, "Value": "x", "Type": "String"}));
    }
    let answer = ok(&sim, "GetParameters", &json!({"Names": ["/b", "/none", "/a", "/a:9"]}));
    assert_eq!(names(answer["Parameters"].as_array().expect("a list")), ["/b", "/a"]);
    assert_eq!(answer["InvalidParameters"], json!(["/none", "/a:9"]));
    let answer = ok(&sim, "DeleteParameters", &json!({"Names": ["/a", "/none"]}));
    assert_eq!(answer, json!({"DeletedParameters": ["/a"], "InvalidParameters": ["/none"]}));
    let eleven: Vec<String> = (0..11).map(|number| format!("/{number}")).collect();
    for operation in ["GetParameters", "DeleteParameters"] {
        for names in [json!([]), json!(eleven)] {
            assert_eq!(refused(&sim, operation, &json!({"Names": names})).0, "ValidationException", "{names}");
        }
    }
}

#[test]
fn a_path_is_read_in_pages() {
    let sim = fleet(1);
    for number in 10..33 {
        ok(&sim, "PutParameter", &json!({"Name": format!("/app/{number}"), "Value": "x", "Type": "String"}));
    }
    ok(&sim, "PutParameter", &json!({"Name": "/app/10/deep", "Value": "x", "Type": "String"}));
    let found = |request: &Value| pages(&sim, "GetParametersByPath", request, "Parameters");
    let sizes: Vec<usize> = found(&json!({"Path": "/app"})).iter().map(Vec::len).collect();
    assert_eq!(sizes, [10, 10, 3]);
    assert_eq!(found(&json!({"Path": "/app", "Recursive": true, "MaxResults": 5})).concat().len(), 24);
    assert_eq!(names(&found(&json!({"Path": "/app/10/"})).concat()), ["/app/10/deep"]);
    assert_eq!(found(&json!({"Path": "/nobody"})), [Vec::<Value>::new()]);

    let token = ok(&sim, "GetParametersByPath", &json!({"Path": "/app"}))["NextToken"].clone();
    for (request, code) in [
        (json!({"Path": "/other", "NextToken": token}), "InvalidNextToken"),
        (json!({"Path": "app"}), "ValidationException"),
        (json!({"Path": "/app", "MaxResults": 11}), "ValidationException"),
        (json!({"Path": "/app", "ParameterFilters": [{"Key": "Type"}]}), "InvalidFilterKey"),
        (json!({}), "ValidationException"),
    ] {
        assert_eq!(refused(&sim, "GetParametersByPath", &request).0, code, "{request}");
    }
}

#[test]
fn what_is_refused_changes_nothing() {
    let sim = fleet(1);
    ok(&sim, "PutParameter", &json!({"Name": "/a", "Value": "x", "Type": "String"}));
    for (request, code) in [
        (json!({"Name": "/a", "Type": "String"}), "ValidationException"),
        (json!({"Name": "/a", "Value": "", "Type": "String", "Overwrite": true}), "ValidationException"),
        (json!({"Name": "/a", "Value": "y", "Type": "Text", "Overwrite": true}), "ValidationException"),
        (json!({"Name": "/a", "Value": "y".repeat(4097), "Overwrite": true}), "ValidationException"),
        (
            json!({"Name": "/a", "Value": "y", "Overwrite": true, "Tags": [{"Key": "a", "Value": "b"}]}),
            "ValidationException",
        ),
        (json!({"Name": "/b", "Value": "y"}), "ValidationException"),
        (json!({"Name": "/b", "Value": "y", "Type": "SecureString"}), "ValidationException"),
        (json!({"Name": "/b", "Value": "{{ssm:/a}}", "Type": "String"}), "ValidationException"),
        (json!({"Name": "/aws/b", "Value": "y", "Type": "String"}), "AccessDeniedException"),
    ] {
        assert_eq!(refused(&sim, "PutParameter", &request).0, code, "{request}");
    }
    let left = ok(&sim, "GetParametersByPath", &json!({"Path": "/", "Recursive": true}));
    assert_eq!(names(left["Parameters"].as_array().expect("a list")), ["/a"]);
    assert_eq!(left["Parameters"][0]["Version"], 1);
}
