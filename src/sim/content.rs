//! The content of a Command document of schema 2.2: what the service checks when it is stored, and what it checks of the
//! parameters when it is sent (aws-ssm-facts 4.1 and 4.2, testbeds 2).

use std::collections::{BTreeMap, BTreeSet};

use regex::Regex;
use serde_json::{Map, Value};

use super::wire::error::ApiError;

/// The largest document, parameter values of a send included.
pub(crate) const MAX_DOCUMENT_BYTES: usize = 64 * 1024;

/// The values of a command's parameters.
pub(crate) type Values = BTreeMap<String, Vec<String>>;

/// A parsed document.
#[derive(Clone, Debug)]
pub(crate) struct Content {
    /// `schemaVersion`
    pub(crate) schema_version: String,
    /// `description`
    pub(crate) description: String,
    /// `parameters`, in their order.
    pub(crate) parameters: Vec<Parameter>,
    /// `mainSteps`
    pub(crate) steps: Vec<Step>,
}

/// One declared parameter.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// Its name.
    pub(crate) name: String,
    /// `String` or `StringList`.
    pub(crate) kind: ParameterKind,
    /// `description`
    pub(crate) description: String,
    /// `default`
    pub(crate) default: Option<Vec<String>>,
    /// `allowedPattern`, which the agent checks too.
    pub(crate) allowed_pattern: Option<String>,
    allowed_values: Vec<String>,
    chars: (Option<u64>, Option<u64>),
    items: (Option<u64>, Option<u64>),
}

/// The types of parameters in Command documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ParameterKind {
    /// One text.
    String,
    /// Several texts.
    StringList,
}

impl ParameterKind {
    /// The word of the schema.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
        }
    }
}

/// One step.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// Such as `aws:runShellScript`.
    pub(crate) action: String,
    /// Its name in results.
    pub(crate) name: String,
    /// The two arguments of `StringEquals`.
    pub(crate) precondition: Option<[String; 2]>,
    /// `inputs`
    pub(crate) inputs: Map<String, Value>,
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::modelled("InvalidDocumentContent", message)
}

impl Content {
    /// Parses and checks a document as `CreateDocument` and `UpdateDocument` do.
    pub(crate) fn parse(text: &str, format: &str) -> Result<Self, ApiError> {
        if text.len() > MAX_DOCUMENT_BYTES {
            let message =
                format!("The document is {} bytes long, the limit is {MAX_DOCUMENT_BYTES} bytes.", text.len());
            return Err(ApiError::modelled("MaxDocumentSizeExceeded", message));
        }
        let value: Value = match format {
            "YAML" => serde_yaml::from_str(text).map_err(|error| invalid(format!("YAML not well-formed. {error}")))?,
            _ => serde_json::from_str(text).map_err(|error| invalid(format!("JSON not well-formed. {error}")))?,
        };
        let Value::Object(top) = value else { return Err(invalid("The document is not an object.")) };
        let schema_version = text_of(&top, "schemaVersion").unwrap_or_default();
        if schema_version != "2.2" {
            let message = format!(
                "Document schema version {schema_version} is not supported for Command documents here, use 2.2."
            );
            return Err(ApiError::modelled("InvalidDocumentSchemaVersion", message));
        }
        refuse_unknown(&top, &["schemaVersion", "description", "parameters", "mainSteps"], "document")?;
        let parameters = parameters(top.get("parameters"))?;
        let steps = steps(top.get("mainSteps"))?;
        undeclared(&steps, &parameters)?;
        Ok(Self { schema_version, description: text_of(&top, "description").unwrap_or_default(), parameters, steps })
    }

    /// The platforms that can run at least one of the plugins (aws-ssm-facts 4.5).
    pub(crate) fn platform_types(&self) -> Vec<&'static str> {
        let powershell = self.steps.iter().any(|step| step.action == "aws:runPowerShellScript");
        if powershell { vec!["Windows", "Linux", "MacOS"] } else { vec!["Linux", "MacOS"] }
    }

    /// The seconds that all steps together may run, by their `timeoutSeconds`.
    pub(crate) fn execution_timeout(&self, values: &Values) -> u64 {
        self.steps.iter().map(|step| step_timeout(step.inputs.get("timeoutSeconds"), &self.complete(values))).sum()
    }

    /// The values with the defaults of what is missing.
    pub(crate) fn complete(&self, values: &Values) -> Values {
        let mut complete = values.clone();
        for parameter in &self.parameters {
            if let Some(default) = &parameter.default {
                complete.entry(parameter.name.clone()).or_insert_with(|| default.clone());
            }
        }
        complete
    }

    /// Checks the parameters of a send as the service does.
    pub(crate) fn check_values(&self, values: &Values) -> Result<(), ApiError> {
        for name in values.keys() {
            if !self.parameters.iter().any(|parameter| parameter.name == *name) {
                return Err(parameters_error(format!("Parameter \"{name}\" is not defined in the document.")));
            }
        }
        for parameter in &self.parameters {
            match values.get(&parameter.name).or(parameter.default.as_ref()) {
                Some(given) => parameter.check(given)?,
                None => return Err(parameters_error(format!("Parameter \"{}\" requires a value.", parameter.name))),
            }
        }
        Ok(())
    }
}

fn parameters_error(message: String) -> ApiError {
    ApiError::modelled("InvalidParameters", message)
}

impl Parameter {
    fn check(&self, given: &[String]) -> Result<(), ApiError> {
        let name = &self.name;
        let count = given.len() as u64;
        if self.kind == ParameterKind::String && count != 1 {
            return Err(parameters_error(format!(
                "Parameter \"{name}\" is of type String and takes one value, not {count}."
            )));
        }
        if !within(count, self.items) {
            return Err(parameters_error(format!(
                "Parameter \"{name}\" has {count} items, which is outside its limits."
            )));
        }
        for value in given {
            if !self.allowed_values.is_empty() && !self.allowed_values.contains(value) {
                let allowed = self.allowed_values.join(", ");
                return Err(parameters_error(format!(
                    "Parameter \"{name}\" has the value {value}, allowed are: [{allowed}]"
                )));
            }
            if !within(value.chars().count() as u64, self.chars) {
                return Err(parameters_error(format!(
                    "The length of a value of parameter \"{name}\" is outside its limits."
                )));
            }
            if !self.pattern_allows(value) {
                let pattern = self.allowed_pattern.as_deref().unwrap_or_default();
                return Err(parameters_error(format!(
                    "Parameter \"{name}\" has the value {value}, which does not match {pattern}"
                )));
            }
        }
        Ok(())
    }

    /// Whether the pattern, if there is one, is found in the value. It is not anchored (testbeds 2).
    pub(crate) fn pattern_allows(&self, value: &str) -> bool {
        self.allowed_pattern.as_ref().is_none_or(|pattern| Regex::new(pattern).is_ok_and(|regex| regex.is_match(value)))
    }
}

fn within(number: u64, (low, high): (Option<u64>, Option<u64>)) -> bool {
    low.is_none_or(|low| number >= low) && high.is_none_or(|high| number <= high)
}

/// The seconds a step may run: 5 to 172,800, and 3,600 for everything else (aws-ssm-facts 3.3).
pub(crate) fn step_timeout(input: Option<&Value>, values: &Values) -> u64 {
    let text = match input {
        Some(Value::Number(number)) => number.to_string(),
        Some(Value::String(text)) => {
            match whole_reference(text).and_then(|name| values.get(name)).and_then(|list| list.first()) {
                Some(value) => value.clone(),
                None => text.clone(),
            }
        }
        _ => String::new(),
    };
    text.trim().parse().ok().filter(|seconds| (5..=172_800).contains(seconds)).unwrap_or(3600)
}

/// The parameter that a text refers to, where the text is nothing but the reference.
pub(crate) fn whole_reference(text: &str) -> Option<&str> {
    let name = text.trim().strip_prefix("{{")?.strip_suffix("}}")?.trim();
    is_name(name).then_some(name)
}

/// Whether the agent accepts a parameter of this name (aws-ssm-facts 4.2).
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn text_of(map: &Map<String, Value>, key: &str) -> Option<String> {
    map.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn refuse_unknown(map: &Map<String, Value>, known: &[&str], place: &str) -> Result<(), ApiError> {
    match map.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(invalid(format!("Unknown member \"{key}\" in {place}."))),
        None => Ok(()),
    }
}

fn parameters(declared: Option<&Value>) -> Result<Vec<Parameter>, ApiError> {
    let Some(declared) = declared else { return Ok(Vec::new()) };
    let Value::Object(declared) = declared else { return Err(invalid("\"parameters\" is not an object.")) };
    declared
        .iter()
        .map(|(name, spec)| match spec {
            Value::Object(spec) if is_name(name) => parameter(name, spec),
            Value::Object(_) => Err(invalid(format!("Parameter name \"{name}\" must be letters and digits."))),
            _ => Err(invalid(format!("Parameter \"{name}\" is not an object."))),
        })
        .collect()
}

fn parameter(name: &str, spec: &Map<String, Value>) -> Result<Parameter, ApiError> {
    const KNOWN: [&str; 11] = [
        "type",
        "description",
        "default",
        "allowedValues",
        "allowedPattern",
        "displayType",
        "minItems",
        "maxItems",
        "minChars",
        "maxChars",
        "interpolationType",
    ];
    refuse_unknown(spec, &KNOWN, &format!("parameter \"{name}\""))?;
    let kind = match text_of(spec, "type").as_deref() {
        Some("String") => ParameterKind::String,
        Some("StringList") => ParameterKind::StringList,
        other => {
            let shown = other.unwrap_or("none");
            return Err(invalid(format!(
                "Parameter \"{name}\" has the type {shown}; Command documents take String and StringList."
            )));
        }
    };
    let allowed_pattern = text_of(spec, "allowedPattern");
    if let Some(pattern) = &allowed_pattern {
        check_pattern(name, pattern)?;
    }
    let parameter = Parameter {
        name: name.to_owned(),
        kind,
        description: text_of(spec, "description").unwrap_or_default(),
        default: spec.get("default").map(texts).transpose()?,
        allowed_pattern,
        allowed_values: spec.get("allowedValues").map(texts).transpose()?.unwrap_or_default(),
        chars: (number_of(spec, "minChars")?, number_of(spec, "maxChars")?),
        items: (number_of(spec, "minItems")?, number_of(spec, "maxItems")?),
    };
    if let Some(default) = &parameter.default {
        parameter.check(default).map_err(|error| invalid(format!("Default value: {}", error.message)))?;
    }
    Ok(parameter)
}

/// A pattern that the agent's engine cannot compile would fail every run, so it is refused here: look-around and
/// back-references (the `regex` crate has none either) and repeat counts above 1,000.
fn check_pattern(name: &str, pattern: &str) -> Result<(), ApiError> {
    Regex::new(pattern).map_err(|error| invalid(format!("allowedPattern of \"{name}\" is not valid: {error}")))?;
    let too_many = pattern
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'))
        .flat_map(|(counts, _)| counts.split(','))
        .any(|count| count.parse::<u64>().is_ok_and(|count| count > 1000));
    if too_many {
        return Err(invalid(format!(
            "allowedPattern of \"{name}\" repeats more than 1000 times, which agents cannot compile."
        )));
    }
    Ok(())
}

fn number_of(spec: &Map<String, Value>, key: &str) -> Result<Option<u64>, ApiError> {
    match spec.get(key) {
        None => Ok(None),
        Some(value) => {
            let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
            number.map(Some).ok_or_else(|| invalid(format!("\"{key}\" is not a number.")))
        }
    }
}

/// A text or a list of texts.
fn texts(value: &Value) -> Result<Vec<String>, ApiError> {
    match value {
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(items) => items
            .iter()
            .map(|item| {
                item.as_str()
                    .map(str::to_owned)
                    .ok_or_else(|| invalid("A list of parameter values holds something that is not text."))
            })
            .collect(),
        _ => Err(invalid("A parameter value is neither text nor a list of texts.")),
    }
}

fn steps(declared: Option<&Value>) -> Result<Vec<Step>, ApiError> {
    let Some(Value::Array(declared)) = declared else { return Err(invalid("\"mainSteps\" is missing or not a list.")) };
    if declared.is_empty() {
        return Err(invalid("\"mainSteps\" is empty."));
    }
    let mut names = BTreeSet::new();
    let mut steps = Vec::new();
    for declared in declared {
        let Value::Object(declared) = declared else { return Err(invalid("A step is not an object.")) };
        let step = step(declared)?;
        if !names.insert(step.name.clone()) {
            return Err(invalid(format!("Two steps are called \"{}\".", step.name)));
        }
        steps.push(step);
    }
    Ok(steps)
}

fn step(declared: &Map<String, Value>) -> Result<Step, ApiError> {
    refuse_unknown(declared, &["action", "name", "precondition", "inputs"], "a step")?;
    let name = text_of(declared, "name").unwrap_or_default();
    let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    // No source gives a shortest name. GetCommandInvocation takes none under four characters, and says so itself.
    if name.is_empty() || name.len() > 128 || !valid {
        return Err(invalid(format!("Step name \"{name}\" must be 1 to 128 letters, digits, `_` or `-`.")));
    }
    let action = text_of(declared, "action").unwrap_or_default();
    if !["aws:runShellScript", "aws:runPowerShellScript"].contains(&action.as_str()) {
        return Err(invalid(format!("The embedded fleet does not know the plugin \"{action}\" of step \"{name}\".")));
    }
    let Some(Value::Object(inputs)) = declared.get("inputs") else {
        return Err(invalid(format!("Step \"{name}\" has no inputs.")));
    };
    let runs = match inputs.get("runCommand") {
        Some(Value::Array(lines)) => lines.iter().all(Value::is_string),
        Some(Value::String(_)) => true,
        _ => false,
    };
    if !runs {
        return Err(invalid(format!("Step \"{name}\" has no \"runCommand\" with lines of text.")));
    }
    let precondition = declared.get("precondition").map(|value| precondition(&name, value)).transpose()?;
    Ok(Step { action, name, precondition, inputs: inputs.clone() })
}

fn precondition(step: &str, value: &Value) -> Result<[String; 2], ApiError> {
    let arguments = match value {
        Value::Object(map) if map.len() == 1 => map.get("StringEquals").and_then(Value::as_array),
        _ => None,
    };
    match arguments.map(Vec::as_slice) {
        Some([Value::String(left), Value::String(right)]) if left != right => Ok([left.clone(), right.clone()]),
        _ => Err(invalid(format!("The precondition of step \"{step}\" is not StringEquals with two different texts."))),
    }
}

/// References to parameters that are not declared. The agent would leave them in the script as they are.
fn undeclared(steps: &[Step], parameters: &[Parameter]) -> Result<(), ApiError> {
    for step in steps {
        let mut texts = vec![Value::Object(step.inputs.clone()).to_string()];
        texts.extend(step.precondition.iter().flatten().cloned());
        for name in texts.iter().flat_map(|text| references(text)) {
            if !parameters.iter().any(|parameter| parameter.name == name) {
                return Err(invalid(format!(
                    "Step \"{}\" refers to the parameter \"{name}\", which is not declared.",
                    step.name
                )));
            }
        }
    }
    Ok(())
}

/// The names in `{{ NAME }}`.
fn references(text: &str) -> impl Iterator<Item = &str> {
    text.split("{{")
        .skip(1)
        .filter_map(|rest| rest.split_once("}}"))
        .map(|(name, _)| name.trim())
        .filter(|name| is_name(name))
}

#[cfg(test)]
pub(crate) mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use serde_json::{Value, json};

    use super::{Content, Values};

    /// A small document with two parameters and a step for each kind of system.
    pub(crate) fn sample() -> Value {
        json!({
            "schemaVersion": "2.2",
            "description": "a sample",
            "parameters": {
                "Word": {"type": "String", "allowedPattern": "^[a-z]+$", "maxChars": 8, "default": "hello"},
                "Names": {"type": "StringList", "allowedValues": ["a", "b"], "maxItems": 2},
            },
            "mainSteps": [
                {"action": "aws:runShellScript", "name": "linux", "precondition": {"StringEquals": ["platformType", "Linux"]},
                 "inputs": {"timeoutSeconds": "60", "runCommand": ["echo {{ Word }} {{ Names }}"]}},
            ],
        })
    }

    fn code_of(document: &Value) -> String {
        match Content::parse(&document.to_string(), "JSON") {
            Ok(_) => "accepted".to_owned(),
            Err(error) => error.code.into_owned(),
        }
    }

    #[test]
    fn documents_are_checked_when_they_are_stored() {
        assert_eq!(code_of(&sample()), "accepted");
        let cases: [(&str, Value, &str); 14] = [
            ("/schemaVersion", json!("0.3"), "InvalidDocumentSchemaVersion"),
            ("/parameters/Word/type", json!("Boolean"), "InvalidDocumentContent"),
            ("/parameters/Word/allowedPattern", json!("^(?!x)y$"), "InvalidDocumentContent"),
            ("/parameters/Word/allowedPattern", json!("^[a-z]{1,1001}$"), "InvalidDocumentContent"),
            ("/parameters/Word/allowedPattern", json!("^[a-z]{1,1000}$"), "accepted"),
            ("/parameters/Word/default", json!("HELLO"), "InvalidDocumentContent"),
            ("/parameters/Word/maxChars", json!("many"), "InvalidDocumentContent"),
            ("/mainSteps", json!([]), "InvalidDocumentContent"),
            ("/mainSteps/0/name", json!("a b"), "InvalidDocumentContent"),
            ("/mainSteps/0/action", json!("aws:runRocket"), "InvalidDocumentContent"),
            ("/mainSteps/0/inputs", json!({}), "InvalidDocumentContent"),
            ("/mainSteps/0/inputs/runCommand", json!(["echo {{ Wrod }}"]), "InvalidDocumentContent"),
            ("/mainSteps/0/precondition", json!({"StringEquals": ["a", "a"]}), "InvalidDocumentContent"),
            ("/mainSteps/0/inputs/runCommand", json!(["x".repeat(66_000)]), "MaxDocumentSizeExceeded"),
        ];
        for (place, value, expected) in cases {
            let mut document = sample();
            *document.pointer_mut(place).unwrap() = value;
            assert_eq!(code_of(&document), expected, "{place} {document:.200}");
        }
        assert_eq!(Content::parse("{", "JSON").unwrap_err().code, "InvalidDocumentContent");
        assert!(Content::parse("schemaVersion: '2.2'\nmainSteps: [{action: 'aws:runShellScript', name: step, inputs: {runCommand: [a]}}]", "YAML").is_ok());
    }

    /// Parameters and their values.
    type Given = &'static [(&'static str, &'static [&'static str])];

    #[test]
    fn parameters_are_checked_when_they_are_sent() {
        let content = Content::parse(&sample().to_string(), "JSON").unwrap();
        let cases: [(Given, bool); 9] = [
            (&[("Names", &["a"])], true),
            (&[("Names", &["a", "b"]), ("Word", &["bye"])], true),
            (&[], false),
            (&[("Names", &["c"])], false),
            (&[("Names", &["a", "a", "b"])], false),
            (&[("Names", &["a"]), ("Word", &["BYE"])], false),
            (&[("Names", &["a"]), ("Word", &["a$(id)"])], false),
            (&[("Names", &["a"]), ("Word", &["a", "b"])], false),
            (&[("Names", &["a"]), ("Other", &["b"])], false),
        ];
        for (given, accepted) in cases {
            let values: Values = given
                .iter()
                .map(|(name, list)| ((*name).to_owned(), list.iter().map(|value| (*value).to_owned()).collect()))
                .collect();
            let result = content.check_values(&values);
            assert_eq!(result.is_ok(), accepted, "{given:?} {result:?}");
            if let Err(error) = result {
                assert_eq!(error.code, "InvalidParameters");
            }
        }
        assert_eq!(content.execution_timeout(&Values::new()), 60);
        assert_eq!(content.platform_types(), ["Linux", "MacOS"]);
    }
}
