//! EC2: `DescribeInstances`.

use super::error::ApiError;
use super::form::Form;
use super::paging::{LastPage, TokenScope};
use super::xml::Xml;
use crate::fleet::{InstanceId, Scope};
use crate::sim::world::{Node, World};

const NAMESPACE: &str = "http://ec2.amazonaws.com/doc/2016-11-15/";

/// Page size where the request names neither a size nor ids; the real service gives everything it can.
const UNPAGED: usize = 1000;

/// Answers one call.
pub(crate) fn call(world: &World, form: &Form, request_id: &str) -> Result<String, ApiError> {
    match form.action() {
        "DescribeInstances" => describe_instances(world, form, request_id),
        other => Err(ApiError::common(
            400,
            "InvalidAction",
            format!("The action {other} is not valid for this web service: the embedded fleet does not offer it."),
        )),
    }
}

fn describe_instances(world: &World, form: &Form, request_id: &str) -> Result<String, ApiError> {
    refuse_unknown(form)?;
    if form.get("DryRun") == Some("true") {
        let message = "Request would have succeeded, but DryRun flag is set.";
        return Err(ApiError::common(412, "DryRunOperation", message));
    }
    let ids = form.list("InstanceId");
    let size = page_size(form, &ids)?;
    let filters = filters(form)?;
    for id in &ids {
        known(world, id)?;
    }
    let matching: Vec<&Node> = world
        .nodes
        .iter()
        .filter(|node| ids.is_empty() || ids.contains(&node.id.as_str()))
        .filter(|node| filters.iter().all(|filter| filter.matches(node, &world.scope)))
        .collect();
    let scope = TokenScope::new(world.seed, "DescribeInstances", &format!("{ids:?} {filters:?}"));
    let (page, next) = scope
        .page(&matching, |node| node.id.to_string(), form.get("NextToken"), size, LastPage::HasNoToken)
        .map_err(|_| invalid_value("Unable to parse pagination token".to_owned()))?;
    Ok(answer(&world.scope, page, next.as_deref(), request_id))
}

fn invalid_value(message: String) -> ApiError {
    ApiError::common(400, "InvalidParameterValue", message)
}

/// EC2 refuses parameters that it does not know.
fn refuse_unknown(form: &Form) -> Result<(), ApiError> {
    const PLAIN: [&str; 5] = ["Action", "Version", "MaxResults", "NextToken", "DryRun"];
    for (name, _) in form.iter() {
        if !PLAIN.contains(&name) && !name.starts_with("Filter.") && !name.starts_with("InstanceId.") {
            let message = format!("The parameter {name} is not recognized");
            return Err(ApiError::common(400, "UnknownParameter", message));
        }
    }
    Ok(())
}

fn page_size(form: &Form, ids: &[&str]) -> Result<usize, ApiError> {
    let Some(text) = form.get("MaxResults") else { return Ok(UNPAGED) };
    if !ids.is_empty() {
        let message = "The parameter instancesSet cannot be used with the parameter maxResults";
        return Err(ApiError::common(400, "InvalidParameterCombination", message));
    }
    match text.parse() {
        Ok(size @ 5..=1000) => Ok(size),
        _ => Err(invalid_value(format!(
            "Value ( {text} ) for parameter maxResults is invalid. Expecting a value greater than or equal to 5 and less than or \
             equal to 1000."
        ))),
    }
}

fn known(world: &World, id: &str) -> Result<(), ApiError> {
    if !id.starts_with("i-") || InstanceId::parse(id).is_err() {
        return Err(ApiError::common(400, "InvalidInstanceID.Malformed", format!("Invalid id: \"{id}\"")));
    }
    if world.node(id).is_none() {
        let message = format!("The instance ID '{id}' does not exist");
        return Err(ApiError::common(400, "InvalidInstanceID.NotFound", message));
    }
    Ok(())
}

/// One filter of a request: any of the values.
#[derive(Debug)]
struct Filter<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

/// The filters that the embedded fleet has an answer for, besides `tag:KEY`.
const FILTERS: [&str; 20] = [
    "architecture",
    "availability-zone",
    "image-id",
    "instance-id",
    "instance-state-code",
    "instance-state-name",
    "instance-type",
    "ip-address",
    "launch-index",
    "owner-id",
    "platform",
    "platform-details",
    "private-dns-name",
    "private-ip-address",
    "reservation-id",
    "root-device-type",
    "subnet-id",
    "tag-key",
    "tag-value",
    "vpc-id",
];

fn filters(form: &Form) -> Result<Vec<Filter<'_>>, ApiError> {
    let mut numbers: Vec<u32> =
        form.iter().filter_map(|(name, _)| name.strip_prefix("Filter.")?.split('.').next()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
        .into_iter()
        .map(|number| {
            let name = form.get(&format!("Filter.{number}.Name")).unwrap_or_default();
            let values = form.list(&format!("Filter.{number}.Value"));
            if name.is_empty() || !(FILTERS.contains(&name) || name.starts_with("tag:")) {
                return Err(invalid_value(format!("The filter '{name}' is invalid")));
            }
            if values.is_empty() {
                return Err(invalid_value(format!("The filter '{name}' must have values")));
            }
            if values.len() > 200 {
                let message = format!(
                    "The maximum number of filter values specified on a single call is 200, not {}",
                    values.len()
                );
                return Err(ApiError::common(400, "FilterLimitExceeded", message));
            }
            Ok(Filter { name, values })
        })
        .collect()
}

impl Filter<'_> {
    fn matches(&self, node: &Node, scope: &Scope) -> bool {
        self.facts(node, scope).iter().any(|fact| self.values.iter().any(|pattern| wildcard(pattern, fact)))
    }

    /// What the node has to say to this filter; nothing where the property is absent.
    fn facts(&self, node: &Node, scope: &Scope) -> Vec<String> {
        let ec2 = &node.ec2;
        if let Some(key) = self.name.strip_prefix("tag:") {
            return node.tags.get(key).cloned().into_iter().collect();
        }
        let fact = match self.name {
            "architecture" => ec2.architecture.to_owned(),
            "availability-zone" => format!("{}{}", scope.region, ec2.zone),
            "image-id" => ec2.image.clone(),
            "instance-id" => node.id.to_string(),
            "instance-state-code" => ec2.state.code().to_string(),
            "instance-state-name" => ec2.state.name().to_owned(),
            "instance-type" => ec2.instance_type.to_owned(),
            "launch-index" => ec2.launch_index.to_string(),
            "owner-id" => scope.account.clone(),
            "platform" if ec2.windows => "windows".to_owned(),
            "platform-details" => platform_details(ec2.windows).to_owned(),
            "private-dns-name" => private_dns_name(&ec2.private_ip, &scope.region),
            "private-ip-address" => ec2.private_ip.clone(),
            "reservation-id" => ec2.reservation.clone(),
            "root-device-type" => "ebs".to_owned(),
            "subnet-id" => ec2.subnet.clone(),
            "vpc-id" => ec2.vpc.clone(),
            "tag-key" => return node.tags.keys().cloned().collect(),
            "tag-value" => return node.tags.values().cloned().collect(),
            _ => return Vec::new(),
        };
        vec![fact]
    }
}

/// EC2's wildcards: `*` any characters, `?` one, `\` takes the next character as it is (aws-ssm-facts 2.14).
pub(crate) fn wildcard(pattern: &str, text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    // The positions in `text` at which the pattern read so far can end.
    let mut ends = vec![false; text.len() + 1];
    ends[0] = true;
    let mut characters = pattern.chars();
    while let Some(character) = characters.next() {
        let mut next = vec![false; text.len() + 1];
        let literal = match character {
            '*' => {
                let first = ends.iter().position(|end| *end);
                next.iter_mut().enumerate().for_each(|(at, end)| *end = first.is_some_and(|first| at >= first));
                ends = next;
                continue;
            }
            '?' => None,
            '\\' => Some(characters.next().unwrap_or('\\')),
            other => Some(other),
        };
        for (at, found) in text.iter().enumerate() {
            next[at + 1] = ends[at] && literal.is_none_or(|literal| literal == *found);
        }
        ends = next;
    }
    ends[text.len()]
}

fn platform_details(windows: bool) -> &'static str {
    if windows { "Windows" } else { "Linux/UNIX" }
}

fn private_dns_name(ip: &str, region: &str) -> String {
    format!("ip-{}.{region}.compute.internal", ip.replace('.', "-"))
}

fn answer(scope: &Scope, nodes: &[&Node], next: Option<&str>, request_id: &str) -> String {
    let mut xml = Xml::new();
    xml.open_with("DescribeInstancesResponse", NAMESPACE).leaf("requestId", request_id).open("reservationSet");
    for group in nodes.chunk_by(|left, right| left.ec2.reservation == right.ec2.reservation) {
        xml.open("item").leaf("reservationId", &group[0].ec2.reservation).leaf("ownerId", &scope.account);
        xml.leaf("groupSet", "").open("instancesSet");
        for node in group {
            instance(&mut xml, scope, node);
        }
        xml.close("instancesSet").close("item");
    }
    xml.close("reservationSet");
    if let Some(next) = next {
        xml.leaf("nextToken", next);
    }
    xml.close("DescribeInstancesResponse");
    xml.finish()
}

fn instance(xml: &mut Xml, scope: &Scope, node: &Node) {
    let ec2 = &node.ec2;
    xml.open("item").leaf("instanceId", node.id.as_str()).leaf("imageId", &ec2.image);
    xml.open("instanceState").leaf("code", &ec2.state.code().to_string()).leaf("name", ec2.state.name());
    xml.close("instanceState");
    xml.leaf("privateDnsName", &private_dns_name(&ec2.private_ip, &scope.region))
        .leaf("dnsName", "")
        .leaf("reason", "");
    xml.leaf("amiLaunchIndex", &ec2.launch_index.to_string()).leaf("productCodes", "");
    xml.leaf("instanceType", ec2.instance_type).leaf("launchTime", &super::iso(ec2.launched));
    xml.open("placement").leaf("availabilityZone", &format!("{}{}", scope.region, ec2.zone)).leaf("groupName", "");
    xml.leaf("tenancy", "default").close("placement");
    if ec2.windows {
        xml.leaf("platform", "windows");
    }
    xml.open("monitoring").leaf("state", "disabled").close("monitoring");
    xml.leaf("subnetId", &ec2.subnet).leaf("vpcId", &ec2.vpc).leaf("privateIpAddress", &ec2.private_ip);
    xml.leaf("sourceDestCheck", "true").leaf("groupSet", "").leaf("architecture", ec2.architecture);
    xml.leaf("rootDeviceType", "ebs").leaf("rootDeviceName", "/dev/xvda").leaf("blockDeviceMapping", "");
    xml.leaf("virtualizationType", "hvm").leaf("clientToken", "");
    if !node.tags.is_empty() {
        xml.open("tagSet");
        for (key, value) in &node.tags {
            xml.open("item").leaf("key", key).leaf("value", value).close("item");
        }
        xml.close("tagSet");
    }
    xml.leaf("hypervisor", "xen")
        .leaf("networkInterfaceSet", "")
        .leaf("ebsOptimized", "false")
        .leaf("enaSupport", "true");
    xml.leaf("platformDetails", platform_details(ec2.windows));
    xml.leaf("usageOperation", if ec2.windows { "RunInstances:0002" } else { "RunInstances" });
    xml.close("item");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::wildcard;

    #[test]
    fn wildcards_follow_the_ec2_rules() {
        for (pattern, text, expected) in [
            ("ecs-*", "ecs-web", true),
            ("ecs-*", "ecs-", true),
            ("ecs-*", "xecs-web", false),
            ("*", "", true),
            ("?", "", false),
            ("?", "ü", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*b*", "abc", true),
            ("a\\*", "a*", true),
            ("a\\*", "ab", false),
            ("a\\?", "a?", true),
            ("a\\\\", "a\\", true),
            ("Prod", "prod", false),
            ("", "", true),
            ("", "a", false),
            ("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(wildcard(pattern, text), expected, "{pattern} on {text}");
        }
    }

    proptest! {
        #[test]
        fn an_escaped_text_matches_itself_alone(text in "[a-c*?\\\\]{0,8}", other in "[a-c*?\\\\]{0,8}") {
            let escaped: String = text
                .chars()
                .flat_map(|c| if "*?\\".contains(c) { vec!['\\', c] } else { vec![c] })
                .collect();
            prop_assert!(wildcard(&escaped, &text));
            prop_assert_eq!(wildcard(&escaped, &other), text == other);
            let (inside, around) = (format!("*{escaped}*"), format!("{other}{text}{other}"));
            prop_assert!(wildcard(&inside, &around));
        }
    }
}
