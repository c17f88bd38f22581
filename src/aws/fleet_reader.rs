//! Which instances there are, and which of them a command can reach: EC2 and SSM, joined.

use std::collections::BTreeMap;

use aws_sdk_ec2::types::Filter;
use aws_sdk_ssm::types::{InstanceInformation, InstanceInformationStringFilter, PingStatus, ResourceTypeForTagging};

use super::error::AwsError;
use super::operation::Operation;
use super::session::Session;
use crate::catalog::Platform;
use crate::fleet::{Identity, Instance, InstanceId, Reach};
use crate::policy::Selector;

/// Instances on one page of `DescribeInstances`.
const EC2_PAGE: i32 = 1000;
/// Nodes on one page of `DescribeInstanceInformation`, and ids in one of its filters.
const SSM_PAGE: i32 = 50;
/// With fewer running instances than this, SSM is asked about them by id instead of about the whole region.
const ASK_BY_ID_BELOW: usize = 500;
/// Values that we put into one filter; the service's limit is not documented (aws-ssm-facts 2.14).
const MAX_FILTER_VALUES: usize = 200;
/// Terminated instances are not asked for: they stay visible for an hour.
const LIVE_STATES: [&str; 4] = ["pending", "running", "stopping", "stopped"];

/// Which instances to fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InstanceQuery {
    /// Tag keys and the values of which any will do, in which `*` and `?` are wildcards as in a policy. All must match.
    /// Without any, every instance of the region is fetched.
    ///
    /// This saves work and decides nothing: hybrid nodes are returned whatever their tags are, so match what comes back.
    pub tag_filters: Vec<(String, Vec<String>)>,
}

impl InstanceQuery {
    /// The query for the tags of a policy's targets.
    pub fn for_selector(selector: &Selector) -> Self {
        let filters = selector.0.iter().map(|(key, matcher)| {
            let values = matcher.patterns().iter().map(|pattern| pattern.as_str().to_owned());
            (key.clone(), values.collect())
        });
        Self { tag_filters: filters.collect() }
    }

    fn filters(&self) -> Vec<Filter> {
        let states = filter("instance-state-name", LIVE_STATES.iter().map(ToString::to_string));
        let tags =
            self.tag_filters.iter().filter(|(_, values)| !values.is_empty() && values.len() <= MAX_FILTER_VALUES);
        std::iter::once(states)
            .chain(tags.map(|(key, values)| filter(format!("tag:{key}"), values.iter().map(|value| escaped(value)))))
            .collect()
    }
}

fn filter(name: impl Into<String>, values: impl Iterator<Item = String>) -> Filter {
    Filter::builder().name(name).set_values(Some(values.collect())).build()
}

/// A policy's pattern as an EC2 filter value: `*` and `?` mean the same in both, but only EC2 takes `\` as an escape.
fn escaped(pattern: &str) -> String {
    pattern.replace('\\', r"\\")
}

/// An instance as EC2 describes it.
#[derive(Clone, Debug)]
struct Ec2Instance {
    state: String,
    tags: BTreeMap<String, String>,
    zone: Option<String>,
}

/// A node as SSM describes it.
#[derive(Clone, Debug)]
struct SsmNode {
    identity: Identity,
    reach: Reach,
}

type ById<T> = BTreeMap<InstanceId, T>;

impl Session {
    /// Reads the instances of the region: what EC2 knows, joined with what SSM knows, and hybrid nodes. In the order of
    /// their ids.
    pub async fn list_instances(&self, query: &InstanceQuery) -> Result<Vec<Instance>, AwsError> {
        let (instances, nodes) = if query.tag_filters.is_empty() {
            tokio::try_join!(self.ec2_instances(query), self.all_nodes())?
        } else {
            let instances = self.ec2_instances(query).await?;
            let nodes = self.nodes_of(&instances).await?;
            (instances, nodes)
        };
        let mut hybrid_tags = BTreeMap::new();
        for id in nodes.keys().filter(|id| is_hybrid(id)) {
            hybrid_tags.insert(id.clone(), self.hybrid_tags(id).await?);
        }
        Ok(join(instances, nodes, hybrid_tags))
    }

    async fn ec2_instances(&self, query: &InstanceQuery) -> Result<ById<Ec2Instance>, AwsError> {
        let operation = Operation::DescribeInstances;
        let filters = query.filters();
        let mut found = BTreeMap::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .limiter
                .call(operation, "", || {
                    self.ec2
                        .describe_instances()
                        .set_filters(Some(filters.clone()))
                        .max_results(EC2_PAGE)
                        .set_next_token(token.clone())
                        .send()
                })
                .await?;
            let instances =
                page.reservations.unwrap_or_default().into_iter().flat_map(|one| one.instances.unwrap_or_default());
            for instance in instances {
                let id = known_id(operation, instance.instance_id.as_deref())?;
                let state = instance.state.and_then(|state| state.name).map(|name| name.as_str().to_owned());
                let tags = instance.tags.unwrap_or_default().into_iter();
                let tags = tags.filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default()))).collect();
                let zone = instance.placement.and_then(|placement| placement.availability_zone);
                found.insert(id, Ec2Instance { state: state.unwrap_or_default(), tags, zone });
            }
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// The nodes that belong to `instances`, and all hybrid ones.
    async fn nodes_of(&self, instances: &ById<Ec2Instance>) -> Result<ById<SsmNode>, AwsError> {
        let running: Vec<&InstanceId> =
            instances.iter().filter(|(_, instance)| instance.state == "running").map(|(id, _)| id).collect();
        if running.len() >= ASK_BY_ID_BELOW {
            return self.all_nodes().await;
        }
        let mut found = self.nodes(Some(("ResourceType", vec!["ManagedInstance".to_owned()]))).await?;
        for ids in running.chunks(usize::try_from(SSM_PAGE).unwrap_or(50)) {
            let ids = ids.iter().map(ToString::to_string).collect();
            match self.nodes(Some(("InstanceIds", ids))).await {
                Ok(nodes) => found.extend(nodes),
                // One id that SSM does not like fails the whole call; the list of everything has no such trap.
                Err(error) if error.code() == Some("InvalidInstanceId") => return self.all_nodes().await,
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    async fn all_nodes(&self) -> Result<ById<SsmNode>, AwsError> {
        self.nodes(None).await
    }

    async fn nodes(&self, filter: Option<(&str, Vec<String>)>) -> Result<ById<SsmNode>, AwsError> {
        let operation = Operation::DescribeInstanceInformation;
        let filters = filter
            .map(|(key, values)| InstanceInformationStringFilter::builder().key(key).set_values(Some(values)).build())
            .transpose()
            .map_err(|error| AwsError::Limit { operation, problem: error.to_string() })?
            .map(|filter| vec![filter]);
        let mut found = BTreeMap::new();
        let mut token: Option<String> = None;
        loop {
            let page = self
                .limiter
                .call(operation, "", || {
                    self.ssm
                        .describe_instance_information()
                        .set_filters(filters.clone())
                        .max_results(SSM_PAGE)
                        .set_next_token(token.clone())
                        .send()
                })
                .await?;
            for node in page.instance_information_list.unwrap_or_default() {
                found.insert(known_id(operation, node.instance_id.as_deref())?, ssm_node(node));
            }
            token = page.next_token.filter(|next| !next.is_empty());
            if token.is_none() {
                return Ok(found);
            }
        }
    }

    /// The ids among `ids` that a command can be sent to by SSM's own word. Costs one call, more where SSM refuses to look
    /// some of them up.
    pub(super) async fn reachable(&self, ids: &[InstanceId]) -> Result<Vec<InstanceId>, AwsError> {
        let mut reachable = Vec::new();
        let mut open = vec![ids];
        while let Some(part) = open.pop() {
            match self.nodes(Some(("InstanceIds", part.iter().map(ToString::to_string).collect()))).await {
                Ok(nodes) => {
                    reachable
                        .extend(nodes.into_iter().filter(|(_, node)| node.reach == Reach::Online).map(|(id, _)| id));
                }
                Err(error) if error.code() == Some("InvalidInstanceId") => {
                    if part.len() > 1 {
                        let (left, right) = part.split_at(part.len() / 2);
                        open.extend([left, right]);
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(reachable)
    }

    /// Tags of hybrid nodes live in SSM and come one node a call (aws-ssm-facts 7).
    async fn hybrid_tags(&self, id: &InstanceId) -> Result<BTreeMap<String, String>, AwsError> {
        let answer = self
            .limiter
            .call(Operation::ListTagsForResource, id.as_str(), || {
                self.ssm
                    .list_tags_for_resource()
                    .resource_type(ResourceTypeForTagging::ManagedInstance)
                    .resource_id(id.as_str())
                    .send()
            })
            .await?;
        Ok(answer.tag_list.unwrap_or_default().into_iter().map(|tag| (tag.key, tag.value)).collect())
    }
}

fn ssm_node(node: InstanceInformation) -> SsmNode {
    let name = node.platform_name.unwrap_or_default();
    let version = node.platform_version.unwrap_or_default();
    let identity = match Platform::from_ssm(&name, &version) {
        Some(platform) => Identity::Known(platform),
        // An agent that registered but has not yet described itself.
        None if name.is_empty() => Identity::Unknown,
        None => Identity::Unsupported { name, version },
    };
    let reach = match node.ping_status {
        Some(PingStatus::Online) => Reach::Online,
        _ => Reach::Offline { last_ping: node.last_ping_date_time.map(|time| time.secs()) },
    };
    SsmNode { identity, reach }
}

fn join(
    instances: ById<Ec2Instance>,
    mut nodes: ById<SsmNode>,
    mut hybrid_tags: ById<BTreeMap<String, String>>,
) -> Vec<Instance> {
    let mut joined: Vec<Instance> = instances
        .into_iter()
        .map(|(id, instance)| {
            let node = nodes.remove(&id);
            let identity = node.as_ref().map_or(Identity::Unknown, |node| node.identity.clone());
            let reach = match node {
                // EC2 knows at once that an instance stopped; SSM only notices that it is silent.
                _ if instance.state != "running" => Reach::NotRunning { state: instance.state },
                Some(node) => node.reach,
                None => Reach::Unregistered,
            };
            Instance { id, tags: instance.tags, zone: instance.zone, identity, reach }
        })
        .collect();
    // What remains of the EC2 kind was not asked for, or is terminated.
    joined.extend(nodes.into_iter().filter(|(id, _)| is_hybrid(id)).map(|(id, node)| {
        let tags = hybrid_tags.remove(&id).unwrap_or_default();
        Instance { id, tags, zone: None, identity: node.identity, reach: node.reach }
    }));
    joined.sort_by(|left, right| left.id.cmp(&right.id));
    joined
}

fn is_hybrid(id: &InstanceId) -> bool {
    id.as_str().starts_with("mi-")
}

pub(super) fn known_id(operation: Operation, id: Option<&str>) -> Result<InstanceId, AwsError> {
    id.and_then(|id| InstanceId::parse(id).ok())
        .ok_or(AwsError::Incomplete { operation, missing: "a proper instance id" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::TagMatcher;

    fn id(text: &str) -> InstanceId {
        InstanceId::parse(text).expect("a good id")
    }

    fn ec2(state: &str) -> Ec2Instance {
        let tags = BTreeMap::from([("Name".to_owned(), state.to_owned())]);
        Ec2Instance { state: state.to_owned(), tags, zone: None }
    }

    fn node(name: &str, version: &str, ping: PingStatus) -> SsmNode {
        ssm_node(InstanceInformation::builder().platform_name(name).platform_version(version).ping_status(ping).build())
    }

    #[test]
    fn reach_is_ssm_s_word_unless_ec2_knows_better() {
        let instances = BTreeMap::from([
            (id("i-00000001"), ec2("running")),
            (id("i-00000002"), ec2("running")),
            (id("i-00000003"), ec2("running")),
            (id("i-00000004"), ec2("stopped")),
        ]);
        let nodes = BTreeMap::from([
            (id("i-00000001"), node("Amazon Linux", "2", PingStatus::Online)),
            (id("i-00000002"), node("Ubuntu", "22.04", PingStatus::ConnectionLost)),
            (id("i-00000004"), node("Amazon Linux", "2023", PingStatus::Online)),
            (id("i-00000009"), node("Amazon Linux", "2", PingStatus::Online)),
            (id("mi-00000000000000001"), node("Amazon Linux", "2", PingStatus::Online)),
        ]);
        let tags = BTreeMap::from([(id("mi-00000000000000001"), BTreeMap::from([("a".to_owned(), "b".to_owned())]))]);
        let joined = join(instances, nodes, tags);

        let reach: Vec<_> = joined.iter().map(|one| (one.id.as_str(), one.reach.clone())).collect();
        assert_eq!(
            reach,
            [
                ("i-00000001", Reach::Online),
                ("i-00000002", Reach::Offline { last_ping: None }),
                ("i-00000003", Reach::Unregistered),
                ("i-00000004", Reach::NotRunning { state: "stopped".to_owned() }),
                ("mi-00000000000000001", Reach::Online),
            ],
            "a node that EC2 was not asked about does not appear"
        );
        assert_eq!(joined[0].platform(), Some(Platform::AmazonLinux2));
        assert!(
            matches!(&joined[1].identity, Identity::Unsupported { name, version } if name == "Ubuntu" && version == "22.04")
        );
        assert_eq!(joined[2].identity, Identity::Unknown);
        assert_eq!(joined[4].tags["a"], "b");
    }

    #[test]
    fn patterns_of_a_policy_become_filters() {
        let matcher = TagMatcher::new(["ecs-*", r"a\b"]);
        let query = InstanceQuery::for_selector(&Selector(BTreeMap::from([("Role".to_owned(), matcher)])));
        let filters = query.filters();
        assert_eq!(filters[0].name(), Some("instance-state-name"));
        assert_eq!(filters[0].values(), LIVE_STATES);
        assert_eq!(
            (filters[1].name(), filters[1].values()),
            (Some("tag:Role"), &["ecs-*".to_owned(), r"a\\b".to_owned()][..])
        );
    }

    #[test]
    fn a_filter_that_is_too_long_is_left_to_the_caller() {
        let values = (0..=MAX_FILTER_VALUES).map(|number| number.to_string()).collect();
        let query = InstanceQuery { tag_filters: vec![("Role".to_owned(), values)] };
        assert_eq!(query.filters().len(), 1, "only the states remain");
    }
}
