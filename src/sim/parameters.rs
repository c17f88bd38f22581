//! The parameters of Parameter Store: values, versions and the rules of their names (aws-ssm-facts 2.13).

use std::collections::BTreeMap;

use super::wire::error::ApiError;
use super::world::Time;

/// Quotas of an account and region.
const MAX_PARAMETERS: usize = 10_000;
const MAX_VERSIONS: usize = 100;
const MAX_LEVELS: usize = 15;
/// Characters of a full name, that is of the ARN.
const MAX_ARN: usize = 1011;

/// What a parameter is stored as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tier {
    /// Values of up to 4,096 characters.
    Standard,
    /// Values of up to 8,192 characters.
    Advanced,
}

impl Tier {
    /// The word of the API.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Standard => "Standard",
            Self::Advanced => "Advanced",
        }
    }

    const fn longest_value(self) -> usize {
        match self {
            Self::Standard => 4096,
            Self::Advanced => 8192,
        }
    }
}

/// One version of a parameter.
#[derive(Clone, Debug)]
pub(crate) struct ParameterVersion {
    /// 1, 2, ...
    pub(crate) number: u64,
    /// The value.
    pub(crate) value: String,
    /// `text`, or what else the value is to be understood as.
    pub(crate) data_type: String,
    /// When it was written.
    pub(crate) modified: Time,
}

/// A parameter and its versions, the oldest first.
#[derive(Clone, Debug)]
pub(crate) struct Parameter {
    /// `String` or `StringList`. It never changes.
    pub(crate) kind: String,
    tier: Tier,
    /// Never empty.
    versions: Vec<ParameterVersion>,
}

impl Parameter {
    /// The newest version.
    pub(crate) fn latest(&self) -> &ParameterVersion {
        self.versions.last().expect("invariant: a parameter has a version")
    }

    /// One version.
    pub(crate) fn version(&self, number: u64) -> Option<&ParameterVersion> {
        self.versions.iter().find(|version| version.number == number)
    }
}

/// The members of `PutParameter` that decide.
#[derive(Clone, Debug)]
pub(crate) struct Put {
    /// `Name`
    pub(crate) name: String,
    /// `Value`
    pub(crate) value: String,
    /// `Type`
    pub(crate) kind: Option<String>,
    /// `DataType`
    pub(crate) data_type: Option<String>,
    /// `Overwrite`
    pub(crate) overwrite: bool,
    /// `Tier`; `Intelligent-Tiering` takes the smaller one that fits.
    pub(crate) tier: Option<String>,
}

impl Put {
    fn tier(&self, known: Option<&Parameter>) -> Tier {
        let needs_more = self.value.chars().count() > Tier::Standard.longest_value();
        match self.tier.as_deref() {
            Some("Advanced") => Tier::Advanced,
            Some("Intelligent-Tiering") if needs_more => Tier::Advanced,
            // An advanced parameter never becomes a standard one again.
            _ => known.map_or(Tier::Standard, |known| known.tier),
        }
    }
}

/// All parameters of the account.
#[derive(Debug, Default)]
pub(crate) struct ParameterStore {
    /// By their names, as they were given.
    parameters: BTreeMap<String, Parameter>,
}

impl ParameterStore {
    /// One parameter by its name.
    pub(crate) fn get(&self, name: &str) -> Option<&Parameter> {
        self.parameters.get(name)
    }

    /// Everything below a path, in the order of names; only the next level unless `recursive`.
    pub(crate) fn below(&self, path: &str, recursive: bool) -> Vec<(&str, &Parameter)> {
        let folder = if path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        self.parameters
            .iter()
            .filter(|(name, _)| name.strip_prefix(&folder).is_some_and(|rest| recursive || !rest.contains('/')))
            .map(|(name, parameter)| (name.as_str(), parameter))
            .collect()
    }

    /// `PutParameter`. `arn` is what stands before the name in the ARN.
    pub(crate) fn put(&mut self, put: Put, arn: &str, now: Time) -> Result<(u64, Tier), ApiError> {
        check_name(&put.name, arn)?;
        let known = self.parameters.get(&put.name);
        let tier = put.tier(known);
        check_value(&put.value, tier)?;
        if let Some(known) = known {
            if !put.overwrite {
                let message = "The parameter already exists. To overwrite this value, set the overwrite option in the \
                               request to true.";
                return Err(ApiError::modelled("ParameterAlreadyExists", message));
            }
            if put.kind.as_ref().is_some_and(|kind| *kind != known.kind) {
                let message = "Parameter Store doesn't support changing a parameter type in a hierarchy. You must create \
                               a new, unique parameter.";
                return Err(ApiError::modelled("HierarchyTypeMismatchException", message));
            }
        } else if self.parameters.len() >= MAX_PARAMETERS {
            let message = format!("You have exceeded the number of parameters for this account: {MAX_PARAMETERS}.");
            return Err(ApiError::modelled("ParameterLimitExceeded", message));
        }
        let number = known.map_or(1, |known| known.latest().number + 1);
        let data_type = put.data_type.unwrap_or_else(|| "text".to_owned());
        let version = ParameterVersion { number, value: put.value, data_type, modified: now };
        if let Some(known) = self.parameters.get_mut(&put.name) {
            known.tier = tier;
            known.versions.push(version);
            let surplus = known.versions.len().saturating_sub(MAX_VERSIONS);
            known.versions.drain(..surplus);
        } else {
            let kind = put
                .kind
                .ok_or_else(|| ApiError::validation("A parameter type is required when you create a parameter."))?;
            self.parameters.insert(put.name, Parameter { kind, tier, versions: vec![version] });
        }
        Ok((number, tier))
    }

    /// Takes a parameter away with all its versions; whether it was there.
    pub(crate) fn delete(&mut self, name: &str) -> bool {
        self.parameters.remove(name).is_some()
    }
}

/// The rules of `PutParameter` for names.
fn check_name(name: &str, arn: &str) -> Result<(), ApiError> {
    let is_path = name.contains('/');
    if is_path && !name.starts_with('/') {
        return Err(ApiError::validation("Parameter name must be a fully qualified name."));
    }
    let lower = name.trim_start_matches('/').to_ascii_lowercase();
    if is_path && lower.starts_with("aws") {
        return Err(ApiError::common(
            400,
            "AccessDeniedException",
            format!("No access to reserved parameter name: {name}."),
        ));
    }
    let reserved = lower.starts_with("aws") || lower.starts_with("ssm");
    if reserved || !well_formed(name) {
        let message = "Parameter name: can't be prefixed with \"aws\" or \"ssm\" (case-insensitive). If formed as a path, it \
                       can consist of sub-paths divided by slash symbol; each sub-path can be formed as a mix of letters, \
                       numbers and the following 3 symbols .-_";
        return Err(ApiError::validation(message));
    }
    if arn.chars().count() + name.chars().count() > MAX_ARN {
        let message = format!("The name of a parameter, its ARN included, has at most {MAX_ARN} characters.");
        return Err(ApiError::validation(message));
    }
    if name.trim_start_matches('/').split('/').count() > MAX_LEVELS {
        let message = format!("A hierarchy can have a maximum of {MAX_LEVELS} levels.");
        return Err(ApiError::modelled("HierarchyLevelLimitExceededException", message));
    }
    Ok(())
}

/// Letters, digits and `.-_` between slashes, and no empty level.
pub(crate) fn well_formed(name: &str) -> bool {
    let level = |level: &str| {
        !level.is_empty() && level.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
    };
    name.strip_prefix('/').unwrap_or(name).split('/').all(level)
}

fn check_value(value: &str, tier: Tier) -> Result<(), ApiError> {
    if value.contains("{{") && value.contains("}}") {
        let message = "Parameter value can't nest another parameter. Do not use \"{{}}\" in the value.";
        return Err(ApiError::validation(message));
    }
    let longest = tier.longest_value();
    if value.chars().count() <= longest {
        return Ok(());
    }
    let upgrade = match tier {
        Tier::Standard => {
            " To create a larger parameter value, upgrade the parameter to use the advanced-parameter tier. For more \
             information, see https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html"
        }
        Tier::Advanced => "",
    };
    let tier = tier.name();
    Err(ApiError::validation(format!(
        "{tier} tier parameters support a maximum parameter value of {longest} characters.{upgrade}"
    )))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

    use std::time::Duration;

    use super::{ParameterStore, Put, Tier};
    use crate::sim::world::Time;

    const NOW: Time = Duration::from_secs(1_700_000_000);
    const ARN: &str = "arn:aws:ssm:eu-central-1:111122223333:parameter";

    fn put(name: &str, value: &str) -> Put {
        Put {
            name: name.to_owned(),
            value: value.to_owned(),
            kind: Some("String".to_owned()),
            data_type: None,
            overwrite: true,
            tier: None,
        }
    }

    fn code(put: Put) -> String {
        let mut store = ParameterStore::default();
        store.put(self::put("/there", "x"), ARN, NOW).unwrap();
        store.put(put, ARN, NOW).unwrap_err().code.into_owned()
    }

    #[test]
    fn what_the_service_refuses_is_refused_by_its_code() {
        let long = |length| "x".repeat(length);
        for (put, expected) in [
            (put("a/b", "x"), "ValidationException"),
            (put("/aws/b", "x"), "AccessDeniedException"),
            (put("/ssmthing", "x"), "ValidationException"),
            (put("AWSthing", "x"), "ValidationException"),
            (put("/a//b", "x"), "ValidationException"),
            (put("/a/b/", "x"), "ValidationException"),
            (put("/a b", "x"), "ValidationException"),
            (put("/é", "x"), "ValidationException"),
            (put(&"/a".repeat(16), "x"), "HierarchyLevelLimitExceededException"),
            (put(&format!("/{}", long(1011)), "x"), "ValidationException"),
            (put("/a", &long(4097)), "ValidationException"),
            (put("/a", "{{ssm:b}}"), "ValidationException"),
            (Put { tier: Some("Advanced".to_owned()), ..put("/a", &long(8193)) }, "ValidationException"),
            (Put { kind: None, ..put("/a", "x") }, "ValidationException"),
            (Put { overwrite: false, ..put("/there", "x") }, "ParameterAlreadyExists"),
            (Put { kind: Some("StringList".to_owned()), ..put("/there", "x") }, "HierarchyTypeMismatchException"),
        ] {
            let shown = format!("{put:?}");
            assert_eq!(code(put), expected, "{shown}");
        }
    }

    #[test]
    fn values_grow_up_to_their_tier_and_versions_count_up() {
        let mut store = ParameterStore::default();
        assert_eq!(store.put(put("/a/b", &"é".repeat(4096)), ARN, NOW).unwrap(), (1, Tier::Standard));
        let larger = Put { tier: Some("Intelligent-Tiering".to_owned()), kind: None, ..put("/a/b", &"x".repeat(4097)) };
        assert_eq!(store.put(larger, ARN, NOW).unwrap(), (2, Tier::Advanced));
        for _ in 0..120 {
            store.put(put("/a/b", "x"), ARN, NOW).unwrap();
        }
        let parameter = store.get("/a/b").unwrap();
        assert_eq!(parameter.latest().number, 122);
        assert!(parameter.version(22).is_none() && parameter.version(23).is_some(), "a hundred versions are kept");
        assert!(store.delete("/a/b") && !store.delete("/a/b"));
    }

    #[test]
    fn a_path_holds_what_is_below_it() {
        let mut store = ParameterStore::default();
        for name in ["/a", "/a/b", "/a/b/c", "/ab", "/b/a"] {
            store.put(put(name, "x"), ARN, NOW).unwrap();
        }
        let names = |path, recursive| store.below(path, recursive).iter().map(|(name, _)| *name).collect::<Vec<_>>();
        assert_eq!(names("/a", false), ["/a/b"]);
        assert_eq!(names("/a", true), ["/a/b", "/a/b/c"]);
        assert_eq!(names("/a/", true), ["/a/b", "/a/b/c"]);
        assert_eq!(names("/", false), ["/a", "/ab"]);
        assert_eq!(names("/c", true), Vec::<&str>::new());
    }
}
